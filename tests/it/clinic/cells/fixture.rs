//! One record per relation, consent and segment, and one caller per role to ask about it.
//! Rows of relations are written past the service: what a cell is must not depend on what it tests.

use std::collections::HashMap;

use medmesh_api_types::session::SESSION_COOKIE;
use medmesh_base::{ClinicId, PersonId, RequestId};
use medmesh_clinic::credential::{Claim, CredentialKind};
use medmesh_clinic::identity::Factor;
use medmesh_clinic::{Actor, Locale, NewPerson, Role, Roles, SystemActor};
use medmesh_store::{Membership, PasswordHash, SessionToken, Store};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{CONSENTS, Cell, Consent, LICENSED, RELATIONS, ROLES, Relation, SEGMENTS};
use crate::clinic::World;
use medmesh_tests::control::TestClinic;

/// Somebody with a session.
pub(super) struct Caller {
    person: Uuid,
    pub(super) cookie: String,
    pub(super) csrf: String,
}

/// An appointment and its visit.
pub(super) struct Record {
    pub(super) appointment: Uuid,
    pub(super) visit: Uuid,
    pub(super) patient: Uuid,
    pub(super) clinician: Uuid,
}

type Key = (Relation, Consent, &'static str, Option<&'static str>);

pub(super) struct Fixture {
    /// The one the records are of, and another.
    pub(super) clinics: [ClinicId; 2],
    callers: HashMap<(bool, &'static str, Consent), Caller>,
    unverified: HashMap<&'static str, Caller>,
    records: HashMap<Key, Record>,
    /// By patient: a place on their care team and a referral, both a colleague's.
    ends: HashMap<Uuid, (Uuid, Uuid)>,
    /// By whose it is.
    credentials: HashMap<Uuid, Uuid>,
}

impl Caller {
    pub(super) const fn person(&self) -> Uuid {
        self.person
    }
}

/// Relations in which the caller is part of the record itself: one record for each role.
fn is_within(relation: Relation) -> bool {
    matches!(relation, Relation::Own | Relation::Host)
}

impl Fixture {
    pub(super) async fn build(world: &World) -> Self {
        let store = world.scratch.store(2).await.unwrap();
        let other = TestClinic::open(&world.scratch, "hillside").await;
        let mut admin = world.admin().await;
        let mut callers = HashMap::new();
        for (is_foreign, clinic) in [(false, world.clinic.id), (true, other.id)] {
            for role in ROLES {
                // A patient's consents are about their own record: one caller for each.
                for consent in CONSENTS {
                    let name = format!("{role}-{consent:?}-{is_foreign}").to_lowercase();
                    let caller = caller(&store, &mut admin, clinic, &name, role).await;
                    callers.insert((is_foreign, role, consent), caller);
                }
            }
        }
        let mut unverified = HashMap::new();
        for role in LICENSED {
            let caller = caller(
                &store,
                &mut admin,
                world.clinic.id,
                &format!("unverified-{role}"),
                role,
            )
            .await;
            run(
                &mut admin,
                "UPDATE credential SET status = 'pending' WHERE person_id = $1",
                &[caller.person],
            )
            .await;
            unverified.insert(role, caller);
        }
        let mut fixture = Self {
            clinics: [world.clinic.id, other.id],
            callers,
            unverified,
            records: HashMap::new(),
            ends: HashMap::new(),
            credentials: HashMap::new(),
        };
        for relation in RELATIONS {
            for consent in CONSENTS {
                fixture.relate(world, &store, &mut admin, relation, consent).await;
            }
        }
        fixture.credentials = sqlx::query_as("SELECT person_id, id FROM credential")
            .fetch_all(&mut admin)
            .await
            .unwrap()
            .into_iter()
            .collect();
        fixture.care_that_may_end(world, &mut admin).await;
        store.close().await;
        fixture
    }

