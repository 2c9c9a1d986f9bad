//! A server process of a bench: started, measured, ended with the bench.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Ends (by its id) when dropped.
pub(crate) struct Server {
    child: Child,
    /// Resident when it was first ready, before anybody came.
    idle_bytes: Option<u64>,
}

impl Server {
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self {
            child,
            idle_bytes: None,
        })
    }

    /// CPU seconds used so far by the threads that run (the kernel's `schedstats.rst`,
    /// nanoseconds): the clock ticks of `stat` are 10 ms, which is a tenth of what a server
    /// takes for a light load in a whole run.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let mut nanoseconds = 0u64;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end between the two.
            let Ok(stat) = std::fs::read_to_string(thread?.path().join("schedstat")) else {
                continue;
            };
            let running = stat.split_whitespace().next();
            nanoseconds += running.context("schedstat begins with a time")?.parse::<u64>()?;
        }
        anyhow::ensure!(
            nanoseconds > 0,
            "this kernel does not say what threads take (schedstat)"
        );
        Ok(Duration::from_nanos(nanoseconds).as_secs_f64())
    }

    /// Memory of its own that it gained since it was first ready.
    pub(crate) fn gained_bytes(&self) -> anyhow::Result<u64> {
        let idle = self.idle_bytes.context("the server was never ready")?;
        Ok(self.resident_bytes()?.saturating_sub(idle))
    }

    /// `RssAnon` (proc(5), `status`), which is in kB. What else is resident are pages of the
    /// program's file that it has come by: fifteen people do not take more of these than one.
    fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kilobytes = line.and_then(|rest| rest.split_whitespace().next());
        Ok(kilobytes.context("status has RssAnon")?.parse::<u64>()? * 1024)
    }

    /// Tries until `probe` succeeds or the server has had its time.
    pub(crate) fn wait<T>(&mut self, mut probe: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            if let Some(value) = probe() {
                if self.idle_bytes.is_none() {
                    self.idle_bytes = Some(self.resident_bytes()?);
                }
                return Ok(value);
            }
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("the server ended: {status}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        anyhow::bail!("the server did not get ready")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
