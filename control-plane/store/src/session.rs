//! Signing in, and the sessions that follow.
//!
//! The browser holds a token of 256 random bits in its cookie; the database
//! holds its SHA-256, so that a copy of the database opens no session. The CSRF
//! value is derived from the token: nothing more to keep, and whoever does not
//! hold the cookie cannot make it.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use medmesh_base::{AccountId, ClinicId, PersonId, RequestId, SessionId};
use medmesh_clinic::audit::Action;
use medmesh_clinic::{Actor, Caller, Clinic, Email, Person, SystemActor};
use sqlx::postgres::types::PgInterval;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::clinic::clinic_from;
use crate::person::{PersonRow, patient_of};
use crate::{Result, Store, StoreError, Tx};

/// A session nobody uses locks after this long (HIPAA 45 CFR 164.312(a)(2)(iii), automatic logoff).
pub const SESSION_IDLE: Duration = Duration::minutes(15);

/// A session ends after this long whatever happens: one working day.
pub const SESSION_LIFETIME: Duration = Duration::hours(12);

/// How often use is noted. A session may lock this much early, never late.
pub const TOUCH_EVERY: Duration = Duration::seconds(30);

const TOKEN_BYTES: usize = 32;

/// What the session cookie holds. Never stored, never formatted by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken([u8; TOKEN_BYTES]);

impl SessionToken {
    /// A fresh token.
    #[must_use]
    pub fn generate() -> Self {
        let mut bytes = [0; TOKEN_BYTES];
        rand::fill(&mut bytes).expect("the system has random bytes");
        Self(bytes)
    }

    /// A token from bytes that were made elsewhere; `None` unless there are 32.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The cookie's value.
    #[must_use]
    pub fn expose(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The value that unsafe requests repeat in `X-CSRF-Token`. Compare in constant time.
    #[must_use]
    pub fn csrf(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"medmesh csrf\0");
        context.update(&self.0);
        URL_SAFE_NO_PAD.encode(context.finish())
    }

    fn sha256(&self) -> Vec<u8> {
        digest::digest(&digest::SHA256, &self.0).as_ref().to_vec()
    }
}

impl FromStr for SessionToken {
    type Err = StoreError;

    /// Reads a cookie's value.
    fn from_str(text: &str) -> Result<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| StoreError::NotFound)?;
        Self::from_bytes(&bytes).ok_or(StoreError::NotFound)
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(…)")
    }
}

/// An Argon2id hash in PHC string format. Never formatted by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Wraps a PHC string. Making and checking it is the control plane's.
    #[must_use]
    pub const fn from_phc(phc: String) -> Self {
        Self(phc)
    }

    /// The PHC string.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// A clinic in which an account is a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The account.
    pub account_id: AccountId,
    /// The clinic.
    pub clinic_id: ClinicId,
    /// The person there.
    pub person_id: PersonId,
}

/// What checking a password needs.
#[derive(Clone, Debug)]
pub struct Login {
    /// What the given password must match.
    pub password: PasswordHash,
    /// Where it signs in to, oldest first; not empty.
    pub memberships: Vec<Membership>,
}

/// A live session, and everything a request wants to know about its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The session.
    pub id: SessionId,
    /// The login behind it.
    pub account_id: AccountId,
    /// The clinic it is for.
    pub clinic: Clinic,
    /// The person.
    pub person: Person,
    /// When it ends whatever happens.
    pub expires_at: OffsetDateTime,
}

impl Session {
    /// The caller, for [`Store::begin`].
    #[must_use]
    pub const fn caller(&self) -> Caller {
        Caller {
            account_id: self.account_id,
            person_id: self.person.id,
            session_id: self.id,
            roles: self.person.roles,
        }
    }
}

