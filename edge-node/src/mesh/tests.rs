use medmesh_base::media_token::{MeshEdge, Source};
use medmesh_base::{EdgeId, ParticipantId, RoomId};
use medmesh_sfu::{MeshLayer, MeshMessage, MeshParticipant, MeshTrack};
use medmesh_wire::mesh as wire;

use super::convert::{ConvertError, Received, decode, encode, hello};
use super::frame::{FrameReader, frame};

fn messages() -> Vec<MeshMessage> {
    let room = RoomId::generate();
    let participant = ParticipantId::generate();
    vec![
        MeshMessage::RoomState {
            room,
            epoch: 9,
            participants: vec![MeshParticipant {
                participant,
                tracks: vec![MeshTrack {
                    source: Source::Camera,
                    active: true,
                    layers: vec![MeshLayer {
                        rid: "q".into(),
                        bitrate_bps: 100,
                        height: 180,
                    }],
                    codec: "VP8/90000".into(),
                }],
                connected_for: None,
                fallbacks: vec![MeshEdge {
                    id: EdgeId::generate(),
                    link: "ams-1.example.net:4433".into(),
                }],
            }],
            reply_wanted: true,
        },
        MeshMessage::RoomLeave {
            room,
            reason: "empty".into(),
        },
        MeshMessage::Subscribe {
            flow: 0x0100_0007,
            room,
            participant,
            source: Source::Screen,
            rid: String::new(),
        },
        MeshMessage::Unsubscribe { flow: 7 },
        MeshMessage::KeyframeRequest { flow: 7 },
        MeshMessage::Nack {
            flow: 7,
            sequences: vec![1, 1 << 40],
        },
        MeshMessage::FlowGone {
            flow: 7,
            reason: "left".into(),
        },
        MeshMessage::Speaking {
            room,
            participant,
            level: 127,
        },
    ]
}

#[test]
fn every_message_survives_the_wire() {
    for message in messages() {
        assert_eq!(decode(encode(message.clone())), Ok(Received::Message(message)));
    }
}

#[test]
fn nonsense_is_refused() {
    let mut subscribe = encode(messages().remove(2));
    if let Some(wire::mesh_message::Message::Subscribe(subscribe)) = &mut subscribe.message {
        subscribe.source = 99;
    }
    assert_eq!(decode(subscribe), Err(ConvertError::Source));
    let mut speaking = encode(messages().remove(7));
    if let Some(wire::mesh_message::Message::Speaking(speaking)) = &mut speaking.message {
        speaking.level = 128;
    }
    assert_eq!(decode(speaking), Err(ConvertError::Bounds));
    let mut leave = encode(messages().remove(1));
    if let Some(wire::mesh_message::Message::RoomLeave(leave)) = &mut leave.message {
        leave.room_id.pop();
    }
    assert_eq!(decode(leave), Err(ConvertError::Id));
    assert_eq!(decode(wire::MeshMessage { message: None }), Ok(Received::Unknown));
}

#[tokio::test]
async fn frames_are_read_however_they_are_cut() {
    let edge = EdgeId::generate();
    let mut bytes = frame(&hello(edge));
    for message in messages() {
        bytes.extend(frame(&encode(message)));
    }
    let (mut near, far) = tokio::io::duplex(3);
    let writing = tokio::spawn(async move {
        tokio::io::AsyncWriteExt::write_all(&mut near, &bytes)
            .await
            .unwrap();
    });
    let mut reader = FrameReader::new(far);
    assert_eq!(
        decode(reader.next().await.unwrap().unwrap()),
        Ok(Received::Hello(edge))
    );
    let mut count = 0;
    while reader.next().await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, messages().len());
    writing.await.unwrap();
}

#[tokio::test]
async fn a_frame_too_large_or_cut_off_is_an_error() {
    let huge = [0xff, 0xff, 0xff, 0x7f, 1, 2, 3];
    assert!(FrameReader::new(&huge[..]).next().await.is_err());
    let no_length = [0xff; 11];
    assert!(FrameReader::new(&no_length[..]).next().await.is_err());
    let whole = frame(&hello(EdgeId::generate()));
    assert!(FrameReader::new(&whole[..whole.len() - 1]).next().await.is_err());
}
