//! How busy this process is: CPU and traffic since the last look.

use std::time::Instant;

/// Kernel ticks per second in `/proc`: USER_HZ, 100 on every Linux architecture we build for.
const TICKS_PER_SECOND: f64 = 100.0;
/// Where user and system time stand in `/proc/self/stat`, counted after the command name
/// (proc(5): fields 14 and 15, the name being field 2).
const UTIME_FIELD: usize = 11;
const STIME_FIELD: usize = 12;

/// Rates over the last interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    /// 0.0 to 1.0 of all cores.
    pub(crate) cpu_ratio: f64,
    /// Bits per second in.
    pub(crate) ingress_bps: u64,
    /// Bits per second out.
    pub(crate) egress_bps: u64,
}

/// Remembers the last look.
pub(crate) struct LoadMeter {
    at: Instant,
    cpu_seconds: f64,
    bytes: (u64, u64),
}

impl LoadMeter {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            at: now,
            cpu_seconds: cpu_seconds(),
            bytes: (0, 0),
        }
    }

    /// The load since the last call; `bytes_in` and `bytes_out` are totals.
    pub(crate) fn read(&mut self, now: Instant, bytes_in: u64, bytes_out: u64) -> Load {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64().max(1e-3);
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let cpu = cpu_seconds();
        let bps = |total: u64, before: u64| (total.saturating_sub(before) as f64 * 8.0 / seconds) as u64;
        let load = Load {
            cpu_ratio: ((cpu - self.cpu_seconds) / seconds / cores).clamp(0.0, 1.0),
            ingress_bps: bps(bytes_in, self.bytes.0),
            egress_bps: bps(bytes_out, self.bytes.1),
        };
        *self = Self {
            at: now,
            cpu_seconds: cpu,
            bytes: (bytes_in, bytes_out),
        };
        load
    }
}

/// CPU time of this process; 0 where the kernel does not say.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The command name may hold anything, so count from its closing parenthesis.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace()
        .collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok());
    match (ticks(UTIME_FIELD), ticks(STIME_FIELD)) {
        (Some(user), Some(system)) => (user + system) / TICKS_PER_SECOND,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::LoadMeter;

    #[test]
    fn work_shows_as_load() {
        let start = Instant::now();
        let mut meter = LoadMeter::new(start);
        // Two kernel ticks are visible; spin until the process has used ten.
        while start.elapsed() < Duration::from_millis(100) {
            std::hint::spin_loop();
        }
        let load = meter.read(start + Duration::from_secs(1), 1000, 2000);
        assert!(load.cpu_ratio > 0.0, "{load:?}");
        assert_eq!((load.ingress_bps, load.egress_bps), (8000, 16_000));
        let idle = meter.read(start + Duration::from_secs(2), 1000, 2000);
        assert_eq!((idle.ingress_bps, idle.egress_bps), (0, 0));
    }
}
