//! What a driver may relay without asking, and until when.
//!
//! A channel that is bound, permitted and of a living allocation has one answer to every packet, both
//! ways, until one of the three ends. So have the indications between a client and a peer that is permitted and has no
//! channel: those of one that the client has sent something to and the policy allows with its port, so that nobody but
//! the client decides what there is to remember ([`Limits::CORRESPONDENTS`] of them at most). A driver that can relay such packets somewhere cheaper is told so
//! ([`Command::Offload`]), told again when the time changes, and told when it is over before its
//! time ([`Command::Withdraw`]) — before the command that gives up the relayed transport address, if there is one. What
//! it is told is always derived from the whole of the allocation, never from what has just changed.

use std::net::SocketAddr;
use std::time::Duration;

#[expect(unused_imports, reason = "named by the documentation")]
use super::Limits;
use super::allocation::Allocation;
use super::{Client, Command, Protocol, RelayId, Server, Transport};
use crate::codec::{ChannelNumber, Family};

/// A channel, or the indications, between a client that sends datagrams and a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortcut {
    /// The relayed transport address.
    pub relay: RelayId,
    /// The channel; `None`: Send and Data indications (RFC 8656 §11).
    pub number: Option<ChannelNumber>,
    /// Whose.
    pub client: Client,
    /// With whom.
    pub peer: SocketAddr,
    /// When the first of channel, permission and allocation expires: up to then, and not longer,
    /// [`Server::handle_input`] and [`Server::handle_relayed`] would relay every packet.
    pub until: Duration,
}

impl Shortcut {
    /// What it is called when it is taken back.
    #[must_use]
    pub fn key(&self) -> ShortcutKey {
        (self.relay, self.number, self.peer)
    }
}

/// Names one [`Shortcut`]: there is one for a relayed transport address, a channel or none, and a peer.
pub type ShortcutKey = (RelayId, Option<ChannelNumber>, SocketAddr);

impl Server {
    /// Tells the driver what has changed about the shortcuts of an allocation.
    pub(super) fn offload(&mut self, slot: u32) {
        if !self.offload {
            return;
        }
        let generation = self.table.generation(slot);
        let Some(allocation) = self.table.get(slot) else {
            return;
        };
        let datagrams = self.transport(allocation.client) == Transport::Udp;
        let wanted = if datagrams {
            shortcuts(allocation, slot, generation)
        } else {
            Vec::new()
        };
        let Some(allocation) = self.table.get_mut(slot) else {
            return;
        };
        let told = std::mem::replace(&mut allocation.shortcuts, wanted);
        let wanted = &allocation.shortcuts;
        let gone = |old: &&Shortcut| {
            !wanted.iter().any(|new| {
                Shortcut {
                    until: old.until,
                    ..*new
                } == **old
            })
        };
        self.commands.extend(told.iter().filter(gone).map(withdraw));
        let new = wanted.iter().filter(|new| !told.contains(new));
        self.commands.extend(new.map(|new| Command::Offload(*new)));
    }

    /// The same for every allocation.
    pub(super) fn offload_all(&mut self) {
        if self.offload {
            let slots: Vec<u32> = self.table.slots().collect();
            slots.into_iter().for_each(|slot| self.offload(slot));
        }
    }

    /// Takes back everything that was said of an allocation that is not in the table any more.
    pub(super) fn withdraw(&mut self, allocation: &mut Allocation) {
        let told = std::mem::take(&mut allocation.shortcuts);
        self.commands.extend(told.iter().map(withdraw));
    }
}

fn withdraw(shortcut: &Shortcut) -> Command {
    Command::Withdraw(shortcut.key())
}

fn shortcuts(allocation: &Allocation, slot: u32, generation: u32) -> Vec<Shortcut> {
    let away = allocation.mobility.is_some_and(|mobility| mobility.away);
    if away || allocation.protocol != Protocol::Udp {
        return Vec::new();
    }
    let shortcut = |(number, peer, until): (Option<ChannelNumber>, SocketAddr, Duration)| {
        let family = Family::of(peer);
        allocation.relays.is_open(family).then(|| Shortcut {
            relay: RelayId {
                slot,
                generation,
                family,
            },
            number,
            client: allocation.client,
            peer,
            until: until.min(allocation.expires),
        })
    };
    let channels = allocation.peers.bound_until();
    let channels = channels.map(|(number, peer, until)| (Some(number), peer, until));
    let others = allocation.peers.corresponding_until();
    let others = others.map(|(peer, until)| (None, peer, until));
    channels.chain(others).filter_map(shortcut).collect()
}
