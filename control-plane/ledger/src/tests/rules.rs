//! Each rule of the ledger, with what breaks it.

use medmesh_base::ControlId;

use super::{assign, descriptor, edge_id, fleet, participant_id, place, region, room_id};
use crate::limits::{
    BATCH_COMMANDS_MAX, CHECKPOINT_BYTES_MAX, EXPIRE_MAX, JOIN_TOKEN_LIFE_MS_MAX, ROOM_LIFE_MS_MAX,
    ROOM_PARTICIPANTS_MAX,
};
use crate::{
    CloseReason, Command, ControlDescriptor, EdgeStatus, Event, LEDGER_VERSION, Limit, Refused, Response,
    State,
};

fn refused(state: &mut State, command: &Command) -> Refused {
    let before = state.clone();
    let applied = state.apply(command);
    let Response::Refused(why) = applied.response else {
        panic!("accepted: {command:?}")
    };
    assert_eq!(*state, before, "a refusal changes nothing");
    assert!(applied.events.is_empty(), "a refusal is no event");
    why
}

fn accepted(state: &mut State, command: &Command) -> (Response, Vec<Event>) {
    let applied = state.apply(command);
    assert!(
        !matches!(applied.response, Response::Refused(_)),
        "{:?}",
        applied.response
    );
    (applied.response, applied.events)
}

#[test]
fn an_assignment_is_compared_with_the_rooms_epoch() {
    let mut state = fleet();
    let (first, events) = accepted(&mut state, &assign(1, 0, &[(1, place(1, &[2]))]));
    assert_eq!(first, Response::Epoch(1));
    assert_eq!(
        events,
        [Event::RoomChanged {
            room: room_id(1),
            epoch: 1
        }]
    );
    let again = refused(&mut state, &assign(1, 0, &[(1, place(2, &[]))]));
    assert_eq!(again, Refused::StaleEpoch { current: 1 });
    let (second, _) = accepted(&mut state, &assign(1, 1, &[(2, place(3, &[]))]));
    assert_eq!(second, Response::Epoch(2));
    assert_eq!(state.rooms[&room_id(1)].mesh(), [edge_id(1), edge_id(3)]);
    assert_eq!(state.homes()[&edge_id(1)], 1);
    assert_eq!(
        refused(&mut state, &assign(9, 4, &[])),
        Refused::StaleEpoch { current: 0 }
    );
}

#[test]
fn a_room_that_was_closed_never_repeats_an_epoch() {
    let mut state = fleet();
    accepted(&mut state, &assign(1, 0, &[(1, place(1, &[]))]));
    let close = Command::RoomClose {
        room: room_id(1),
        now: 1_000,
    };
    let (_, events) = accepted(&mut state, &close);
    assert_eq!(
        events,
        [Event::RoomClosed {
            room: room_id(1),
            reason: CloseReason::Closed
        }]
    );
    assert_eq!(
        accepted(&mut state, &close),
        (Response::Done, vec![]),
        "closing again is nothing new"
    );
    let (reopened, _) = accepted(&mut state, &assign(1, 0, &[(1, place(1, &[]))]));
    assert_eq!(reopened, Response::Epoch(2));
}

#[test]
fn placements_stay_inside_the_residency_and_on_known_edges() {
    let mut state = fleet();
    let Command::RoomAssign {
        room,
        expires_at,
        remove,
        now,
        ..
    } = assign(1, 0, &[])
    else {
        unreachable!()
    };
    let resident = |place| Command::RoomAssign {
        room,
        epoch: 0,
        residency: vec![region("eu")],
        expires_at,
        place,
        remove: remove.clone(),
        now,
    };
    let home = vec![(participant_id(1), place(3, &[]))];
    assert_eq!(
        refused(&mut state, &resident(home)),
        Refused::OutsideResidency(edge_id(3))
    );
    let fallback = vec![(participant_id(1), place(1, &[3]))];
    assert_eq!(
        refused(&mut state, &resident(fallback)),
        Refused::OutsideResidency(edge_id(3))
    );
    let unknown = assign(1, 0, &[(1, place(1, &[8]))]);
    assert_eq!(refused(&mut state, &unknown), Refused::UnknownEdge(edge_id(8)));
    let many = place(1, &[2, 2, 2, 2, 2]);
    assert_eq!(
        refused(&mut state, &assign(1, 0, &[(1, many)])),
        Refused::Invalid("fallbacks".into())
    );
    let late = Command::RoomAssign {
        room,
        epoch: 0,
        residency: vec![],
        expires_at: now + ROOM_LIFE_MS_MAX + 1,
        place: vec![],
        remove: vec![],
        now,
    };
    assert_eq!(refused(&mut state, &late), Refused::Invalid("expires_at".into()));
}

