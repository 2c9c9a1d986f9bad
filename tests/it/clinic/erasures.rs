//! Who is erased stays erased: on every node at once, when a worker dies half way, and when a backup
//! brings them back.

use std::time::Duration;

use medmesh_api_client::{Clinic, IdempotencyKey, Operator};
use medmesh_api_types::correction::{CorrectionCreate, CorrectionQuery};
use medmesh_api_types::rights::RecordRightsSet;
use medmesh_base::drain::Drain;
use medmesh_base::{PersonId, Phi, RequestId};
use medmesh_clinic::{Actor, RightsChange, Role, Roles, Version};
use medmesh_control::erasures::Register;
use medmesh_control::jobs::{Handlers, JobMetrics, erase_handlers, work};
use medmesh_store::{Erased, Store};
use medmesh_tests::control::{TestClinic, Wishes};
use medmesh_tests::postgres::Scratch;
use object_store::local::LocalFileSystem;
use sqlx::{Connection as _, PgConnection};

use super::{World, eventually};

const GOES: RecordRightsSet = RecordRightsSet {
    restricted: false,
    erasure: true,
};

fn wrong() -> CorrectionCreate {
    CorrectionCreate {
        what: Phi::new("the left knee".into()),
        why: Phi::new("it is the right one".into()),
    }
}

async fn is_true(database: &mut PgConnection, sql: &'static str) -> bool {
    sqlx::query_scalar(sql).fetch_one(database).await.unwrap()
}

fn operator(world: &World) -> Operator {
    let token = world.node.site().operator_token();
    Operator::new(&world.node.url(), token.trim(), None).unwrap()
}

/// Files of a folder of the objects, at any depth.
fn objects(world: &World, folder: &str) -> usize {
    fn count(dir: &std::path::Path) -> usize {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries
            .map(|entry| {
                if entry.path().is_dir() {
                    count(&entry.path())
                } else {
                    1
                }
            })
            .sum()
    }
    count(&world.node.site().dir().join("objects").join(folder))
}

