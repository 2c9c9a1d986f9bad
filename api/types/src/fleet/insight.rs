//! Why people are where they are, and how many more fit.

use medmesh_base::{EdgeId, ParticipantId, Region, RoomId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

/// How an edge is taken out.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EdgeRemoval {
    /// Even while it carries people: the machine is lost. They are placed anew when they come back.
    #[serde(default)]
    pub force: bool,
}

/// Why the people of a room are where they are.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// Which room.
    #[schema(value_type = uuid::Uuid)]
    pub room: RoomId,
    /// Its assignment.
    pub epoch: u64,
    /// Regions its people may be in; empty is any.
    #[schema(value_type = Vec<String>)]
    pub residency: Vec<Region>,
    /// One report for each participant with a place.
    pub participants: Vec<PlacementExplanation>,
}

/// One participant's placement.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PlacementExplanation {
    /// Who, as the media plane knows them.
    #[schema(value_type = uuid::Uuid)]
    pub id: ParticipantId,
    /// Name of the home edge.
    pub edge: String,
    /// When the report was made; `null` when the leader remembers none and planned anew to answer.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub decided_at: Option<OffsetDateTime>,
    /// Whether one edge could die and the rest still carry everybody.
    pub spare_edge: bool,
    /// Every edge of the fleet: the winner, then by rank, then those ruled out.
    pub candidates: Vec<PlacementCandidate>,
}

/// One edge's part in a placement.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PlacementCandidate {
    /// Which edge.
    #[schema(value_type = uuid::Uuid)]
    pub edge: EdgeId,
    /// What it is called.
    pub name: String,
    /// What became of it.
    pub outcome: PlacementOutcome,
    /// Why: `kept` (the participant was there and it is good enough); of a ranked one the first
    /// rule it lost by (`mouth_to_ear`, `impairment`, `mesh_hop`, `access`, `balance`, `cost`,
    /// `shuffle`, `moving`); of a rejected one `unhealthy`, `cordoned`, `draining`, `residency`,
    /// `full` or `no_spare_edge`.
    #[schema(required)]
    pub reason: Option<String>,
    /// What it was ranked by; `null` for those ruled out.
    #[schema(required)]
    pub score: Option<PlacementScore>,
}

/// What became of an edge in a placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlacementOutcome {
    /// The home.
    Chosen,
    /// Lost; a fall-back when among the first three.
    Ranked,
    /// A hard rule ruled it out.
    Rejected,
}

/// What edges are ranked by, in this order; less is better.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct PlacementScore {
    /// One-way delay to the farthest other participant, milliseconds, in steps of 4.
    pub mouth_to_ear_ms: u32,
    /// Loss and jitter between the edges, as microseconds of penalty.
    pub impairment_us: u32,
    /// One-way delay between the edges, microseconds.
    pub mesh_hop_us: u32,
    /// Round trip of the participant to the edge, milliseconds, in steps of 4.
    pub access_ms: u32,
    /// Load with the participant, permille of what it is built for, in steps of 50.
    pub load_permille: u32,
    /// Relative price of its traffic.
    pub cost: u32,
}

/// How many more people fit.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FleetHeadroom {
    /// By region.
    pub regions: Vec<RegionHeadroom>,
    /// All regions together.
    pub fleet: Headroom,
}

/// Room in one region.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RegionHeadroom {
    /// Which region.
    #[schema(value_type = String)]
    pub region: Region,
    /// Its room.
    #[serde(flatten)]
    pub headroom: Headroom,
}

/// Room on a set of edges.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct Headroom {
    /// All edges.
    pub edges: u32,
    /// Edges that take new people.
    pub edges_open: u32,
    /// What the open edges are built for.
    pub capacity_participants: u64,
    /// People on the open edges, or promised to them.
    pub load_participants: u64,
    /// What the largest open edge is built for.
    pub largest_edge_participants: u32,
    /// How many more fit while the largest edge could still die; negative when the rest could
    /// not take everybody already.
    pub spare_participants: i64,
    /// TURN allocations that live on the open edges.
    pub turn_allocations: u64,
    /// TURN allocations the open edges may hold.
    pub turn_allocations_max: u64,
    /// How many more TURN allocations fit while the largest relay could still die; negative when
    /// the rest could not take all of its already.
    pub spare_turn_allocations: i64,
}

/// Room on one TURN relay that runs by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayHeadroom {
    /// Where it was asked.
    pub url: String,
    /// Allocations that live.
    pub allocations: u64,
    /// Allocations it may hold: its quota, its ports, its open files.
    pub allocations_max: u64,
    /// How many more fit.
    pub spare_allocations: u64,
}
