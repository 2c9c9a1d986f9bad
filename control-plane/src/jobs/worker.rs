//! The workers of one control node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use medmesh_base::drain::Drain;
use medmesh_store::{Job, JobKind, Store};
use rand::Rng as _;
use time::OffsetDateTime;
use tokio::task::JoinSet;

use super::metrics::JobMetrics;
use super::run::{Pace, Run};

/// Jobs one node works on at once: they wait for others most of the time.
const AT_ONCE: usize = 16;
/// How often due jobs are looked for without being told.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the gauges are refreshed.
const COUNT_EVERY: Duration = Duration::from_secs(15);
/// Pause before the second try; it doubles with each, up to the longest.
const BACKOFF_FIRST: Duration = Duration::from_secs(2);
/// Longest pause between tries: whatever was down for hours is found up again within one.
const BACKOFF_MAX: Duration = Duration::from_secs(3600);

/// A try failed. The word is shown to operators: one of ours, never somebody else's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobFailure {
    /// Worth trying again later.
    Again(&'static str),
    /// It will never work: a person has to look.
    Never(&'static str),
}

/// What a try came to that did not fail.
#[derive(Clone, Debug, PartialEq)]
pub enum Turn {
    /// There is nothing left to do.
    Done,
    /// This turn is over; the next one goes on from `work`.
    GoOn {
        /// The payload from now on.
        work: serde_json::Value,
        /// When the next turn is due.
        due_at: OffsetDateTime,
        /// How much is done, for whoever looks.
        moved: u64,
        /// How much is left, where that is known.
        remaining: Option<u64>,
    },
}

impl From<()> for Turn {
    fn from((): ()) -> Self {
        Self::Done
    }
}

type Handler =
    Arc<dyn Fn(Run, serde_json::Value) -> BoxFuture<'static, Result<Turn, JobFailure>> + Send + Sync>;

/// Who does which kind of job.
#[derive(Clone, Default)]
pub struct Handlers(BTreeMap<&'static str, Handler>);

impl Handlers {
    /// Registers the handler of a kind. It may run more than once for one job.
    #[must_use]
    pub fn on<K, F, R, T>(mut self, handler: F) -> Self
    where
        K: JobKind,
        F: Fn(Run, K) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, JobFailure>> + Send + 'static,
        T: Into<Turn>,
    {
        let handler = Arc::new(
            move |run, payload| -> BoxFuture<'static, Result<Turn, JobFailure>> {
                match serde_json::from_value::<K>(payload) {
                    Ok(work) => {
                        let turn = handler(run, work);
                        Box::pin(async { turn.await.map(Into::into) })
                    }
                    Err(_) => Box::pin(async { Err(JobFailure::Never("payload_unreadable")) }),
                }
            },
        );
        let before = self.0.insert(K::KIND, handler);
        assert!(before.is_none(), "each kind of job has one handler");
        self
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.0.keys().copied().collect()
    }
}

/// Does jobs until the drain stops; what runs then gets its time to finish.
pub async fn work(store: Store, handlers: Handlers, metrics: JobMetrics, drain: Drain) {
    work_at(Pace::default(), store, handlers, metrics, drain).await;
}

/// As [`work`], at another pace.
pub async fn work_at(pace: Pace, store: Store, handlers: Handlers, metrics: JobMetrics, drain: Drain) {
    let kinds = handlers.kinds();
    let mut running = JoinSet::new();
    let mut count_at = tokio::time::Instant::now();
    loop {
        while running.try_join_next().is_some() {}
        if count_at <= tokio::time::Instant::now() {
            count_at += COUNT_EVERY;
            if let Ok(counts) = store.job_counts(OffsetDateTime::now_utc()).await {
                metrics.show(&counts, OffsetDateTime::now_utc());
            }
        }
        let free = AT_ONCE - running.len();
        let claimed = claim(&store, &kinds, pace, free).await;
        let may_be_more = claimed.len() == free;
        for job in claimed {
            let (store, metrics) = (store.clone(), metrics.clone());
            let handler = handlers.0[job.kind.as_str()].clone();
            running.spawn(async move { attempt(&store, &metrics, &handler, pace, &job).await });
        }
        tokio::select! {
            () = drain.stopping() => break,
            () = store.job_wait(LOOK_EVERY), if !may_be_more => {}
            // A free hand, and perhaps more to do.
            Some(_) = running.join_next(), if !running.is_empty() => {}
        }
    }
    while running.join_next().await.is_some() {}
}

async fn claim(store: &Store, kinds: &[&'static str], pace: Pace, free: usize) -> Vec<Job> {
    if free == 0 || kinds.is_empty() {
        return Vec::new();
    }
    let limit = u32::try_from(free).unwrap_or(u32::MAX);
    let now = OffsetDateTime::now_utc();
    match store.job_claim(kinds, now, pace.lease, limit).await {
        Ok(jobs) => jobs,
        Err(error) => {
            tracing::warn!(%error, "jobs not claimed");
            Vec::new()
        }
    }
}

/// One try of one job, and what becomes of it.
async fn attempt(store: &Store, metrics: &JobMetrics, handler: &Handler, pace: Pace, job: &Job) {
    let run = Run::new(store, job, pace);
    // A task of its own, so that a handler that panics fails its job and nothing else.
    let mut task = tokio::spawn(handler(run.clone(), job.payload.clone()));
    let outcome = tokio::select! {
        outcome = &mut task => outcome.unwrap_or(Err(JobFailure::Again("panicked"))),
        why = run.overdue() => {
            task.abort();
            Err(JobFailure::Again(why))
        }
    };
    let (word, recorded) = match outcome {
        Ok(Turn::Done) => ("done", store.job_done(job).await),
        Ok(Turn::GoOn {
            work,
            due_at,
            moved,
            remaining,
        }) => {
            let recorded = store.job_go_on(job, &work, due_at, moved, remaining).await;
            ("turn", recorded)
        }
        Err(JobFailure::Again(why)) if job.attempts < job.attempts_max => {
            let again_at = OffsetDateTime::now_utc() + backoff(job.attempts);
            ("again", store.job_failed(job, why, Some(again_at)).await)
        }
        Err(JobFailure::Again(why) | JobFailure::Never(why)) => {
            tracing::warn!(job = %job.id, kind = %job.kind, why, "job given up");
            ("dead", store.job_failed(job, why, None).await)
        }
    };
    metrics.finished(&job.kind, word);
    if let Err(error) = recorded {
        tracing::warn!(%error, job = %job.id, "what became of a job was not recorded; it runs again");
    }
}

/// Pause after the `attempts`-th try: doubling, and random within its upper half so that
/// jobs which failed together do not come back together.
pub(super) fn backoff(attempts: u32) -> Duration {
    let whole = BACKOFF_FIRST
        .saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1).min(16)))
        .min(BACKOFF_MAX);
    whole.mul_f64(rand::rng().random_range(0.5..=1.0))
}
