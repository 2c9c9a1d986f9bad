//! What the one who asked is told.

use medmesh_base::{ControlId, EdgeId, RoomId};
use serde::{Deserialize, Serialize};

/// The answer to one command. Variants are only ever appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// It holds now (and perhaps held before).
    Done,
    /// The room's epoch from now on.
    Epoch(u64),
    /// How much expired, and whether there is more to expire.
    Expired {
        /// Things forgotten by this command.
        count: u32,
        /// Whether another `Expire` would forget more.
        more: bool,
    },
    /// One answer per command of a batch, in order.
    Batch(Vec<Response>),
    /// Nothing changed, and why.
    Refused(Refused),
}

impl Response {
    /// The response as a `Result`, for `?`.
    ///
    /// # Errors
    /// The refusal, when it is one.
    pub fn accepted(self) -> Result<Self, Refused> {
        match self {
            Self::Refused(why) => Err(why),
            other => Ok(other),
        }
    }
}

/// Why a command changed nothing. Variants are only ever appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refused {
    /// The caller planned from an older view; read again and plan again.
    #[error("stale epoch: the current one is {current}")]
    StaleEpoch {
        /// The epoch now in force; 0 = there is no such room.
        current: u64,
    },
    /// No such edge.
    #[error("unknown edge {0}")]
    UnknownEdge(EdgeId),
    /// No such room.
    #[error("unknown room {0}")]
    UnknownRoom(RoomId),
    /// No such control node.
    #[error("unknown control node {0}")]
    UnknownControl(ControlId),
    /// No such token key.
    #[error("unknown token key")]
    UnknownTokenKey,
    /// The edge is down, cordoned or draining and cannot take somebody new.
    #[error("edge {0} takes nobody new")]
    EdgeUnavailable(EdgeId),
    /// Placements still name the edge: drain it first.
    #[error("edge {0} still has placements")]
    EdgeInUse(EdgeId),
    /// The edge's region is not among the room's.
    #[error("edge {0} is outside the room's residency")]
    OutsideResidency(EdgeId),
    /// Another edge has this name.
    #[error("another edge has this name")]
    NameTaken,
    /// An edge cannot move to another region; enrol it anew.
    #[error("an edge's region cannot change")]
    RegionChanged,
    /// A key with this id and other contents is already published.
    #[error("another key has this id")]
    KeyTaken,
    /// No such join token (it may have expired and been forgotten).
    #[error("unknown join token")]
    TokenUnknown,
    /// The join token's time is over.
    #[error("expired join token")]
    TokenExpired,
    /// The join token was spent by another enrolment.
    #[error("used join token")]
    TokenUsed,
    /// The ledger is full of these.
    #[error("limit reached: {0:?}")]
    LimitReached(Limit),
    /// A field is empty, too long or out of range.
    #[error("invalid {0}")]
    Invalid(String),
    /// A batch inside a batch.
    #[error("a batch cannot hold a batch")]
    NestedBatch,
    /// Another head of this audit log was witnessed, and this one does not extend it.
    #[error("the audit log's head does not extend the witnessed one of {size} leaves")]
    AuditNotExtended {
        /// Leaves of the witnessed head.
        size: u64,
    },
}

/// Which bound of [`crate::limits`] was met. Variants are only ever appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// [`crate::limits::EDGES_MAX`].
    Edges,
    /// [`crate::limits::ROOMS_MAX`].
    Rooms,
    /// [`crate::limits::ROOM_PARTICIPANTS_MAX`].
    RoomParticipants,
    /// [`crate::limits::CONTROL_NODES_MAX`].
    ControlNodes,
    /// [`crate::limits::TOKEN_KEYS_MAX`].
    TokenKeys,
    /// [`crate::limits::JOIN_TOKENS_MAX`].
    JoinTokens,
    /// [`crate::limits::CHECKPOINTS_MAX`].
    Checkpoints,
    /// [`crate::limits::REVOCATIONS_MAX`].
    Revocations,
    /// [`crate::limits::BATCH_COMMANDS_MAX`].
    BatchCommands,
    /// [`crate::limits::AUDIT_LOGS_MAX`].
    AuditLogs,
    /// [`crate::limits::AUDIT_ALARMS_MAX`].
    AuditAlarms,
    /// [`crate::limits::AUDIT_NOTICES_MAX`].
    AuditNotices,
}
