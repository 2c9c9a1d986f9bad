//! Signing in, and the sessions that follow.
//!
//! The browser holds a token of 256 random bits in its cookie; the database
//! holds its SHA-256, so that a copy of the database opens no session. The token
//! changes every [`ROTATE_EVERY`] and whenever the session is allowed more; the CSRF
//! value stays with the session, so that a page need not learn a new one each time.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use medmesh_base::{AccountId, ClinicId, PersonId, RequestId, SessionId};
use medmesh_clinic::audit::Action;
use medmesh_clinic::identity::{Enrolled, Factor, Proofs, Standing, is_fresh, standing};
use medmesh_clinic::{Actor, Caller, Clinic, Email, Person, Roles, SystemActor};
use sqlx::postgres::types::PgInterval;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::clinic::clinic_from;
use crate::credential::licensed_from;
use crate::person::{PersonRow, patient_of};
use crate::{Result, Store, StoreError, Tx};

/// A session nobody uses locks after this long (HIPAA 45 CFR 164.312(a)(2)(iii), automatic logoff).
pub const SESSION_IDLE: Duration = Duration::minutes(15);

/// A session ends after this long whatever happens: one working day.
pub const SESSION_LIFETIME: Duration = Duration::hours(12);

/// How often use is noted. A session may lock this much early, never late.
pub const TOUCH_EVERY: Duration = Duration::seconds(30);

/// A token serves this long; a stolen one is of use no longer.
pub const ROTATE_EVERY: Duration = Duration::minutes(10);

/// How long the token before is still good once the new one has been used: requests that
/// were under way, on a phone's connection.
pub const ROTATION_OVERLAP: Duration = Duration::seconds(30);