    /// Somebody who asks for nothing here is on every team, and every patient was referred to them.
    async fn care_that_may_end(&mut self, world: &World, admin: &mut PgConnection) {
        let (clinic, colleague) = (world.clinic.id, world.clinic.person("colleague").as_uuid());
        let patients: std::collections::HashSet<Uuid> =
            self.records.values().map(|record| record.patient).collect();
        for patient in patients {
            let (member, referral) = (Uuid::now_v7(), Uuid::now_v7());
            run(
                admin,
                "INSERT INTO care_team (clinic_id, id, patient_id, person_id, role, from_at, added_by)
                 VALUES ($1, $2, $3, $4, 'clinician', now() - interval '1 day', $4)",
                &[clinic.as_uuid(), member, patient, colleague],
            )
            .await;
            run(
                admin,
                "INSERT INTO referral (clinic_id, id, patient_id, from_id, to_id, created_at, until_at)
                 VALUES ($1, $2, $3, $5, $4, now() - interval '1 day', now() + interval '1 day')",
                &[
                    clinic.as_uuid(),
                    referral,
                    patient,
                    colleague,
                    world.clinic.person("clinician").as_uuid(),
                ],
            )
            .await;
            self.ends.insert(patient, (member, referral));
        }
    }

    /// A place on the patient's care team, and a referral of theirs.
    pub(super) fn ends(&self, patient: Uuid) -> (Uuid, Uuid) {
        self.ends[&patient]
    }

    /// A credential of this person; anybody's, where they have none.
    pub(super) fn credential(&self, person: Uuid) -> Uuid {
        let own = self.credentials.get(&person);
        *own.unwrap_or_else(|| &self.credentials[&self.waiting()])
    }

    /// Somebody whose licence nobody has looked at.
    pub(super) fn waiting(&self) -> Uuid {
        self.unverified[LICENSED[0]].person
    }

    /// Somebody of the clinic whose licence is verified.
    pub(super) fn verified(&self, role: &'static str) -> Uuid {
        self.callers[&(false, role, Consent::Unasked)].person
    }

    pub(super) fn caller(&self, cell: &Cell) -> &Caller {
        if cell.is_verified {
            &self.callers[&(cell.is_foreign, cell.role, cell.consent)]
        } else {
            &self.unverified[cell.role]
        }
    }

    pub(super) fn record(&self, cell: &Cell) -> &Record {
        let role = is_within(cell.relation).then_some(cell.role);
        &self.records[&(cell.relation, cell.consent, cell.segment, role)]
    }

