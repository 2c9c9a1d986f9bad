//! The fleet as the planner sees it: agreed intent joined with fresh telemetry.

use std::collections::BTreeMap;

use medmesh_base::{EdgeId, Region};

/// All edges and the paths between them.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// Every enrolled edge.
    pub edges: BTreeMap<EdgeId, EdgeView>,
    /// Measured one way round: from the first edge to the second and back.
    pub paths: BTreeMap<(EdgeId, EdgeId), Path>,
}

/// One edge.
#[derive(Clone, Debug)]
pub struct EdgeView {
    /// Where it stands.
    pub region: Region,
    /// It reports, and its reports are fresh.
    pub healthy: bool,
    /// It takes nobody new.
    pub cordoned: bool,
    /// It takes nobody new and gives away whom it has.
    pub draining: bool,
    /// How many participants it is built for.
    pub capacity_participants: u32,
    /// How many it says it carries.
    pub reported_participants: u32,
    /// How many were placed there and are not in its report yet.
    pub reserved_participants: u32,
    /// Load of its cores, 0 to 1000.
    pub cpu_permille: u32,
    /// Relative price of its traffic; 0 is cheapest.
    pub cost: u32,
    /// What its TURN relay carries.
    pub relay: RelayLoad,
}

/// Allocations of a TURN relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayLoad {
    /// Allocations that live.
    pub allocations: u32,
    /// As many as it may hold; 0: it relays nothing.
    pub allocations_max: u32,
}

impl EdgeView {
    /// Participants it carries or has been promised.
    #[must_use]
    pub fn load(&self) -> u32 {
        self.reported_participants
            .saturating_add(self.reserved_participants)
    }

    /// Whether somebody new may be sent there at all.
    #[must_use]
    pub fn takes_new(&self) -> bool {
        self.healthy && !self.cordoned && !self.draining
    }
}

/// A path between two edges, from probe datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Round trip, microseconds.
    pub rtt_us: u32,
    /// Variation of it, microseconds.
    pub jitter_us: u32,
    /// Lost probes, parts per million.
    pub loss_ppm: u32,
}

impl Fleet {
    /// The path between two edges, whichever side measured it; the worse where both did.
    #[must_use]
    pub fn path(&self, from: EdgeId, to: EdgeId) -> Option<Path> {
        let (there, back) = (self.paths.get(&(from, to)), self.paths.get(&(to, from)));
        match (there, back) {
            (Some(a), Some(b)) => Some(if a.rtt_us >= b.rtt_us { *a } else { *b }),
            (one, other) => one.or(other).copied(),
        }
    }
}
