//! New keys for old, while everything goes on.
//!
//! A rotation begins with a new version, which seals from then on; what older versions
//! sealed stays readable and is moved in bounded steps: the root's by rewrapping the
//! keys of clinics, a clinic's by rewrapping the keys of its patients and sealing its
//! staff's names anew, a patient's by sealing their rows anew. A node that does not know a
//! version yet reads the keys again when it meets one. Steps may be repeated, and run on
//! several nodes at once.
//!
//! Versions of clinics' keys stay: what is append-only (the audit log) is under them.

use std::sync::Arc;

use medmesh_base::{ClinicId, PersonId, RequestId};
use medmesh_clinic::{Actor, SystemActor};
use medmesh_vault::kms::{Context, Wrapped};
use medmesh_vault::{DataKey, Key, KeyKind};
use time::OffsetDateTime;
use uuid::Uuid;

use super::load::{index_field, kind_of, patient_key_field};
use super::{
    Column, Owner, PatientKeyRow, Scope, ScopeId, Sealed, WRITTEN_ONCE, failed, unavailable, version_from,
};
use crate::{Result, Store, StoreError, Tx};

/// Rows moved by one step: some milliseconds of locks.
pub const ROTATION_STEP_MAX: u32 = 500;

/// One version of a clinic's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySummary {
    /// Whose.
    pub clinic_id: ClinicId,
    /// Which version.
    pub version: u32,
    /// The version of the root that wraps it.
    pub root: String,
    /// Messages sealed under it, as far as reported.
    pub sealed: i64,
    /// Since when.
    pub created_at: OffsetDateTime,
    /// Patients' keys wrapped by it.
    pub patients: i64,
}

