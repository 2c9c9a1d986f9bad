//! Who of those placed is connected: the edges' reports beside the ledger's rooms.

use std::collections::BTreeMap;

use medmesh_base::{ParticipantId, RoomId};

use super::handle::Fleet;

/// Everybody who has a place in a room, and whether their media is up at some edge.
pub(crate) type Presences = BTreeMap<(RoomId, ParticipantId), bool>;

impl Fleet {
    /// Who is connected; `None` unless this node leads, so that one node alone goes by it.
    pub(crate) fn presences(&self) -> Option<Presences> {
        if !self.inner.consensus.is_leader() {
            return None;
        }
        let (state, now_ms) = (self.state(), self.now_ms());
        let placed = state
            .rooms
            .iter()
            .flat_map(|(room, held)| held.placements.keys().map(|person| (*room, *person)));
        let mut presences: Presences = placed.map(|key| (key, false)).collect();
        let telemetry = self.inner.telemetry.read();
        for edge in state.edges.keys() {
            let Some(report) = telemetry.fresh(*edge, now_ms) else {
                continue;
            };
            for (room, presence) in &report.rooms {
                for (person, connected_ms) in &presence.people {
                    if let Some(connected) = presences.get_mut(&(*room, *person)) {
                        *connected |= *connected_ms > 0;
                    }
                }
            }
        }
        Some(presences)
    }
}
