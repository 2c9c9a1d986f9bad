//! The steady time that freshness is judged by: it counts only while this process runs.
//!
//! A control node whose machine was suspended, or that got no core for seconds, has heard
//! nothing of its edges, and that says nothing about them. Were that time counted, the node
//! would wake up, refuse visits, and as the leader commit that every edge is down.

use std::sync::Arc;
use std::time::{Duration, Instant};

use medmesh_base::drain::Drain;
use parking_lot::Mutex;

/// How often the clock is looked at when nobody asks for the time.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Between two looks no more than this is counted, milliseconds: a process that runs looks four
/// times a second, and this is well below the three seconds after which an edge is stale.
const GAP_MS_MAX: u64 = 500;

/// Milliseconds since its making, without those in which the process did not run. Cheap to clone;
/// clones are the same clock.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    Awake(Arc<(Instant, Mutex<Awake>)>),
    #[cfg(test)]
    Manual(Arc<std::sync::atomic::AtomicU64>),
}

impl Clock {
    /// A clock at 0. It runs while [`Clock::keep`] does.
    #[must_use]
    pub fn awake() -> Self {
        Self(Source::Awake(Arc::new((Instant::now(), Mutex::default()))))
    }

    /// The time.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        match &self.0 {
            Source::Awake(awake) => {
                let mut counted = awake.1.lock();
                let elapsed = awake.0.elapsed();
                counted.look(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
            }
            #[cfg(test)]
            Source::Manual(now) => now.load(std::sync::atomic::Ordering::SeqCst),
        }
    }

    /// Looks at the clock until the drain, so that a gap between two looks means a pause.
    pub(super) async fn keep(self, drain: Drain) {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        loop {
            tokio::select! {
                () = drain.stopping() => return,
                _ = looks.tick() => {}
            }
            let _ = self.now_ms();
        }
    }
}

/// Counts what lies between looks, each gap up to [`GAP_MS_MAX`].
#[derive(Debug, Default)]
struct Awake {
    seen_ms: u64,
    counted_ms: u64,
}

impl Awake {
    fn look(&mut self, steady_ms: u64) -> u64 {
        let gap = steady_ms.saturating_sub(self.seen_ms);
        self.seen_ms = self.seen_ms.max(steady_ms);
        self.counted_ms += gap.min(GAP_MS_MAX);
        self.counted_ms
    }
}

#[cfg(test)]
impl Clock {
    /// A clock that stands still until [`Clock::advance`].
    pub(crate) fn manual() -> Self {
        Self(Source::Manual(Arc::default()))
    }

    pub(crate) fn advance(&self, by_ms: u64) {
        match &self.0 {
            Source::Manual(now) => now.fetch_add(by_ms, std::sync::atomic::Ordering::SeqCst),
            Source::Awake(_) => panic!("only a manual clock is advanced"),
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::STALE_AFTER_MS;
    use super::{Awake, GAP_MS_MAX};

    #[test]
    fn a_pause_of_the_process_makes_no_edge_stale() {
        let mut awake = Awake::default();
        let heard = awake.look(10);
        let woken = awake.look(10 + 3_600_000);
        assert!(
            woken - heard < STALE_AFTER_MS / 2,
            "an hour of sleep is not silence"
        );
        assert!(woken > heard);
    }

    #[test]
    fn silence_is_silence_while_the_process_runs() {
        let mut awake = Awake::default();
        for look in 1..=40 {
            awake.look(look * 250);
        }
        assert_eq!(awake.look(10_000), 10_000);
    }

    proptest! {
        #[test]
        fn it_never_goes_back_nor_runs_ahead(looks in prop::collection::vec(0..100_000_u64, 1..64)) {
            let mut awake = Awake::default();
            let (mut before, mut latest) = (0, 0);
            for look in looks {
                let now = awake.look(look);
                latest = latest.max(look);
                prop_assert!(now >= before && now - before <= GAP_MS_MAX && now <= latest);
                before = now;
            }
        }
    }
}
