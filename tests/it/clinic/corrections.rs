//! A patient asks for a correction; those who may answer do, and both sides stay on record.

use medmesh_api_client::IdempotencyKey;
use medmesh_api_types::correction::{
    CorrectionCreate, CorrectionDecline, CorrectionDisagree, CorrectionQuery, CorrectionState,
};
use medmesh_api_types::page::PageQuery;
use medmesh_base::{Phi, ProblemCode};
use medmesh_tests::control::Wishes;
use medmesh_tests::smtp::SmtpSink;
use time::Duration;

use super::{World, refused};

fn key() -> IdempotencyKey {
    IdempotencyKey::fresh()
}

fn wrong(what: &str) -> CorrectionCreate {
    CorrectionCreate {
        what: Phi::new(what.into()),
        why: Phi::new("I was there".into()),
    }
}

fn decline(reason: &str) -> CorrectionDecline {
    CorrectionDecline {
        reason: Phi::new(reason.into()),
    }
}

fn disagree(statement: &str) -> CorrectionDisagree {
    CorrectionDisagree {
        statement: Phi::new(statement.into()),
    }
}

const OPEN: CorrectionQuery = CorrectionQuery {
    state: Some(CorrectionState::Open),
    cursor: None,
    limit: None,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_correction_is_asked_for_declined_and_disagreed_with() {
    let sink = SmtpSink::start().await;
    let world = World::with(&Wishes {
        smtp_port: Some(sink.port()),
        ..Wishes::default()
    })
    .await;
    let patient = world.clinic.person("patient");
    world.booked_now().await;
    let own = world.signed_in("patient").await;
    let once = key();
    let asked = own
        .correction_create(&once, patient, &wrong("the left knee"))
        .await
        .unwrap();
    let replayed = own
        .correction_create(&once, patient, &wrong("the left knee"))
        .await
        .unwrap();
    assert_eq!(asked, replayed);
    assert_eq!(asked.due_at - asked.requested_at, Duration::days(60));
    assert_eq!((asked.state, asked.version), (CorrectionState::Open, 1));

    // Whoever looks after privacy is told that there is something, and not what.
    let told = sink.mail(0).await;
    assert_eq!(told.to, [world.clinic.email("admin")]);
    for word in ["knee", "Paula", &asked.id.to_string()] {
        assert!(!told.data.contains(word), "{word}");
    }

    // Those who treat the patient see it; those who do not, do not.
    let (clinician, colleague) = (
        world.signed_in("clinician").await,
        world.signed_in("colleague").await,
    );
    assert_eq!(
        clinician.correction_queue(&OPEN).await.unwrap().items,
        std::slice::from_ref(&asked)
    );
    assert!(colleague.correction_queue(&OPEN).await.unwrap().items.is_empty());
    assert_eq!(
        refused(colleague.correction_accept(asked.id, 1).await),
        ProblemCode::NotFound
    );
    let stranger = world.signed_in("second").await;
    let list = stranger.correction_list(patient, &PageQuery::default()).await;
    assert_eq!(refused(list), ProblemCode::NotFound);
    assert_eq!(
        refused(stranger.correction_disagree(asked.id, 1, &disagree("no")).await),
        ProblemCode::NotFound
    );
    // Nobody who is asked decides for the patient, and the patient not for them.
    assert_eq!(
        refused(own.correction_accept(asked.id, 1).await),
        ProblemCode::Forbidden
    );
    assert_eq!(
        refused(own.correction_disagree(asked.id, 1, &disagree("too soon")).await),
        ProblemCode::StateConflict
    );
    assert_eq!(
        refused(clinician.correction_decline(asked.id, 7, &decline("no")).await),
        ProblemCode::VersionMismatch
    );
    let declined = clinician
        .correction_decline(asked.id, 1, &decline("the pictures show the left one"))
        .await
        .unwrap();
    assert_eq!(
        declined.decided_by.as_ref().unwrap().id,
        world.clinic.person("clinician")
    );
    let told = sink.mail(1).await;
    assert_eq!(told.to, [world.clinic.email("patient")]);
    assert!(!told.data.contains("pictures") && told.data.contains("/patient/"));
    assert_eq!(
        refused(clinician.correction_accept(asked.id, 2).await),
        ProblemCode::StateConflict
    );
    let said = own
        .correction_disagree(asked.id, 2, &disagree("they are not mine"))
        .await
        .unwrap();
    assert_eq!(
        refused(own.correction_disagree(asked.id, 3, &disagree("again")).await),
        ProblemCode::StateConflict
    );
    assert_eq!(
        said.reason.as_ref().unwrap().expose(),
        "the pictures show the left one"
    );
    assert_eq!(
        said.disagreement.as_ref().unwrap().statement.expose(),
        "they are not mine"
    );
    assert!(clinician.correction_queue(&OPEN).await.unwrap().items.is_empty());
    let listed = own.correction_list(patient, &PageQuery::default()).await.unwrap();
    assert_eq!(listed.items, [said]);

    // In the database none of it can be read.
    let plain: bool = sqlx::query_scalar(
        "SELECT bool_or(position('knee'::bytea IN what) > 0 OR position('there'::bytea IN why) > 0
             OR position('pictures'::bytea IN reason) > 0 OR position('mine'::bytea IN statement) > 0) FROM correction",
    )
    .fetch_one(&mut world.admin().await)
    .await
    .unwrap();
    assert!(!plain);
    let acts: Vec<String> = sqlx::query_scalar(
        "SELECT action FROM audit WHERE object_id = $1 AND action NOT IN ('denied', 'correction_read') ORDER BY id",
    )
    .bind(asked.id.as_uuid())
    .fetch_all(&mut world.admin().await)
    .await
    .unwrap();
    assert_eq!(
        acts,
        ["correction_create", "correction_decline", "correction_disagree"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_privacy_officer_sees_everybodys_what_is_due_first() {
    let world = World::new().await;
    let admin = world.signed_in("admin").await;
    let mut asked = Vec::new();
    for who in ["second", "third", "patient"] {
        let own = world.signed_in(who).await;
        let person = world.clinic.person(who);
        asked.push(own.correction_create(&key(), person, &wrong(who)).await.unwrap());
    }
    // An admin is no privacy officer until they are named.
    assert!(admin.correction_queue(&OPEN).await.unwrap().items.is_empty());
    admin
        .privacy_officer_set(world.clinic.person("admin"), 0)
        .await
        .unwrap();
    let queue = admin.correction_queue(&OPEN).await.unwrap().items;
    assert_eq!(queue, asked);
    let first = CorrectionQuery {
        limit: Some(2),
        ..OPEN
    };
    let page = admin.correction_queue(&first).await.unwrap();
    let rest = CorrectionQuery {
        cursor: page.next_cursor.clone(),
        ..first
    };
    let both = [page.items, admin.correction_queue(&rest).await.unwrap().items].concat();
    assert_eq!(both, asked);
    let accepted = admin.correction_accept(asked[0].id, 1).await.unwrap();
    assert_eq!((accepted.state, accepted.version), (CorrectionState::Accepted, 2));
    assert_eq!(admin.correction_queue(&OPEN).await.unwrap().items, asked[1..]);
    // Every answer left a leaf that its patient can see.
    let seen: i64 = sqlx::query_scalar(
        "SELECT count(DISTINCT patient_id) FROM audit WHERE action = 'correction_read' AND actor_id = $1",
    )
    .bind(world.clinic.person("admin").as_uuid())
    .fetch_one(&mut world.admin().await)
    .await
    .unwrap();
    assert_eq!(seen, 3);
}
