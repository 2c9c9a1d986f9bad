//! What browsers and other edges say to an edge.

use medmesh_fuzz::input::chunk;
use medmesh_fuzz::offer::{self, Line, offer};
use medmesh_fuzz::{shard, stun};
use medmesh_wire::{fleet, mesh};
use prost::Message as _;
use uuid::Uuid;

use crate::{join, write};

pub(crate) fn signalling() {
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

pub(crate) fn sfu() {
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
