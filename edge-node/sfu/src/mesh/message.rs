//! The pure twins of `mesh.proto`'s messages. `Hello` is the link's business
//! and has no twin; see the proto for what each means.

use std::time::Duration;

use medmesh_base::media_token::{MeshEdge, Source};
use medmesh_base::{ParticipantId, RoomId};

/// A message between the shards of two edges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeshMessage {
    /// The sender's own participants of a room, whole; replaces what was said before.
    RoomState {
        /// Which room.
        room: RoomId,
        /// The newest assignment the sender knows.
        epoch: u64,
        /// The sender's own people.
        participants: Vec<MeshParticipant>,
        /// The sender has not heard of the receiver's side yet.
        reply_wanted: bool,
    },
    /// The sender has nobody in the room any more.
    RoomLeave {
        /// Which room.
        room: RoomId,
        /// Why, for logs.
        reason: String,
    },
    /// Send a layer to the sender of this message, as this flow.
    Subscribe {
        /// Chosen by the subscriber; its top byte is the subscriber's shard.
        flow: u32,
        /// Which room.
        room: RoomId,
        /// Whose track.
        participant: ParticipantId,
        /// Which track.
        source: Source,
        /// Which layer; empty where there is no simulcast.
        rid: String,
    },
    /// Stop sending the flow.
    Unsubscribe {
        /// As in `Subscribe`.
        flow: u32,
    },
    /// The subscriber cannot decode until a keyframe comes.
    KeyframeRequest {
        /// As in `Subscribe`.
        flow: u32,
    },
    /// Send these again, if they are still cached.
    Nack {
        /// As in `Subscribe`.
        flow: u32,
        /// The origin's extended sequence numbers.
        sequences: Vec<u64>,
    },
    /// The origin ended the flow.
    FlowGone {
        /// As in `Subscribe`.
        flow: u32,
        /// Why, for logs.
        reason: String,
    },
    /// How loud a participant of the sender is.
    Speaking {
        /// Which room.
        room: RoomId,
        /// Who.
        participant: ParticipantId,
        /// RFC 6464 level: 0 loudest to 127 silent.
        level: u8,
    },
}

/// Which shard a message belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The shard the receiver keeps the room on.
    Room(RoomId),
    /// The shard that got the `Subscribe` of this flow from this peer. The edge remembers
    /// where it sent that (until `Unsubscribe`, `FlowGone` or the link ends).
    Subscribed(u32),
    /// The receiver's shard with this number: it chose the flow id.
    Shard(u8),
}

/// The shard of the edge that chose a flow id: who gets the flow's datagrams.
#[must_use]
pub const fn flow_shard(flow: u32) -> u8 {
    (flow >> 24) as u8
}

impl MeshMessage {
    /// Which shard of the receiving edge gets the message.
    #[must_use]
    pub const fn route(&self) -> Route {
        match self {
            Self::RoomState { room, .. }
            | Self::RoomLeave { room, .. }
            | Self::Subscribe { room, .. }
            | Self::Speaking { room, .. } => Route::Room(*room),
            Self::Unsubscribe { flow } | Self::KeyframeRequest { flow } | Self::Nack { flow, .. } => {
                Route::Subscribed(*flow)
            }
            Self::FlowGone { flow, .. } => Route::Shard(flow_shard(*flow)),
        }
    }
}

/// One of the sender's people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshParticipant {
    /// Who.
    pub participant: ParticipantId,
    /// What they publish.
    pub tracks: Vec<MeshTrack>,
    /// Where they go if the sender dies.
    pub fallbacks: Vec<MeshEdge>,
    /// How long their media has been up at the sender; `None` while it is not. Of two edges with
    /// the same participant the one for which this is shorter has the connection in use.
    pub connected_for: Option<Duration>,
}

/// A track of one of the sender's people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshTrack {
    /// Which track.
    pub source: Source,
    /// False while muted or stopped.
    pub active: bool,
    /// Lowest first; audio and screen have one.
    pub layers: Vec<MeshLayer>,
    /// `VP8/90000` and the like; empty while unknown.
    pub codec: String,
}

/// A layer of a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshLayer {
    /// Empty where there is no simulcast.
    pub rid: String,
    /// As measured at the origin.
    pub bitrate_bps: u32,
    /// Pixels, 0 while unknown.
    pub height: u32,
}
