//! A visit from the waiting room to its end.

use medmesh_base::{MessageId, ParticipantId, ProblemCode, RoomId};
use medmesh_clinic::{
    Actor, AppointmentStatus, JOIN_LEAD, OVERRUN_MAX, ParticipantRole, ParticipantState, Phase, Refusal,
    Slot, SystemActor, VisitState,
};
use medmesh_store::{AppointmentChange, RoomLocation, StoreError};
use time::macros::{date, datetime};
use time::{Duration, OffsetDateTime};
use uuid::Version as UuidVersion;

use crate::support::{World, slot, slot_now, told, world};

fn refused<T>(refusal: Refusal) -> Result<T, StoreError> {
    Err(StoreError::Refused(refusal))
}

#[tokio::test]
async fn a_visit_from_beginning_to_end() {
    let world = world().await;
    let people = world.people;
    let booked = world.book(slot_now()).await;
    let id = booked.visit_id;

    let mut tx = world.begin(people.patient).await;
    assert_eq!(tx.signaling_session(id).await, refused(Refusal::NotAdmitted));
    let visit = tx.visit_check_in(id).await.unwrap();
    assert_eq!(visit.phase, Phase::Waiting);
    assert_eq!(tx.visit_check_in(id).await.unwrap(), visit, "twice is once");
    assert_eq!(tx.signaling_session(id).await, refused(Refusal::NotAdmitted));
    tx.commit().await.unwrap();
    let mut tx = world.begin(people.patient).await;
    assert_eq!(told(tx.visit_open(id).await), ProblemCode::Forbidden);

    let patient = visit.patient().unwrap().id;
    let mut tx = world.begin(people.clinician).await;
    assert_eq!(tx.visit_admit(id, patient).await, refused(Refusal::VisitNotOpen));
    let host = tx.signaling_session(id).await.unwrap();
    assert_eq!(host.role, ParticipantRole::Clinician);
    assert_eq!(tx.visit_end(id).await, refused(Refusal::VisitNotOpen));
    tx.visit_open(id).await.unwrap();
    assert_eq!(
        tx.visit_admit(id, ParticipantId::generate()).await,
        refused(Refusal::NotWaiting)
    );
    let visit = tx.visit_admit(id, patient).await.unwrap();
    assert_eq!(visit.phase.state(), VisitState::Open);
    tx.commit().await.unwrap();

    let mut tx = world.begin(people.patient).await;
    let window = tx.signaling_session(id).await.unwrap();
    assert_eq!((window.participant_id, window.room_id), (patient, visit.room_id));
    assert_eq!(window.until, booked.slot.ends_at() + OVERRUN_MAX);
    tx.commit().await.unwrap();

    let mut tx = world.begin(people.clinician).await;
    let ended = tx.visit_end(id).await.unwrap();
    assert_eq!(ended.phase.state(), VisitState::Ended);
    assert_eq!(tx.visit_end(id).await.unwrap(), ended, "twice is once");
    let appointment = tx.appointment_get(booked.id).await.unwrap();
    assert_eq!(appointment.status, AppointmentStatus::Completed);
    assert_eq!(appointment.version.0, 2);
    let late = tx.appointment_cancel(booked.id, appointment.version, None).await;
    assert_eq!(late, refused(Refusal::AppointmentClosed));
    assert_eq!(tx.signaling_session(id).await, refused(Refusal::VisitEnded));
    tx.commit().await.unwrap();
    let mut tx = world.begin(people.patient).await;
    assert_eq!(
        tx.visit_get(id).await.unwrap(),
        ended,
        "what was answered is what is stored"
    );
    assert_eq!(
        tx.message_create(id, &"late".parse().unwrap()).await,
        refused(Refusal::VisitEnded)
    );
}