/// What the first open correction says, as the privacy officer sees it at this node.
async fn what(officer: &Clinic) -> String {
    let queue = officer
        .correction_queue(&CorrectionQuery::default())
        .await
        .unwrap();
    queue.items[0].what.expose().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destroyed_key_is_destroyed_at_every_node_and_in_every_backup() {
    let (world, other) = World::of_two(&Wishes::default()).await;
    let second = world.clinic.person("second");
    let own = world.signed_in("second").await;
    let admin = world.signed_in("admin").await;
    admin
        .privacy_officer_set(world.clinic.person("admin"), 0)
        .await
        .unwrap();
    own.correction_create(&IdempotencyKey::fresh(), second, &wrong())
        .await
        .unwrap();
    own.record_export_create(&IdempotencyKey::fresh(), second)
        .await
        .unwrap();
    eventually(async || objects(&world, "exports") == 2).await;
    let elsewhere = other.signed_in_as(&world.clinic, "admin").await;
    assert_eq!(
        what(&elsewhere).await,
        "the left knee",
        "the other node has the key in memory"
    );

    // A backup, by somebody who reads past every policy.
    let mut database = world.admin().await;
    sqlx::raw_sql(
        "CREATE TABLE kept_person AS SELECT * FROM person; CREATE TABLE kept_key AS SELECT * FROM patient_key;
         CREATE TABLE kept_search AS SELECT * FROM patient_search;",
    )
    .execute(&mut database)
    .await
    .unwrap();
    let stored = "SELECT EXISTS (SELECT FROM idempotency i JOIN person p ON p.id = i.patient_id)";
    assert!(is_true(&mut database, stored).await);
    own.record_rights_set(second, 0, GOES).await.unwrap();
    eventually(async || {
        is_true(
            &mut database,
            "SELECT EXISTS (SELECT FROM person WHERE erased_at IS NOT NULL)",
        )
        .await
    })
    .await;
    eventually(async || objects(&world, "erasures") == 1 && objects(&world, "exports") == 0).await;
    eventually(async || what(&elsewhere).await.is_empty()).await;
    assert!(
        !is_true(&mut database, stored).await,
        "stored answers about them are gone"
    );

    // The backup is put back: key, name, and no trace of the wish.
    sqlx::raw_sql(
        "DELETE FROM record_rights;
         UPDATE person p SET display_name = k.display_name, email = k.email, seal_version = k.seal_version,
             active = true, erased_at = NULL FROM kept_person k WHERE k.id = p.id AND p.erased_at IS NOT NULL;
         INSERT INTO patient_key SELECT * FROM kept_key ON CONFLICT DO NOTHING;
         INSERT INTO patient_search SELECT * FROM kept_search ON CONFLICT DO NOTHING;",
    )
    .execute(&mut database)
    .await
    .unwrap();
    assert_eq!(what(&admin).await, "", "the key that is back opens nothing");
    let mut forged = world.node.site().dir().join("objects/erasures");
    forged.push(world.clinic.id.to_string());
    let third = world.clinic.person("third");
    std::fs::write(forged.join(format!("{third}.AAAA")), "erased\n").unwrap();
    let held = operator(&world).erasure_enforce().await.unwrap();
    assert_eq!(
        (held.listed, held.erased_again, held.added, held.unknown),
        (1, 1, 0, 1)
    );
    let gone = "SELECT count(*) FILTER (WHERE erased_at IS NOT NULL) = 1
        AND NOT EXISTS (SELECT FROM patient_key k JOIN person p ON p.id = k.patient_id AND p.erased_at IS NOT NULL)
        AND (SELECT count(*) FROM patient_key) = 2 FROM person";
    assert!(
        is_true(&mut database, gone).await,
        "they are erased again, and nobody else is"
    );
    let again = operator(&world).erasure_enforce().await.unwrap();
    assert_eq!((again.listed, again.erased_again), (1, 0));

    // A key alone, put back under an erased person, goes as well.
    sqlx::raw_sql("INSERT INTO patient_key SELECT * FROM kept_key ON CONFLICT DO NOTHING")
        .execute(&mut database)
        .await
        .unwrap();
    operator(&world).key_restored(world.clinic.id).await.unwrap();
    assert!(is_true(&mut database, gone).await);
    eventually(async || {
        let verdict = operator(&world).audit_verify(world.clinic.id).await;
        verdict.is_ok_and(|verdict| verdict.is_sound && verdict.leaves_checked > 0)
    })
    .await;
    drop(other);
}

/// Does the jobs there are until none is left.
async fn do_jobs(store: &Store, register: &Register, database: &mut PgConnection) {
    let drain = Drain::new();
    let handlers = erase_handlers(store, register, Handlers::default());
    let metrics = JobMetrics::new(&prometheus::Registry::new());
    let worker = tokio::spawn(work(store.clone(), handlers, metrics, drain.clone()));
    let none = "SELECT NOT EXISTS (SELECT FROM job WHERE kind = 'record_erase')";
    let waiting = async {
        while !is_true(database, none).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .expect("the job is done");
    drain.finish(Duration::from_secs(5)).await;
    worker.await.unwrap();
}

async fn wish_it_gone(store: &Store, clinic: &TestClinic, patient: PersonId) {
    let caller = medmesh_clinic::Caller {
        account_id: medmesh_base::AccountId::generate(),
        person_id: patient,
        session_id: medmesh_base::SessionId::generate(),
        roles: Roles::only(Role::Patient),
        licensed: Roles::default(),
        second_factor: false,
        stepped_up_at: None,
    };
    let begun = store
        .begin(clinic.id, Actor::Person(caller), RequestId::generate())
        .await;
    let mut tx = begun.unwrap();
    let wish = RightsChange {
        restricted: false,
        erasure: true,
    };
    tx.record_rights_set(patient, Version(0), wish).await.unwrap();
    tx.commit().await.unwrap();
}

/// Whatever step a worker died after, the next one does the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_that_broke_off_is_finished_by_the_next_worker() {
    let scratch = Scratch::database().await.unwrap();
    let clinic = TestClinic::open(&scratch, "riverside").await;
    let store = scratch.store(4).await.unwrap();
    let mut database = PgConnection::connect(&scratch.admin_url).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let secret = medmesh_vault::ClusterSecret::load_or_create(&dir.path().join("secret")).unwrap();
    let objects = dir.path().join("objects");
    std::fs::create_dir(&objects).unwrap();
    let storage = LocalFileSystem::new_with_prefix(&objects).unwrap();
    let storage: std::sync::Arc<dyn object_store::ObjectStore> = std::sync::Arc::new(storage);
    let register = Register::new(storage.clone(), storage, secret);
    for (steps_done, login) in [(0, "patient"), (1, "second"), (2, "third")] {
        let patient = clinic.person(login);
        wish_it_gone(&store, &clinic, patient).await;
        let copies = objects.join(format!("exports/{}/{patient}/copy", clinic.id));
        std::fs::create_dir_all(&copies).unwrap();
        std::fs::write(copies.join("one.json"), "sealed").unwrap();
        if steps_done >= 1 {
            let now = time::OffsetDateTime::now_utc();
            assert_eq!(
                store.record_erase(clinic.id, patient, now).await.unwrap(),
                Erased::Now
            );
        }
        if steps_done >= 2 {
            register.add(clinic.id, patient).await.unwrap();
        }
        do_jobs(&store, &register, &mut database).await;
        assert!(!copies.join("one.json").exists(), "{login}: copies are gone");
        let listed = std::fs::read_dir(objects.join(format!("erasures/{}", clinic.id))).unwrap();
        assert_eq!(listed.count(), steps_done + 1, "{login} is in the register");
        // Once more changes nothing.
        assert_eq!(
            store
                .record_erase(clinic.id, patient, time::OffsetDateTime::now_utc())
                .await
                .unwrap(),
            Erased::Before
        );
    }
    let leaves = "SELECT count(*) = 3 FROM audit WHERE action = 'record_erase'";
    assert!(is_true(&mut database, leaves).await, "one leaf for each");
    store.close().await;
}

/// What was written before documents were sealed is sealed by upkeep, and reads the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_a_signed_document_is_sealed_also_afterwards() {
    let world = World::new().await;
    let patient = world.clinic.person("patient");
    world.booked_now().await;
    let clinician = world.signed_in("clinician").await;
    let said = medmesh_api_types::consent::ConsentRecord {
        purpose: medmesh_api_types::consent::ConsentPurpose::Treatment,
        segment: medmesh_api_types::appointment::Segment::General,
        decision: medmesh_api_types::consent::ConsentDecision::Granted,
        signed_by: medmesh_api_types::consent::SignedBy::Witness,
        document: "said/to-Clara".into(),
        text_sha256: None,
        proof_sha256: None,
    };
    clinician
        .consent_record(&IdempotencyKey::fresh(), patient, &said)
        .await
        .unwrap();
    let mut database = world.admin().await;
    let sealed = "SELECT document IS NULL AND position('Clara'::bytea IN document_sealed) = 0 FROM consent";
    assert!(is_true(&mut database, sealed).await);
    sqlx::raw_sql("UPDATE consent SET document = 'said/to-Clara', document_sealed = NULL")
        .execute(&mut database)
        .await
        .unwrap();
    let read = async || {
        let consents = clinician
            .consent_list(patient, &Default::default())
            .await
            .unwrap();
        consents.items[0].document.clone()
    };
    assert_eq!(read().await, "said/to-Clara");
    let store = world.scratch.store(2).await.unwrap();
    assert_eq!(store.consents_seal().await.unwrap(), 1);
    assert_eq!(store.consents_seal().await.unwrap(), 0);
    assert!(is_true(&mut database, sealed).await);
    assert_eq!(read().await, "said/to-Clara");
    store.close().await;
}
