//! Why each edge won or lost; what an operator is shown when asking for a reason.

use medmesh_base::EdgeId;
use serde::{Deserialize, Serialize};

use crate::Score;

/// The account of one planning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Every edge of the fleet, winner first, then by rank, then the rejected.
    pub candidates: Vec<Candidate>,
    /// Whether one edge could die and the rest still carry everybody.
    pub spare_edge: bool,
}

/// One edge's part in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Which edge.
    pub edge: EdgeId,
    /// What became of it.
    pub verdict: Verdict,
}

/// What became of a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The participant's home.
    Chosen {
        /// Its score.
        score: Score,
        /// It was kept although another was slightly better.
        kept: bool,
    },
    /// Took part and lost; its place in the order (1 is the first fall-back).
    Ranked {
        /// Its place after the chosen one.
        rank: usize,
        /// Its score.
        score: Score,
    },
    /// A hard constraint ruled it out.
    Rejected {
        /// Which one.
        reason: Rejection,
    },
}

/// The hard constraints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// It does not report.
    Unhealthy,
    /// An operator has cordoned it.
    Cordoned,
    /// It is being emptied.
    Draining,
    /// The room's data may not be carried in its region.
    Residency,
    /// It is full.
    Full,
    /// With this participant, the loss of one edge could not be absorbed.
    NoSpareEdge,
}
