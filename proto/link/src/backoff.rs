//! Waiting before trying again: exponential with full jitter, bounded, pure.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

/// Full jitter: each pause is drawn evenly from zero to a ceiling that doubles from
/// `first` to `ceiling`, so that many clients of one peer that died do not come back
/// in step. Takes its seed as an argument: the same seed gives the same pauses.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    ceiling: Duration,
    attempt: u32,
    random: SmallRng,
}

impl Backoff {
    /// Pauses start below `first` and never exceed `ceiling`.
    #[must_use]
    pub fn new(first: Duration, ceiling: Duration, seed: u64) -> Self {
        Self {
            first,
            ceiling,
            attempt: 0,
            random: SmallRng::seed_from_u64(seed),
        }
    }

    /// The pause before the next attempt.
    pub fn next_pause(&mut self) -> Duration {
        // Doubling 20 times exceeds any sensible ceiling; the shift stays far from overflow.
        let doubled = self.first.saturating_mul(1 << self.attempt.min(20));
        self.attempt = self.attempt.saturating_add(1);
        doubled.min(self.ceiling).mul_f64(self.random.random::<f64>())
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }

    /// Failures since the last success.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempt
    }
}
