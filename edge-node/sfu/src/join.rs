//! Coming in: what signalling asks of the shard and what it hands back.

use std::fmt;
use std::str::FromStr;

use medmesh_base::media_token::{Grants, MeshEdge};
use medmesh_base::{IdError, ParticipantId, RoomId};

/// A verified request to join: everything but the offer comes from the token.
#[derive(Clone, Debug)]
pub struct Join {
    /// The room of the token.
    pub room: RoomId,
    /// The participant of the token. An older connection of theirs is replaced.
    pub participant: ParticipantId,
    /// The assignment the token was made from.
    pub epoch: u64,
    /// What the participant may publish and receive.
    pub grants: Grants,
    /// The SDP offer as the browser sent it.
    pub offer_sdp: String,
    /// Where the participant goes if this edge dies, in order.
    pub fallbacks: Vec<MeshEdge>,
    /// The edges the room is on; this edge may be among them.
    pub mesh: Vec<MeshEdge>,
}

/// A connection was made.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Names the connection in later requests.
    pub resource: ResourceId,
    /// The SDP answer, complete with candidates (ICE-lite).
    pub answer_sdp: String,
    /// ICE session tag (RFC 9725 section 4.3.1), unquoted.
    pub etag: String,
}

/// Why a join was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The offer is not SDP, or SDP this edge cannot answer. Words of ours only: what a library says
    /// about an offer quotes it, and whoever keeps refusals would keep what somebody wrote.
    #[error("the offer is not acceptable: {0}")]
    BadOffer(&'static str),
    /// The room has moved on: the token was made from an older assignment.
    #[error("the room's assignment is newer: epoch {current}")]
    StaleEpoch {
        /// The epoch the shard knows.
        current: u64,
    },
    /// As many people are in the room, on this edge and the others, as it carries.
    #[error("the room is full")]
    RoomFull,
    /// The shard is at one of its [`crate::Limits`].
    #[error("no room left: {0}")]
    Full(&'static str),
    /// Something broke inside the connection while it was made.
    #[error("the connection could not be made")]
    Internal,
}

/// ICE restarted.
#[derive(Clone, Debug)]
pub struct IceRestarted {
    /// The body of the 200 answer: `application/trickle-ice-sdpfrag`.
    pub fragment: String,
    /// The new ICE session tag, unquoted.
    pub etag: String,
}

/// Why an ICE restart was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestartError {
    /// There is no such connection (any more).
    #[error("no such resource")]
    Unknown,
    /// The fragment has no usable `a=ice-ufrag` and `a=ice-pwd`.
    #[error("the fragment is not acceptable: {0}")]
    BadFragment(&'static str),
}

/// An unguessable name of one connection; the top byte is its shard.
/// Text form: 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId(pub(crate) u128);

impl ResourceId {
    /// The shard that made it.
    #[must_use]
    pub const fn shard(self) -> u8 {
        (self.0 >> 120) as u8
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ResourceId {
    /// The id is a capability: logs get its shard only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResourceId(shard {})", self.shard())
    }
}

impl FromStr for ResourceId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(IdError);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| IdError)
    }
}