    async fn relate(
        &mut self,
        world: &World,
        store: &Store,
        admin: &mut PgConnection,
        relation: Relation,
        consent: Consent,
    ) {
        let clinic = world.clinic.id;
        let usual = world.clinic.person("clinician").as_uuid();
        let name = format!("subject-{relation:?}-{consent:?}").to_lowercase();
        let subject = person(store, clinic, &name).await.0.as_uuid();
        consents(admin, clinic, subject, consent).await;
        for segment in SEGMENTS {
            for role in ROLES {
                let me = self.callers[&(false, role, consent)].person;
                let key = (relation, consent, segment, is_within(relation).then_some(role));
                if self.records.contains_key(&key) {
                    continue;
                }
                let (patient, clinician) = match relation {
                    Relation::Own => (me, usual),
                    Relation::Host => (subject, me),
                    _ => (subject, usual),
                };
                let record = appointment(admin, clinic, patient, clinician, segment).await;
                self.records.insert(key, record);
            }
        }
        let verified = ROLES.map(|role| (role, self.callers[&(false, role, consent)].person));
        let unverified = self
            .unverified
            .iter()
            .map(|(role, caller)| (*role, caller.person));
        // Those whose licence nobody has looked at stand in the same relations, as far as others
        // put them there.
        let people: Vec<_> = verified
            .into_iter()
            .chain(unverified.filter(|_| consent == Consent::Unasked))
            .collect();
        for (_, me) in people {
            match relation {
                Relation::None | Relation::Host => {}
                Relation::Own => consents(admin, clinic, me, consent).await,
                Relation::Participant => {
                    for segment in SEGMENTS {
                        let visit = self.records[&(relation, consent, segment, None)].visit;
                        participant(admin, clinic, visit, me, "guest").await;
                    }
                }
                Relation::Treating => {
                    appointment(admin, clinic, subject, me, "general").await;
                }
                Relation::CareTeam => {
                    run(
                        admin,
                        "INSERT INTO care_team (clinic_id, id, patient_id, person_id, role, from_at, added_by)
                         VALUES ($1, gen_random_uuid(), $2, $3, 'nurse', now() - interval '1 day', $2)",
                        &[clinic.as_uuid(), subject, me],
                    )
                    .await;
                }
                Relation::Referral => {
                    run(
                        admin,
                        "INSERT INTO referral (clinic_id, id, patient_id, from_id, to_id, created_at, until_at)
                         VALUES ($1, gen_random_uuid(), $2, $4, $3, now() - interval '1 day', now() + interval '1 day')",
                        &[clinic.as_uuid(), subject, me, usual],
                    )
                    .await;
                }
                Relation::BreakGlass => {
                    run(
                        admin,
                        "INSERT INTO break_glass (clinic_id, id, patient_id, person_id, reason, opened_at, until_at)
                         VALUES ($1, gen_random_uuid(), $2, $3, '\\x00', now() - interval '1 minute', now() + interval '1 hour')",
                        &[clinic.as_uuid(), subject, me],
                    )
                    .await;
                }
            }
        }
    }
}

/// A person with a key of their own, as patients have.
async fn person(store: &Store, clinic: ClinicId, name: &str) -> (PersonId, medmesh_base::AccountId) {
    let actor = Actor::System(SystemActor::Seed);
    let mut tx = store.begin(clinic, actor, RequestId::generate()).await.unwrap();
    let email: medmesh_clinic::Email = format!("{name}@{clinic}.test").parse().unwrap();
    let new = NewPerson {
        display_name: name.parse().unwrap(),
        email: email.clone(),
        roles: Roles::only(Role::Patient),
        locale: Locale::En,
    };
    // Nobody signs in with it.
    let hash = PasswordHash::from_phc("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaA".to_owned());
    let made = tx.person_create(&new, &hash).await.unwrap();
    tx.commit().await.unwrap();
    let login = store.login_lookup(&email).await.unwrap().unwrap();
    (made.id, login.memberships[0].account_id)
}

async fn caller(
    store: &Store,
    admin: &mut PgConnection,
    clinic: ClinicId,
    name: &str,
    role: &'static str,
) -> Caller {
    let (person_id, account_id) = person(store, clinic, name).await;
    sqlx::query("UPDATE person_role SET role = $2 WHERE person_id = $1")
        .bind(person_id.as_uuid())
        .bind(role)
        .execute(&mut *admin)
        .await
        .unwrap();
    let token = SessionToken::generate();
    let who = Membership {
        account_id,
        clinic_id: clinic,
        person_id,
    };
    let actor = Actor::System(SystemActor::Login);
    let mut tx = store.begin(clinic, actor, RequestId::generate()).await.unwrap();
    let session = tx
        .session_create(&who, &token, Factor::Passkey, "a test")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    licenses(store, admin, Actor::Person(session.caller()), clinic, role).await;
    Caller {
        person: person_id.as_uuid(),
        cookie: format!("{SESSION_COOKIE}={}", token.expose()),
        csrf: session.csrf,
    }
}

/// What the role needs to be more than a word: stated by whom it is of, and found true.
async fn licenses(store: &Store, admin: &mut PgConnection, actor: Actor, clinic: ClinicId, role: &str) {
    if !LICENSED.contains(&role) {
        return;
    }
    let person = actor.caller().unwrap().person_id.as_uuid();
    let mut tx = store.begin(clinic, actor, RequestId::generate()).await.unwrap();
    let end = time::OffsetDateTime::now_utc().date() + time::Duration::weeks(52);
    let license = Claim::new(
        CredentialKind::License,
        role.parse().ok(),
        Some("NY"),
        "C1001",
        Some(end),
    );
    let npi = Claim::new(CredentialKind::Npi, None, None, "1234567893", None);
    for claim in [license, npi] {
        tx.credential_submit(&claim.unwrap()).await.unwrap();
    }
    tx.commit().await.unwrap();
    run(
        admin,
        "UPDATE credential SET status = 'verified' WHERE person_id = $1",
        &[person],
    )
    .await;
}

async fn consents(admin: &mut PgConnection, clinic: ClinicId, patient: Uuid, consent: Consent) {
    let decision = match consent {
        Consent::Unasked => return,
        Consent::Granted => "granted",
        Consent::Withdrawn => "withdrawn",
    };
    for segment in SEGMENTS {
        // What was said before and no longer holds stands beside it.
        let before = if consent == Consent::Granted {
            "withdrawn"
        } else {
            "granted"
        };
        for (version, decision) in [(1_i64, before), (2, decision)] {
            sqlx::query(
                "INSERT INTO consent (clinic_id, id, patient_id, purpose, segment, version, decision, document,
                     signed_by, recorded_by, recorded_at)
                 VALUES ($1, gen_random_uuid(), $2, 'treatment', $3, $4, $5, 'test', 'paper', $2, now())",
            )
            .bind(clinic.as_uuid())
            .bind(patient)
            .bind(segment)
            .bind(version)
            .bind(decision)
            .execute(&mut *admin)
            .await
            .unwrap();
        }
    }
}

