//! People who moved between edges by themselves: the ledger follows them, and the edge they left
//! lets go of what is left of them. Pure; asked by the leader, of fresh reports.

use medmesh_base::{EdgeId, ParticipantId, RoomId};
use medmesh_ledger::limits::FALLBACKS_MAX;
use medmesh_ledger::{Command, Placement, Room, State};

use super::telemetry::Telemetry;

/// A connection is only called older than another when it is by this much: reports are made once
/// a second, of views that are half a second old.
const AGE_MARGIN_MS: u32 = 3_000;

/// Who has been connected elsewhere for this long has settled there.
const SETTLED_MS: u32 = 5_000;

/// Moves the ledger follows in one step; the rest comes in the next.
const MOVES_MAX: usize = 256;

/// What to do about those who are not where the ledger has them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Movements {
    /// Placements that follow people.
    pub(super) commands: Vec<Command>,
    /// Connections that are left behind.
    pub(super) evict: Vec<Left>,
    /// Rooms that have ended, at edges that have not heard of it.
    pub(super) close: Vec<(EdgeId, RoomId)>,
}

/// A connection left behind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) edge: EdgeId,
    pub(super) room: RoomId,
    pub(super) participant: ParticipantId,
    /// How long it has been up: a younger one of the same participant is not meant.
    pub(super) connected_ms: u32,
}

/// Compares what edges report with what is agreed. `is_promised` says whether somebody was sent
/// to their home and is still expected there.
#[must_use]
pub(super) fn movements(
    state: &State,
    telemetry: &Telemetry,
    is_promised: impl Fn(RoomId, ParticipantId) -> bool,
    now_ms: u64,
    now_unix_ms: u64,
) -> Movements {
    let mut found = Movements::default();
    for (edge, known) in &state.edges {
        let Some(report) = telemetry.fresh(*edge, now_ms) else {
            continue;
        };
        for (id, presence) in &report.rooms {
            let Some(room) = state.rooms.get(id) else {
                // An epoch this ledger never gave is of a room it has forgotten (it was restored
                // from a backup, say): that room is left alone.
                if presence.epoch > 0 && presence.epoch <= state.epoch {
                    found.close.push((*edge, *id));
                }
                continue;
            };
            for (participant, connected_ms) in &presence.people {
                let home = room.placements.get(participant).map(|placement| placement.edge);
                if home == Some(*edge) || *connected_ms == 0 {
                    continue;
                }
                let at_home = home.and_then(|home| {
                    let report = telemetry.fresh(home, now_ms)?;
                    let connected_ms = *report.rooms.get(id)?.people.get(participant)?;
                    (connected_ms > 0).then_some((home, connected_ms))
                });
                if let Some((home, home_ms)) = at_home {
                    found
                        .evict
                        .extend(older((*edge, *connected_ms), (home, home_ms), *id, *participant));
                } else if *connected_ms >= SETTLED_MS
                    && found.commands.len() < MOVES_MAX
                    && !is_promised(*id, *participant)
                    && known.takes_people()
                    && (room.residency.is_empty() || room.residency.contains(&known.descriptor.region))
                {
                    found
                        .commands
                        .push(follow(state, *id, room, *participant, *edge, now_unix_ms));
                }
            }
        }
    }
    found
}

/// Of two connections of one participant the older, when it is clear which that is.
fn older(one: (EdgeId, u32), two: (EdgeId, u32), room: RoomId, participant: ParticipantId) -> Option<Left> {
    let (edge, connected_ms) = if one.1 >= two.1 { one } else { two };
    (one.1.abs_diff(two.1) >= AGE_MARGIN_MS).then_some(Left {
        edge,
        room,
        participant,
        connected_ms,
    })
}

fn follow(
    state: &State,
    id: RoomId,
    room: &Room,
    participant: ParticipantId,
    edge: EdgeId,
    now: u64,
) -> Command {
    let before = room.placements.get(&participant);
    let useful =
        |other: &EdgeId| *other != edge && state.edges.get(other).is_some_and(|known| known.takes_people());
    let fallbacks = before
        .into_iter()
        .flat_map(|held| held.fallbacks.iter().chain([&held.edge]))
        .copied()
        .filter(useful)
        .take(FALLBACKS_MAX);
    Command::RoomAssign {
        room: id,
        epoch: room.epoch,
        residency: room.residency.clone(),
        expires_at: room.expires_at,
        place: vec![(
            participant,
            Placement {
                edge,
                fallbacks: fallbacks.collect(),
            },
        )],
        remove: Vec::new(),
        now,
    }
}

