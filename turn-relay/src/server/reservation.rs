//! Ports held for a second allocation (RFC 8656 §7.2, EVEN-PORT and RESERVATION-TOKEN).
//!
//! The table is shared by the servers of a relay, because the second allocation comes from
//! another address of the client and may reach another of them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::quota::Quotas;
use super::{Command, Counter, Now, Server};
use crate::codec::Family;

/// Names a held port.
pub(super) type ReservationToken = [u8; 8];

/// "at least 30 seconds" (RFC 8656 §7.2).
pub(super) const HOLD: Duration = Duration::from_secs(30);

/// A port that waits for its allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reservation {
    pub(super) family: Family,
    pub(super) port: u16,
    token: ReservationToken,
    /// Whose: nobody else can claim it, and it counts against their quota.
    user: String,
    due: Duration,
}

/// The held ports, in order of their ends: everybody gets the same time. Their number is
/// bounded by that of allocations, for each counts as one.
#[derive(Debug)]
pub(super) struct Reservations {
    held: Mutex<Vec<Reservation>>,
    /// Nanoseconds on the monotonic clock of the first end, so that looking costs no lock.
    next_due: AtomicU64,
}

impl Default for Reservations {
    fn default() -> Self {
        Self {
            held: Mutex::default(),
            next_due: AtomicU64::new(u64::MAX),
        }
    }
}

impl Reservations {
    fn change<T>(&self, change: impl FnOnce(&mut Vec<Reservation>) -> T) -> T {
        let mut held = self.held.lock();
        let result = change(&mut held);
        let due = held.first().map_or(u64::MAX, |first| nanoseconds(first.due));
        self.next_due.store(due, Ordering::Relaxed);
        result
    }

    fn next_due(&self) -> Option<Duration> {
        let due = self.next_due.load(Ordering::Relaxed);
        (due != u64::MAX).then(|| Duration::from_nanos(due))
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX - 1)
}

impl Quotas {
    /// Takes the port that `token` holds for `user`; what it counted for goes with it.
    pub(super) fn claim_reservation(&self, token: ReservationToken, user: &str) -> Option<Reservation> {
        self.reservations.change(|held| {
            let at = held.iter().position(|r| r.token == token && r.user == user)?;
            Some(held.remove(at))
        })
    }
}

impl Server {
    /// Holds the port after that of `address`.
    pub(super) fn hold(&mut self, now: Now, token: ReservationToken, address: SocketAddr, user: String) {
        self.counters.increment(Counter::ReservationMade);
        let reservation = Reservation {
            family: Family::of(address),
            port: address.port() | 1,
            token,
            user,
            due: now.monotonic + HOLD,
        };
        self.quotas.reservations.change(|held| {
            let at = held.partition_point(|other| other.due <= reservation.due);
            held.insert(at, reservation);
        });
    }

    /// When a held port is to be given back next, by whichever server gets there first.
    pub(super) fn reservation_due(&self) -> Option<Duration> {
        self.quotas.reservations.next_due()
    }

    /// Gives back the ports nobody has come for.
    pub(super) fn end_reservations(&mut self, now: Now) {
        if self.reservation_due().is_none_or(|due| due > now.monotonic) {
            return;
        }
        let ended: Vec<Reservation> = self.quotas.reservations.change(|held| {
            let count = held.partition_point(|reservation| reservation.due <= now.monotonic);
            held.drain(..count).collect()
        });
        for Reservation {
            family, port, user, ..
        } in ended
        {
            self.counters.increment(Counter::ReservationUnused);
            self.quotas.release_allocation(&user);
            self.commands.push_back(Command::ReleasePort { family, port });
        }
    }
}
