//! Patients who register themselves: asked for, proved by mail, completed.

use medmesh_base::{ClinicId, RequestId};
use medmesh_clinic::identity::REGISTRATION_LIFETIME;
use medmesh_clinic::{Actor, Email, Locale, NewPerson, Person, Refusal, Role, Roles, SystemActor, authz};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::keys::{Column, Owner, Sealed, WRITTEN_ONCE};
use crate::relationship::Target;
use crate::{JobKind, JobOptions, LinkToken, PasswordHash, Result, Store, StoreError, Tx};

/// Most registrations of one clinic that may wait for their mailbox at once: a day of a
/// campaign, and little enough for a table that anybody can write to.
pub const REGISTRATIONS_OPEN_MAX: i64 = 5_000;

/// The job that writes to whoever asked to register: what there is to say depends on whether
/// the address is known, and is found out there, so that asking takes the same for every address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RegistrationSend {
    /// The registration.
    pub id: Uuid,
}

impl JobKind for RegistrationSend {
    const KIND: &'static str = "registration_send";
    /// As for a forgotten password: whoever waits gives up soon.
    const ATTEMPTS_MAX: u32 = 8;
}

/// A registration whose mailbox is to be proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Where the mail goes.
    pub email: Email,
    /// In which language.
    pub locale: Locale,
    /// Whether somebody signs in with this address already.
    pub is_known: bool,
}

/// A registration whose mailbox is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvedRegistration {
    /// Where.
    pub clinic_id: ClinicId,
    id: Uuid,
}

impl Store {
    /// Notes that somebody asks to register. Does the same for every address.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where the clinic does not take registrations, or is none;
    /// [`StoreError::Unavailable`] when too many wait.
    pub async fn registration_request(
        &self,
        clinic: ClinicId,
        email: &Email,
        locale: Locale,
        request: RequestId,
    ) -> Result<()> {
        let index = self.email_index(email).await?;
        let actor = Actor::System(SystemActor::Registration);
        let mut tx = self.begin(clinic, actor, request).await?;
        tx.registration_offered().await?;
        tx.registration_insert(email, locale, &index).await?;
        tx.commit().await
    }

    /// The registration a link completes, while it is good.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn registration_lookup(
        &self,
        token: &LinkToken,
        now: OffsetDateTime,
    ) -> Result<Option<ProvedRegistration>> {
        let row: Option<(Uuid, Uuid)> =
            sqlx::query_as("SELECT clinic_id, id FROM registration_lookup($1, $2)")
                .bind(token.sha256())
                .bind(now)
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(|(clinic, id)| ProvedRegistration {
            clinic_id: ClinicId::from_uuid(clinic),
            id,
        }))
    }
}

impl Tx {
    async fn registration_offered(&mut self) -> Result<()> {
        let offered: Option<bool> = sqlx::query_scalar("SELECT self_registration FROM clinic")
            .fetch_optional(self.db())
            .await?;
        if offered == Some(true) {
            Ok(())
        } else {
            Err(StoreError::NotFound)
        }
    }

