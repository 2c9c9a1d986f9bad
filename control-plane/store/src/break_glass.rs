//! Records opened because it was urgent.

use medmesh_base::{BreakGlassId, PersonId, Phi};
use medmesh_clinic::audit::{Action, ObjectKind};
use medmesh_clinic::authz;
use medmesh_clinic::{
    BREAK_GLASS_DEFAULT, BREAK_GLASS_MAX, BreakGlass, Finding, Reason, Refusal, Review, Version, ends_at,
    reviewable,
};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::error::matching;
use crate::keys::{Column, Opener, Owner, Sealed, WRITTEN_ONCE};
use crate::person::PersonRefs;
use crate::relationship::Target;
use crate::{Cursor, JobKind, JobOptions, Page, PageRequest, Result, StoreError, Tx};

/// An emergency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBreakGlass {
    /// Whose record.
    pub patient: PersonId,
    /// Why.
    pub reason: Reason,
    /// For how long; [`BREAK_GLASS_DEFAULT`] without.
    pub lasts: Option<Duration>,
}

/// The job that tells whoever looks after privacy. The mail says no more than that there is
/// something to look at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BreakGlassAlert {
    /// Who is told.
    pub person_id: PersonId,
}

impl JobKind for BreakGlassAlert {
    const KIND: &'static str = "break_glass_alert";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    patient_id: Uuid,
    person_id: Uuid,
    reason: Vec<u8>,
    opened_at: OffsetDateTime,
    until_at: OffsetDateTime,
    finding: Option<String>,
    reviewed_by: Option<Uuid>,
    reviewed_at: Option<OffsetDateTime>,
    version: i64,
}

impl Row {
    fn sealed(&self) -> Sealed<'_> {
        Sealed {
            column: Column::BreakGlassReason,
            row: self.id,
            version: WRITTEN_ONCE,
            patient: Some(PersonId::from_uuid(self.patient_id)),
            bytes: &self.reason,
        }
    }

    fn people(&self) -> impl Iterator<Item = Uuid> {
        [Some(self.patient_id), Some(self.person_id), self.reviewed_by]
            .into_iter()
            .flatten()
    }
}

fn glass_from(row: &Row, people: &PersonRefs, opener: &Opener) -> Result<BreakGlass> {
    let review = match (&row.finding, row.reviewed_by, row.reviewed_at) {
        (Some(finding), Some(by), Some(at)) => Some(Review {
            finding: finding
                .parse()
                .map_err(|_| StoreError::corrupt("break_glass.finding"))?,
            by: people.of(by)?,
            at,
        }),
        _ => None,
    };
    Ok(BreakGlass {
        id: BreakGlassId::from_uuid(row.id),
        patient: people.of(row.patient_id)?,
        person: people.of(row.person_id)?,
        reason: opener.text(&row.sealed())?,
        opened_at: row.opened_at,
        until_at: row.until_at,
        review,
        version: Version(row.version),
    })
}

