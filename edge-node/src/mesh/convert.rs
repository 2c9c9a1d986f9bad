//! Between protobuf and the shard's vocabulary. What a peer sends is checked here:
//! a message that does not make sense ends the session.

use std::time::Duration;

use medmesh_base::media_token::{MeshEdge, Source};
use medmesh_base::{EdgeId, IdError, ParticipantId, RoomId};
use medmesh_sfu::{MeshLayer, MeshMessage, MeshParticipant, MeshTrack};
use medmesh_wire::mesh::mesh_message::Message;
use medmesh_wire::mesh::{self as wire, Hello};

/// Version said in [`Hello`]; fields are only added, so a peer's version never refuses it.
const VERSION: u32 = 1;
/// Longest rid (RFC 8851: as in RFC 4855 parameter names; browsers use one letter).
const RID_LENGTH_MAX: usize = 16;
/// Longest codec text, `VP8/90000` and the like.
const CODEC_LENGTH_MAX: usize = 64;
/// Longest `host:port`.
const LINK_LENGTH_MAX: usize = 262;

/// A message that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConvertError {
    #[error("an id is not 16 bytes")]
    Id,
    #[error("an unknown source")]
    Source,
    #[error("a text or number is out of bounds")]
    Bounds,
}

impl From<IdError> for ConvertError {
    fn from(_: IdError) -> Self {
        Self::Id
    }
}

/// What a peer may send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// Who it says it is.
    Hello(EdgeId),
    /// For a shard.
    Message(MeshMessage),
    /// From a newer version.
    Unknown,
}

pub(crate) fn hello(edge: EdgeId) -> wire::MeshMessage {
    wrap(Message::Hello(Hello {
        edge_id: edge.to_vec(),
        version: VERSION,
    }))
}

fn wrap(message: Message) -> wire::MeshMessage {
    wire::MeshMessage {
        message: Some(message),
    }
}

/// To the wire.
pub(crate) fn encode(message: MeshMessage) -> wire::MeshMessage {
    wrap(match message {
        MeshMessage::RoomState {
            room,
            epoch,
            participants,
            reply_wanted,
        } => Message::RoomState(wire::RoomState {
            room_id: room.to_vec(),
            epoch,
            participants: participants.into_iter().map(encode_participant).collect(),
            reply_wanted,
        }),
        MeshMessage::RoomLeave { room, reason } => Message::RoomLeave(wire::RoomLeave {
            room_id: room.to_vec(),
            reason,
        }),
        MeshMessage::Subscribe {
            flow,
            room,
            participant,
            source,
            rid,
        } => Message::Subscribe(wire::Subscribe {
            flow_id: flow,
            room_id: room.to_vec(),
            participant_id: participant.to_vec(),
            source: encode_source(source).into(),
            rid,
        }),
        MeshMessage::Unsubscribe { flow } => Message::Unsubscribe(wire::Unsubscribe { flow_id: flow }),
        MeshMessage::KeyframeRequest { flow } => {
            Message::KeyframeRequest(wire::KeyframeRequest { flow_id: flow })
        }
        MeshMessage::Nack { flow, sequences } => Message::Nack(wire::Nack {
            flow_id: flow,
            sequences,
        }),
        MeshMessage::FlowGone { flow, reason } => Message::FlowGone(wire::FlowGone {
            flow_id: flow,
            reason,
        }),
        MeshMessage::Speaking {
            room,
            participant,
            level,
        } => Message::Speaking(wire::Speaking {
            room_id: room.to_vec(),
            participant_id: participant.to_vec(),
            level: u32::from(level),
        }),
    })
}

