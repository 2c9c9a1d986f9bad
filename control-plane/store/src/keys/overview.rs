//! The keys at a glance: versions and counts, no key.

use medmesh_base::{ClinicId, RequestId};
use medmesh_clinic::audit::{Action, Object, ObjectKind};
use medmesh_clinic::{Actor, SystemActor};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Column, version_from};
use crate::{Result, Store, StoreError};

/// One version of a clinic's key, or of the system's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySummary {
    /// Whose; `None` for the system's.
    pub clinic_id: Option<ClinicId>,
    /// Which version.
    pub version: u32,
    /// The version of the root that wraps it.
    pub root: String,
    /// Messages sealed under it, as far as reported.
    pub sealed: i64,
    /// Since when.
    pub created_at: OffsetDateTime,
    /// Version of the key of blind indexes that came with it.
    pub index_version: u32,
    /// Versions below this one open no records any more; 0: all do.
    pub floor: u32,
    /// Patients' keys wrapped by it.
    pub patients: i64,
}

type Row = (Option<Uuid>, i32, String, i64, OffsetDateTime, i32, i32, i64);

impl Store {
    /// Every version of every clinic's key and of the system's, the system's first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn key_list(&self) -> Result<Vec<KeySummary>> {
        let mut rows: Vec<Row> = sqlx::query_as(
            "SELECT NULL::uuid, version, root, sealed, created_at, 1, 0, 0::bigint FROM system_key ORDER BY version",
        )
        .fetch_all(&self.pool)
        .await?;
        let clinics: Vec<Row> = sqlx::query_as(
            "SELECT clinic_id, version, root, sealed, created_at, index_version, floor, patients FROM key_scopes()",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.extend(clinics);
        rows.into_iter().map(summary).collect()
    }

    /// Below which version of each clinic's key nothing is opened any more; clinics without are left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn key_floors(&self) -> Result<Vec<(ClinicId, u32)>> {
        let rows: Vec<(Uuid, i32)> = sqlx::query_as("SELECT clinic_id, floor FROM key_floors()")
            .fetch_all(&self.pool)
            .await?;
        let floor = |(clinic, floor): (Uuid, i32)| {
            Ok((
                ClinicId::from_uuid(clinic),
                version_from(floor, Column::IndexKey)?,
            ))
        };
        rows.into_iter().map(floor).collect()
    }

    /// Records that a clinic's database was put back on purpose, and says which floor it holds.
    ///
    /// # Errors
    /// [`crate::StoreError::NotFound`].
    pub async fn key_restored(&self, clinic: ClinicId) -> Result<u32> {
        let actor = Actor::System(SystemActor::Operator);
        let mut tx = self.begin(clinic, actor, RequestId::generate()).await?;
        let floor: Option<i32> = sqlx::query_scalar("SELECT max(floor) FROM clinic_key")
            .fetch_one(tx.db())
            .await?;
        let floor = floor.ok_or(StoreError::NotFound)?;
        tx.audit(Action::KeyRestore, Object::none_of(ObjectKind::Key), None)
            .await?;
        tx.commit().await?;
        // Other nodes read them again when their time is over.
        self.keyring.0.scopes.forget(|id| *id == Some(clinic));
        self.keyring.0.patients.forget(|(of, _)| *of == clinic);
        version_from(floor, Column::IndexKey)
    }

    /// Clinics that have keys, in order of their ids, after one.
    pub(super) async fn key_clinics(&self, after: Option<ClinicId>, most: i32) -> Result<Vec<ClinicId>> {
        let ids: Vec<Uuid> = sqlx::query_scalar("SELECT * FROM key_clinics($1, $2)")
            .bind(after.map(|id| id.as_uuid()))
            .bind(most)
            .fetch_all(&self.pool)
            .await?;
        Ok(ids.into_iter().map(ClinicId::from_uuid).collect())
    }
}

fn summary(row: Row) -> Result<KeySummary> {
    let (clinic, version, root, sealed, created_at, index_version, floor, patients) = row;
    Ok(KeySummary {
        clinic_id: clinic.map(ClinicId::from_uuid),
        version: version_from(version, Column::IndexKey)?,
        root,
        sealed,
        created_at,
        index_version: version_from(index_version, Column::IndexKey)?,
        floor: version_from(floor, Column::IndexKey)?,
        patients,
    })
}
