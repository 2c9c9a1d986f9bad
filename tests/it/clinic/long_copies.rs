//! Copies of large records: a job that takes longer than its claim holds, workers that die, and two that
//! make the same copy.

use std::sync::Arc;
use std::time::Duration;

use medmesh_base::drain::Drain;
use medmesh_base::{AccountId, PersonId, RecordExportId, RequestId, SessionId};
use medmesh_clinic::{Actor, Caller, Role, Roles};
use medmesh_control::jobs::{Handlers, JobMetrics, Pace, work_at};
use medmesh_control::record_export::{Copyist, handlers};
use medmesh_store::{JOB_LEASE, Store};
use medmesh_tests::control::TestClinic;
use medmesh_tests::postgres::Scratch;
use medmesh_vault::TokenSigner;
use object_store::local::LocalFileSystem;
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::eventually;

/// Accesses in the record: several pages of two hundred.
const ACCESSES: i64 = 2_300;

/// Every sign of progress renews the claim.
const RESTLESS: Pace = Pace {
    lease: JOB_LEASE,
    silence_max: Duration::from_secs(90),
    total_max: Duration::from_secs(600),
};

struct Place {
    scratch: Scratch,
    clinic: TestClinic,
    patient: PersonId,
    dir: TempDir,
    database: PgConnection,
}

impl Place {
    async fn new() -> Self {
        let scratch = Scratch::database().await.unwrap();
        let clinic = TestClinic::open(&scratch, "riverside").await;
        let mut database = PgConnection::connect(&scratch.admin_url).await.unwrap();
        // Workers are held up here on purpose, on a machine that may be busy.
        sqlx::raw_sql(
            "DO $$ BEGIN EXECUTE format('ALTER ROLE medmesh_service IN DATABASE %I SET lock_timeout = ''2min''',
                 current_database());
             EXECUTE format('ALTER ROLE medmesh_service IN DATABASE %I SET statement_timeout = ''2min''',
                 current_database()); END $$",
        )
        .execute(&mut database)
        .await
        .unwrap();
        let patient = clinic.person("patient");
        sqlx::query(
            "INSERT INTO audit (clinic_id, id, at, actor_kind, actor_id, action, object_kind, patient_id, purpose,
                 request_id, sealed, commitment)
             SELECT $1, uuid_at(now() + n * interval '1 millisecond'), now(), 'person', $3, 'visit_read', 'visit', $2,
                 'treatment', gen_random_uuid(), '\\x00'::bytea, '\\x00'::bytea FROM generate_series(1, $4) n",
        )
        .bind(clinic.id.as_uuid())
        .bind(patient.as_uuid())
        .bind(clinic.person("clinician").as_uuid())
        .bind(ACCESSES)
        .execute(&mut database)
        .await
        .unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("objects")).unwrap();
        Self {
            scratch,
            clinic,
            patient,
            dir,
            database,
        }
    }

    /// Asks for a copy, as the patient.
    async fn asked(&self, store: &Store) -> RecordExportId {
        let caller = Caller {
            account_id: AccountId::generate(),
            person_id: self.patient,
            session_id: SessionId::generate(),
            roles: Roles::only(Role::Patient),
            licensed: Roles::default(),
            second_factor: false,
            stepped_up_at: Some(OffsetDateTime::now_utc()),
        };
        let begun = store.begin(self.clinic.id, Actor::Person(caller), RequestId::generate());
        let mut tx = begun.await.unwrap();
        let export = tx.record_export_create(self.patient).await.unwrap();
        tx.commit().await.unwrap();
        export.id
    }

    async fn is_true(&mut self, sql: &'static str) -> bool {
        let found = sqlx::query_scalar(sql).fetch_one(&mut self.database).await;
        found.unwrap()
    }

    async fn sql(&mut self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&mut self.database).await.unwrap();
    }

    /// Until so many workers have written everything and are about to say so.
    async fn about_to_finish(&mut self, workers: i64) {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
            AND wait_event_type = 'Lock' AND query LIKE 'UPDATE record_export e SET%'";
        let database = &mut self.database;
        eventually(async || {
            let found: i64 = sqlx::query_scalar(waiting)
                .fetch_one(&mut *database)
                .await
                .unwrap();
            found == workers
        })
        .await;
    }

    /// Files of copies.
    fn files(&self, export: RecordExportId) -> usize {
        let folder = format!("objects/exports/{}/{}/{export}", self.clinic.id, self.patient);
        std::fs::read_dir(self.dir.path().join(folder)).map_or(0, Iterator::count)
    }
}

/// A worker with connections of its own, which is gone without a word when its runtime is.
struct Worker {
    runtime: Option<Runtime>,
    done: JoinHandle<()>,
    drain: Drain,
}

