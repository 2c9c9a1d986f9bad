//! What an outside witness signed of the logs.

use medmesh_base::ClinicId;
use time::OffsetDateTime;
use uuid::Uuid;

use super::tree::{signed, unsigned};
use crate::{Result, Store, StoreError, Tx};

/// Logs the witness is asked about at once.
const LOGS_PER_CALL: i32 = 256;

/// A log with a head that was not signed outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditLogState {
    /// Whose.
    pub clinic_id: ClinicId,
    /// Leaves under the head that was signed last, 0 before the first.
    pub cosigned_size: u64,
}

/// What is kept of the outside witness's word on the clinic's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditCosigned {
    /// Leaves under the head that was signed last, 0 before the first.
    pub size: u64,
    /// That head with both signatures.
    pub note: Option<String>,
    /// Since when it refuses.
    pub refused_at: Option<OffsetDateTime>,
}

impl Store {
    /// Logs with a head the outside witness has not signed, those furthest behind first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_uncosigned(&self) -> Result<Vec<AuditLogState>> {
        let rows: Vec<(Uuid, i64)> = sqlx::query_as("SELECT * FROM audit_uncosigned($1)")
            .bind(LOGS_PER_CALL)
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter()
            .map(|(clinic, size)| {
                Ok(AuditLogState {
                    clinic_id: ClinicId::from_uuid(clinic),
                    cosigned_size: unsigned(size)?,
                })
            })
            .collect()
    }

    /// Keeps the head the witness signed last.
    ///
    /// # Errors
    /// When the database fails, or has no such log.
    pub async fn audit_cosigned(&self, clinic: ClinicId, size: u64, note: &str) -> Result<()> {
        let moved: i64 = sqlx::query_scalar("SELECT audit_cosigned($1, $2, $3)")
            .bind(clinic.as_uuid())
            .bind(signed(size)?)
            .bind(note)
            .fetch_one(&self.pool)
            .await?;
        found(moved)
    }

    /// Keeps since when the witness refuses.
    ///
    /// # Errors
    /// When the database fails, or has no such log.
    pub async fn audit_cosign_refused(&self, clinic: ClinicId, at: OffsetDateTime) -> Result<()> {
        let moved: i64 = sqlx::query_scalar("SELECT audit_cosign_refused($1, $2)")
            .bind(clinic.as_uuid())
            .bind(at)
            .fetch_one(&self.pool)
            .await?;
        found(moved)
    }
}

fn found(moved: i64) -> Result<()> {
    if moved == 1 {
        Ok(())
    } else {
        Err(StoreError::corrupt("audit_tree.cosigned_size"))
    }
}

impl Tx {
    /// What the outside witness said of the clinic's log, as it is kept here.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_cosigned(&mut self) -> Result<AuditCosigned> {
        type Row = (i64, Option<String>, Option<OffsetDateTime>);
        let clinic = self.clinic();
        let row: Option<Row> = sqlx::query_as(
            "SELECT cosigned_size, cosigned_note, refused_at FROM audit_tree WHERE clinic_id = $1",
        )
        .bind(clinic)
        .fetch_optional(self.db())
        .await?;
        row.map_or_else(
            || Ok(AuditCosigned::default()),
            |(size, note, refused_at)| {
                Ok(AuditCosigned {
                    size: unsigned(size)?,
                    note,
                    refused_at,
                })
            },
        )
    }
}
