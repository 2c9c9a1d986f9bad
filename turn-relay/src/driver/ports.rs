//! Which ports of a relay address are free.

use std::ops::RangeInclusive;

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

    /// The first free port from a place chosen by `random` on, even if it has to be.
    pub(super) fn take(&mut self, random: u32, even: bool) -> Option<u16> {
        if self.free == 0 {
            return None;
        }
        let count = self.used.len();
        let start = random as usize % count;
        let right = |index: usize| !even || self.port(index).is_multiple_of(2);
        let fits = |index: &usize| !self.used[*index] && right(*index);
        let index = (start..count).chain(0..start).find(fits)?;
        self.used[index] = true;
        self.free -= 1;
        Some(self.port(index))
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
        let mut taken: Vec<u16> = (0..6).map(|n| pool.take(n * 7919, false).unwrap()).collect();
        assert_eq!(pool.take(0, false), None);
        taken.sort_unstable();
        assert_eq!(taken, (65_530..=65_535).collect::<Vec<_>>());
        pool.give_back(65_533);
        assert_eq!(pool.take(1, true), None, "only an odd one is free");
        assert_eq!(pool.take(1, false), Some(65_533));
    }

    #[test]
    fn even_ports_on_demand() {
        let mut pool = PortPool::new(&(50_001..=50_010));
        for random in 0..5 {
            assert_eq!(pool.take(random, true).unwrap() % 2, 0);
        }
        assert_eq!(pool.take(0, true), None);
    }
}
