//! Keys are replaced while everything goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use medmesh_base::RequestId;
use medmesh_clinic::{Actor, Locale, NewPerson, Role, Roles, SystemActor};
use medmesh_store::{
    Job, JobKind as _, PageRequest, PasswordHash, Rotation, RotationStep, RotationSubject, StoreError,
};
use sqlx::AssertSqlSafe;
use time::OffsetDateTime;

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

/// The job of a rotation that was begun, as the worker is handed it.
async fn job_of(world: &World) -> (Job, Rotation) {
    let far = OffsetDateTime::now_utc() + time::Duration::days(1);
    let mut jobs = world
        .store
        .job_claim(&[Rotation::KIND], far, medmesh_store::JOB_LEASE, 1)
        .await
        .unwrap();
    let job = jobs.pop().expect("a rotation is a job");
    let work = serde_json::from_value(job.payload.clone()).unwrap();
    (job, work)
}

/// Everything that can be done before nodes that do not know of the new version have had their time.
async fn first_walk(world: &World, work: &mut Rotation) -> OffsetDateTime {
    loop {
        match world
            .store
            .rotation_step(work, OffsetDateTime::now_utc())
            .await
            .unwrap()
        {
            RotationStep::Moved(_) => {}
            RotationStep::Wait(until) => return until,
            RotationStep::Done => panic!("too early to be done"),
        }
    }
}

/// And the rest, as of the time they have had.
async fn finish(world: &World, job: &Job, work: &mut Rotation, at: OffsetDateTime) {
    for _ in 0..100 {
        match world.store.rotation_step(work, at).await.unwrap() {
            RotationStep::Moved(_) => {}
            // The clinic's own after its index: waits for its own time.
            RotationStep::Wait(until) => assert!(until <= at + time::Duration::hours(1)),
            RotationStep::Done => {
                assert!(world.store.job_done(job).await.unwrap());
                return;
            }
        }
    }
    panic!("the rotation never ends");
}

async fn begin(world: &World, subject: RotationSubject) -> u32 {
    world
        .store
        .rotation_begin(SystemActor::Operator, subject)
        .await
        .unwrap()
}

async fn rotate(world: &World, subject: RotationSubject) -> u32 {
    let version = begin(world, subject).await;
    let (job, mut work) = job_of(world).await;
    let settled = first_walk(world, &mut work).await;
    finish(world, &job, &mut work, settled).await;
    version
}

const fn clinic_of(world: &World) -> RotationSubject {
    RotationSubject::Clinic {
        clinic_id: world.clinic,
    }
}

const fn patient_of(world: &World) -> RotationSubject {
    RotationSubject::Patient {
        clinic_id: world.clinic,
        patient_id: world.people.patient.person_id,
    }
}

#[tokio::test]
async fn every_level_rotates_and_what_was_sealed_stays_readable() {
    let world = world().await;
    let other_node = world.scratch.store(4).await.unwrap();
    let booked = story(&world).await;
    reads_all(&world, &booked).await;
    let other = async || {
        let actor = Actor::Person(world.people.clinician);
        let mut tx = other_node
            .begin(world.clinic, actor, RequestId::generate())
            .await
            .unwrap();
        tx.appointment_get(booked.id).await.unwrap();
        drop(tx);
    };
    other().await; // now it has the old keys in memory

    assert_eq!(rotate(&world, clinic_of(&world)).await, 2);
    reads_all(&world, &booked).await;
    let left = "SELECT count(*) FROM patient_key WHERE clinic_key_version = 1";
    assert_eq!(world.count(left).await, 0);
    let staff = "SELECT count(*) FROM person WHERE substring(display_name FROM 1 FOR 6) = '\\x010200000001'";
    assert_eq!(world.count(staff).await, 0);

    assert_eq!(begin(&world, patient_of(&world)).await, 2);
    let again = world
        .store
        .rotation_begin(SystemActor::Operator, patient_of(&world))
        .await;
    assert_eq!(again, Err(StoreError::RotationUnderWay));
    reads_all(&world, &booked).await;
    let (job, mut work) = job_of(&world).await;
    let settled = first_walk(&world, &mut work).await;
    assert!(work.moved >= 3, "name, appointment, message");
    let versions = "SELECT count(*) FROM patient_key";
    assert_eq!(
        world.count(versions).await,
        3,
        "other nodes may still seal with the old version"
    );
    reads_all(&world, &booked).await;
    finish(&world, &job, &mut work, settled).await;
    assert_eq!(world.count(versions).await, 2);
    reads_all(&world, &booked).await;

    assert_eq!(
        rotate(
            &world,
            RotationSubject::Index {
                clinic_id: world.clinic
            }
        )
        .await,
        3
    );
    reads_all(&world, &booked).await;
    assert_eq!(
        world
            .count("SELECT count(*) FROM patient_search WHERE index_version = 1")
            .await,
        0
    );
    assert_eq!(
        world
            .count("SELECT count(*) FROM clinic_key WHERE index_key IS NULL")
            .await,
        2
    );

    assert_eq!(begin(&world, RotationSubject::System).await, 2);
    let (job, mut work) = job_of(&world).await;
    finish(&world, &job, &mut work, OffsetDateTime::now_utc()).await;
    reads_all(&world, &booked).await;

    other().await; // a node that slept through all of it
    world.store.keyring().forget();
    reads_all(&world, &booked).await;
    let leaves = "SELECT count(*) FROM audit WHERE action = 'key_rotate'";
    assert_eq!(world.count(leaves).await, 4);
    let leaves = "SELECT count(*) FROM audit WHERE action = 'key_retire'";
    assert_eq!(
        world.count(leaves).await,
        4,
        "the index ends with the clinic's key"
    );
}

