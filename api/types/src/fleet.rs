//! The operator's view: nodes, rooms by opaque id, the Raft group, and what can be done to them.

use garde::Validate;
use medmesh_base::{ControlId, EdgeId, ParticipantId, Region, RoomId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::Secret;

mod insight;

pub use insight::{
    EdgeRemoval, Explanation, FleetHeadroom, Headroom, PlacementCandidate, PlacementExplanation,
    PlacementOutcome, PlacementScore, RegionHeadroom, RelayHeadroom,
};

/// Longest life of a join token, seconds: a day's work of racking hosts.
pub const JOIN_TOKEN_SECONDS_MAX: u32 = 86_400;
/// Life of a join token when the operator does not say, seconds.
pub const JOIN_TOKEN_SECONDS_DEFAULT: u32 = 3_600;
/// Rooms in one answer when the operator does not say.
pub const ROOMS_LIMIT_DEFAULT: u32 = 100;
/// Most rooms in one answer: some hundred kilobytes.
pub const ROOMS_LIMIT_MAX: u32 = 1_000;
/// Longest `host:port`, bytes.
const ADDRESS_MAX: usize = 512;

/// Every machine of the cluster.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Nodes {
    /// Control nodes, by number.
    pub controls: Vec<ControlNode>,
    /// Edges, by name.
    pub edges: Vec<EdgeNode>,
}

/// A control node.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ControlNode {
    /// Its number.
    #[schema(value_type = u64)]
    pub id: ControlId,
    /// Its part in the Raft group.
    pub role: RaftRole,
    /// Whether it answered this question.
    pub is_this_node: bool,
    /// `host:port` of its link.
    pub link_address: String,
    /// Base URL of its REST API; `null` until it has introduced itself.
    #[schema(required)]
    pub http_url: Option<String>,
}

/// A part in the Raft group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RaftRole {
    /// Decides.
    Leader,
    /// Votes.
    Voter,
    /// Follows without a vote.
    Learner,
    /// Known, but not in the group.
    Outside,
}

/// An edge: what is agreed about it, and what it last reported.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EdgeNode {
    /// Which edge.
    #[schema(value_type = uuid::Uuid)]
    pub id: EdgeId,
    /// What it is called.
    pub name: String,
    /// Where it stands.
    #[schema(value_type = String)]
    pub region: Region,
    /// Whether it can take people.
    pub health: EdgeHealth,
    /// Takes no new people.
    pub cordoned: bool,
    /// Its people are being moved away.
    pub draining: bool,
    /// How many participants it is built for.
    pub capacity_participants: u32,
    /// Participants sent there who are not in its report yet.
    pub reserved_participants: u32,
    /// Participants whose home it is, connected or not.
    #[serde(default)]
    pub placed_participants: u32,
    /// Base URL that browsers reach.
    pub signalling_url: String,
    /// `host:port` that other edges dial.
    pub link_address: String,
    /// Its latest report; `null` when this node has none.
    #[schema(required)]
    pub report: Option<EdgeReport>,
}

/// Whether an edge can take people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EdgeHealth {
    /// Agreed to be up, and heard from within the last three seconds.
    Healthy,
    /// Agreed to be up, but this node has not heard from it lately.
    Silent,
    /// Agreed to be down.
    Down,
}

/// What an edge last reported.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EdgeReport {
    /// Milliseconds since it arrived.
    pub age_ms: u64,
    /// The build it runs.
    pub version: String,
    /// The UDP sockets that browsers send media to, `address:low-high`: what a relay has to reach.
    #[serde(default)]
    #[schema(max_items = 256)]
    pub media: Vec<String>,
    /// People it carries.
    pub participants: u32,
    /// Rooms it carries a part of.
    pub rooms: u32,
    /// Load of all its cores, 0.0 to 1.0.
    pub cpu_ratio: f64,
    /// Received, bits per second.
    pub ingress_bps: u64,
    /// Sent, bits per second.
    pub egress_bps: u64,
    /// Relayed connections.
    pub turn_allocations: u32,
    /// As many as its relay may hold; 0: it relays nothing.
    pub turn_allocations_max: u32,
    /// The configuration in force there.
    pub config_version: u64,
    /// Its links to other edges.
    pub paths: Vec<EdgePath>,
}

