//! Random histories: whatever is asked in whatever order, the invariants hold.

use medmesh_base::ControlId;
use proptest::prelude::*;

use super::{descriptor, edge_id, participant_id, place, region, room_id};
use crate::invariant::check;
use crate::limits::FALLBACKS_MAX;
use crate::{Command, EdgeStatus, Event, Refused, Response, State};

// Few of each, so that commands meet.
const EDGES: u64 = 5;
const ROOMS: u64 = 4;
const TIME: u64 = 4_000;

fn region_of(edge: u64) -> &'static str {
    if edge.is_multiple_of(2) { "eu" } else { "us" }
}

fn edge_command() -> impl Strategy<Value = Command> {
    let (edge, now, flag) = (0..EDGES, 0..TIME, any::<bool>());
    (edge, now, flag, 0..7u8).prop_map(|(number, now, flag, kind)| {
        let edge = edge_id(number);
        let descriptor = descriptor(number, region_of(number));
        match kind {
            0 | 1 => Command::EdgeUpsert {
                edge,
                descriptor,
                now,
            },
            2 => Command::EdgeEnrol {
                token: [u8::from(flag); 32],
                edge,
                descriptor,
                now,
            },
            3 => Command::EdgeStatusSet {
                edge,
                status: if flag { EdgeStatus::Up } else { EdgeStatus::Down },
                now,
            },
            4 => Command::EdgeCordon {
                edge,
                cordoned: flag,
                now,
            },
            5 => Command::EdgeDrain {
                edge,
                draining: flag,
                now,
            },
            _ => Command::EdgeRemove { edge, now },
        }
    })
}

fn room_command() -> impl Strategy<Value = Command> {
    let placement = (
        0..EDGES,
        proptest::collection::vec(0..EDGES, 0..=FALLBACKS_MAX + 1),
    );
    let placements = proptest::collection::vec((0..20u64, placement), 0..6);
    let remove = proptest::collection::vec(0..20u64, 0..3);
    (0..ROOMS, 0..30u64, 0..3u8, 0..TIME, placements, remove).prop_map(
        |(room, epoch, residency, now, placements, remove)| Command::RoomAssign {
            room: room_id(room),
            epoch,
            residency: match residency {
                0 => vec![region("eu")],
                _ => vec![],
            },
            expires_at: now + 500,
            place: placements
                .into_iter()
                .map(|(who, (home, fallbacks))| (participant_id(who), place(home, &fallbacks)))
                .collect(),
            remove: remove.into_iter().map(participant_id).collect(),
            now,
        },
    )
}

fn other_command() -> impl Strategy<Value = Command> {
    (0..ROOMS, 0..3u64, 0..TIME, any::<bool>(), 0..8u8).prop_map(
        |(room, small, now, flag, kind)| match kind {
            0 => Command::RoomClose {
                room: room_id(room),
                now,
            },
            1 => Command::Expire { now },
            2 => Command::TurnSecretRotate { expected: small, now },
            3 => Command::TurnSecretRetire { previous: small, now },
            4 => Command::JoinTokenAdd {
                token: [u8::from(flag); 32],
                expires_at: now + 300,
                now,
            },
            5 => Command::CheckpointPut {
                name: format!("c{small}"),
                bytes: vec![1],
                now,
            },
            6 => Command::TokenKeyPut {
                kid: format!("k{small}"),
                jwk: "{}".into(),
                owner: ControlId(small),
                now,
            },
            _ => Command::TokenRevoke {
                jti: format!("j{small}"),
                until: now + 100,
                now,
            },
        },
    )
}

fn command() -> impl Strategy<Value = Command> {
    let single = prop_oneof![3 => edge_command(), 4 => room_command(), 2 => other_command()];
    let single = single.boxed();
    prop_oneof![
        8 => single.clone(),
        1 => proptest::collection::vec(single, 0..5).prop_map(Command::Batch),
    ]
}

/// A caller that knows the epoch in force: without it few assignments would be accepted.
fn informed(mut command: Command, state: &State) -> Command {
    if let Command::RoomAssign { room, epoch, .. } = &mut command
        && *epoch % 4 != 3
    {
        *epoch = state.rooms.get(room).map_or(0, |room| room.epoch);
    }
    command
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn invariants_hold_and_nodes_agree(commands in proptest::collection::vec(command(), 1..120), cut: usize) {
        let mut one = State::default();
        let mut log = Vec::new();
        for command in commands {
            let command = informed(command, &one);
            let before = one.clone();
            let applied = one.apply(&command);
            if matches!(applied.response, Response::Refused(_)) {
                prop_assert_eq!(&one, &before, "a refusal changes nothing");
            }
            let unmoved = one == before;
            let moved = applied.events.iter().any(|event| matches!(event, Event::RoomChanged { .. }));
            prop_assert!(!(unmoved && moved), "a room that changed is a change");
            check(&one, &before);
            log.push((command, applied));
        }
        // Another node applies the same log, part of it before a snapshot and part after.
        let mut two = State::default();
        let cut = cut % (log.len() + 1);
        for (position, (command, applied)) in log.iter().enumerate() {
            if position == cut {
                two = State::decode(&two.encode()).unwrap();
            }
            let command = Command::decode(&command.encode()).unwrap();
            prop_assert_eq!(&two.apply(&command), applied);
        }
        prop_assert_eq!(&State::decode(&one.encode()).unwrap(), &one);
        prop_assert_eq!(two, one);
    }

    #[test]
    fn a_repeated_proposal_changes_nothing_more(commands in proptest::collection::vec(command(), 1..60)) {
        let mut state = State::default();
        for command in commands {
            let command = informed(command, &state);
            let first = state.apply(&command).response;
            let after = state.clone();
            let second = state.apply(&command).response;
            if let Command::RoomAssign { .. } = command {
                prop_assert_eq!(&state, &after);
                if let Response::Epoch(current) = first {
                    prop_assert_eq!(second, Response::Refused(Refused::StaleEpoch { current }));
                }
            } else if !matches!(command, Command::Expire { .. } | Command::Batch(_)) {
                prop_assert_eq!(&state, &after, "{:?}", command);
            }
        }
    }
}
