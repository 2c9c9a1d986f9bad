//! How many answers a source may provoke without authenticating.
//!
//! Token buckets in a table of fixed size, chosen by a keyed hash of the address (IPv4) or
//! its /64 (IPv6): a flood from spoofed addresses shares the buckets among itself and costs
//! no memory. Two honest sources may meet in a bucket; then they share its rate.

use std::net::IpAddr;
use std::time::Duration;

use super::Limits;

/// 16,384 buckets of 8 bytes: 128 KiB a server, and one in ten thousand pairs of sources meet.
const BUCKETS_LOG2: u32 = 14;
/// Tokens are counted in thousandths, so that a millisecond refills a whole number of them.
const TOKEN: u64 = 1000;

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Thousandths of a token that are missing.
    missing: u32,
    /// Milliseconds on the monotonic clock, wrapping after 49 days.
    at_ms: u32,
}

/// The buckets of all sources.
#[derive(Debug)]
pub(super) struct SourceLimits {
    buckets: Box<[Bucket]>,
    multiplier: u128,
    per_second: u64,
    burst: u64,
}

impl SourceLimits {
    pub(super) fn new(limits: &Limits, seed: u64) -> Self {
        let half = |salt| u128::from(stir(seed ^ salt));
        Self {
            buckets: vec![Bucket::default(); 1 << BUCKETS_LOG2].into_boxed_slice(),
            multiplier: half(0x9E37) << 64 | half(0x79B9) | 1,
            per_second: limits.unauthenticated_per_second.into(),
            burst: u64::from(limits.unauthenticated_burst).clamp(1, u64::from(u32::MAX) / TOKEN),
        }
    }

    /// Takes a token for `source`; `false` if there is none.
    pub(super) fn take(&mut self, now: Duration, source: IpAddr) -> bool {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "wraps on purpose; differences are what counts"
        )]
        let now_ms = now.as_millis() as u32;
        let index = self.index(source);
        let bucket = &mut self.buckets[index];
        let refilled = u64::from(now_ms.wrapping_sub(bucket.at_ms)) * self.per_second;
        let missing = u64::from(bucket.missing).saturating_sub(refilled);
        bucket.at_ms = now_ms;
        let after = missing + TOKEN;
        let granted = after <= self.burst * TOKEN;
        let missing = if granted { after } else { missing };
        bucket.missing = u32::try_from(missing).expect("the burst is clamped to fit");
        granted
    }

    /// Multiply-shift hashing: universal for a secret odd multiplier, two instructions.
    fn index(&self, source: IpAddr) -> usize {
        let key = match source {
            IpAddr::V4(ip) => u128::from(ip.to_bits()),
            IpAddr::V6(ip) => 1 << 64 | ip.to_bits() >> 64,
        };
        (key.wrapping_mul(self.multiplier) >> (128 - BUCKETS_LOG2)) as usize
    }
}

/// SplitMix64's finaliser: spreads a counter or a seed over 64 bits.
pub(super) fn stir(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ x >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> SourceLimits {
        let limits = Limits {
            unauthenticated_per_second: 10,
            unauthenticated_burst: 5,
            ..Limits::default()
        };
        SourceLimits::new(&limits, 7)
    }

    #[test]
    fn a_source_gets_its_burst_then_its_rate() {
        let mut limits = limits();
        let ip = "192.0.2.1".parse().unwrap();
        let start = Duration::from_secs(1000);
        assert_eq!((0..100).filter(|_| limits.take(start, ip)).count(), 5);
        let second = (1..=1000)
            .filter(|ms| limits.take(start + Duration::from_millis(*ms), ip))
            .count();
        assert_eq!(second, 10);
        assert_eq!(
            (0..100)
                .filter(|_| limits.take(start + Duration::from_secs(60), ip))
                .count(),
            5
        );
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_bucket() {
        let mut limits = limits();
        let spent = (0..100u32).filter(|host| {
            let ip: IpAddr = format!("2001:db8:1:2::{host:x}").parse().unwrap();
            limits.take(Duration::ZERO, ip)
        });
        assert_eq!(spent.count(), 5);
        assert!(limits.take(Duration::ZERO, "2001:db8:1:3::1".parse().unwrap()));
    }
}
