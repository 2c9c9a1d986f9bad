//! How a rotation goes on: in steps that each lock few rows for some milliseconds.
//!
//! Steps may be repeated, and interrupted anywhere. The first walk over what older
//! versions hold begins at once. Nodes that did not know of the new version yet may have
//! written under an older one meanwhile; when all must know it ([`Keyring::lifetime`],
//! [`MARGIN`]) a second walk finds that. Then the older versions end: a patient's are
//! destroyed, a clinic's open nothing any more but what keeps its key.

use std::sync::Arc;

use medmesh_base::{ClinicId, PersonId};
use medmesh_clinic::audit::{Action, Object, ObjectKind};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::load::patient_key_field;
use super::reseal::TABLES;
use super::{Column, Opener, PatientKeyRow, Rotation, RotationSubject, failed, version_from};
use crate::person::PersonRow;
use crate::{Result, Store, StoreError, Tx};

#[allow(unused_imports, reason = "named in the module's documentation")]
use super::Keyring;

/// Rows moved, or looked at, by one step: some milliseconds of locks, and of a core that requests
/// wait for.
pub const ROTATION_STEP_MAX: u32 = 200;

/// Longest a transaction that began with older keys may still go on: statements are cut long before.
const MARGIN: Duration = Duration::minutes(1);

/// What one step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationStep {
    /// So many rows were moved, and there may be more.
    Moved(u64),
    /// Nothing to do before then.
    Wait(OffsetDateTime),
    /// The older versions have ended.
    Done,
}

impl Store {
    /// Does the next step of a rotation, as of `now`, and notes in it how far it is.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when whose key it was is gone; [`StoreError::Unavailable`].
    pub async fn rotation_step(&self, work: &mut Rotation, now: OffsetDateTime) -> Result<RotationStep> {
        let step = match work.subject {
            RotationSubject::Root | RotationSubject::System => self.step_of_all(work).await,
            RotationSubject::Clinic { clinic_id } => self.clinic_step(work, clinic_id, now).await,
            RotationSubject::Index { clinic_id } => self.index_step(work, clinic_id, now).await,
            RotationSubject::Patient {
                clinic_id,
                patient_id,
            } => self.patient_step(work, clinic_id, patient_id, now).await,
        }?;
        if let RotationStep::Moved(rows) = step {
            work.moved += rows;
        }
        Ok(step)
    }

