//! Nobody is in two places at once.

use medmesh_base::{PersonId, ProblemCode};
use medmesh_clinic::authz::View;
use medmesh_clinic::{Appointment, AppointmentStatus, Refusal, Role, Roles, Slot, Version};
use medmesh_store::{
    AppointmentChange, AppointmentFilter, NewAppointment, PageRequest, PasswordHash, StoreError,
};
use time::{Duration, OffsetDateTime};

use crate::support::{PHC, World, new_person, slot, slot_now, told, world, world_with};

async fn add_patients(world: &World, count: usize) -> Vec<PersonId> {
    let mut patients = Vec::new();
    let mut tx = world.begin(world.people.admin).await;
    for n in 0..count {
        let new = new_person(&format!("patient{n}@a.example"), Roles::only(Role::Patient));
        let person = tx
            .person_create(&new, &PasswordHash::from_phc(PHC.to_owned()))
            .await
            .unwrap();
        patients.push(person.id);
    }
    tx.commit().await.unwrap();
    patients
}

/// Books like a client: again when the database was too busy to answer.
async fn book(world: &World, new: &NewAppointment) -> Result<(), StoreError> {
    loop {
        let outcome = async {
            let caller = world.people.clinician;
            let actor = medmesh_clinic::Actor::Person(caller);
            let request = medmesh_base::RequestId::generate();
            let mut tx = world.store.begin(world.clinic, actor, request).await?;
            tx.appointment_create(new).await?;
            tx.commit().await
        };
        match outcome.await {
            Err(StoreError::Unavailable(_)) => {}
            other => return other,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_bookings_for_twenty_slots_give_twenty() {
    const SLOTS: usize = 20;
    let world = world_with(32).await;
    let patients = add_patients(&world, 500 / SLOTS).await;
    let bookings = patients
        .iter()
        .flat_map(|patient| (0..SLOTS).map(move |n| (*patient, n)));
    let bookings: Vec<_> = bookings
        .map(|(patient_id, n)| NewAppointment {
            patient_id,
            ..world.new_appointment(slot(i64::try_from(n).unwrap()))
        })
        .collect();
    assert_eq!(bookings.len(), 500);
    let outcomes = futures::future::join_all(bookings.iter().map(|new| book(&world, new))).await;
    let booked = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let taken = outcomes
        .iter()
        .filter(|outcome| **outcome == Err(StoreError::SlotTaken))
        .count();
    assert_eq!((booked, taken), (SLOTS, 500 - SLOTS));
    assert_eq!(world.count("SELECT count(*) FROM appointment").await, 20);
    assert_eq!(world.count("SELECT count(*) FROM slot_claim").await, 40);
    assert_eq!(
        world
            .count("SELECT count(DISTINCT starts_at) FROM appointment")
            .await,
        20
    );
    let leaves = "SELECT count(*) FROM audit WHERE action = 'appointment_create'";
    assert_eq!(world.count(leaves).await, 20, "only what happened is in the log");
}

#[tokio::test]
async fn a_patient_is_not_in_two_places_either() {
    let world = world().await;
    world.book(slot(0)).await;
    let mut tx = world.begin(world.people.colleague).await;
    let elsewhere = NewAppointment {
        clinician_id: world.people.colleague.person_id,
        ..world.new_appointment(slot(0))
    };
    assert_eq!(
        tx.appointment_create(&elsewhere).await,
        Err(StoreError::SlotTaken)
    );
    let next = NewAppointment {
        slot: slot(1),
        ..elsewhere
    };
    tx.appointment_create(&next).await.unwrap();
}

#[tokio::test]
async fn the_database_alone_keeps_the_promise() {
    let world = world().await;
    let first = world.book(slot(0)).await;
    world.book(slot(4)).await;
    let mut connection = world.admin().await;
    let forced = sqlx::query(
        "UPDATE slot_claim SET during = (SELECT during FROM slot_claim WHERE appointment_id = $1 LIMIT 1)",
    )
    .bind(first.id.as_uuid())
    .execute(&mut connection)
    .await
    .unwrap_err();
    let constraint = forced
        .as_database_error()
        .unwrap()
        .constraint()
        .unwrap()
        .to_owned();
    assert_eq!(constraint, "slot_claim_no_overlap");
    assert_eq!(StoreError::from(forced), StoreError::SlotTaken);
}

#[tokio::test]
async fn moving_and_cancelling_give_the_time_back() {
    let world = world().await;
    let first = world.book(slot(0)).await;
    let second = world.book(slot(1)).await;
    let mut tx = world.begin(world.people.clinician).await;
    let onto_second = AppointmentChange {
        starts_at: Some(slot(1).starts_at()),
        ends_at: Some(slot(1).ends_at()),
        reason: None,
        segment: None,
    };
    let clash = tx.appointment_update(first.id, first.version, &onto_second).await;
    assert_eq!(clash, Err(StoreError::SlotTaken));
    drop(tx);

    let mut tx = world.begin(world.people.patient).await;
    let cancelled = tx
        .appointment_cancel(second.id, second.version, None)
        .await
        .unwrap();
    assert_eq!(
        (cancelled.status, cancelled.version),
        (AppointmentStatus::Cancelled, Version(2))
    );
    let moved = tx
        .appointment_update(first.id, first.version, &onto_second)
        .await
        .unwrap();
    assert_eq!((moved.slot, moved.version), (slot(1), Version(2)));
    assert_eq!(moved.reason, first.reason, "what was not named stays");
    tx.commit().await.unwrap();
    let again = world.book(slot(0)).await;
    assert_ne!(again.id, first.id);

    let mut tx = world.begin(world.people.clinician).await;
    assert_eq!(
        tx.appointment_cancel(second.id, cancelled.version, None).await,
        Err(Refusal::AppointmentClosed.into())
    );
}

/// A part of the old time may be kept: one's own claim is no obstacle.
#[tokio::test]
async fn an_appointment_does_not_stand_in_its_own_way() {
    let world = world().await;
    let booked = world.book(slot(0)).await;
    let longer = AppointmentChange {
        ends_at: Some(slot(2).ends_at()),
        ..AppointmentChange::default()
    };
    let mut tx = world.begin(world.people.clinician).await;
    let longer = tx
        .appointment_update(booked.id, booked.version, &longer)
        .await
        .unwrap();
    assert_eq!(longer.slot.ends_at(), slot(2).ends_at());
    tx.commit().await.unwrap();
    let mut tx = world.begin(world.people.clinician).await;
    assert_eq!(tx.appointment_get(booked.id).await.unwrap(), longer);
}

/// Each wants what the other has: without an order they would wait for each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_swap_do_not_deadlock() {
    let world = world().await;
    let (one, two) = (world.book(slot(0)).await, world.book(slot(1)).await);
    let onto = |slot: Slot| AppointmentChange {
        starts_at: Some(slot.starts_at()),
        ends_at: Some(slot.ends_at()),
        reason: None,
        segment: None,
    };
    let swap = |appointment: Appointment, slot: Slot| {
        let world = &world;
        async move {
            let mut tx = world.begin(world.people.clinician).await;
            tx.appointment_update(appointment.id, appointment.version, &onto(slot))
                .await
        }
    };
    for _ in 0..20 {
        let (first, second) = tokio::join!(swap(one.clone(), slot(1)), swap(two.clone(), slot(0)));
        assert_eq!(
            (first, second),
            (Err(StoreError::SlotTaken), Err(StoreError::SlotTaken))
        );
    }
}

#[tokio::test]
async fn an_old_version_changes_nothing() {
    let world = world().await;
    let booked = world.book(slot(0)).await;
    let mut tx = world.begin(world.people.clinician).await;
    let stale = Version(0);
    let mismatch = Err(StoreError::VersionMismatch { current: Version(1) });
    assert_eq!(
        tx.appointment_update(booked.id, stale, &AppointmentChange::default())
            .await,
        mismatch
    );
    assert_eq!(tx.appointment_cancel(booked.id, stale, None).await, mismatch);
}

#[tokio::test]
async fn who_may_book_whom() {
    let world = world().await;
    let people = world.people;
    let new = world.new_appointment(slot(0));
    let refused = [
        (
            people.admin,
            NewAppointment {
                patient_id: new.clinician_id,
                ..new.clone()
            },
            Refusal::SamePerson,
        ),
        (
            people.admin,
            NewAppointment {
                patient_id: people.colleague.person_id,
                ..new.clone()
            },
            Refusal::PatientUnsuitable,
        ),
        (
            people.admin,
            NewAppointment {
                clinician_id: people.other_patient.person_id,
                ..new.clone()
            },
            Refusal::ClinicianUnsuitable,
        ),
        (
            people.admin,
            NewAppointment {
                clinician_id: PersonId::generate(),
                ..new.clone()
            },
            Refusal::ClinicianUnsuitable,
        ),
    ];
    for caller in [people.other_patient, people.colleague] {
        let mut tx = world.begin(caller).await;
        assert_eq!(told(tx.appointment_create(&new).await), ProblemCode::Forbidden);
    }
    for (caller, new, refusal) in refused {
        let mut tx = world.begin(caller).await;
        assert_eq!(tx.appointment_create(&new).await, Err(refusal.into()));
    }
    let hour_ago = OffsetDateTime::now_utc() - Duration::hours(1);
    let past = Slot::new(hour_ago, hour_ago + Duration::minutes(30)).unwrap();
    for (n, caller) in [people.admin, people.clinician, people.patient]
        .into_iter()
        .enumerate()
    {
        let mut tx = world.begin(caller).await;
        let past = tx.appointment_create(&world.new_appointment(past)).await;
        assert_eq!(past, Err(Refusal::SlotInPast.into()));
        tx.appointment_create(&world.new_appointment(slot(i64::try_from(n).unwrap())))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn only_those_concerned_know_of_an_appointment() {
    let world = world().await;
    let booked = world.book(slot_now()).await;
    let when_not_why = booked.clone().seen(View::Administrative);
    assert_ne!(when_not_why, booked);
    for (caller, expected) in [
        (world.people.admin, &when_not_why),
        (world.people.clinician, &booked),
        (world.people.patient, &booked),
    ] {
        let mut tx = world.begin(caller).await;
        assert_eq!(tx.appointment_get(booked.id).await.unwrap(), *expected);
        let all = tx
            .appointment_list(AppointmentFilter::default(), PageRequest::default())
            .await
            .unwrap();
        assert_eq!(all.items, std::slice::from_ref(expected));
    }
    for caller in [world.people.colleague, world.people.other_patient] {
        let mut tx = world.begin(caller).await;
        assert_eq!(told(tx.appointment_get(booked.id).await), ProblemCode::NotFound);
        let change = tx.appointment_cancel(booked.id, booked.version, None).await;
        assert_eq!(told(change), ProblemCode::NotFound);
        let none = tx
            .appointment_list(AppointmentFilter::default(), PageRequest::default())
            .await
            .unwrap();
        assert!(none.items.is_empty());
    }
}

#[tokio::test]
async fn pages_meet_without_overlap_or_gap() {
    let world = world().await;
    for n in 0..7 {
        world.book(slot(n)).await;
    }
    let filter = AppointmentFilter {
        from: Some(slot(1).starts_at()),
        to: Some(slot(6).starts_at()),
        patient: None,
    };
    let mut seen = Vec::new();
    let mut page = PageRequest {
        cursor: None,
        limit: Some(2),
    };
    loop {
        let mut tx = world.begin(world.people.clinician).await;
        let found = tx.appointment_list(filter, page).await.unwrap();
        assert!(found.items.len() <= 2);
        seen.extend(found.items.iter().map(|item| item.slot));
        let Some(cursor) = found.next_cursor else { break };
        // As it travels: through text.
        page.cursor = Some(cursor.to_string().parse().unwrap());
        assert_eq!(page.cursor, Some(cursor));
    }
    assert_eq!(seen, (1..6).map(slot).collect::<Vec<_>>());
    for garbage in ["", "x", "AAAA", "!!!!"] {
        assert_eq!(
            garbage.parse::<medmesh_store::Cursor>(),
            Err(StoreError::CursorInvalid)
        );
    }
}
