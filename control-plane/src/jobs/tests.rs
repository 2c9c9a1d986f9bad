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
use super::{Handlers, JobFailure, JobMetrics, Pace, Run, work, work_at};

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
    let first = store
        .job_claim(&["echo"], now, JOB_LEASE, 10)
        .await
        .unwrap()
        .remove(0);
    assert!(
        store
            .job_claim(&["echo"], now, JOB_LEASE, 10)
            .await
            .unwrap()
            .is_empty(),
        "it is taken"
    );
    let later = now + JOB_LEASE * 2;
    assert!(
        store
            .job_claim(&["other"], later, JOB_LEASE, 10)
            .await
            .unwrap()
            .is_empty(),
        "another's kind"
    );
    let second = store
        .job_claim(&["echo"], later, JOB_LEASE, 10)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(second.attempts, 2);
    assert!(!store.job_done(&first).await.unwrap());
    assert!(!store.job_failed(&first, "late", None).await.unwrap());
    assert!(store.job_done(&second).await.unwrap());
    let counts = store.job_counts(later).await.unwrap();
    assert!(counts.is_empty());
}

#[tokio::test]
async fn a_claim_that_is_renewed_is_nobody_elses_and_a_lost_one_is_not_renewed() {
    let store = store().await;
    store
        .job_add(&Echo { number: 1 }, JobOptions::default())
        .await
        .unwrap();
    let at = |seconds: i64| OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
    let claim = async |at| store.job_claim(&["echo"], at, JOB_LEASE, 1).await.unwrap().pop();
    let first = claim(at(0)).await.unwrap();
    let renew = async |job: &medmesh_store::Job, at, moved| {
        store
            .job_renew(job.id, job.claim, at, JOB_LEASE, moved)
            .await
            .unwrap()
    };
    assert!(renew(&first, at(60), 7).await);
    assert!(claim(at(100)).await.is_none(), "beyond the first lease");
    assert!(
        renew(&first, at(0), 9).await,
        "an earlier clock makes it no shorter"
    );
    assert!(claim(at(145)).await.is_none());
    let seen = store.job_list(None, None, 1).await.unwrap().remove(0);
    assert_eq!(seen.moved, Some(9));
    let second = claim(at(160)).await.expect("it was silent for too long");
    assert!(!renew(&first, at(161), 10).await);
    assert!(!store.job_done(&first).await.unwrap());
    assert!(renew(&second, at(161), 1).await);
    assert!(store.job_done(&second).await.unwrap());
    assert!(!renew(&second, at(162), 2).await, "there is no such job any more");
}

/// Two workers, and a job that goes on for longer than a claim holds: it runs once while it moves on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_work_that_moves_on_is_done_by_one_worker() {
    let pace = Pace {
        lease: time::Duration::seconds(4),
        silence_max: Duration::from_millis(3900),
        total_max: Duration::from_secs(600),
    };
    let store = store().await;
    let begun = Arc::new(AtomicU32::new(0));
    let (seen, looks) = (begun.clone(), store.clone());
    let handlers = Handlers::default().on(move |run: Run, _: Echo| {
        let (begun, store) = (begun.clone(), looks.clone());
        async move {
            begun.fetch_add(1, Ordering::SeqCst);
            let first_end = OffsetDateTime::now_utc() + pace.lease;
            let mut moved = 0;
            // As much work as takes longer than two claims.
            while OffsetDateTime::now_utc() < first_end + pace.lease {
                moved += store.job_list(None, None, 10).await.unwrap().len() as u64;
                run.moves(moved).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        }
    });
    store
        .job_add(&Echo { number: 1 }, JobOptions::default())
        .await
        .unwrap();
    let drain = Drain::new();
    for _ in 0..2 {
        let metrics = JobMetrics::new(&Registry::new());
        drain.spawn(work_at(
            pace,
            store.clone(),
            handlers.clone(),
            metrics,
            drain.clone(),
        ));
    }
    eventually(async || store.job_list(None, None, 10).await.unwrap().is_empty()).await;
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    assert_eq!(drain.finish(Duration::from_secs(30)).await, 0);
}

/// Nothing but time passes here: it need not be real.
#[tokio::test]
async fn silence_ends_a_try_and_so_does_going_on_for_ever() {
    let store = store().await;
    store
        .job_add(&Echo { number: 1 }, JobOptions::default())
        .await
        .unwrap();
    let now = OffsetDateTime::now_utc();
    let job = store
        .job_claim(&["echo"], now, JOB_LEASE, 1)
        .await
        .unwrap()
        .remove(0);
    tokio::time::pause();
    // Never due for a renewal: the database is not asked while its time stands still.
    let pace = Pace {
        lease: time::Duration::hours(10),
        ..Pace::default()
    };
    let silent = Run::new(&store, &job, pace);
    let begun = tokio::time::Instant::now();
    assert_eq!(silent.overdue().await, "timed_out");
    // A timer is a millisecond late at most.
    let late = |since: Duration, most: Duration| since >= most && since <= most + Duration::from_millis(2);
    assert!(late(begun.elapsed(), pace.silence_max), "{:?}", begun.elapsed());
    let run = Run::new(&store, &job, pace);
    let begun = tokio::time::Instant::now();
    let restless = async {
        loop {
            run.moves(1).await.unwrap();
            tokio::time::sleep(pace.silence_max / 2).await;
        }
    };
    tokio::select! {
        () = restless => {}
        why = run.overdue() => assert_eq!(why, "took_too_long"),
    }
    assert!(late(begun.elapsed(), pace.total_max), "{:?}", begun.elapsed());
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
