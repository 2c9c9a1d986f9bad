use std::time::{Duration, Instant};

use crate::Cache;

const LIFE: Duration = Duration::from_secs(60);

#[test]
fn a_value_is_forgotten_when_its_time_is_over() {
    let cache = Cache::new(LIFE, 8);
    let start = Instant::now();
    cache.put("a", 1, start, None);
    cache.put("b", 2, start, Some(start + LIFE / 2));
    assert_eq!(
        cache.get(&"a", start + LIFE / 2 - Duration::from_millis(1)),
        Some(1)
    );
    assert_eq!(cache.get(&"b", start + LIFE / 2), None);
    assert_eq!(cache.get(&"a", start + LIFE), None, "use does not prolong");
    assert!(cache.is_empty());
    cache.put("c", 3, start, None);
    cache.sweep(start + LIFE);
    assert!(cache.is_empty());
}

#[test]
fn the_least_used_goes_first_and_the_bound_holds() {
    let cache = Cache::new(LIFE, 64);
    let now = Instant::now();
    for n in 0..64 {
        cache.put(n, n, now, None);
    }
    for n in 0..32 {
        assert_eq!(cache.get(&n, now), Some(n));
    }
    for n in 64..90 {
        cache.put(n, n, now, None);
        assert!(cache.len() <= 64);
    }
    for n in 0..32 {
        assert_eq!(cache.get(&n, now), Some(n), "in use, so it stays");
    }
    cache.forget(|n| *n < 10);
    assert_eq!(cache.get(&3, now), None);
}

#[test]
fn a_cache_of_one_holds_one() {
    let cache = Cache::new(LIFE, 0);
    let now = Instant::now();
    for n in 0..5 {
        cache.put(n, n, now, None);
        assert_eq!((cache.len(), cache.get(&n, now)), (1, Some(n)));
    }
}
