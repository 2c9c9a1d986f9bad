//! A visit's life over HTTP: waiting, opening, admitting, joining, ending.

use medmesh_api_client::{Clinic, IdempotencyKey};
use medmesh_api_types::signaling::{PublicJwk, SessionRequest};
use medmesh_api_types::visit::{ParticipantRole, ParticipantState, Visit, VisitQuery, VisitState};
use medmesh_base::{ParticipantId, ProblemCode, VisitId};

use super::{World, refused};

fn of(visit: &Visit, role: ParticipantRole) -> (ParticipantId, ParticipantState) {
    let found = visit
        .participants
        .iter()
        .find(|participant| participant.role == role)
        .unwrap();
    (found.participant_id, found.state)
}

/// A point on P-256: the first of RFC 6979's examples, a public constant.
pub(crate) fn key() -> PublicJwk {
    PublicJwk {
        kty: "EC".into(),
        crv: "P-256".into(),
        x: "YP7UuiVanTHJYet0xjVtaMBJuJI7Yfps5mliLmDyn7Y".into(),
        y: "eQP-EAi4vJmkGunpVii8ZPLxsgwtfp9Rd6PClNRGIpk".into(),
    }
}

pub(crate) fn join(visit_id: VisitId, key: PublicJwk) -> SessionRequest {
    SessionRequest {
        visit_id,
        probes: Vec::new(),
        key,
    }
}

async fn today(client: &Clinic) -> Vec<Visit> {
    client.visit_list(&VisitQuery::default()).await.unwrap().items
}

#[tokio::test]
async fn a_visit_goes_from_scheduled_to_ended() {
    let world = World::new().await;
    let booked = world.booked_now().await;
    let id = booked.visit_id;
    let (clinician, patient) = (
        world.signed_in("clinician").await,
        world.signed_in("patient").await,
    );
    let seen = patient.visit_get(id).await.unwrap();
    assert_eq!(
        (seen.state, seen.appointment_id),
        (VisitState::Scheduled, booked.id)
    );
    let you = seen.you.unwrap();
    assert_eq!(you, of(&seen, ParticipantRole::Patient).0);
    assert_ne!(clinician.visit_get(id).await.unwrap().you, seen.you);

    assert_eq!(refused(patient.visit_open(id).await), ProblemCode::Forbidden);
    let waiting = patient.visit_check_in(id).await.unwrap();
    assert_eq!(
        (waiting.state, of(&waiting, ParticipantRole::Patient).1),
        (VisitState::Waiting, ParticipantState::Waiting)
    );
    assert_eq!(
        refused(patient.signaling_session(&join(id, key())).await),
        ProblemCode::NotAdmitted
    );
    let open = clinician.visit_open(id).await.unwrap();
    assert_eq!(open.state, VisitState::Open);
    assert_eq!(
        refused(patient.visit_admit(id, you).await),
        ProblemCode::Forbidden
    );
    let admitted = clinician.visit_admit(id, you).await.unwrap();
    assert_eq!(
        of(&admitted, ParticipantRole::Patient).1,
        ParticipantState::Admitted
    );
    assert!(admitted.version > open.version);

    let colleague = world.clinic.person("colleague");
    let key = IdempotencyKey::fresh();
    let three = clinician.participant_add(&key, id, colleague).await.unwrap();
    assert_eq!(three.participants.len(), 3);
    assert_eq!(
        clinician.participant_add(&key, id, colleague).await.unwrap(),
        three,
        "a repeat is the same"
    );
    assert!(
        today(&world.signed_in("colleague").await)
            .await
            .iter()
            .any(|visit| visit.id == id)
    );

    let ended = clinician.visit_end(id).await.unwrap();
    assert_eq!(ended.state, VisitState::Ended);
    assert_eq!(
        refused(patient.signaling_session(&join(id, super::visit::key())).await),
        ProblemCode::StateConflict
    );
}

#[tokio::test]
async fn visits_are_listed_by_the_clinics_day() {
    let world = World::new().await;
    let booked = world.booked_now().await;
    let patient = world.signed_in("patient").await;
    // The harness books one minute ahead, which may be tomorrow in Berlin at midnight.
    let berlin_day = |offset: i64| {
        let local = booked.starts_at + time::Duration::hours(offset);
        local.date().to_string()
    };
    let mut found = 0;
    for day in [berlin_day(1), berlin_day(2)]
        .into_iter()
        .collect::<std::collections::BTreeSet<_>>()
    {
        let list = patient.visit_list(&VisitQuery { day: Some(day) }).await.unwrap();
        found += list
            .items
            .iter()
            .filter(|visit| visit.id == booked.visit_id)
            .count();
    }
    assert_eq!(found, 1);
    let list = patient
        .visit_list(&VisitQuery {
            day: Some("1999-01-01".into()),
        })
        .await
        .unwrap();
    assert!(list.items.is_empty());
    let bad = patient
        .visit_list(&VisitQuery {
            day: Some("yesterday".into()),
        })
        .await;
    assert_eq!(refused(bad), ProblemCode::InvalidRequest);
}

#[tokio::test]
async fn a_session_needs_a_key_that_is_a_point_and_says_503_without_a_fleet() {
    let world = World::new().await;
    let id = world.booked_now().await.visit_id;
    let clinician = world.signed_in("clinician").await;
    for bad in [
        PublicJwk {
            kty: "RSA".into(),
            ..key()
        },
        PublicJwk {
            crv: "P-384".into(),
            ..key()
        },
        PublicJwk { x: key().y, ..key() },
        PublicJwk {
            x: "AA".into(),
            ..key()
        },
        PublicJwk {
            y: String::new(),
            ..key()
        },
    ] {
        assert_eq!(
            refused(clinician.signaling_session(&join(id, bad)).await),
            ProblemCode::InvalidRequest
        );
    }
    let outcome = refused(clinician.signaling_session(&join(id, key())).await);
    assert!(
        matches!(outcome, ProblemCode::Unavailable | ProblemCode::NoCapacity),
        "{outcome:?}"
    );
}
