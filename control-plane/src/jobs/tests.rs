//! Workers against a real PostgreSQL.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use medmesh_base::drain::Drain;
use medmesh_store::embedded::scratch::Scratch;
use medmesh_store::{JOB_LEASE, JobKind, JobOptions, Store, StoreError};
use prometheus::Registry;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::worker::backoff;
use super::{Handlers, JobFailure, JobMetrics, work};

#[derive(Serialize, Deserialize)]
struct Echo {
    number: u32,
}

impl JobKind for Echo {
    const KIND: &'static str = "echo";
    const ATTEMPTS_MAX: u32 = 2;
}

async fn store() -> Store {
    Scratch::database().await.unwrap().store(8).await.unwrap()
}

/// Until it holds; the limit is for a machine that is busy with other things.
async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .expect("it never came to be");
}

#[tokio::test]
async fn a_job_is_done_once_and_forgotten() {
    let store = store().await;
    for number in 1..=40 {
        let once = JobOptions {
            dedupe_key: Some(number.to_string()),
            due_at: None,
        };
        assert!(store.job_add(&Echo { number }, once.clone()).await.unwrap());
        assert!(
            !store.job_add(&Echo { number }, once).await.unwrap(),
            "one is enough"
        );
    }
    let sum = Arc::new(AtomicU32::new(0));
    let seen = sum.clone();
    let handlers = Handlers::default().on(move |_, echo: Echo| {
        let sum = sum.clone();
        async move {
            sum.fetch_add(echo.number, Ordering::SeqCst);
            Ok(())
        }
    });
    let drain = Drain::new();
    for _ in 0..3 {
        let metrics = JobMetrics::new(&Registry::new());
        drain.spawn(work(store.clone(), handlers.clone(), metrics, drain.clone()));
    }
    eventually(async || store.job_list(None, None, 10).await.unwrap().is_empty()).await;
    assert_eq!(drain.finish(Duration::from_secs(30)).await, 0);
    assert_eq!(
        seen.load(Ordering::SeqCst),
        (1..=40).sum::<u32>(),
        "three nodes, each job once"
    );
}

#[tokio::test]
async fn what_fails_for_good_waits_for_a_person_and_can_be_tried_again() {
    let store = store().await;
    store
        .job_add(&Echo { number: 1 }, JobOptions::default())
        .await
        .unwrap();
    store
        .job_add(&Echo { number: 2 }, JobOptions::default())
        .await
        .unwrap();
    let broken = Arc::new(AtomicU32::new(1));
    let is_broken = broken.clone();
    let handlers = Handlers::default().on(move |_, echo: Echo| {
        let broken = is_broken.clone();
        async move {
            assert!(echo.number != 2 || broken.load(Ordering::SeqCst) == 0, "panics");
            match broken.load(Ordering::SeqCst) {
                0 => Ok(()),
                _ => Err(JobFailure::Never("no_such_thing")),
            }
        }
    });
    let drain = Drain::new();
    let metrics = JobMetrics::new(&Registry::new());
    drain.spawn(work(store.clone(), handlers, metrics, drain.clone()));
    eventually(async || store.job_list(Some(true), None, 10).await.unwrap().len() == 1).await;
    let dead = store.job_list(Some(true), None, 10).await.unwrap().remove(0);
    assert_eq!(
        (dead.kind.as_str(), dead.last_error.as_deref()),
        ("echo", Some("no_such_thing"))
    );
    // A panic is no reason to give up: it waits for its second try.
    eventually(async || {
        let waiting = store.job_list(Some(false), None, 10).await.unwrap();
        waiting.len() == 1 && waiting[0].last_error.as_deref() == Some("panicked")
    })
    .await;
    broken.store(0, Ordering::SeqCst);
    let now = OffsetDateTime::now_utc();
    store.job_retry(dead.id, now).await.unwrap();
    assert_eq!(store.job_retry(dead.id, now).await, Err(StoreError::NotFound));
    eventually(async || store.job_list(None, None, 10).await.unwrap().is_empty()).await;
    assert_eq!(drain.finish(Duration::from_secs(30)).await, 0);
}

#[tokio::test]
async fn a_dead_workers_claim_runs_out_and_is_worth_nothing_then() {
    let store = store().await;
    store
        .job_add(&Echo { number: 1 }, JobOptions::default())
        .await
        .unwrap();
    let now = OffsetDateTime::now_utc();
    let first = store.job_claim(&["echo"], now, 10).await.unwrap().remove(0);
    assert!(
        store.job_claim(&["echo"], now, 10).await.unwrap().is_empty(),
        "it is taken"
    );
    let later = now + JOB_LEASE * 2;
    assert!(
        store.job_claim(&["other"], later, 10).await.unwrap().is_empty(),
        "another's kind"
    );
    let second = store.job_claim(&["echo"], later, 10).await.unwrap().remove(0);
    assert_eq!(second.attempts, 2);
    assert!(!store.job_done(&first).await.unwrap());
    assert!(!store.job_failed(&first, "late", None).await.unwrap());
    assert!(store.job_done(&second).await.unwrap());
    let counts = store.job_counts(later).await.unwrap();
    assert!(counts.is_empty());
}

#[test]
fn pauses_grow_and_differ() {
    for attempts in 1..=30 {
        let longest = Duration::from_secs(2)
            .saturating_mul(1 << (attempts - 1).min(20))
            .min(Duration::from_secs(3600));
        let pauses: Vec<_> = (0..20).map(|_| backoff(attempts)).collect();
        assert!(
            pauses
                .iter()
                .all(|pause| *pause <= longest && *pause >= longest / 2)
        );
        assert!(pauses.iter().any(|pause| *pause != pauses[0]), "with jitter");
    }
}