/// In a few days, so that nothing of the visit can begin.
async fn appointment(
    admin: &mut PgConnection,
    clinic: ClinicId,
    patient: Uuid,
    clinician: Uuid,
    segment: &str,
) -> Record {
    let (appointment, visit) = (Uuid::now_v7(), Uuid::now_v7());
    sqlx::query(
        "INSERT INTO appointment (clinic_id, id, patient_id, clinician_id, starts_at, ends_at, status, segment, created_at)
         VALUES ($1, $2, $3, $4, now() + interval '3 days', now() + interval '3 days 30 minutes', 'booked', $5, now())",
    )
    .bind(clinic.as_uuid())
    .bind(appointment)
    .bind(patient)
    .bind(clinician)
    .bind(segment)
    .execute(&mut *admin)
    .await
    .unwrap();
    run(
        admin,
        "INSERT INTO visit (clinic_id, id, appointment_id, room_id, state)
         VALUES ($1, $2, $3, gen_random_uuid(), 'scheduled')",
        &[clinic.as_uuid(), visit, appointment],
    )
    .await;
    participant(admin, clinic, visit, patient, "patient").await;
    participant(admin, clinic, visit, clinician, "clinician").await;
    Record {
        appointment,
        visit,
        patient,
        clinician,
    }
}

async fn participant(admin: &mut PgConnection, clinic: ClinicId, visit: Uuid, person: Uuid, role: &str) {
    sqlx::query(
        "INSERT INTO visit_participant
             (clinic_id, visit_id, participant_id, person_id, role, state, position, state_changed_at)
         VALUES ($1, $2, gen_random_uuid(), $3, $4, 'expected', 1, now())",
    )
    .bind(clinic.as_uuid())
    .bind(visit)
    .bind(person)
    .bind(role)
    .execute(admin)
    .await
    .unwrap();
}

async fn run(admin: &mut PgConnection, sql: &'static str, ids: &[Uuid]) {
    let mut query = sqlx::query(sql);
    for id in ids {
        query = query.bind(id);
    }
    query.execute(admin).await.unwrap();
}
