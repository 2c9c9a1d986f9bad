//! What one participant needs.

use std::collections::BTreeMap;

use medmesh_base::{EdgeId, Region};

/// One participant who wants into one room.
#[derive(Clone, Debug, Default)]
pub struct Demand {
    /// Regions that may carry the room; empty is any.
    pub residency: Vec<Region>,
    /// Round trips the client itself measured, microseconds.
    pub probes_us: BTreeMap<EdgeId, u32>,
    /// Round trips learned from earlier visits out of the same network, microseconds;
    /// used where the client has no probe of its own.
    pub learned_us: BTreeMap<EdgeId, u32>,
    /// The others of the room: their edge and their own round trip to it, microseconds.
    pub others: Vec<(EdgeId, u32)>,
    /// Where the participant is now, if anywhere.
    pub current: Option<EdgeId>,
}

impl Demand {
    /// Whether the room may be carried in `region`.
    #[must_use]
    pub fn allows(&self, region: &Region) -> bool {
        self.residency.is_empty() || self.residency.contains(region)
    }
}
