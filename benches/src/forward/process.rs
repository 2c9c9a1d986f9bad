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

    /// CPU seconds used so far, user and system (proc(5), `stat` fields 14 and 15).
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        /// USER_HZ, which is 100 on every Linux.
        const TICKS_PER_SECOND: f64 = 100.0;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let after_name = stat.rsplit_once(')').context("stat has a name in brackets")?.1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks = |index: usize| -> anyhow::Result<f64> {
            Ok(fields.get(index).context("stat has 15 fields")?.parse::<f64>()?)
        };
        Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
    }

    /// Resident memory it gained since it was first ready.
    pub(crate) fn gained_bytes(&self) -> anyhow::Result<u64> {
        let idle = self.idle_bytes.context("the server was never ready")?;
        Ok(self.resident_bytes()?.saturating_sub(idle))
    }

    /// `VmRSS` (proc(5), `status`), which is in kB.
    fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|rest| rest.split_whitespace().next());
        Ok(kilobytes.context("status has VmRSS")?.parse::<u64>()? * 1024)
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
