//! The policy: fields are compared from the first to the last.

use medmesh_base::EdgeId;
use serde::{Deserialize, Serialize};

use crate::{Demand, EdgeView, Fleet};

/// Assumed round trip to an edge nobody has measured: bad enough that a measured
/// edge wins, good enough that an unmeasured one beats a broken network.
pub const RTT_UNKNOWN_US: u32 = 150_000;

/// Delays closer than this are the same to a listener, and to a probe's noise.
const DELAY_STEP_US: u32 = 4_000;

/// How good an edge is for a participant; smaller is better. The derived order
/// is the policy, and the edge's id last makes it total.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Score {
    /// One-way delay between this participant and the farthest other, in steps of 4 ms.
    pub mouth_to_ear_steps: u32,
    /// Loss and jitter on the way between the edges, as a penalty in microseconds.
    pub impairment_us: u32,
    /// One-way delay added by the hop between edges, microseconds.
    pub mesh_hop_us: u32,
    /// Round trip of the participant to the edge in steps of 4 ms.
    pub access_steps: u32,
    /// Load of the edge once the participant is there, permille of its capacity in steps of 50.
    pub balance_steps: u32,
    /// Relative price of its traffic.
    pub cost: u32,
    /// A stable shuffle, so that equal edges share the load.
    pub shuffle: u64,
    /// The last word.
    pub edge: EdgeId,
}

impl Score {
    pub(crate) fn of(fleet: &Fleet, demand: &Demand, edge: EdgeId, view: &EdgeView, seed: u64) -> Self {
        let access_us = access_rtt_us(demand, edge);
        let hops = demand.others.iter().map(|(other, other_access_us)| {
            let path = if *other == edge {
                None
            } else {
                fleet.path(edge, *other)
            };
            let known_or_same = path.is_some() || *other == edge;
            let hop_us = path.map_or(if known_or_same { 0 } else { RTT_UNKNOWN_US }, |p| p.rtt_us) / 2;
            // One lost packet in a hundred annoys about as much as 10 ms of delay.
            let impairment_us = path.map_or(0, |p| p.loss_ppm.saturating_add(p.jitter_us.saturating_mul(2)));
            (
                access_us / 2 + hop_us + other_access_us / 2,
                impairment_us,
                hop_us,
            )
        });
        let (delay_us, impairment_us, mesh_hop_us) = hops.fold((access_us / 2, 0, 0), |worst, hop| {
            (worst.0.max(hop.0), worst.1.max(hop.1), worst.2.max(hop.2))
        });
        let permille = u64::from(view.load() + 1) * 1000 / u64::from(view.capacity_participants.max(1));
        let load_permille = u32::try_from(permille).unwrap_or(u32::MAX).max(view.cpu_permille);
        Self {
            mouth_to_ear_steps: delay_us / DELAY_STEP_US,
            impairment_us: impairment_us / 1000 * 1000,
            mesh_hop_us: mesh_hop_us / 1000 * 1000,
            access_steps: access_us / DELAY_STEP_US,
            balance_steps: load_permille / 50,
            cost: view.cost,
            shuffle: shuffle(edge, seed),
            edge,
        }
    }

    /// The word for the first rule by which this score is worse than `other`; `None` when it is not.
    #[must_use]
    pub fn loses_by(&self, other: &Self) -> Option<&'static str> {
        let rules = [
            (
                "mouth_to_ear",
                self.mouth_to_ear_steps.cmp(&other.mouth_to_ear_steps),
            ),
            ("impairment", self.impairment_us.cmp(&other.impairment_us)),
            ("mesh_hop", self.mesh_hop_us.cmp(&other.mesh_hop_us)),
            ("access", self.access_steps.cmp(&other.access_steps)),
            ("balance", self.balance_steps.cmp(&other.balance_steps)),
            ("cost", self.cost.cmp(&other.cost)),
            (
                "shuffle",
                (self.shuffle, self.edge).cmp(&(other.shuffle, other.edge)),
            ),
        ];
        let (rule, order) = rules.into_iter().find(|(_, order)| order.is_ne())?;
        order.is_gt().then_some(rule)
    }

    /// One-way delay to the farthest other, milliseconds, as coarse as it was compared.
    #[must_use]
    pub fn mouth_to_ear_ms(&self) -> u32 {
        self.delay_us() / 1000
    }

    /// Round trip of the participant to the edge, milliseconds, as coarse as it was compared.
    #[must_use]
    pub fn access_ms(&self) -> u32 {
        self.access_steps * (DELAY_STEP_US / 1000)
    }

    /// The delay this score stands for, microseconds.
    pub(crate) fn delay_us(&self) -> u32 {
        self.mouth_to_ear_steps * DELAY_STEP_US
    }
}

fn access_rtt_us(demand: &Demand, edge: EdgeId) -> u32 {
    let measured = demand
        .probes_us
        .get(&edge)
        .or_else(|| demand.learned_us.get(&edge));
    measured.copied().unwrap_or(RTT_UNKNOWN_US)
}

/// SplitMix64 over id and seed: spreads, and needs no more than that.
fn shuffle(edge: EdgeId, seed: u64) -> u64 {
    let (high, low) = edge.as_uuid().as_u64_pair();
    let mut z = high.wrapping_mul(0xD6E8_FEB8_6659_FD93) ^ low ^ seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
