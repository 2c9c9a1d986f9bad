//! Follows the ledger and tells the attached edges what concerns them.

use std::collections::BTreeSet;
use std::sync::Arc;

use medmesh_base::drain::Drain;
use medmesh_base::{EdgeId, RoomId};
use medmesh_consensus::Changes;
use medmesh_ledger::{CloseReason, Event, State};
use medmesh_wire::fleet::CloseRoom;
use medmesh_wire::fleet::edge_command::Command as Down;

use super::edge_config::SharedConfig;
use super::handle::{Fleet, Published};

impl Fleet {
    /// Runs until the drain stops it. `changes` must have been subscribed to before the
    /// first state is read here, so that nothing falls in between.
    pub(super) async fn publish(&self, mut changes: Changes, drain: Drain) {
        let mut previous = self.publish_now(self.inner.consensus.status().applied_index);
        loop {
            let change = tokio::select! {
                () = drain.stopping() => return,
                change = changes.next() => match change {
                    Some(change) => change,
                    None => return,
                },
            };
            for event in change.events.iter() {
                if let Event::RoomClosed { room, reason } = event {
                    self.close_at_edges(*room, *reason, &previous);
                }
            }
            if change.events.iter().any(concerns_edges) {
                // A lagging subscription says 0: everything is looked at again.
                let applied = self.inner.consensus.status().applied_index;
                self.publish_now(if change.index == 0 { applied } else { change.index });
            }
            previous = self.state();
        }
    }

    /// `version` is a log index the state is at least as new as.
    fn publish_now(&self, version: u64) -> Arc<State> {
        let inner = &self.inner;
        let state = self.state();
        let shared = SharedConfig::derive(&state, version, &inner.secret, &inner.origins);
        inner.config.send_replace(Arc::new(Published {
            state: state.clone(),
            shared,
        }));
        inner
            .telemetry
            .write()
            .retain(|edge| state.edges.contains_key(&edge));
        state
    }

    /// Edges that have the room by their own report, or were to have it.
    fn close_at_edges(&self, room: RoomId, reason: CloseReason, previous: &State) {
        let mut edges: BTreeSet<EdgeId> = self.inner.telemetry.read().edges_of_room(room).collect();
        if let Some(held) = previous.rooms.get(&room) {
            for placement in held.placements.values() {
                edges.insert(placement.edge);
                edges.extend(&placement.fallbacks);
            }
        }
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
        | Event::CheckpointChanged(_) => false,
    }
}
