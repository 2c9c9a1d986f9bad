//! Second factors of a person: an authenticator app and recovery codes.

use medmesh_base::{PersonId, Phi};
use medmesh_clinic::audit::{Action, Object, ObjectKind};
use medmesh_clinic::identity::passkey::Credential;
use medmesh_clinic::identity::{Enrolled, RecoveryCode, TotpSecret, needs_second_factor};
use medmesh_clinic::{Refusal, Roles, Version};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::factor_name::{NameRow, name_columns, name_join};
use crate::keys::{Column, Owner, Sealed, WRITTEN_ONCE};
use crate::person::patient_of;
use crate::{PasswordHash, Result, StoreError, Tx};

/// How long setting up an app may take: finding the phone, installing, scanning.
pub const TOTP_PENDING_FOR: Duration = Duration::minutes(15);

/// The factors of a person, as they see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Factors {
    /// What there is.
    pub enrolled: Enrolled,
    /// The authenticator app, if there is one.
    pub totp: Option<TotpEntry>,
}

/// An authenticator app, as its owner recognises it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TotpEntry {
    /// Since when.
    pub since: OffsetDateTime,
    /// What its owner calls it, if they said.
    pub name: Option<Phi<String>>,
    /// Grows with every naming; 0 before the first.
    pub version: Version,
}

#[derive(sqlx::FromRow)]
struct TotpRow {
    id: Uuid,
    confirmed_at: OffsetDateTime,
    #[sqlx(flatten)]
    name: NameRow,
}

