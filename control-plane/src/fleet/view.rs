//! From what is agreed and what is measured to what the planner and the operator see.

use std::collections::{BTreeMap, BTreeSet};

use medmesh_base::{EdgeId, ParticipantId};
use medmesh_ledger::{EdgeStatus, Room, State};
use medmesh_place::{Demand, EdgeView, Fleet, RelayLoad};
use medmesh_wire::consensus::PlacedEdge;

use super::telemetry::Telemetry;

/// Joins the ledger's edges with fresh telemetry and promised places. Of the paths between
/// edges only those from or to `near` are taken, the edges a room is on already: a fleet has a
/// million pairs, a plan looks at a handful of rows.
#[must_use]
pub(super) fn fleet(
    state: &State,
    telemetry: &Telemetry,
    reserved: &BTreeMap<EdgeId, u32>,
    near: &BTreeSet<EdgeId>,
    now_ms: u64,
) -> Fleet {
    let mut fleet = Fleet::default();
    for (edge, known) in &state.edges {
        let fresh = telemetry.fresh(*edge, now_ms);
        let load = fresh.map(|report| report.load).unwrap_or_default();
        let view = EdgeView {
            region: known.descriptor.region.clone(),
            healthy: known.status == EdgeStatus::Up && fresh.is_some(),
            cordoned: known.cordoned,
            draining: known.draining,
            capacity_participants: known.descriptor.capacity_participants,
            reported_participants: load.participants,
            reserved_participants: reserved.get(edge).copied().unwrap_or(0),
            // Within 0 to 1000: reports outside 0.0 to 1.0 are refused.
            cpu_permille: (load.cpu_ratio * 1000.0) as u32,
            cost: 0,
            relay: RelayLoad {
                allocations: load.turn_allocations,
                allocations_max: load.turn_allocations_max,
            },
        };
        fleet.edges.insert(*edge, view);
        let Some(report) = fresh else { continue };
        if near.contains(edge) {
            let known = report.paths.iter().filter(|(to, _)| state.edges.contains_key(to));
            fleet.paths.extend(known.map(|(to, path)| ((*edge, *to), *path)));
        } else {
            let known = near.iter().filter_map(|to| Some((*to, report.paths.get(to)?)));
            fleet.paths.extend(known.map(|(to, path)| ((*edge, to), *path)));
        }
    }
    fleet
}

/// Whether an edge can take somebody as far as this node knows: agreed to be up, and heard from.
#[must_use]
pub(super) fn is_healthy(state: &State, telemetry: &Telemetry, edge: EdgeId, now_ms: u64) -> bool {
    let up = state
        .edges
        .get(&edge)
        .is_some_and(|known| known.status == EdgeStatus::Up);
    up && telemetry.fresh(edge, now_ms).is_some()
}

/// What a participant of this room needs.
#[must_use]
pub(super) fn demand(
    room: Option<&Room>,
    participant: ParticipantId,
    residency: &[medmesh_base::Region],
    probes_us: BTreeMap<EdgeId, u32>,
    learned_us: BTreeMap<EdgeId, u32>,
    access_us: impl Fn(ParticipantId) -> u32,
) -> Demand {
    let placements = room.map(|room| &room.placements);
    Demand {
        // A room's residency is fixed when it is made.
        residency: room.map_or_else(|| residency.to_vec(), |room| room.residency.clone()),
        probes_us,
        learned_us,
        others: placements
            .into_iter()
            .flatten()
            .filter(|(other, _)| **other != participant)
            .map(|(other, placement)| (placement.edge, access_us(*other)))
            .collect(),
        current: placements
            .and_then(|all| all.get(&participant))
            .map(|held| held.edge),
    }
}

/// An edge as a placement names it; `None` once it has left the fleet.
#[must_use]
pub(super) fn placed_edge(state: &State, edge: EdgeId) -> Option<PlacedEdge> {
    let descriptor = &state.edges.get(&edge)?.descriptor;
    Some(PlacedEdge {
        edge_id: edge.to_vec().into(),
        name: descriptor.name.clone(),
        region: descriptor.region.to_string(),
        signalling_url: descriptor.signalling_url.clone(),
        link_address: descriptor.link_address.clone(),
        turn_urls: descriptor.turn_urls.clone(),
    })
}