#[test]
fn an_edge_that_takes_nobody_new_keeps_whom_it_has() {
    let cordon = Command::EdgeCordon {
        edge: edge_id(1),
        cordoned: true,
        now: 1,
    };
    let drain = Command::EdgeDrain {
        edge: edge_id(1),
        draining: true,
        now: 1,
    };
    let down = Command::EdgeStatusSet {
        edge: edge_id(1),
        status: EdgeStatus::Down,
        now: 1,
    };
    for closing in [cordon, drain, down] {
        let mut state = fleet();
        accepted(&mut state, &assign(1, 0, &[(1, place(1, &[]))]));
        let (_, events) = accepted(&mut state, &closing);
        assert_eq!(events, [Event::EdgeChanged(edge_id(1))]);
        assert_eq!(accepted(&mut state, &closing).1, [], "the same again is no event");
        let newcomer = assign(1, 1, &[(2, place(1, &[]))]);
        assert_eq!(
            refused(&mut state, &newcomer),
            Refused::EdgeUnavailable(edge_id(1))
        );
        accepted(&mut state, &assign(1, 1, &[(1, place(1, &[2]))]));
    }
}

#[test]
fn an_edge_with_placements_is_not_removed_and_its_name_and_region_are_its_own() {
    let mut state = fleet();
    accepted(&mut state, &assign(1, 0, &[(1, place(1, &[2]))]));
    for number in [1, 2] {
        let remove = Command::EdgeRemove {
            edge: edge_id(number),
            now: 1,
        };
        assert_eq!(refused(&mut state, &remove), Refused::EdgeInUse(edge_id(number)));
    }
    let (_, events) = accepted(
        &mut state,
        &Command::EdgeRemove {
            edge: edge_id(3),
            now: 1,
        },
    );
    assert_eq!(events, [Event::EdgeRemoved(edge_id(3))]);
    let thief = Command::EdgeUpsert {
        edge: edge_id(7),
        descriptor: descriptor(1, "eu"),
        now: 1,
    };
    assert_eq!(refused(&mut state, &thief), Refused::NameTaken);
    let mover = Command::EdgeUpsert {
        edge: edge_id(1),
        descriptor: descriptor(1, "us"),
        now: 1,
    };
    assert_eq!(refused(&mut state, &mover), Refused::RegionChanged);
    let mut nameless = descriptor(8, "eu");
    nameless.name = "two words".into();
    let nameless = Command::EdgeUpsert {
        edge: edge_id(8),
        descriptor: nameless,
        now: 1,
    };
    assert_eq!(
        refused(&mut state, &nameless),
        Refused::Invalid("edge name".into())
    );
    assert_eq!(
        refused(
            &mut state,
            &Command::EdgeCordon {
                edge: edge_id(9),
                cordoned: true,
                now: 1
            }
        ),
        Refused::UnknownEdge(edge_id(9))
    );
}

fn enrol(edge: u64, now: u64) -> Command {
    Command::EdgeEnrol {
        token: [7; 32],
        edge: edge_id(edge),
        descriptor: descriptor(edge, "eu"),
        now,
    }
}

#[test]
fn a_join_token_works_once_and_in_time() {
    let mut state = State::default();
    let add = Command::JoinTokenAdd {
        token: [7; 32],
        expires_at: 2_000,
        now: 1_000,
    };
    assert_eq!(refused(&mut state, &enrol(1, 1_000)), Refused::TokenUnknown);
    accepted(&mut state, &add);
    let (_, events) = accepted(&mut state, &enrol(1, 1_500));
    assert_eq!(events, [Event::JoinTokensChanged, Event::EdgeChanged(edge_id(1))]);
    assert_eq!(state.join_token(&[7; 32]).unwrap().used_by, Some(edge_id(1)));
    assert_eq!(refused(&mut state, &enrol(2, 1_500)), Refused::TokenUsed);
    assert_eq!(
        accepted(&mut state, &enrol(1, 1_500)),
        (Response::Done, vec![]),
        "the same enrolment again"
    );
    let mut state = State::default();
    accepted(&mut state, &add);
    assert_eq!(refused(&mut state, &enrol(1, 2_000)), Refused::TokenExpired);
    let long = Command::JoinTokenAdd {
        token: [8; 32],
        expires_at: 1_001 + JOIN_TOKEN_LIFE_MS_MAX,
        now: 1_000,
    };
    assert_eq!(refused(&mut state, &long), Refused::Invalid("expires_at".into()));
}

