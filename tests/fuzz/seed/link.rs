//! What machines of the fleet say to each other.

use medmesh_base::ControlId;
use medmesh_fuzz::shard;
use medmesh_link::{ClusterCa, ClusterName, Datagram, JoinToken, LEAF_LIFE, Probe, Role};
use medmesh_wire::mesh;
use prost::Message as _;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{join, write};

pub(crate) fn links() {
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

pub(crate) fn meshes() {
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
