//! Who was sent where and is not in a report yet. Without this, a hundred people who
//! join in one second would all see the same idle edge. Pure; the leader's memory.

use std::collections::{BTreeMap, HashMap};

use medmesh_base::{EdgeId, ParticipantId, RoomId};

/// A reservation nobody came for ends after this: a join token lives for a minute.
const RESERVATION_LIFE_MS: u64 = 60_000;

/// Reservations held at once; beyond this the oldest reports have to do. A thousand joins
/// a second for a minute.
const RESERVATIONS_MAX: usize = 60_000;

#[derive(Clone, Copy, Debug)]
struct Reservation {
    edge: EdgeId,
    until_ms: u64,
}

/// Promised places. Times are milliseconds of a steady clock.
#[derive(Debug, Default)]
pub struct Reservations {
    held: HashMap<(RoomId, ParticipantId), Reservation>,
}

impl Reservations {
    /// Promises a place on `edge`; an earlier promise to the same participant is replaced.
    pub fn reserve(&mut self, room: RoomId, participant: ParticipantId, edge: EdgeId, now_ms: u64) {
        if self.held.len() >= RESERVATIONS_MAX {
            self.prune(now_ms, |_, _, _| false);
            if self.held.len() >= RESERVATIONS_MAX {
                return;
            }
        }
        let until_ms = now_ms + RESERVATION_LIFE_MS;
        self.held
            .insert((room, participant), Reservation { edge, until_ms });
    }

    /// Drops what has been redeemed (`is_there` says so) or has ended.
    pub fn prune(&mut self, now_ms: u64, is_there: impl Fn(EdgeId, RoomId, ParticipantId) -> bool) {
        self.held.retain(|(room, participant), reservation| {
            reservation.until_ms > now_ms && !is_there(reservation.edge, *room, *participant)
        });
    }

    /// Promised and not redeemed places of each edge.
    #[must_use]
    pub fn by_edge(&self, now_ms: u64) -> BTreeMap<EdgeId, u32> {
        let mut counts = BTreeMap::new();
        for reservation in self.held.values().filter(|held| held.until_ms > now_ms) {
            *counts.entry(reservation.edge).or_insert(0) += 1;
        }
        counts
    }
}
