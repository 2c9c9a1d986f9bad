//! What patients asked of their record as a whole, and doing it.
//!
//! Erasing is destroying the patient's key: whatever it sealed is noise from then on, here and in
//! every copy that was made without the key. What stays is the skeleton: ids and times, so that
//! appointments can be counted and the audit log verified. Other nodes look every second whose keys
//! were destroyed ([`Store::keys_follow`]) and forget them. Whoever is in the register of the erased,
//! which is outside of the database, is erased again when a backup brings them back
//! ([`Store::record_erase_again`]).

use medmesh_base::{ClinicId, PersonId, RequestId};
use medmesh_clinic::audit::Action;
use medmesh_clinic::authz;
use medmesh_clinic::{
    Actor, ERASED_EMAIL, ERASED_NAME, Erasure, RecordRights, Refusal, RightsChange, SystemActor, Version,
};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::error::matching;
use crate::keys::{Column, Owner};
use crate::membership::Admins;
use crate::relationship::Target;
use crate::{JobKind, JobOptions, Result, Store, StoreError, Tx};

/// When is looked again whether the clinic can do without somebody who is to be erased: naming another
/// admin or privacy officer takes people days, not minutes.
const NEEDED_AGAIN: Duration = Duration::DAY;

/// Days between two mails that an erasure is put off: often enough to be remembered, seldom enough to be
/// read.
const TELL_EVERY_DAYS: i64 = 7;

/// Whether it is told today that an erasure which was due at `due` is put off: on the first day, and every
/// week from then on.
fn is_told(due: OffsetDateTime, now: OffsetDateTime) -> bool {
    (now - due).whole_days() % TELL_EVERY_DAYS == 0
}

/// The job that erases a record once the law lets it go.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecordErase {
    /// Whose.
    pub patient_id: PersonId,
}

impl JobKind for RecordErase {
    const KIND: &'static str = "record_erase";
}

/// The job that tells whoever looks after privacy that an erasure is put off. The mail does not say whose.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErasureHeld {
    /// Who is told.
    pub person_id: PersonId,
}

impl JobKind for ErasureHeld {
    const KIND: &'static str = "erasure_held";
}

/// What came of trying to erase a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erased {
    /// It is gone now.
    Now,
    /// It was gone before.
    Before,
    /// There is nothing to do: it was taken back.
    Nothing,
    /// The law keeps it until then; another job is waiting.
    Kept(OffsetDateTime),
    /// The clinic cannot do without them yet; another job looks again tomorrow.
    Needed(Refusal),
}

#[derive(sqlx::FromRow)]
struct Row {
    restricted_at: Option<OffsetDateTime>,
    erasure_requested_at: Option<OffsetDateTime>,
    retained_until: Option<OffsetDateTime>,
    erased_at: Option<OffsetDateTime>,
    version: i64,
}

fn rights_from(row: &Row) -> RecordRights {
    let erasure = row.erasure_requested_at.zip(row.retained_until);
    RecordRights {
        restricted_at: row.restricted_at,
        erasure: erasure.map(|(requested_at, retained_until)| Erasure {
            requested_at,
            retained_until,
            erased_at: row.erased_at,
        }),
        version: Version(row.version),
    }
}

impl Tx {
    /// What a patient asked.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Denied`].
    pub async fn record_rights_get(&mut self, patient: PersonId) -> Result<RecordRights> {
        self.authorise(authz::Action::RecordRightsGet, Target::Patient(patient))
            .await?;
        let rights = self.rights_load(patient).await?;
        self.audit(Action::RecordRightsRead, patient, Some(patient))
            .await?;
        Ok(rights)
    }

