//! What each node does by itself: introduce itself, and as the leader keep the
//! ledger in step with what the edges report.

use std::collections::BTreeMap;
use std::time::Duration;

use medmesh_base::EdgeId;
use medmesh_base::drain::Drain;
use medmesh_ledger::{Command, EdgeDescriptor, EdgeStatus, Refused, Response, State};
use medmesh_wire::fleet::edge_command::Command as Down;
use medmesh_wire::fleet::{CloseRoom, EvictParticipant};
use tokio::time::MissedTickBehavior;

use super::handle::{Fleet, now_unix_ms};
use super::movement::movements;
use super::transition::{GRACE_MS, transitions};
use super::view;

/// How often ledger and telemetry are compared: well below the three seconds that
/// make an edge stale.
const TICK: Duration = Duration::from_millis(500);

/// Why somebody is evicted who is connected elsewhere since.
pub(super) const MOVED: &str = "moved";

/// What the steward remembers from tick to tick.
#[derive(Default)]
struct Memory {
    leading_since_ms: Option<u64>,
    refused: BTreeMap<EdgeId, EdgeDescriptor>,
}

impl Fleet {
    pub(super) async fn steward(&self, drain: Drain) {
        let mut memory = Memory::default();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = drain.stopping() => return,
                _ = ticks.tick() => {}
            }
            tokio::select! {
                () = drain.stopping() => return,
                () = self.tick(&mut memory) => {}
            }
        }
    }

    async fn tick(&self, memory: &mut Memory) {
        let due = {
            let state = self.state();
            self.tidy(&state);
            self.introduction(&state)
        };
        self.introduce(due).await;
        if !self.inner.consensus.is_leader() {
            memory.leading_since_ms = None;
            return;
        }
        let now_ms = self.now_ms();
        let leading_for_ms = now_ms - *memory.leading_since_ms.get_or_insert(now_ms);
        let commands = {
            let telemetry = self.inner.telemetry.read();
            transitions(
                &self.state(),
                &telemetry,
                &memory.refused,
                leading_for_ms,
                now_ms,
                now_unix_ms(),
            )
        };
        let mut commands = commands;
        if leading_for_ms >= GRACE_MS {
            commands.extend(self.tidy_up_after_moves(now_ms));
        }
        if commands.is_empty() {
            return;
        }
        let batch = Command::Batch(commands.clone());
        match self.inner.consensus.propose(batch).await {
            Ok(answer) => self.record(memory, commands, answer.response),
            // Whatever did not happen is still due at the next tick.
            Err(error) => tracing::debug!(%error, "transitions were not committed"),
        }
    }

    /// Tells edges to let go of what people left behind; answers placements that follow them.
    fn tidy_up_after_moves(&self, now_ms: u64) -> Vec<Command> {
        let found = {
            let (state, telemetry) = (self.state(), self.inner.telemetry.read());
            let desk = self.inner.desk.lock();
            let promised = |room, participant| desk.reservations.holds(room, participant);
            movements(&state, &telemetry, promised, now_ms, now_unix_ms())
        };
        let metrics = &self.inner.metrics;
        for left in found.evict {
            metrics.left_behind.with_label_values(&["participant"]).inc();
            let evict = EvictParticipant {
                room_id: left.room.to_vec(),
                participant_id: left.participant.to_vec(),
                reason: MOVED.to_owned(),
                connected_ms: left.connected_ms,
            };
            self.command(left.edge, Down::Evict(evict));
        }
        for (edge, room) in found.close {
            metrics.left_behind.with_label_values(&["room"]).inc();
            let close = CloseRoom {
                room_id: room.to_vec(),
                reason: "closed".to_owned(),
            };
            self.command(edge, Down::CloseRoom(close));
        }
        found.commands
    }

    fn record(&self, memory: &mut Memory, commands: Vec<Command>, response: Response) {
        let Response::Batch(responses) = response else {
            return;
        };
        for (command, response) in commands.into_iter().zip(responses) {
            let kind = kind(&command);
            self.inner.metrics.transitions.with_label_values(&[kind]).inc();
            match (command, response.accepted()) {
                (Command::EdgeUpsert { edge, descriptor, .. }, Err(why)) => {
                    tracing::warn!(%edge, %why, "an edge's new description was refused");
                    memory.refused.insert(edge, descriptor);
                }
                (Command::EdgeUpsert { edge, .. }, Ok(_)) => {
                    memory.refused.remove(&edge);
                }
                (Command::EdgeStatusSet { edge, status, .. }, Ok(_)) => match status {
                    EdgeStatus::Up => tracing::info!(%edge, "an edge is back"),
                    EdgeStatus::Down => tracing::warn!(%edge, "an edge is down"),
                },
                // The room changed meanwhile; whoever is elsewhere is found again.
                (Command::RoomAssign { .. }, Err(Refused::StaleEpoch { .. })) => {}
                (_, Err(why)) => tracing::warn!(kind, %why, "a transition was refused"),
                (_, Ok(_)) => {}
            }
        }
    }

    /// This node's address and token key, where the ledger lacks them or has others.
    fn introduction(&self, state: &State) -> Vec<Command> {
        let inner = &self.inner;
        let node = self.node();
        let now = now_unix_ms();
        let mut due = Vec::new();
        let known = state.controls.get(&node).map(|held| &held.descriptor);
        if known != Some(&inner.descriptor) {
            due.push(Command::ControlUpsert {
                node,
                descriptor: inner.descriptor.clone(),
                now,
            });
        }
        if !state.token_keys.contains_key(inner.signer.key_id()) {
            due.push(Command::TokenKeyPut {
                kid: inner.signer.key_id().to_owned(),
                jwk: inner.signer.public_jwk_json(),
                owner: node,
                now,
            });
        }
        due
    }

    async fn introduce(&self, due: Vec<Command>) {
        if due.is_empty() {
            return;
        }
        match self.inner.consensus.propose(Command::Batch(due)).await {
            Ok(_) => tracing::info!("introduced this node to the fleet"),
            // Without a leader it stays due.
            Err(error) => tracing::debug!(%error, "not introduced yet"),
        }
    }

    /// Lets go of what the reports have overtaken, and counts what is left.
    fn tidy(&self, state: &State) {
        let now_ms = self.now_ms();
        let telemetry = self.inner.telemetry.read();
        let mut desk = self.inner.desk.lock();
        desk.reservations.prune(now_ms, |edge, room, participant| {
            telemetry
                .get(edge)
                .and_then(|report| report.rooms.get(&room))
                .is_some_and(|presence| presence.people.contains_key(&participant))
        });
        desk.access_us
            .retain(|(room, _), _| state.rooms.contains_key(room));
        desk.decisions.retain(|room| state.rooms.contains_key(&room));
        let promised: u32 = desk.reservations.by_edge().values().sum();
        drop(desk);
        let metrics = &self.inner.metrics;
        metrics.reservations.set(i64::from(promised));
        let networks = self.inner.learned.lock().len();
        metrics.networks.set(i64::try_from(networks).unwrap_or(i64::MAX));
        let mut counts = BTreeMap::from([("healthy", 0), ("silent", 0), ("down", 0)]);
        for (edge, known) in &state.edges {
            let health = if view::is_healthy(state, &telemetry, *edge, now_ms) {
                "healthy"
            } else if known.status == EdgeStatus::Up {
                "silent"
            } else {
                "down"
            };
            *counts.entry(health).or_insert(0) += 1;
        }
        for (health, count) in counts {
            metrics.edges.with_label_values(&[health]).set(count);
        }
    }
}

fn kind(command: &Command) -> &'static str {
    match command {
        Command::EdgeStatusSet {
            status: EdgeStatus::Up,
            ..
        } => "edge_up",
        Command::EdgeStatusSet {
            status: EdgeStatus::Down,
            ..
        } => "edge_down",
        Command::EdgeUpsert { .. } => "edge_changed",
        Command::RoomAssign { .. } => "participant_moved",
        Command::TurnSecretRotate { .. } => "turn_rotate",
        Command::TurnSecretRetire { .. } => "turn_retire",
        Command::Expire { .. } => "expire",
        _ => "other",
    }
}