#[tokio::test]
async fn the_root_rotates_and_old_roots_are_needed_no_more() {
    let world = world().await;
    let booked = story(&world).await;
    let kms = world.store.keyring().kms().clone();
    kms.rotate().await.unwrap();
    let root = kms.root().await.unwrap();
    world.store.rotation_idle(RotationSubject::Root).await.unwrap();
    begin(&world, RotationSubject::Root).await;
    let under_way = world.store.rotation_idle(RotationSubject::Root).await;
    assert_eq!(under_way, Err(StoreError::RotationUnderWay));
    world.store.rotation_idle(RotationSubject::System).await.unwrap();
    let (job, mut work) = job_of(&world).await;
    finish(&world, &job, &mut work, OffsetDateTime::now_utc()).await;
    assert!(work.moved >= 2);
    for key in world.store.key_list().await.unwrap() {
        assert_eq!((key.root.as_str(), key.version), (root.as_str(), 1));
        assert_eq!(key.patients, if key.clinic_id.is_some() { 2 } else { 0 });
    }
    world.store.keyring().forget();
    reads_all(&world, &booked).await;
}

#[tokio::test]
async fn a_refused_rotation_of_the_systems_key_leaves_no_version() {
    let world = world().await;
    assert_eq!(begin(&world, RotationSubject::System).await, 2);
    for _ in 0..3 {
        let again = world
            .store
            .rotation_begin(SystemActor::Operator, RotationSubject::System)
            .await;
        assert_eq!(again, Err(StoreError::RotationUnderWay));
    }
    assert_eq!(world.count("SELECT count(*) FROM system_key").await, 2);
}

/// A row as it is now.
async fn keep(world: &World, table: &str) {
    let sql = format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}");
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut world.admin().await)
        .await
        .unwrap();
}

/// Puts the rows of a table back as they were, with their versions and all.
async fn put_back(world: &World, table: &str) {
    let sql = format!(
        "SET session_replication_role = replica;
         DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table}"
    );
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut world.admin().await)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_row_put_back_whole_is_refused_after_a_rotation() {
    let world = world().await;
    let booked = story(&world).await;
    for table in ["appointment", "person", "patient_key"] {
        keep(&world, table).await;
    }
    let read = async || {
        world.store.keyring().forget();
        let mut tx = world.begin(world.people.clinician).await;
        tx.appointment_get(booked.id).await
    };
    // The harness itself does no harm.
    put_back(&world, "appointment").await;
    read().await.unwrap();

    rotate(&world, patient_of(&world)).await;
    read().await.unwrap();
    put_back(&world, "appointment").await;
    let refused = read().await;
    assert!(
        matches!(refused, Err(StoreError::Internal(_))),
        "the row alone: {refused:?}"
    );

    rotate(&world, clinic_of(&world)).await;
    put_back(&world, "patient_key").await;
    let refused = read().await;
    assert!(
        matches!(refused, Err(StoreError::Internal(_))),
        "with its key: {refused:?}"
    );
    let mut tx = world.begin(world.people.clinician).await;
    put_back(&world, "person").await;
    let refused = tx.person_list(None, PageRequest::default()).await;
    assert!(
        matches!(refused, Err(StoreError::Internal(_))),
        "staff: {refused:?}"
    );
    drop(tx);

    // The floor itself is put back: what the control nodes agreed on still holds.
    let lower = "UPDATE clinic_key SET floor = 0";
    sqlx::raw_sql(lower)
        .execute(&mut world.admin().await)
        .await
        .unwrap();
    let floors = [(world.clinic, 2)].into_iter().collect();
    world.store.keyring().set_floors(floors);
    let refused = read().await;
    assert!(
        matches!(refused, Err(StoreError::Internal(_))),
        "with its floor: {refused:?}"
    );
}

