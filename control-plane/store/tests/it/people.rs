//! People of a clinic, and the seed.

use medmesh_base::{ProblemCode, Region};
use medmesh_clinic::{Clinic, Invalid, Refusal, Role, Roles};
use medmesh_store::seed::{DEMO_CLINIC, Seed, SeedAppointment, SeedPerson};
use medmesh_store::{PageRequest, PasswordHash, SetupError, StoreError};

use crate::support::{PHC, add_clinic, new_person, slot, told, world};

#[tokio::test]
async fn every_role_can_be_kept() {
    let world = world().await;
    let all: Roles = Role::ALL.iter().copied().collect();
    let mut tx = world.begin(world.people.admin).await;
    let made = tx
        .person_create(
            &new_person("all@a.example", all),
            &PasswordHash::from_phc(PHC.to_owned()),
        )
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(made.roles, all);
}

#[tokio::test]
async fn who_sees_which_people() {
    let world = world().await;
    let mut tx = world.begin(world.people.admin).await;
    let both = Roles::only(Role::Admin).with(Role::Clinician);
    let made = tx
        .person_create(&new_person("chief@a.example", both), &hash())
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let mut tx = world.begin(world.people.admin).await;
    let all = tx.person_list(None, PageRequest::default()).await.unwrap().items;
    assert_eq!(all.len(), 6);
    assert!(all.iter().all(|person| person.email.is_some()));
    assert!(all.contains(&made));
    let clinicians = tx
        .person_list(Some(Role::Clinician), PageRequest::default())
        .await
        .unwrap()
        .items;
    assert_eq!(clinicians.len(), 3);

    let mut tx = world.begin(world.people.clinician).await;
    let seen = tx.person_list(None, PageRequest::default()).await.unwrap().items;
    assert_eq!(seen.len(), 5, "everybody but the admin who is nothing else");
    assert!(seen.iter().all(|person| person.email.is_none()));
    let admins = tx
        .person_list(Some(Role::Admin), PageRequest::default())
        .await
        .unwrap()
        .items;
    assert_eq!(
        admins.iter().map(|person| person.id).collect::<Vec<_>>(),
        [made.id]
    );

    let mut tx = world.begin(world.people.patient).await;
    assert_eq!(
        told(tx.person_list(None, PageRequest::default()).await),
        ProblemCode::Forbidden
    );
}

#[tokio::test]
async fn people_come_in_pages() {
    let world = world().await;
    let mut seen = Vec::new();
    let mut page = PageRequest {
        limit: Some(2),
        cursor: None,
    };
    loop {
        let mut tx = world.begin(world.people.admin).await;
        let found = tx.person_list(None, page).await.unwrap();
        seen.extend(found.items.iter().map(|person| person.id));
        page.cursor = found.next_cursor;
        if page.cursor.is_none() {
            break;
        }
    }
    let sorted: std::collections::BTreeSet<_> = seen.iter().copied().collect();
    assert_eq!((seen.len(), sorted.len()), (5, 5));
}

#[tokio::test]
async fn only_admins_add_people_and_an_address_is_used_once() {
    let world = world().await;
    add_clinic(&world.scratch, &world.store, "b").await;
    let new = new_person("new@a.example", Roles::only(Role::Patient));
    for caller in [world.people.clinician, world.people.patient] {
        let mut tx = world.begin(caller).await;
        assert_eq!(
            told(tx.person_create(&new, &hash()).await),
            ProblemCode::Forbidden
        );
    }
    let mut tx = world.begin(world.people.admin).await;
    let nothing = new_person("nothing@a.example", Roles::default());
    assert_eq!(
        tx.person_create(&nothing, &hash()).await,
        Err(StoreError::Invalid(Invalid::Roles))
    );
    // Taken here, and taken in another clinic.
    for email in ["patient@a.example", "PATIENT@b.example"] {
        let mut tx = world.begin(world.people.admin).await;
        let taken = new_person(email, Roles::only(Role::Patient));
        assert_eq!(
            tx.person_create(&taken, &hash()).await,
            Err(StoreError::EmailTaken)
        );
    }
}

