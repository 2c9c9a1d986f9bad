//! Work that outlives its request, done at least once by some worker.
//!
//! A job commits with the act that wants it, or not at all. Any control node may
//! do it; a worker that dies with a claim loses it when [`JOB_LEASE`] runs out, so
//! **a handler may run twice for one job** and must be idempotent. Work that takes longer holds on
//! to its claim while it moves on ([`Store::job_renew`]).
//!
//! To add a kind, define its payload and say how patient it is:
//!
//! ```text
//! #[derive(Serialize, Deserialize)]
//! pub struct MailSend { pub mail_id: MailId }              // ids and words; anything else sealed
//! impl JobKind for MailSend { const KIND: &'static str = "mail_send"; }
//!
//! tx.job_add(&MailSend { mail_id }, JobOptions::default()).await?;   // of a clinic, in the act's transaction
//! store.job_add(&MailSend { mail_id }, JobOptions::default()).await?; // of the installation
//! ```
//!
//! and register its handler where the control node builds its workers
//! (`medmesh_control::jobs::Handlers::on`). No migration is needed.

use std::time::Duration as StdDuration;

use medmesh_base::{ClinicId, JobId, RequestId};
use medmesh_clinic::audit::Action;
use medmesh_clinic::{Actor, SystemActor};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::Json;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::session::interval;
use crate::{Result, Store, StoreError, Tx};

/// How long a claim holds: longer than any handler may be silent.
pub const JOB_LEASE: Duration = Duration::seconds(90);

/// Most jobs of one claim: more than one node works on at once.
pub const JOB_BATCH_MAX: u32 = 64;

/// Most rows of one listing for a person.
pub const JOBS_PER_LIST_MAX: u32 = 200;

/// Longest error word kept.
const ERROR_CHARS_MAX: usize = 200;

/// What a payload is of, and how patient its job is.
pub trait JobKind: Serialize + DeserializeOwned + Send + 'static {
    /// The stable word in the table, in metrics and in the CLI.
    const KIND: &'static str;
    /// Tries before a person has to look: with the workers' backoff, 12 are about a day.
    const ATTEMPTS_MAX: u32 = 12;
}

/// When to do a job, and whether one is enough.
#[derive(Clone, Debug, Default)]
pub struct JobOptions {
    /// Not before this instant; at once without.
    pub due_at: Option<OffsetDateTime>,
    /// While an unfinished job of the same kind and clinic has this key, another is not added.
    pub dedupe_key: Option<String>,
}

/// A claimed job.
#[derive(Clone, Debug)]
pub struct Job {
    /// Which.
    pub id: JobId,
    /// Proof of the claim, for [`Store::job_done`] and [`Store::job_failed`].
    pub claim: Uuid,
    /// Whose; `None` for the installation's.
    pub clinic_id: Option<ClinicId>,
    /// What kind.
    pub kind: String,
    /// What the handler gets.
    pub payload: Value,
    /// How often it was tried, this time included.
    pub attempts: u32,
    /// Tries before it is given up.
    pub attempts_max: u32,
}

/// A job as a person sees it: without its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSummary {
    /// Which.
    pub id: JobId,
    /// Whose.
    pub clinic_id: Option<ClinicId>,
    /// What kind.
    pub kind: String,
    /// Since when.
    pub created_at: OffsetDateTime,
    /// When it is tried next.
    pub due_at: OffsetDateTime,
    /// Tries so far.
    pub attempts: u32,
    /// Tries before it is given up.
    pub attempts_max: u32,
    /// Somebody works on it until then, if that is in the future.
    pub claimed_until: Option<OffsetDateTime>,
    /// Since when it is given up.
    pub dead_at: Option<OffsetDateTime>,
    /// What the handler said last.
    pub last_error: Option<String>,
    /// Of long work: how much is done.
    pub moved: Option<i64>,
    /// And how much is left, where that is known.
    pub remaining: Option<i64>,
}

/// How many jobs of one kind there are. For metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobCounts {
    /// What kind.
    pub kind: String,
    /// Not being worked on.
    pub waiting: i64,
    /// Being worked on.
    pub running: i64,
    /// Given up.
    pub dead: i64,
    /// When the oldest unfinished one was due.
    pub oldest_due: Option<OffsetDateTime>,
}

fn payload<K: JobKind>(work: &K) -> Result<Json<Value>> {
    serde_json::to_value(work)
        .map(Json)
        .map_err(|_| StoreError::corrupt("job.payload"))
}

fn attempts<K: JobKind>() -> i32 {
    i32::try_from(K::ATTEMPTS_MAX).unwrap_or(i32::MAX)
}

