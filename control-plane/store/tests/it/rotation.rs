//! Keys are replaced while everything goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use medmesh_base::RequestId;
use medmesh_clinic::{Actor, Locale, NewPerson, Role, Roles};
use medmesh_store::{PageRequest, PasswordHash, StoreError};

use crate::support::{PHC, World, slot_now, world};

/// A patient with something in every sealed column.
async fn story(world: &World) -> medmesh_clinic::Appointment {
    let booked = world.book(slot_now()).await;
    let mut tx = world.begin(world.people.patient).await;
    tx.message_create(booked.visit_id, &"before the rotation".parse().unwrap())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    booked
}

async fn reads_all(world: &World, booked: &medmesh_clinic::Appointment) {
    let mut tx = world.begin(world.people.clinician).await;
    let read = tx.appointment_get(booked.id).await.unwrap();
    assert_eq!(read.reason.unwrap().expose(), "a very private reason");
    assert_eq!(read.patient.display_name.expose(), "Name of patient");
    let messages = tx.message_list(booked.visit_id, None, None).await.unwrap();
    assert_eq!(messages[0].body.expose(), "before the rotation");
    let people = tx.person_list(None, PageRequest::default()).await.unwrap();
    assert!(people.items.len() >= 4);
    let found = tx.patient_search("Name of patient", None).await.unwrap();
    assert!(
        found
            .iter()
            .any(|person| person.id == world.people.patient.person_id)
    );
    drop(tx);
    let email = "patient@a.example".parse().unwrap();
    assert!(world.store.login_lookup(&email).await.unwrap().is_some());
}

async fn rotate_clinic(world: &World) -> u32 {
    let version = world.store.key_rotate(Some(world.clinic)).await.unwrap();
    while world.store.key_rotate_step(world.clinic).await.unwrap() > 0 {}
    version
}

#[tokio::test]
async fn every_level_rotates_and_what_was_sealed_stays_readable() {
    let world = world().await;
    let other_node = world.scratch.store(4).await.unwrap();
    let booked = story(&world).await;
    reads_all(&world, &booked).await;
    let mut tx = other_node
        .begin(
            world.clinic,
            Actor::Person(world.people.clinician),
            RequestId::generate(),
        )
        .await
        .unwrap();
    tx.appointment_get(booked.id).await.unwrap(); // now it has the old keys in memory
    drop(tx);

    assert_eq!(rotate_clinic(&world).await, 2);
    reads_all(&world, &booked).await;
    let left = "SELECT count(*) FROM patient_key WHERE clinic_key_version = 1";
    assert_eq!(world.count(left).await, 0);
    let staff = "SELECT count(*) FROM person WHERE substring(display_name FROM 1 FOR 6) = '\\x010200000001'";
    assert_eq!(world.count(staff).await, 0);

    let patient = world.people.patient.person_id;
    assert_eq!(
        world
            .store
            .patient_key_rotate(world.clinic, patient)
            .await
            .unwrap(),
        2
    );
    reads_all(&world, &booked).await;
    assert!(
        world
            .store
            .patient_reseal_step(world.clinic, patient)
            .await
            .unwrap()
            >= 3
    );
    assert_eq!(
        world
            .store
            .patient_reseal_step(world.clinic, patient)
            .await
            .unwrap(),
        0
    );
    reads_all(&world, &booked).await;
    let early = world
        .store
        .patient_key_retire(world.clinic, patient)
        .await
        .unwrap();
    assert_eq!(early, 0, "other nodes may still seal with the old version");
    sqlx::query("UPDATE patient_key SET created_at = created_at - interval '1 hour'")
        .execute(&mut world.admin().await)
        .await
        .unwrap();
    assert_eq!(
        world
            .store
            .patient_key_retire(world.clinic, patient)
            .await
            .unwrap(),
        1
    );
    reads_all(&world, &booked).await;

    assert_eq!(world.store.key_rotate(None).await.unwrap(), 2);
    reads_all(&world, &booked).await;

    // A node that slept through all of it.
    let mut tx = other_node
        .begin(
            world.clinic,
            Actor::Person(world.people.clinician),
            RequestId::generate(),
        )
        .await
        .unwrap();
    tx.appointment_get(booked.id).await.unwrap();
    drop(tx);
    world.store.keyring().forget();
    reads_all(&world, &booked).await;
}

#[tokio::test]
async fn the_root_rotates_and_old_roots_are_needed_no_more() {
    let world = world().await;
    let booked = story(&world).await;
    let kms = world.store.keyring().kms().clone();
    kms.rotate().await.unwrap();
    let root = kms.root().await.unwrap();
    assert!(world.store.root_rewrap().await.unwrap() >= 2);
    assert_eq!(world.store.root_rewrap().await.unwrap(), 0);
    for key in world.store.key_list().await.unwrap() {
        assert_eq!((key.root.as_str(), key.version), (root.as_str(), 1));
        assert_eq!(key.patients, 2);
    }
    world.store.keyring().forget();
    reads_all(&world, &booked).await;
}

#[tokio::test]
async fn a_message_is_resealed_and_never_changed() {
    let world = world().await;
    story(&world).await;
    for forged in [
        "body || '\\x00'",
        "'x'",
        "overlay(body PLACING '\\x09' FROM 20 FOR 1)",
    ] {
        let sql = format!("UPDATE message SET body = {forged}");
        let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut world.admin().await)
            .await
            .unwrap_err();
        let code = refused.as_database_error().unwrap().code().unwrap().into_owned();
        assert_eq!(code, "42501", "{forged}");
    }
    let nobody = medmesh_base::PersonId::generate();
    let refused = world.store.patient_key_rotate(world.clinic, nobody).await;
    assert_eq!(refused, Err(StoreError::NotFound));
}

/// Small form of the bench `rotation`: patients in the hundreds, readers and writers all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_notices_a_rotation() {
    let world = Arc::new(world().await);
    let booked = story(&world).await;
    for n in 0..60 {
        let mut tx = world.begin(world.people.admin).await;
        let new = NewPerson {
            display_name: format!("Patient {n}").parse().unwrap(),
            email: format!("p{n}@a.example").parse().unwrap(),
            roles: Roles::only(Role::Patient),
            locale: Locale::En,
        };
        tx.person_create(&new, &PasswordHash::from_phc(PHC.to_owned()))
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
    let (is_over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let (world, is_over, served) = (world.clone(), is_over.clone(), served.clone());
            let booked = booked.clone();
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let mut tx = world.begin(world.people.clinician).await;
                    tx.person_list(None, PageRequest::default()).await.unwrap();
                    let body = "during the rotation".parse().unwrap();
                    tx.message_create(booked.visit_id, &body).await.unwrap();
                    tx.commit().await.unwrap();
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let patient = world.people.patient.person_id;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    for round in 2..5 {
        let before = served.load(Ordering::Relaxed);
        assert_eq!(rotate_clinic(&world).await, round);
        assert_eq!(
            world
                .store
                .patient_key_rotate(world.clinic, patient)
                .await
                .unwrap(),
            round
        );
        while served.load(Ordering::Relaxed) < before + 5 {
            assert!(tokio::time::Instant::now() < deadline, "requests are served");
            tokio::task::yield_now().await;
        }
    }
    is_over.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.expect("no request failed");
    }
    while world
        .store
        .patient_reseal_step(world.clinic, patient)
        .await
        .unwrap()
        > 0
    {}
    reads_all(&world, &booked).await;
}
