//! Bytes that other versions wrote and will write.

use medmesh_base::ControlId;
use proptest::prelude::*;

use super::{assign, descriptor, edge_id, fleet, place, room_id};
use crate::{
    Command, ControlDescriptor, DecodeError, EdgeStatus, LEDGER_VERSION, Limit, Refused, Response, State,
    codec,
};

/// One of every command, in the order of their variants.
fn commands() -> Vec<Command> {
    let edge = edge_id(1);
    let control = ControlDescriptor {
        link_address: "192.0.2.1:4400".into(),
        http_url: "https://c1.example.net".into(),
        ledger_version: 1,
    };
    vec![
        Command::Batch(vec![Command::Expire { now: 300 }]),
        Command::EdgeUpsert {
            edge,
            descriptor: descriptor(1, "eu"),
            now: 1,
        },
        Command::EdgeEnrol {
            token: [5; 32],
            edge,
            descriptor: descriptor(1, "eu"),
            now: 1,
        },
        Command::EdgeStatusSet {
            edge,
            status: EdgeStatus::Down,
            now: 1,
        },
        Command::EdgeCordon {
            edge,
            cordoned: true,
            now: 1,
        },
        Command::EdgeDrain {
            edge,
            draining: true,
            now: 1,
        },
        Command::EdgeRemove { edge, now: 1 },
        assign(1, 2, &[(3, place(1, &[2]))]),
        Command::RoomClose {
            room: room_id(1),
            now: 1,
        },
        Command::Expire { now: 1 },
        Command::ControlUpsert {
            node: ControlId(1),
            descriptor: control,
            now: 1,
        },
        Command::ControlRemove {
            node: ControlId(1),
            now: 1,
        },
        Command::TokenKeyPut {
            kid: "k".into(),
            jwk: "{}".into(),
            owner: ControlId(1),
            now: 1,
        },
        Command::TokenKeyRetire {
            kid: "k".into(),
            retires_at: 2,
            now: 1,
        },
        Command::TurnSecretRotate { expected: 1, now: 1 },
        Command::TurnSecretRetire { previous: 1, now: 1 },
        Command::JoinTokenAdd {
            token: [5; 32],
            expires_at: 2,
            now: 1,
        },
        Command::CheckpointPut {
            name: "audit".into(),
            bytes: vec![1, 2],
            now: 1,
        },
        Command::TokenRevoke {
            jti: "j".into(),
            until: 2,
            now: 1,
        },
    ]
}

fn responses() -> Vec<Response> {
    let refusals = [
        Refused::StaleEpoch { current: 7 },
        Refused::UnknownEdge(edge_id(1)),
        Refused::UnknownRoom(room_id(1)),
        Refused::UnknownControl(ControlId(1)),
        Refused::UnknownTokenKey,
        Refused::EdgeUnavailable(edge_id(1)),
        Refused::EdgeInUse(edge_id(1)),
        Refused::OutsideResidency(edge_id(1)),
        Refused::NameTaken,
        Refused::RegionChanged,
        Refused::KeyTaken,
        Refused::TokenUnknown,
        Refused::TokenExpired,
        Refused::TokenUsed,
        Refused::LimitReached(Limit::BatchCommands),
        Refused::Invalid("x".into()),
        Refused::NestedBatch,
    ];
    let plain = [
        Response::Done,
        Response::Epoch(9),
        Response::Expired { count: 2, more: true },
        Response::Batch(vec![Response::Done]),
    ];
    plain
        .into_iter()
        .chain(refusals.into_iter().map(Response::Refused))
        .collect()
}

/// What ledger version 2 added.
fn commands_of_version_2() -> Vec<Command> {
    vec![
        super::audit::head(3, 0, vec![medmesh_tlog::Hash([7; 32])]),
        Command::AuditAlarm {
            clinic: super::audit::clinic(1),
            leaf: crate::LeafPromise {
                id: medmesh_base::AuditId::from_uuid(uuid::Uuid::from_u64_pair(5, 1)),
                commitment: medmesh_tlog::Hash([1; 32]),
            },
            now: 1,
        },
    ]
}

