//! A token bucket per client address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use parking_lot::Mutex;

/// Addresses remembered at once, some 64 bytes each. An attacker with more addresses than
/// this is met by the listener's connection limit.
const ADDRESSES_MAX: usize = 65_536;

struct Bucket {
    tokens: f64,
    seen: Instant,
}

/// How often each address may call.
pub(crate) struct Rates {
    burst: f64,
    per_second: f64,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

impl Rates {
    pub(crate) fn new(burst: u32, per_second: u32) -> Self {
        Self {
            burst: burst.into(),
            per_second: per_second.into(),
            buckets: Mutex::new(HashMap::new()),
        }
    }

    /// Whether this address may call once more at `now`.
    pub(crate) fn admit(&self, address: IpAddr, now: Instant) -> bool {
        let mut buckets = self.buckets.lock();
        let (burst, per_second) = (self.burst, self.per_second);
        let level = |bucket: &Bucket| {
            let gained = now.saturating_duration_since(bucket.seen).as_secs_f64() * per_second;
            (bucket.tokens + gained).min(burst)
        };
        let key = household(address);
        if buckets.len() >= ADDRESSES_MAX && !buckets.contains_key(&key) {
            // A full bucket says no more than an absent one.
            buckets.retain(|_, bucket| level(bucket) < burst);
            if buckets.len() >= ADDRESSES_MAX {
                return false;
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket {
            tokens: burst,
            seen: now,
        });
        let tokens = level(bucket);
        let admitted = tokens >= 1.0;
        *bucket = Bucket {
            tokens: if admitted { tokens - 1.0 } else { tokens },
            seen: now,
        };
        admitted
    }
}

/// IPv6 hands a household a /64 at least: its lower half is the client's to choose.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let prefix = u128::from(v6) & !u128::from(u64::MAX);
            Ipv6Addr::from(prefix).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Rates;

    #[test]
    fn a_burst_then_a_steady_rate_for_each_address() {
        let rates = Rates::new(3, 2);
        let start = Instant::now();
        let one = "192.0.2.1".parse().unwrap();
        let admitted = (0..10).filter(|_| rates.admit(one, start)).count();
        assert_eq!(admitted, 3);
        assert!(rates.admit("192.0.2.2".parse().unwrap(), start));
        let later = start + Duration::from_secs(1);
        assert_eq!((0..10).filter(|_| rates.admit(one, later)).count(), 2);
    }

    #[test]
    fn one_household_shares_its_prefix() {
        let rates = Rates::new(1, 1);
        let now = Instant::now();
        assert!(rates.admit("2001:db8::1".parse().unwrap(), now));
        assert!(!rates.admit("2001:db8::2".parse().unwrap(), now));
        assert!(rates.admit("2001:db8:0:1::1".parse().unwrap(), now));
        assert!(rates.admit("::ffff:192.0.2.1".parse().unwrap(), now));
        assert!(!rates.admit("192.0.2.1".parse().unwrap(), now));
    }
}