impl Store {
    /// Every version of every clinic's key.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn key_list(&self) -> Result<Vec<KeySummary>> {
        type Row = (Uuid, i32, String, i64, OffsetDateTime, i64);
        let rows: Vec<Row> =
            sqlx::query_as("SELECT clinic_id, version, root, sealed, created_at, patients FROM key_scopes()")
                .fetch_all(&self.pool)
                .await?;
        rows.into_iter()
            .map(|(clinic, version, root, sealed, created_at, patients)| {
                Ok(KeySummary {
                    clinic_id: ClinicId::from_uuid(clinic),
                    version: version_from(version, Column::IndexKey)?,
                    root,
                    sealed,
                    created_at,
                    patients,
                })
            })
            .collect()
    }

    /// Wraps by the present root what older ones wrapped: the system's keys and every clinic's.
    /// Says how many were moved; repeat after [`medmesh_vault::Kms::rotate`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the KMS fails; what was moved stays moved.
    pub async fn root_rewrap(&self) -> Result<u64> {
        let root = self
            .keyring
            .kms()
            .root()
            .await
            .map_err(|error| unavailable(&error))?;
        let mut moved = self.scope_rewrap(None, &root).await?;
        let mut clinics: Vec<ClinicId> = self.key_list().await?.iter().map(|key| key.clinic_id).collect();
        clinics.dedup();
        for clinic in clinics {
            moved += self.scope_rewrap(Some(clinic), &root).await?;
        }
        Ok(moved)
    }

    async fn scope_rewrap(&self, id: ScopeId, root: &str) -> Result<u64> {
        let mut tx = self.begin_scope(id).await?;
        let table = table_of(id);
        let stale = format!("SELECT version, root, wrapped FROM {table} WHERE root <> $1 ORDER BY version");
        let rows: Vec<(i32, String, Vec<u8>)> = sqlx::query_as(sqlx::AssertSqlSafe(stale))
            .bind(root)
            .fetch_all(&mut *tx)
            .await?;
        // The KMS is asked without a transaction open.
        tx.commit().await?;
        let mut moved = 0;
        for (version, old_root, blob) in rows {
            let context = Context {
                clinic: id,
                version: version_from(version, Column::IndexKey)?,
            };
            let old = Wrapped { root: old_root, blob };
            let new = self
                .keyring
                .kms()
                .rewrap(context, &old)
                .await
                .map_err(|error| unavailable(&error))?;
            let mut tx = self.begin_scope(id).await?;
            let update =
                format!("UPDATE {table} SET root = $1, wrapped = $2 WHERE version = $3 AND wrapped = $4");
            moved += sqlx::query(sqlx::AssertSqlSafe(update))
                .bind(new.root)
                .bind(new.blob)
                .bind(version)
                .bind(old.blob)
                .execute(&mut *tx)
                .await?
                .rows_affected();
            tx.commit().await?;
        }
        Ok(moved)
    }

    /// A new version of a clinic's key (or of the system's), which seals from now on. Two that do it
    /// at once make one.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for a clinic without keys; [`StoreError::Unavailable`].
    pub async fn key_rotate(&self, clinic: Option<ClinicId>) -> Result<u32> {
        self.keyring.0.scopes.forget(|id| *id == clinic);
        let scope = self.scope(clinic).await?.ok_or(StoreError::NotFound)?;
        let version = scope.ring.current().version() + 1;
        let context = Context { clinic, version };
        let (secret, wrapped) = self
            .keyring
            .kms()
            .generate(context)
            .await
            .map_err(|error| unavailable(&error))?;
        let key = Key::new(kind_of(clinic), version, secret, 0).map_err(index_failed)?;
        let index_key = self.index_key_under(clinic, &scope, &key).await?;
        let mut tx = self.begin_scope(clinic).await?;
        let now = OffsetDateTime::now_utc();
        let query = match clinic {
            Some(_) => sqlx::query(
                "INSERT INTO clinic_key (version, root, wrapped, index_key, created_at, clinic_id)
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            ),
            None => sqlx::query(
                "INSERT INTO system_key (version, root, wrapped, index_key, created_at)
                 SELECT $1, $2, $3, $4, $5 WHERE $6::uuid IS NULL ON CONFLICT DO NOTHING",
            ),
        };
        query
            .bind(version.cast_signed())
            .bind(wrapped.root)
            .bind(wrapped.blob)
            .bind(index_key)
            .bind(now)
            .bind(clinic.map(|clinic| clinic.as_uuid()))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        self.keyring.0.scopes.forget(|id| *id == clinic);
        Ok(version)
    }

    /// The key of blind indexes stays what it is, or nobody would be found; the new version wraps it too.
    async fn index_key_under(&self, id: ScopeId, scope: &Scope, key: &Key) -> Result<Vec<u8>> {
        let mut tx = self.begin_scope(id).await?;
        let table = table_of(id);
        let sql = format!("SELECT index_key FROM {table} WHERE version = $1");
        let current = scope.ring.current();
        let wrapped: Vec<u8> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .bind(current.version().cast_signed())
            .fetch_one(&mut *tx)
            .await?;
        let index: DataKey = current
            .unwrap(&index_field(id, current.version()), &wrapped)
            .map_err(index_failed)?;
        key.wrap(&index_field(id, key.version()), &index)
            .map_err(index_failed)
    }

    /// Moves some of what older versions of a clinic's key hold to the latest: patients' keys, and
    /// the names and addresses of staff. Says how many rows; 0 when nothing is left.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for a clinic without keys; [`StoreError::Unavailable`].
    pub async fn key_rotate_step(&self, clinic: ClinicId) -> Result<u64> {
        let mut tx = self.begin_rotation(clinic).await?;
        let mut moved = tx.patient_keys_rewrap().await?;
        if moved == 0 {
            moved = tx.staff_reseal().await?;
        }
        tx.commit().await?;
        Ok(moved)
    }

    /// A new version of a patient's key, which seals from now on.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for somebody without a key.
    pub async fn patient_key_rotate(&self, clinic: ClinicId, patient: PersonId) -> Result<u32> {
        let mut tx = self.begin_rotation(clinic).await?;
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
        tx.commit().await?;
        self.keyring.0.patients.forget(|key| *key == (clinic, patient));
        Ok(latest + 1)
    }

    /// Seals some of a patient's rows anew under the latest version of their key. Says how many;
    /// 0 when nothing is left.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for somebody without a key; [`StoreError::Unavailable`].
    pub async fn patient_reseal_step(&self, clinic: ClinicId, patient: PersonId) -> Result<u64> {
        let mut tx = self.begin_rotation(clinic).await?;
        let rings = tx.patient_rings(&[(patient, None)]).await?;
        let ring = rings.get(&patient).ok_or(StoreError::NotFound)?;
        let version = ring.current().version();
        let mut moved = tx
            .person_reseal(&[patient.as_uuid()], Owner::Patient(patient))
            .await?;
        moved += tx.appointments_reseal(patient, version).await?;
        moved += tx.messages_reseal(patient, version).await?;
        tx.commit().await?;
        Ok(moved)
    }

    /// Destroys older versions of a patient's key. Only when every node has had time to learn of the
    /// latest ([`super::Keyring::lifetime`] after it was made) and no row needs an older one.
    ///
    /// # Errors
    /// [`StoreError::Contention`] while it is too early, or rows are left.
    pub async fn patient_key_retire(&self, clinic: ClinicId, patient: PersonId) -> Result<u64> {
        if self.patient_reseal_step(clinic, patient).await? > 0 {
            return Err(too_early());
        }
        let mut tx = self.begin_rotation(clinic).await?;
        let lifetime = time::Duration::try_from(self.keyring.lifetime()).unwrap_or(time::Duration::MAX);
        let before = tx.now() - lifetime;
        let gone = sqlx::query(
            "DELETE FROM patient_key k WHERE k.patient_id = $1
                 AND k.version < (SELECT max(version) FROM patient_key l
                     WHERE l.patient_id = $1 AND l.clinic_id = k.clinic_id)
                 AND (SELECT max(created_at) FROM patient_key l
                     WHERE l.patient_id = $1 AND l.clinic_id = k.clinic_id) <= $2",
        )
        .bind(patient.as_uuid())
        .bind(before)
        .execute(tx.db())
        .await?
        .rows_affected();
        tx.commit().await?;
        Ok(gone)
    }

    async fn begin_rotation(&self, clinic: ClinicId) -> Result<Tx> {
        let actor = Actor::System(SystemActor::Upkeep);
        self.begin(clinic, actor, RequestId::generate()).await
    }

    async fn begin_scope(&self, id: ScopeId) -> Result<sqlx::Transaction<'static, sqlx::Postgres>> {
        let begin = match id {
            // A UUID's text needs no quoting.
            Some(clinic) => format!("BEGIN; SET LOCAL medmesh.clinic_id = '{clinic}'"),
            None => "BEGIN".to_owned(),
        };
        Ok(self.pool.begin_with(sqlx::AssertSqlSafe(begin)).await?)
    }
}

