//! A clinic with people in it.

use medmesh_base::{AccountId, ClinicId, PersonId, ProblemCode, RequestId, SessionId};
use medmesh_clinic::credential::{Claim, LICENSED};
use medmesh_clinic::{Actor, Appointment, Caller, Clinic, Locale, NewPerson, Role, Roles, Slot};
use medmesh_store::embedded::scratch::Scratch;
use medmesh_store::seed::{Seed, SeedPerson};
use medmesh_store::{NewAppointment, PasswordHash, Store, StoreError, Tx};
use sqlx::{Connection as _, PgConnection};
use time::{Duration, OffsetDateTime};

pub(crate) const PHC: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaA";

/// A scratch database with one clinic and its people.
pub(crate) struct World {
    pub(crate) scratch: Scratch,
    pub(crate) store: Store,
    pub(crate) clinic: ClinicId,
    pub(crate) people: People,
}

/// The people of a clinic, as callers.
#[derive(Clone, Copy)]
pub(crate) struct People {
    pub(crate) admin: Caller,
    pub(crate) clinician: Caller,
    pub(crate) colleague: Caller,
    pub(crate) patient: Caller,
    pub(crate) other_patient: Caller,
}

pub(crate) async fn world() -> World {
    world_with(16).await
}

pub(crate) async fn world_with(connections: u32) -> World {
    let scratch = Scratch::database().await.unwrap();
    let store = scratch.store(connections).await.unwrap();
    let (clinic, people) = add_clinic(&scratch, &store, "a").await;
    World {
        scratch,
        store,
        clinic,
        people,
    }
}

/// Opens a clinic whose people's addresses end in `@<tag>.example`.
pub(crate) async fn add_clinic(scratch: &Scratch, store: &Store, tag: &str) -> (ClinicId, People) {
    let clinic = Clinic {
        id: ClinicId::generate(),
        name: format!("Clinic {tag}"),
        time_zone: "America/New_York".parse().unwrap(),
        home_region: "us-east".parse().unwrap(),
    };
    let people = [
        ("admin", Role::Admin),
        ("clinician", Role::Clinician),
        ("colleague", Role::Clinician),
        ("patient", Role::Patient),
        ("other", Role::Patient),
    ];
    let people = people.map(|(name, role)| SeedPerson {
        person: new_person(&format!("{name}@{tag}.example"), Roles::only(role)),
        password: PasswordHash::from_phc(PHC.to_owned()),
        totp: None,
        passkey: None,
        credentials: Claim::made_up(role),
    });
    let seed = Seed {
        clinic,
        people: people.to_vec(),
        appointments: Vec::new(),
    };
    let seeded = store.seed(&scratch.owner_url, &seed).await.unwrap();
    let mut callers = Vec::new();
    for person in &seeded {
        let login = store.login_lookup(&person.email).await.unwrap().unwrap();
        callers.push(caller(
            login.memberships[0].account_id,
            person.person_id,
            person.roles,
        ));
    }
    let [admin, clinician, colleague, patient, other_patient] = callers.try_into().unwrap();
    (
        seed.clinic.id,
        People {
            admin,
            clinician,
            colleague,
            patient,
            other_patient,
        },
    )
}

pub(crate) fn caller(account_id: AccountId, person_id: PersonId, roles: Roles) -> Caller {
    Caller {
        account_id,
        person_id,
        session_id: SessionId::generate(),
        roles,
        licensed: LICENSED,
        second_factor: false,
        stepped_up_at: None,
    }
}

pub(crate) fn new_person(email: &str, roles: Roles) -> NewPerson {
    NewPerson {
        display_name: format!("Name of {}", email.split('@').next().unwrap())
            .parse()
            .unwrap(),
        email: email.parse().unwrap(),
        roles,
        locale: Locale::En,
    }
}

impl World {
    pub(crate) async fn begin(&self, caller: Caller) -> Tx {
        self.store
            .begin(self.clinic, Actor::Person(caller), RequestId::generate())
            .await
            .unwrap()
    }

    pub(crate) async fn begin_at(&self, caller: Caller, now: OffsetDateTime) -> Tx {
        let actor = Actor::Person(caller);
        self.store
            .begin_at(self.clinic, actor, RequestId::generate(), now)
            .await
            .unwrap()
    }

    /// An appointment of patient and clinician.
    pub(crate) async fn book(&self, slot: Slot) -> Appointment {
        let mut tx = self.begin(self.people.clinician).await;
        let appointment = tx.appointment_create(&self.new_appointment(slot)).await.unwrap();
        tx.commit().await.unwrap();
        appointment
    }

    pub(crate) fn new_appointment(&self, slot: Slot) -> NewAppointment {
        NewAppointment {
            patient_id: self.people.patient.person_id,
            clinician_id: self.people.clinician.person_id,
            slot,
            reason: Some("a very private reason".parse().unwrap()),
            segment: medmesh_clinic::Segment::General,
        }
    }

    /// Behind the scenes: past row-level security.
    pub(crate) async fn admin(&self) -> PgConnection {
        PgConnection::connect(&self.scratch.admin_url).await.unwrap()
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql)
            .fetch_one(&mut self.admin().await)
            .await
            .unwrap()
    }
}

/// What an operation was refused with, as the caller would be told.
pub(crate) fn told<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> ProblemCode {
    outcome.expect_err("refused").problem()
}

/// Half an hour, `n` half hours after tomorrow's midnight.
pub(crate) fn slot(n: i64) -> Slot {
    let midnight = OffsetDateTime::now_utc().replace_time(time::Time::MIDNIGHT) + Duration::days(1);
    let starts_at = midnight + Duration::minutes(30 * n);
    Slot::new(starts_at, starts_at + Duration::minutes(30)).unwrap()
}

/// Half an hour from now on.
pub(crate) fn slot_now() -> Slot {
    let now = OffsetDateTime::now_utc();
    Slot::new(now, now + Duration::minutes(30)).unwrap()
}
