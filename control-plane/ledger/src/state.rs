//! What all control nodes agree on.

use std::collections::BTreeMap;
use std::sync::Arc;

use medmesh_base::{ClinicId, ControlId, EdgeId, ParticipantId, Region, RoomId};
use medmesh_tlog::Hash;
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::command::{ControlDescriptor, EdgeDescriptor, LeafPromise};
use crate::event::Event;
use crate::limits::JOIN_TOKEN_LIFE_MS_MAX;
use crate::response::Response;

/// The fleet's intent. Read it freely; only [`State::apply`] changes it.
///
/// Values are behind `Arc` so that a copy for a reader costs a map of
/// pointers, not the rooms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The latest `now` of any applied command, Unix milliseconds. Never goes back.
    pub now: u64,
    /// The latest epoch given to any room. One counter for the fleet, so that a
    /// room that was closed and opened again never repeats an epoch.
    pub epoch: u64,
    /// The fleet.
    pub edges: BTreeMap<EdgeId, Arc<Edge>>,
    /// Edges that were removed, until their last certificate has ended: id → Unix milliseconds.
    pub removed: BTreeMap<EdgeId, u64>,
    /// Rooms with placements.
    pub rooms: BTreeMap<RoomId, Arc<Room>>,
    /// The control nodes.
    pub controls: BTreeMap<ControlId, ControlNode>,
    /// Public token-signing keys by key id.
    pub token_keys: BTreeMap<String, TokenKey>,
    /// The TURN secret epochs in force.
    pub turn: TurnEpochs,
    /// Join tokens by hex of their hash.
    pub join_tokens: BTreeMap<String, JoinToken>,
    /// Named checkpoints.
    pub checkpoints: BTreeMap<String, Checkpoint>,
    /// Revoked media tokens: id → when the token expires, Unix milliseconds.
    pub revocations: BTreeMap<String, u64>,
    /// The witnessed heads of the clinics' audit logs.
    pub audit_logs: BTreeMap<ClinicId, Arc<AuditLog>>,
    /// Leaves that were committed and are not in their logs.
    pub audit_alarms: Vec<AuditAlarm>,
}

/// What one command led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// For the one who asked.
    pub response: Response,
    /// For those who watch.
    pub events: Vec<Event>,
}

/// One edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// What it says of itself.
    pub descriptor: EdgeDescriptor,
    /// Whether it is reachable, as of its last transition.
    pub status: EdgeStatus,
    /// Takes no new people.
    pub cordoned: bool,
    /// Its people are being moved away.
    pub draining: bool,
    /// First registered, Unix milliseconds.
    pub created_at: u64,
    /// Last change, Unix milliseconds.
    pub updated_at: u64,
}

impl Edge {
    /// Whether somebody new may be placed here.
    #[must_use]
    pub fn takes_people(&self) -> bool {
        self.status == EdgeStatus::Up && !self.cordoned && !self.draining
    }
}

/// Whether an edge is reachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EdgeStatus {
    /// It reports.
    Up,
    /// It was declared dead.
    Down,
}

/// Who of a room is where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Rises with every change; tokens carry it and edges refuse older ones.
    pub epoch: u64,
    /// Regions its people may be placed in; empty = any.
    pub residency: Vec<Region>,
    /// Each participant's edges.
    pub placements: BTreeMap<ParticipantId, Placement>,
    /// Unix milliseconds.
    pub created_at: u64,
    /// Unix milliseconds.
    pub updated_at: u64,
    /// When `Expire` forgets it, Unix milliseconds.
    pub expires_at: u64,
}

impl Room {
    /// The edges the room is on: each participant's home, once, in order of id.
    #[must_use]
    pub fn mesh(&self) -> Vec<EdgeId> {
        let homes: std::collections::BTreeSet<EdgeId> = self.placements.values().map(|p| p.edge).collect();
        homes.into_iter().collect()
    }
}

/// One participant's edges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Home.
    pub edge: EdgeId,
    /// Where to go next, in order, at most [`crate::limits::FALLBACKS_MAX`].
    pub fallbacks: Vec<EdgeId>,
}

/// One control node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlNode {
    /// What it says of itself.
    pub descriptor: ControlDescriptor,
    /// Last change, Unix milliseconds.
    pub updated_at: u64,
}