impl Tx {
    async fn patient_keys_rewrap(&mut self) -> Result<u64> {
        let scope = self.clinic_scope()?;
        let current = Arc::clone(scope.ring.current());
        let rows: Vec<PatientKeyRow> = sqlx::query_as(
            "SELECT patient_id, version, clinic_key_version, wrapped FROM patient_key
             WHERE clinic_key_version < $1 LIMIT $2 FOR UPDATE SKIP LOCKED",
        )
        .bind(current.version().cast_signed())
        .bind(i64::from(ROTATION_STEP_MAX))
        .fetch_all(self.db())
        .await?;
        let (mut patients, mut versions, mut wrapped) = (Vec::new(), Vec::new(), Vec::new());
        for row in &rows {
            let above = version_from(row.clinic_key_version, Column::PatientKeyWrapped)?;
            let version = version_from(row.version, Column::PatientKeyWrapped)?;
            let scope = self.clinic_scope_with(above).await?;
            let old = scope
                .ring
                .version(above)
                .ok_or(StoreError::corrupt(Column::PatientKeyWrapped.path()))?;
            let field = patient_key_field(self.clinic_id(), PersonId::from_uuid(row.patient_id), version);
            let secret = old.unwrap(&field, &row.wrapped).map_err(wrapped_failed)?;
            wrapped.push(current.wrap(&field, &secret).map_err(wrapped_failed)?);
            patients.push(row.patient_id);
            versions.push(row.version);
        }
        let moved = sqlx::query(
            "UPDATE patient_key k SET wrapped = n.wrapped, clinic_key_version = $1
             FROM unnest($2::uuid[], $3::integer[], $4::bytea[]) AS n (patient_id, version, wrapped)
             WHERE k.patient_id = n.patient_id AND k.version = n.version",
        )
        .bind(current.version().cast_signed())
        .bind(patients)
        .bind(versions)
        .bind(wrapped)
        .execute(self.db())
        .await?;
        Ok(moved.rows_affected())
    }

    async fn staff_reseal(&mut self) -> Result<u64> {
        let older = header_below(KeyKind::Clinic, self.clinic_scope()?.ring.current().version());
        let people: Vec<Uuid> = sqlx::query_scalar(
            "SELECT id FROM person
             WHERE substring(display_name FROM 1 FOR 2) = $1 AND substring(display_name FROM 3 FOR 4) < $2
             LIMIT $3",
        )
        .bind(older.0)
        .bind(older.1)
        .bind(i64::from(ROTATION_STEP_MAX))
        .fetch_all(self.db())
        .await?;
        self.person_reseal(&people, Owner::Clinic).await
    }

    /// Seals names and addresses anew where they are not under the owner's latest key.
    async fn person_reseal(&mut self, people: &[Uuid], owner: Owner) -> Result<u64> {
        let rows: Vec<(Uuid, Vec<u8>, Vec<u8>, i64)> = sqlx::query_as(
            "SELECT id, display_name, email, seal_version FROM person WHERE id = ANY ($1) ORDER BY id FOR UPDATE",
        )
        .bind(people)
        .fetch_all(self.db())
        .await?;
        let mut moved = 0;
        for (id, name, email, version) in rows {
            let patient = Some(PersonId::from_uuid(id));
            let name = self
                .reseal(
                    (Column::PersonDisplayName, id, version, patient),
                    owner,
                    Some(&name),
                )
                .await?;
            let email = self
                .reseal((Column::PersonEmail, id, version, patient), owner, Some(&email))
                .await?;
            if name.is_none() && email.is_none() {
                continue;
            }
            sqlx::query("UPDATE person SET display_name = coalesce($2, display_name), email = coalesce($3, email) WHERE id = $1")
                .bind(id)
                .bind(name)
                .bind(email)
                .execute(self.db())
                .await?;
            moved += 1;
        }
        Ok(moved)
    }

