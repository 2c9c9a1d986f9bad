//! What real sessions taught about the way from a network to an edge. Pure, in memory, never
//! agreed on: every control node hears the same reports, and a fresh one learns within minutes.
//!
//! Keyed by prefix ([`ClientPrefix`]), never by person. All times are milliseconds of a steady clock.

use std::collections::{BTreeMap, HashMap};

use medmesh_base::{ClientPrefix, EdgeId};
use medmesh_place::RTT_UNKNOWN_US;

/// Networks remembered: more than send patients in a day. 16,384 with a few edges each are a
/// few megabytes.
const PREFIXES_MAX: usize = 16_384;

/// Edges remembered of one network; its people get to a handful.
const EDGES_PER_PREFIX_MAX: usize = 16;

/// New reports replace the old estimate by half in this time: a detour that lasts shows soon, one
/// person's bad minute does not.
const LEARN_HALF_LIFE_MS: f64 = 30_000.0;

/// What nobody has confirmed for this long counts half: routes change, and a guess should not
/// beat an edge that nobody has measured for ever.
const FORGET_HALF_LIFE_MS: f64 = 6.0 * 3_600_000.0;

/// Round trips beyond this are a broken connection, not a way, microseconds.
const RTT_US_MAX: u32 = 2_000_000;

/// One way, as last heard of.
#[derive(Clone, Copy, Debug)]
struct Way {
    rtt_us: f64,
    at_ms: u64,
}

impl Way {
    /// Takes a report in. The same connections are reported every second, so that the time
    /// between two reports, and not their number, is what a report weighs.
    fn learn(&mut self, rtt_us: u32, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.at_ms) as f64;
        let keep = (-passed_ms / LEARN_HALF_LIFE_MS).exp2();
        self.rtt_us = self.rtt_us * keep + f64::from(rtt_us) * (1.0 - keep);
        self.at_ms = self.at_ms.max(now_ms);
    }

    /// The estimate now: on its way from what was learned to what is assumed of the unknown.
    fn rtt_us(&self, now_ms: u64) -> u32 {
        let age_ms = now_ms.saturating_sub(self.at_ms) as f64;
        let trust = (-age_ms / FORGET_HALF_LIFE_MS).exp2();
        let unknown = f64::from(RTT_UNKNOWN_US);
        // Between two numbers far below 2^32.
        (self.rtt_us * trust + unknown * (1.0 - trust)).round() as u32
    }
}

/// The ways learned, by network.
#[derive(Debug, Default)]
pub(super) struct Learned {
    prefixes: HashMap<ClientPrefix, BTreeMap<EdgeId, Way>>,
}

impl Learned {
    /// Takes in that people of this network are `rtt_us` from an edge.
    pub(super) fn learn(&mut self, prefix: ClientPrefix, edge: EdgeId, rtt_us: u32, now_ms: u64) {
        if rtt_us == 0 || rtt_us > RTT_US_MAX {
            return;
        }
        if !self.prefixes.contains_key(&prefix) && self.prefixes.len() >= PREFIXES_MAX {
            self.forget_oldest();
        }
        let ways = self.prefixes.entry(prefix).or_default();
        if let Some(way) = ways.get_mut(&edge) {
            return way.learn(rtt_us, now_ms);
        }
        if ways.len() >= EDGES_PER_PREFIX_MAX
            && let Some(oldest) = ways
                .iter()
                .min_by_key(|(_, way)| way.at_ms)
                .map(|(edge, _)| *edge)
        {
            ways.remove(&oldest);
        }
        let rtt_us = f64::from(rtt_us);
        ways.insert(
            edge,
            Way {
                rtt_us,
                at_ms: now_ms,
            },
        );
    }

    /// What is known of the way from a network to each edge, microseconds.
    pub(super) fn of(&self, prefix: ClientPrefix, now_ms: u64) -> BTreeMap<EdgeId, u32> {
        let ways = self.prefixes.get(&prefix).into_iter().flatten();
        ways.map(|(edge, way)| (*edge, way.rtt_us(now_ms))).collect()
    }

    /// How many networks are remembered.
    pub(super) fn len(&self) -> usize {
        self.prefixes.len()
    }

