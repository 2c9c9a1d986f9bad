//! Links that set a password.

use std::str::FromStr;

use medmesh_base::{AccountId, ClinicId, PersonId};
use medmesh_clinic::audit::Action;
use medmesh_clinic::authz;
use medmesh_clinic::identity::LinkPurpose;
use medmesh_clinic::{Email, Locale, NewPerson, Person, Refusal, Role, Roles};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::keys::{Column, Sealed};
use crate::person::roles_from;
use crate::relationship::Target;
use crate::{JobKind, JobOptions, Membership, PasswordHash, Result, SessionToken, Store, StoreError, Tx};

/// What a link carries. Never stored, never formatted by `Debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkToken(SessionToken);

impl LinkToken {
    /// A fresh token.
    #[must_use]
    pub fn generate() -> Self {
        Self(SessionToken::generate())
    }

    /// What stands in the link.
    #[must_use]
    pub fn expose(&self) -> String {
        self.0.expose()
    }

    pub(crate) fn sha256(&self) -> Vec<u8> {
        self.0.sha256()
    }
}

impl FromStr for LinkToken {
    type Err = StoreError;
    fn from_str(text: &str) -> Result<Self> {
        text.parse().map(Self)
    }
}

/// A link that is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    id: Uuid,
    /// Whose.
    pub who: Membership,
}

impl Link {
    pub(crate) const fn row(&self) -> Uuid {
        self.id
    }
}

/// Where mail for a person goes, and in which language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailTo {
    /// The address.
    pub email: Email,
    /// The language.
    pub locale: Locale,
    /// What they are: decides which portal a link leads to.
    pub roles: Roles,
}

/// The job behind a forgotten password: whether anybody has the address is found out there,
/// so that asking takes the same for every address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResetSend {
    /// The keyed digest of the address, which says nothing to whoever reads it.
    index: Vec<u8>,
}

impl JobKind for ResetSend {
    const KIND: &'static str = "reset_send";
    /// Seconds after seconds: past a quarter of an hour nobody waits for the mail.
    const ATTEMPTS_MAX: u32 = 8;
}

/// The job that sends an invitation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InvitationSend {
    /// Who is invited.
    pub person_id: PersonId,
}

impl JobKind for InvitationSend {
    const KIND: &'static str = "invitation_send";
}

impl PasswordHash {
    /// What stands for a password before there is one: no password matches it.
    #[must_use]
    pub fn none() -> Self {
        Self::from_phc("!".to_owned())
    }
}

impl Store {
    /// Notes that somebody asked for a new password. Does the same for every address.
    ///
    /// # Errors
    /// When the database or the KMS fails.
    pub async fn reset_request(&self, email: &Email) -> Result<()> {
        let index = self.email_index(email).await?;
        let dedupe = index.iter().map(|byte| format!("{byte:02x}")).collect();
        let options = JobOptions {
            dedupe_key: Some(dedupe),
            ..JobOptions::default()
        };
        self.job_add(&ResetSend { index }, options).await?;
        Ok(())
    }

    /// Who asked for a new password, if anybody active has that address.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reset_lookup(&self, job: &ResetSend) -> Result<Option<Membership>> {
        let row: Option<(Uuid, Uuid, Uuid)> =
            sqlx::query_as("SELECT account_id, clinic_id, person_id FROM login_lookup($1) LIMIT 1")
                .bind(&job.index)
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(|(account, clinic, person)| Membership {
            account_id: AccountId::from_uuid(account),
            clinic_id: ClinicId::from_uuid(clinic),
            person_id: PersonId::from_uuid(person),
        }))
    }

    /// Whose link it is, while it is good.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn link_lookup(&self, token: &LinkToken, now: OffsetDateTime) -> Result<Option<Link>> {
        let row: Option<(Uuid, Uuid, Uuid, Uuid)> =
            sqlx::query_as("SELECT clinic_id, id, person_id, account_id FROM account_link_lookup($1, $2)")
                .bind(token.0.sha256())
                .bind(now)
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(|(clinic, id, person, account)| Link {
            id,
            who: Membership {
                account_id: AccountId::from_uuid(account),
                clinic_id: ClinicId::from_uuid(clinic),
                person_id: PersonId::from_uuid(person),
            },
        }))
    }
}

impl Tx {
    /// Adds a person who has no password yet.
    ///
    /// # Errors
    /// As [`Tx::person_create`].
    pub async fn person_invite(&mut self, new: &NewPerson) -> Result<Person> {
        self.authorise(authz::Action::InvitationCreate, Target::Clinic)
            .await?;
        self.person_create(new, &PasswordHash::none()).await
    }

