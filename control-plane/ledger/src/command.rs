//! What can be asked of the ledger.

use medmesh_base::{AuditId, ClinicId, ControlId, EdgeId, ParticipantId, Region, RoomId};
use medmesh_tlog::Hash;
use serde::{Deserialize, Serialize};

use crate::state::{EdgeStatus, Placement};

/// SHA-256 of a join token's secret; the secret itself is never stored.
pub type TokenHash = [u8; 32];

/// What an edge says of itself. Addresses only, nothing measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeDescriptor {
    /// Unique in the fleet, e.g. `fra-1`.
    pub name: String,
    /// Where it stands. Never changes: rooms' residency was checked against it.
    pub region: Region,
    /// Base URL that browsers reach.
    pub signalling_url: String,
    /// `host:port` that other edges dial.
    pub link_address: String,
    /// `turn:host:port?transport=udp`, at most [`crate::limits::TURN_URLS_MAX`].
    pub turn_urls: Vec<String>,
    /// How many participants it may carry.
    pub capacity_participants: u32,
}

/// What a control node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlDescriptor {
    /// `host:port` that edges and other control nodes dial.
    pub link_address: String,
    /// Base URL of its REST API.
    pub http_url: String,
    /// The newest ledger version it understands ([`crate::LEDGER_VERSION`]).
    pub ledger_version: u8,
}

