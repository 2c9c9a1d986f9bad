//! The first people of a clinic: for `medmesh demo`, for tests, and for the
//! clinic an operator opens.

use medmesh_base::{ClinicId, PersonId, RequestId};
use medmesh_clinic::credential::Claim;
use medmesh_clinic::identity::TotpSecret;
use medmesh_clinic::identity::passkey::Credential;
use medmesh_clinic::{Actor, Clinic, Email, Invalid, NewPerson, Reason, Roles, Slot, SystemActor};
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use uuid::{Uuid, uuid};

use crate::session::PasswordHash;
use crate::store::options;
use crate::{NewAppointment, SetupError, Store, StoreError};

/// The clinic of the demo.
pub const DEMO_CLINIC: ClinicId = ClinicId::from_uuid(uuid!("01934a4e-7c00-7000-8000-000000000001"));

/// A person to be there.
#[derive(Clone, Debug)]
pub struct SeedPerson {
    /// Who.
    pub person: NewPerson,
    /// What they sign in with.
    pub password: PasswordHash,
    /// Their authenticator app, set up already.
    pub totp: Option<TotpSecret>,
    /// Their passkey, set up already.
    pub passkey: Option<Credential>,
    /// Licences and numbers that whoever seeds vouches for: verified from the start.
    pub credentials: Vec<Claim>,
}

/// An appointment to be there, unless one of the two is busy then.
#[derive(Clone, Debug)]
pub struct SeedAppointment {
    /// The patient's address.
    pub patient: Email,
    /// The clinician's address.
    pub clinician: Email,
    /// When.
    pub slot: Slot,
    /// Why.
    pub reason: Option<Reason>,
}

/// What should be there.
#[derive(Clone, Debug)]
pub struct Seed {
    /// The clinic. Its id is what makes seeding twice the same as once.
    pub clinic: Clinic,
    /// Its people.
    pub people: Vec<SeedPerson>,
    /// Their appointments.
    pub appointments: Vec<SeedAppointment>,
}

/// One seeded person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeded {
    /// What they sign in with.
    pub email: Email,
    /// The person.
    pub person_id: PersonId,
    /// What they are.
    pub roles: Roles,
    /// Whether they were added now. Somebody who was there keeps name and password.
    pub created: bool,
}

impl Store {
    /// Sees to it that a clinic, its people and appointments exist, and says who
    /// is there. Doing it again adds only what is missing. `owner_url` names the
    /// role `medmesh_owner`, as opening a clinic is not the service's to do.
    ///
    /// # Errors
    /// [`SetupError::Url`], [`SetupError::Store`].
    pub async fn seed(&self, owner_url: &str, seed: &Seed) -> Result<Vec<Seeded>, SetupError> {
        open_clinic(owner_url, &seed.clinic).await?;
        let mut people = Vec::with_capacity(seed.people.len());
        for person in &seed.people {
            people.push(self.seed_person(seed.clinic.id, person).await?);
        }
        for appointment in &seed.appointments {
            self.seed_appointment(seed.clinic.id, &people, appointment)
                .await?;
        }
        Ok(people)
    }

    async fn seed_person(&self, clinic: ClinicId, seed: &SeedPerson) -> Result<Seeded, StoreError> {
        let mut tx = self
            .begin(clinic, Actor::System(SystemActor::Seed), RequestId::generate())
            .await?;
        let index = self.email_index(&seed.person.email).await?;
        let known: Option<Uuid> = sqlx::query_scalar(
            "SELECT p.id FROM person p JOIN account a ON a.id = p.account_id WHERE a.email_index = $1",
        )
        .bind(index)
        .fetch_optional(tx.db())
        .await?;
        let person_id = match known {
            Some(id) => PersonId::from_uuid(id),
            None => {
                let id = tx.person_create(&seed.person, &seed.password).await?.id;
                tx.factors_seed(id, seed.person.roles, seed.totp.as_ref(), seed.passkey.as_ref())
                    .await?;
                id
            }
        };
        tx.credentials_seed(person_id, &seed.credentials).await?;
        tx.commit().await?;
        Ok(Seeded {
            email: seed.person.email.clone(),
            person_id,
            roles: seed.person.roles,
            created: known.is_none(),
        })
    }

    async fn seed_appointment(
        &self,
        clinic: ClinicId,
        people: &[Seeded],
        seed: &SeedAppointment,
    ) -> Result<(), StoreError> {
        let id_of = |email: &Email| {
            let seeded = people.iter().find(|person| person.email == *email);
            seeded
                .map(|person| person.person_id)
                .ok_or(StoreError::Invalid(Invalid::Email))
        };
        let new = NewAppointment {
            patient_id: id_of(&seed.patient)?,
            clinician_id: id_of(&seed.clinician)?,
            slot: seed.slot,
            reason: seed.reason.clone(),
            segment: medmesh_clinic::Segment::General,
        };
        let mut tx = self
            .begin(clinic, Actor::System(SystemActor::Seed), RequestId::generate())
            .await?;
        match tx.appointment_create(&new).await {
            Ok(_) => tx.commit().await,
            Err(StoreError::SlotTaken) => tx.rollback().await,
            Err(error) => Err(error),
        }
    }
}

async fn open_clinic(owner_url: &str, clinic: &Clinic) -> Result<(), SetupError> {
    let mut connection = PgConnection::connect_with(&options(owner_url)?).await?;
    let mut tx = connection.begin().await?;
    clinic_insert(&mut tx, clinic).await?;
    tx.commit().await?;
    connection.close().await?;
    Ok(())
}

/// Writes a clinic's row, as the owner; one that is there stays as it is.
pub(crate) async fn clinic_insert(connection: &mut PgConnection, clinic: &Clinic) -> Result<(), StoreError> {
    sqlx::query("SELECT set_config('medmesh.clinic_id', $1, true)")
        .bind(clinic.id.to_string())
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO clinic (id, name, time_zone, home_region, created_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(clinic.id.as_uuid())
    .bind(&clinic.name)
    .bind(clinic.time_zone.as_str())
    .bind(clinic.home_region.as_str())
    .bind(OffsetDateTime::now_utc())
    .execute(&mut *connection)
    .await?;
    Ok(())
}
