//! How many more people fit, and whether the loss of an edge could be absorbed.

use std::collections::BTreeMap;

use medmesh_base::Region;

use crate::{EdgeView, Fleet};

/// Room in one region, or in the whole fleet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headroom {
    /// Edges that take new people.
    pub edges_open: u32,
    /// All edges.
    pub edges: u32,
    /// What the open edges are built for.
    pub capacity_participants: u64,
    /// People on the open edges or promised to them.
    pub load_participants: u64,
    /// The largest open edge.
    pub largest_edge_participants: u32,
    /// TURN allocations that live on the open edges.
    pub relay_allocations: u64,
    /// TURN allocations the open edges may hold.
    pub relay_allocations_max: u64,
    /// What the largest relay of an open edge may hold.
    pub largest_relay_allocations: u32,
}

impl Headroom {
    /// How many more fit while the largest edge could still die and the others take everybody;
    /// negative when it could not already. With a single open edge there is nobody to take
    /// over, so that nothing is spare.
    #[must_use]
    pub fn spare_participants(&self) -> i64 {
        let left = self.capacity_participants - u64::from(self.largest_edge_participants);
        signed(left) - signed(self.load_participants)
    }

    /// How many more TURN allocations fit while the largest relay could still die and the others
    /// take all of its; negative when they could not already.
    #[must_use]
    pub fn spare_allocations(&self) -> i64 {
        let left = self.relay_allocations_max - u64::from(self.largest_relay_allocations);
        signed(left) - signed(self.relay_allocations)
    }

    fn add(&mut self, edge: &EdgeView) {
        self.edges += 1;
        if edge.takes_new() {
            self.edges_open += 1;
            self.capacity_participants += u64::from(edge.capacity_participants);
            self.load_participants += u64::from(edge.load());
            self.largest_edge_participants = self.largest_edge_participants.max(edge.capacity_participants);
            let relay = edge.relay;
            self.relay_allocations += u64::from(relay.allocations);
            self.relay_allocations_max += u64::from(relay.allocations_max);
            self.largest_relay_allocations = self.largest_relay_allocations.max(relay.allocations_max);
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Of each region, and of all together.
#[must_use]
pub fn headroom(fleet: &Fleet) -> (BTreeMap<Region, Headroom>, Headroom) {
    let mut regions: BTreeMap<Region, Headroom> = BTreeMap::new();
    let mut all = Headroom::default();
    for edge in fleet.edges.values() {
        regions.entry(edge.region.clone()).or_default().add(edge);
        all.add(edge);
    }
    (regions, all)
}

#[cfg(test)]
mod tests {
    use medmesh_base::EdgeId;
    use proptest::prelude::*;

    use super::*;
    use crate::RelayLoad;

    fn edge(region: &str, capacity: u32, load: u32) -> EdgeView {
        EdgeView {
            region: region.parse().unwrap(),
            healthy: true,
            cordoned: false,
            draining: false,
            capacity_participants: capacity,
            reported_participants: load,
            reserved_participants: 0,
            cpu_permille: 0,
            cost: 0,
            relay: RelayLoad {
                allocations: load,
                allocations_max: 10 * capacity,
            },
        }
    }

    fn fleet(edges: Vec<EdgeView>) -> Fleet {
        let edges = edges.into_iter().map(|edge| (EdgeId::generate(), edge));
        Fleet {
            edges: edges.collect(),
            ..Fleet::default()
        }
    }

    #[test]
    fn the_largest_edge_is_always_kept_in_reserve() {
        let mut closed = edge("eu", 500, 100);
        closed.draining = true;
        let (regions, all) = headroom(&fleet(vec![
            edge("eu", 100, 40),
            edge("eu", 60, 10),
            edge("us", 80, 20),
            closed,
        ]));
        let eu = regions[&"eu".parse().unwrap()];
        assert_eq!((eu.edges, eu.edges_open, eu.load_participants), (3, 2, 50));
        assert_eq!(eu.spare_participants(), 60 - 50);
        assert_eq!(
            (eu.relay_allocations_max, eu.spare_allocations()),
            (1600, 600 - 50)
        );
        assert_eq!(
            regions[&"us".parse().unwrap()].spare_participants(),
            -20,
            "alone, nothing is spare"
        );
        assert_eq!(all.spare_participants(), 240 - 100 - 70);
        assert_eq!(all.spare_allocations(), 2400 - 1000 - 70);
    }

    proptest! {
        #[test]
        fn one_more_person_is_one_less_to_spare(loads in prop::collection::vec((1..500_u32, 0..500_u32), 1..20)) {
            let views: Vec<_> = loads.iter().map(|(capacity, load)| edge("eu", *capacity, *load)).collect();
            let before = headroom(&fleet(views.clone())).1.spare_participants();
            let mut more = views;
            more[0].reserved_participants += 1;
            prop_assert_eq!(headroom(&fleet(more)).1.spare_participants(), before - 1);
        }
    }
}
