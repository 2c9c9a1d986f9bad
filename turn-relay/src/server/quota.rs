//! What is counted over all servers of one relay.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

use super::Limits;
use super::allocation::Held;
use super::reservation::Reservations;

/// Why something was not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exhausted {
    /// The user holds as much as one user may.
    User,
    /// The relay holds as much as it may.
    Total,
}

/// Shared counts of what is held. Touched when allocations, permissions and channels come
/// and go, never by relayed data.
#[derive(Debug, Default)]
pub struct Quotas {
    users: Mutex<HashMap<Box<str>, u32>>,
    allocations: AtomicU32,
    permissions: AtomicU32,
    channels: AtomicU32,
    connections: AtomicU32,
    pub(super) reservations: Reservations,
}

impl Quotas {
    /// Nothing held.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn reserve_allocation(&self, user: &str, limits: &Limits) -> Result<(), Exhausted> {
        let mut users = self.users.lock();
        let held = users.get(user).copied().unwrap_or(0);
        if held >= limits.allocations_per_user {
            return Err(Exhausted::User);
        }
        if !reserve(&self.allocations, 1, limits.allocations) {
            return Err(Exhausted::Total);
        }
        users.insert(user.into(), held + 1);
        Ok(())
    }

    pub(super) fn release_allocation(&self, user: &str) {
        let mut users = self.users.lock();
        if let Some(held) = users.get_mut(user) {
            *held -= 1;
            if *held == 0 {
                users.remove(user);
            }
        }
        self.allocations.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes all of `wanted` or nothing.
    pub(super) fn reserve(&self, wanted: Held, limits: &Limits) -> bool {
        if !reserve(&self.permissions, wanted.permissions, limits.permissions) {
            return false;
        }
        if !reserve(&self.channels, wanted.channels, limits.channels) {
            self.permissions.fetch_sub(wanted.permissions, Ordering::Relaxed);
            return false;
        }
        true
    }

    pub(super) fn release(&self, gone: Held) {
        self.permissions.fetch_sub(gone.permissions, Ordering::Relaxed);
        self.channels.fetch_sub(gone.channels, Ordering::Relaxed);
    }

    pub(super) fn reserve_connection(&self, limits: &Limits) -> bool {
        reserve(&self.connections, 1, limits.connections)
    }

    pub(super) fn release_connection(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

fn reserve(held: &AtomicU32, wanted: u32, limit: u32) -> bool {
    let grant = |held: u32| held.checked_add(wanted).filter(|&sum| sum <= limit);
    held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grant)
        .is_ok()
}
