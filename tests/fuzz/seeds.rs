//! Writes the seeds: what well-behaved peers say, in each target's own form, so that the
//! fuzzer starts behind the first checks. `tests/fuzz/run seeds`. Files named `find_…` are
//! what once broke a promise; they are kept by hand.

use std::fs;
use std::path::Path;

// Its runtime is what the instrumentation of this build links against.
use libfuzzer_sys as _;
use medmesh_base::{ControlId, EdgeId};
use medmesh_fuzz::input::chunk;
use medmesh_fuzz::offer::{self, Line, offer};
use medmesh_fuzz::{shard, stun};
use medmesh_ledger::{
    Command, ControlDescriptor, EdgeDescriptor, EdgeStatus, Placement, Refused, Response, State,
};
use medmesh_link::{ClusterCa, ClusterName, Datagram, JoinToken, LEAF_LIFE, Probe, Role};
use medmesh_turn::codec::{Builder, Class, IntegrityKind, Method, attribute};
use medmesh_wire::{fleet, mesh};
use prost::Message as _;
use time::OffsetDateTime;
use uuid::Uuid;

fn main() {
    turn();
    signalling();
    sfu();
    links();
    meshes();
    raft();
    ledger();
    clinic();
}

fn write(target: &str, name: &str, bytes: impl AsRef<[u8]>) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&directory).expect("a checkout to write into");
    fs::write(directory.join(name), bytes).expect("a checkout to write into");
}