    async fn appointments_reseal(&mut self, patient: PersonId, version: u32) -> Result<u64> {
        let older = header_below(KeyKind::Patient, version);
        type Row = (Uuid, Option<Vec<u8>>, Option<Vec<u8>>, i64);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, reason, cancel_reason, seal_version FROM appointment
             WHERE patient_id = $1 AND (
                 (substring(reason FROM 1 FOR 2) = $2 AND substring(reason FROM 3 FOR 4) < $3)
                 OR (substring(cancel_reason FROM 1 FOR 2) = $2 AND substring(cancel_reason FROM 3 FOR 4) < $3))
             LIMIT $4 FOR UPDATE SKIP LOCKED",
        )
        .bind(patient.as_uuid())
        .bind(older.0)
        .bind(older.1)
        .bind(i64::from(ROTATION_STEP_MAX))
        .fetch_all(self.db())
        .await?;
        let owner = Owner::Patient(patient);
        for (id, reason, cancel_reason, version) in &rows {
            let place = |column| (column, *id, *version, Some(patient));
            let reason = self
                .reseal(place(Column::AppointmentReason), owner, reason.as_deref())
                .await?;
            let cancel_reason = self
                .reseal(
                    place(Column::AppointmentCancelReason),
                    owner,
                    cancel_reason.as_deref(),
                )
                .await?;
            sqlx::query(
                "UPDATE appointment SET reason = coalesce($2, reason), cancel_reason = coalesce($3, cancel_reason)
                 WHERE id = $1",
            )
            .bind(*id)
            .bind(reason)
            .bind(cancel_reason)
            .execute(self.db())
            .await?;
        }
        Ok(rows.len() as u64)
    }

    async fn messages_reseal(&mut self, patient: PersonId, version: u32) -> Result<u64> {
        let older = header_below(KeyKind::Patient, version);
        let rows: Vec<(Uuid, Vec<u8>)> = sqlx::query_as(
            "SELECT m.id, m.body FROM message m
                 JOIN visit_participant p ON p.clinic_id = m.clinic_id AND p.visit_id = m.visit_id
             WHERE p.person_id = $1 AND p.role = 'patient'
                 AND substring(m.body FROM 1 FOR 2) = $2 AND substring(m.body FROM 3 FOR 4) < $3
             LIMIT $4 FOR UPDATE OF m SKIP LOCKED",
        )
        .bind(patient.as_uuid())
        .bind(older.0)
        .bind(older.1)
        .bind(i64::from(ROTATION_STEP_MAX))
        .fetch_all(self.db())
        .await?;
        for (id, body) in &rows {
            let place = (Column::MessageBody, *id, WRITTEN_ONCE, Some(patient));
            let body = self.reseal(place, Owner::Patient(patient), Some(body)).await?;
            sqlx::query("UPDATE message SET body = coalesce($2, body) WHERE id = $1")
                .bind(*id)
                .bind(body)
                .execute(self.db())
                .await?;
        }
        Ok(rows.len() as u64)
    }

    /// The value under the owner's latest key, at the same version of its row; `None` when it is
    /// under that already.
    async fn reseal(
        &mut self,
        (column, row, version, patient): (Column, Uuid, i64, Option<PersonId>),
        owner: Owner,
        bytes: Option<&[u8]>,
    ) -> Result<Option<Vec<u8>>> {
        let Some(bytes) = bytes else { return Ok(None) };
        let sealed = Sealed {
            column,
            row,
            version,
            patient,
            bytes,
        };
        let plain = self.open(&sealed).await?;
        let fresh = self.seal(column, row, version, owner, &plain).await?;
        // The first six bytes name the key.
        Ok((fresh[..6] != bytes[..6]).then_some(fresh))
    }
}

const fn table_of(id: ScopeId) -> &'static str {
    match id {
        Some(_) => "clinic_key",
        None => "system_key",
    }
}

/// Format and kind of an envelope, and its key version as bytes to compare older ones with.
fn header_below(kind: KeyKind, version: u32) -> (Vec<u8>, Vec<u8>) {
    (kind.envelope_prefix().to_vec(), version.to_be_bytes().to_vec())
}

fn too_early() -> StoreError {
    StoreError::Contention(crate::Fault::Keys("older versions are still in use".into()))
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn index_failed(error: medmesh_vault::VaultError) -> StoreError {
    failed(&error, Column::IndexKey)
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn wrapped_failed(error: medmesh_vault::VaultError) -> StoreError {
    failed(&error, Column::PatientKeyWrapped)
}
