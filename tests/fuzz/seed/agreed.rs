//! What control nodes agree on and keep.

use medmesh_base::{ControlId, EdgeId};
use medmesh_fuzz::input::chunk;
use medmesh_fuzz::shard;
use medmesh_ledger::{
    Command, ControlDescriptor, EdgeDescriptor, EdgeStatus, Placement, Refused, Response, State,
};
use uuid::Uuid;

use crate::{join, write};

pub(crate) fn raft() {
    let story = [5, 13, 0x85, 7, 0x89, 6, 0x82, 5, 3, 0x90, 5, 5, 0x84, 5];
    for (what, name) in (0..).zip(["arbitrary", "cut", "flip_last", "flip_first", "append"]) {
        write("raft_log", name, join(&[&[what, 0, 90, 1], &story]));
    }
    // A vote, as a record's body: in the frame of `arbitrary`, and alone.
    write("raft_log", "framed", [0, 0, 0, 3, 4, 2, 3, 1, 1, 4, 3, 1, 1, 9]);
    write("raft_log", "vote", [2, 3, 1, 1]);
}

/// Bodies of votes and of what is appended; a snapshot's file.
pub(crate) fn messages() {
    let target = "raft_messages";
    write(target, "vote", [2, 1, 1, 0, 1, 1, 1, 9]);
    write(
        target,
        "append",
        [2, 1, 1, 1, 1, 1, 1, 8, 1, 1, 1, 1, 9, 1, 3, 1, 2, 3, 0],
    );
    write(target, "heartbeat", [2, 1, 1, 0, 0, 0]);
    write(
        target,
        "snapshot",
        b"MMSNAP\0\x01\x02\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0s",
    );
    write(
        target,
        "meta",
        [
            0, 0, 1, 1, 0, 1, 1, 1, b'a', b'b', b'c', b'd', b'e', b'f', b'g', b'h',
        ],
    );
}

fn commands() -> Vec<Command> {
    let edge = |number| EdgeId::from_uuid(Uuid::from_u64_pair(1, number));
    let descriptor = |number: u8| EdgeDescriptor {
        name: format!("edge-{number}"),
        region: "eu".parse().expect("a region"),
        signalling_url: "https://edge.example".to_owned(),
        link_address: "192.0.2.1:4400".to_owned(),
        turn_urls: vec!["turn:192.0.2.1:3478?transport=udp".to_owned()],
        capacity_participants: 100,
    };
    let room = shard::room(1);
    let owner = ControlId(1);
    let control = ControlDescriptor {
        link_address: "192.0.2.9:4400".to_owned(),
        http_url: "https://control.example".to_owned(),
        ledger_version: 1,
    };
    let placement = Placement {
        edge: edge(1),
        fallbacks: vec![edge(2)],
    };
    let now = 1_000;
    let assign = Command::RoomAssign {
        room,
        epoch: 0,
        residency: vec!["eu".parse().expect("a region")],
        expires_at: 10_000,
        place: vec![(shard::participant(1), placement)],
        remove: vec![shard::participant(2)],
        now,
    };
    vec![
        Command::EdgeUpsert {
            edge: edge(1),
            descriptor: descriptor(1),
            now,
        },
        Command::JoinTokenAdd {
            token: [5; 32],
            expires_at: 9_000,
            now,
        },
        Command::EdgeEnrol {
            token: [5; 32],
            edge: edge(2),
            descriptor: descriptor(2),
            now,
        },
        assign.clone(),
        Command::EdgeCordon {
            edge: edge(2),
            cordoned: true,
            now,
        },
        Command::EdgeStatusSet {
            edge: edge(2),
            status: EdgeStatus::Down,
            now,
        },
        Command::EdgeDrain {
            edge: edge(1),
            draining: true,
            now,
        },
        assign,
        Command::ControlUpsert {
            node: owner,
            descriptor: control,
            now,
        },
        Command::TokenKeyPut {
            kid: "k".to_owned(),
            jwk: "{}".to_owned(),
            owner,
            now,
        },
        Command::TokenKeyRetire {
            kid: "k".to_owned(),
            retires_at: 2_000,
            now,
        },
        Command::TurnSecretRotate { expected: 0, now },
        Command::TurnSecretRetire { previous: 0, now },
        Command::CheckpointPut {
            name: "audit".to_owned(),
            bytes: vec![1, 2],
            now,
        },
        Command::TokenRevoke {
            jti: "j".to_owned(),
            until: 3_000,
            now,
        },
        Command::Batch(vec![
            Command::Expire { now: 4_000 },
            Command::RoomClose { room, now },
        ]),
        Command::EdgeRemove { edge: edge(1), now },
        Command::ControlRemove { node: owner, now },
    ]
}

pub(crate) fn ledger() {
    let target = "ledger_codec";
    let mut history = vec![3];
    let mut state = State::default();
    for (number, command) in commands().iter().enumerate() {
        let bytes = command.encode();
        write(target, &format!("command_{number:02}"), join(&[&[0], &bytes]));
        history.extend(chunk(&bytes));
        if number < 14 {
            state.apply(command);
        }
    }
    write(target, "history", history);
    write(target, "state", join(&[&[2], &state.encode()]));
    for (name, response) in [
        ("done", Response::Done),
        ("expired", Response::Expired { count: 2, more: true }),
        ("refused", Response::Refused(Refused::StaleEpoch { current: 7 })),
        (
            "batch",
            Response::Batch(vec![
                Response::Epoch(9),
                Response::Refused(Refused::Invalid("x".to_owned())),
            ]),
        ),
    ] {
        write(
            target,
            &format!("response_{name}"),
            join(&[&[1], &response.encode()]),
        );
    }
}