/// Parts one after the other.
fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn turn() {
    let message = |class, method| Builder::new(class, method, [7; 12]);
    let peer = "192.0.2.1:1000".parse().expect("an address");
    let allocate = message(Class::Request, Method::ALLOCATE)
        .attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
        .attribute(attribute::LIFETIME, &600_u32.to_be_bytes())
        .attribute(attribute::EVEN_PORT, &[0x80])
        .attribute(attribute::USERNAME, b"1800000000:a")
        .attribute(attribute::REALM, b"medmesh")
        .attribute(attribute::NONCE, b"0123456789abcdef")
        .integrity(IntegrityKind::Sha1, &[7; 16])
        .integrity(IntegrityKind::Sha256, &[7; 16])
        .fingerprint()
        .finish();
    let bind = message(Class::Request, Method::CHANNEL_BIND)
        .attribute(attribute::CHANNEL_NUMBER, &[0x40, 0, 0, 0])
        .address(attribute::XOR_PEER_ADDRESS, peer)
        .finish();
    let send = message(Class::Indication, Method::SEND)
        .address(attribute::XOR_PEER_ADDRESS, peer)
        .attribute(attribute::DATA, b"data")
        .finish();
    let answer = message(Class::Success, Method::ALLOCATE)
        .address(
            attribute::XOR_RELAYED_ADDRESS,
            "[2001:db8::1]:50000".parse().expect("an address"),
        )
        .finish();
    for (name, bytes) in [
        ("allocate", &allocate),
        ("bind", &bind),
        ("send", &send),
        ("answer", &answer),
    ] {
        write("turn_codec", name, bytes);
    }
    write("turn_proxy", "local", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    write(
        "turn_proxy",
        "ipv4",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\xC0\0\x02\x01\xC0\0\x02\x02\x10\0\x01\xBB",
    );
    let address = stun::check("abcd", "password", "efgh", 1);
    write("turn_codec", "check", &address);
    write("turn_codec", "channel", [0x40, 0, 0, 4, 1, 2, 3, 4]);
    write(
        "turn_codec",
        "address",
        join(&[&[7; 12], &[0, 1, 0x21, 0x12, 0xE1, 0x12, 0xA6, 0x43]]),
    );
    // Allocate twice (the first fetches a nonce), permit, bind, relay both ways, wait.
    let life = [
        &[8, 1, 0][..],
        &[8, 2, 0],
        &[6, 3, 1, 0, 0x10],
        &[7, 4, 2, 3, 0, 0, 0x11],
        &[2, 0, 4],
        &[4, 0x11],
        &[3, 0x11, 0],
        &[1, 60],
        &[5, 5, 1, 5, 0],
        &[1, 255],
    ];
    write("turn_server", "life", life.concat());
    // Mobile with the next port held, its second allocation, permit, bind, both ways, move;
    // TCP, connect, answer, bind, a peer comes; lose the connection, come back, wait.
    let book = [
        [1, 0, 0x0E],
        [1, 2, 0x80],
        [4, 0, 0],
        [5, 0, 1],
        [6, 0, 1],
        [7, 0, 0],
        [8, 0, 0],
        [9, 2, 0],
        [3, 2, 0],
        [9, 2, 0],
        [1, 4, 1],
        [4, 4, 0],
        [10, 4, 0],
        [11, 0, 0],
        [13, 6, 0],
        [12, 0, 4],
        [14, 0, 1],
        [1, 5, 2],
        [15, 5, 0],
        [9, 1, 1],
        [0, 0, 9],
        [0, 0, 255],
    ];
    write("turn_model", "book", book.concat());
    let length = u8::try_from(allocate.len()).expect("a short request");
    write(
        "turn_server",
        "raw",
        join(&[&[0, length], &allocate, &[0, 8, 0x40, 0, 0, 4, 1, 2, 3, 4]]),
    );
}

fn signalling() {
    let edge = Uuid::from_u64_pair(1, 1);
    let person = Uuid::from_u64_pair(3, 1);
    let header = r#"{"typ":"JWT","alg":"ES256","kid":"k"}"#;
    let claims = |kind: &str, life: i64| {
        let exp = medmesh_edge::fuzz::NOW + life;
        let now = medmesh_edge::fuzz::NOW;
        format!(
            r#"{{"iss":"medmesh","aud":"edge","sub":"{person}","jti":"j","iat":{now},"nbf":{now},"exp":{exp},"typ":"{kind}","room":"{person}","epoch":7,"grants":{{"publish":["mic","camera","screen"],"subscribe":true}},"edges":[{{"id":"{edge}","url":"https://e","link":"e:1"}}],"mesh":[{{"id":"{edge}","link":"e:1"}}],"cnf":{{"jwk":"@jwk"}}}}"#
        )
    };
    let proof_header = r#"{"typ":"dpop+jwt","alg":"ES256","jwk":"@jwk"}"#;
    let proof = format!(
        r#"{{"htm":"POST","htu":"https://edge.example/v1/whip","iat":{},"jti":"p"}}"#,
        medmesh_edge::fuzz::NOW
    );
    let target = "edge_signalling";
    write(target, "join", format!("\u{1}{header}\n{}", claims("join", 60)));
    let resume = format!(
        "\u{1}{header}\n{}\n{proof_header}\n{proof}",
        claims("resume", 3600)
    );
    write(target, "resume", resume);
    write(
        target,
        "bearer",
        "\0eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.e30.AAAA\neyJ0eXAiOiJkcG9wK2p3dCJ9.e30.AAAA",
    );
    write(
        target,
        "resource",
        format!("\u{3}{:032x}", 3_u128 << 120 | 0xABCDEF),
    );
    let config = fleet::EdgeConfig {
        version: 4,
        jwks: r#"{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA","kid":"k"}]}"#.to_owned(),
        revoked_jti: vec!["j".to_owned()],
        allowed_origins: vec!["https://portal".to_owned()],
        ..fleet::EdgeConfig::default()
    };
    write(target, "config", join(&[&[2], &config.encode_to_vec()]));
    write(target, "jwks", format!("\u{2}{}", config.jwks));
}

fn sfu() {
    let restart = "\0a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef0123456789\r\n";
    write("sfu_offer", "visit", offer::visit() + restart);
    write(
        "sfu_offer",
        "whip",
        offer(&[Line::Audio { sends: true }, Line::Video { sends: true }]) + restart,
    );
    write(
        "sfu_offer",
        "whep",
        offer(&[Line::Audio { sends: false }, Line::Video { sends: false }]),
    );
    write("sfu_offer", "data", offer(&[Line::Data]));
    let person = shard::participant(1);
    let say = |who: u8, text: &str| join(&[&[who], &chunk(text.as_bytes())]);
    let wish =
        format!(r#"{{"type":"wish","video":[{{"participant":"{person}","source":"camera","height":720}}]}}"#);
    let story = [
        say(0, r#"{"type":"ping","t":1}"#),
        say(1, r#"{"type":"source","source":"camera","active":true}"#),
        say(0, &wish),
        say(255, r#"{"type":"source","source":"mic","active":false}"#),
        say(0, r#"{"type":"later","x":[1]}"#),
        say(1, r#"{"type":"leave"}"#),
    ];
    write("sfu_control", "visit", story.concat());
    write("sfu_control", "ping", &story[0]);
    sfu_packets();
    for (name, head) in [
        ("audio", &[0xC0, 1, 0, 0, 0, 0, 0, 9, 0, 0, 3, 0xC0, 0x85][..]),
        ("video", &[0x20, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 9, 1]),
        ("fragment", &[0x10, 5, 0, 0, 0, 0, 1, 0, 0, 0, 0, 9, 0x02]),
    ] {
        write(
            "sfu_mesh_body",
            name,
            join(&[head, &[0x90, 0x80, 0x80, 1, 0x10, 0, 0, 0x9D, 1, 0x2A]]),
        );
    }
}

/// A link comes up, somebody is there, their camera is pulled, packets come, both leave.
fn sfu_packets() {
    let body = |sequence: u8| {
        let head = [0x80, 2, 0, 0, 0, 0, 0, sequence, 0, 0, 0, 9];
        chunk(&join(&[&head, &[0x10, 0, 0, 0, 0x9D, 1, 0x2A, 0x40, 1, 0xF0, 0]]))
    };
    let up = [8, 1, 150];
    let state = [4, 1, 0, 1, 1, 1, 5, 2, 0, 1, 1, 3];
    let connect = join(&[&[11, 0], &chunk(br#"{"type":"ping","t":1}"#)]);
    let media = |sequence| join(&[&[2, 1, 0], &body(sequence)]);
    let wait = [7, 0, 8, 0];
    let pull = join(&[
        &up,
        &state,
        &connect,
        &wait,
        &media(1),
        &media(2),
        &media(4),
        &wait,
        &media(3),
        &[9, 1],
        &[12, 0, 0],
    ]);
    write("sfu_packets", "pull", pull);
    let subscribe = [5, 1, 7, 0, 0, 1 << 4 | 1];
    let give = join(&[
        &up,
        &[8, 2, 150],
        &subscribe,
        &wait,
        &[6, 0x11, 7],
        &[6, 0x21, 7],
        &chunk(&[1, 2, 3]),
        &[10, 1, 2],
        &wait,
    ]);
    write("sfu_packets", "give", give);
    let hello = [&[22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4][..], &[1, 0, 0, 0]].concat();
    let rtp = [&[0x80, 0x6F, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1][..], &[9; 20]].concat();
    let rtcp = [0x81, 0xC9, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2];
    let mut noise = Vec::new();
    for bytes in [&hello[..], &rtp, &rtcp, &stun::check("aaaa", "bbbb", "cccc", 1)] {
        noise.extend_from_slice(&join(&[&[0, 0], &chunk(bytes), &[0, 1], &chunk(bytes)]));
    }
    noise.extend_from_slice(&[1, 2, 0]);
    write("sfu_packets", "noise", noise);
    let speaking = mesh::MeshMessage {
        message: Some(mesh::mesh_message::Message::Speaking(mesh::Speaking {
            room_id: shard::room(0).to_vec(),
            participant_id: shard::participant(1).to_vec(),
            level: 20,
        })),
    };
    write(
        "sfu_packets",
        "speaking",
        join(&[&up, &state, &[3, 1], &chunk(&speaking.encode_to_vec())]),
    );
}

fn links() {
    let target = "link_frames";
    let media = Datagram::Media {
        flow_id: 3 << 24 | 1,
        body: (&b"body"[..]).into(),
    };
    let probe = Datagram::Probe(Probe {
        sequence: 1,
        clock_us: 1_000_000,
    });
    write(target, "media", join(&[&[0], &media.to_bytes()]));
    write(target, "probe", join(&[&[0], &probe.to_bytes()]));
    write(target, "stream", [0, 2]);
    let cluster: ClusterName = "demo".parse().expect("a name");
    let now = OffsetDateTime::now_utc();
    let ca = ClusterCa::create(cluster.clone(), now).expect("a new key");
    let token = JoinToken::generate(cluster, ca.fingerprint(), vec!["192.0.2.1:4400".to_owned()]).to_text();
    write(target, "token", format!("\u{1}{token}"));
    let json = format!(
        r#"{{"cluster":"demo","ca_sha256":"{}","control":["192.0.2.1:4400"],"secret":"{}"}}"#,
        ca.fingerprint(),
        "A".repeat(43)
    );
    write(target, "token_json", format!("\u{2}{json}"));
    write(target, "uri_control", "\u{3}medmesh://demo/control/1");
    // Other spellings, which are refused: one machine has one name.
    write(target, "uri_zero", "\u{3}medmesh://demo/control/01");
    write(
        target,
        "uri_upper",
        "\u{3}medmesh://demo/edge/00000000-0000-0001-0000-00000000000A",
    );
    write(
        target,
        "uri_edge",
        format!("\u{3}medmesh://demo/edge/{}", Uuid::from_u64_pair(1, 1)),
    );
    let identity = ca
        .issue(Role::Control(ControlId(1)), now, LEAF_LIFE)
        .expect("a new key");
    write(target, "certificate", join(&[&[4], &identity.chain()[0]]));
    write(
        target,
        "probes",
        join(&[
            &[5],
            &[0, 1, 0],
            &[0, 9, 1, 0],
            &[0, 1, 0],
            &[1, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 100],
        ]),
    );
}

fn meshes() {
    use mesh::mesh_message::Message;
    let (room_id, participant_id) = (shard::room(0).to_vec(), shard::participant(1).to_vec());
    let track = mesh::Track {
        source: mesh::Source::Camera.into(),
        active: true,
        layers: vec![mesh::Layer {
            rid: "q".to_owned(),
            bitrate_bps: 100_000,
            height: 180,
        }],
        codec: "VP8/90000".to_owned(),
    };
    let fallback = mesh::Fallback {
        edge_id: shard::edge(1).to_vec(),
        link_address: "192.0.2.2:4433".to_owned(),
    };
    let state = mesh::RoomState {
        room_id: room_id.clone(),
        epoch: 3,
        participants: vec![mesh::Participant {
            participant_id: participant_id.clone(),
            tracks: vec![track],
            fallbacks: vec![fallback],
            connected_ms: 1_200,
        }],
        reply_wanted: true,
    };
    let messages = [
        (
            "hello",
            Message::Hello(mesh::Hello {
                edge_id: shard::edge(0).to_vec(),
                version: 1,
            }),
        ),
        ("state", Message::RoomState(state)),
        (
            "leave",
            Message::RoomLeave(mesh::RoomLeave {
                room_id: room_id.clone(),
                reason: "empty".to_owned(),
            }),
        ),
        (
            "nack",
            Message::Nack(mesh::Nack {
                flow_id: 7,
                sequences: vec![1, 1 << 40],
            }),
        ),
        (
            "speaking",
            Message::Speaking(mesh::Speaking {
                room_id: room_id.clone(),
                participant_id: participant_id.clone(),
                level: 127,
            }),
        ),
        (
            "subscribe",
            Message::Subscribe(mesh::Subscribe {
                flow_id: 7,
                room_id,
                participant_id,
                source: 2,
                rid: "h".to_owned(),
            }),
        ),
        (
            "keyframe",
            Message::KeyframeRequest(mesh::KeyframeRequest { flow_id: 7 }),
        ),
        (
            "gone",
            Message::FlowGone(mesh::FlowGone {
                flow_id: 7,
                reason: "left".to_owned(),
            }),
        ),
    ];
    let mut stream = Vec::new();
    for (name, message) in messages {
        let bytes = mesh::MeshMessage {
            message: Some(message),
        }
        .encode_length_delimited_to_vec();
        write("mesh_messages", name, &bytes);
        stream.extend(bytes);
    }
    write("mesh_messages", "stream", stream);
}

fn raft() {
    let story = [5, 13, 0x85, 7, 0x89, 6, 0x82, 5, 3, 0x90, 5, 5, 0x84, 5];
    for (what, name) in (0..).zip(["arbitrary", "cut", "flip_last", "flip_first", "append"]) {
        write("raft_log", name, join(&[&[what, 0, 90, 1], &story]));
    }
    // A vote, as a record's body: in the frame of `arbitrary`, and alone.
    write("raft_log", "framed", [0, 0, 0, 3, 4, 2, 3, 1, 1, 4, 3, 1, 1, 9]);
    write("raft_log", "vote", [2, 3, 1, 1]);
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

fn ledger() {
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

fn clinic() {
    for (name, text) in [
        ("email", "Ana.Lopez+a@example.org"),
        ("name", "  Ana López "),
        ("zone", "Europe/Madrid"),
        ("region", "eu-west"),
        ("id", "00000000-0000-0001-0000-000000000001"),
        ("text", "first line\n\tsecond line\u{301}"),
    ] {
        write("clinic_text", name, text);
    }
}