/// What ledger version 3 added.
fn commands_of_version_3() -> Vec<Command> {
    vec![
        Command::AuditKeyRotate {
            clinic: super::audit::clinic(1),
            epoch: 1,
            notice: "n".into(),
            now: 1,
        },
        Command::AuditResume {
            clinic: super::audit::clinic(1),
            note: "c".into(),
            proof: vec![medmesh_tlog::Hash([7; 32])],
            notice: "n".into(),
            now: 1,
        },
    ]
}

fn responses_of_version_3() -> Vec<Response> {
    vec![Response::Refused(Refused::LimitReached(Limit::AuditNotices))]
}

fn responses_of_version_2() -> Vec<Response> {
    let refusals = [
        Refused::AuditNotExtended { size: 3 },
        Refused::LimitReached(Limit::AuditAlarms),
    ];
    refusals.into_iter().map(Response::Refused).collect()
}

/// What version 1 wrote, one hex line each; `UPDATE_GOLDEN=1` appends for *new* variants.
const GOLDEN: &str = include_str!("golden/v1.txt");
const GOLDEN_PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/golden/v1.txt");

#[test]
fn what_version_1_wrote_reads_and_is_still_written() {
    let commands: Vec<Vec<u8>> = commands().iter().map(Command::encode).collect();
    let responses: Vec<Vec<u8>> = responses().iter().map(Response::encode).collect();
    let written: String = commands
        .iter()
        .chain(&responses)
        .chain(
            &commands_of_version_2()
                .iter()
                .map(Command::encode)
                .collect::<Vec<_>>(),
        )
        .chain(
            &responses_of_version_2()
                .iter()
                .map(Response::encode)
                .collect::<Vec<_>>(),
        )
        .chain(
            &commands_of_version_3()
                .iter()
                .map(Command::encode)
                .chain(responses_of_version_3().iter().map(Response::encode))
                .collect::<Vec<_>>(),
        )
        .map(|bytes| codec::hex(bytes) + "\n")
        .collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        assert!(
            written.starts_with(GOLDEN),
            "an existing encoding changed: append a variant instead"
        );
        std::fs::write(GOLDEN_PATH, &written).unwrap();
        return;
    }
    assert_eq!(
        written, GOLDEN,
        "a command or response is encoded differently: old logs would not read"
    );
}

#[test]
fn everything_reads_back() {
    let commands = commands().into_iter().chain(commands_of_version_2());
    for command in commands.chain(commands_of_version_3()) {
        assert_eq!(Command::decode(&command.encode()), Ok(command.clone()));
        assert!(command.since() <= LEDGER_VERSION);
    }
    let responses = responses().into_iter().chain(responses_of_version_2());
    for response in responses.chain(responses_of_version_3()) {
        assert_eq!(Response::decode(&response.encode()), Ok(response));
    }
}

#[test]
fn what_is_unknown_is_said_to_be() {
    assert_eq!(Command::decode(&[]), Err(DecodeError::Empty));
    assert_eq!(Command::decode(&[9, 0]), Err(DecodeError::Encoding(9)));
    assert!(
        matches!(Command::decode(&[1, 200]), Err(DecodeError::Malformed(_))),
        "a later version's command"
    );
    let mut longer = Command::Expire { now: 1 }.encode();
    longer.push(0);
    assert!(matches!(Command::decode(&longer), Err(DecodeError::Malformed(_))));
}

#[test]
fn a_state_of_the_next_version_reads_and_one_of_the_last_gets_defaults() {
    let state = fleet();
    let text = String::from_utf8(state.encode()[1..].to_vec()).unwrap();
    let newer = text.replacen('{', "{\"added_in_version_2\":[1],", 1);
    assert_eq!(State::decode(&[&[1], newer.as_bytes()].concat()), Ok(state));
    assert_eq!(State::decode(b"\x01{}"), Ok(State::default()));
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes: Vec<u8>) {
        let _ = Command::decode(&bytes);
        let _ = Response::decode(&bytes);
        let _ = State::decode(&bytes);
        let versioned = [&[1], bytes.as_slice()].concat();
        let _ = Command::decode(&versioned);
        let _ = Response::decode(&versioned);
    }
}
