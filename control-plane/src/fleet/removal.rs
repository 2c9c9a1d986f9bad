//! Taking an edge out of the fleet for good.

use medmesh_base::EdgeId;
use medmesh_ledger::limits::BATCH_COMMANDS_MAX;
use medmesh_ledger::{Command, Placement, Refused, State};

use super::handle::{Fleet, now_unix_ms};
use super::operate::OperateError;

/// Rounds of letting go of an edge: each takes a batch of rooms, and rooms that changed
/// meanwhile come again in the next. A full ledger takes 64.
const ROUNDS_MAX: usize = 128;

impl Fleet {
    /// Takes an edge out: nothing names it any more, and its certificate counts no more. Without
    /// `force` only once nobody is on it; with it, whoever was placed there is placed anew when
    /// they come back.
    ///
    /// # Errors
    /// [`OperateError::EdgeCarries`] without `force`; otherwise as for every command.
    pub async fn edge_remove(&self, edge: EdgeId, force: bool) -> Result<(), OperateError> {
        self.edge_is_free(edge, force)?;
        // From here on nobody new is planned onto it, not even as a fall-back.
        self.edge_drain(edge, true).await?;
        for _ in 0..ROUNDS_MAX {
            self.edge_is_free(edge, force)?;
            let now = now_unix_ms();
            let rooms = let_go(&self.state(), edge, now);
            if !rooms.is_empty() {
                self.decide(Command::Batch(rooms)).await?;
                continue;
            }
            match self.decide(Command::EdgeRemove { edge, now }).await {
                // Somebody was placed between looking and deciding.
                Err(OperateError::Refused(Refused::EdgeInUse(_))) => {}
                other => return other.map(drop),
            }
        }
        Err(OperateError::Refused(Refused::EdgeInUse(edge)))
    }

    fn edge_is_free(&self, edge: EdgeId, force: bool) -> Result<(), OperateError> {
        let state = self.state();
        if !state.edges.contains_key(&edge) {
            return Err(OperateError::UnknownEdge);
        }
        let placements = state.rooms.values().flat_map(|room| room.placements.values());
        let placed = placements.filter(|placement| placement.edge == edge).count();
        let telemetry = self.inner.telemetry.read();
        let report = telemetry.fresh(edge, self.now_ms());
        let connected = report.map_or(0, |report| report.load.participants as usize);
        let participants = placed.max(connected);
        if participants > 0 && !force {
            return Err(OperateError::EdgeCarries { participants });
        }
        Ok(())
    }
}

/// Commands after which no room names the edge; at most a batch of them.
fn let_go(state: &State, edge: EdgeId, now: u64) -> Vec<Command> {
    let mut commands = Vec::new();
    for (id, room) in &state.rooms {
        let homeless = room
            .placements
            .iter()
            .filter(|(_, placement)| placement.edge == edge);
        let remove: Vec<_> = homeless.map(|(participant, _)| *participant).collect();
        let spared = room
            .placements
            .iter()
            .filter(|(_, placement)| placement.edge != edge && placement.fallbacks.contains(&edge));
        let place: Vec<_> = spared
            .map(|(participant, placement)| {
                let fallbacks = placement.fallbacks.iter().copied();
                let rest = Placement {
                    edge: placement.edge,
                    fallbacks: fallbacks.filter(|other| *other != edge).collect(),
                };
                (*participant, rest)
            })
            .collect();
        if remove.is_empty() && place.is_empty() {
            continue;
        }
        commands.push(Command::RoomAssign {
            room: *id,
            epoch: room.epoch,
            residency: room.residency.clone(),
            expires_at: room.expires_at,
            place,
            remove,
            now,
        });
        if commands.len() == BATCH_COMMANDS_MAX {
            break;
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::super::tests::{apply, edge, fleet_of, person, room};
    use super::*;

    #[test]
    fn nobody_is_left_on_a_removed_edge_and_nobody_else_is_touched() {
        let mut state = fleet_of(&[(1, "fra-1", "eu"), (2, "fra-2", "eu"), (3, "nyc-1", "us")]);
        let place = |number, who, home, fallbacks: &[u128]| Command::RoomAssign {
            room: room(number),
            epoch: 0,
            residency: Vec::new(),
            expires_at: 10_000,
            place: vec![(
                person(who),
                Placement {
                    edge: edge(home),
                    fallbacks: fallbacks.iter().map(|edge_id| edge(*edge_id)).collect(),
                },
            )],
            remove: Vec::new(),
            now: 2,
        };
        apply(&mut state, &place(1, 1, 1, &[2]));
        apply(&mut state, &place(2, 2, 2, &[3, 1]));
        apply(&mut state, &place(3, 3, 3, &[2]));
        let untouched = state.rooms[&room(3)].clone();
        let commands = let_go(&state, edge(1), 3);
        assert_eq!(commands.len(), 2);
        apply(&mut state, &Command::Batch(commands));
        assert!(
            state.rooms[&room(1)].placements.is_empty(),
            "placed anew when they come back"
        );
        assert_eq!(state.rooms[&room(2)].placements[&person(2)].fallbacks, [edge(3)]);
        assert_eq!(state.rooms[&room(3)], untouched);
        assert!(let_go(&state, edge(1), 3).is_empty());
        apply(
            &mut state,
            &Command::EdgeRemove {
                edge: edge(1),
                now: 3,
            },
        );
        assert!(state.removed.contains_key(&edge(1)));
    }
}