#[cfg(test)]
mod tests {
    use medmesh_wire::fleet as wire;

    use super::super::tests::{apply, edge, fleet_of, person, report, room};
    use super::*;

    fn placed(home: u128, fallbacks: &[u128]) -> State {
        let mut state = fleet_of(&[(1, "fra-1", "eu"), (2, "fra-2", "eu"), (3, "nyc-1", "us")]);
        let placement = Placement {
            edge: edge(home),
            fallbacks: fallbacks.iter().map(|number| edge(*number)).collect(),
        };
        let assign = Command::RoomAssign {
            room: room(1),
            epoch: 0,
            residency: Vec::new(),
            expires_at: 100_000,
            place: vec![(person(1), placement)],
            remove: Vec::new(),
            now: 1,
        };
        apply(&mut state, &assign);
        state
    }

    /// Reports in which person 1 is in room 1 on each of these edges, for that long.
    fn seen(on: &[(u128, u32)]) -> Telemetry {
        let mut telemetry = Telemetry::default();
        for number in 1..=3 {
            let mut report = report("any", "eu");
            let here = on.iter().filter(|(edge, _)| *edge == number);
            report.rooms = here
                .map(|(_, connected_ms)| wire::RoomPresence {
                    room_id: room(1).to_vec(),
                    epoch: 1,
                    participant_ids: vec![person(1).to_vec()],
                    connected_ms: vec![*connected_ms],
                })
                .collect();
            telemetry.handle_report(edge(number), report, 0).unwrap();
        }
        telemetry
    }

    fn look(state: &State, telemetry: &Telemetry) -> Movements {
        movements(state, telemetry, |_, _| false, 0, 2)
    }

    #[test]
    fn the_ledger_follows_who_settled_elsewhere() {
        let mut state = placed(1, &[2, 3]);
        assert_eq!(look(&state, &seen(&[(1, 9_000)])), Movements::default());
        assert_eq!(
            look(&state, &seen(&[(2, SETTLED_MS - 1)])),
            Movements::default(),
            "not settled"
        );
        let there = seen(&[(2, SETTLED_MS)]);
        assert_eq!(
            movements(&state, &there, |_, _| true, 0, 2),
            Movements::default(),
            "on the way home"
        );
        let moved = look(&state, &there);
        assert!(moved.evict.is_empty() && moved.close.is_empty());
        apply(&mut state, &Command::Batch(moved.commands));
        let placement = &state.rooms[&room(1)].placements[&person(1)];
        assert_eq!(
            (placement.edge, placement.fallbacks.as_slice()),
            (edge(2), &[edge(3), edge(1)][..])
        );
        assert_eq!(look(&state, &there), Movements::default(), "and then all is well");

        // Not onto an edge that takes nobody: they are about to leave it.
        let mut state = placed(1, &[2]);
        apply(
            &mut state,
            &Command::EdgeDrain {
                edge: edge(2),
                draining: true,
                now: 2,
            },
        );
        assert_eq!(look(&state, &there), Movements::default());
    }

    #[test]
    fn of_two_connections_the_older_is_left_behind_whatever_the_ledger_says() {
        let state = placed(1, &[2]);
        for (home_ms, other_ms, expected) in [
            (60_000, 10_000, Some(edge(1))),
            (10_000, 60_000, Some(edge(2))),
            (10_000, 10_000 + AGE_MARGIN_MS - 1, None),
            (10_000, 0, None),
            (0, 1_000, None),
        ] {
            let found = look(&state, &seen(&[(1, home_ms), (2, other_ms)]));
            assert!(found.commands.is_empty());
            let left: Vec<_> = found.evict.iter().map(|left| left.edge).collect();
            assert_eq!(
                left,
                Vec::from_iter(expected),
                "{home_ms} at home, {other_ms} elsewhere"
            );
        }
    }

    #[test]
    fn an_ended_room_ends_everywhere_and_an_unknown_one_is_left_alone() {
        let mut state = placed(1, &[]);
        let telemetry = seen(&[(1, 9_000), (2, 9_000)]);
        apply(
            &mut state,
            &Command::RoomClose {
                room: room(1),
                now: 2,
            },
        );
        assert_eq!(
            look(&state, &telemetry).close,
            [(edge(1), room(1)), (edge(2), room(1))]
        );
        let restored = fleet_of(&[(1, "fra-1", "eu")]);
        assert_eq!(look(&restored, &telemetry), Movements::default());
    }
}