impl Worker {
    fn start(place: &Place) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (scratch, dir, drain) = (place.scratch.clone(), place.dir.path().to_owned(), Drain::new());
        let stop = drain.clone();
        let done = runtime.spawn(async move {
            let store = scratch.store(4).await.unwrap();
            let copyist = Copyist {
                store: store.clone(),
                objects: Arc::new(LocalFileSystem::new_with_prefix(dir.join("objects")).unwrap()),
                signer: TokenSigner::load_or_create(&dir.join("signing.key")).unwrap(),
                url: "https://clinic.test".to_owned(),
            };
            let handlers = handlers(&copyist, Handlers::default());
            let metrics = JobMetrics::new(&prometheus::Registry::new());
            work_at(RESTLESS, store.clone(), handlers, metrics, stop).await;
            store.close().await;
        });
        Self {
            runtime: Some(runtime),
            done,
            drain,
        }
    }

    /// Lets it finish what it does.
    async fn stop(mut self) {
        self.drain.finish(Duration::from_secs(1)).await;
        (&mut self.done).await.unwrap();
    }
}

impl Drop for Worker {
    /// Without waiting for anything: it crashes.
    fn drop(&mut self) {
        self.runtime.take().expect("dropped once").shutdown_background();
    }
}

/// The claim of whoever works on the copy runs out.
const RUNS_OUT: &str =
    "UPDATE job SET claimed_until = now() - interval '1 second' WHERE kind = 'record_export_build'";
const NO_JOB: &str = "SELECT NOT EXISTS (SELECT FROM job WHERE kind = 'record_export_build')";
const READY_ONCE: &str =
    "SELECT count(*) = 1 AND bool_and(state = 'ready' AND json_bytes > 0) FROM record_export";
const TOLD_ONCE: &str = "SELECT count(*) = 1 FROM job WHERE kind = 'rights_mail'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_make_the_same_large_copy_hold_on_to_it_and_one_of_them_finishes() {
    let mut place = Place::new().await;
    let store = place.scratch.store(2).await.unwrap();
    let export = place.asked(&store).await;
    let mut held = PgConnection::connect(&place.scratch.admin_url).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT FROM record_export FOR UPDATE")
        .execute(&mut held)
        .await
        .unwrap();
    let first = Worker::start(&place);
    place.about_to_finish(1).await;
    // With every page it said so, and held on to its claim.
    let renewed =
        "SELECT moved >= 2300 AND attempts = 1 AND claimed_until > created_at + interval '90 seconds'
        FROM job WHERE kind = 'record_export_build'";
    assert!(place.is_true(renewed).await);
    let claimed = store
        .job_claim(&["record_export_build"], OffsetDateTime::now_utc(), JOB_LEASE, 1)
        .await
        .unwrap();
    assert!(claimed.is_empty(), "it is the first one's");
    place.sql(RUNS_OUT).await;
    let second = Worker::start(&place);
    place.about_to_finish(2).await;
    sqlx::raw_sql("COMMIT").execute(&mut held).await.unwrap();
    let database = &mut PgConnection::connect(&place.scratch.admin_url).await.unwrap();
    eventually(async || {
        sqlx::query_scalar(NO_JOB)
            .fetch_one(&mut *database)
            .await
            .unwrap()
    })
    .await;
    first.stop().await;
    second.stop().await;
    assert!(place.is_true(READY_ONCE).await && place.is_true(TOLD_ONCE).await);
    assert_eq!(
        place.files(export),
        2,
        "the other one took away what it had written"
    );
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_whose_worker_died_is_made_by_the_next() {
    let mut place = Place::new().await;
    let store = place.scratch.store(2).await.unwrap();
    let export = place.asked(&store).await;
    let mut held = PgConnection::connect(&place.scratch.admin_url).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT FROM record_export FOR UPDATE")
        .execute(&mut held)
        .await
        .unwrap();
    let first = Worker::start(&place);
    place.about_to_finish(1).await;
    drop(first);
    sqlx::raw_sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
             AND wait_event_type = 'Lock'; COMMIT",
    )
    .execute(&mut held)
    .await
    .unwrap();
    let second = Worker::start(&place);
    assert!(
        !place.is_true(READY_ONCE).await && !place.is_true(NO_JOB).await,
        "the claim holds"
    );
    place.sql(RUNS_OUT).await;
    let database = &mut PgConnection::connect(&place.scratch.admin_url).await.unwrap();
    eventually(async || {
        sqlx::query_scalar(NO_JOB)
            .fetch_one(&mut *database)
            .await
            .unwrap()
    })
    .await;
    second.stop().await;
    assert!(place.is_true(READY_ONCE).await && place.is_true(TOLD_ONCE).await);
    // What the dead one left goes with the copy.
    assert!(place.files(export) >= 2);
    let remove = "UPDATE job SET due_at = now() - interval '1 second' WHERE kind = 'record_export_remove'";
    place.sql(remove).await;
    let third = Worker::start(&place);
    eventually(async || place.files(export) == 0).await;
    third.stop().await;
    store.close().await;
}
