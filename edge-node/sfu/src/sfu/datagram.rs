//! UDP in: which connection a datagram belongs to, and what it meant.

use std::net::SocketAddr;
use std::time::Instant;

use super::Sfu;
use crate::connection::{ConnectionKey, Notice};
use crate::event::Event;
use crate::stats::DropReason;

impl Sfu {
    /// A UDP datagram came in on the shard's socket.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        source: SocketAddr,
        destination: SocketAddr,
        contents: &[u8],
    ) {
        self.advance(now);
        self.stats.datagrams_in += 1;
        self.stats.bytes_in += contents.len() as u64;
        let found = if is_stun(contents) {
            self.demux_stun(source, destination, contents)
        } else {
            self.by_address
                .get(&source)
                .copied()
                .ok_or(DropReason::UnknownSource)
        };
        let key = match found {
            Ok(key) => key,
            Err(reason) => return self.count_drop(reason),
        };
        let now = self.now;
        let read = self.with_sink(key, |c, sink| c.receive(now, source, destination, contents, sink));
        if read == Some(false) {
            self.count_drop(DropReason::Unparseable);
        }
    }

    /// By user name; the address is bound only once the message proved to be from the browser.
    fn demux_stun(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        contents: &[u8],
    ) -> Result<ConnectionKey, DropReason> {
        let now = self.now;
        let Some(username) = stun_username(contents).map_err(|()| DropReason::Unparseable)? else {
            // ICE-lite never asks, so nothing without a user name is for us.
            return Err(DropReason::UnknownUfrag);
        };
        let ufrag = username.split_once(':').map_or(username, |(local, _)| local);
        let key = *self.by_ufrag.get(ufrag).ok_or(DropReason::UnknownUfrag)?;
        let connection = self.connections.get_mut(&key).ok_or(DropReason::UnknownUfrag)?;
        if !connection.accepts(now, source, destination, contents) {
            return Err(DropReason::BadIntegrity);
        }
        connection.heard_at = now;
        if let Some(dropped) = connection.bind(source)
            && self.by_address.get(&dropped) == Some(&key)
        {
            self.by_address.remove(&dropped);
        }
        self.by_address.insert(source, key);
        Ok(key)
    }

    pub(super) fn handle_notice(&mut self, key: ConnectionKey, notice: Notice) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let (room, participant) = (connection.room, connection.participant);
        match notice {
            Notice::Media {
                source,
                layer,
                packet,
            } => {
                self.handle_media(room, participant, source, layer, &packet);
            }
            Notice::NotGranted => self.count_drop(DropReason::NotGranted),
            Notice::UnknownTrack => self.count_drop(DropReason::UnknownTrack),
            Notice::Connected => {
                let after = self.now.saturating_duration_since(connection.joined_at);
                self.event(Event::Connected {
                    room,
                    participant,
                    after,
                });
                // Peers that have an older connection of the same participant let go of it now.
                if let Some(room) = self.rooms.get_mut(&room) {
                    room.announce = true;
                }
                self.mark(room);
            }
            Notice::KeyframeWanted { mid } => self.keyframe_wanted(key, mid),
            Notice::ChannelOpen(channel) => {
                connection.control.open(channel);
                self.welcome(key);
                self.mark(room);
            }
            Notice::ChannelClosed(channel) if connection.control.channel == Some(channel) => {
                connection.control.channel = None;
            }
            Notice::ChannelClosed(_) => {}
            Notice::ControlMessage(bytes) => self.handle_control(key, &bytes),
            Notice::Quality => self.say_quality(key),
        }
    }
}

/// RFC 7983: the first byte of STUN is 0 to 3.
fn is_stun(contents: &[u8]) -> bool {
    contents.first().is_some_and(|b| *b < 4)
}

/// The USERNAME of a STUN message (RFC 8489 section 14.3), if it has one.
fn stun_username(contents: &[u8]) -> Result<Option<&str>, ()> {
    const HEADER: usize = 20;
    const MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
    const USERNAME: u16 = 0x0006;
    if contents.len() < HEADER || contents[4..8] != MAGIC {
        return Err(());
    }
    let mut rest = &contents[HEADER..];
    while let [t1, t2, l1, l2, body @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*l1, *l2]));
        let value = body.get(..length).ok_or(())?;
        if u16::from_be_bytes([*t1, *t2]) == USERNAME {
            return std::str::from_utf8(value).map(Some).map_err(|_| ());
        }
        rest = body.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Ok(None)
}
