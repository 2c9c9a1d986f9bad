//! What is counted over all servers of one relay.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

use super::allocation::Held;
use super::bandwidth::Meter;
use super::reservation::Reservations;
use super::{Limits, Now};

/// Users without allocations whose buckets are not worth a pass over all users.
const USERS_SLACK: usize = 1024;

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
    users: Mutex<HashMap<Box<str>, User>>,
    allocations: AtomicU32,
    permissions: AtomicU32,
    channels: AtomicU32,
    connections: AtomicU32,
    pub(super) reservations: Reservations,
    /// Of the whole relay.
    pub(super) meter: Meter,
}

#[derive(Debug, Default)]
struct User {
    allocations: u32,
    /// Shared by the allocations.
    meter: Arc<Meter>,
}

impl Quotas {
    /// Nothing held.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn reserve_allocation(
        &self,
        now: Now,
        user: &str,
        limits: &Limits,
    ) -> Result<Arc<Meter>, Exhausted> {
        let mut users = self.users.lock();
        if users.len() > USERS_SLACK + 2 * self.allocations.load(Ordering::Relaxed) as usize {
            users.retain(|_, user| user.allocations > 0 || !user.meter.is_empty(now));
        }
        let held = users.get(user).map_or(0, |user| user.allocations);
        if held >= limits.allocations_per_user {
            return Err(Exhausted::User);
        }
        if !reserve(&self.allocations, 1, limits.allocations) {
            return Err(Exhausted::Total);
        }
        let user = users.entry(user.into()).or_default();
        user.allocations += 1;
        Ok(Arc::clone(&user.meter))
    }

    pub(super) fn release_allocation(&self, user: &str) {
        let mut users = self.users.lock();
        if let Some(holder) = users.get_mut(user) {
            holder.allocations -= 1;
            // Who has just sent much cannot start over by making a new allocation.
            if holder.allocations == 0 && holder.meter.is_unused() {
                users.remove(user);
            }
        }
        self.allocations.fetch_sub(1, Ordering::Relaxed);
    }

    /// What a user who holds something shares.
    pub(super) fn user_meter(&self, user: &str) -> Arc<Meter> {
        let users = self.users.lock();
        users
            .get(user)
            .map(|user| Arc::clone(&user.meter))
            .unwrap_or_default()
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
