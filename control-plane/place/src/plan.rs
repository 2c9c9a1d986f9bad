//! From fleet and demand to a plan.

use std::collections::BTreeMap;

use medmesh_base::EdgeId;

use crate::report::{Candidate, Rejection, Report, Verdict};
use crate::{Demand, EdgeView, Fleet, Score};

/// Fall-back edges a participant is told of: two failures in a row are survived
/// without the control plane, and the token stays small.
pub const FALLBACKS_MAX: usize = 3;

/// A participant stays unless another edge saves at least this much one-way
/// delay: moving costs more than a few milliseconds give.
pub const KEEP_GAIN_MIN_US: u32 = 20_000;

/// Where a participant goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The edge to join.
    pub home: EdgeId,
    /// Where to go if it dies, in order; at most [`FALLBACKS_MAX`].
    pub fallbacks: Vec<EdgeId>,
}

/// No edge fulfils the hard constraints; the report says which failed where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no edge can take the participant")]
pub struct NoPlace;

/// Places one participant. `seed` breaks ties (take the room's id, so that a
/// room's plan is reproducible).
pub fn plan(fleet: &Fleet, demand: &Demand, seed: u64) -> (Result<Plan, NoPlace>, Report) {
    let headroom = Headroom::of(fleet, demand);
    let mut scores = Vec::new();
    let mut rejected = Vec::new();
    for (edge, view) in &fleet.edges {
        match reject(demand, &headroom, *edge, view) {
            Some(reason) => rejected.push(Candidate {
                edge: *edge,
                verdict: Verdict::Rejected { reason },
            }),
            None => scores.push(Score::of(fleet, demand, *edge, view, seed)),
        }
    }
    scores.sort_unstable();
    let kept = keep_current(&mut scores, demand);

    let mut candidates: Vec<Candidate> = Vec::with_capacity(fleet.edges.len());
    for (rank, score) in scores.iter().enumerate() {
        let verdict = match rank {
            0 => Verdict::Chosen {
                score: score.clone(),
                kept,
            },
            _ => Verdict::Ranked {
                rank,
                score: score.clone(),
            },
        };
        candidates.push(Candidate {
            edge: score.edge,
            verdict,
        });
    }
    candidates.append(&mut rejected);
    let plan = scores.first().map(|best| Plan {
        home: best.edge,
        fallbacks: scores
            .iter()
            .skip(1)
            .take(FALLBACKS_MAX)
            .map(|score| score.edge)
            .collect(),
    });
    (
        plan.ok_or(NoPlace),
        Report {
            candidates,
            spare_edge: headroom.spare_edge,
        },
    )
}

/// Moves the current edge to the front if it is good enough. True when that overruled the order.
fn keep_current(scores: &mut [Score], demand: &Demand) -> bool {
    let Some(at) = scores.iter().position(|score| Some(score.edge) == demand.current) else {
        return false;
    };
    let gain_us = scores[at].delay_us().saturating_sub(scores[0].delay_us());
    if at == 0 || gain_us >= KEEP_GAIN_MIN_US {
        return false;
    }
    scores[..=at].rotate_right(1);
    true
}

fn reject(demand: &Demand, headroom: &Headroom, edge: EdgeId, view: &EdgeView) -> Option<Rejection> {
    let stays = demand.current == Some(edge);
    if !view.healthy {
        Some(Rejection::Unhealthy)
    } else if view.draining {
        Some(Rejection::Draining)
    } else if view.cordoned && !stays {
        Some(Rejection::Cordoned)
    } else if !demand.allows(&view.region) {
        Some(Rejection::Residency)
    } else if stays {
        None // already counted in every load below
    } else if view.load() >= view.capacity_participants {
        Some(Rejection::Full)
    } else if !headroom.spare_edge {
        Some(Rejection::NoSpareEdge)
    } else {
        None
    }
}

/// Room left among the edges the demand may use.
struct Headroom {
    /// With one more participant, the largest edge could die and the others take
    /// everybody. A lone edge has nobody to take over, so the rule cannot bind there.
    spare_edge: bool,
}

impl Headroom {
    fn of(fleet: &Fleet, demand: &Demand) -> Self {
        let usable: BTreeMap<_, _> = fleet
            .edges
            .iter()
            .filter(|(_, v)| v.takes_new() && demand.allows(&v.region))
            .collect();
        let sum = |f: fn(&EdgeView) -> u32| usable.values().map(|v| u64::from(f(v))).sum::<u64>();
        let largest = usable
            .values()
            .map(|v| u64::from(v.capacity_participants))
            .max()
            .unwrap_or(0);
        let left_after_loss = sum(|v| v.capacity_participants) - largest;
        Self {
            spare_edge: usable.len() < 2 || sum(EdgeView::load) < left_after_loss,
        }
    }
}
