//! Appointments over HTTP: idempotency, concurrency, versions, and other clinics.

use futures::StreamExt as _;
use medmesh_api_client::IdempotencyKey;
use medmesh_api_types::appointment::{
    AppointmentCancel, AppointmentQuery, AppointmentStatus, AppointmentUpdate,
};
use medmesh_base::{Phi, ProblemCode};
use medmesh_tests::control::TestClinic;
use time::Duration;
use uuid::Uuid;

use super::{World, plain_http, refused};

#[tokio::test]
async fn an_appointment_is_booked_changed_and_called_off() {
    let world = World::new().await;
    let clinician = world.signed_in("clinician").await;
    let booking = world.booking("patient", "clinician", 60);
    let booked = clinician
        .appointment_create(&IdempotencyKey::fresh(), &booking)
        .await
        .unwrap();
    assert_eq!((booked.status, booked.version), (AppointmentStatus::Booked, 1));
    assert_eq!(booked.patient.display_name, Phi::new("Paula Patient".into()));
    assert_eq!(clinician.appointment_get(booked.id).await.unwrap(), booked);

    let later = AppointmentUpdate {
        starts_at: Some(booked.starts_at + Duration::hours(1)),
        ends_at: Some(booked.ends_at + Duration::hours(1)),
        reason: None,
        segment: None,
    };
    let moved = clinician.appointment_update(booked.id, 1, &later).await.unwrap();
    assert_eq!((moved.version, moved.reason), (2, booked.reason.clone()));
    let stale = clinician.appointment_update(booked.id, 1, &later).await;
    assert_eq!(refused(stale), ProblemCode::VersionMismatch);

    let patient = world.signed_in("patient").await;
    let cancel = AppointmentCancel {
        reason: Some(Phi::new("feeling better".into())),
    };
    assert_eq!(
        refused(patient.appointment_cancel(booked.id, 1, &cancel).await),
        ProblemCode::VersionMismatch
    );
    let cancelled = patient.appointment_cancel(booked.id, 2, &cancel).await.unwrap();
    assert_eq!(cancelled.status, AppointmentStatus::Cancelled);
    // The time is free again.
    clinician
        .appointment_create(
            &IdempotencyKey::fresh(),
            &world.booking("second", "clinician", 120),
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn a_repeated_request_is_answered_byte_for_byte_and_has_one_effect() {
    let world = World::new().await;
    let http = plain_http();
    let url = |path: &str| format!("{}{path}", world.node.url());
    let (cookie, csrf) = world.credentials("clinician").await;
    let key = Uuid::new_v4().to_string();
    let send = |body: String, key: Option<&str>| {
        let mut request = http.post(url("/v1/appointments")).header("cookie", &cookie);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        request
            .header("x-csrf-token", &csrf)
            .header("content-type", "application/json")
            .body(body)
            .send()
    };
    let body = serde_json::to_string(&world.booking("patient", "clinician", 60)).unwrap();

    // The first answer is lost: the client goes away before it arrives.
    drop(
        tokio::time::timeout(
            std::time::Duration::from_millis(1),
            send(body.clone(), Some(&key)),
        )
        .await,
    );
    let mut answers = Vec::new();
    while answers.len() < 4 {
        let answer = send(body.clone(), Some(&key)).await.unwrap();
        if answer.status() == 409 {
            continue; // The lost one is still being worked on.
        }
        assert_eq!(answer.status(), 201);
        let headers = ["etag", "location", "content-type"].map(|name| answer.headers()[name].clone());
        answers.push((headers, answer.bytes().await.unwrap()));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
    let id = serde_json::from_slice::<serde_json::Value>(&answers[0].1).unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(answers[0].0[1], format!("/v1/appointments/{id}").as_str());

    let other = body.replace("cough", "cold");
    assert_eq!(send(other, Some(&key)).await.unwrap().status(), 422);
    assert_eq!(send(body.clone(), None).await.unwrap().status(), 400);
    assert_eq!(send(body.clone(), Some("short")).await.unwrap().status(), 400);
    assert_eq!(
        send(body, Some(&Uuid::new_v4().to_string()))
            .await
            .unwrap()
            .status(),
        409
    );
    let all = world
        .signed_in("clinician")
        .await
        .appointment_list(&AppointmentQuery::default())
        .await
        .unwrap();
    assert_eq!(all.items.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_500_concurrent_bookings_for_20_slots_20_succeed() {
    const REQUESTS: usize = 500;
    const SLOTS: i64 = 20;
    let world = World::new().await;
    let admin = world.signed_in("admin").await;
    // Slots of two clinicians in turn, with patients who are busy themselves: 20 slots of half an hour each.
    let outcomes: Vec<_> = futures::stream::iter(0..REQUESTS)
        .map(|n| {
            let slot = (n as i64) % SLOTS;
            let mut booking = world.booking("patient", "clinician", 0);
            booking.starts_at = booking.starts_at.replace_time(time::Time::MIDNIGHT)
                + Duration::days(2)
                + Duration::minutes(30 * slot);
            booking.ends_at = booking.starts_at + Duration::minutes(30);
            booking.patient_id = world.clinic.person(["patient", "second", "third"][n % 3]);
            let admin = admin.clone();
            async move {
                // A retry with the same key, as a client does when the database asks it to wait.
                let key = IdempotencyKey::fresh();
                loop {
                    match admin.appointment_create(&key, &booking).await {
                        Ok(booked) => return Some((slot, booked.id)),
                        outcome => match refused(outcome) {
                            ProblemCode::SlotTaken => return None,
                            ProblemCode::Unavailable => tokio::task::yield_now().await,
                            code => panic!("{code:?}"),
                        },
                    }
                }
            }
        })
        .buffer_unordered(REQUESTS)
        .collect()
        .await;
    let mut booked: Vec<_> = outcomes.into_iter().flatten().collect();
    booked.sort_unstable();
    assert_eq!(
        booked.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(),
        (0..SLOTS).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn another_clinic_finds_nothing_here() {
    let world = World::new().await;
    let other = TestClinic::open(&world.scratch, "hillside").await;
    let booked = world.booked_now().await;
    for login in ["admin", "clinician", "patient"] {
        // An admin never looks into visits, of whatever clinic.
        let closed = if login == "admin" {
            ProblemCode::Forbidden
        } else {
            ProblemCode::NotFound
        };
        let stranger = world.node.signed_in_as(&other, login).await;
        assert_eq!(
            refused(stranger.appointment_get(booked.id).await),
            ProblemCode::NotFound
        );
        let update = AppointmentUpdate::default();
        assert_eq!(
            refused(stranger.appointment_update(booked.id, 1, &update).await),
            ProblemCode::NotFound
        );
        assert_eq!(refused(stranger.visit_get(booked.visit_id).await), closed);
        assert_eq!(refused(stranger.visit_check_in(booked.visit_id).await), closed);
        assert_eq!(
            refused(stranger.signaling_candidates(booked.visit_id).await),
            closed
        );
        let all = stranger
            .appointment_list(&AppointmentQuery::default())
            .await
            .unwrap();
        assert!(all.items.is_empty());
    }
    // Neither do people of the same clinic who take no part.
    let second = world.signed_in("second").await;
    assert_eq!(
        refused(second.appointment_get(booked.id).await),
        ProblemCode::NotFound
    );
    assert_eq!(
        refused(second.visit_get(booked.visit_id).await),
        ProblemCode::NotFound
    );
    let admin = world.signed_in("admin").await;
    let seen = admin.appointment_get(booked.id).await.unwrap();
    assert_eq!((seen.reason, seen.segment), (None, None), "when, not why");
    assert_eq!(
        refused(admin.visit_get(booked.visit_id).await),
        ProblemCode::Forbidden,
        "chat is not an admin's"
    );
}
