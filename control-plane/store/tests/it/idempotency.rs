//! A repeated request has one effect and one answer.

use medmesh_base::Phi;
use medmesh_clinic::Caller;
use medmesh_store::{
    Claim, Fault, IDEMPOTENCY_KEPT, IdempotencyKey, RequestDigest, StoreError, StoredResponse, Tx,
};
use time::OffsetDateTime;

use crate::support::{World, slot, world, world_with};

const ROUTE: &str = "appointment_create";

fn key() -> IdempotencyKey {
    "0123456789abcdef".parse().unwrap()
}

fn digest(body: &str) -> RequestDigest {
    RequestDigest::of(&[b"/v1/appointments", body.as_bytes()])
}

fn answer(body: &[u8]) -> StoredResponse {
    let headers = vec![
        ("location".to_owned(), "/x".to_owned()),
        ("etag".to_owned(), "\"1\"".to_owned()),
    ];
    StoredResponse {
        status: 201,
        headers,
        body: Phi::new(body.to_vec()),
    }
}

/// What a handler does: claim, work, answer. Bytes that are no text go in as they are.
async fn handle(world: &World, caller: Caller, body: &str) -> Result<StoredResponse, StoreError> {
    let mut tx = world.begin(caller).await;
    match tx.idempotency_claim(ROUTE, key(), digest(body)).await? {
        Claim::Replay(response) => {
            tx.commit().await?;
            Ok(response)
        }
        Claim::New(ticket) => {
            let made = tx.appointment_create(&world.new_appointment(slot(0))).await?;
            let mut bytes = made.id.to_string().into_bytes();
            bytes.extend([0, 0xff, b'\n']);
            let response = answer(&bytes);
            tx.idempotency_answer(ticket, &response).await?;
            tx.commit().await?;
            Ok(response)
        }
    }
}

async fn claim(tx: &mut Tx, body: &str) -> Result<Claim, StoreError> {
    tx.idempotency_claim(ROUTE, key(), digest(body)).await
}

#[tokio::test]
async fn a_replay_is_byte_identical_and_has_no_effect() {
    let world = world().await;
    let first = handle(&world, world.people.clinician, "a").await.unwrap();
    for _ in 0..3 {
        assert_eq!(handle(&world, world.people.clinician, "a").await.unwrap(), first);
    }
    assert_eq!(world.count("SELECT count(*) FROM appointment").await, 1);
    let replays = "SELECT count(*) FROM audit WHERE action = 'answer_replay'";
    assert_eq!(world.count(replays).await, 3);
}

#[tokio::test]
async fn another_body_is_refused() {
    let world = world().await;
    handle(&world, world.people.clinician, "a").await.unwrap();
    let other = handle(&world, world.people.clinician, "b").await;
    assert_eq!(other, Err(StoreError::IdempotencyKeyReused));
    // Parts do not run together.
    assert_ne!(
        RequestDigest::of(&[b"ab", b"c"]),
        RequestDigest::of(&[b"a", b"bc"])
    );
}

#[tokio::test]
async fn keys_belong_to_an_account_and_a_route() {
    let world = world().await;
    handle(&world, world.people.clinician, "a").await.unwrap();
    let mut tx = world.begin(world.people.colleague).await;
    assert!(matches!(claim(&mut tx, "b").await, Ok(Claim::New(_))));
    let mut tx = world.begin(world.people.clinician).await;
    let elsewhere = tx.idempotency_claim("message_create", key(), digest("b")).await;
    assert!(matches!(elsewhere, Ok(Claim::New(_))));
}

