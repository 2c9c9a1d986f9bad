//! Keys in memory: for a bounded time, and boundedly many.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// When the cache is full, this part of it goes at once (the least recently used), so that the
/// scan for them is paid by many insertions.
const EVICTED_PART: usize = 8;

struct Entry<V> {
    value: V,
    expires: Instant,
    used: u64,
}

struct State<K, V> {
    entries: HashMap<K, Entry<V>>,
    clock: u64,
}

/// Values that are forgotten after a time. `now` comes in with every call.
pub struct Cache<K, V> {
    state: Mutex<State<K, V>>,
    lifetime: Duration,
    capacity: usize,
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("lifetime", &self.lifetime)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Cache<K, V> {
    /// An empty cache. A capacity of 0 means 1.
    #[must_use]
    pub fn new(lifetime: Duration, capacity: usize) -> Self {
        Self {
            state: Mutex::new(State {
                entries: HashMap::new(),
                clock: 0,
            }),
            lifetime,
            capacity: capacity.max(1),
        }
    }

    /// The value, unless its time is over.
    pub fn get(&self, key: &K, now: Instant) -> Option<V> {
        let mut state = self.lock();
        state.clock += 1;
        let clock = state.clock;
        let entry = state.entries.get_mut(key)?;
        if entry.expires <= now {
            state.entries.remove(key);
            return None;
        }
        entry.used = clock;
        Some(entry.value.clone())
    }

    /// Keeps a value until its lifetime is over, or `not_after` if that comes first.
    pub fn put(&self, key: K, value: V, now: Instant, not_after: Option<Instant>) -> Instant {
        let mut state = self.lock();
        if state.entries.len() >= self.capacity && !state.entries.contains_key(&key) {
            evict(&mut state, self.capacity, now);
        }
        let lifetime = now + self.lifetime;
        let expires = not_after.map_or(lifetime, |bound| bound.min(lifetime));
        state.clock += 1;
        let used = state.clock;
        let entry = Entry { value, expires, used };
        state.entries.insert(key, entry);
        expires
    }

    /// Forgets what `is_gone` says.
    pub fn forget(&self, mut is_gone: impl FnMut(&K) -> bool) {
        self.lock().entries.retain(|key, _| !is_gone(key));
    }

    /// Every value that is still kept, expired ones too.
    pub fn values(&self) -> Vec<V> {
        self.lock()
            .entries
            .values()
            .map(|entry| entry.value.clone())
            .collect()
    }

    /// How many values are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How long a value is kept.
    #[must_use]
    pub const fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Drops what has expired. For upkeep, so that an idle process does not keep keys.
    pub fn sweep(&self, now: Instant) {
        self.lock().entries.retain(|_, entry| entry.expires > now);
    }

    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        // No code of ours panics under the lock; a map is whole in any case.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn evict<K, V>(state: &mut State<K, V>, capacity: usize, now: Instant) {
    state.entries.retain(|_, entry| entry.expires > now);
    if state.entries.len() < capacity {
        return;
    }
    let mut stamps: Vec<u64> = state.entries.values().map(|entry| entry.used).collect();
    let gone = (capacity / EVICTED_PART).min(stamps.len() - 1);
    let (_, newest_gone, _) = stamps.select_nth_unstable(gone);
    let newest_gone = *newest_gone;
    state.entries.retain(|_, entry| entry.used > newest_gone);
}