/// One change to the fleet's intent. Every command can be proposed again after
/// an unclear outcome: it either changes nothing the second time or is refused
/// because its expectation (an epoch, a token) no longer holds.
///
/// All `now` and `*_at` are Unix milliseconds. Variants are only ever
/// appended and their fields never changed: the encoding is positional.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Carries several, applied in order, each with its own response; one that is
    /// refused does not undo the others. At most [`crate::limits::BATCH_COMMANDS_MAX`], not nested.
    Batch(Vec<Command>),
    /// Registers an edge (up, not cordoned) or changes its descriptor.
    EdgeUpsert {
        /// Which edge.
        edge: EdgeId,
        /// Its descriptor, whole.
        descriptor: EdgeDescriptor,
        /// The proposer's clock.
        now: u64,
    },
    /// Spends a join token and registers the edge, both or neither.
    /// Proposed again with the same edge id it answers `Done` and changes nothing.
    EdgeEnrol {
        /// Hash of the token's secret.
        token: TokenHash,
        /// The id chosen for this enrolment.
        edge: EdgeId,
        /// The edge's descriptor.
        descriptor: EdgeDescriptor,
        /// The proposer's clock.
        now: u64,
    },
    /// A *transition* between up and down (never a heartbeat).
    EdgeStatusSet {
        /// Which edge.
        edge: EdgeId,
        /// Its new status.
        status: EdgeStatus,
        /// The proposer's clock.
        now: u64,
    },
    /// Whether the edge takes new people.
    EdgeCordon {
        /// Which edge.
        edge: EdgeId,
        /// `true`: no new people.
        cordoned: bool,
        /// The proposer's clock.
        now: u64,
    },
    /// Whether the edge's people are being moved away (implies no new people).
    EdgeDrain {
        /// Which edge.
        edge: EdgeId,
        /// `true`: move them.
        draining: bool,
        /// The proposer's clock.
        now: u64,
    },
    /// Forgets an edge that no placement names; its certificate counts no more.
    EdgeRemove {
        /// Which edge.
        edge: EdgeId,
        /// The proposer's clock.
        now: u64,
    },
    /// Compare-and-set of a room's placements: creates the room when `epoch` is 0,
    /// else changes it if `epoch` is its current one. Answers the new epoch.
    RoomAssign {
        /// Which room.
        room: RoomId,
        /// The epoch the caller planned from; 0 = "there is no such room".
        epoch: u64,
        /// Regions its participants may be placed in; empty = any. Fixed at creation.
        residency: Vec<Region>,
        /// When the room is forgotten; a later value extends it, an earlier one is ignored.
        expires_at: u64,
        /// Participants to place or move.
        place: Vec<(ParticipantId, Placement)>,
        /// Participants to forget.
        remove: Vec<ParticipantId>,
        /// The proposer's clock.
        now: u64,
    },
    /// Forgets a room. Closing an unknown room is `Done`.
    RoomClose {
        /// Which room.
        room: RoomId,
        /// The proposer's clock.
        now: u64,
    },
    /// Forgets what has expired by `now`: rooms, join tokens, retired keys, revocations.
    Expire {
        /// The proposer's clock.
        now: u64,
    },
    /// Registers or changes a control node's descriptor.
    ControlUpsert {
        /// Which node.
        node: ControlId,
        /// Its descriptor, whole.
        descriptor: ControlDescriptor,
        /// The proposer's clock.
        now: u64,
    },
    /// Forgets a control node.
    ControlRemove {
        /// Which node.
        node: ControlId,
        /// The proposer's clock.
        now: u64,
    },
    /// Publishes a token-signing key. The same `kid` with the same JWK is `Done` again.
    TokenKeyPut {
        /// The key id in token headers.
        kid: String,
        /// The public JWK as JSON text.
        jwk: String,
        /// The node that signs with it.
        owner: ControlId,
        /// The proposer's clock.
        now: u64,
    },
    /// Keeps a key valid until `retires_at`, then lets `Expire` drop it.
    TokenKeyRetire {
        /// Which key.
        kid: String,
        /// When its last token will have expired.
        retires_at: u64,
        /// The proposer's clock.
        now: u64,
    },
    /// Starts the next TURN secret epoch if `expected` is the current one; the
    /// current becomes the previous.
    TurnSecretRotate {
        /// The epoch the caller saw (0 before the first).
        expected: u64,
        /// The proposer's clock.
        now: u64,
    },
    /// Drops the previous TURN secret epoch (its credentials have expired).
    TurnSecretRetire {
        /// The previous epoch the caller saw.
        previous: u64,
        /// The proposer's clock.
        now: u64,
    },
    /// Admits a join token by its hash.
    JoinTokenAdd {
        /// Hash of the secret.
        token: TokenHash,
        /// At most [`crate::limits::JOIN_TOKEN_LIFE_MS_MAX`] after `now`.
        expires_at: u64,
        /// The proposer's clock.
        now: u64,
    },
    /// Sets a named checkpoint (the audit log's signed heads).
    CheckpointPut {
        /// Which log.
        name: String,
        /// Opaque, at most [`crate::limits::CHECKPOINT_BYTES_MAX`].
        bytes: Vec<u8>,
        /// The proposer's clock.
        now: u64,
    },
    /// Refuses one media token from now on.
    TokenRevoke {
        /// The token's id.
        jti: String,
        /// When the token expires, and the revocation with it.
        until: u64,
        /// The proposer's clock.
        now: u64,
    },
    /// The next head of a clinic's audit log. Refused unless it extends the one held.
    AuditHead {
        /// Whose log.
        clinic: ClinicId,
        /// The signed checkpoint, at most [`crate::limits::CHECKPOINT_BYTES_MAX`].
        note: String,
        /// That it extends the head held now; empty for the first.
        proof: Vec<Hash>,
        /// The proposer's clock.
        now: u64,
    },
    /// A leaf that a node committed is missing from its log, or another is in its place.
    AuditAlarm {
        /// Whose log.
        clinic: ClinicId,
        /// What was promised.
        leaf: LeafPromise,
        /// The proposer's clock.
        now: u64,
    },
    /// Another key signs a clinic's audit log from now on.
    AuditKeyRotate {
        /// Whose log.
        clinic: ClinicId,
        /// The new key's epoch: the one after the key in force.
        epoch: u32,
        /// The announcement, signed by both keys (`medmesh_tlog::notice`).
        notice: String,
        /// The proposer's clock.
        now: u64,
    },
    /// A clinic's audit log goes on from an earlier head under another name: its database was put
    /// back. Refused unless the head held now extends that one.
    AuditResume {
        /// Whose log.
        clinic: ClinicId,
        /// The signed checkpoint it goes on from, under its new name.
        note: String,
        /// That the head held now extends it.
        proof: Vec<Hash>,
        /// The announcement, signed under both names (`medmesh_tlog::notice`).
        notice: String,
        /// The proposer's clock.
        now: u64,
    },
}

/// A leaf as the node that committed it remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafPromise {
    /// Which.
    pub id: AuditId,
    /// What the log must hold of it.
    pub commitment: Hash,
}

impl Command {
    /// The ledger version that introduced this command.
    #[must_use]
    pub const fn since(&self) -> u8 {
        match self {
            Self::AuditHead { .. } | Self::AuditAlarm { .. } => 2,
            Self::AuditKeyRotate { .. } | Self::AuditResume { .. } => 3,
            _ => 1,
        }
    }
}