impl Tx {
    /// Adds a job of this clinic. Says whether it was added: not when one with the
    /// same key waits already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn job_add<K: JobKind>(&mut self, work: &K, options: JobOptions) -> Result<bool> {
        let (clinic, now) = (self.clinic(), self.now());
        let added = sqlx::query(
            "INSERT INTO job (id, clinic_id, kind, payload, dedupe_key, created_at, due_at, attempts_max)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
        )
        .bind(JobId::generate().as_uuid())
        .bind(clinic)
        .bind(K::KIND)
        .bind(payload(work)?)
        .bind(options.dedupe_key)
        .bind(now)
        .bind(options.due_at.unwrap_or(now))
        .bind(attempts::<K>())
        .execute(self.db())
        .await?
        .rows_affected();
        self.has_jobs = true;
        Ok(added == 1)
    }
}

impl Store {
    /// Adds a job of the installation, in a transaction of its own.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn job_add<K: JobKind>(&self, work: &K, options: JobOptions) -> Result<bool> {
        let now = OffsetDateTime::now_utc();
        let added: i64 = sqlx::query_scalar("SELECT job_add($1, $2, $3, $4, $5, $6, $7)")
            .bind(JobId::generate().as_uuid())
            .bind(K::KIND)
            .bind(payload(work)?)
            .bind(options.dedupe_key)
            .bind(now)
            .bind(options.due_at.unwrap_or(now))
            .bind(attempts::<K>())
            .fetch_one(&self.pool)
            .await?;
        self.job_nudge.notify_one();
        Ok(added == 1)
    }

    /// Claims due jobs of these kinds, at most [`JOB_BATCH_MAX`], for `lease`: usually [`JOB_LEASE`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn job_claim(
        &self,
        kinds: &[&str],
        now: OffsetDateTime,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<Job>> {
        type Row = (Uuid, Option<Uuid>, String, Json<Value>, i32, i32, Uuid);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, clinic_id, kind, payload, attempts, attempts_max, claim FROM job_claim($1, $2, $3, $4)",
        )
        .bind(kinds)
        .bind(now)
        .bind(interval(lease))
        .bind(i32::try_from(limit.min(JOB_BATCH_MAX)).unwrap_or(i32::MAX))
        .fetch_all(&self.pool)
        .await?;
        let job = |(id, clinic, kind, Json(payload), attempts, attempts_max, claim): Row| Job {
            id: JobId::from_uuid(id),
            claim,
            clinic_id: clinic.map(ClinicId::from_uuid),
            kind,
            payload,
            attempts: u32::try_from(attempts).unwrap_or(0),
            attempts_max: u32::try_from(attempts_max).unwrap_or(0),
        };
        Ok(rows.into_iter().map(job).collect())
    }

    /// Holds on to a claim for `lease` more, because `moved` of the work is done. `false`: it had run out and
    /// somebody else has it, or the job is gone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn job_renew(
        &self,
        job: JobId,
        claim: Uuid,
        now: OffsetDateTime,
        lease: Duration,
        moved: u64,
    ) -> Result<bool> {
        let renewed: i64 = sqlx::query_scalar("SELECT job_renew($1, $2, $3, $4)")
            .bind(job.as_uuid())
            .bind(claim)
            .bind(now + lease)
            .bind(i64::try_from(moved).unwrap_or(i64::MAX))
            .fetch_one(&self.pool)
            .await?;
        Ok(renewed == 1)
    }

    /// Forgets a finished job. `false`: the claim had run out, somebody else has it.
    ///
    /// # Errors
    /// When the database fails; the job comes again.
    pub async fn job_done(&self, job: &Job) -> Result<bool> {
        let gone: i64 = sqlx::query_scalar("SELECT job_done($1, $2)")
            .bind(job.id.as_uuid())
            .bind(job.claim)
            .fetch_one(&self.pool)
            .await?;
        Ok(gone == 1)
    }

    /// Gives a failed job back to be tried at `again_at`, or gives it up without.
    /// `error` is a word of ours, never what somebody else answered.
    ///
    /// # Errors
    /// When the database fails; the job comes again when its claim runs out.
    pub async fn job_failed(&self, job: &Job, error: &str, again_at: Option<OffsetDateTime>) -> Result<bool> {
        let error: String = error.chars().take(ERROR_CHARS_MAX).collect();
        let failed: i64 = sqlx::query_scalar("SELECT job_failed($1, $2, $3, $4, $5)")
            .bind(job.id.as_uuid())
            .bind(job.claim)
            .bind(error)
            .bind(OffsetDateTime::now_utc())
            .bind(again_at)
            .fetch_one(&self.pool)
            .await?;
        Ok(failed == 1)
    }

    /// Gives a job back that is not done and did not fail: `work` says from where it goes on at `due_at`,
    /// with all its tries. `moved` and `remaining` are what a person sees of it.
    ///
    /// # Errors
    /// When the database fails; the job comes again from where it was.
    pub async fn job_go_on(
        &self,
        job: &Job,
        work: &Value,
        due_at: OffsetDateTime,
        moved: u64,
        remaining: Option<u64>,
    ) -> Result<bool> {
        let gone_on: i64 = sqlx::query_scalar("SELECT job_go_on($1, $2, $3, $4, $5, $6)")
            .bind(job.id.as_uuid())
            .bind(job.claim)
            .bind(Json(work))
            .bind(due_at)
            .bind(i64::try_from(moved).unwrap_or(i64::MAX))
            .bind(remaining.map(|left| i64::try_from(left).unwrap_or(i64::MAX)))
            .fetch_one(&self.pool)
            .await?;
        Ok(gone_on == 1)
    }

    /// Jobs in order of their making, for a person: dead ones, unfinished ones, or all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn job_list(
        &self,
        dead: Option<bool>,
        after: Option<JobId>,
        limit: u32,
    ) -> Result<Vec<JobSummary>> {
        type Row = (
            Uuid,
            Option<Uuid>,
            String,
            OffsetDateTime,
            OffsetDateTime,
            i32,
            i32,
            Option<OffsetDateTime>,
            Option<OffsetDateTime>,
            Option<String>,
            Option<i64>,
            Option<i64>,
        );
        let rows: Vec<Row> = sqlx::query_as("SELECT * FROM job_list($1, $2, $3)")
            .bind(dead)
            .bind(after.map(|id| id.as_uuid()))
            .bind(i32::try_from(limit.min(JOBS_PER_LIST_MAX)).unwrap_or(i32::MAX))
            .fetch_all(&self.pool)
            .await?;
        let summary = |row: Row| JobSummary {
            id: JobId::from_uuid(row.0),
            clinic_id: row.1.map(ClinicId::from_uuid),
            kind: row.2,
            created_at: row.3,
            due_at: row.4,
            attempts: u32::try_from(row.5).unwrap_or(0),
            attempts_max: u32::try_from(row.6).unwrap_or(0),
            claimed_until: row.7,
            dead_at: row.8,
            last_error: row.9,
            moved: row.10,
            remaining: row.11,
        };
        Ok(rows.into_iter().map(summary).collect())
    }

    /// Gives a dead job all its tries again, from `now` on. Where it is a clinic's, its log says so.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when no dead job has this id.
    pub async fn job_retry(&self, id: JobId, now: OffsetDateTime) -> Result<()> {
        let clinic: Option<Uuid> = sqlx::query_scalar("SELECT job_clinic($1)")
            .bind(id.as_uuid())
            .fetch_one(&self.pool)
            .await?;
        if let Some(clinic) = clinic {
            let actor = Actor::System(SystemActor::Operator);
            let clinic = ClinicId::from_uuid(clinic);
            let mut tx = self.begin_at(clinic, actor, RequestId::generate(), now).await?;
            again(tx.db(), id, now).await?;
            tx.audit(Action::JobRetry, id, None).await?;
            tx.commit().await?;
        } else {
            again(&mut *self.pool.acquire().await?, id, now).await?;
        }
        self.job_nudge.notify_one();
        Ok(())
    }

    /// How many jobs of each kind there are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn job_counts(&self, now: OffsetDateTime) -> Result<Vec<JobCounts>> {
        type Row = (String, i64, i64, i64, Option<OffsetDateTime>);
        let rows: Vec<Row> = sqlx::query_as("SELECT * FROM job_counts($1)")
            .bind(now)
            .fetch_all(&self.pool)
            .await?;
        let counts = |(kind, waiting, running, dead, oldest_due)| JobCounts {
            kind,
            waiting,
            running,
            dead,
            oldest_due,
        };
        Ok(rows.into_iter().map(counts).collect())
    }

    /// Waits until a transaction of this process added a job, or `timeout`
    /// (others add too, and due times pass). For one pool of workers per process.
    pub async fn job_wait(&self, timeout: StdDuration) {
        // Either end of the wait means the same: claim again.
        let _ = tokio::time::timeout(timeout, self.job_nudge.notified()).await;
    }
}

async fn again(db: &mut PgConnection, id: JobId, now: OffsetDateTime) -> Result<()> {
    let again: i64 = sqlx::query_scalar("SELECT job_retry($1, $2)")
        .bind(id.as_uuid())
        .bind(now)
        .fetch_one(db)
        .await?;
    if again == 0 {
        return Err(StoreError::NotFound);
    }
    Ok(())
}