/// From the wire.
pub(crate) fn decode(message: wire::MeshMessage) -> Result<Received, ConvertError> {
    let Some(message) = message.message else {
        return Ok(Received::Unknown);
    };
    let message = match message {
        Message::Hello(hello) => return Ok(Received::Hello(EdgeId::from_slice(&hello.edge_id)?)),
        Message::RoomState(state) => MeshMessage::RoomState {
            room: RoomId::from_slice(&state.room_id)?,
            epoch: state.epoch,
            participants: state
                .participants
                .into_iter()
                .map(decode_participant)
                .collect::<Result<_, _>>()?,
            reply_wanted: state.reply_wanted,
        },
        Message::RoomLeave(leave) => MeshMessage::RoomLeave {
            room: RoomId::from_slice(&leave.room_id)?,
            reason: leave.reason,
        },
        Message::Subscribe(subscribe) => MeshMessage::Subscribe {
            flow: subscribe.flow_id,
            room: RoomId::from_slice(&subscribe.room_id)?,
            participant: ParticipantId::from_slice(&subscribe.participant_id)?,
            source: decode_source(subscribe.source)?,
            rid: within(subscribe.rid, RID_LENGTH_MAX)?,
        },
        Message::Unsubscribe(gone) => MeshMessage::Unsubscribe { flow: gone.flow_id },
        Message::KeyframeRequest(request) => MeshMessage::KeyframeRequest {
            flow: request.flow_id,
        },
        Message::Nack(nack) => MeshMessage::Nack {
            flow: nack.flow_id,
            sequences: nack.sequences,
        },
        Message::FlowGone(gone) => MeshMessage::FlowGone {
            flow: gone.flow_id,
            reason: gone.reason,
        },
        Message::Speaking(speaking) => MeshMessage::Speaking {
            room: RoomId::from_slice(&speaking.room_id)?,
            participant: ParticipantId::from_slice(&speaking.participant_id)?,
            // RFC 6464: seven bits.
            level: u8::try_from(speaking.level)
                .ok()
                .filter(|level| *level <= 127)
                .ok_or(ConvertError::Bounds)?,
        },
    };
    Ok(Received::Message(message))
}

fn encode_participant(participant: MeshParticipant) -> wire::Participant {
    let tracks = participant.tracks.into_iter().map(|track| wire::Track {
        source: encode_source(track.source).into(),
        active: track.active,
        layers: track
            .layers
            .into_iter()
            .map(|layer| wire::Layer {
                rid: layer.rid,
                bitrate_bps: layer.bitrate_bps,
                height: layer.height,
            })
            .collect(),
        codec: track.codec,
    });
    let fallbacks = participant.fallbacks.into_iter().map(|edge| wire::Fallback {
        edge_id: edge.id.to_vec(),
        link_address: edge.link,
    });
    wire::Participant {
        participant_id: participant.participant.to_vec(),
        tracks: tracks.collect(),
        fallbacks: fallbacks.collect(),
        connected_ms: participant.connected_for.map_or(0, age_ms),
    }
}

fn decode_participant(participant: wire::Participant) -> Result<MeshParticipant, ConvertError> {
    let tracks = participant.tracks.into_iter().map(|track| {
        let layers = track.layers.into_iter().map(|layer| {
            Ok(MeshLayer {
                rid: within(layer.rid, RID_LENGTH_MAX)?,
                bitrate_bps: layer.bitrate_bps,
                height: layer.height,
            })
        });
        Ok(MeshTrack {
            source: decode_source(track.source)?,
            active: track.active,
            layers: layers.collect::<Result<_, ConvertError>>()?,
            codec: within(track.codec, CODEC_LENGTH_MAX)?,
        })
    });
    let fallbacks = participant.fallbacks.into_iter().map(|fallback| {
        Ok(MeshEdge {
            id: EdgeId::from_slice(&fallback.edge_id)?,
            link: within(fallback.link_address, LINK_LENGTH_MAX)?,
        })
    });
    Ok(MeshParticipant {
        participant: ParticipantId::from_slice(&participant.participant_id)?,
        tracks: tracks.collect::<Result<_, ConvertError>>()?,
        fallbacks: fallbacks.collect::<Result<_, ConvertError>>()?,
        connected_for: (participant.connected_ms > 0)
            .then(|| Duration::from_millis(participant.connected_ms.into())),
    })
}

/// How long a connection is up, on the wire: milliseconds, where 0 means that it is not.
pub(crate) fn age_ms(age: Duration) -> u32 {
    u32::try_from(age.as_millis()).unwrap_or(u32::MAX).max(1)
}

fn within(text: String, length_max: usize) -> Result<String, ConvertError> {
    if text.len() <= length_max {
        Ok(text)
    } else {
        Err(ConvertError::Bounds)
    }
}

fn encode_source(source: Source) -> wire::Source {
    match source {
        Source::Mic => wire::Source::Microphone,
        Source::Camera => wire::Source::Camera,
        Source::Screen => wire::Source::Screen,
    }
}

fn decode_source(source: i32) -> Result<Source, ConvertError> {
    match wire::Source::try_from(source) {
        Ok(wire::Source::Microphone) => Ok(Source::Mic),
        Ok(wire::Source::Camera) => Ok(Source::Camera),
        Ok(wire::Source::Screen) => Ok(Source::Screen),
        Ok(wire::Source::Unspecified) | Err(_) => Err(ConvertError::Source),
    }
}