#[tokio::test]
async fn the_media_planes_ids_say_nothing() {
    let world = world().await;
    let visit_id = world.book(slot_now()).await.visit_id;
    let mut tx = world.begin(world.people.clinician).await;
    let visit = tx.visit_get(visit_id).await.unwrap();
    let ids = visit
        .participants
        .iter()
        .map(|participant| participant.id.as_uuid());
    for id in ids.chain([visit.room_id.as_uuid()]) {
        assert_eq!(id.get_version(), Some(UuidVersion::Random), "no time in it");
    }
    let found = world.store.room_locate(visit.room_id).await.unwrap();
    assert_eq!(
        found,
        Some(RoomLocation {
            clinic_id: world.clinic,
            visit_id
        })
    );
    assert_eq!(world.store.room_locate(RoomId::generate()).await.unwrap(), None);
}

#[tokio::test]
async fn a_visit_is_its_participants_business() {
    let world = world().await;
    let id = world.book(slot_now()).await.visit_id;
    // An admin may never look into a visit, and is told so before anything is looked up.
    for (caller, code) in [
        (world.people.admin, ProblemCode::Forbidden),
        (world.people.colleague, ProblemCode::NotFound),
    ] {
        let mut tx = world.begin(caller).await;
        assert_eq!(told(tx.visit_get(id).await), code);
        assert_eq!(told(tx.visit_pulse(id).await), code);
        assert_eq!(told(tx.visit_check_in(id).await), code);
        assert_eq!(told(tx.visit_open(id).await), code);
        assert_eq!(told(tx.visit_end(id).await), code);
        assert_eq!(told(tx.signaling_session(id).await), code);
        assert_eq!(told(tx.message_list(id, None, None).await), code);
        assert_eq!(told(tx.message_create(id, &"x".parse().unwrap()).await), code);
    }
    let mut tx = world.begin(world.people.other_patient).await;
    assert_eq!(told(tx.visit_get(id).await), ProblemCode::NotFound);
    assert_eq!(told(tx.visit_end(id).await), ProblemCode::Forbidden);
    for caller in [world.people.colleague, world.people.other_patient] {
        let mut tx = world.begin(caller).await;
        assert!(tx.visit_list(None).await.unwrap().visits.is_empty());
    }
}

#[tokio::test]
async fn a_guest_is_admitted_by_being_added() {
    let world = world().await;
    let people = world.people;
    let id = world.book(slot_now()).await.visit_id;
    let guest = people.colleague;
    let mut tx = world.begin(people.patient).await;
    assert_eq!(
        told(tx.participant_add(id, guest.person_id).await),
        ProblemCode::Forbidden
    );
    tx.rollback().await.unwrap();
    let mut tx = world.begin(people.clinician).await;
    let unknown = tx.participant_add(id, medmesh_base::PersonId::generate()).await;
    assert_eq!(unknown, refused(Refusal::ParticipantUnsuitable));
    let visit = tx.participant_add(id, guest.person_id).await.unwrap();
    assert_eq!(
        visit.of_person(guest.person_id).unwrap().role,
        ParticipantRole::Guest
    );
    assert_eq!(
        tx.participant_add(id, guest.person_id).await,
        refused(Refusal::AlreadyTakesPart)
    );
    tx.commit().await.unwrap();
    let mut tx = world.begin(guest).await;
    assert_eq!(tx.visit_get(id).await.unwrap(), visit);
    assert_eq!(
        tx.signaling_session(id).await,
        refused(Refusal::NotAdmitted),
        "not open yet"
    );
    tx.commit().await.unwrap();
    let mut tx = world.begin(people.clinician).await;
    tx.visit_open(id).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = world.begin(guest).await;
    assert_eq!(
        tx.signaling_session(id).await.unwrap().role,
        ParticipantRole::Guest
    );
}

#[tokio::test]
async fn the_media_plane_tells_who_is_there() {
    let world = world().await;
    let id = world.book(slot_now()).await.visit_id;
    let mut tx = world.begin(world.people.clinician).await;
    let host = tx
        .visit_open(id)
        .await
        .unwrap()
        .of_person(world.people.clinician.person_id)
        .unwrap()
        .id;
    tx.commit().await.unwrap();
    let media = Actor::System(SystemActor::Media);
    let request = medmesh_base::RequestId::generate();
    let states = [
        (true, ParticipantState::InCall),
        (false, ParticipantState::Left),
        (true, ParticipantState::InCall),
    ];
    for (connected, state) in states {
        let mut tx = world.store.begin(world.clinic, media, request).await.unwrap();
        let visit = tx
            .participant_presence(id, host, connected)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(visit.participant(host).unwrap().state, state);
        assert_eq!(
            tx.participant_presence(id, host, connected).await.unwrap(),
            None,
            "no news"
        );
        tx.commit().await.unwrap();
    }
    let mut tx = world.store.begin(world.clinic, media, request).await.unwrap();
    let stranger = tx.participant_presence(id, ParticipantId::generate(), true).await;
    assert_eq!(stranger, Err(StoreError::NotFound));
}