/// One public key that media tokens may be signed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenKey {
    /// The public JWK as JSON text.
    pub jwk: String,
    /// The node that signs with it.
    pub owner: ControlId,
    /// Order of publication over all keys, rising.
    pub epoch: u64,
    /// Unix milliseconds.
    pub added_at: u64,
    /// When it may be forgotten, Unix milliseconds; `None` while in use.
    pub retires_at: Option<u64>,
}

/// The epochs of the TURN secret; the secrets are derived elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnEpochs {
    /// New credentials use this one; 0 before the first rotation.
    pub current: u64,
    /// Still accepted.
    pub previous: Option<u64>,
    /// Unix milliseconds.
    pub rotated_at: u64,
}

/// One join token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// Unix milliseconds.
    pub expires_at: u64,
    /// The edge that spent it.
    pub used_by: Option<EdgeId>,
    /// The proposer's clock when it was made; absent in what an older build wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_at: Option<u64>,
}

impl JoinToken {
    /// For how long it was made, milliseconds, where that is known.
    #[must_use]
    pub fn life_ms(&self) -> Option<u64> {
        Some(self.expires_at.saturating_sub(self.made_at?))
    }

    /// Until when it is remembered: a day at least, so that who asks for it again gets the same answer and
    /// not another token.
    #[must_use]
    pub fn remembered_until(&self) -> u64 {
        let a_day = self
            .made_at
            .map(|made| made.saturating_add(JOIN_TOKEN_LIFE_MS_MAX));
        self.expires_at.max(a_day.unwrap_or(0))
    }
}

/// What the voters witnessed of one audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLog {
    /// The log's name in its checkpoints.
    pub origin: String,
    /// The newest signed checkpoint.
    pub note: String,
    /// What it says.
    pub newest: AuditHead,
    /// Some of those before it, oldest first, the very first among them.
    pub earlier: Vec<AuditHead>,
    /// The epoch of the key that signs its heads now, 0 before the first rotation.
    #[serde(default)]
    pub key_epoch: u32,
    /// What was announced of it, oldest first: other keys, and going on after its database was put back.
    #[serde(default)]
    pub notices: Vec<AuditNotice>,
}

impl AuditLog {
    /// How often it went on under another name.
    #[must_use]
    pub fn generation(&self) -> u32 {
        let resumed = self.notices.iter().filter(|notice| notice.left.is_some());
        u32::try_from(resumed.count()).unwrap_or(u32::MAX)
    }
}

/// Something that was announced of an audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditNotice {
    /// The signed announcement.
    pub note: String,
    /// When it was witnessed, Unix milliseconds.
    pub at: u64,
    /// The newest head of the log as it was, where it went on from an earlier one.
    pub left: Option<AuditHead>,
}

/// One head of an audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// Leaves.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
    /// When it was witnessed, Unix milliseconds.
    pub at: u64,
}

/// A leaf that was committed and is not in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditAlarm {
    /// Whose log.
    pub clinic: ClinicId,
    /// What was promised.
    pub leaf: LeafPromise,
    /// When it was missed, Unix milliseconds.
    pub at: u64,
}

/// One named checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Opaque to the ledger.
    #[serde(with = "codec::base64_bytes")]
    pub bytes: Vec<u8>,
    /// Unix milliseconds.
    pub updated_at: u64,
}

impl State {
    /// The oldest ledger version among the control nodes: nothing newer may be
    /// proposed. Without any descriptor it is version 1.
    #[must_use]
    pub fn version_floor(&self) -> u8 {
        self.controls
            .values()
            .map(|node| node.descriptor.ledger_version)
            .min()
            .unwrap_or(1)
    }

    /// The join token with this hash, spent or not.
    #[must_use]
    pub fn join_token(&self, hash: &crate::TokenHash) -> Option<&JoinToken> {
        self.join_tokens.get(&codec::hex(hash))
    }

    /// The edge with this name.
    #[must_use]
    pub fn edge_by_name(&self, name: &str) -> Option<(EdgeId, &Arc<Edge>)> {
        self.edges
            .iter()
            .find(|(_, edge)| edge.descriptor.name == name)
            .map(|(id, edge)| (*id, edge))
    }

    /// How many participants call each edge home. Counts every placement: O(participants).
    #[must_use]
    pub fn homes(&self) -> BTreeMap<EdgeId, u32> {
        let mut homes = BTreeMap::new();
        for placement in self.rooms.values().flat_map(|room| room.placements.values()) {
            *homes.entry(placement.edge).or_insert(0) += 1;
        }
        homes
    }
}