    /// How much is left, where that is quickly known.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rotation_remaining(&self, work: &Rotation) -> Result<Option<u64>> {
        let RotationSubject::Clinic { clinic_id } = work.subject else {
            return Ok(None);
        };
        let mut tx = self.begin_rotation(clinic_id).await?;
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM patient_key WHERE clinic_key_version < $1")
            .bind(work.version.cast_signed())
            .fetch_one(tx.db())
            .await?;
        tx.commit().await?;
        Ok(Some(left.cast_unsigned()))
    }

    /// When every node knows of the version, and nothing older is being written any more.
    fn settled_at(&self, work: &Rotation) -> OffsetDateTime {
        let lifetime = Duration::try_from(self.keyring.lifetime()).unwrap_or(Duration::MAX);
        work.begun_at.saturating_add(lifetime).saturating_add(MARGIN)
    }

    /// One clinic after the other: its keys under the present root, and a leaf in its log.
    async fn step_of_all(&self, work: &mut Rotation) -> Result<RotationStep> {
        let is_root = work.subject == RotationSubject::Root;
        let mut moved = 0;
        if is_root && work.after.is_none() {
            moved += self.scope_rewrap(None).await?;
        }
        let after = work.after.map(ClinicId::from_uuid);
        let Some(clinic) = self.key_clinics(after, 1).await?.into_iter().next() else {
            return Ok(RotationStep::Done);
        };
        if is_root {
            moved += self.scope_rewrap(Some(clinic)).await?;
        }
        self.key_above_replaced(clinic).await?;
        work.after = Some(clinic.as_uuid());
        Ok(RotationStep::Moved(moved))
    }

    async fn clinic_step(
        &self,
        work: &mut Rotation,
        clinic: ClinicId,
        now: OffsetDateTime,
    ) -> Result<RotationStep> {
        let settled_at = self.settled_at(work);
        let mut tx = self.begin_rotation(clinic).await?;
        tx.clinic_scope_with(work.version).await?;
        let mut moved = tx.patient_keys_rewrap(work.version).await?;
        if moved == 0
            && let Some(table) = TABLES.get(work.table)
        {
            let most = i64::from(ROTATION_STEP_MAX);
            let page = tx.reseal_page(table, work.after, work.version, most).await?;
            moved = page.moved;
            work.after = page.last;
            work.table += usize::from(page.last.is_none());
        } else if moved == 0 && !work.is_second_walk {
            if now < settled_at {
                return Ok(RotationStep::Wait(settled_at));
            }
            (work.is_second_walk, work.table, work.after) = (true, 0, None);
        } else if moved == 0 {
            tx.clinic_key_finish(work.version).await?;
            tx.commit().await?;
            self.keyring.0.scopes.forget(|id| *id == Some(clinic));
            return Ok(RotationStep::Done);
        }
        tx.commit().await?;
        Ok(RotationStep::Moved(moved))
    }

    async fn patient_step(
        &self,
        work: &mut Rotation,
        clinic: ClinicId,
        patient: PersonId,
        now: OffsetDateTime,
    ) -> Result<RotationStep> {
        let settled_at = self.settled_at(work);
        let mut tx = self.begin_rotation(clinic).await?;
        let rings = tx.patient_rings(&[(patient, Some(work.version))]).await?;
        if !rings.contains_key(&patient) {
            return Err(StoreError::NotFound);
        }
        let mut moved = 0;
        for table in TABLES {
            let most = i64::from(ROTATION_STEP_MAX);
            moved += tx.reseal_patient(table, patient, work.version, most).await?;
        }
        if moved > 0 {
            tx.commit().await?;
            return Ok(RotationStep::Moved(moved));
        }
        if now < settled_at {
            return Ok(RotationStep::Wait(settled_at));
        }
        // Nothing older was found after everybody knew of the new version.
        sqlx::query("DELETE FROM patient_key WHERE patient_id = $1 AND version < $2")
            .bind(patient.as_uuid())
            .bind(work.version.cast_signed())
            .execute(tx.db())
            .await?;
        tx.audit(Action::KeyRetire, Object::none_of(ObjectKind::Key), Some(patient))
            .await?;
        tx.commit().await?;
        self.keyring.0.patients.forget(|key| *key == (clinic, patient));
        Ok(RotationStep::Done)
    }

    async fn index_step(
        &self,
        work: &mut Rotation,
        clinic: ClinicId,
        now: OffsetDateTime,
    ) -> Result<RotationStep> {
        let settled_at = self.settled_at(work);
        let mut tx = self.begin_rotation(clinic).await?;
        tx.clinic_scope_with(work.version).await?;
        if work.table == 0 {
            let (moved, last) = tx.index_page(work.after).await?;
            work.after = last;
            work.table += usize::from(last.is_none());
            tx.commit().await?;
            return Ok(RotationStep::Moved(moved));
        }
        if !work.is_second_walk {
            if now < settled_at {
                return Ok(RotationStep::Wait(settled_at));
            }
            (work.is_second_walk, work.table, work.after) = (true, 0, None);
            return Ok(RotationStep::Moved(0));
        }
        sqlx::query(
            "UPDATE clinic_key SET index_key = NULL WHERE index_key IS NOT NULL
                 AND index_version < (SELECT max(index_version) FROM clinic_key)",
        )
        .execute(tx.db())
        .await?;
        tx.audit(Action::KeyRetire, Object::none_of(ObjectKind::Key), None)
            .await?;
        tx.commit().await?;
        self.keyring.0.scopes.forget(|id| *id == Some(clinic));
        // The clinic's key was replaced with it: what its older versions hold is next.
        work.subject = RotationSubject::Clinic { clinic_id: clinic };
        (work.is_second_walk, work.table, work.after) = (false, 0, None);
        Ok(RotationStep::Moved(0))
    }
}