impl Store {
    /// What `email` needs to sign in; `None` when nobody active has that address.
    /// Check a decoy hash then, so that both answers take equally long.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn login_lookup(&self, email: &Email) -> Result<Option<Login>> {
        let rows: Vec<(Uuid, String, Uuid, Uuid)> =
            sqlx::query_as("SELECT account_id, password_phc, clinic_id, person_id FROM login_lookup($1)")
                .bind(self.email_index(email).await?)
                .fetch_all(&self.pool)
                .await?;
        let Some(password) = rows.first().map(|row| PasswordHash(row.1.clone())) else {
            return Ok(None);
        };
        let memberships = rows
            .into_iter()
            .map(|(account, _, clinic, person)| Membership {
                account_id: AccountId::from_uuid(account),
                clinic_id: ClinicId::from_uuid(clinic),
                person_id: PersonId::from_uuid(person),
            })
            .collect();
        Ok(Some(Login {
            password,
            memberships,
        }))
    }

    /// The live session behind a cookie; `None` when it is unknown, idle for
    /// [`SESSION_IDLE`], expired or revoked, or its person is no longer active.
    /// `touch` notes that a person is there; leave it out for what a page does by itself.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn session_resume(
        &self,
        token: &SessionToken,
        now: OffsetDateTime,
        touch: bool,
    ) -> Result<Option<Session>> {
        let row: Option<(Uuid, Uuid, Uuid, Uuid, OffsetDateTime)> = sqlx::query_as(
            "SELECT clinic_id, session_id, account_id, person_id, expires_at
             FROM session_lookup($1, $2, $3, $4, $5)",
        )
        .bind(token.sha256())
        .bind(now)
        .bind(interval(SESSION_IDLE))
        .bind(touch)
        .bind(interval(TOUCH_EVERY))
        .fetch_optional(&self.pool)
        .await?;
        let Some((clinic, session, account, person, expires_at)) = row else {
            return Ok(None);
        };
        let actor = Actor::System(SystemActor::Login);
        let mut tx = self
            .begin_at(ClinicId::from_uuid(clinic), actor, RequestId::generate(), now)
            .await?;
        let found = tx
            .session_of(
                SessionId::from_uuid(session),
                AccountId::from_uuid(account),
                PersonId::from_uuid(person),
                expires_at,
            )
            .await;
        tx.commit().await?;
        match found {
            Ok(session) => Ok(Some(session)),
            // Deactivated in this very moment.
            Err(StoreError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Tx {
    /// Opens a session for someone whose password matched. From here on the
    /// transaction acts as that person.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the membership is of another clinic.
    pub async fn session_create(&mut self, who: &Membership, token: &SessionToken) -> Result<Session> {
        if who.clinic_id != self.clinic_id() {
            return Err(StoreError::NotFound);
        }
        let (id, now) = (SessionId::generate(), self.now());
        let expires_at = now + SESSION_LIFETIME;
        let session = self
            .session_of(id, who.account_id, who.person_id, expires_at)
            .await?;
        let clinic = self.clinic();
        sqlx::query(
            "INSERT INTO session (clinic_id, id, person_id, account_id, token_sha256, created_at, seen_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $6, $7)",
        )
        .bind(clinic)
        .bind(id.as_uuid())
        .bind(who.person_id.as_uuid())
        .bind(who.account_id.as_uuid())
        .bind(token.sha256())
        .bind(now)
        .bind(expires_at)
        .execute(self.db())
        .await?;
        self.actor = Actor::Person(session.caller());
        self.audit(Action::Login, id, patient_of(who.person_id, session.person.roles))
            .await?;
        Ok(session)
    }

    /// Records a wrong password for an address that exists here.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn login_refused(&mut self, who: &Membership) -> Result<()> {
        self.audit(Action::LoginRefused, who.person_id, None).await
    }

    /// Ends the caller's own session. Ending it twice is no error.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when nobody is signed in.
    pub async fn session_revoke(&mut self) -> Result<()> {
        let caller = *self.actor().caller().ok_or(StoreError::NotFound)?;
        let now = self.now();
        sqlx::query("UPDATE session SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
            .bind(caller.session_id.as_uuid())
            .bind(now)
            .execute(self.db())
            .await?;
        self.audit(Action::SessionRevoke, caller.session_id, None).await
    }

    async fn session_of(
        &mut self,
        id: SessionId,
        account_id: AccountId,
        person_id: PersonId,
        expires_at: OffsetDateTime,
    ) -> Result<Session> {
        #[derive(sqlx::FromRow)]
        struct Row {
            #[sqlx(flatten)]
            person: PersonRow,
            clinic_id: Uuid,
            name: String,
            time_zone: String,
            home_region: String,
        }
        let row: Row = sqlx::query_as(
            "SELECT p.id, p.display_name, NULL::bytea AS email, p.seal_version, p.locale, p.active,
                 (SELECT coalesce(array_agg(role), '{}') FROM person_role r
                  WHERE r.clinic_id = p.clinic_id AND r.person_id = p.id) AS roles,
                 c.id AS clinic_id, c.name, c.time_zone, c.home_region
             FROM person p JOIN clinic c ON c.id = p.clinic_id
             WHERE p.id = $1 AND p.account_id = $2 AND p.active",
        )
        .bind(person_id.as_uuid())
        .bind(account_id.as_uuid())
        .fetch_optional(self.db())
        .await?
        .ok_or(StoreError::NotFound)?;
        let opener = self.opener(row.person.sealed()).await?;
        Ok(Session {
            id,
            account_id,
            clinic: clinic_from(row.clinic_id, row.name, &row.time_zone, &row.home_region)?,
            person: row.person.into_person(&opener)?,
            expires_at,
        })
    }
}

pub(crate) fn interval(length: Duration) -> PgInterval {
    let microseconds =
        i64::try_from(length.whole_microseconds()).expect("our durations are hours, not millennia");
    PgInterval {
        months: 0,
        days: 0,
        microseconds,
    }
}