#[tokio::test]
async fn seeding_again_adds_only_what_is_missing() {
    let world = world().await;
    let mut seed = Seed {
        clinic: Clinic {
            id: DEMO_CLINIC,
            name: "Demo Clinic".to_owned(),
            time_zone: "Europe/Paris".parse().unwrap(),
            home_region: "eu-west".parse::<Region>().unwrap(),
        },
        people: vec![
            person("doc@demo.example", Role::Clinician),
            person("pat@demo.example", Role::Patient),
        ],
        appointments: vec![SeedAppointment {
            patient: "pat@demo.example".parse().unwrap(),
            clinician: "doc@demo.example".parse().unwrap(),
            slot: slot(0),
            reason: Some("check-up".parse().unwrap()),
        }],
    };
    let first = world.store.seed(&world.scratch.owner_url, &seed).await.unwrap();
    assert!(first.iter().all(|person| person.created));
    seed.people.push(person("late@demo.example", Role::Patient));
    let second = world.store.seed(&world.scratch.owner_url, &seed).await.unwrap();
    assert_eq!(
        second.iter().map(|person| person.created).collect::<Vec<_>>(),
        [false, false, true]
    );
    assert_eq!(first[0].person_id, second[0].person_id);
    assert_eq!(world.count("SELECT count(*) FROM appointment").await, 1);
    assert_eq!(
        world
            .count("SELECT count(*) FROM clinic WHERE name = 'Demo Clinic'")
            .await,
        1
    );

    seed.clinic.id = medmesh_base::ClinicId::generate();
    seed.clinic.time_zone = "Mars/Olympus_Mons".parse().unwrap();
    let nowhere = world.store.seed(&world.scratch.owner_url, &seed).await;
    assert!(
        matches!(
            nowhere,
            Err(SetupError::Store(StoreError::Invalid(Invalid::TimeZone)))
        ),
        "{nowhere:?}"
    );
}

/// A demo's directory from before licences: its clinicians must not wait for an admin.
#[tokio::test]
async fn people_who_were_there_before_licences_are_vouched_for_once() {
    let world = world().await;
    let doctor = person("doc@demo.example", Role::Clinician);
    let before = SeedPerson {
        credentials: Vec::new(),
        ..doctor.clone()
    };
    let seed = |doctor: &SeedPerson, appointments| Seed {
        clinic: Clinic {
            id: DEMO_CLINIC,
            name: "Demo Clinic".to_owned(),
            time_zone: "Europe/Paris".parse().unwrap(),
            home_region: "eu-west".parse::<Region>().unwrap(),
        },
        people: vec![doctor.clone(), person("pat@demo.example", Role::Patient)],
        appointments,
    };
    let booked = |nth| SeedAppointment {
        patient: "pat@demo.example".parse().unwrap(),
        clinician: "doc@demo.example".parse().unwrap(),
        slot: slot(nth),
        reason: None,
    };
    let run = async |doctor: &SeedPerson, appointments| {
        let seed = seed(doctor, appointments);
        world.store.seed(&world.scratch.owner_url, &seed).await
    };
    run(&before, Vec::new()).await.unwrap();
    let unsuitable = run(&before, vec![booked(0)]).await;
    assert!(
        matches!(
            unsuitable,
            Err(SetupError::Store(StoreError::Refused(
                Refusal::ClinicianUnsuitable
            )))
        ),
        "{unsuitable:?}"
    );
    run(&doctor, vec![booked(0)]).await.unwrap();
    let demo = "clinic_id = '01934a4e-7c00-7000-8000-000000000001'";
    let papers = async || {
        let sql = format!(
            "SELECT (SELECT count(*) FROM credential WHERE {demo}),
                 (SELECT count(*) FROM audit WHERE action = 'credential_verify' AND {demo})"
        );
        let counts: (i64, i64) = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .fetch_one(&mut world.admin().await)
            .await
            .unwrap();
        counts
    };
    assert_eq!(papers().await, (2, 2), "licence and NPI");
    run(&doctor, Vec::new()).await.unwrap();
    assert_eq!(papers().await, (2, 2), "once");
    // What has run out is renewed; what an admin took away stays away.
    let change = async |what: &str| {
        let sql = format!("UPDATE credential SET {what} WHERE {demo} AND kind = 'license'");
        let mut admin = world.admin().await;
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(&mut admin)
            .await
            .unwrap();
    };
    change("expires_on = date '2020-01-01'").await;
    run(&doctor, vec![booked(1)]).await.unwrap();
    assert_eq!(papers().await, (3, 3));
    change("status = 'rejected'").await;
    let unsuitable = run(&doctor, vec![booked(2)]).await;
    assert!(unsuitable.is_err(), "{unsuitable:?}");
    assert_eq!(papers().await, (3, 3));
}

fn person(email: &str, role: Role) -> SeedPerson {
    SeedPerson {
        person: new_person(email, Roles::only(role)),
        password: hash(),
        totp: None,
        passkey: None,
        credentials: medmesh_clinic::credential::Claim::made_up(role),
    }
}

fn hash() -> PasswordHash {
    PasswordHash::from_phc(PHC.to_owned())
}
