//! The receiving end of a flow: which packets are missing, what to ask for again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use medmesh_base::{EdgeId, RoomId};

use super::packet::Reassembly;
use crate::track::TrackKey;

/// QUIC datagrams overtake each other by less than this on one path.
const REORDER_WAIT: Duration = Duration::from_millis(5);
/// Between two requests for the same packet: a continental round trip.
const RETRY_WAIT: Duration = Duration::from_millis(60);
/// After so many requests the packet is given up: what comes after 400 ms is not played any more.
const TRIES_MAX: u8 = 6;
/// Packets of one flow that may be missing at once; a larger hole is an outage, and a
/// keyframe repairs it better.
const MISSING_MAX: u64 = 256;

/// A layer pulled from a peer.
#[derive(Debug)]
pub(crate) struct Inflow {
    pub(crate) peer: EdgeId,
    pub(crate) room: RoomId,
    pub(crate) track: TrackKey,
    pub(crate) rid: String,
    /// The origin ended it: not to be asked for again before the origin says something new.
    pub(crate) gone: bool,
    pub(crate) gaps: Gaps,
    pub(crate) reassembly: Reassembly,
    /// The timer heap has an entry.
    pub(crate) scheduled: bool,
}

/// Which sequence numbers are missing.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    highest: Option<u64>,
    missing: BTreeMap<u64, Missing>,
}

#[derive(Debug)]
struct Missing {
    tries: u8,
    next: Instant,
}

/// What a packet is to its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The next, or one that comes early.
    New,
    /// One that was missing; asked for, when `true`.
    Filled(bool),
    /// Had come before, or was given up.
    Known,
}

impl Gaps {
    /// A packet came.
    pub(crate) fn note(&mut self, now: Instant, sequence: u64) -> Arrival {
        let Some(highest) = self.highest else {
            self.highest = Some(sequence);
            return Arrival::New;
        };
        if sequence <= highest {
            return match self.missing.remove(&sequence) {
                Some(missing) => Arrival::Filled(missing.tries > 0),
                None => Arrival::Known,
            };
        }
        let from = highest + 1;
        if sequence - from > MISSING_MAX {
            self.missing.clear();
        } else {
            for absent in from..sequence {
                self.missing.insert(
                    absent,
                    Missing {
                        tries: 0,
                        next: now + REORDER_WAIT,
                    },
                );
            }
            while self.missing.len() as u64 > MISSING_MAX {
                self.missing.pop_first();
            }
        }
        self.highest = Some(sequence);
        Arrival::New
    }

    /// When to look again.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.missing.values().map(|m| m.next).min()
    }

    /// What to ask for now, and how many were given up.
    pub(crate) fn poll(&mut self, now: Instant) -> (Vec<u64>, u64) {
        let before = self.missing.len();
        self.missing.retain(|_, m| m.next > now || m.tries < TRIES_MAX);
        let given_up = (before - self.missing.len()) as u64;
        let mut wanted = Vec::new();
        for (sequence, missing) in &mut self.missing {
            if missing.next <= now {
                missing.tries += 1;
                missing.next = now + RETRY_WAIT;
                wanted.push(*sequence);
            }
        }
        (wanted, given_up)
    }
}