/// A link between edges, from its own probes.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EdgePath {
    /// The other edge.
    #[schema(value_type = uuid::Uuid)]
    pub to: EdgeId,
    /// Round trip, microseconds.
    pub rtt_us: u32,
    /// Variation of it, microseconds.
    pub jitter_us: u32,
    /// Lost probes, parts per million.
    pub loss_ppm: u32,
}

/// How many rooms to show.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SessionsQuery {
    /// Most rooms to return, 1 to 1000; 100 when absent. The latest come first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// Rooms with placements.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Sessions {
    /// How many rooms there are, shown or not.
    pub rooms_total: u64,
    /// How many participants have a place, in all rooms.
    pub participants_placed: u64,
    /// How many participants the edges report, in all rooms.
    pub participants_connected: u64,
    /// The latest changed first, as many as were asked for.
    pub rooms: Vec<Room>,
}

/// A room. The ids are the media plane's: nothing in them leads to a person.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Room {
    /// Which room.
    #[schema(value_type = uuid::Uuid)]
    pub id: RoomId,
    /// Its assignment.
    pub epoch: u64,
    /// When it is forgotten.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// Who belongs where.
    pub participants: Vec<Placed>,
}

/// A participant's place.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Placed {
    /// Who, as the media plane knows them.
    #[schema(value_type = uuid::Uuid)]
    pub id: ParticipantId,
    /// Name of the home edge.
    pub edge: String,
    /// Name of the edge that reports them; `null` while not connected.
    #[schema(required)]
    pub connected_to: Option<String>,
}

/// The Raft group as this node sees it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Raft {
    /// Who answers.
    #[schema(value_type = u64)]
    pub node: ControlId,
    /// Who leads; `null` while nobody does.
    #[schema(required, value_type = Option<u64>)]
    pub leader: Option<ControlId>,
    /// The term.
    pub term: u64,
    /// The last entry in this node's log.
    pub last_log_index: u64,
    /// The last entry applied here.
    pub applied_index: u64,
    /// The last entry in this node's newest snapshot.
    pub snapshot_index: u64,
    /// The members.
    pub members: Vec<RaftMember>,
}

/// A member of the Raft group.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RaftMember {
    /// Which node.
    #[schema(value_type = u64)]
    pub id: ControlId,
    /// Its part.
    pub role: RaftRole,
    /// `host:port` of its link.
    pub link_address: String,
    /// The last entry known to be in its log; only the leader knows, and of voters and learners alike.
    #[schema(required)]
    pub matched_index: Option<u64>,
}

/// Asks for a join token.
#[derive(Clone, Debug, Default, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinTokenCreate {
    /// How long it can be used, at most a day; an hour when absent.
    #[garde(inner(range(min = 1, max = JOIN_TOKEN_SECONDS_MAX)))]
    #[serde(default)]
    #[schema(minimum = 1, maximum = 86400)]
    pub life_seconds: Option<u32>,
}

/// A join token. It lets one edge in, once; it is shown here and never again.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct JoinToken {
    /// Goes into the edge's `control.join_token_file`.
    #[schema(value_type = String)]
    pub token: Secret,
    /// When it ends.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}

/// Adds a node to the Raft group, without a vote.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LearnerAdd {
    /// Its number.
    #[garde(skip)]
    #[schema(value_type = u64)]
    pub node: ControlId,
    /// `host:port` of its link.
    #[garde(length(bytes, min = 3, max = ADDRESS_MAX))]
    pub link_address: String,
}

/// Names a node of the Raft group.
#[derive(Clone, Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RaftNode {
    /// Its number.
    #[garde(skip)]
    #[schema(value_type = u64)]
    pub node: ControlId,
}
