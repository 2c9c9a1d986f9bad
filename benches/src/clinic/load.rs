//! Requests at a rate, whether earlier ones are done or not; their time counts from when they were due.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinSet};

use crate::report;

/// Failures that are printed; the others are counted.
const FAILURES_SHOWN: usize = 5;

/// What became of them.
#[derive(Default)]
pub(super) struct Served {
    /// From when each was due to its end, milliseconds, sorted.
    pub(super) latencies_ms: Vec<f64>,
    pub(super) failed: usize,
}

impl Served {
    /// 0 without any.
    pub(super) fn quantile(&self, part: f64) -> f64 {
        let at = (self.latencies_ms.len() as f64 * part) as usize;
        let at = at.min(self.latencies_ms.len().saturating_sub(1));
        self.latencies_ms.get(at).copied().unwrap_or(0.0)
    }

    fn count(&mut self, done: Result<anyhow::Result<Duration>, JoinError>) {
        match done {
            Ok(Ok(took)) => self.latencies_ms.push(took.as_secs_f64() * 1000.0),
            Ok(Err(error)) => {
                self.failed += 1;
                if self.failed <= FAILURES_SHOWN {
                    report::print(&format!("  failed: {error:#}"));
                }
            }
            Err(_) => self.failed += 1,
        }
    }
}

/// Sends requests until `over` resolves.
pub(super) async fn serve<R, F>(per_second: f64, mut request: R, over: impl Future<Output = ()>) -> Served
where
    R: FnMut(u64) -> F,
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let (mut running, mut served) = (JoinSet::new(), Served::default());
    let begun = Instant::now();
    let mut number = 0_u64;
    tokio::pin!(over);
    loop {
        let due = begun + Duration::from_secs_f64(number as f64 / per_second);
        tokio::select! {
            () = &mut over => break,
            Some(done) = running.join_next(), if !running.is_empty() => served.count(done),
            () = tokio::time::sleep_until(due.into()) => {
                let work = request(number);
                running.spawn(async move { work.await.map(|()| due.elapsed()) });
                number += 1;
            }
        }
    }
    while let Some(done) = running.join_next().await {
        served.count(done);
    }
    served.latencies_ms.sort_by(f64::total_cmp);
    served
}