    /// Lets the record rest, or go; or takes that back.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`], [`StoreError::NotFound`], [`StoreError::Denied`];
    /// [`Refusal::RecordErased`]; [`Refusal::LastAdmin`] and [`Refusal::StillOfficer`] for whoever the
    /// clinic cannot do without.
    pub async fn record_rights_set(
        &mut self,
        patient: PersonId,
        if_match: Version,
        change: RightsChange,
    ) -> Result<RecordRights> {
        self.authorise(authz::Action::RecordRightsSet, Target::Patient(patient))
            .await?;
        if change.erasure {
            self.membership_lock().await?;
        }
        // The person's row is the queue: the first change finds no row of rights to lock.
        sqlx::query("SELECT FROM person WHERE id = $1 FOR NO KEY UPDATE")
            .bind(patient.as_uuid())
            .execute(self.db())
            .await?;
        let before = self.rights_load(patient).await?;
        matching(if_match, before.version.0)?;
        let until = self.retained_until(patient).await?;
        let after = before.changed(change, self.now(), until)?;
        if before.erasure.is_none() && after.erasure.is_some() {
            self.member_erasable(patient, Admins::WhoStay).await?;
        }
        self.rights_save(patient, &after).await?;
        for (was, is, set, lifted) in [
            (
                before.restricted_at.is_some(),
                after.restricted_at.is_some(),
                Action::RecordRestrict,
                Action::RecordRestrictionLift,
            ),
            (
                before.erasure.is_some(),
                after.erasure.is_some(),
                Action::ErasureRequest,
                Action::ErasureWithdraw,
            ),
        ] {
            if was != is {
                self.audit(if is { set } else { lifted }, patient, Some(patient))
                    .await?;
            }
        }
        if let (None, Some(erasure)) = (before.erasure, after.erasure) {
            self.erase_later(patient, erasure.retained_until).await?;
        }
        Ok(after)
    }