/// A client that still shows the old token after this long did not get the answer with the
/// new one, and is given another.
pub const ROTATE_AGAIN: Duration = Duration::seconds(10);

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

    pub(crate) fn sha256(&self) -> Vec<u8> {
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
    /// The roles that need a licence and have it verified, now.
    pub licensed: Roles,
    /// What was proved in it.
    pub proofs: Proofs,
    /// When the last of it was.
    pub authenticated_at: OffsetDateTime,
    /// What the person can prove themselves with.
    pub enrolled: Enrolled,
    /// What unsafe requests repeat in `X-CSRF-Token`. Compare in constant time.
    pub csrf: String,
    /// Whether it was found by its present token, not by the one before.
    pub is_present: bool,
    pub(crate) rotated_at: OffsetDateTime,
    confirmed_at: Option<OffsetDateTime>,
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
            licensed: self.licensed,
            second_factor: self.proofs.is_multi_factor(),
            // The token before a step-up does not profit from it.
            stepped_up_at: if self.is_present {
                Some(self.authenticated_at)
            } else {
                None
            },
        }
    }

    /// What it may do.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        standing(self.person.roles, self.proofs, self.enrolled)
    }

    /// Whether the person proved themselves within the last `within`. The token before a
    /// step-up does not profit from it.
    #[must_use]
    pub fn is_fresh(&self, now: OffsetDateTime, within: Duration) -> bool {
        self.is_present && is_fresh(self.authenticated_at, now, within)
    }

    /// Whether its token should be changed: it is old, or the client never got the new one.
    #[must_use]
    pub fn is_rotation_due(&self, now: OffsetDateTime) -> bool {
        let age = now - self.rotated_at;
        if self.is_present {
            age >= ROTATE_EVERY
        } else {
            self.confirmed_at.is_none() && age >= ROTATE_AGAIN
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
        let row: Option<(Uuid, Uuid, bool)> = sqlx::query_as(
            "SELECT clinic_id, session_id, is_present FROM session_lookup($1, $2, $3, $4, $5, $6)",
        )
        .bind(token.sha256())
        .bind(now)
        .bind(interval(SESSION_IDLE))
        .bind(touch)
        .bind(interval(TOUCH_EVERY))
        .bind(interval(ROTATION_OVERLAP))
        .fetch_optional(&self.pool)
        .await?;
        let Some((clinic, session, is_present)) = row else {
            return Ok(None);
        };
        let found = self
            .session_check(
                ClinicId::from_uuid(clinic),
                SessionId::from_uuid(session),
                now,
                false,
            )
            .await?;
        Ok(found.map(|session| Session {
            is_present,
            ..session
        }))
    }

    /// A session that is known already, as it is now; `None` as for [`Store::session_resume`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn session_check(
        &self,
        clinic: ClinicId,
        id: SessionId,
        now: OffsetDateTime,
        touch: bool,
    ) -> Result<Option<Session>> {
        let actor = Actor::System(SystemActor::Login);
        let mut tx = self.begin_at(clinic, actor, RequestId::generate(), now).await?;
        if touch {
            sqlx::query(
                "UPDATE session SET seen_at = greatest(seen_at, $2) WHERE id = $1 AND seen_at + $3 <= $2
                     AND revoked_at IS NULL AND expires_at > $2 AND seen_at + $4 > $2",
            )
            .bind(id.as_uuid())
            .bind(now)
            .bind(interval(TOUCH_EVERY))
            .bind(interval(SESSION_IDLE))
            .execute(tx.db())
            .await?;
        }
        let found = tx.session_get(id).await;
        tx.commit().await?;
        match found {
            Ok(session) => Ok(Some(session)),
            // Ended or deactivated in this very moment.
            Err(StoreError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Tx {
    /// Opens a session for someone who gave this proof. From here on the transaction acts
    /// as that person.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the membership is of another clinic.
    pub async fn session_create(
        &mut self,
        who: &Membership,
        token: &SessionToken,
        proof: Factor,
        device_label: &str,
    ) -> Result<Session> {
        if who.clinic_id != self.clinic_id() {
            return Err(StoreError::NotFound);
        }
        let (id, now) = (SessionId::generate(), self.now());
        let clinic = self.clinic();
        sqlx::query(
            "INSERT INTO session (clinic_id, id, person_id, account_id, token_sha256, created_at, seen_at,
                 expires_at, confirmed_at, rotated_at, amr, authenticated_at, device_label)
             SELECT $1, $2, p.id, p.account_id, $5, $6, $6, $7, $6, $6, $8, $6, $9
             FROM person p WHERE p.id = $3 AND p.account_id = $4 AND p.active",
        )
        .bind(clinic)
        .bind(id.as_uuid())
        .bind(who.person_id.as_uuid())
        .bind(who.account_id.as_uuid())
        .bind(token.sha256())
        .bind(now)
        .bind(now + SESSION_LIFETIME)
        .bind(words(Proofs::only(proof)))
        .bind(device_label)
        .execute(self.db())
        .await?;
        let session = self.session_get(id).await?;
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

    pub(crate) async fn session_get(&mut self, id: SessionId) -> Result<Session> {
        #[derive(sqlx::FromRow)]
        struct Row {
            #[sqlx(flatten)]
            person: PersonRow,
            clinic_id: Uuid,
            name: String,
            time_zone: String,
            home_region: String,
            account_id: Uuid,
            expires_at: OffsetDateTime,
            amr: Vec<String>,
            authenticated_at: OffsetDateTime,
            csrf: Vec<u8>,
            rotated_at: OffsetDateTime,
            confirmed_at: Option<OffsetDateTime>,
            credentials: Vec<String>,
            totp: bool,
            passkeys: i64,
            recovery_codes: i64,
        }
        let now = self.now();
        let row: Row = sqlx::query_as(
            "SELECT p.id, p.display_name, NULL::bytea AS email, p.seal_version, p.locale, p.active, p.version,
                 (SELECT coalesce(array_agg(role), '{}') FROM person_role r
                  WHERE r.clinic_id = p.clinic_id AND r.person_id = p.id) AS roles,
                 c.id AS clinic_id, c.name, c.time_zone, c.home_region,
                 s.account_id, s.expires_at, s.amr, s.authenticated_at, s.csrf, s.rotated_at, s.confirmed_at,
                 credentials_held(p.id, $2) AS credentials,
                 EXISTS (SELECT FROM totp_factor f WHERE f.clinic_id = p.clinic_id AND f.person_id = p.id
                     AND f.confirmed_at IS NOT NULL) AS totp,
                 (SELECT count(*) FROM passkey k
                  WHERE k.clinic_id = p.clinic_id AND k.person_id = p.id) AS passkeys,
                 (SELECT count(*) FROM recovery_code r
                  WHERE r.clinic_id = p.clinic_id AND r.person_id = p.id AND r.used_at IS NULL) AS recovery_codes
             FROM session s
                 JOIN person p ON p.clinic_id = s.clinic_id AND p.id = s.person_id
                 JOIN clinic c ON c.id = p.clinic_id
             WHERE s.id = $1 AND p.active AND s.revoked_at IS NULL AND s.expires_at > $2 AND s.seen_at + $3 > $2",
        )
        .bind(id.as_uuid())
        .bind(now)
        .bind(interval(SESSION_IDLE))
        .fetch_optional(self.db())
        .await?
        .ok_or(StoreError::NotFound)?;
        let opener = self.opener(row.person.sealed()).await?;
        let count = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(Session {
            id,
            account_id: AccountId::from_uuid(row.account_id),
            clinic: clinic_from(row.clinic_id, row.name, &row.time_zone, &row.home_region)?,
            person: row.person.into_person(&opener)?,
            expires_at: row.expires_at,
            licensed: licensed_from(&row.credentials)?,
            proofs: proofs_from(&row.amr)?,
            authenticated_at: row.authenticated_at,
            enrolled: Enrolled {
                totp: row.totp,
                passkeys: count(row.passkeys),
                recovery_codes: count(row.recovery_codes),
            },
            csrf: URL_SAFE_NO_PAD.encode(row.csrf),
            is_present: true,
            rotated_at: row.rotated_at,
            confirmed_at: row.confirmed_at,
        })
    }
}

fn words(proofs: Proofs) -> Vec<&'static str> {
    proofs.iter().map(Factor::as_str).collect()
}

fn proofs_from(words: &[String]) -> Result<Proofs> {
    let factors = words.iter().map(|word| word.parse::<Factor>());
    factors
        .collect::<std::result::Result<Proofs, _>>()
        .map_err(|_| StoreError::corrupt("session.amr"))
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
