//! Stream connections that have no allocation: bounded in number, per source, and in time.
//!
//! A connection costs a socket and, with TLS, a session, before anybody has proved anything
//! (RFC 8656 §21.1.7 speaks of such floods). So a stranger has a deadline, and when there are
//! too many the one that has been given the most time goes first.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::{Client, Counter, Now, Server};

/// Entries of the queue that are stale and not worth a pass over it.
const QUEUE_SLACK: usize = 1024;

/// The connections without an allocation, oldest first. Everybody gets the same time, so the
/// order of arrival is the order of the deadlines.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// When each arrived: tells an entry of the queue that is stale.
    arrivals: HashMap<Client, u64>,
    queue: VecDeque<(Duration, u64, Client)>,
    sources: HashMap<IpAddr, u32>,
    arrived: u64,
}

impl Strangers {
    pub(super) fn len(&self) -> usize {
        self.arrivals.len()
    }

    pub(super) fn contains(&self, client: Client) -> bool {
        self.arrivals.contains_key(&client)
    }

    /// How many come from the source of `client`.
    fn of_source(&self, client: Client) -> u32 {
        self.sources
            .get(&network(client.address.ip()))
            .copied()
            .unwrap_or(0)
    }

    fn insert(&mut self, client: Client, due: Duration) {
        self.remove(client);
        self.arrived += 1;
        self.arrivals.insert(client, self.arrived);
        self.queue.push_back((due, self.arrived, client));
        *self.sources.entry(network(client.address.ip())).or_default() += 1;
        if self.queue.len() > QUEUE_SLACK + 2 * self.arrivals.len() {
            let arrivals = &self.arrivals;
            self.queue
                .retain(|(_, arrival, client)| arrivals.get(client) == Some(arrival));
        }
    }

    /// Forgets a connection that ended or has an allocation now; `false` if it was not known.
    pub(super) fn remove(&mut self, client: Client) -> bool {
        let known = self.arrivals.remove(&client).is_some();
        let source = network(client.address.ip());
        if known && let Some(count) = self.sources.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
        while let Some((_, arrival, client)) = self.queue.front()
            && self.arrivals.get(client) != Some(arrival)
        {
            self.queue.pop_front();
        }
        known
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        self.queue.front().map(|(due, ..)| *due)
    }

    /// The next connection whose time is up by `now`.
    pub(super) fn pop_due(&mut self, now: Duration) -> Option<Client> {
        self.next_due().filter(|due| *due <= now)?;
        self.pop_oldest()
    }

    fn pop_oldest(&mut self) -> Option<Client> {
        // remove() leaves no stale entry at the front.
        let (.., client) = *self.queue.front()?;
        self.remove(client);
        Some(client)
    }
}

/// What one subscriber has: an IPv4 address, or the /64 of an IPv6 one.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}

impl Server {
    /// Takes note of a stream connection that was accepted. `false`: its source has too many
    /// without an allocation already; close it.
    #[must_use]
    pub fn handle_client_connected(&mut self, now: Now, client: Client) -> bool {
        // A connection that reuses an address is another one; what the old one had is over.
        self.handle_client_disconnected(client);
        if self.strangers.of_source(client) >= self.limits.strangers_per_source {
            self.counters.increment(Counter::StrangerSource);
            return false;
        }
        self.admit_stranger(now, client);
        true
    }

    /// Takes note that a stream connection has ended: its allocation ends with it (RFC 8656 §5),
    /// unless its client may come back from elsewhere (RFC 8016).
    pub fn handle_client_disconnected(&mut self, client: Client) {
        self.known(client);
        let Some(slot) = self.table.find(client) else {
            return;
        };
        match self
            .table
            .get_mut(slot)
            .and_then(|allocation| allocation.mobility.as_mut())
        {
            Some(mobility) => {
                mobility.away = true;
                self.table.forget_client(slot, client);
            }
            None => self.free(slot),
        }
    }

    /// A connection has come to something.
    pub(super) fn known(&mut self, client: Client) {
        self.strangers.remove(client);
        self.counters.set(Counter::Strangers, self.strangers.len() as u64);
    }

    /// The longest frame to take from `client`: what a request needs until it has an
    /// allocation, so that strangers cannot make the driver buffer much.
    #[must_use]
    pub fn frame_bytes_max(&self, client: Client) -> usize {
        if self.strangers.contains(client) {
            Self::STRANGER_FRAME_BYTES_MAX
        } else {
            crate::codec::FRAME_BYTES_MAX
        }
    }

    /// RFC 8489 §14 bounds user name, realm and nonce at some 500 to 760 bytes each; a request
    /// with all of them at their longest fits.
    pub const STRANGER_FRAME_BYTES_MAX: usize = 4096;

    /// Gives a connection without an allocation its time, at the cost of the oldest if need be.
    pub(super) fn admit_stranger(&mut self, now: Now, client: Client) {
        if self.strangers.len() >= self.limits.strangers.max(1) as usize
            && let Some(oldest) = self.strangers.pop_oldest()
        {
            self.turn_away(oldest, Counter::StrangerTooMany);
        }
        let due = now.monotonic + self.limits.stranger_max;
        self.strangers.insert(client, due);
        self.counters.set(Counter::Strangers, self.strangers.len() as u64);
    }

    pub(super) fn turn_away(&mut self, client: Client, reason: Counter) {
        self.counters.increment(reason);
        self.counters.set(Counter::Strangers, self.strangers.len() as u64);
        self.commands.push_back(super::Command::Disconnect { client });
    }
}
