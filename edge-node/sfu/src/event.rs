//! What comes out of the shard.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use medmesh_base::{EdgeId, ParticipantId, RoomId};

use crate::join::ResourceId;
use crate::mesh::MeshMessage;

/// What the driver does next.
#[derive(Debug)]
pub enum Output {
    /// Send a UDP datagram. Consecutive ones to one destination form a run.
    Transmit(Transmit),
    /// Send a media datagram to a peer edge.
    MeshDatagram(MeshDatagram),
    /// Send a message to a peer edge, in order, reliably.
    MeshMessage {
        /// The peer.
        peer: EdgeId,
        /// The message.
        message: MeshMessage,
    },
    /// A room here has people on that edge: have a link to it, then call
    /// [`crate::Sfu::handle_mesh_up`]. Said once per peer until [`Output::MeshIdle`].
    MeshWanted {
        /// The peer.
        peer: EdgeId,
        /// `host:port` to dial.
        link: String,
    },
    /// No room of this shard needs the link any more.
    MeshIdle {
        /// The peer.
        peer: EdgeId,
    },
    /// Something the edge reports or logs.
    Event(Event),
    /// Nothing more now: call [`crate::Sfu::handle_timeout`] at this instant at the latest.
    Timeout(Instant),
}

/// One UDP datagram out.
#[derive(Debug)]
pub struct Transmit {
    /// The local address, one of the configured candidates.
    pub source: SocketAddr,
    /// The remote address.
    pub destination: SocketAddr,
    /// The datagram.
    pub contents: Vec<u8>,
}

/// One media datagram for a peer: goes out as `kind 0 | flow | body` (mesh.proto).
#[derive(Debug)]
pub struct MeshDatagram {
    /// The peer.
    pub peer: EdgeId,
    /// Chosen by the peer; its top byte is the peer's shard.
    pub flow: u32,
    /// At most the `datagram_max` of [`crate::Sfu::handle_mesh_up`].
    pub body: Bytes,
}

/// Something the edge reports or logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// ICE and DTLS are up.
    Connected {
        /// In which room.
        room: RoomId,
        /// Who.
        participant: ParticipantId,
        /// Time since the join was answered.
        after: Duration,
    },
    /// A connection ended.
    Left {
        /// In which room.
        room: RoomId,
        /// Who.
        participant: ParticipantId,
        /// Which connection of theirs.
        resource: ResourceId,
        /// Why.
        reason: LeaveReason,
    },
    /// The last local participant left: the room is forgotten.
    RoomClosed {
        /// Which room.
        room: RoomId,
    },
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LeaveReason {
    /// The participant said so (`leave` or DELETE).
    Left,
    /// A newer connection of the same participant took its place.
    Replaced,
    /// Nothing authentic was heard for [`crate::Limits::silence`].
    Silent,
    /// ICE or DTLS never came up.
    NeverConnected,
    /// The peer closed DTLS.
    Closed,
    /// An error or a panic inside the connection.
    Failed,
    /// The visit ended.
    Ended,
    /// The visit's time was up.
    Expired,
    /// The participant was taken out (revoked).
    Removed,
    /// The edge shuts down or drains.
    Drained,
}

impl LeaveReason {
    /// The label of metrics and of the `ended` message.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Replaced => "replaced",
            Self::Silent => "silent",
            Self::NeverConnected => "never_connected",
            Self::Closed => "closed",
            Self::Failed => "failed",
            Self::Ended => "ended",
            Self::Expired => "expired",
            Self::Removed => "removed",
            Self::Drained => "drained",
        }
    }
}

/// One local connection, for reports to the control plane.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// In which room.
    pub room: RoomId,
    /// Who.
    pub participant: ParticipantId,
    /// Assignment the participant joined with.
    pub epoch: u64,
    /// ICE and DTLS are up.
    pub connected: bool,
    /// For how long they are.
    pub connected_for: Option<Duration>,
    /// The address media goes to, once known.
    pub remote: Option<SocketAddr>,
    /// Round trip to the browser, once measured.
    pub rtt: Option<Duration>,
    /// Share of packets sent to the browser that were lost, 0 to 1.
    pub loss_ratio: f32,
    /// What the link to the browser is thought to carry, bits per second.
    pub estimate_bps: u64,
}