impl Tx {
    /// Opens a patient's record to the caller for a while, and has whoever looks after privacy told.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Denied`]; [`Refusal::PeriodUnsuitable`].
    pub async fn break_glass_open(&mut self, new: &NewBreakGlass) -> Result<BreakGlass> {
        let patient = new.patient;
        self.authorise(authz::Action::BreakGlassOpen, Target::Patient(patient))
            .await?;
        let (clinic, now, me) = (self.clinic(), self.now(), self.person()?);
        let asked = new.lasts.map(|lasts| now + lasts);
        let until_at = ends_at(asked, now, BREAK_GLASS_DEFAULT, BREAK_GLASS_MAX)?;
        let id = BreakGlassId::generate();
        let reason = self
            .seal(
                Column::BreakGlassReason,
                id.as_uuid(),
                WRITTEN_ONCE,
                Owner::Patient(patient),
                new.reason.expose().as_bytes(),
            )
            .await?;
        sqlx::query(
            "INSERT INTO break_glass (clinic_id, id, patient_id, person_id, reason, opened_at, until_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(clinic)
        .bind(id.as_uuid())
        .bind(patient.as_uuid())
        .bind(me.as_uuid())
        .bind(reason)
        .bind(now)
        .bind(until_at)
        .execute(self.db())
        .await?;
        self.audit(Action::BreakGlassOpen, id, Some(patient)).await?;
        for person_id in self.privacy_watchers().await? {
            self.job_add(&BreakGlassAlert { person_id }, JobOptions::default())
                .await?;
        }
        let people = self.person_refs([patient.as_uuid(), me.as_uuid()]).await?;
        Ok(BreakGlass {
            id,
            patient: people.of(patient.as_uuid())?,
            person: people.of(me.as_uuid())?,
            reason: Phi::new(new.reason.expose().to_owned()),
            opened_at: now,
            until_at,
            review: None,
            version: Version(1),
        })
    }

    /// Who broke the glass of a patient, the latest first.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Denied`].
    pub async fn break_glass_list(
        &mut self,
        patient: PersonId,
        page: PageRequest,
    ) -> Result<Page<BreakGlass>> {
        self.authorise(authz::Action::BreakGlassList, Target::Patient(patient))
            .await?;
        let page = self.glass_page(Some(patient), false, page).await?;
        self.audit(Action::BreakGlassRead, patient, Some(patient)).await?;
        Ok(page)
    }

    /// Every broken glass of the clinic, the latest first; with `unsettled` those nobody reviewed.
    ///
    /// # Errors
    /// [`StoreError::Denied`].
    pub async fn break_glass_alerts(
        &mut self,
        unsettled: bool,
        page: PageRequest,
    ) -> Result<Page<BreakGlass>> {
        self.authorise(authz::Action::BreakGlassAlerts, Target::Clinic)
            .await?;
        let page = self.glass_page(None, unsettled, page).await?;
        let leaves: Vec<_> = page
            .items
            .iter()
            .map(|glass| (glass.id.into(), Some(glass.patient.id), None))
            .collect();
        self.audit_each_or_none(Action::BreakGlassRead, ObjectKind::BreakGlass, &leaves)
            .await?;
        Ok(page)
    }

    /// Settles a broken glass.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`], [`StoreError::NotFound`], [`StoreError::Denied`];
    /// [`Refusal::OwnAct`], [`Refusal::AlreadySettled`].
    pub async fn break_glass_review(
        &mut self,
        id: BreakGlassId,
        if_match: Version,
        finding: Finding,
    ) -> Result<BreakGlass> {
        self.authorise(authz::Action::BreakGlassReview, Target::Clinic)
            .await?;
        let row: Row = sqlx::query_as(
            "SELECT id, patient_id, person_id, reason, opened_at, until_at, finding, reviewed_by, reviewed_at, version
             FROM break_glass WHERE id = $1 FOR UPDATE",
        )
        .bind(id.as_uuid())
        .fetch_optional(self.db())
        .await?
        .ok_or(StoreError::NotFound)?;
        let (now, me) = (self.now(), self.person()?);
        matching(if_match, row.version)?;
        if row.finding.is_some() {
            return Err(Refusal::AlreadySettled.into());
        }
        reviewable(PersonId::from_uuid(row.person_id), me)?;
        sqlx::query(
            "UPDATE break_glass SET finding = $2, reviewed_by = $3, reviewed_at = $4, version = version + 1
             WHERE id = $1",
        )
        .bind(id.as_uuid())
        .bind(finding.as_str())
        .bind(me.as_uuid())
        .bind(now)
        .execute(self.db())
        .await?;
        let patient = PersonId::from_uuid(row.patient_id);
        self.audit(Action::BreakGlassReview, id, Some(patient)).await?;
        let row = Row {
            finding: Some(finding.as_str().to_owned()),
            reviewed_by: Some(me.as_uuid()),
            reviewed_at: Some(now),
            version: row.version + 1,
            ..row
        };
        let people = self.person_refs(row.people()).await?;
        let opener = self.opener([row.sealed()]).await?;
        glass_from(&row, &people, &opener)
    }

    async fn glass_page(
        &mut self,
        patient: Option<PersonId>,
        unsettled: bool,
        page: PageRequest,
    ) -> Result<Page<BreakGlass>> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, patient_id, person_id, reason, opened_at, until_at, finding, reviewed_by, reviewed_at, version
             FROM break_glass
             WHERE ($1::uuid IS NULL OR patient_id = $1) AND (NOT $2 OR finding IS NULL)
                 AND ($3::uuid IS NULL OR id < $3)
             ORDER BY id DESC LIMIT $4",
        )
        .bind(patient.map(|id| id.as_uuid()))
        .bind(unsettled)
        .bind(page.id())
        .bind(page.fetch())
        .fetch_all(self.db())
        .await?;
        let page = Page::of(rows, page, |row| Cursor::by_id(row.id));
        let people = self.person_refs(page.items.iter().flat_map(Row::people)).await?;
        let opener = self.opener(page.items.iter().map(Row::sealed)).await?;
        page.try_map(|row| glass_from(&row, &people, &opener))
    }
}
