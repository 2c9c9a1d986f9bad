//! Counters in this process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Count;

/// Most counters held, about 20 MB. Past it the windows that end first go, which an
/// attacker with as many addresses could use to be forgotten; Redis is for those.
const COUNTERS_MAX: usize = 100_000;

#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<HashMap<String, Window>>>);

#[derive(Clone, Copy)]
struct Window {
    value: u64,
    ends: Instant,
}

impl Memory {
    pub(super) fn add(&self, key: &str, length: Duration) -> Count {
        let now = Instant::now();
        let mut windows = self.0.lock();
        if windows.len() >= COUNTERS_MAX && !windows.contains_key(key) {
            make_room(&mut windows, now);
        }
        let window = windows.entry(key.to_owned()).or_insert(Window {
            value: 0,
            ends: now + length,
        });
        if window.ends <= now {
            *window = Window {
                value: 0,
                ends: now + length,
            };
        }
        window.value += 1;
        Count {
            value: window.value,
            ends_in: window.ends - now,
        }
    }

    pub(super) fn get(&self, key: &str) -> u64 {
        let windows = self.0.lock();
        let window = windows.get(key).filter(|window| window.ends > Instant::now());
        window.map_or(0, |window| window.value)
    }

    pub(super) fn refund(&self, key: &str) {
        if let Some(window) = self.0.lock().get_mut(key) {
            window.value = window.value.saturating_sub(1);
        }
    }

    pub(super) fn clear(&self, key: &str) {
        self.0.lock().remove(key);
    }
}

/// Drops what has ended; if that is too little, also the half that ends first.
fn make_room(windows: &mut HashMap<String, Window>, now: Instant) {
    windows.retain(|_, window| window.ends > now);
    if windows.len() >= COUNTERS_MAX {
        let mut ends: Vec<Instant> = windows.values().map(|window| window.ends).collect();
        let middle = ends.len() / 2;
        let (_, median, _) = ends.select_nth_unstable(middle);
        let median = *median;
        windows.retain(|_, window| window.ends > median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_window_ends_and_begins_anew() {
        let memory = Memory::default();
        let minute = Duration::from_secs(60);
        assert_eq!(memory.add("k", minute).value, 1);
        tokio::time::advance(Duration::from_secs(59)).await;
        let count = memory.add("k", minute);
        assert_eq!((count.value, count.ends_in), (2, Duration::from_secs(1)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(memory.get("k"), 0);
        assert_eq!(memory.add("k", minute).value, 1);
        memory.clear("k");
        assert_eq!(memory.get("k"), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let memory = Memory::default();
        for n in 0..COUNTERS_MAX + 10 {
            memory.add(&n.to_string(), Duration::from_secs(60 + n as u64));
        }
        assert!(memory.0.lock().len() <= COUNTERS_MAX);
        assert_eq!(memory.get(&(COUNTERS_MAX + 9).to_string()), 1);
    }
}