#[tokio::test]
async fn what_a_key_sealed_is_counted_and_a_worn_key_is_replaced() {
    let world = world().await;
    story(&world).await;
    world.store.key_counts_report().await.unwrap();
    let counted = world.count("SELECT sealed FROM clinic_key").await;
    assert!(counted > 5, "names of staff, keys of patients, leaves: {counted}");
    world.store.keyring().forget(); // as when its time is over
    story_again(&world).await;
    world.store.key_counts_report().await.unwrap();
    let later = world.count("SELECT sealed FROM clinic_key").await;
    assert!(later > counted);
    world.store.key_counts_report().await.unwrap();
    assert_eq!(
        world.count("SELECT sealed FROM clinic_key").await,
        later,
        "counted once"
    );

    assert_eq!(world.store.keys_worn().await.unwrap(), []);
    sqlx::query("UPDATE clinic_key SET sealed = $1")
        .bind(i64::try_from(medmesh_vault::SEALS_PER_KEY_ROTATE).unwrap())
        .execute(&mut world.admin().await)
        .await
        .unwrap();
    assert_eq!(world.store.keys_worn().await.unwrap(), [clinic_of(&world)]);
    begin(&world, clinic_of(&world)).await;
    assert_eq!(
        world.store.keys_worn().await.unwrap(),
        [],
        "the new one is not worn"
    );
    sqlx::query("UPDATE clinic_key SET sealed = $1")
        .bind(i64::try_from(medmesh_vault::SEALS_PER_KEY_MAX).unwrap())
        .execute(&mut world.admin().await)
        .await
        .unwrap();
    let fresh = world.scratch.store(2).await.unwrap();
    let actor = Actor::Person(world.people.clinician);
    let mut tx = fresh
        .begin(world.clinic, actor, RequestId::generate())
        .await
        .unwrap();
    let refused = tx.person_list(None, PageRequest::default()).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}

async fn story_again(world: &World) {
    let mut tx = world.begin(world.people.clinician).await;
    tx.person_list(None, PageRequest::default()).await.unwrap();
    tx.commit().await.unwrap();
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
        let refused = sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut world.admin().await)
            .await
            .unwrap_err();
        let code = refused.as_database_error().unwrap().code().unwrap().into_owned();
        assert_eq!(code, "42501", "{forged}");
    }
    let nobody = RotationSubject::Patient {
        clinic_id: world.clinic,
        patient_id: medmesh_base::PersonId::generate(),
    };
    let refused = world.store.rotation_begin(SystemActor::Operator, nobody).await;
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
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    for round in 2..5 {
        let before = served.load(Ordering::Relaxed);
        assert_eq!(rotate(&world, clinic_of(&world)).await, round);
        // Without its end: that one waits until everybody knows, and here nobody waits.
        assert_eq!(begin(&world, patient_of(&world)).await, round);
        let (job, mut work) = job_of(&world).await;
        first_walk(&world, &mut work).await;
        assert!(world.store.job_done(&job).await.unwrap());
        while served.load(Ordering::Relaxed) < before + 5 {
            assert!(tokio::time::Instant::now() < deadline, "requests are served");
            tokio::task::yield_now().await;
        }
    }
    is_over.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.expect("no request failed");
    }
    reads_all(&world, &booked).await;
}
