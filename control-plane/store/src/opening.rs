//! Opening a clinic: an operator's act, once for each.
//!
//! The row is the owner's to write, the first admin is sealed under the clinic's own keys, which there are
//! only once the row is: two transactions. Doing it again finds the clinic by its name and goes on.

use medmesh_base::{ClinicId, PersonId, RequestId};
use medmesh_clinic::audit::Action;
use medmesh_clinic::{Actor, Clinic, NewPerson, Person, SystemActor};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::seed::clinic_insert;
use crate::store::options;
use crate::{PasswordHash, Result, SetupError, Store, StoreError, Tx};

/// Held while a clinic is opened, so that two at once do not open two of one name. A number of ours.
const OPENING_LOCK: i64 = 0x6d65_646d_6f70;

/// Whom the clinic begins with.
#[derive(Clone, Debug)]
pub enum FirstAdmin {
    /// They are invited: now, or before and without having accepted.
    Invited(PersonId),
    /// Somebody is there already.
    Taken,
}

impl Store {
    /// The clinic of this name, opened if there is none, and its number. `owner_url` names the role
    /// `medmesh_owner`, as opening a clinic is not the service's to do.
    ///
    /// # Errors
    /// [`SetupError::Url`], [`SetupError::Store`].
    pub async fn clinic_open(owner_url: &str, clinic: &Clinic) -> Result<ClinicId, SetupError> {
        let mut connection = PgConnection::connect_with(&options(owner_url)?).await?;
        let mut tx = connection.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(OPENING_LOCK)
            .execute(&mut *tx)
            .await?;
        // The owner sees one clinic at a time, as everybody does; the gate's role sees which there are.
        sqlx::query("SET LOCAL ROLE medmesh_gate")
            .execute(&mut *tx)
            .await?;
        let known: Option<Uuid> =
            sqlx::query_scalar("SELECT id FROM clinic WHERE lower(name) = lower($1) LIMIT 1")
                .bind(&clinic.name)
                .fetch_optional(&mut *tx)
                .await?;
        sqlx::query("RESET ROLE").execute(&mut *tx).await?;
        if known.is_none() {
            clinic_insert(&mut tx, clinic).await?;
        }
        tx.commit().await?;
        connection.close().await?;
        Ok(known.map_or(clinic.id, ClinicId::from_uuid))
    }

    /// Begins what [`Tx::first_admin`] is called in.
    ///
    /// # Errors
    /// As [`Store::begin`].
    pub async fn begin_opening(&self, clinic: ClinicId) -> Result<Tx> {
        self.begin(clinic, Actor::System(SystemActor::Seed), RequestId::generate())
            .await
    }
}

impl Tx {
    /// Adds the first person of a clinic, who has no password yet; or finds them again, as long as they have
    /// accepted no invitation and nobody else is there. The clinic's log begins with this.
    ///
    /// # Errors
    /// [`StoreError::EmailTaken`], [`StoreError::NotFound`] without such a clinic.
    pub async fn first_admin(&mut self, admin: &NewPerson) -> Result<FirstAdmin> {
        // Two at once would both find nobody.
        let clinic: Option<Uuid> = sqlx::query_scalar("SELECT id FROM clinic FOR UPDATE")
            .fetch_optional(self.db())
            .await?;
        clinic.ok_or(StoreError::NotFound)?;
        let people: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM person LIMIT 2")
            .fetch_all(self.db())
            .await?;
        let [person] = people[..] else {
            if !people.is_empty() {
                return Ok(FirstAdmin::Taken);
            }
            self.audit(Action::ClinicUpdate, self.clinic_id(), None).await?;
            let Person { id, .. } = self.person_create(admin, &PasswordHash::none()).await?;
            return Ok(FirstAdmin::Invited(id));
        };
        let index = self.account_scope(None).await?.email_index(admin.email.expose());
        // An address that was mistyped is none of theirs, and a link for it none of the operator's to give.
        let is_waiting: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM person p JOIN account a ON a.id = p.account_id
                 WHERE p.id = $1 AND p.active AND a.email_index = $2)
                 AND NOT EXISTS (SELECT FROM audit WHERE action IN ('password_set', 'identity_link', 'login'))",
        )
        .bind(person)
        .bind(index)
        .fetch_one(self.db())
        .await?;
        Ok(if is_waiting {
            FirstAdmin::Invited(PersonId::from_uuid(person))
        } else {
            FirstAdmin::Taken
        })
    }
}
