//! Records that rest, and records that go.

use medmesh_base::ProblemCode;
use medmesh_clinic::{AppointmentStatus, ERASED_NAME, RightsChange, Role, Version};
use medmesh_store::{AppointmentFilter, Erased, PageRequest, StoreError};
use time::{Duration, OffsetDateTime};

use crate::support::{World, slot, slot_now, told, world};

const RESTS: RightsChange = RightsChange {
    restricted: true,
    erasure: false,
};
const GOES: RightsChange = RightsChange {
    restricted: false,
    erasure: true,
};
const NEITHER: RightsChange = RightsChange {
    restricted: false,
    erasure: false,
};

async fn ask(world: &World, version: i64, change: RightsChange) {
    let patient = world.people.patient;
    let mut tx = world.begin(patient).await;
    tx.record_rights_set(patient.person_id, Version(version), change)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

async fn erase(world: &World, now: OffsetDateTime) -> Erased {
    let patient = world.people.patient.person_id;
    world
        .store
        .record_erase(world.clinic, patient, now)
        .await
        .unwrap()
}

fn in_years(years: i64) -> OffsetDateTime {
    OffsetDateTime::now_utc() + Duration::days(366 * years)
}

#[tokio::test]
async fn a_record_that_rests_is_out_of_reach_until_that_is_lifted() {
    let world = world().await;
    let appointment = world.book(slot(1)).await;
    let people = world.people;
    let mut tx = world.begin(people.clinician).await;
    tx.care_team_add(
        people.patient.person_id,
        people.colleague.person_id,
        Role::Clinician,
        None,
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let get = |caller| {
        let world = &world;
        async move {
            let mut tx = world.begin(caller).await;
            tx.appointment_get(appointment.id).await.map(|_| ())
        }
    };
    get(people.colleague).await.unwrap();
    ask(&world, 0, RESTS).await;
    assert_eq!(told(get(people.colleague).await), ProblemCode::NotFound);
    assert_eq!(told(get(people.admin).await), ProblemCode::NotFound);
    get(people.clinician).await.unwrap();
    get(people.patient).await.unwrap();
    let mut tx = world.begin(people.admin).await;
    let listed = tx
        .appointment_list(AppointmentFilter::default(), PageRequest::default())
        .await
        .unwrap();
    assert!(listed.items.is_empty());
    // Nobody but the patient makes new times.
    for (caller, at) in [(people.admin, 5), (people.clinician, 6)] {
        let mut tx = world.begin(caller).await;
        let booked = tx.appointment_create(&world.new_appointment(slot(at))).await;
        assert_eq!(told(booked), ProblemCode::Forbidden);
    }
    let mut tx = world.begin(people.patient).await;
    let stale = tx
        .record_rights_set(people.patient.person_id, Version(0), NEITHER)
        .await;
    assert_eq!(told(stale), ProblemCode::VersionMismatch);
    drop(tx);
    ask(&world, 1, NEITHER).await;
    get(people.colleague).await.unwrap();
    // It is the patient's to say.
    for caller in [people.admin, people.clinician, people.other_patient] {
        let mut tx = world.begin(caller).await;
        let outcome = tx
            .record_rights_set(people.patient.person_id, Version(2), RESTS)
            .await;
        assert!(matches!(outcome, Err(StoreError::Denied(_))), "{outcome:?}");
    }
}

#[tokio::test]
async fn the_law_keeps_a_record_and_then_its_key_is_destroyed() {
    let world = world().await;
    let appointment = world.book(slot_now()).await;
    let (people, patient) = (world.people, world.people.patient.person_id);
    let mut tx = world.begin(people.clinician).await;
    tx.referral_create(
        patient,
        people.colleague.person_id,
        Some(&"a private matter".parse().unwrap()),
        None,
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    ask(&world, 0, GOES).await;
    let due = "SELECT count(*) FROM job WHERE kind = 'record_erase' AND due_at > now() + interval '9 years'";
    assert_eq!(world.count(due).await, 1);
    let Erased::Kept(until) = erase(&world, OffsetDateTime::now_utc()).await else {
        panic!("too early")
    };
    assert!(until > in_years(9) && until < in_years(11));
    assert_eq!(world.count("SELECT count(*) FROM patient_key").await, 2);
    let mut database = world.admin().await;
    let before: Vec<u8> = sqlx::query_scalar("SELECT reason FROM appointment")
        .fetch_one(&mut database)
        .await
        .unwrap();
    assert_eq!(erase(&world, in_years(11)).await, Erased::Now);
    assert_eq!(
        erase(&world, in_years(11)).await,
        Erased::Before,
        "a job may run twice"
    );
    assert_eq!(world.count("SELECT count(*) FROM patient_key").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM patient_search").await, 1);
    assert_eq!(
        world
            .count("SELECT count(*) FROM audit WHERE action = 'record_erase'")
            .await,
        1
    );
    // The skeleton stays: who met when can be counted, and nobody has a name.
    let mut tx = world.begin(people.clinician).await;
    let seen = tx.appointment_get(appointment.id).await.unwrap();
    assert_eq!(seen.patient.display_name.expose(), ERASED_NAME);
    assert_eq!((seen.reason, seen.status), (None, AppointmentStatus::Booked));
    let sent = tx.referral_list(patient, PageRequest::default()).await.unwrap();
    assert_eq!(
        sent.items[0].reason.as_ref().unwrap().expose(),
        "",
        "the key is gone"
    );
    drop(tx);
    // What a backup holds is put back: it does not open, for want of the key.
    sqlx::query("UPDATE appointment SET reason = $1")
        .bind(before)
        .execute(&mut database)
        .await
        .unwrap();
    let mut tx = world.begin(people.clinician).await;
    let seen = tx.appointment_get(appointment.id).await.unwrap();
    assert_eq!(seen.reason.unwrap().expose(), "");
    let login = world
        .store
        .login_lookup(&"patient@a.example".parse().unwrap())
        .await
        .unwrap();
    assert!(login.is_none_or(|login| login.memberships.is_empty()));
}

#[tokio::test]
async fn what_is_taken_back_in_time_stays() {
    let world = world().await;
    ask(&world, 0, GOES).await;
    ask(&world, 1, NEITHER).await;
    assert_eq!(erase(&world, in_years(50)).await, Erased::Nothing);
    assert_eq!(world.count("SELECT count(*) FROM patient_key").await, 2);
}

/// Whichever is first, nothing is written into a record whose key is gone.
#[tokio::test]
async fn erasing_and_booking_take_turns() {
    let world = world().await;
    ask(&world, 0, GOES).await;
    let people = world.people;
    // The booking is first: erasing waits for it, and then the law keeps the record.
    let mut tx = world.begin(people.patient).await;
    tx.appointment_create(&world.new_appointment(slot(3)))
        .await
        .unwrap();
    let mut erasing = Box::pin(erase(&world, OffsetDateTime::now_utc()));
    let blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    let waiting = async {
        while world.count(blocked).await == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        outcome = &mut erasing => panic!("it did not wait: {outcome:?}"),
        () = waiting => {}
    }
    tx.commit().await.unwrap();
    assert!(matches!(erasing.await, Erased::Kept(_)));
    assert_eq!(world.count("SELECT count(*) FROM patient_key").await, 2);

    // Erasing is first: the booking waits for it, and then there is nobody to book for.
    let mut database = world.admin().await;
    let midway = "BEGIN; SELECT FROM person FOR UPDATE;
        UPDATE person SET active = false, erased_at = now() WHERE id = (SELECT patient_id FROM record_rights)";
    sqlx::raw_sql(midway).execute(&mut database).await.unwrap();
    let mut booking = Box::pin(async {
        let mut tx = world.begin(people.patient).await;
        tx.appointment_create(&world.new_appointment(slot(4)))
            .await
            .map(|_| ())
    });
    let waiting = async {
        while world.count(blocked).await == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        outcome = &mut booking => panic!("it did not wait: {outcome:?}"),
        () = waiting => {}
    }
    sqlx::raw_sql("COMMIT").execute(&mut database).await.unwrap();
    assert_eq!(told(booking.await), ProblemCode::Unprocessable);
    assert_eq!(world.count("SELECT count(*) FROM appointment").await, 1);
}

/// A node that still has the key in memory seals nothing with it.
#[tokio::test]
async fn a_key_in_memory_seals_nothing_once_it_is_destroyed() {
    let world = world().await;
    let elsewhere = world.scratch.store(2).await.unwrap();
    let people = world.people;
    let appointment = world.book(slot(2)).await;
    let actor = medmesh_clinic::Actor::Person(people.clinician);
    let begin = || elsewhere.begin(world.clinic, actor, medmesh_base::RequestId::generate());
    // It reads, so that it has the key.
    let mut tx = begin().await.unwrap();
    tx.appointment_get(appointment.id).await.unwrap();
    tx.commit().await.unwrap();
    ask(&world, 0, GOES).await;
    assert_eq!(erase(&world, in_years(11)).await, Erased::Now);
    let mut tx = begin().await.unwrap();
    let sealed = tx
        .referral_create(
            people.patient.person_id,
            people.colleague.person_id,
            Some(&"afterwards".parse().unwrap()),
            None,
        )
        .await;
    assert_eq!(told(sealed), ProblemCode::NotFound);
    drop(tx);
    elsewhere.close().await;
}
