//! Follows the ledger and tells the attached edges what concerns them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use medmesh_base::drain::Drain;
use medmesh_base::{EdgeId, RoomId};
use medmesh_consensus::Changes;
use medmesh_ledger::{CloseReason, Event, Room};
use medmesh_link::Role;
use medmesh_wire::fleet::CloseRoom;
use medmesh_wire::fleet::edge_command::Command as Down;

use super::edge_config::SharedConfig;
use super::handle::Fleet;

/// The edges of each room, so that they can be told of its end when the ledger no longer
/// knows. (Keeping the state itself would make every command copy it.)
type RoomEdges = HashMap<RoomId, BTreeSet<EdgeId>>;

fn edges_of(room: &Room) -> BTreeSet<EdgeId> {
    let placements = room.placements.values();
    placements
        .flat_map(|placement| std::iter::once(&placement.edge).chain(&placement.fallbacks))
        .copied()
        .collect()
}

impl Fleet {
    /// Runs until the drain stops it. `changes` must have been subscribed to before the
    /// first state is read here, so that nothing falls in between.
    pub(super) async fn publish(&self, mut changes: Changes, drain: Drain) {
        self.publish_now(self.inner.consensus.status().applied_index);
        let mut rooms = self.all_rooms();
        loop {
            let change = tokio::select! {
                () = drain.stopping() => return,
                change = changes.next() => match change {
                    Some(change) => change,
                    None => return,
                },
            };
            for event in change.events.iter() {
                self.follow(event, &mut rooms);
            }
            if change.events.iter().any(concerns_edges) {
                // A lagging subscription says 0: everything is looked at again.
                let applied = self.inner.consensus.status().applied_index;
                self.publish_now(if change.index == 0 { applied } else { change.index });
            }
        }
    }

    fn all_rooms(&self) -> RoomEdges {
        let state = self.state();
        state
            .rooms
            .iter()
            .map(|(id, room)| (*id, edges_of(room)))
            .collect()
    }

    fn follow(&self, event: &Event, rooms: &mut RoomEdges) {
        match event {
            Event::RoomChanged { room, .. } => {
                // Gone already means that its end is among the next changes.
                if let Some(held) = self.state().rooms.get(room) {
                    rooms.entry(*room).or_default().extend(edges_of(held));
                }
            }
            Event::RoomClosed { room, reason } => {
                self.close_at_edges(*room, *reason, rooms.remove(room).unwrap_or_default());
            }
            Event::Replaced => *rooms = self.all_rooms(),
            _ => {}
        }
    }

    /// `version` is a log index the state is at least as new as.
    fn publish_now(&self, version: u64) {
        let inner = &self.inner;
        let state = self.state();
        let shared = SharedConfig::derive(&state, version, &inner.secret, &inner.origins);
        inner.config.send_replace(Arc::new(shared));
        // Before telemetry forgets it: a removed edge's stream ends with its session.
        inner
            .endpoint
            .refuse(state.removed.keys().copied().map(Role::Edge));
        inner
            .telemetry
            .write()
            .retain(|edge| state.edges.contains_key(&edge));
    }

    /// `edges` were to have the room; those that reported it have it, too.
    fn close_at_edges(&self, room: RoomId, reason: CloseReason, mut edges: BTreeSet<EdgeId>) {
        edges.extend(self.inner.telemetry.read().edges_of_room(room));
        let reason = match reason {
            CloseReason::Closed => "closed",
            CloseReason::Expired => "expired",
        };
        for edge in edges {
            let close = CloseRoom {
                room_id: room.to_vec(),
                reason: reason.to_owned(),
            };
            self.command(edge, Down::CloseRoom(close));
        }
    }
}

/// Whether an edge's configuration may be another one now.
fn concerns_edges(event: &Event) -> bool {
    match event {
        Event::EdgeChanged(_)
        | Event::EdgeRemoved(_)
        | Event::TokenKeysChanged
        | Event::TurnEpochsChanged
        | Event::RevocationsChanged
        | Event::Replaced => true,
        Event::RoomChanged { .. }
        | Event::RoomClosed { .. }
        | Event::ControlChanged(_)
        | Event::JoinTokensChanged
        | Event::CheckpointChanged(_)
        | Event::AuditHeadChanged(_) => false,
    }
}
