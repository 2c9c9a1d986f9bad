//! From leaves without a place to a log with signed heads: what the sequencer does here.

use medmesh_base::{AuditId, ClinicId};
use medmesh_tlog::Hash;
use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, Postgres};
use time::OffsetDateTime;
use uuid::Uuid;

use super::promise::Promise;
use crate::{Result, Store, StoreError};

/// Leaves placed by one statement: it holds back the next head for some 100 ms at most.
pub const AUDIT_BATCH_MAX: u32 = 4_096;

/// Promises looked after by one call.
const PROMISES_PER_CALL: usize = 8_192;

/// Clinics with leaves under no signed head, given at once.
const CLINICS_PER_CALL: i32 = 256;

/// Leadership among sequencers, held by a connection: whoever loses it has lost the
/// leadership too.
#[derive(Debug)]
pub struct AuditLead(PoolConnection<Postgres>);

impl AuditLead {
    /// Whether it is still held.
    pub async fn is_held(&mut self) -> bool {
        self.0.ping().await.is_ok()
    }

    /// Lets another lead.
    pub async fn resign(self) {
        // Closing gives the lock back whatever state the connection is in.
        let _ = self.0.close().await;
    }
}

/// A clinic's tree and how much of it is under a signed head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditTree {
    /// Whose.
    pub clinic_id: ClinicId,
    /// Leaves with a place.
    pub size: u64,
    /// Leaves under the newest signed head.
    pub published_size: u64,
    /// That head, once there is one.
    pub note: Option<String>,
}

/// How far the log lags behind the acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditBacklog {
    /// Committed leaves without a place.
    pub pending: u64,
    /// When the oldest of them was written.
    pub oldest: Option<OffsetDateTime>,
    /// Leaves with a place under no signed head.
    pub unpublished: u64,
}

/// What became of promises.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// In the log as promised.
    pub kept: u64,
    /// Not in the log yet.
    pub open: u64,
    /// Not there after the time they had, or another leaf in their place.
    pub broken: Vec<Promise>,
}

pub(super) fn unsigned(number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|_| StoreError::corrupt("audit_tree.size"))
}

/// When a UUIDv7 was made, to the millisecond.
pub(super) fn made_at(id: Uuid) -> Option<OffsetDateTime> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    let nanos = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()
}

pub(super) fn signed(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|_| StoreError::corrupt("audit_tree.size"))
}

