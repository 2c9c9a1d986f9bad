use std::collections::BTreeMap;

use medmesh_base::{EdgeId, Region};
use proptest::prelude::*;

use crate::{Demand, EdgeView, Fleet, KEEP_GAIN_MIN_US, NoPlace, Path, Rejection, RelayLoad, Verdict, plan};

fn id(n: u8) -> EdgeId {
    EdgeId::from_slice(&[n; 16]).unwrap()
}

fn region(name: &str) -> Region {
    name.parse().unwrap()
}

fn edge(at: &str) -> EdgeView {
    EdgeView {
        region: region(at),
        healthy: true,
        cordoned: false,
        draining: false,
        capacity_participants: 100,
        reported_participants: 0,
        reserved_participants: 0,
        relay: RelayLoad::default(),
        cpu_permille: 0,
        cost: 0,
    }
}

/// Three edges: 1 and 2 in `eu`, 3 in `us`; 80 ms across the ocean.
fn world() -> Fleet {
    let edges = BTreeMap::from([(id(1), edge("eu")), (id(2), edge("eu")), (id(3), edge("us"))]);
    let path = |rtt_ms: u32| Path {
        rtt_us: rtt_ms * 1000,
        jitter_us: 500,
        loss_ppm: 0,
    };
    let paths = BTreeMap::from([
        ((id(1), id(2)), path(8)),
        ((id(1), id(3)), path(80)),
        ((id(2), id(3)), path(84)),
    ]);
    Fleet { edges, paths }
}

fn near(n: u8) -> Demand {
    let far = |other: u8| if other == n { 6_000 } else { 90_000 };
    Demand {
        probes_us: (1..=3).map(|e| (id(e), far(e))).collect(),
        ..Demand::default()
    }
}

fn rejection(report: &crate::Report, n: u8) -> Option<Rejection> {
    report
        .candidates
        .iter()
        .find(|c| c.edge == id(n))
        .and_then(|c| match c.verdict {
            Verdict::Rejected { reason } => Some(reason),
            _ => None,
        })
}

#[test]
fn a_score_names_the_first_rule_it_loses_by() {
    let (_, report) = plan(&world(), &near(1), 7);
    let scores: Vec<_> = report
        .candidates
        .iter()
        .filter_map(|candidate| match &candidate.verdict {
            Verdict::Chosen { score, .. } | Verdict::Ranked { score, .. } => Some(score),
            Verdict::Rejected { .. } => None,
        })
        .collect();
    assert_eq!(scores[1].loses_by(scores[0]), Some("mouth_to_ear"));
    assert_eq!(scores[0].loses_by(scores[1]), None, "the winner loses by nothing");
    assert_eq!(scores[0].loses_by(scores[0]), None);
}

#[test]
fn everyone_joins_the_edge_nearest_to_them() {
    let fleet = world();
    for n in 1..=3 {
        let (plan, report) = plan(&fleet, &near(n), 7);
        let plan = plan.unwrap();
        assert_eq!(plan.home, id(n));
        assert_eq!(plan.fallbacks.len(), 2);
        assert_eq!(report.candidates.len(), 3);
    }
}

#[test]
fn the_room_may_span_edges_and_the_hop_is_counted() {
    let fleet = world();
    // A patient near 1 joins a clinician who sits on 3: still on 1, the mesh carries it.
    let demand = Demand {
        others: vec![(id(3), 6_000)],
        ..near(1)
    };
    assert_eq!(plan(&fleet, &demand, 7).0.unwrap().home, id(1));
    // Equally far from 1 and 2, the one with the shorter hop to the other wins.
    let probes_us = BTreeMap::from([(id(1), 20_000), (id(2), 20_000), (id(3), 200_000)]);
    let mut fleet = fleet;
    fleet.paths.insert(
        (id(2), id(3)),
        Path {
            rtt_us: 120_000,
            jitter_us: 0,
            loss_ppm: 0,
        },
    );
    let demand = Demand {
        probes_us,
        others: vec![(id(3), 6_000)],
        ..Demand::default()
    };
    assert_eq!(plan(&fleet, &demand, 7).0.unwrap().home, id(1));
}

#[test]
fn hard_constraints_reject_with_their_reason() {
    let mut fleet = world();
    fleet.edges.get_mut(&id(1)).unwrap().healthy = false;
    fleet.edges.get_mut(&id(2)).unwrap().cordoned = true;
    let demand = Demand {
        residency: vec![region("eu")],
        ..near(1)
    };
    let (plan_eu, report) = plan(&fleet, &demand, 0);
    assert_eq!(plan_eu, Err(NoPlace));
    assert_eq!(rejection(&report, 1), Some(Rejection::Unhealthy));
    assert_eq!(rejection(&report, 2), Some(Rejection::Cordoned));
    assert_eq!(rejection(&report, 3), Some(Rejection::Residency));

    fleet.edges.get_mut(&id(3)).unwrap().draining = true;
    assert_eq!(
        rejection(&plan(&fleet, &near(3), 0).1, 3),
        Some(Rejection::Draining)
    );
}

