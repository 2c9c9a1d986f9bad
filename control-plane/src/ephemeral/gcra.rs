//! How often something may happen: the generic cell rate algorithm (ITU-T I.371), which keeps one
//! number per key, how far its next free moment lies ahead.
//!
//! The arithmetic is [`Quota::judge`]'s here and six lines of Lua in Redis, over the same integers:
//! both keep `ahead`, and a test runs them side by side. A crate for the half in this process would
//! be a second arithmetic, and has no way to take from several keys at once or from none.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::shared::Shared;

/// Most keys held in this process, about 15 MB. Past it those that are free soonest go.
const KEYS_MAX: usize = 100_000;

/// So many at once, and one more each interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Microseconds between two at a steady pace; 1 or more.
    pub interval_us: u64,
    /// How many may come at once; 1 or more.
    pub burst: u64,
}

impl Quota {
    /// So many each second, and ten seconds' worth at once.
    #[must_use]
    pub fn per_second(rate: f64) -> Self {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to what the field and common sense hold"
        )]
        let interval_us = (1e6 / rate).clamp(1.0, 60e6) as u64;
        Self {
            interval_us,
            burst: (10_000_000 / interval_us).max(1),
        }
    }

    /// How long it takes from full to free, microseconds.
    const fn window_us(self) -> u64 {
        self.interval_us.saturating_mul(self.burst)
    }

    const fn has_room(self, ahead_us: u64) -> bool {
        ahead_us.saturating_add(self.interval_us) <= self.window_us()
    }

    /// What a key whose next free moment lay that far ahead gets.
    const fn judge(self, ahead_us: u64, is_charged: bool) -> Standing {
        let is_allowed = self.has_room(ahead_us);
        let after = if is_charged {
            ahead_us + self.interval_us
        } else {
            ahead_us
        };
        let wait_us = (ahead_us + self.interval_us).saturating_sub(self.window_us());
        Standing {
            is_allowed,
            remaining: self.window_us().saturating_sub(after) / self.interval_us,
            full_again_in: Duration::from_micros(after),
            wait: Duration::from_micros(wait_us),
        }
    }
}

/// How a key stands after it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// There was room for one more.
    pub is_allowed: bool,
    /// How many more would be allowed at once.
    pub remaining: u64,
    /// When the whole burst is there again.
    pub full_again_in: Duration,
    /// When there is room for one; zero while there is.
    pub wait: Duration,
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// For all nodes together.
    Together,
    /// For this node alone: it is the only one, or Redis is away.
    Alone,
}

/// Keys and how far ahead they are.
#[derive(Clone)]
pub struct Buckets {
    shared: Option<Shared>,
    memory: Ahead,
}

impl Buckets {
    pub(super) fn new(shared: Option<Shared>) -> Self {
        Self {
            shared,
            memory: Ahead::default(),
        }
    }

    /// Buckets of this process only.
    #[must_use]
    pub fn in_process() -> Self {
        Self::new(None)
    }

    /// Takes one from each key, or from none of them if one has no room. Standings come in the
    /// order of the keys.
    ///
    /// While Redis is away each node counts for itself: as many nodes as there are, so many times
    /// the limit. Asking goes on, which is what matters.
    pub async fn take(&self, wanted: &[(String, Quota)]) -> (Vec<Standing>, Counted) {
        let (ahead, counted) = match &self.shared {
            Some(shared) => match shared.take(wanted).await {
                Some(ahead) if ahead.len() == wanted.len() => (ahead, Counted::Together),
                _ => (self.memory.take(wanted), Counted::Alone),
            },
            None => (self.memory.take(wanted), Counted::Alone),
        };
        let pairs = || wanted.iter().zip(&ahead);
        let is_charged = pairs().all(|((_, quota), &ahead)| quota.has_room(ahead));
        let standings = pairs().map(|((_, quota), &ahead)| quota.judge(ahead, is_charged));
        (standings.collect(), counted)
    }
}