    async fn registration_insert(&mut self, email: &Email, locale: Locale, index: &[u8]) -> Result<()> {
        let (id, clinic, now) = (Uuid::now_v7(), self.clinic(), self.now());
        // Asking again replaces what was asked before, and its link.
        sqlx::query("DELETE FROM registration WHERE email_index = $1")
            .bind(index)
            .execute(self.db())
            .await?;
        let open: i64 = sqlx::query_scalar("SELECT count(*) FROM registration")
            .fetch_one(self.db())
            .await?;
        if open >= REGISTRATIONS_OPEN_MAX {
            return Err(StoreError::Crowded);
        }
        let sealed = self
            .seal(
                Column::RegistrationEmail,
                id,
                WRITTEN_ONCE,
                Owner::Clinic,
                email.expose().as_bytes(),
            )
            .await?;
        sqlx::query(
            "INSERT INTO registration (clinic_id, id, email_index, email, locale, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(clinic)
        .bind(id)
        .bind(index)
        .bind(sealed)
        .bind(locale.as_str())
        .bind(now)
        .bind(now + REGISTRATION_LIFETIME)
        .execute(self.db())
        .await?;
        self.job_add(&RegistrationSend { id }, JobOptions::default())
            .await?;
        Ok(())
    }

    /// What a registration needs its mail for.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it is gone, or its time is over.
    pub async fn registration_get(&mut self, id: Uuid) -> Result<Registration> {
        let now = self.now();
        let row: Option<(Vec<u8>, String, bool)> = sqlx::query_as(
            "SELECT email, locale, EXISTS (SELECT FROM login_lookup(email_index)) FROM registration
             WHERE id = $1 AND expires_at > $2",
        )
        .bind(id)
        .bind(now)
        .fetch_optional(self.db())
        .await?;
        let (email, locale, is_known) = row.ok_or(StoreError::NotFound)?;
        Ok(Registration {
            email: self.registration_email(id, &email).await?,
            locale: locale
                .parse()
                .map_err(|_| StoreError::corrupt("registration.locale"))?,
            is_known,
        })
    }

    async fn registration_email(&mut self, id: Uuid, bytes: &[u8]) -> Result<Email> {
        let column = Column::RegistrationEmail;
        let sealed = Sealed {
            column,
            row: id,
            version: WRITTEN_ONCE,
            patient: None,
            bytes,
        };
        let email = self.opener([sealed]).await?.text(&sealed)?;
        email
            .expose()
            .parse()
            .map_err(|_| StoreError::corrupt(column.path()))
    }

    /// Gives a registration its link; the one before is no longer good.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it is gone.
    pub async fn registration_link(&mut self, id: Uuid, token: &LinkToken) -> Result<()> {
        let now = self.now();
        let given =
            sqlx::query("UPDATE registration SET token_sha256 = $2 WHERE id = $1 AND expires_at > $3")
                .bind(id)
                .bind(token.sha256())
                .bind(now)
                .execute(self.db())
                .await?;
        if given.rows_affected() == 1 {
            Ok(())
        } else {
            Err(StoreError::NotFound)
        }
    }

    /// Forgets a registration there is nothing to complete of.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn registration_forget(&mut self, id: Uuid) -> Result<()> {
        sqlx::query("DELETE FROM registration WHERE id = $1")
            .bind(id)
            .execute(self.db())
            .await?;
        Ok(())
    }

    /// The address of a registration whose link was followed.
    ///
    /// # Errors
    /// [`Refusal::LinkSpent`] when another request completed it first.
    pub async fn registration_address(&mut self, proved: &ProvedRegistration) -> Result<Email> {
        match self.registration_get(proved.id).await {
            Ok(found) => Ok(found.email),
            Err(StoreError::NotFound) => Err(Refusal::LinkSpent.into()),
            Err(error) => Err(error),
        }
    }

    /// Completes a registration: a patient, and nothing else, whatever was asked for.
    ///
    /// # Errors
    /// [`Refusal::LinkSpent`] when another request completed it first; [`StoreError::NotFound`] where
    /// the clinic no longer takes registrations; [`StoreError::EmailTaken`].
    pub async fn registration_complete(
        &mut self,
        proved: &ProvedRegistration,
        display_name: medmesh_clinic::DisplayName,
        password: &PasswordHash,
    ) -> Result<Person> {
        self.authorise(authz::Action::PersonRegister, Target::Clinic)
            .await?;
        self.registration_offered().await?;
        let now = self.now();
        let row: Option<(Vec<u8>, String)> = sqlx::query_as(
            "DELETE FROM registration WHERE id = $1 AND expires_at > $2 RETURNING email, locale",
        )
        .bind(proved.id)
        .bind(now)
        .fetch_optional(self.db())
        .await?;
        let (email, locale) = row.ok_or(Refusal::LinkSpent)?;
        let new = NewPerson {
            display_name,
            email: self.registration_email(proved.id, &email).await?,
            roles: Roles::only(Role::Patient),
            locale: locale
                .parse()
                .map_err(|_| StoreError::corrupt("registration.locale"))?,
        };
        self.person_insert(&new, password).await
    }
}