#[test]
fn reservations_count_and_one_edge_stays_to_spare() {
    let mut fleet = world();
    fleet.edges.get_mut(&id(1)).unwrap().reported_participants = 60;
    fleet.edges.get_mut(&id(1)).unwrap().reserved_participants = 40;
    let (full, report) = plan(&fleet, &near(1), 0);
    assert_eq!(rejection(&report, 1), Some(Rejection::Full));
    assert_ne!(full.unwrap().home, id(1));

    // 3 × 100 with one to spare carries 200: the 201st is refused although there is room.
    fleet.edges.get_mut(&id(2)).unwrap().reported_participants = 99;
    assert!(plan(&fleet, &near(2), 0).0.is_ok());
    fleet.edges.get_mut(&id(3)).unwrap().reported_participants = 1;
    let (none, report) = plan(&fleet, &near(3), 0);
    assert_eq!(none, Err(NoPlace));
    assert_eq!(rejection(&report, 3), Some(Rejection::NoSpareEdge));
}

#[test]
fn a_participant_stays_unless_moving_pays() {
    let fleet = world();
    let at = |here: u32| Demand {
        probes_us: BTreeMap::from([(id(1), 10_000), (id(2), here), (id(3), 200_000)]),
        current: Some(id(2)),
        ..Demand::default()
    };
    let (stay, report) = plan(&fleet, &at(10_000 + KEEP_GAIN_MIN_US), 0);
    assert_eq!(stay.unwrap().home, id(2));
    assert!(matches!(
        report.candidates[0].verdict,
        Verdict::Chosen { kept: true, .. }
    ));
    let (moved, _) = plan(&fleet, &at(12_000 + 3 * KEEP_GAIN_MIN_US), 0);
    assert_eq!(moved.unwrap().home, id(1));
}

#[test]
fn equal_edges_share_rooms() {
    let fleet = world();
    let probes_us = BTreeMap::from([(id(1), 5_000), (id(2), 5_000), (id(3), 90_000)]);
    let demand = Demand {
        probes_us,
        ..Demand::default()
    };
    let on_one = (0..1000)
        .filter(|seed| plan(&fleet, &demand, *seed).0.unwrap().home == id(1))
        .count();
    assert!((350..650).contains(&on_one), "{on_one}");
}

prop_compose! {
    fn any_edge()(
        region in prop::sample::select(vec!["eu", "us"]), healthy: bool, cordoned: bool, draining: bool,
        capacity in 0_u32..50, reported in 0_u32..60, reserved in 0_u32..10, cpu in 0_u32..1001, cost in 0_u32..3,
    ) -> EdgeView {
        EdgeView {
            region: region.parse().unwrap(), healthy, cordoned, draining, capacity_participants: capacity,
            reported_participants: reported, reserved_participants: reserved, cpu_permille: cpu, cost, relay: RelayLoad::default(),
        }
    }
}

proptest! {
    /// Whatever the fleet: hard constraints hold, every edge is accounted for once,
    /// and the same arguments give the same answer.
    #[test]
    fn plans_never_break_a_hard_constraint(
        edges in prop::collection::vec(any_edge(), 0..8),
        probes in prop::collection::vec(0_u32..400_000, 8),
        eu_only: bool, current in prop::option::of(0_u8..8), seed: u64,
    ) {
        let key = |n: usize| id(u8::try_from(n).unwrap());
        let fleet = Fleet {
            edges: edges.into_iter().enumerate().map(|(n, e)| (key(n), e)).collect(),
            paths: BTreeMap::new(),
        };
        let demand = Demand {
            residency: if eu_only { vec![region("eu")] } else { vec![] },
            probes_us: probes.iter().enumerate().map(|(n, us)| (key(n), *us)).collect(),
            current: current.map(id),
            ..Demand::default()
        };
        let (outcome, report) = plan(&fleet, &demand, seed);
        prop_assert_eq!(&(outcome.clone(), report.clone()), &plan(&fleet, &demand, seed));
        let mut seen: Vec<_> = report.candidates.iter().map(|c| c.edge).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, fleet.edges.keys().copied().collect::<Vec<_>>());
        if let Ok(plan) = outcome {
            for edge in std::iter::once(plan.home).chain(plan.fallbacks.iter().copied()) {
                let view = &fleet.edges[&edge];
                prop_assert!(view.healthy && !view.draining);
                prop_assert!(!eu_only || view.region.as_str() == "eu");
                if demand.current != Some(edge) {
                    prop_assert!(!view.cordoned && view.load() < view.capacity_participants);
                }
            }
            prop_assert!(!plan.fallbacks.contains(&plan.home));
        }
    }
}