impl Tx {
    async fn patient_keys_rewrap(&mut self, version: u32) -> Result<u64> {
        let scope = self.clinic_scope_with(version).await?;
        let current = Arc::clone(scope.ring.current());
        // In the order of the index: otherwise each step would read the table past all that were moved.
        let rows: Vec<PatientKeyRow> = sqlx::query_as(
            "SELECT patient_id, version, clinic_key_version, wrapped FROM patient_key
             WHERE clinic_key_version < $1 ORDER BY clinic_key_version LIMIT $2 FOR UPDATE SKIP LOCKED",
        )
        .bind(current.version().cast_signed())
        .bind(i64::from(ROTATION_STEP_MAX))
        .fetch_all(self.db())
        .await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let (mut patients, mut versions, mut wrapped) = (Vec::new(), Vec::new(), Vec::new());
        for row in &rows {
            let above = version_from(row.clinic_key_version, Column::PatientKeyWrapped)?;
            let version = version_from(row.version, Column::PatientKeyWrapped)?;
            let floor = self.keys.keyring.floor(self.clinic_id()).max(scope.floor);
            let old = scope.ring.version(above).filter(|_| above >= floor);
            let old = old.ok_or(StoreError::corrupt(Column::PatientKeyWrapped.path()))?;
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

    /// From now on older versions of the clinic's key open nothing but what keeps its key.
    async fn clinic_key_finish(&mut self, version: u32) -> Result<()> {
        sqlx::query("UPDATE clinic_key SET floor = $1 WHERE version = (SELECT max(version) FROM clinic_key)")
            .bind(version.cast_signed())
            .execute(self.db())
            .await?;
        self.audit(Action::KeyRetire, Object::none_of(ObjectKind::Key), None)
            .await
    }

    /// Makes one page of patients findable by the latest index. Says how many, and after whom the
    /// next page begins.
    async fn index_page(&mut self, after: Option<Uuid>) -> Result<(u64, Option<Uuid>)> {
        let (version, _) = self.clinic_scope()?.search();
        type Row = (Uuid, bool);
        let page: Vec<Row> = sqlx::query_as(
            "SELECT patient_id, index_version < $2 FROM patient_search
             WHERE $1::uuid IS NULL OR patient_id > $1 ORDER BY patient_id LIMIT $3",
        )
        .bind(after)
        .bind(version.cast_signed())
        .bind(i64::from(ROTATION_STEP_MAX))
        .fetch_all(self.db())
        .await?;
        let is_full = page.len() == ROTATION_STEP_MAX as usize;
        let last = page.last().map(|(id, _)| *id).filter(|_| is_full);
        let stale: Vec<Uuid> = page
            .iter()
            .filter(|(_, stale)| *stale)
            .map(|(id, _)| *id)
            .collect();
        if stale.is_empty() {
            return Ok((0, last));
        }
        let keys: Vec<PatientKeyRow> = sqlx::query_as(
            "SELECT patient_id, version, clinic_key_version, wrapped FROM patient_key
             WHERE patient_id = ANY ($1)",
        )
        .bind(&stale)
        .fetch_all(self.db())
        .await?;
        let rings = self.unwrap_patients(keys).await?;
        let rows: Vec<PersonRow> = sqlx::query_as(
            "SELECT id, display_name, email, seal_version, '{}'::text[] AS roles, locale, active, version
             FROM person WHERE id = ANY ($1) ORDER BY id FOR SHARE",
        )
        .bind(&stale)
        .fetch_all(self.db())
        .await?;
        let floor = self.keys.keyring.floor(self.clinic_id());
        let opener = Opener::of_patients(self.clinic_id(), rings, floor);
        for row in rows {
            let person = row.into_person(&opener)?;
            let email = person.email.as_ref().map_or("", |email| email.expose());
            self.search_index(person.id, person.display_name.expose(), email)
                .await?;
        }
        Ok((stale.len() as u64, last))
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn wrapped_failed(error: medmesh_vault::VaultError) -> StoreError {
    failed(&error, Column::PatientKeyWrapped)
}
