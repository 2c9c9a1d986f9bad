//! New keys for old, while everything goes on: how a rotation begins.
//!
//! A rotation begins with a new version, which seals from then on; what older versions
//! sealed stays readable and is moved in bounded steps ([`super::step`]) by a job. The new
//! version, its leaf in the audit log and the job commit together. A node that does not
//! know a version yet reads the keys again when it meets one.
//!
//! Versions of clinics' keys stay: what is append-only (the audit log) is under them. But
//! they open nothing else once the rotation is done.

use medmesh_base::{ClinicId, PersonId, RequestId};
use medmesh_clinic::audit::{Action, Object, ObjectKind};
use medmesh_clinic::{Actor, SystemActor};
use medmesh_vault::kms::Context;
use medmesh_vault::{DataKey, Key};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::load::{index_field, kind_of};
use super::{Column, Scope, ScopeId, failed, unavailable, version_from};
use crate::{JobKind, JobOptions, Result, Store, StoreError, Tx};

/// Which key is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "level", rename_all = "snake_case")]
pub enum RotationSubject {
    /// Whatever an older version of the root wrapped is wrapped by the present one.
    Root,
    /// The system's key.
    System,
    /// A clinic's.
    Clinic {
        /// Whose.
        clinic_id: ClinicId,
    },
    /// A patient's.
    Patient {
        /// Of which clinic.
        clinic_id: ClinicId,
        /// Whose.
        patient_id: PersonId,
    },
    /// The key by which a clinic's patients are found, and with it the clinic's own.
    Index {
        /// Whose.
        clinic_id: ClinicId,
    },
}

impl RotationSubject {
    /// The clinic it concerns; `None` for the installation's.
    #[must_use]
    pub const fn clinic(&self) -> Option<ClinicId> {
        match self {
            Self::Root | Self::System => None,
            Self::Clinic { clinic_id } | Self::Patient { clinic_id, .. } | Self::Index { clinic_id } => {
                Some(*clinic_id)
            }
        }
    }

    /// One rotation of a key at a time.
    fn dedupe_key(&self) -> String {
        match self {
            Self::Root => "root".to_owned(),
            Self::System => "system".to_owned(),
            Self::Clinic { .. } | Self::Index { .. } => "clinic".to_owned(),
            Self::Patient { patient_id, .. } => patient_id.to_string(),
        }
    }
}

/// The job of a rotation: what it moves, and how far it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rotation {
    /// Which key.
    pub subject: RotationSubject,
    /// The version that seals since it began.
    pub version: u32,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub begun_at: OffsetDateTime,
    /// Rows moved so far.
    pub moved: u64,
    /// Whether everything was walked through once; the second walk finds what nodes wrote which
    /// did not know of the new version yet.
    pub(super) is_second_walk: bool,
    /// Which of the tables is walked through.
    pub(super) table: usize,
    /// After which row.
    pub(super) after: Option<Uuid>,
}

impl JobKind for Rotation {
    const KIND: &'static str = "key_rotation";
}

impl Rotation {
    fn new(subject: RotationSubject, version: u32, begun_at: OffsetDateTime) -> Self {
        Self {
            subject,
            version,
            begun_at,
            moved: 0,
            is_second_walk: false,
            table: 0,
            after: None,
        }
    }
}

impl Store {
    /// Begins a rotation: from now on the new version seals, and a job moves what older ones hold.
    /// For the root, [`medmesh_vault::Kms::rotate`] comes before. Gives the new version, 0 for the root.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for somebody without keys; [`StoreError::RotationUnderWay`];
    /// [`StoreError::Unavailable`] when the KMS fails.
    pub async fn rotation_begin(&self, actor: SystemActor, subject: RotationSubject) -> Result<u32> {
        match subject {
            RotationSubject::Root => self.rotation_of_all(subject, 0).await,
            RotationSubject::System => {
                // A version for a rotation that is then refused would be one that nothing is moved to.
                self.rotation_idle(subject).await?;
                let version = self.system_key_add().await?;
                self.rotation_of_all(subject, version).await
            }
            RotationSubject::Clinic { clinic_id } => self.clinic_key_add(actor, clinic_id, subject).await,
            RotationSubject::Index { clinic_id } => self.clinic_key_add(actor, clinic_id, subject).await,
            RotationSubject::Patient {
                clinic_id,
                patient_id,
            } => self.patient_key_add(actor, clinic_id, patient_id, subject).await,
        }
    }