/// Free moments in this process.
#[derive(Clone)]
struct Ahead {
    started: Instant,
    free_at_us: Arc<Mutex<HashMap<String, u64>>>,
}

impl Default for Ahead {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            free_at_us: Arc::default(),
        }
    }
}

impl Ahead {
    /// How far ahead each key was; charged if all have room.
    fn take(&self, wanted: &[(String, Quota)]) -> Vec<u64> {
        let now = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut free_at = self.free_at_us.lock();
        let ahead = |key: &String| free_at.get(key).map_or(0, |at| at.saturating_sub(now));
        let aheads: Vec<u64> = wanted.iter().map(|(key, _)| ahead(key)).collect();
        let mut pairs = wanted.iter().zip(&aheads);
        if pairs.all(|((_, quota), &ahead)| quota.has_room(ahead)) {
            if free_at.len() + wanted.len() > KEYS_MAX {
                make_room(&mut free_at, now);
            }
            for ((key, quota), ahead) in wanted.iter().zip(&aheads) {
                free_at.insert(key.clone(), now + ahead + quota.interval_us);
            }
        }
        aheads
    }
}

/// Drops what is free; if that is too little, also the half that is free first.
fn make_room(free_at: &mut HashMap<String, u64>, now: u64) {
    free_at.retain(|_, at| *at > now);
    if free_at.len() >= KEYS_MAX / 2 {
        let mut all: Vec<u64> = free_at.values().copied().collect();
        let middle = all.len() / 2;
        let (_, median, _) = all.select_nth_unstable(middle);
        let median = *median;
        free_at.retain(|_, at| *at > median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Quota = Quota {
        interval_us: 100_000,
        burst: 10,
    };

    fn keys(names: &[&str]) -> Vec<(String, Quota)> {
        names.iter().map(|name| ((*name).to_owned(), TEN)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_a_steady_pace() {
        let buckets = Buckets::in_process();
        let key = keys(&["k"]);
        for n in (0..10).rev() {
            let standing = buckets.take(&key).await.0[0];
            assert!(standing.is_allowed && standing.remaining == n, "{standing:?}");
        }
        let refused = buckets.take(&key).await.0[0];
        assert!(!refused.is_allowed && refused.remaining == 0);
        assert_eq!(refused.wait, Duration::from_millis(100));
        assert_eq!(refused.full_again_in, Duration::from_secs(1));
        // A refusal costs nothing: whoever waits as told gets in, and only once.
        tokio::time::advance(refused.wait).await;
        assert!(buckets.take(&key).await.0[0].is_allowed);
        assert!(!buckets.take(&key).await.0[0].is_allowed);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(
            buckets.take(&key).await.0[0].remaining,
            9,
            "no more than the burst is saved up"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_full_takes_nothing_from_the_others() {
        let buckets = Buckets::in_process();
        for _ in 0..10 {
            buckets.take(&keys(&["narrow"])).await;
        }
        for _ in 0..20 {
            let (standings, _) = buckets.take(&keys(&["wide", "narrow"])).await;
            assert!(standings[0].is_allowed && !standings[1].is_allowed);
            assert_eq!(standings[0].remaining, 10);
        }
        assert_eq!(buckets.take(&keys(&["wide"])).await.0[0].remaining, 9);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let buckets = Buckets::in_process();
        for n in 0..KEYS_MAX + 1_000 {
            buckets.take(&keys(&[&n.to_string()])).await;
        }
        assert!(buckets.memory.free_at_us.lock().len() <= KEYS_MAX);
    }

    #[test]
    fn a_rate_is_an_interval_and_ten_seconds_of_it() {
        let quota = |interval_us, burst| Quota { interval_us, burst };
        assert_eq!(Quota::per_second(200.0), quota(5_000, 2_000));
        assert_eq!(Quota::per_second(0.5), quota(2_000_000, 5));
        assert_eq!(Quota::per_second(0.0), quota(60_000_000, 1));
        assert_eq!(Quota::per_second(1e9), quota(1, 10_000_000));
    }
}
