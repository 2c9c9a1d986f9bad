//! What changed, for those who keep edges and caches in step.

use medmesh_base::{ClinicId, ControlId, EdgeId, RoomId};

/// One change. It names what to look at again; the values are in the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An edge is new, or its descriptor, status or flags changed.
    EdgeChanged(EdgeId),
    /// An edge is gone, or one that was is forgotten.
    EdgeRemoved(EdgeId),
    /// A room is new or its placements changed.
    RoomChanged {
        /// Which room.
        room: RoomId,
        /// Its epoch from now on.
        epoch: u64,
    },
    /// A room is gone.
    RoomClosed {
        /// Which room.
        room: RoomId,
        /// Why.
        reason: CloseReason,
    },
    /// A control node's descriptor is new, changed or gone.
    ControlChanged(ControlId),
    /// The set of token keys changed.
    TokenKeysChanged,
    /// The TURN secret epochs changed.
    TurnEpochsChanged,
    /// Join tokens were added, spent or expired.
    JoinTokensChanged,
    /// The revocation list changed.
    RevocationsChanged,
    /// A checkpoint was set.
    CheckpointChanged(String),
    /// A clinic's audit log has a new head, or an alarm.
    AuditHeadChanged(ClinicId),
    /// The whole state was replaced by a snapshot, or events were missed: look at everything again.
    Replaced,
}

/// Why a room is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Somebody closed it.
    Closed,
    /// Its time was up.
    Expired,
}