#[tokio::test]
async fn moving_empties_the_waiting_room_and_cancelling_ends_the_visit() {
    let world = world().await;
    let booked = world.book(slot_now()).await;
    let mut tx = world.begin(world.people.patient).await;
    tx.visit_check_in(booked.visit_id).await.unwrap();
    let change = AppointmentChange {
        starts_at: Some(slot(0).starts_at()),
        ends_at: Some(slot(0).ends_at()),
        reason: Some("another reason".parse().unwrap()),
        segment: None,
    };
    let moved = tx
        .appointment_update(booked.id, booked.version, &change)
        .await
        .unwrap();
    let visit = tx.visit_get(booked.visit_id).await.unwrap();
    assert_eq!((visit.phase, visit.slot), (Phase::Scheduled, slot(0)));
    assert!(
        visit
            .participants
            .iter()
            .all(|one| one.state == ParticipantState::Expected)
    );
    tx.appointment_cancel(booked.id, moved.version, None)
        .await
        .unwrap();
    let visit = tx.visit_get(booked.visit_id).await.unwrap();
    assert!(matches!(visit.phase, Phase::Ended { opened_at: None, .. }));
    tx.commit().await.unwrap();

    let open = world.book(slot_now()).await;
    let mut tx = world.begin(world.people.clinician).await;
    tx.visit_open(open.visit_id).await.unwrap();
    assert_eq!(
        tx.appointment_cancel(open.id, open.version, None).await,
        refused(Refusal::VisitBegun)
    );
}

#[tokio::test]
async fn a_day_is_the_clinics_day() {
    let world = world().await; // In New York.
    let now = datetime!(2026-11-01 03:30 UTC); // 31 October, 23:30 there.
    let late = Slot::new(now, now + Duration::minutes(20)).unwrap();
    // The day summer time ends there has 25 hours.
    let first = Slot::new(datetime!(2026-11-01 04:00 UTC), datetime!(2026-11-01 04:20 UTC)).unwrap();
    let last = Slot::new(datetime!(2026-11-02 04:40 UTC), datetime!(2026-11-02 05:00 UTC)).unwrap();
    let next = Slot::new(datetime!(2026-11-02 05:00 UTC), datetime!(2026-11-02 05:20 UTC)).unwrap();
    let mut made = Vec::new();
    for slot in [late, first, last, next] {
        let mut tx = world.begin_at(world.people.clinician, now).await;
        made.push(tx.appointment_create(&world.new_appointment(slot)).await.unwrap());
        tx.commit().await.unwrap();
    }
    let mut tx = world.begin_at(world.people.patient, now).await;
    let today = tx.visit_list(None).await.unwrap();
    assert_eq!(today.day, date!(2026 - 10 - 31));
    assert_eq!(
        today.visits.iter().map(|visit| visit.slot).collect::<Vec<_>>(),
        [late]
    );
    let long = tx.visit_list(Some(date!(2026 - 11 - 01))).await.unwrap();
    assert_eq!(
        long.visits.iter().map(|visit| visit.slot).collect::<Vec<_>>(),
        [first, last]
    );
    assert!(long.visits.iter().all(|visit| visit.participants.len() == 2));
    tx.appointment_cancel(made[1].id, made[1].version, None)
        .await
        .unwrap();
    let long = tx.visit_list(Some(date!(2026 - 11 - 01))).await.unwrap();
    assert_eq!(
        long.visits.iter().map(|visit| visit.slot).collect::<Vec<_>>(),
        [last]
    );
}