    /// Makes a link for a person; those made for them before are no longer good.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such active person.
    pub async fn link_issue(
        &mut self,
        person: PersonId,
        purpose: LinkPurpose,
        token: &LinkToken,
    ) -> Result<OffsetDateTime> {
        let (clinic, now) = (self.clinic(), self.now());
        let expires_at = now + purpose.lifetime();
        sqlx::query("DELETE FROM account_link WHERE person_id = $1 AND used_at IS NULL")
            .bind(person.as_uuid())
            .execute(self.db())
            .await?;
        let made = sqlx::query(
            "INSERT INTO account_link (clinic_id, id, person_id, purpose, token_sha256, created_at, expires_at)
             SELECT $1, $2, p.id, $4, $5, $6, $7 FROM person p WHERE p.id = $3 AND p.active",
        )
        .bind(clinic)
        .bind(Uuid::now_v7())
        .bind(person.as_uuid())
        .bind(purpose.as_str())
        .bind(token.0.sha256())
        .bind(now)
        .bind(expires_at)
        .execute(self.db())
        .await?;
        if made.rows_affected() == 0 {
            return Err(StoreError::NotFound);
        }
        self.audit(Action::LinkIssue, person, None).await?;
        Ok(expires_at)
    }

    /// Uses a link up and sets the password; every session of the account ends.
    ///
    /// # Errors
    /// [`Refusal::LinkSpent`] when another request used it first.
    pub async fn link_redeem(&mut self, link: &Link, password: &PasswordHash) -> Result<()> {
        let now = self.now();
        let used = sqlx::query(
            "UPDATE account_link SET used_at = $2 WHERE id = $1 AND used_at IS NULL AND expires_at > $2",
        )
        .bind(link.id)
        .bind(now)
        .execute(self.db())
        .await?;
        if used.rows_affected() == 0 {
            return Err(Refusal::LinkSpent.into());
        }
        self.password_write(link.who.account_id, password, None).await?;
        self.audit(Action::PasswordSet, link.who.person_id, None).await
    }

    /// Changes the caller's password; every other session of the account ends.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when nobody is signed in.
    pub async fn password_change(&mut self, password: &PasswordHash) -> Result<()> {
        let caller = *self.actor().caller().ok_or(StoreError::NotFound)?;
        let kept = Some(caller.session_id.as_uuid());
        self.password_write(caller.account_id, password, kept).await?;
        self.audit(Action::PasswordSet, caller.person_id, None).await
    }

    async fn password_write(
        &mut self,
        account: AccountId,
        password: &PasswordHash,
        kept: Option<Uuid>,
    ) -> Result<()> {
        let now = self.now();
        sqlx::query("SELECT password_set($1, $2, $3, $4)")
            .bind(account.as_uuid())
            .bind(password.expose())
            .bind(now)
            .bind(kept)
            .execute(self.db())
            .await?;
        Ok(())
    }

    /// Where mail for an active person goes.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such person.
    pub async fn mail_to(&mut self, person: PersonId) -> Result<MailTo> {
        self.mail_address(person, false).await
    }

    /// Where mail for a person goes, also for one who is no longer active.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such person, or nothing is left of them.
    pub async fn mail_to_former(&mut self, person: PersonId) -> Result<MailTo> {
        self.mail_address(person, true).await
    }

    async fn mail_address(&mut self, person: PersonId, also_former: bool) -> Result<MailTo> {
        let row: Option<(Vec<u8>, i64, String, Vec<String>)> = sqlx::query_as(
            "SELECT p.email, p.seal_version, p.locale,
                 (SELECT coalesce(array_agg(role), '{}') FROM person_role r
                  WHERE r.clinic_id = p.clinic_id AND r.person_id = p.id)
             FROM person p WHERE p.id = $1 AND (p.active OR $2) AND p.erased_at IS NULL",
        )
        .bind(person.as_uuid())
        .bind(also_former)
        .fetch_optional(self.db())
        .await?;
        let (bytes, version, locale, roles) = row.ok_or(StoreError::NotFound)?;
        let sealed = Sealed {
            column: Column::PersonEmail,
            row: person.as_uuid(),
            version,
            patient: Some(person),
            bytes: &bytes,
        };
        let email = self.opener([sealed]).await?.text(&sealed)?;
        Ok(MailTo {
            email: email
                .expose()
                .parse()
                .map_err(|_| StoreError::corrupt("person.email"))?,
            locale: locale.parse().map_err(|_| StoreError::corrupt("person.locale"))?,
            roles: roles_from(&roles)?,
        })
    }
}

impl MailTo {
    /// The portal a link leads to.
    #[must_use]
    pub const fn portal(&self) -> &'static str {
        Self::portal_of(self.roles)
    }

    /// The portal of people with these roles.
    #[must_use]
    pub const fn portal_of(roles: Roles) -> &'static str {
        if roles.contains(Role::Admin) {
            "admin"
        } else if roles.contains(Role::Patient) {
            "patient"
        } else {
            "clinician"
        }
    }
}