    async fn rights_load(&mut self, patient: PersonId) -> Result<RecordRights> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT restricted_at, erasure_requested_at, retained_until, erased_at, version
             FROM record_rights WHERE patient_id = $1",
        )
        .bind(patient.as_uuid())
        .fetch_optional(self.db())
        .await?;
        Ok(row.as_ref().map_or(RecordRights::NONE, rights_from))
    }

    async fn rights_save(&mut self, patient: PersonId, rights: &RecordRights) -> Result<()> {
        let (clinic, erasure) = (self.clinic(), rights.erasure);
        sqlx::query(
            "INSERT INTO record_rights (clinic_id, patient_id, restricted_at, erasure_requested_at, retained_until,
                 erased_at, version)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (clinic_id, patient_id) DO UPDATE SET restricted_at = excluded.restricted_at,
                 erasure_requested_at = excluded.erasure_requested_at, retained_until = excluded.retained_until,
                 erased_at = excluded.erased_at, version = excluded.version",
        )
        .bind(clinic)
        .bind(patient.as_uuid())
        .bind(rights.restricted_at)
        .bind(erasure.map(|erasure| erasure.requested_at))
        .bind(erasure.map(|erasure| erasure.retained_until))
        .bind(erasure.and_then(|erasure| erasure.erased_at))
        .bind(rights.version.0)
        .execute(self.db())
        .await?;
        Ok(())
    }

    /// Until when the law keeps the record: so many years after the last appointment, or not at
    /// all where there was none.
    async fn retained_until(&mut self, patient: PersonId) -> Result<OffsetDateTime> {
        let now = self.now();
        let until: OffsetDateTime = sqlx::query_scalar(
            "SELECT greatest($2, max(a.ends_at) + make_interval(years =>
                 (SELECT record_retention_years::integer FROM clinic)))
             FROM appointment a WHERE a.patient_id = $1 AND a.status <> 'cancelled'",
        )
        .bind(patient.as_uuid())
        .bind(now)
        .fetch_one(self.db())
        .await?;
        Ok(until)
    }

    async fn erase_later(&mut self, patient_id: PersonId, due_at: OffsetDateTime) -> Result<()> {
        let options = JobOptions {
            due_at: Some(due_at),
            // One for each time: the job that finds it is too early waits beside the next.
            dedupe_key: Some(format!("{patient_id}/{}", due_at.unix_timestamp())),
        };
        self.job_add(&RecordErase { patient_id }, options).await?;
        Ok(())
    }

    async fn record_erase(&mut self, patient: PersonId) -> Result<Erased> {
        self.membership_lock().await?;
        // Waits for whoever writes to the record, and holds up whoever wants to: a row that refers to
        // the person holds this one's key, and what is sealed asks for it first.
        sqlx::query("SELECT FROM person WHERE id = $1 FOR UPDATE")
            .bind(patient.as_uuid())
            .execute(self.db())
            .await?;
        let rights = self.rights_load(patient).await?;
        let Some(erasure) = rights.erasure else {
            return Ok(Erased::Nothing);
        };
        if erasure.erased_at.is_some() {
            return Ok(Erased::Before);
        }
        let (now, until) = (self.now(), self.retained_until(patient).await?);
        let kept = until > now;
        if !kept && let Err(error) = self.member_erasable(patient, Admins::WhoCouldSignIn).await {
            let StoreError::Refused(refusal) = error else {
                return Err(error);
            };
            self.erase_later(patient, now + NEEDED_AGAIN).await?;
            self.audit(Action::RecordEraseHold, patient, Some(patient))
                .await?;
            if is_told(erasure.retained_until, now) {
                self.tell_of_held().await?;
            }
            return Ok(Erased::Needed(refusal));
        }
        let after = Erasure {
            retained_until: until,
            erased_at: (!kept).then_some(now),
            ..erasure
        };
        let after = RecordRights {
            erasure: Some(after),
            version: Version(rights.version.0 + 1),
            ..rights
        };
        self.rights_save(patient, &after).await?;
        if kept {
            self.erase_later(patient, until).await?;
            return Ok(Erased::Kept(until));
        }
        self.record_shred(patient).await?;
        self.audit(Action::RecordErase, patient, Some(patient)).await?;
        Ok(Erased::Now)
    }

    /// Tells whoever looks after privacy, and the admins, who alone can put somebody else in the place of
    /// whom the clinic needs. Each at their own mailbox, and never who asked to go.
    async fn tell_of_held(&mut self) -> Result<()> {
        let people = self.privacy_watchers().await?;
        let admins = self.active_admins().await?;
        let mut told: Vec<PersonId> = people.into_iter().chain(admins).collect();
        told.sort_unstable_by_key(PersonId::as_uuid);
        told.dedup();
        for person_id in told {
            let options = JobOptions {
                // One mail that waits is enough, however many erasures wait.
                dedupe_key: Some(person_id.to_string()),
                ..JobOptions::default()
            };
            self.job_add(&ErasureHeld { person_id }, options).await?;
        }
        Ok(())
    }

    /// Destroys the key, and leaves a person without a name, a login or a way to be found.
    async fn record_shred(&mut self, patient: PersonId) -> Result<()> {
        let (row, now) = (patient.as_uuid(), self.now());
        let (version, account): (i64, Uuid) =
            sqlx::query_as("SELECT seal_version + 1, account_id FROM person WHERE id = $1")
                .bind(row)
                .fetch_optional(self.db())
                .await?
                .ok_or(StoreError::NotFound)?;
        let name = self
            .seal(
                Column::PersonDisplayName,
                row,
                version,
                Owner::Clinic,
                ERASED_NAME.as_bytes(),
            )
            .await?;
        let email = self
            .seal(
                Column::PersonEmail,
                row,
                version,
                Owner::Clinic,
                ERASED_EMAIL.as_bytes(),
            )
            .await?;
        sqlx::query(
            "UPDATE person SET display_name = $2, email = $3, seal_version = $4, active = false, erased_at = $5
             WHERE id = $1",
        )
        .bind(row)
        .bind(name)
        .bind(email)
        .bind(version)
        .bind(now)
        .execute(self.db())
        .await?;
        for sql in [
            "DELETE FROM patient_key WHERE patient_id = $1",
            "DELETE FROM patient_search WHERE patient_id = $1",
            "DELETE FROM totp_factor WHERE person_id = $1",
            "DELETE FROM passkey WHERE person_id = $1",
            "DELETE FROM factor_name WHERE person_id = $1",
            "DELETE FROM recovery_code WHERE person_id = $1",
            "DELETE FROM account_link WHERE person_id = $1",
            "DELETE FROM oidc_identity WHERE person_id = $1",
            "DELETE FROM idempotency WHERE patient_id = $1",
            "UPDATE record_export SET state = 'gone' WHERE patient_id = $1 AND state = 'ready'",
            "UPDATE appointment SET reason = NULL, cancel_reason = NULL WHERE patient_id = $1",
        ] {
            sqlx::query(sql).bind(row).execute(self.db()).await?;
        }
        sqlx::query("UPDATE session SET revoked_at = $2 WHERE person_id = $1 AND revoked_at IS NULL")
            .bind(row)
            .bind(now)
            .execute(self.db())
            .await?;
        // Answers to what they asked themselves, whomever they were about.
        sqlx::query("DELETE FROM idempotency WHERE account_id = $1")
            .bind(account)
            .execute(self.db())
            .await?;
        sqlx::query("SELECT account_erase($1)")
            .bind(account)
            .execute(self.db())
            .await?;
        Ok(())
    }
}

