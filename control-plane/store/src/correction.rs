//! What patients want corrected, and what comes of it.

use medmesh_base::{CorrectionId, PersonId, Phi};
use medmesh_clinic::audit::{Action, ObjectKind};
use medmesh_clinic::authz::{self, Kind};
use medmesh_clinic::{
    CORRECTION_DUE, CORRECTIONS_OPEN_MAX, Correction, CorrectionPhase, CorrectionState, CorrectionText,
    Decided, Disagreement, NewCorrection, PersonRef, Refusal, RightsNews, Version,
};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::matching;
use crate::keys::{Column, Opener, Owner, Sealed};
use crate::person::PersonRefs;
use crate::relationship::{Facts, Target, relation_columns};
use crate::{Cursor, Page, PageRequest, Result, StoreError, Tx};

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    patient_id: Uuid,
    what: Vec<u8>,
    why: Vec<u8>,
    requested_at: OffsetDateTime,
    due_at: OffsetDateTime,
    state: String,
    decided_by: Option<Uuid>,
    decided_at: Option<OffsetDateTime>,
    reason: Option<Vec<u8>>,
    statement: Option<Vec<u8>>,
    disagreed_at: Option<OffsetDateTime>,
    seal_version: i64,
    version: i64,
}

#[derive(sqlx::FromRow)]
struct ListedRow {
    #[sqlx(flatten)]
    row: Row,
    #[sqlx(flatten)]
    facts: Facts,
}

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT c.id, c.patient_id, c.what, c.why, c.requested_at, c.due_at, c.state, c.decided_by, c.decided_at,
                 c.reason, c.statement, c.disagreed_at, c.seal_version, c.version
             FROM correction c ",
            $tail
        )
    };
}

impl Row {
    fn place<'a>(&self, column: Column, bytes: &'a [u8]) -> Sealed<'a> {
        Sealed {
            column,
            row: self.id,
            version: self.seal_version,
            patient: Some(PersonId::from_uuid(self.patient_id)),
            bytes,
        }
    }

    fn sealed(&self) -> impl Iterator<Item = Sealed<'_>> {
        [
            (Column::CorrectionWhat, Some(&self.what)),
            (Column::CorrectionWhy, Some(&self.why)),
            (Column::CorrectionReason, self.reason.as_ref()),
            (Column::CorrectionStatement, self.statement.as_ref()),
        ]
        .into_iter()
        .filter_map(|(column, bytes)| Some(self.place(column, bytes?)))
    }

    fn people(&self) -> impl Iterator<Item = Uuid> {
        [Some(self.patient_id), self.decided_by].into_iter().flatten()
    }
}

fn phase_from(row: &Row, people: &PersonRefs, opener: &Opener) -> Result<CorrectionPhase> {
    let corrupt = || StoreError::corrupt("correction.state");
    let state: CorrectionState = row.state.parse().map_err(|_| corrupt())?;
    let decided = || {
        Ok::<_, StoreError>(Decided {
            by: people.of(row.decided_by.ok_or_else(corrupt)?)?,
            at: row.decided_at.ok_or_else(corrupt)?,
        })
    };
    Ok(match state {
        CorrectionState::Open => CorrectionPhase::Open,
        CorrectionState::Accepted => CorrectionPhase::Accepted(decided()?),
        CorrectionState::Declined => {
            let reason = row.reason.as_deref().ok_or_else(corrupt)?;
            let statement = row.statement.as_deref().zip(row.disagreed_at);
            let disagreement = statement.map(|(bytes, at)| {
                let statement = opener.text(&row.place(Column::CorrectionStatement, bytes))?;
                Ok::<_, StoreError>(Disagreement { statement, at })
            });
            CorrectionPhase::Declined {
                decided: decided()?,
                reason: opener.text(&row.place(Column::CorrectionReason, reason))?,
                disagreement: disagreement.transpose()?,
            }
        }
    })
}

