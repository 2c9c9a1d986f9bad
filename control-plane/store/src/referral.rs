//! Patients sent from one clinician to another.

use medmesh_base::{PersonId, ReferralId};
use medmesh_clinic::audit::Action;
use medmesh_clinic::authz;
use medmesh_clinic::{
    REFERRAL_DEFAULT, REFERRAL_MAX, Reason, Referral, Refusal, Role, Version, carer, ends_at,
};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::matching;
use crate::keys::{Column, Opener, Owner, Sealed, WRITTEN_ONCE};
use crate::person::PersonRefs;
use crate::relationship::Target;
use crate::{Cursor, Page, PageRequest, Result, StoreError, Tx};

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    patient_id: Uuid,
    from_id: Uuid,
    to_id: Uuid,
    reason: Option<Vec<u8>>,
    created_at: OffsetDateTime,
    until_at: OffsetDateTime,
    version: i64,
}

impl Row {
    fn sealed(&self) -> Option<Sealed<'_>> {
        self.reason.as_deref().map(|bytes| Sealed {
            column: Column::ReferralReason,
            row: self.id,
            version: WRITTEN_ONCE,
            patient: Some(PersonId::from_uuid(self.patient_id)),
            bytes,
        })
    }
}

fn referral_from(row: &Row, people: &PersonRefs, opener: &Opener) -> Result<Referral> {
    Ok(Referral {
        id: ReferralId::from_uuid(row.id),
        patient_id: PersonId::from_uuid(row.patient_id),
        from: people.of(row.from_id)?,
        to: people.of(row.to_id)?,
        reason: row.sealed().map(|sealed| opener.text(&sealed)).transpose()?,
        created_at: row.created_at,
        until_at: row.until_at,
        version: Version(row.version),
    })
}

impl Tx {
    /// Where a patient was referred, the latest first.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Denied`].
    pub async fn referral_list(&mut self, patient: PersonId, page: PageRequest) -> Result<Page<Referral>> {
        self.authorise(authz::Action::ReferralList, Target::Patient(patient))
            .await?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, patient_id, from_id, to_id, reason, created_at, until_at, version FROM referral
             WHERE patient_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
        )
        .bind(patient.as_uuid())
        .bind(page.id())
        .bind(page.fetch())
        .fetch_all(self.db())
        .await?;
        let page = Page::of(rows, page, |row| Cursor::by_id(row.id));
        let people = self
            .person_refs(page.items.iter().flat_map(|row| [row.from_id, row.to_id]))
            .await?;
        let opener = self.opener(page.items.iter().filter_map(Row::sealed)).await?;
        self.audit(Action::ReferralRead, patient, Some(patient)).await?;
        page.try_map(|row| referral_from(&row, &people, &opener))
    }

    /// Refers a patient to another clinician, who may read the record until it ends.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Denied`]; [`Refusal::CarerUnsuitable`],
    /// [`Refusal::NotThemselves`], [`Refusal::PeriodUnsuitable`].
    pub async fn referral_create(
        &mut self,
        patient: PersonId,
        to: PersonId,
        reason: Option<&Reason>,
        until_at: Option<OffsetDateTime>,
    ) -> Result<Referral> {
        self.authorise(authz::Action::ReferralCreate, Target::Patient(patient))
            .await?;
        let (clinic, now, from) = (self.clinic(), self.now(), self.person()?);
        if to == patient || to == from {
            return Err(Refusal::NotThemselves.into());
        }
        let until = ends_at(until_at, now, REFERRAL_DEFAULT, REFERRAL_MAX)?;
        let found = self.bookable(to).await?.ok_or(Refusal::CarerUnsuitable)?;
        carer(found.roles, Role::Clinician)?;
        let id = ReferralId::generate();
        let sealed = self
            .seal_text(
                Column::ReferralReason,
                id.as_uuid(),
                WRITTEN_ONCE,
                Owner::Patient(patient),
                reason.map(Reason::expose),
            )
            .await?;
        sqlx::query(
            "INSERT INTO referral (clinic_id, id, patient_id, from_id, to_id, reason, created_at, until_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(clinic)
        .bind(id.as_uuid())
        .bind(patient.as_uuid())
        .bind(from.as_uuid())
        .bind(to.as_uuid())
        .bind(sealed)
        .bind(now)
        .bind(until)
        .execute(self.db())
        .await?;
        self.audit(Action::ReferralCreate, id, Some(patient)).await?;
        let people = self.person_refs([from.as_uuid()]).await?;
        Ok(Referral {
            id,
            patient_id: patient,
            from: people.of(from.as_uuid())?,
            to: found.person,
            reason: reason.map(|reason| medmesh_base::Phi::new(reason.expose().to_owned())),
            created_at: now,
            until_at: until,
            version: Version(1),
        })
    }

    /// Takes a referral back, now.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`], [`StoreError::NotFound`], [`StoreError::Denied`];
    /// [`Refusal::AlreadyEnded`].
    pub async fn referral_end(&mut self, id: ReferralId, if_match: Version) -> Result<Referral> {
        self.authorise(authz::Action::ReferralEnd, Target::Referral(id))
            .await?;
        let row: Row = sqlx::query_as(
            "SELECT id, patient_id, from_id, to_id, reason, created_at, until_at, version FROM referral
             WHERE id = $1 FOR UPDATE",
        )
        .bind(id.as_uuid())
        .fetch_optional(self.db())
        .await?
        .ok_or(StoreError::NotFound)?;
        let (now, by) = (self.now(), self.person()?);
        matching(if_match, row.version)?;
        if row.until_at <= now {
            return Err(Refusal::AlreadyEnded.into());
        }
        let people = self.person_refs([row.from_id, row.to_id]).await?;
        let opener = self.opener(row.sealed()).await?;
        let until = now.max(row.created_at);
        sqlx::query("UPDATE referral SET until_at = $2, ended_by = $3, version = version + 1 WHERE id = $1")
            .bind(id.as_uuid())
            .bind(until)
            .bind(by.as_uuid())
            .execute(self.db())
            .await?;
        let patient = PersonId::from_uuid(row.patient_id);
        self.audit(Action::ReferralEnd, id, Some(patient)).await?;
        let row = Row {
            until_at: until,
            version: row.version + 1,
            ..row
        };
        referral_from(&row, &people, &opener)
    }
}
