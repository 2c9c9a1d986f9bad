//! Licences, NPIs and DEA numbers, and who may act upon them.

use std::collections::HashMap;

use medmesh_base::{CredentialId, PersonId, Phi};
use medmesh_clinic::audit::{Action, ObjectKind};
use medmesh_clinic::credential::{
    CREDENTIALS_MAX, Claim, Credential, CredentialDecision, CredentialKind, CredentialStatus, Held, Verdict,
    licensed,
};
use medmesh_clinic::{PersonRef, Refusal, Role, Roles, SystemActor, Version, authz};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use crate::keys::{Column, Opener, Owner, Sealed, WRITTEN_ONCE};
use crate::person::sealed_name;
use crate::relationship::Target;
use crate::{Cursor, Page, PageRequest, Result, StoreError, Tx};

/// Which of a clinic's credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CredentialFilter {
    /// Only this person's.
    pub person: Option<PersonId>,
    /// Only those that stand so today.
    pub status: Option<CredentialStatus>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    person_id: Uuid,
    display_name: Vec<u8>,
    seal_version: i64,
    kind: String,
    profession: Option<String>,
    state: Option<String>,
    number: Vec<u8>,
    expires_on: Option<Date>,
    status: String,
    submitted_at: OffsetDateTime,
    version: i64,
}

#[derive(sqlx::FromRow)]
struct DecisionRow {
    id: Uuid,
    credential_id: Uuid,
    status: String,
    reason: Option<Vec<u8>>,
    decided_by: Option<Uuid>,
    decided_at: OffsetDateTime,
}

macro_rules! credential_rows {
    ($rest:literal) => {
        concat!(
            "SELECT k.id, k.person_id, p.display_name, p.seal_version, k.kind, k.profession, k.state, k.number,
                 k.expires_on, k.status, k.submitted_at, k.version
             FROM credential k JOIN person p ON p.clinic_id = k.clinic_id AND p.id = k.person_id ",
            $rest
        )
    };
}

impl Row {
    fn sealed_number(&self) -> Sealed<'_> {
        Sealed {
            column: Column::CredentialNumber,
            row: self.id,
            version: WRITTEN_ONCE,
            patient: None,
            bytes: &self.number,
        }
    }

    fn sealed_name(&self) -> Sealed<'_> {
        sealed_name(self.person_id, self.seal_version, &self.display_name)
    }
}

impl DecisionRow {
    fn sealed_reason(&self) -> Option<Sealed<'_>> {
        let bytes = self.reason.as_deref()?;
        Some(Sealed {
            column: Column::CredentialReason,
            row: self.id,
            version: WRITTEN_ONCE,
            patient: None,
            bytes,
        })
    }

    fn read(&self, opener: &Opener) -> Result<CredentialDecision> {
        Ok(CredentialDecision {
            status: status_from(&self.status)?,
            decided_at: self.decided_at,
            decided_by: self.decided_by.map(PersonId::from_uuid),
            reason: self
                .sealed_reason()
                .map(|reason| opener.text(&reason))
                .transpose()?,
        })
    }
}

/// The roles these words of `credentials_held` give leave to act in.
pub(crate) fn licensed_from(words: &[String]) -> Result<Roles> {
    let held = words.iter().map(|words| {
        let (kind, profession) = words
            .split_once(' ')
            .map_or((words.as_str(), None), |(kind, role)| (kind, Some(role)));
        let kind = kind.parse().ok();
        let profession = profession.map(str::parse::<Role>).transpose().ok();
        kind.zip(profession).ok_or(StoreError::corrupt("credential.kind"))
    });
    Ok(licensed(&held.collect::<Result<Vec<Held>>>()?))
}