#[tokio::test]
async fn doors_open_and_close_by_the_clock() {
    let world = world().await;
    let booked = world.book(slot(0)).await;
    let (start, end) = (booked.slot.starts_at(), booked.slot.ends_at());
    let clinician = world.people.clinician;
    let early = start - JOIN_LEAD - Duration::SECOND;
    let mut tx = world.begin_at(clinician, early).await;
    assert_eq!(tx.visit_open(booked.visit_id).await, refused(Refusal::TooEarly));
    assert_eq!(
        tx.signaling_session(booked.visit_id).await,
        refused(Refusal::TooEarly)
    );
    tx.rollback().await.unwrap();
    let mut tx = world.begin_at(clinician, end + OVERRUN_MAX).await;
    assert_eq!(tx.visit_open(booked.visit_id).await, refused(Refusal::TooLate));
    tx.rollback().await.unwrap();
    let mut tx = world.begin_at(clinician, start - JOIN_LEAD).await;
    tx.visit_open(booked.visit_id).await.unwrap();
}

async fn write(world: &World, visit: medmesh_base::VisitId, n: usize) -> MessageId {
    let caller = if n.is_multiple_of(2) {
        world.people.patient
    } else {
        world.people.clinician
    };
    let mut tx = world.begin(caller).await;
    let message = tx
        .message_create(visit, &format!("message {n}").parse().unwrap())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    message.id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_resumes_gets_every_message_once_and_in_order() {
    const MESSAGES: usize = 60;
    let world = world().await;
    let visit = world.book(slot_now()).await.visit_id;
    let writing = futures::future::join_all((0..MESSAGES).map(|n| write(&world, visit, n)));
    // Reads along, a few at a time, each time from the last it has.
    let reading = async {
        let mut seen: Vec<(MessageId, i64)> = Vec::new();
        let deadline = OffsetDateTime::now_utc() + Duration::seconds(60);
        while seen.len() < MESSAGES {
            assert!(OffsetDateTime::now_utc() < deadline, "all messages arrive");
            let mut tx = world.begin(world.people.patient).await;
            let after = seen.last().map(|last| last.0);
            let messages = tx.message_list(visit, after, Some(7)).await.unwrap();
            tx.commit().await.unwrap();
            assert!(messages.len() <= 7);
            seen.extend(messages.iter().map(|message| (message.id, message.sequence)));
        }
        seen
    };
    let (written, seen) = tokio::join!(writing, reading);
    let places: Vec<_> = seen.iter().map(|one| usize::try_from(one.1).unwrap()).collect();
    assert_eq!(places, (1..=MESSAGES).collect::<Vec<_>>());
    let (mut written, mut ids) = (written, seen.iter().map(|one| one.0).collect::<Vec<_>>());
    written.sort();
    ids.sort();
    assert_eq!(ids, written);
    let mut tx = world.begin(world.people.clinician).await;
    assert_eq!(tx.visit_pulse(visit).await.unwrap().message_sequence, 60);
    let elsewhere = tx.message_list(visit, Some(MessageId::generate()), None).await;
    assert_eq!(elsewhere, Err(StoreError::CursorInvalid));
}

/// Steps on one visit queue up; each sees what the one before it did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simultaneous_steps_are_one_after_the_other() {
    let world = world().await;
    let booked = world.book(slot_now()).await;
    let id = booked.visit_id;
    let steps = (0..30).map(|n: usize| {
        let world = &world;
        async move {
            match n % 3 {
                0 => {
                    let mut tx = world.begin(world.people.patient).await;
                    tx.visit_check_in(id).await.unwrap();
                    tx.commit().await.unwrap();
                }
                1 => {
                    let mut tx = world.begin(world.people.clinician).await;
                    tx.visit_open(id).await.unwrap();
                    tx.commit().await.unwrap();
                }
                _ => {
                    write(world, id, n).await;
                }
            }
        }
    });
    futures::future::join_all(steps).await;
    let mut tx = world.begin(world.people.patient).await;
    let visit = tx.visit_get(id).await.unwrap();
    assert_eq!(visit.phase.state(), VisitState::Open);
    assert_eq!(visit.patient().unwrap().state, ParticipantState::Waiting);
    assert_eq!(visit.version.0, 3, "created, checked in, opened");
}
