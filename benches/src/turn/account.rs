//! Whose processors were busy, and for how long.
//!
//! What the kernel does for a packet it does in the name of whoever runs at that moment (Linux without
//! `IRQ_TIME_ACCOUNTING`, as Debian builds it): the sender, the relay, the receiver, or its own threads for what was put
//! off (`ksoftirqd`). One of them alone says little; all of them together miss only what interrupts an idle
//! processor, and for that the time the machine was not idle stands beside.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;

/// Ticks of `/proc/stat` in a second (`USER_HZ`).
const TICKS: f64 = 100.0;
/// `schedstat` counts nanoseconds; the ticks of `stat` are 10 ms, a tenth of what a short round takes.
const NANOS: f64 = 1e9;

/// CPU seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parts {
    /// Of the load generator, which sends and receives.
    pub(super) generator: f64,
    /// Of the relay's process.
    pub(super) server: f64,
    /// Of the kernel's threads for packets.
    pub(super) kernel: f64,
    /// That all processors together were not idle, whoever it was for; to the tick.
    pub(super) busy: f64,
}

impl Parts {
    pub(super) fn sum(&self) -> f64 {
        self.generator + self.server + self.kernel
    }

    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self {
            generator: self.generator - earlier.generator,
            server: self.server - earlier.server,
            kernel: self.kernel - earlier.kernel,
            busy: self.busy - earlier.busy,
        }
    }
}

/// Reads them.
#[derive(Debug)]
pub(super) struct Books {
    /// Of the kernel's threads for packets, one a processor.
    softirq: Vec<PathBuf>,
    began: Instant,
    processors: f64,
}

impl Books {
    pub(super) fn open() -> anyhow::Result<Self> {
        let mut softirq = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let path = entry?.path();
            let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
            if name.starts_with("ksoftirqd/") {
                softirq.push(path);
            }
        }
        let processors = std::thread::available_parallelism()?.get();
        anyhow::ensure!(
            softirq.len() >= processors,
            "the kernel's threads cannot be seen: what they take would not be counted"
        );
        Ok(Self {
            softirq,
            began: Instant::now(),
            processors: processors as f64,
        })
    }

    /// Now. `server`: the process of the relay, if there is one.
    pub(super) fn read(&self, server: Option<u32>) -> anyhow::Result<Parts> {
        let mut kernel = 0.0;
        for thread in &self.softirq {
            kernel += ran(thread.join("schedstat"))?;
        }
        Ok(Parts {
            generator: process("self")?,
            server: server.map_or(Ok(0.0), |id| process(&id.to_string()))?,
            kernel,
            busy: self.began.elapsed().as_secs_f64() * self.processors - idle_seconds()?,
        })
    }
}

/// CPU seconds the threads of a process have run.
pub(super) fn process(id: &str) -> anyhow::Result<f64> {
    let mut seconds = 0.0;
    for task in std::fs::read_dir(format!("/proc/{id}/task"))? {
        seconds += ran(task?.path().join("schedstat"))?;
    }
    Ok(seconds)
}

fn ran(path: PathBuf) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(path)?;
    let nanos = text.split_whitespace().next();
    let nanos = nanos.context("schedstat has three fields")?.parse::<f64>()?;
    Ok(nanos / NANOS)
}

/// How long processors had nothing to do, or were not ours (steal), all together.
fn idle_seconds() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let numbers: Vec<f64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [_user, _nice, _system, idle, waiting, _irq, _softirq, stolen, ..] = numbers[..] else {
        anyhow::bail!("/proc/stat has no line for all processors");
    };
    Ok((idle + waiting + stolen) / TICKS)
}