impl Tx {
    /// What the caller can prove themselves with.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when nobody is signed in.
    pub async fn factors(&mut self) -> Result<Factors> {
        let person = self.own_person()?;
        let totp = self.totp_entry(person).await?;
        let (passkeys, codes): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM passkey WHERE person_id = $1),
                 (SELECT count(*) FROM recovery_code WHERE person_id = $1 AND used_at IS NULL)",
        )
        .bind(person.as_uuid())
        .fetch_one(self.db())
        .await?;
        let count = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
        let enrolled = Enrolled {
            totp: totp.is_some(),
            passkeys: count(passkeys),
            recovery_codes: count(codes),
        };
        Ok(Factors { enrolled, totp })
    }

    async fn totp_entry(&mut self, person: PersonId) -> Result<Option<TotpEntry>> {
        let row: Option<TotpRow> = sqlx::query_as(concat!(
            "SELECT k.id, k.confirmed_at, ",
            name_columns!(),
            "FROM totp_factor k",
            name_join!(),
            "WHERE k.person_id = $1 AND k.confirmed_at IS NOT NULL",
        ))
        .bind(person.as_uuid())
        .fetch_optional(self.db())
        .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let opener = self.opener(row.name.sealed(row.id, person)).await?;
        let (name, version) = row.name.read(row.id, person, &opener)?;
        Ok(Some(TotpEntry {
            since: row.confirmed_at,
            name,
            version,
        }))
    }

    /// Begins to set up an app, in place of one that was begun before.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when nobody is signed in.
    pub async fn totp_begin(&mut self, secret: &TotpSecret) -> Result<()> {
        let person = self.own_person()?;
        let roles = self.actor().caller().ok_or(StoreError::NotFound)?.roles;
        sqlx::query("DELETE FROM totp_factor WHERE person_id = $1 AND confirmed_at IS NULL")
            .bind(person.as_uuid())
            .execute(self.db())
            .await?;
        self.totp_insert(person, roles, secret, None).await
    }

    async fn totp_insert(
        &mut self,
        person: PersonId,
        roles: Roles,
        secret: &TotpSecret,
        confirmed_at: Option<OffsetDateTime>,
    ) -> Result<()> {
        let (id, clinic, now) = (Uuid::now_v7(), self.clinic(), self.now());
        let owner = Owner::of(patient_of(person, roles));
        let sealed = self
            .seal(Column::TotpFactorSecret, id, WRITTEN_ONCE, owner, secret.expose())
            .await?;
        sqlx::query(
            "INSERT INTO totp_factor (clinic_id, id, person_id, secret, created_at, confirmed_at)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(clinic)
        .bind(id)
        .bind(person.as_uuid())
        .bind(sealed)
        .bind(now)
        .bind(confirmed_at)
        .execute(self.db())
        .await?;
        Ok(())
    }

    /// Gives a new person factors that are set up already.
    pub(crate) async fn factors_seed(
        &mut self,
        person: PersonId,
        roles: Roles,
        totp: Option<&TotpSecret>,
        passkey: Option<&Credential>,
    ) -> Result<()> {
        if let Some(secret) = totp {
            let now = self.now();
            self.totp_insert(person, roles, secret, Some(now)).await?;
        }
        if let Some(passkey) = passkey {
            self.passkey_insert(person, passkey, "").await?;
        }
        Ok(())
    }

    /// Puts the app that was begun into use if `code` is its, in place of the one before.
    /// `false` for a wrong code.
    ///
    /// # Errors
    /// [`Refusal::EnrolmentNotBegun`] when there is none, or it took too long.
    pub async fn totp_confirm(&mut self, code: &str) -> Result<bool> {
        let (person, now) = (self.own_person()?, self.now());
        let pending: Option<(Uuid, Vec<u8>)> = sqlx::query_as(
            "SELECT id, secret FROM totp_factor
             WHERE person_id = $1 AND confirmed_at IS NULL AND created_at > $2 FOR UPDATE",
        )
        .bind(person.as_uuid())
        .bind(now - TOTP_PENDING_FOR)
        .fetch_optional(self.db())
        .await?;
        let (id, secret) = pending.ok_or(Refusal::EnrolmentNotBegun)?;
        let secret = self.totp_open(person, id, &secret).await?;
        let Some(step) = secret.check(code, unix_seconds(now), 0) else {
            return Ok(false);
        };
        let before: Option<Uuid> = sqlx::query_scalar(
            "DELETE FROM totp_factor WHERE person_id = $1 AND confirmed_at IS NOT NULL RETURNING id",
        )
        .bind(person.as_uuid())
        .fetch_optional(self.db())
        .await?;
        if let Some(before) = before {
            self.factor_name_forget(before).await?;
        }
        sqlx::query("UPDATE totp_factor SET confirmed_at = $2, last_step = $3 WHERE id = $1")
            .bind(id)
            .bind(now)
            .bind(i64::try_from(step).map_err(|_| StoreError::corrupt("totp_factor.last_step"))?)
            .execute(self.db())
            .await?;
        self.audit(Action::FactorEnrol, Object::of(ObjectKind::Factor, id), None)
            .await?;
        Ok(true)
    }

    async fn totp_open(&mut self, person: PersonId, id: Uuid, bytes: &[u8]) -> Result<TotpSecret> {
        let column = Column::TotpFactorSecret;
        let sealed = Sealed {
            column,
            row: id,
            version: WRITTEN_ONCE,
            patient: Some(person),
            bytes,
        };
        TotpSecret::from_bytes(&self.open(&sealed).await?).ok_or(StoreError::corrupt(column.path()))
    }

    /// Whether `code` is the present one of the caller's app, and was not used before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn totp_use(&mut self, code: &str) -> Result<bool> {
        let (person, now) = (self.own_person()?, self.now());
        // Locked, so that of two requests with the same code one sees what the other used.
        let row: Option<(Uuid, Vec<u8>, i64)> = sqlx::query_as(
            "SELECT id, secret, last_step FROM totp_factor
             WHERE person_id = $1 AND confirmed_at IS NOT NULL FOR UPDATE",
        )
        .bind(person.as_uuid())
        .fetch_optional(self.db())
        .await?;
        let Some((id, secret, last_step)) = row else {
            return Ok(false);
        };
        let last_step = u64::try_from(last_step).map_err(|_| StoreError::corrupt("totp_factor.last_step"))?;
        let secret = self.totp_open(person, id, &secret).await?;
        let Some(step) = secret.check(code, unix_seconds(now), last_step) else {
            return Ok(false);
        };
        sqlx::query("UPDATE totp_factor SET last_step = $2 WHERE id = $1")
            .bind(id)
            .bind(i64::try_from(step).map_err(|_| StoreError::corrupt("totp_factor.last_step"))?)
            .execute(self.db())
            .await?;
        Ok(true)
    }

    /// Forgets the caller's app.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is none; [`Refusal::LastFactor`] when it is the
    /// only second factor of someone who needs one.
    pub async fn totp_remove(&mut self) -> Result<()> {
        let person = self.own_person()?;
        let id: Uuid = sqlx::query_scalar(
            "DELETE FROM totp_factor WHERE person_id = $1 AND confirmed_at IS NOT NULL RETURNING id",
        )
        .bind(person.as_uuid())
        .fetch_optional(self.db())
        .await?
        .ok_or(StoreError::NotFound)?;
        self.keeps_a_factor().await?;
        self.factor_name_forget(id).await?;
        self.audit(Action::FactorRemove, Object::of(ObjectKind::Factor, id), None)
            .await
    }

    /// Gives the caller new recovery codes; the old ones are no longer good.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recovery_codes_replace(&mut self, codes: &[RecoveryCode]) -> Result<()> {
        let (person, clinic, now) = (self.own_person()?, self.clinic(), self.now());
        sqlx::query("DELETE FROM recovery_code WHERE person_id = $1")
            .bind(person.as_uuid())
            .execute(self.db())
            .await?;
        let hashes: Vec<Vec<u8>> = codes.iter().map(|code| code.sha256(person).to_vec()).collect();
        sqlx::query(
            "INSERT INTO recovery_code (clinic_id, person_id, code_sha256, created_at)
             SELECT $1, $2, code, $3 FROM unnest($4::bytea[]) AS code",
        )
        .bind(clinic)
        .bind(person.as_uuid())
        .bind(now)
        .bind(hashes)
        .execute(self.db())
        .await?;
        self.audit(Action::RecoveryCodesCreate, person, None).await
    }

    /// Whether `code` is an unused one of the caller's; now it is used.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recovery_code_use(&mut self, code: &RecoveryCode) -> Result<bool> {
        let (person, now) = (self.own_person()?, self.now());
        let used = sqlx::query(
            "UPDATE recovery_code SET used_at = $3 WHERE person_id = $1 AND code_sha256 = $2 AND used_at IS NULL",
        )
        .bind(person.as_uuid())
        .bind(code.sha256(person).as_slice())
        .bind(now)
        .execute(self.db())
        .await?;
        Ok(used.rows_affected() == 1)
    }

    /// What the caller's password must match.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when nobody is signed in.
    pub async fn password_hash(&mut self) -> Result<PasswordHash> {
        let account = self.actor().caller().ok_or(StoreError::NotFound)?.account_id;
        let phc: Option<String> = sqlx::query_scalar("SELECT password_lookup($1)")
            .bind(account.as_uuid())
            .fetch_one(self.db())
            .await?;
        phc.map(PasswordHash::from_phc).ok_or(StoreError::NotFound)
    }

    /// Records that the caller proved themselves with something beside the password.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn second_factor_verified(&mut self) -> Result<()> {
        let person = self.own_person()?;
        self.audit(Action::SecondFactorVerify, person, None).await
    }

    /// Records that the caller failed to.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn second_factor_refused(&mut self) -> Result<()> {
        let person = self.own_person()?;
        self.audit(Action::SecondFactorRefused, person, None).await
    }

    /// Whether this is the first use in the whole cluster of what hashes to `sha256`. It is
    /// remembered until `until`, after which the thing itself must not be good any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn use_once(&mut self, sha256: [u8; 32], until: OffsetDateTime) -> Result<bool> {
        let now = self.now();
        let first = sqlx::query_scalar("SELECT use_once($1, $2, $3)")
            .bind(sha256.as_slice())
            .bind(now)
            .bind(until)
            .fetch_one(self.db())
            .await?;
        Ok(first)
    }

    /// Refuses to leave somebody without the second factor they must have.
    pub(crate) async fn keeps_a_factor(&mut self) -> Result<()> {
        let roles = self.actor().caller().ok_or(StoreError::NotFound)?.roles;
        let left = self.factors().await?.enrolled;
        if needs_second_factor(roles) && !left.has_second_factor() {
            return Err(Refusal::LastFactor.into());
        }
        Ok(())
    }

    pub(crate) fn own_person(&self) -> Result<PersonId> {
        Ok(self.actor().caller().ok_or(StoreError::NotFound)?.person_id)
    }
}

fn unix_seconds(now: OffsetDateTime) -> u64 {
    u64::try_from(now.unix_timestamp()).unwrap_or(0)
}