#[tokio::test]
async fn while_the_first_runs_the_second_is_told_at_once() {
    let world = world().await;
    let mut first = world.begin(world.people.clinician).await;
    let Claim::New(ticket) = claim(&mut first, "a").await.unwrap() else {
        panic!("new")
    };
    for body in ["a", "b"] {
        let mut second = world.begin(world.people.clinician).await;
        assert!(matches!(
            claim(&mut second, body).await,
            Err(StoreError::RequestInFlight)
        ));
    }
    assert!(
        matches!(claim(&mut first, "a").await, Err(StoreError::RequestInFlight)),
        "itself included"
    );
    first.idempotency_answer(ticket, &answer(b"done")).await.unwrap();
    first.commit().await.unwrap();
    let mut third = world.begin(world.people.clinician).await;
    let Claim::Replay(response) = claim(&mut third, "a").await.unwrap() else {
        panic!("replay")
    };
    assert_eq!(response, answer(b"done"));
}

#[tokio::test]
async fn a_crash_frees_the_key_and_leaves_no_effect() {
    let world = world().await;
    // Given up by the handler.
    let mut tx = world.begin(world.people.clinician).await;
    let _ticket = claim(&mut tx, "a").await.unwrap();
    tx.appointment_create(&world.new_appointment(slot(0)))
        .await
        .unwrap();
    tx.rollback().await.unwrap();
    // Its connection cut from behind.
    let mut tx = world.begin(world.people.clinician).await;
    let Claim::New(ticket) = claim(&mut tx, "a").await.unwrap() else {
        panic!("free again")
    };
    tx.appointment_create(&world.new_appointment(slot(0)))
        .await
        .unwrap();
    let killed = "SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE usename = 'medmesh_service' AND datname = current_database() AND state = 'idle in transaction') k";
    assert_eq!(world.count(killed).await, 1);
    assert!(matches!(
        tx.idempotency_answer(ticket, &answer(b"x")).await,
        Err(StoreError::Unavailable(_))
    ));
    drop(tx);
    assert_eq!(world.count("SELECT count(*) FROM appointment").await, 0);
    handle(&world, world.people.clinician, "b").await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM appointment").await, 1);
}

#[tokio::test]
async fn an_effect_without_its_answer_cannot_be_committed() {
    let world = world().await;
    let mut tx = world.begin(world.people.clinician).await;
    let _ticket = claim(&mut tx, "a").await.unwrap();
    tx.appointment_create(&world.new_appointment(slot(0)))
        .await
        .unwrap();
    let Err(StoreError::Internal(Fault::Database { constraint, .. })) = tx.commit().await else {
        panic!("refused")
    };
    assert_eq!(constraint.as_deref(), Some("idempotency_answered"));
    assert_eq!(world.count("SELECT count(*) FROM appointment").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_at_once_have_one_effect() {
    let world = world_with(24).await;
    let tries = (0..100).map(|_| handle(&world, world.people.clinician, "a"));
    let mut answers = Vec::new();
    for outcome in futures::future::join_all(tries).await {
        match outcome {
            Ok(response) => answers.push(response),
            Err(StoreError::RequestInFlight) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(!answers.is_empty());
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(
        handle(&world, world.people.clinician, "a").await.unwrap(),
        answers[0]
    );
    assert_eq!(world.count("SELECT count(*) FROM appointment").await, 1);
}

#[tokio::test]
async fn old_answers_go() {
    let world = world().await;
    handle(&world, world.people.clinician, "a").await.unwrap();
    let now = OffsetDateTime::now_utc();
    assert_eq!(world.store.upkeep(now).await.unwrap().idempotency_keys, 0);
    let later = now + IDEMPOTENCY_KEPT + time::Duration::minutes(1);
    assert_eq!(world.store.upkeep(later).await.unwrap().idempotency_keys, 1);
    assert_eq!(world.count("SELECT count(*) FROM idempotency").await, 0);
}

#[test]
fn keys_have_a_shape() {
    for bad in ["", "1234567", "with space", "ünïcödé-key", &"x".repeat(65)] {
        assert!(bad.parse::<IdempotencyKey>().is_err(), "{bad}");
    }
    for good in [
        "12345678",
        &"x".repeat(64),
        "6f1c1f6e-3f0e-4d6b-8a5c-2f9f3f2a9f11",
    ] {
        good.parse::<IdempotencyKey>().unwrap();
    }
}
