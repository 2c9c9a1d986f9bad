//! How much may be relayed: per allocation, per user, and by the whole relay.
//!
//! Each is a leaky bucket that is one number: the moment at which what has been sent would
//! have been sent at the allowed rate (the "theoretical arrival time" of the generic cell rate
//! algorithm). It may run ahead of the clock by [`BURST`]; what would go further is dropped.
//! Users and the relay are shared between workers, so theirs are atomic; nothing here locks
//! or allocates.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{ConnectionId, Counter, Limits, Now, Server};

/// What may be sent at once, in time at the allowed rate: the key frame of a camera that was
/// just switched on comes as a burst and has to fit.
pub(super) const BURST: Duration = Duration::from_secs(1);
/// From here on a bucket counts as full when somebody asks for more: what is still free is
/// for those who are there.
const BUSY: Duration = Duration::from_millis(900);

/// A bucket that several workers fill.
#[derive(Debug, Default)]
pub(super) struct Meter(AtomicU64);

impl Meter {
    /// Fills `bytes` in, if they fit.
    fn take(&self, now: u64, bytes: usize, rate: u64) -> bool {
        let fill = |level| filled(level, now, bytes, rate);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fill)
            .is_ok()
    }

    /// Fills `bytes` in that have been carried already; says how far that is over the brim.
    fn charge(&self, now: u64, bytes: usize, rate: u64) -> u64 {
        let fill = |level: u64| Some(level.max(now).saturating_add(cost(bytes, rate)));
        let level = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fill);
        let level = level
            .unwrap_or_default()
            .max(now)
            .saturating_add(cost(bytes, rate));
        over(level, now)
    }

    /// Whether nothing was ever filled in.
    pub(super) fn is_unused(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Whether all of it has run out again.
    pub(super) fn is_empty(&self, now: Now) -> bool {
        self.0.load(Ordering::Relaxed) <= nanoseconds(now.monotonic)
    }

    fn is_busy(&self, now: u64) -> bool {
        self.0.load(Ordering::Relaxed) > now.saturating_add(nanoseconds(BUSY))
    }
}

/// Time that `bytes` take at `rate` bytes a second.
fn cost(bytes: usize, rate: u64) -> u64 {
    (bytes as u64).saturating_mul(1_000_000_000) / rate.max(1)
}

fn over(level: u64, now: u64) -> u64 {
    level.saturating_sub(now.saturating_add(nanoseconds(BURST)))
}

fn filled(level: u64, now: u64, bytes: usize, rate: u64) -> Option<u64> {
    let level = level.max(now).saturating_add(cost(bytes, rate));
    (over(level, now) == 0).then_some(level)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Who is out of bandwidth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Busy {
    /// The user: 486.
    User,
    /// The relay: 508, or 300 if there is another.
    Relay,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    ToPeer,
    /// From the peer.
    ToClient,
}

impl Limits {
    pub(crate) fn limit_bandwidth(&self) -> bool {
        self.bandwidth_per_allocation.is_some()
            || self.bandwidth_per_user.is_some()
            || self.bandwidth.is_some()
    }
}

impl Server {
    /// Why `bytes` may not be relayed for the allocation in `slot`, if they may not.
    #[inline]
    pub(super) fn over_bandwidth(&mut self, now: Now, slot: u32, bytes: usize) -> Option<Counter> {
        if !self.limits.limit_bandwidth() {
            return None;
        }
        self.fill_buckets(nanoseconds(now.monotonic), slot, bytes)
    }

    fn fill_buckets(&mut self, now: u64, slot: u32, bytes: usize) -> Option<Counter> {
        let allocation = self.table.get_mut(slot)?;
        if let Some(rate) = self.limits.bandwidth_per_allocation {
            match filled(allocation.sent, now, bytes, rate) {
                Some(level) => allocation.sent = level,
                None => return Some(Counter::DropBandwidthAllocation),
            }
        }
        if let Some(rate) = self.limits.bandwidth_per_user
            && !allocation.user_meter.take(now, bytes, rate)
        {
            return Some(Counter::DropBandwidthUser);
        }
        if let Some(rate) = self.limits.bandwidth
            && !self.quotas.meter.take(now, bytes, rate)
        {
            return Some(Counter::DropBandwidthRelay);
        }
        None
    }

    /// Whether there is bandwidth for another allocation of a user.
    pub(super) fn bandwidth_left(&self, now: Now, user: &Meter) -> Result<(), Busy> {
        let now = nanoseconds(now.monotonic);
        if self.limits.bandwidth_per_user.is_some() && user.is_busy(now) {
            return Err(Busy::User);
        }
        if self.limits.bandwidth.is_some() && self.quotas.meter.is_busy(now) {
            return Err(Busy::Relay);
        }
        Ok(())
    }

    /// Takes note of bytes that were carried between the two sides of a spliced connection.
    /// Streams are not cut short but held back: read nothing more from the side they came from
    /// for as long as this says, which is no time at all within the limits.
    pub fn handle_spliced(
        &mut self,
        now: Now,
        connection: ConnectionId,
        direction: Direction,
        bytes: usize,
    ) -> Duration {
        self.counters.add(
            match direction {
                Direction::ToPeer => Counter::BytesToPeers,
                Direction::ToClient => Counter::BytesToClients,
            },
            bytes as u64,
        );
        let slot = self.connections.get(connection).map(|connection| connection.slot);
        let Some(allocation) = slot.and_then(|slot| self.table.get_mut(slot)) else {
            return Duration::ZERO;
        };
        let now = nanoseconds(now.monotonic);
        let mut wait = 0;
        if let Some(rate) = self.limits.bandwidth_per_allocation {
            allocation.sent = allocation.sent.max(now).saturating_add(cost(bytes, rate));
            wait = over(allocation.sent, now);
        }
        if let Some(rate) = self.limits.bandwidth_per_user {
            wait = wait.max(allocation.user_meter.charge(now, bytes, rate));
        }
        if let Some(rate) = self.limits.bandwidth {
            wait = wait.max(self.quotas.meter.charge(now, bytes, rate));
        }
        Duration::from_nanos(wait)
    }
}