#[test]
fn a_join_token_is_remembered_for_a_day_so_that_it_is_made_once() {
    let mut state = State::default();
    let add = |expires_at, now| Command::JoinTokenAdd {
        token: [7; 32],
        expires_at,
        now,
    };
    accepted(&mut state, &add(2_000, 1_000));
    assert_eq!(state.join_token(&[7; 32]).unwrap().life_ms(), Some(1_000));
    // Asked again, whenever: nothing changes, least of all its end.
    let a_day = 1_000 + JOIN_TOKEN_LIFE_MS_MAX;
    for now in [1_500, 5_000, a_day - 1] {
        let again = accepted(&mut state, &add(now + 1_000, now));
        assert_eq!(again, (Response::Done, vec![]), "{now}");
        accepted(&mut state, &Command::Expire { now });
        assert_eq!(state.join_token(&[7; 32]).unwrap().expires_at, 2_000, "{now}");
        assert_eq!(
            refused(&mut state, &enrol(1, now.max(2_000))),
            Refused::TokenExpired,
            "{now}"
        );
    }
    let (_, events) = accepted(&mut state, &Command::Expire { now: a_day });
    assert_eq!(events, [Event::JoinTokensChanged]);
    assert!(state.join_token(&[7; 32]).is_none());
    // What an older build wrote goes when its time is over.
    let mut state = State::default();
    accepted(&mut state, &add(2_000, 1_000));
    state
        .join_tokens
        .values_mut()
        .for_each(|token| token.made_at = None);
    accepted(&mut state, &Command::Expire { now: 2_000 });
    assert!(state.join_token(&[7; 32]).is_none());
}

#[test]
fn a_refused_enrolment_does_not_spend_the_token() {
    let mut state = fleet();
    accepted(
        &mut state,
        &Command::JoinTokenAdd {
            token: [7; 32],
            expires_at: 2_000,
            now: 1_000,
        },
    );
    let taken = Command::EdgeEnrol {
        token: [7; 32],
        edge: edge_id(8),
        descriptor: descriptor(1, "eu"),
        now: 1_000,
    };
    assert_eq!(refused(&mut state, &taken), Refused::NameTaken);
    accepted(&mut state, &enrol(9, 1_000));
}

#[test]
fn turn_epochs_rotate_by_comparison() {
    let mut state = State::default();
    let rotate = |expected| Command::TurnSecretRotate { expected, now: 5 };
    assert_eq!(accepted(&mut state, &rotate(0)).0, Response::Epoch(1));
    assert_eq!(state.turn.previous, None);
    assert_eq!(
        refused(&mut state, &rotate(0)),
        Refused::StaleEpoch { current: 1 }
    );
    assert_eq!(accepted(&mut state, &rotate(1)).0, Response::Epoch(2));
    assert_eq!((state.turn.current, state.turn.previous), (2, Some(1)));
    accepted(&mut state, &Command::TurnSecretRetire { previous: 1, now: 6 });
    assert_eq!(state.turn.previous, None);
}

#[test]
fn token_keys_are_published_once_and_go_when_retired() {
    let mut state = State::default();
    let put = |jwk: &str| Command::TokenKeyPut {
        kid: "k1".into(),
        jwk: jwk.into(),
        owner: ControlId(1),
        now: 10,
    };
    assert_eq!(accepted(&mut state, &put("{}")).1, [Event::TokenKeysChanged]);
    assert_eq!(accepted(&mut state, &put("{}")).1, []);
    assert_eq!(refused(&mut state, &put("{\"x\":1}")), Refused::KeyTaken);
    accepted(
        &mut state,
        &Command::TokenKeyRetire {
            kid: "k1".into(),
            retires_at: 50,
            now: 11,
        },
    );
    accepted(&mut state, &Command::Expire { now: 49 });
    assert_eq!(state.token_keys["k1"].epoch, 1);
    accepted(&mut state, &Command::Expire { now: 50 });
    assert!(state.token_keys.is_empty());
}

