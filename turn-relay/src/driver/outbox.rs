//! Relayed data between being judged and being sent, by reference into the batch it came in.

use std::net::{IpAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::AsFd as _;

use super::mmsg::{RecvBatch, Segment, SendBatch, Unsent};
use super::relays::RelaySockets;
use super::stream::Connections;
use crate::server::{ListenerId, ToClient, ToPeer};

/// What a batch of 32 messages makes when each is a full GRO chain; beyond that the vectors
/// grow once and stay.
const DATAGRAMS_TYPICAL: usize = 1024;
const ZEROS: [u8; 3] = [0; 3];

struct PeerEntry {
    out: ToPeer,
    /// Keeps the order of one relay's datagrams when entries are grouped by relay.
    sequence: u32,
    message: usize,
}

/// Data on its way to peers.
pub(super) struct PeerOutbox {
    entries: Vec<PeerEntry>,
}

impl PeerOutbox {
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::with_capacity(DATAGRAMS_TYPICAL),
        }
    }

    /// Data of the datagram that begins at `start` of a received message.
    pub(super) fn push(&mut self, out: &ToPeer, message: usize, start: usize) {
        let sequence =
            u32::try_from(self.entries.len()).expect("a batch has less than four billion datagrams");
        let data = start + out.data.start..start + out.data.end;
        self.entries.push(PeerEntry {
            out: ToPeer { data, ..*out },
            sequence,
            message,
        });
    }

    /// Sends everything, each relay's data in one go. `bytes` finds the data of a message.
    pub(super) fn flush<'a>(
        &mut self,
        relays: &RelaySockets,
        bytes: impl Fn(usize, Range<usize>) -> &'a [u8],
        send: &mut SendBatch,
    ) -> Unsent {
        self.entries
            .sort_unstable_by_key(|entry| (entry.out.relay, entry.sequence));
        let mut unsent = Unsent::default();
        for group in self.entries.chunk_by(|a, b| a.out.relay == b.out.relay) {
            let Some(relay) = relays.get(group[0].out.relay) else {
                unsent.failed += group.len() as u64;
                continue;
            };
            for group in group.chunk_by(|a, b| a.out.dont_fragment == b.out.dont_fragment) {
                let whole = group[0].out.dont_fragment;
                if whole && let Err(error) = relay.set_dont_fragment(true) {
                    tracing::debug!(%error, "cannot forbid fragments");
                    unsent.failed += group.len() as u64;
                    continue;
                }
                let segments = group.iter().map(|entry| Segment {
                    to: entry.out.peer,
                    prefix: &[],
                    data: bytes(entry.message, entry.out.data.clone()),
                    padding: &[],
                });
                unsent += send.send(relay.fd(), None, segments);
                if whole && let Err(error) = relay.set_dont_fragment(false) {
                    tracing::debug!(%error, "cannot allow fragments again");
                }
            }
        }
        self.entries.clear();
        unsent
    }
}

struct ClientEntry {
    out: ToClient,
    message: usize,
    data: Range<usize>,
}

/// Data on its way to clients.
pub(super) struct ClientOutbox {
    entries: Vec<ClientEntry>,
}

impl ClientOutbox {
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::with_capacity(DATAGRAMS_TYPICAL),
        }
    }

    /// `data` of a received message.
    pub(super) fn push(&mut self, out: ToClient, message: usize, data: Range<usize>) {
        self.entries.push(ClientEntry { out, message, data });
    }

    /// Sends everything, each listener's in one go; what goes to a connection is queued there.
    /// `listener` finds the socket of a UDP listener and the address to send from.
    pub(super) fn flush<'a>(
        &mut self,
        listener: impl Fn(ListenerId) -> Option<(&'a UdpSocket, Option<IpAddr>)>,
        connections: &mut Connections,
        batch: &RecvBatch,
        send: &mut SendBatch,
    ) -> Unsent {
        let mut unsent = Unsent::default();
        if self.entries.is_empty() {
            return unsent;
        }
        // A handful of listeners at most, mostly one: a pass for each costs less than sorting.
        let after = |last: Option<ListenerId>| {
            let ids = self.entries.iter().map(|entry| entry.out.client.listener);
            ids.filter(|id| last.is_none_or(|last| *id > last)).min()
        };
        let mut last = None;
        while let Some(id) = after(last) {
            last = Some(id);
            let own = self
                .entries
                .iter()
                .filter(|entry| entry.out.client.listener == id);
            let segments = own.map(|entry| Segment {
                to: entry.out.client.address,
                prefix: entry.out.prefix(),
                data: batch.slice(entry.message, entry.data.clone()),
                padding: &ZEROS[..usize::from(entry.out.padding)],
            });
            if let Some((socket, from)) = listener(id) {
                unsent += send.send(socket.as_fd(), from, segments);
                continue;
            }
            for (entry, segment) in self
                .entries
                .iter()
                .filter(|entry| entry.out.client.listener == id)
                .zip(segments)
            {
                let parts = [segment.prefix, segment.data, segment.padding];
                if !connections.media(entry.out.client, parts) {
                    unsent.buffer_full += 1;
                }
            }
        }
        self.entries.clear();
        unsent
    }
}