impl Store {
    /// Erases a patient's record, if they asked for it and the law lets it go by now. May be
    /// repeated, and may break off: it is one transaction.
    ///
    /// # Errors
    /// When the database or the keys fail.
    pub async fn record_erase(
        &self,
        clinic: ClinicId,
        patient: PersonId,
        now: OffsetDateTime,
    ) -> Result<Erased> {
        let actor = Actor::System(SystemActor::Upkeep);
        let mut tx = self.begin_at(clinic, actor, RequestId::generate(), now).await?;
        let outcome = tx.record_erase(patient).await?;
        tx.commit().await?;
        if outcome == Erased::Now {
            self.keyring.forget_patient(clinic, patient);
        }
        Ok(outcome)
    }

    /// Erases somebody whom a restored database knows again. `false`: there was nothing to do, or there
    /// is no such person or clinic in it. May be repeated, and may break off: it is one transaction.
    ///
    /// # Errors
    /// When the database or the keys fail.
    pub async fn record_erase_again(&self, clinic: ClinicId, patient: PersonId) -> Result<bool> {
        let actor = Actor::System(SystemActor::Upkeep);
        let mut tx = self.begin(clinic, actor, RequestId::generate()).await?;
        let back: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM person WHERE id = $1 AND erased_at IS NULL)
                 OR EXISTS (SELECT FROM patient_key WHERE patient_id = $1)",
        )
        .bind(patient.as_uuid())
        .fetch_one(tx.db())
        .await?;
        if !back {
            return Ok(false);
        }
        // Whatever they are to the clinic in that backup: they are erased, and nobody counts on them.
        tx.membership_lock().await?;
        sqlx::query("SELECT FROM person WHERE id = $1 FOR UPDATE")
            .bind(patient.as_uuid())
            .execute(tx.db())
            .await?;
        let rights = tx.rights_load(patient).await?;
        let now = tx.now();
        let erasure = rights.erasure.unwrap_or(Erasure {
            requested_at: now,
            retained_until: now,
            erased_at: None,
        });
        let after = RecordRights {
            restricted_at: rights.restricted_at.or(Some(now)),
            erasure: Some(Erasure {
                erased_at: Some(now),
                ..erasure
            }),
            version: Version(rights.version.0 + 1),
        };
        tx.rights_save(patient, &after).await?;
        tx.record_shred(patient).await?;
        tx.audit(Action::RecordErase, patient, Some(patient)).await?;
        tx.commit().await?;
        self.keyring.forget_patient(clinic, patient);
        Ok(true)
    }

    /// Whose keys, of any clinic, were destroyed since then. The same one may come again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn patients_erased(&self, since: OffsetDateTime) -> Result<Vec<(ClinicId, PersonId)>> {
        let rows: Vec<(Uuid, Uuid)> = sqlx::query_as("SELECT clinic_id, id FROM patients_erased($1)")
            .bind(since)
            .fetch_all(&self.pool)
            .await?;
        let ids = rows
            .into_iter()
            .map(|(clinic, id)| (ClinicId::from_uuid(clinic), PersonId::from_uuid(id)));
        Ok(ids.collect())
    }

    /// Who, of any clinic, is erased and has a key all the same: somebody put it back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn patients_erased_with_keys(&self) -> Result<Vec<(ClinicId, PersonId)>> {
        let rows: Vec<(Uuid, Uuid)> = sqlx::query_as("SELECT clinic_id, id FROM patients_erased_with_keys()")
            .fetch_all(&self.pool)
            .await?;
        let ids = rows
            .into_iter()
            .map(|(clinic, id)| (ClinicId::from_uuid(clinic), PersonId::from_uuid(id)));
        Ok(ids.collect())
    }

    /// Forgets the keys that were destroyed since then, wherever that was done. Nothing is asked while
    /// no patient's key is in memory.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keys_follow(&self, since: OffsetDateTime) -> Result<()> {
        if self.keyring.cached().1 == 0 {
            return Ok(());
        }
        for (clinic, patient) in self.patients_erased(since).await? {
            // Not only forgotten: a row that is put back opens nothing here.
            self.keyring.add_erased(&[(clinic, patient)]);
        }
        Ok(())
    }
}