impl Tx {
    /// The caller states a credential; somebody else has to verify it.
    ///
    /// # Errors
    /// [`Refusal::CredentialExpired`], [`Refusal::CredentialTooLong`], [`Refusal::CredentialPending`],
    /// [`Refusal::TooManyCredentials`]; [`StoreError::NotFound`] when nobody is signed in.
    pub async fn credential_submit(&mut self, claim: &Claim) -> Result<Credential> {
        let person = self.own_person()?;
        claim.current(self.today().await?)?;
        // Two at once queue here, so that the counts below hold.
        sqlx::query("SELECT FROM person WHERE id = $1 FOR UPDATE")
            .bind(person.as_uuid())
            .execute(self.db())
            .await?;
        let (all, alike): (i64, i64) = sqlx::query_as(
            "SELECT count(*), count(*) FILTER (WHERE status = 'pending' AND kind = $2
                 AND profession IS NOT DISTINCT FROM $3 AND state IS NOT DISTINCT FROM $4)
             FROM credential WHERE person_id = $1",
        )
        .bind(person.as_uuid())
        .bind(claim.kind().as_str())
        .bind(claim.profession().map(Role::as_str))
        .bind(claim.state())
        .fetch_one(self.db())
        .await?;
        if alike > 0 {
            return Err(Refusal::CredentialPending.into());
        }
        if all >= CREDENTIALS_MAX {
            return Err(Refusal::TooManyCredentials.into());
        }
        let id = self
            .credential_insert(person, claim, CredentialStatus::Pending)
            .await?;
        self.audit(Action::CredentialSubmit, id, None).await?;
        self.credential_get(id).await
    }

    async fn credential_insert(
        &mut self,
        person: PersonId,
        claim: &Claim,
        status: CredentialStatus,
    ) -> Result<CredentialId> {
        let (id, clinic, now) = (CredentialId::generate(), self.clinic(), self.now());
        let number = claim.number().expose().as_bytes();
        // The clinic's, also when its owner is a patient too: it outlives their record.
        let number = self
            .seal(
                Column::CredentialNumber,
                id.as_uuid(),
                WRITTEN_ONCE,
                Owner::Clinic,
                number,
            )
            .await?;
        sqlx::query(
            "INSERT INTO credential (clinic_id, id, person_id, kind, profession, state, number, expires_on,
                 status, submitted_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(clinic)
        .bind(id.as_uuid())
        .bind(person.as_uuid())
        .bind(claim.kind().as_str())
        .bind(claim.profession().map(Role::as_str))
        .bind(claim.state())
        .bind(number)
        .bind(claim.expires_on())
        .bind(status.as_str())
        .bind(now)
        .execute(self.db())
        .await?;
        Ok(id)
    }

    /// What whoever opens a clinic vouches for: verified at once, also for people who were there before
    /// anybody had to have it. What is verified and good needs no second; what an admin rejected or its
    /// owner took back is theirs to decide.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for anybody but the seed.
    pub(crate) async fn credentials_seed(&mut self, person: PersonId, claims: &[Claim]) -> Result<()> {
        if *self.actor() != medmesh_clinic::Actor::System(SystemActor::Seed) {
            return Err(StoreError::NotFound);
        }
        let today = self.today().await?;
        for claim in claims {
            let known: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM credential WHERE person_id = $1 AND kind = $2
                     AND profession IS NOT DISTINCT FROM $3
                     AND (status IN ('rejected', 'withdrawn')
                         OR (status = 'verified' AND (expires_on IS NULL OR expires_on >= $4))))",
            )
            .bind(person.as_uuid())
            .bind(claim.kind().as_str())
            .bind(claim.profession().map(Role::as_str))
            .bind(today)
            .fetch_one(self.db())
            .await?;
            if !known {
                let id = self
                    .credential_insert(person, claim, CredentialStatus::Verified)
                    .await?;
                self.decision_insert(id, CredentialStatus::Verified, None).await?;
                self.audit(Action::CredentialVerify, id, None).await?;
            }
        }
        Ok(())
    }

    /// The caller's credentials, latest first, all of them: there are never more than
    /// [`CREDENTIALS_MAX`].
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when nobody is signed in.
    pub async fn credential_mine(&mut self) -> Result<Vec<Credential>> {
        let person = self.own_person()?;
        let rows: Vec<Row> = sqlx::query_as(credential_rows!(
            "WHERE k.person_id = $1 ORDER BY k.id DESC LIMIT $2"
        ))
        .bind(person.as_uuid())
        .bind(CREDENTIALS_MAX)
        .fetch_all(self.db())
        .await?;
        let found = self.credentials_from(rows).await?;
        self.credentials_read(&found).await?;
        Ok(found)
    }

    /// The clinic's credentials, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Denied`].
    pub async fn credential_list(
        &mut self,
        filter: CredentialFilter,
        page: PageRequest,
    ) -> Result<Page<Credential>> {
        self.authorise_listing(authz::Action::CredentialList).await?;
        let today = self.today().await?;
        let (stored, expired) = match filter.status {
            None => (None, None),
            Some(CredentialStatus::Expired) => (Some(CredentialStatus::Verified), Some(true)),
            Some(status) => (Some(status), Some(false)),
        };
        let rows: Vec<Row> = sqlx::query_as(credential_rows!(
            "WHERE ($1::uuid IS NULL OR k.person_id = $1)
                 AND ($2::text IS NULL OR k.status = $2)
                 AND ($3::boolean IS NULL OR k.status <> 'verified' OR $3 = coalesce(k.expires_on < $4, false))
                 AND ($5::uuid IS NULL OR k.id > $5)
             ORDER BY k.id LIMIT $6"
        ))
        .bind(filter.person.map(|id| id.as_uuid()))
        .bind(stored.map(CredentialStatus::as_str))
        .bind(expired)
        .bind(today)
        .bind(page.id())
        .bind(page.fetch())
        .fetch_all(self.db())
        .await?;
        let found = self.credentials_from(rows).await?;
        let found = Page::of(found, page, |credential| Cursor {
            at: OffsetDateTime::UNIX_EPOCH,
            id: credential.id.as_uuid(),
        });
        self.credentials_read(&found.items).await?;
        Ok(found)
    }

    /// Decides about a credential: an admin verifies or rejects, its owner withdraws.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`], [`StoreError::NotFound`], [`StoreError::Denied`] and the
    /// refusals of [`Credential::decide`].
    pub async fn credential_decide(
        &mut self,
        id: CredentialId,
        if_match: Version,
        verdict: &Verdict,
    ) -> Result<Credential> {
        let by = self.own_person()?;
        let action = match verdict {
            Verdict::Verify => Some((authz::Action::CredentialVerify, Action::CredentialVerify)),
            Verdict::Reject(_) => Some((authz::Action::CredentialReject, Action::CredentialReject)),
            // Of one's own: what reaches it is decided by whose it is, below.
            Verdict::Withdraw => None,
        };
        if let Some((asked, _)) = action {
            self.authorise(asked, Target::Clinic).await?;
        }
        let known = sqlx::query("SELECT FROM credential WHERE id = $1 FOR UPDATE")
            .bind(id.as_uuid())
            .fetch_optional(self.db())
            .await?;
        known.ok_or(StoreError::NotFound)?;
        let before = self.credential_get(id).await?;
        if action.is_none() && before.person.id != by {
            return Err(StoreError::NotFound);
        }
        if before.version != if_match {
            return Err(StoreError::VersionMismatch {
                current: before.version,
            });
        }
        let status = before.decide(by, verdict, self.today().await?)?;
        sqlx::query("UPDATE credential SET status = $2, version = version + 1 WHERE id = $1")
            .bind(id.as_uuid())
            .bind(status.as_str())
            .execute(self.db())
            .await?;
        let reason = match verdict {
            Verdict::Reject(reason) => Some(reason.expose()),
            Verdict::Verify | Verdict::Withdraw => None,
        };
        self.decision_insert(id, status, reason).await?;
        let done = action.map_or(Action::CredentialWithdraw, |(_, done)| done);
        self.audit(done, id, None).await?;
        self.credential_get(id).await
    }

    async fn decision_insert(
        &mut self,
        credential: CredentialId,
        status: CredentialStatus,
        reason: Option<&str>,
    ) -> Result<()> {
        let (id, clinic, now) = (Uuid::now_v7(), self.clinic(), self.now());
        let by = self.actor_person();
        let reason = self
            .seal_text(Column::CredentialReason, id, WRITTEN_ONCE, Owner::Clinic, reason)
            .await?;
        sqlx::query(
            "INSERT INTO credential_decision (clinic_id, id, credential_id, status, reason, decided_by, decided_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(clinic)
        .bind(id)
        .bind(credential.as_uuid())
        .bind(status.as_str())
        .bind(reason)
        .bind(by)
        .bind(now)
        .execute(self.db())
        .await?;
        Ok(())
    }

    async fn credential_get(&mut self, id: CredentialId) -> Result<Credential> {
        let row: Row = sqlx::query_as(credential_rows!("WHERE k.id = $1"))
            .bind(id.as_uuid())
            .fetch_optional(self.db())
            .await?
            .ok_or(StoreError::NotFound)?;
        let found = self.credentials_from(vec![row]).await?;
        found.into_iter().next().ok_or(StoreError::NotFound)
    }

    async fn credentials_read(&mut self, found: &[Credential]) -> Result<()> {
        let leaves: Vec<_> = found
            .iter()
            .map(|credential| (credential.id.into(), None, None))
            .collect();
        self.audit_each_or_none(Action::CredentialRead, ObjectKind::Credential, &leaves)
            .await
    }

    async fn credentials_from(&mut self, rows: Vec<Row>) -> Result<Vec<Credential>> {
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let decisions: Vec<DecisionRow> = sqlx::query_as(
            "SELECT id, credential_id, status, reason, decided_by, decided_at FROM credential_decision
             WHERE credential_id = ANY ($1) ORDER BY id",
        )
        .bind(ids)
        .fetch_all(self.db())
        .await?;
        let today = self.today().await?;
        let sealed = rows
            .iter()
            .flat_map(|row| [row.sealed_number(), row.sealed_name()]);
        let sealed = sealed.chain(decisions.iter().filter_map(DecisionRow::sealed_reason));
        let opener = self.opener(sealed).await?;
        let mut history: HashMap<Uuid, Vec<CredentialDecision>> = HashMap::new();
        for row in &decisions {
            history
                .entry(row.credential_id)
                .or_default()
                .push(row.read(&opener)?);
        }
        rows.iter()
            .map(|row| credential_from(row, history.remove(&row.id).unwrap_or_default(), &opener, today))
            .collect()
    }

    /// The clinic's day.
    async fn today(&mut self) -> Result<Date> {
        Ok(self.day_bounds(None).await?.0)
    }
}

