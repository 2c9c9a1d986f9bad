//! Which ports of a relay address are free.

use std::ops::RangeInclusive;

use crate::server::Port;

/// Ports not in use, handed out from a random place: a port that can be predicted can be
/// sent to before its owner has told anybody (the reason for RFC 6056).
#[derive(Debug)]
pub(super) struct PortPool {
    first: u16,
    used: Vec<bool>,
    free: usize,
}

impl PortPool {
    pub(super) fn new(ports: &RangeInclusive<u16>) -> Self {
        let count = ports.clone().count();
        Self {
            first: *ports.start(),
            used: vec![false; count],
            free: count,
        }
    }

    /// The first free port that is `wanted`, from a place chosen by `random` on.
    pub(super) fn take(&mut self, random: u32, wanted: Port) -> Option<u16> {
        if let Port::Held(port) = wanted {
            return Some(port);
        }
        if self.free == 0 {
            return None;
        }
        let count = self.used.len();
        let start = random as usize % count;
        let free = |index: usize| self.used.get(index) == Some(&false);
        let even = |index: usize| self.port(index).is_multiple_of(2);
        let fits = |index: &usize| {
            free(*index)
                && match wanted {
                    Port::Any | Port::Held(_) => true,
                    Port::Even => even(*index),
                    Port::EvenAndHoldNext => even(*index) && free(*index + 1),
                }
        };
        let index = (start..count).chain(0..start).find(fits)?;
        let taken = if wanted == Port::EvenAndHoldNext { 2 } else { 1 };
        self.used[index..index + taken].fill(true);
        self.free -= taken;
        Some(self.port(index))
    }

    /// Gives back what [`PortPool::take`] gave for `wanted`.
    pub(super) fn untake(&mut self, port: u16, wanted: Port) {
        self.give_back(port);
        if wanted == Port::EvenAndHoldNext {
            self.give_back(port + 1);
        }
    }

    pub(super) fn give_back(&mut self, port: u16) {
        let index = usize::from(port - self.first);
        debug_assert!(self.used[index], "only taken ports come back");
        self.used[index] = false;
        self.free += 1;
    }

    fn port(&self, index: usize) -> u16 {
        self.first + u16::try_from(index).expect("a range of ports has at most 65,536 of them")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_is_handed_out_once_and_comes_back() {
        let mut pool = PortPool::new(&(65_530..=65_535));
        let mut taken: Vec<u16> = (0..6).map(|n| pool.take(n * 7919, Port::Any).unwrap()).collect();
        assert_eq!(pool.take(0, Port::Any), None);
        taken.sort_unstable();
        assert_eq!(taken, (65_530..=65_535).collect::<Vec<_>>());
        pool.give_back(65_533);
        assert_eq!(pool.take(1, Port::Even), None, "only an odd one is free");
        assert_eq!(pool.take(1, Port::Any), Some(65_533));
    }

    #[test]
    fn the_port_after_an_even_one_is_held() {
        let mut pool = PortPool::new(&(50_001..=50_006));
        for held in [50_003, 50_005] {
            let port = pool.take(0, Port::EvenAndHoldNext).unwrap();
            assert_eq!(port + 1, held);
        }
        assert_eq!(
            pool.take(0, Port::EvenAndHoldNext),
            None,
            "50006 has no neighbour"
        );
        assert_eq!(pool.take(0, Port::Held(50_003)), Some(50_003));
        pool.untake(50_002, Port::EvenAndHoldNext);
        assert_eq!(pool.take(2, Port::Any), Some(50_003));
    }

    #[test]
    fn even_ports_on_demand() {
        let mut pool = PortPool::new(&(50_001..=50_010));
        for random in 0..5 {
            assert_eq!(pool.take(random, Port::Even).unwrap() % 2, 0);
        }
        assert_eq!(pool.take(0, Port::Even), None);
    }
}