fn correction_from(row: &Row, people: &PersonRefs, opener: &Opener) -> Result<Correction> {
    Ok(Correction {
        id: CorrectionId::from_uuid(row.id),
        patient: people.of(row.patient_id)?,
        what: opener.text(&row.place(Column::CorrectionWhat, &row.what))?,
        why: opener.text(&row.place(Column::CorrectionWhy, &row.why))?,
        requested_at: row.requested_at,
        due_at: row.due_at,
        phase: phase_from(row, people, opener)?,
        version: Version(row.version),
    })
}

impl Tx {
    /// Asks for a correction, and has whoever looks after privacy told.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Denied`]; [`Refusal::TooManyCorrections`].
    pub async fn correction_create(&mut self, patient: PersonId, new: &NewCorrection) -> Result<Correction> {
        self.authorise(authz::Action::CorrectionCreate, Target::Patient(patient))
            .await?;
        // The person's row is the queue: counting and adding are one.
        sqlx::query("SELECT FROM person WHERE id = $1 FOR NO KEY UPDATE")
            .bind(patient.as_uuid())
            .execute(self.db())
            .await?;
        let open: i64 =
            sqlx::query_scalar("SELECT count(*) FROM correction WHERE patient_id = $1 AND state = 'open'")
                .bind(patient.as_uuid())
                .fetch_one(self.db())
                .await?;
        if open >= CORRECTIONS_OPEN_MAX {
            return Err(Refusal::TooManyCorrections.into());
        }
        let (clinic, now, id) = (self.clinic(), self.now(), CorrectionId::generate());
        let people = self.person_refs([patient.as_uuid()]).await?;
        let correction = Correction {
            id,
            patient: people.of(patient.as_uuid())?,
            what: Phi::new(new.what.expose().to_owned()),
            why: Phi::new(new.why.expose().to_owned()),
            requested_at: now,
            due_at: now + CORRECTION_DUE,
            phase: CorrectionPhase::Open,
            version: Version(1),
        };
        let sealed = self.correction_seal(&correction, 1).await?;
        sqlx::query(
            "INSERT INTO correction (clinic_id, id, patient_id, what, why, requested_at, due_at, state)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(clinic)
        .bind(id.as_uuid())
        .bind(patient.as_uuid())
        .bind(sealed.what)
        .bind(sealed.why)
        .bind(now)
        .bind(correction.due_at)
        .bind(CorrectionState::Open.as_str())
        .execute(self.db())
        .await?;
        self.audit(Action::CorrectionCreate, id, Some(patient)).await?;
        for watcher in self.privacy_watchers().await? {
            self.rights_news(watcher, RightsNews::CorrectionAsked).await?;
        }
        Ok(correction)
    }

    /// What a patient wants corrected, the latest first.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Denied`].
    pub async fn correction_list(
        &mut self,
        patient: PersonId,
        page: PageRequest,
    ) -> Result<Page<Correction>> {
        self.authorise(authz::Action::CorrectionList, Target::Patient(patient))
            .await?;
        let rows: Vec<Row> = sqlx::query_as(select!(
            "WHERE c.patient_id = $1 AND ($2::uuid IS NULL OR c.id < $2) ORDER BY c.id DESC LIMIT $3"
        ))
        .bind(patient.as_uuid())
        .bind(page.id())
        .bind(page.fetch())
        .fetch_all(self.db())
        .await?;
        let page = Page::of(rows, page, |row| Cursor::by_id(row.id));
        let people = self.person_refs(page.items.iter().flat_map(Row::people)).await?;
        let opener = self.opener(page.items.iter().flat_map(Row::sealed)).await?;
        self.audit(Action::CorrectionRead, patient, Some(patient)).await?;
        page.try_map(|row| correction_from(&row, &people, &opener))
    }

    /// What all patients in reach want corrected, what is due first coming first; without `state` in
    /// every state. A page may hold fewer than were asked for though there are more.
    ///
    /// # Errors
    /// [`StoreError::Denied`].
    pub async fn correction_queue(
        &mut self,
        state: Option<CorrectionState>,
        page: PageRequest,
    ) -> Result<Page<Correction>> {
        self.authorise_listing(authz::Action::CorrectionQueue).await?;
        let (me, now) = (self.actor_person(), self.now());
        let rows: Vec<ListedRow> = sqlx::query_as(concat!(
            "SELECT r.*, ",
            relation_columns!(),
            "FROM (SELECT p.*, NULL::uuid AS clinician_id, NULL::uuid AS visit_id, 'general' AS segment FROM (",
            select!(
                "WHERE ($3::text IS NULL OR c.state = $3)
                     AND ($4::timestamptz IS NULL OR (c.due_at, c.id) > ($4, $5::uuid))
                     AND (EXISTS (SELECT FROM privacy_officer f WHERE f.person_id = $1)
                         OR c.patient_id IN (SELECT f.patient_id FROM appointment f
                             WHERE f.clinician_id = $1 AND f.status <> 'cancelled'
                             UNION SELECT f.patient_id FROM care_team f WHERE f.person_id = $1
                                 AND f.from_at <= $2 AND (f.until_at IS NULL OR f.until_at > $2)))
                 ORDER BY c.due_at, c.id LIMIT $6"
            ),
            ") p) r ORDER BY r.due_at, r.id"
        ))
        .bind(me)
        .bind(now)
        .bind(state.map(CorrectionState::as_str))
        .bind(page.at())
        .bind(page.id())
        .bind(page.fetch())
        .fetch_all(self.db())
        .await?;
        let page = Page::of(rows, page, |listed| Cursor {
            at: listed.row.due_at,
            id: listed.row.id,
        });
        let (mut kept, mut leaves) = (Vec::with_capacity(page.items.len()), Vec::new());
        for listed in page.items {
            let judged = self.judge(authz::Action::CorrectionList, Kind::Correction, &listed.facts)?;
            let Ok(grant) = judged else { continue };
            let (id, patient) = (listed.row.id, PersonId::from_uuid(listed.row.patient_id));
            leaves.push((CorrectionId::from_uuid(id).into(), Some(patient), Some(grant)));
            kept.push(listed.row);
        }
        let people = self.person_refs(kept.iter().flat_map(Row::people)).await?;
        let opener = self.opener(kept.iter().flat_map(Row::sealed)).await?;
        self.audit_each_or_none(Action::CorrectionRead, ObjectKind::Correction, &leaves)
            .await?;
        let items = kept.iter().map(|row| correction_from(row, &people, &opener));
        Ok(Page {
            items: items.collect::<Result<_>>()?,
            next_cursor: page.next_cursor,
        })
    }

    /// Agrees that something is to be corrected. The correction itself is an ordinary change.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`], [`StoreError::NotFound`], [`StoreError::Denied`];
    /// [`Refusal::AlreadySettled`], [`Refusal::OwnAct`].
    pub async fn correction_accept(&mut self, id: CorrectionId, if_match: Version) -> Result<Correction> {
        let (before, seal_version) = self
            .correction_lock(authz::Action::CorrectionAccept, id, if_match)
            .await?;
        let (me, now) = (self.correction_decider().await?, self.now());
        let after = before.accepted(me, now)?;
        self.correction_save(&after, seal_version + 1).await?;
        self.correction_answered(Action::CorrectionAccept, &after).await?;
        Ok(after)
    }

    /// Declines to correct it.
    ///
    /// # Errors
    /// As [`Tx::correction_accept`].
    pub async fn correction_decline(
        &mut self,
        id: CorrectionId,
        if_match: Version,
        reason: CorrectionText,
    ) -> Result<Correction> {
        let (before, seal_version) = self
            .correction_lock(authz::Action::CorrectionDecline, id, if_match)
            .await?;
        let (me, now) = (self.correction_decider().await?, self.now());
        let after = before.declined(me, reason, now)?;
        self.correction_save(&after, seal_version + 1).await?;
        self.correction_answered(Action::CorrectionDecline, &after)
            .await?;
        Ok(after)
    }

    /// Puts on record that the patient disagrees with having been declined.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`], [`StoreError::NotFound`], [`StoreError::Denied`];
    /// [`Refusal::NotDeclined`], [`Refusal::AlreadySettled`].
    pub async fn correction_disagree(
        &mut self,
        id: CorrectionId,
        if_match: Version,
        statement: CorrectionText,
    ) -> Result<Correction> {
        let (before, seal_version) = self
            .correction_lock(authz::Action::CorrectionDisagree, id, if_match)
            .await?;
        let after = before.disagreed(statement, self.now())?;
        self.correction_save(&after, seal_version + 1).await?;
        self.audit(Action::CorrectionDisagree, id, Some(after.patient.id))
            .await?;
        Ok(after)
    }

    async fn correction_decider(&mut self) -> Result<PersonRef> {
        let me = self.person()?.as_uuid();
        self.person_refs([me]).await?.of(me)
    }

    async fn correction_answered(&mut self, act: Action, after: &Correction) -> Result<()> {
        self.audit(act, after.id, Some(after.patient.id)).await?;
        self.rights_news(after.patient.id, RightsNews::CorrectionAnswered)
            .await
    }

    async fn correction_lock(
        &mut self,
        action: authz::Action,
        id: CorrectionId,
        if_match: Version,
    ) -> Result<(Correction, i64)> {
        self.authorise(action, Target::Correction(id)).await?;
        let row: Row = sqlx::query_as(select!("WHERE c.id = $1 FOR UPDATE"))
            .bind(id.as_uuid())
            .fetch_optional(self.db())
            .await?
            .ok_or(StoreError::NotFound)?;
        matching(if_match, row.version)?;
        let people = self.person_refs(row.people()).await?;
        let opener = self.opener(row.sealed()).await?;
        Ok((correction_from(&row, &people, &opener)?, row.seal_version))
    }

    async fn correction_save(&mut self, after: &Correction, seal_version: i64) -> Result<()> {
        let sealed = self.correction_seal(after, seal_version).await?;
        let (decided, disagreed_at) = match &after.phase {
            CorrectionPhase::Open => (None, None),
            CorrectionPhase::Accepted(decided) => (Some(decided), None),
            CorrectionPhase::Declined {
                decided,
                disagreement,
                ..
            } => (Some(decided), disagreement.as_ref().map(|said| said.at)),
        };
        sqlx::query(
            "UPDATE correction SET what = $2, why = $3, state = $4, decided_by = $5, decided_at = $6, reason = $7,
                 statement = $8, disagreed_at = $9, seal_version = $10, version = $11
             WHERE id = $1",
        )
        .bind(after.id.as_uuid())
        .bind(sealed.what)
        .bind(sealed.why)
        .bind(after.phase.state().as_str())
        .bind(decided.map(|decided| decided.by.id.as_uuid()))
        .bind(decided.map(|decided| decided.at))
        .bind(sealed.reason)
        .bind(sealed.statement)
        .bind(disagreed_at)
        .bind(seal_version)
        .bind(after.version.0)
        .execute(self.db())
        .await?;
        Ok(())
    }

    /// All its texts under one version, so that none can be put back alone.
    async fn correction_seal(&mut self, correction: &Correction, seal_version: i64) -> Result<SealedTexts> {
        let (row, owner) = (correction.id.as_uuid(), Owner::Patient(correction.patient.id));
        let (reason, statement) = match &correction.phase {
            CorrectionPhase::Declined {
                reason, disagreement, ..
            } => (Some(reason), disagreement.as_ref().map(|said| &said.statement)),
            CorrectionPhase::Open | CorrectionPhase::Accepted(_) => (None, None),
        };
        let what = correction.what.expose().as_bytes();
        let why = correction.why.expose().as_bytes();
        let reason = reason.map(|reason| reason.expose().as_str());
        let statement = statement.map(|statement| statement.expose().as_str());
        Ok(SealedTexts {
            what: self
                .seal(Column::CorrectionWhat, row, seal_version, owner, what)
                .await?,
            why: self
                .seal(Column::CorrectionWhy, row, seal_version, owner, why)
                .await?,
            reason: self
                .seal_text(Column::CorrectionReason, row, seal_version, owner, reason)
                .await?,
            statement: self
                .seal_text(Column::CorrectionStatement, row, seal_version, owner, statement)
                .await?,
        })
    }
}

struct SealedTexts {
    what: Vec<u8>,
    why: Vec<u8>,
    reason: Option<Vec<u8>>,
    statement: Option<Vec<u8>>,
}
