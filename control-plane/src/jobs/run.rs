//! One try of one job: whose it is, and how long it may take.

use std::sync::Arc;
use std::time::Duration;

use medmesh_base::{ClinicId, JobId};
use medmesh_store::{JOB_LEASE, Job, Store};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::JobFailure;

/// Longest time between two signs of progress.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Longest time of one try that moves on: a copy of the largest record takes some minutes on a busy machine.
const TOTAL_MAX: Duration = Duration::from_secs(3600);
/// Into how many parts the time that a claim holds longer than a handler may be silent is divided: a
/// renewal may be one part late, and there is another to spare.
const RENEWALS: u32 = 3;

/// How long jobs may take, and claims hold.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long a claim holds that is not renewed.
    pub lease: time::Duration,
    /// Longest time a handler may take between two signs of progress, or without any; below the lease, so
    /// that nobody else starts meanwhile.
    pub silence_max: Duration,
    /// Longest time it may take however it moves on.
    pub total_max: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            lease: JOB_LEASE,
            silence_max: SILENCE_MAX,
            total_max: TOTAL_MAX,
        }
    }
}

impl Pace {
    /// How old a claim may be before a sign of progress renews it.
    fn renew_after(&self) -> Duration {
        let lease = Duration::try_from(self.lease).unwrap_or_default();
        lease.saturating_sub(self.silence_max) / RENEWALS
    }
}

/// Whose job runs, and which try it is. Clones are of the same try.
#[derive(Clone, Debug)]
pub struct Run {
    /// Whose; `None` for the installation's.
    pub clinic_id: Option<ClinicId>,
    /// 1 for the first try.
    pub attempt: u32,
    claim: Arc<Claim>,
}

#[derive(Debug)]
struct Claim {
    store: Store,
    job: JobId,
    claim: Uuid,
    pace: Pace,
    begun: Instant,
    /// When the handler last said that it moves on.
    sign: watch::Sender<Instant>,
    renewed: parking_lot::Mutex<Instant>,
}

impl Run {
    pub(super) fn new(store: &Store, job: &Job, pace: Pace) -> Self {
        let begun = Instant::now();
        let claim = Claim {
            store: store.clone(),
            job: job.id,
            claim: job.claim,
            pace,
            begun,
            sign: watch::Sender::new(begun),
            renewed: parking_lot::Mutex::new(begun),
        };
        Self {
            clinic_id: job.clinic_id,
            attempt: job.attempts,
            claim: Arc::new(claim),
        }
    }

    /// Says that the handler moves on, `moved` of its work being done: it may take so much longer, and
    /// the claim is held on to. Cheap: the database is told every few seconds.
    ///
    /// # Errors
    /// [`JobFailure::Again`] when the claim was lost all the same: somebody else does the job now.
    pub async fn moves(&self, moved: u64) -> Result<(), JobFailure> {
        let now = Instant::now();
        self.claim.sign.send_replace(now);
        let renewed = *self.claim.renewed.lock();
        if now - renewed < self.claim.pace.renew_after() {
            return Ok(());
        }
        self.holds(moved).await
    }

    /// As [`Run::moves`], asking the database in any case: before what only one worker may do.
    ///
    /// # Errors
    /// As [`Run::moves`].
    pub async fn holds(&self, moved: u64) -> Result<(), JobFailure> {
        let Claim {
            store,
            job,
            claim,
            pace,
            ..
        } = &*self.claim;
        let (at, now) = (Instant::now(), OffsetDateTime::now_utc());
        match store.job_renew(*job, *claim, now, pace.lease, moved).await {
            Ok(true) => {
                *self.claim.renewed.lock() = at;
                Ok(())
            }
            Ok(false) => Err(JobFailure::Again("claim_lost")),
            // The next sign asks again; the work itself needs the database as well.
            Err(error) => {
                tracing::debug!(%error, job = %job, "a claim was not renewed");
                Ok(())
            }
        }
    }

    /// Waits until the try has been silent, or has gone on, for too long; says which.
    pub(super) async fn overdue(&self) -> &'static str {
        let mut signs = self.claim.sign.subscribe();
        let end = self.claim.begun + self.claim.pace.total_max;
        loop {
            let silent = *signs.borrow_and_update() + self.claim.pace.silence_max;
            tokio::select! {
                biased;
                _ = signs.changed() => {}
                () = tokio::time::sleep_until(end) => return "took_too_long",
                () = tokio::time::sleep_until(silent) => return "timed_out",
            }
        }
    }
}