    /// Whether a rotation of the root or of the system's key may begin. Between this and
    /// [`Store::rotation_begin`] another one may have begun, which that says.
    ///
    /// # Errors
    /// [`StoreError::RotationUnderWay`].
    pub async fn rotation_idle(&self, subject: RotationSubject) -> Result<()> {
        let is_under_way: bool = sqlx::query_scalar("SELECT job_is_under_way($1, $2)")
            .bind(Rotation::KIND)
            .bind(subject.dedupe_key())
            .fetch_one(&self.pool)
            .await?;
        match is_under_way {
            true => Err(StoreError::RotationUnderWay),
            false => Ok(()),
        }
    }

    async fn rotation_of_all(&self, subject: RotationSubject, version: u32) -> Result<u32> {
        let work = Rotation::new(subject, version, OffsetDateTime::now_utc());
        match self.job_add(&work, once(&subject)).await? {
            true => Ok(version),
            false => Err(StoreError::RotationUnderWay),
        }
    }

    async fn system_key_add(&self) -> Result<u32> {
        self.keyring.0.scopes.forget(Option::is_none);
        let scope = self.system_scope().await?;
        let version = scope.ring.current().version() + 1;
        let context = Context {
            clinic: None,
            version,
        };
        let (secret, wrapped) = self.generate(context).await?;
        let key = Key::new(kind_of(None), version, secret, 0).map_err(index_failed)?;
        let mut tx = self.begin_scope(None).await?;
        let index_key = index_key_under(&mut tx, None, &scope, &key).await?;
        sqlx::query(
            "INSERT INTO system_key (version, root, wrapped, index_key, created_at)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        )
        .bind(version.cast_signed())
        .bind(wrapped.root)
        .bind(wrapped.blob)
        .bind(index_key)
        .bind(OffsetDateTime::now_utc())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        self.keyring.0.scopes.forget(Option::is_none);
        Ok(version)
    }

    /// A new version of a clinic's key, with a new key of blind indexes where that is wanted.
    async fn clinic_key_add(
        &self,
        actor: SystemActor,
        clinic: ClinicId,
        subject: RotationSubject,
    ) -> Result<u32> {
        self.keyring.0.scopes.forget(|id| *id == Some(clinic));
        let scope = self.scope(Some(clinic)).await?.ok_or(StoreError::NotFound)?;
        let version = scope.ring.current().version() + 1;
        let context = Context {
            clinic: Some(clinic),
            version,
        };
        // The KMS is asked without a transaction open.
        let (secret, wrapped) = self.generate(context).await?;
        let key = Key::new(kind_of(Some(clinic)), version, secret, 0).map_err(index_failed)?;
        let mut tx = self.begin_as(clinic, actor).await?;
        let (old_index, _) = scope.search();
        let (index_version, index_key) = if matches!(subject, RotationSubject::Index { .. }) {
            let index = DataKey::generate().map_err(index_failed)?;
            let wrapped = key.wrap(&index_field(Some(clinic), version), &index);
            (old_index + 1, wrapped.map_err(index_failed)?)
        } else {
            let under = index_key_under(tx.db(), Some(clinic), &scope, &key).await?;
            (old_index, under)
        };
        let now = tx.now();
        let added = sqlx::query(
            "INSERT INTO clinic_key (version, root, wrapped, index_key, created_at, clinic_id, index_version, floor)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
        )
        .bind(version.cast_signed())
        .bind(wrapped.root)
        .bind(wrapped.blob)
        .bind(index_key)
        .bind(now)
        .bind(clinic.as_uuid())
        .bind(index_version.cast_signed())
        .bind(scope.floor.cast_signed())
        .execute(tx.db())
        .await?
        .rows_affected();
        if added == 0 {
            return Err(StoreError::RotationUnderWay);
        }
        self.rotation_commit(tx, subject, version, None).await?;
        self.keyring.0.scopes.forget(|id| *id == Some(clinic));
        Ok(version)
    }

    async fn patient_key_add(
        &self,
        actor: SystemActor,
        clinic: ClinicId,
        patient: PersonId,
        subject: RotationSubject,
    ) -> Result<u32> {
        let mut tx = self.begin_as(clinic, actor).await?;
        // One at a time: the person's row is the lock.
        sqlx::query("SELECT FROM person WHERE id = $1 FOR UPDATE")
            .bind(patient.as_uuid())
            .execute(tx.db())
            .await?;
        let latest: Option<i32> =
            sqlx::query_scalar("SELECT max(version) FROM patient_key WHERE patient_id = $1")
                .bind(patient.as_uuid())
                .fetch_one(tx.db())
                .await?;
        let latest = version_from(latest.ok_or(StoreError::NotFound)?, Column::PatientKeyWrapped)?;
        let secret = DataKey::generate().map_err(|error| failed(&error, Column::PatientKeyWrapped))?;
        tx.patient_key_insert(patient, latest + 1, &secret).await?;
        self.rotation_commit(tx, subject, latest + 1, Some(patient))
            .await?;
        self.keyring.0.patients.forget(|key| *key == (clinic, patient));
        Ok(latest + 1)
    }

    /// Leaf and job of a rotation, with its new version.
    async fn rotation_commit(
        &self,
        mut tx: Tx,
        subject: RotationSubject,
        version: u32,
        patient: Option<PersonId>,
    ) -> Result<()> {
        tx.audit(Action::KeyRotate, Object::none_of(ObjectKind::Key), patient)
            .await?;
        let work = Rotation::new(subject, version, tx.now());
        if !tx.job_add(&work, once(&subject)).await? {
            tx.rollback().await?;
            return Err(StoreError::RotationUnderWay);
        }
        tx.commit().await
    }

    async fn generate(&self, context: Context) -> Result<(DataKey, medmesh_vault::kms::Wrapped)> {
        let made = self.keyring.kms().generate(context).await;
        made.map_err(|error| unavailable(&error))
    }

    pub(super) async fn begin_rotation(&self, clinic: ClinicId) -> Result<Tx> {
        self.begin_as(clinic, SystemActor::Upkeep).await
    }

    async fn begin_as(&self, clinic: ClinicId, actor: SystemActor) -> Result<Tx> {
        self.begin(clinic, Actor::System(actor), RequestId::generate())
            .await
    }

    pub(super) async fn begin_scope(
        &self,
        id: ScopeId,
    ) -> Result<sqlx::Transaction<'static, sqlx::Postgres>> {
        let begin = match id {
            // A UUID's text needs no quoting.
            Some(clinic) => format!("BEGIN; SET LOCAL medmesh.clinic_id = '{clinic}'"),
            None => "BEGIN".to_owned(),
        };
        Ok(self.pool.begin_with(sqlx::AssertSqlSafe(begin)).await?)
    }
}

/// The key of blind indexes stays what it is, or nobody would be found; the new version wraps it too.
async fn index_key_under(
    db: &mut sqlx::PgConnection,
    id: ScopeId,
    scope: &Scope,
    key: &Key,
) -> Result<Vec<u8>> {
    let sql = format!("SELECT index_key FROM {} WHERE version = $1", table_of(id));
    let current = scope.ring.current();
    let wrapped: Vec<u8> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .bind(current.version().cast_signed())
        .fetch_one(db)
        .await?;
    let index: DataKey = current
        .unwrap(&index_field(id, current.version()), &wrapped)
        .map_err(index_failed)?;
    key.wrap(&index_field(id, key.version()), &index)
        .map_err(index_failed)
}

fn once(subject: &RotationSubject) -> JobOptions {
    JobOptions {
        dedupe_key: Some(subject.dedupe_key()),
        due_at: None,
    }
}

pub(super) const fn table_of(id: ScopeId) -> &'static str {
    match id {
        Some(_) => "clinic_key",
        None => "system_key",
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn index_failed(error: medmesh_vault::VaultError) -> StoreError {
    failed(&error, Column::IndexKey)
}