#[test]
fn expiry_forgets_in_portions_and_says_so() {
    let mut state = fleet();
    for number in 0..EXPIRE_MAX as u64 + 1 {
        accepted(&mut state, &assign(number, 0, &[]));
    }
    accepted(
        &mut state,
        &Command::TokenRevoke {
            jti: "j".into(),
            until: 9_999,
            now: 1_000,
        },
    );
    let (early, events) = accepted(&mut state, &Command::Expire { now: 9_998 });
    assert_eq!(
        (early, events.len()),
        (
            Response::Expired {
                count: 0,
                more: false
            },
            0
        )
    );
    let (first, events) = accepted(&mut state, &Command::Expire { now: 10_000 });
    assert_eq!(
        (first, events.len()),
        (
            Response::Expired {
                count: 1_024,
                more: true
            },
            EXPIRE_MAX
        )
    );
    let (rest, events) = accepted(&mut state, &Command::Expire { now: 10_000 });
    assert_eq!(
        rest,
        Response::Expired {
            count: 2,
            more: false
        }
    );
    assert!(events.contains(&Event::RevocationsChanged) && state.revocations.is_empty());
}

#[test]
fn a_batch_answers_each_command_and_is_bounded_and_flat() {
    let mut state = fleet();
    let batch = Command::Batch(vec![
        assign(1, 0, &[(1, place(1, &[]))]),
        assign(1, 0, &[]),
        Command::Batch(vec![]),
        Command::RoomClose {
            room: room_id(1),
            now: 1,
        },
    ]);
    let (response, events) = accepted(&mut state, &batch);
    let expected = vec![
        Response::Epoch(1),
        Response::Refused(Refused::StaleEpoch { current: 1 }),
        Response::Refused(Refused::NestedBatch),
        Response::Done,
    ];
    assert_eq!(response, Response::Batch(expected));
    assert_eq!(events.len(), 2);
    let large = Command::Batch(vec![Command::Expire { now: 1 }; BATCH_COMMANDS_MAX + 1]);
    assert_eq!(
        refused(&mut state, &large),
        Refused::LimitReached(Limit::BatchCommands)
    );
}

#[test]
fn rooms_and_checkpoints_are_bounded() {
    let mut state = fleet();
    let crowd: Vec<_> = (0..=ROOM_PARTICIPANTS_MAX as u64)
        .map(|who| (who, place(1, &[])))
        .collect();
    assert_eq!(
        refused(&mut state, &assign(1, 0, &crowd)),
        Refused::LimitReached(Limit::RoomParticipants)
    );
    let large = Command::CheckpointPut {
        name: "a".into(),
        bytes: vec![0; CHECKPOINT_BYTES_MAX + 1],
        now: 1,
    };
    assert_eq!(refused(&mut state, &large), Refused::Invalid("checkpoint".into()));
}

#[test]
fn the_clock_never_goes_back_and_the_oldest_node_sets_the_version() {
    let mut state = State::default();
    accepted(&mut state, &Command::Expire { now: 500 });
    accepted(&mut state, &Command::Expire { now: 400 });
    assert_eq!(state.now, 500);
    assert_eq!(state.version_floor(), 1);
    for (node, ledger_version) in [(1, LEDGER_VERSION), (2, LEDGER_VERSION + 1)] {
        let descriptor = ControlDescriptor {
            link_address: "192.0.2.9:4400".into(),
            http_url: "https://control.example.net".into(),
            ledger_version,
        };
        accepted(
            &mut state,
            &Command::ControlUpsert {
                node: ControlId(node),
                descriptor,
                now: 1,
            },
        );
    }
    assert_eq!(state.version_floor(), LEDGER_VERSION);
    let (_, events) = accepted(
        &mut state,
        &Command::ControlRemove {
            node: ControlId(1),
            now: 1,
        },
    );
    assert_eq!(events, [Event::ControlChanged(ControlId(1))]);
}