    /// An eighth at once, so that a full table is not searched for every newcomer.
    fn forget_oldest(&mut self) {
        let latest = |ways: &BTreeMap<EdgeId, Way>| ways.values().map(|way| way.at_ms).max().unwrap_or(0);
        let mut ages: Vec<(u64, ClientPrefix)> = self
            .prefixes
            .iter()
            .map(|(prefix, ways)| (latest(ways), *prefix))
            .collect();
        ages.sort_unstable();
        for (_, prefix) in ages.into_iter().take(PREFIXES_MAX / 8) {
            self.prefixes.remove(&prefix);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::edge;
    use super::*;

    fn prefix(number: u32) -> ClientPrefix {
        let [_, a, b, c] = number.to_be_bytes();
        ClientPrefix::V4([a, b, c])
    }

    #[test]
    fn what_lasts_is_learned_and_a_blip_is_not() {
        let mut learned = Learned::default();
        for second in 0..60 {
            learned.learn(prefix(1), edge(1), 20_000, second * 1_000);
        }
        learned.learn(prefix(1), edge(1), 900_000, 60_000);
        let after_blip = learned.of(prefix(1), 60_000)[&edge(1)];
        assert!(after_blip < 60_000, "{after_blip}");
        for second in 61..400 {
            learned.learn(prefix(1), edge(1), 80_000, second * 1_000);
        }
        let settled = learned.of(prefix(1), 400_000)[&edge(1)];
        assert!((79_000..82_000).contains(&settled), "{settled}");
        assert!(learned.of(prefix(2), 0).is_empty());
    }

    #[test]
    fn the_table_is_bounded_and_keeps_the_latest() {
        let mut learned = Learned::default();
        for number in 0..(PREFIXES_MAX as u32 * 2) {
            learned.learn(prefix(number), edge(1), 10_000, u64::from(number));
            assert!(learned.len() <= PREFIXES_MAX);
        }
        let latest = prefix(PREFIXES_MAX as u32 * 2 - 1);
        assert_eq!(learned.of(latest, 0).len(), 1);
        for number in 0..100 {
            learned.learn(latest, edge(number), 10_000, 1_000_000 + number as u64);
        }
        let known = learned.of(latest, 1_000_100);
        assert_eq!(known.len(), EDGES_PER_PREFIX_MAX);
        assert!(known.contains_key(&edge(99)) && !known.contains_key(&edge(0)));
        learned.learn(prefix(7), edge(1), RTT_US_MAX + 1, 2_000_000);
        learned.learn(prefix(7), edge(2), 0, 2_000_000);
        assert!(!learned.of(prefix(7), 2_000_000).contains_key(&edge(2)));
    }

    proptest! {
        #[test]
        fn an_estimate_stays_within_what_was_seen(reports in prop::collection::vec((1..RTT_US_MAX, 0..60_000_u64), 1..50)) {
            let mut learned = Learned::default();
            let mut now_ms = 0;
            for (rtt_us, pause_ms) in &reports {
                now_ms += pause_ms;
                learned.learn(prefix(1), edge(1), *rtt_us, now_ms);
            }
            let estimate = learned.of(prefix(1), now_ms)[&edge(1)];
            let seen = reports.iter().map(|(rtt_us, _)| *rtt_us);
            prop_assert!(estimate >= seen.clone().min().unwrap() && estimate <= seen.max().unwrap());
        }

        #[test]
        fn what_nobody_confirms_fades_into_the_unknown(rtt_us in 1..RTT_US_MAX, ages in prop::collection::vec(0..400_000_000_u64, 2..20)) {
            let mut learned = Learned::default();
            learned.learn(prefix(1), edge(1), rtt_us, 0);
            let mut ages = ages;
            ages.sort_unstable();
            let away = |age| learned.of(prefix(1), age)[&edge(1)].abs_diff(RTT_UNKNOWN_US);
            for pair in ages.windows(2) {
                prop_assert!(away(pair[1]) <= away(pair[0]), "it only ever fades");
            }
            prop_assert!(away(100 * 24 * 3_600_000) <= 1);
        }
    }
}