fn credential_from(
    row: &Row,
    decisions: Vec<CredentialDecision>,
    opener: &Opener,
    today: Date,
) -> Result<Credential> {
    let number: Phi<String> = opener.text(&row.sealed_number())?;
    let kind: CredentialKind = row
        .kind
        .parse()
        .map_err(|_| StoreError::corrupt("credential.kind"))?;
    let profession = row.profession.as_deref().map(str::parse::<Role>).transpose();
    let profession = profession.map_err(|_| StoreError::corrupt("credential.profession"))?;
    let claim = Claim::new(
        kind,
        profession,
        row.state.as_deref(),
        number.expose(),
        row.expires_on,
    )
    .map_err(|_| StoreError::corrupt(Column::CredentialNumber.path()))?;
    Ok(Credential {
        id: CredentialId::from_uuid(row.id),
        person: PersonRef {
            id: PersonId::from_uuid(row.person_id),
            display_name: opener.text(&row.sealed_name())?,
        },
        status: Credential::status_on(status_from(&row.status)?, row.expires_on, today),
        claim,
        submitted_at: row.submitted_at,
        decisions,
        version: Version(row.version),
    })
}

fn status_from(word: &str) -> Result<CredentialStatus> {
    word.parse().map_err(|_| StoreError::corrupt("credential.status"))
}
