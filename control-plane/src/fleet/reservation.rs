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
    // Kept beside, so that placing does not count thousands of promises each time.
    by_edge: BTreeMap<EdgeId, u32>,
}

impl Reservations {
    /// Promises a place on `edge`; an earlier promise to the same participant is replaced.
    pub fn reserve(&mut self, room: RoomId, participant: ParticipantId, edge: EdgeId, now_ms: u64) {
        let key = (room, participant);
        if self.held.len() >= RESERVATIONS_MAX && !self.held.contains_key(&key) {
            return;
        }
        let until_ms = now_ms + RESERVATION_LIFE_MS;
        if let Some(replaced) = self.held.insert(key, Reservation { edge, until_ms }) {
            uncount(&mut self.by_edge, replaced.edge);
        }
        *self.by_edge.entry(edge).or_insert(0) += 1;
    }

    /// Drops what has been redeemed (`is_there` says so) or has ended.
    pub fn prune(&mut self, now_ms: u64, is_there: impl Fn(EdgeId, RoomId, ParticipantId) -> bool) {
        let by_edge = &mut self.by_edge;
        self.held.retain(|(room, participant), held| {
            let keep = held.until_ms > now_ms && !is_there(held.edge, *room, *participant);
            if !keep {
                uncount(by_edge, held.edge);
            }
            keep
        });
    }

    /// Whether this participant is still expected where they were sent.
    #[must_use]
    pub fn holds(&self, room: RoomId, participant: ParticipantId) -> bool {
        self.held.contains_key(&(room, participant))
    }

    /// Promised places of each edge, as of the last [`Reservations::prune`].
    #[must_use]
    pub fn by_edge(&self) -> &BTreeMap<EdgeId, u32> {
        &self.by_edge
    }
}

fn uncount(by_edge: &mut BTreeMap<EdgeId, u32>, edge: EdgeId) {
    if let Some(count) = by_edge.get_mut(&edge) {
        *count -= 1;
        if *count == 0 {
            by_edge.remove(&edge);
        }
    }
}