impl Store {
    /// Becomes the cluster's sequencer, unless another is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_lead(&self) -> Result<Option<AuditLead>> {
        let mut connection = self.pool.acquire().await?;
        let ours: bool =
            sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended('medmesh audit lead', 0))")
                .fetch_one(&mut *connection)
                .await?;
        Ok(ours.then_some(AuditLead(connection)))
    }

    /// Gives committed leaves of all clinics their places, at most [`AUDIT_BATCH_MAX`].
    /// Says how many. Several at once take turns.
    ///
    /// # Errors
    /// When the database fails; nothing was placed then.
    pub async fn audit_sequence(&self) -> Result<u64> {
        let placed: i64 = sqlx::query_scalar("SELECT audit_sequence($1)")
            .bind(i32::try_from(AUDIT_BATCH_MAX).unwrap_or(i32::MAX))
            .fetch_one(&self.pool)
            .await?;
        unsigned(placed)
    }

    /// Trees with leaves under no signed head, those waiting longest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_unpublished(&self) -> Result<Vec<AuditTree>> {
        type Row = (Uuid, i64, i64, Option<String>);
        let rows: Vec<Row> = sqlx::query_as("SELECT * FROM audit_unpublished($1)")
            .bind(CLINICS_PER_CALL)
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter()
            .map(|(clinic, size, published_size, note)| {
                Ok(AuditTree {
                    clinic_id: ClinicId::from_uuid(clinic),
                    size: unsigned(size)?,
                    published_size: unsigned(published_size)?,
                    note,
                })
            })
            .collect()
    }

    /// One log, whether all of it is under a head or not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_tree_of(&self, clinic: ClinicId) -> Result<Option<AuditTree>> {
        let row: Option<(i64, i64, Option<String>)> = sqlx::query_as("SELECT * FROM audit_tree_of($1)")
            .bind(clinic.as_uuid())
            .fetch_optional(&self.pool)
            .await?;
        row.map(|(size, published_size, note)| {
            Ok(AuditTree {
                clinic_id: clinic,
                size: unsigned(size)?,
                published_size: unsigned(published_size)?,
                note,
            })
        })
        .transpose()
    }

    /// A log that goes on under another name does so from this head.
    ///
    /// # Errors
    /// When the database fails, or has no such log.
    pub async fn audit_resumed(&self, clinic: ClinicId, size: u64, note: &str) -> Result<()> {
        self.audit_head("SELECT audit_resumed($1, $2, $3)", clinic, size, note)
            .await
    }

    /// What the leaves at these places commit to, in order.
    ///
    /// # Errors
    /// [`StoreError::Internal`] when a leaf is missing or is no commitment.
    pub async fn audit_commitments(&self, clinic: ClinicId, from: u64, to: u64) -> Result<Vec<Hash>> {
        let rows: Vec<Option<Vec<u8>>> =
            sqlx::query_scalar("SELECT commitment FROM audit_commitments($1, $2, $3)")
                .bind(clinic.as_uuid())
                .bind(signed(from)?)
                .bind(signed(to)?)
                .fetch_all(&self.pool)
                .await?;
        let hashes: Option<Vec<Hash>> = rows.into_iter().map(|row| Hash::from_slice(&row?)).collect();
        hashes
            .filter(|hashes| hashes.len() as u64 == to - from)
            .ok_or_else(|| StoreError::corrupt("audit.commitment"))
    }

    /// Remembers a clinic's newest signed head.
    ///
    /// # Errors
    /// When the database fails, or holds a later head.
    pub async fn audit_published(&self, clinic: ClinicId, size: u64, note: &str) -> Result<()> {
        self.audit_head("SELECT audit_published($1, $2, $3)", clinic, size, note)
            .await
    }

    /// The newest head, kept by a function that says how many logs it changed.
    async fn audit_head(&self, call: &'static str, clinic: ClinicId, size: u64, note: &str) -> Result<()> {
        let moved: i64 = sqlx::query_scalar(call)
            .bind(clinic.as_uuid())
            .bind(signed(size)?)
            .bind(note)
            .fetch_one(&self.pool)
            .await?;
        if moved == 1 {
            Ok(())
        } else {
            Err(StoreError::corrupt("audit_tree.published_size"))
        }
    }

    /// How far the log lags behind.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_backlog(&self) -> Result<AuditBacklog> {
        let (pending, oldest, unpublished): (i64, Option<Uuid>, i64) =
            sqlx::query_as("SELECT * FROM audit_backlog()")
                .fetch_one(&self.pool)
                .await?;
        Ok(AuditBacklog {
            pending: unsigned(pending)?,
            oldest: oldest.and_then(made_at),
            unpublished: unsigned(unpublished)?,
        })
    }

    /// Looks after what this process committed: each leaf must come into the log, as it was,
    /// within `patience`. The broken ones are told of once.
    ///
    /// # Errors
    /// When the database fails; they are looked after again.
    pub async fn audit_promises(&self, patience: std::time::Duration) -> Result<Kept> {
        let promises = self.promises.take(PROMISES_PER_CALL);
        let placed = match self.audit_placed(&promises).await {
            Ok(placed) => placed,
            Err(error) => {
                self.promises.put_back(promises);
                return Err(error);
            }
        };
        let (mut outcome, mut open) = (Kept::default(), Vec::new());
        for promise in promises {
            match placed.get(&promise.id) {
                Some(Some(commitment)) if *commitment == promise.commitment => outcome.kept += 1,
                None if promise.since.elapsed() < patience => open.push(promise),
                _ => outcome.broken.push(promise),
            }
        }
        outcome.open = open.len() as u64;
        self.promises.put_back(open);
        Ok(outcome)
    }

    /// Promises that were forgotten because there were too many. For metrics.
    #[must_use]
    pub fn audit_promises_forgotten(&self) -> u64 {
        self.promises.forgotten()
    }

    async fn audit_placed(
        &self,
        promises: &[Promise],
    ) -> Result<std::collections::HashMap<AuditId, Option<Hash>>> {
        if promises.is_empty() {
            return Ok(std::collections::HashMap::new());
        }
        let clinics: Vec<Uuid> = promises.iter().map(|p| p.clinic_id.as_uuid()).collect();
        let leaves: Vec<Uuid> = promises.iter().map(|p| p.id.as_uuid()).collect();
        let rows: Vec<(Uuid, Option<Vec<u8>>)> = sqlx::query_as("SELECT * FROM audit_placed($1, $2)")
            .bind(clinics)
            .bind(leaves)
            .fetch_all(&self.pool)
            .await?;
        let placed = rows.into_iter().map(|(id, commitment)| {
            let commitment = commitment.and_then(|bytes| Hash::from_slice(&bytes));
            (AuditId::from_uuid(id), commitment)
        });
        Ok(placed.collect())
    }

    /// Sees to it that there are months to write into for a year to come.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_months(&self, now: OffsetDateTime) -> Result<i32> {
        const MONTHS: i32 = 13;
        Ok(sqlx::query_scalar("SELECT audit_months($1, $2)")
            .bind(now)
            .bind(MONTHS)
            .fetch_one(&self.pool)
            .await?)
    }
}
