//! How many connections there may be: in total, and of one source.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// Bounds of the stream listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections in total; each is an open file and some kilobytes.
    pub connections: usize,
    /// Connections of one source address (IPv4) or /64 (IPv6). A hospital is one address:
    /// a few connections for each of some thousand people.
    pub connections_per_source: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 50_000,
            connections_per_source: 4_096,
        }
    }
}

/// Who holds how many; shared by all workers, locked when a connection begins or ends.
#[derive(Debug)]
pub(in crate::driver) struct Places {
    limits: ConnectionLimits,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub(in crate::driver) struct Place {
    places: Arc<Places>,
    /// Unknown until a balancer has said whose connection it is.
    source: Option<IpAddr>,
}

/// There is no place left, or none for this source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::driver) struct Full;

impl Places {
    pub(in crate::driver) fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            taken: Mutex::default(),
        })
    }

    /// A place that counts for no source yet.
    pub(in crate::driver) fn take(self: &Arc<Self>) -> Result<Place, Full> {
        let mut taken = self.taken.lock();
        if taken.total >= self.limits.connections {
            return Err(Full);
        }
        taken.total += 1;
        Ok(Place {
            places: Arc::clone(self),
            source: None,
        })
    }
}

impl Place {
    /// Counts it for `source`.
    pub(in crate::driver) fn belongs_to(&mut self, source: IpAddr) -> Result<(), Full> {
        let source = network(source);
        let mut taken = self.places.taken.lock();
        let count = taken.by_source.entry(source).or_default();
        if *count >= self.places.limits.connections_per_source {
            return Err(Full);
        }
        *count += 1;
        debug_assert!(self.source.is_none(), "a place is given to a source once");
        self.source = Some(source);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.total -= 1;
        if let Some(source) = self.source
            && let Some(count) = taken.by_source.get_mut(&source)
        {
            *count -= 1;
            if *count == 0 {
                taken.by_source.remove(&source);
            }
        }
    }
}

/// Whoever has one address of a /64 has all of them.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_bounded_and_come_back() {
        let places = Places::new(ConnectionLimits {
            connections: 3,
            connections_per_source: 2,
        });
        let take = |source: &str| -> Result<Place, Full> {
            let mut place = places.take()?;
            place.belongs_to(ip(source)).map(|()| place)
        };
        let first = take("2001:db8::1").unwrap();
        let _second = take("2001:db8::2").unwrap();
        assert_eq!(take("2001:db8::3").unwrap_err(), Full, "a third of one network");
        let third = take("192.0.2.1").unwrap();
        assert_eq!(places.take().unwrap_err(), Full, "a fourth of anybody");
        drop(third);
        drop(first);
        let again = take("2001:db8::3").unwrap();
        assert_eq!(take("2001:db8::4").unwrap_err(), Full);
        drop(again);
        assert_eq!(places.taken.lock().total, 1);
        assert_eq!(
            places.taken.lock().by_source.len(),
            1,
            "nobody is remembered who has gone"
        );
    }
}
