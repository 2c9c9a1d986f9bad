//! A clinic's own auditors take proofs and heads away, and programs not written here believe them.

use std::path::Path;
use std::process::Command;

use medmesh_api_client::{ClientError, Clinic};
use medmesh_api_types::audit::{AuditConsistency, AuditConsistencyQuery, AuditHead, AuditProof};
use medmesh_api_types::audit_view::{AuditEntry, AuditQuery};
use medmesh_api_types::client::ClientScope;
use medmesh_base::{AuditId, ProblemCode};
use medmesh_cli::operator::{AuditVerb, Connection, Verb, run};
use medmesh_tests::control::TestClinic;
use serde::Serialize;
use uuid::Uuid;

use super::clients::{Pkcs8, machine, register};
use super::{World, eventually, plain_http, refused};
use crate::outside::{check, checker};

/// The newest entry of this act.
async fn entry(reader: &Clinic, action: &str) -> AuditEntry {
    let query = AuditQuery {
        action: Some(action.to_owned()),
        limit: Some(1),
        ..AuditQuery::default()
    };
    reader.audit_list(&query).await.unwrap().items.remove(0)
}

/// The proof, once a head covers the entry.
async fn proved(reader: &Clinic, leaf: AuditId) -> AuditProof {
    let mut proof = None;
    eventually(async || {
        proof = match reader.audit_prove(leaf).await {
            Err(ClientError::Problem(problem)) if problem.code == ProblemCode::AuditHeadPending => None,
            other => Some(other.unwrap()),
        };
        proof.is_some()
    })
    .await;
    proof.unwrap()
}

/// A head with more under it than that.
async fn head_after(reader: &Clinic, size: u64) -> AuditHead {
    let mut head = None;
    eventually(async || {
        head = reader.audit_head_get().await.ok().filter(|head| head.size > size);
        head.is_some()
    })
    .await;
    head.unwrap()
}

fn save(dir: &Path, name: &str, what: &impl Serialize) -> std::path::PathBuf {
    let file = dir.join(name);
    std::fs::write(&file, serde_json::to_vec(what).unwrap()).unwrap();
    file
}

/// `medmesh audit`, without any control plane.
async fn offline(verb: AuditVerb) -> anyhow::Result<String> {
    let connection = Connection {
        url: "http://127.0.0.1:1".to_owned(),
        token_file: None,
        ca_file: None,
        json: false,
    };
    run(&connection, Verb::Audit { verb }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auditor_takes_a_proof_away_that_strangers_believe() {
    let world = World::new().await;
    let booked = world.booked_now().await;
    let admin = world.signed_in("admin").await;
    let found = entry(&admin, "appointment_create").await;
    assert_eq!(found.object_id, Some(booked.id.as_uuid()));
    let proof = proved(&admin, found.id).await;

    // The key comes with the head, on another day than the proof.
    let head = admin.audit_head_get().await.unwrap();
    assert_eq!(head.key, proof.key);
    let output = check(&proof, &head.key);
    assert!(output.status.success(), "{output:?}");
    let dir = tempfile::tempdir().unwrap();
    let file = save(dir.path(), "proof.json", &proof);
    let verb = AuditVerb::Check {
        file,
        key: head.key.clone(),
        witness: None,
    };
    let said = offline(verb).await.unwrap();
    for expected in [
        "proved: leaf",
        "appointment_create",
        &found.id.to_string(),
        &booked.id.to_string(),
        &world.clinic.person("patient").to_string(),
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    // The list says where an entry is, once that is signed.
    assert_eq!(
        entry(&admin, "appointment_create").await.leaf_index,
        Some(proof.leaf_index)
    );

    // Who took it is on the log, for the patient, too.
    let taken = entry(&admin, "audit_prove").await;
    assert_eq!(taken.object_id, Some(found.id.as_uuid()));
    assert_eq!(taken.patient.unwrap().id, world.clinic.person("patient"));
    assert_eq!(taken.actor.unwrap().id, world.clinic.person("admin"));
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_head_shows_later_that_nothing_was_changed() {
    let world = World::new().await;
    let admin = world.signed_in("admin").await;
    let kept = head_after(&admin, 0).await;
    assert!(kept.outside_witness.is_none(), "{kept:?}");
    world.booked_now().await;
    let newer = head_after(&admin, kept.size).await;
    let query = |from, to| AuditConsistencyQuery { from, to };
    let proof = admin
        .audit_consistency_get(&query(kept.size, None))
        .await
        .unwrap();
    assert!(
        proof.to_size >= newer.size && proof.checkpoint.is_some(),
        "{proof:?}"
    );

    let dir = tempfile::tempdir().unwrap();
    let kept_file = save(dir.path(), "kept.json", &kept);
    let go = |kept: &Path, proof: &AuditConsistency| {
        let file = save(dir.path(), "consistency.json", proof);
        let mut checker = Command::new(checker());
        checker.arg("extends").arg(kept).arg(file).arg(&newer.key);
        checker.output().unwrap()
    };
    let output = go(&kept_file, &proof);
    assert!(output.status.success(), "{output:?}");
    let verb = |kept: &Path, file: &Path, later: Option<&Path>| AuditVerb::Extends {
        kept: kept.to_owned(),
        file: file.to_owned(),
        key: newer.key.clone(),
        later: later.map(Path::to_owned),
    };
    let file = dir.path().join("consistency.json");
    let said = offline(verb(&kept_file, &file, None)).await.unwrap();
    assert!(said.contains(&format!("the first {} of", kept.size)), "{said}");

    // Between two kept ones, neither of which is the newest.
    world.signed_in("patient").await;
    head_after(&admin, proof.to_size).await;
    let between = admin
        .audit_consistency_get(&query(kept.size, Some(newer.size)))
        .await
        .unwrap();
    assert_eq!((between.to_size, &between.checkpoint), (newer.size, &None));
    let between_file = save(dir.path(), "between.json", &between);
    let newer_file = save(dir.path(), "newer.json", &newer);
    assert!(offline(verb(&kept_file, &between_file, None)).await.is_err());
    offline(verb(&kept_file, &between_file, Some(&newer_file)))
        .await
        .unwrap();
    // The wrong way round, with a bent path, and of a head that nobody signed.
    assert!(
        offline(verb(&newer_file, &between_file, Some(&kept_file)))
            .await
            .is_err()
    );
    let mut bent = proof.clone();
    bent.path.pop();
    assert!(!go(&kept_file, &bent).status.success());
    assert!(offline(verb(&kept_file, &file, None)).await.is_err());
    let mut forged = kept.clone();
    forged.checkpoint = forged.checkpoint.replacen(&forged.root, &newer.root, 1);
    let forged = save(dir.path(), "forged.json", &forged);
    assert!(
        offline(verb(&forged, &between_file, Some(&newer_file)))
            .await
            .is_err()
    );

    for (from, to, code) in [
        (0, None, ProblemCode::InvalidRequest),
        (3, Some(2), ProblemCode::InvalidRequest),
        (1_000_000, None, ProblemCode::AuditHeadPending),
        (1, Some(1_000_000), ProblemCode::AuditHeadPending),
    ] {
        assert_eq!(refused(admin.audit_consistency_get(&query(from, to)).await), code);
    }
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_under_no_head_yet_is_told_from_one_that_is_not_there() {
    let world = World::new().await;
    // While somebody else holds the log, no entry gets its place.
    let mut held = world.admin().await;
    let hold = "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('medmesh audit sequence', 0))";
    sqlx::raw_sql(hold).execute(&mut held).await.unwrap();
    let admin = world.signed_in("admin").await;
    let found = entry(&admin, "login").await;
    assert_eq!(found.leaf_index, None);
    let pending = |result| assert_eq!(refused::<AuditProof>(result), ProblemCode::AuditHeadPending);
    pending(admin.audit_prove(found.id).await);
    let (cookie, _) = world.credentials("admin").await;
    let url = format!("{}/v1/audit/{}/proof", world.node.url(), found.id);
    let answer = plain_http()
        .get(url)
        .header("cookie", &cookie)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 409);
    assert!(answer.headers().contains_key("retry-after"));
    // What was not given has no leaf.
    let mut behind = world.admin().await;
    let count = "SELECT count(*) FROM audit WHERE action = 'audit_prove'";
    let left: i64 = sqlx::query_scalar(count).fetch_one(&mut behind).await.unwrap();
    assert_eq!(left, 0);

    let nobody = admin.audit_prove(AuditId::generate()).await;
    assert_eq!(refused(nobody), ProblemCode::NotFound);
    let other = TestClinic::open(&world.scratch, "elsewhere").await;
    let there = world.node.signed_in_as(&other, "admin").await;
    let theirs = entry(&there, "login").await;
    assert_eq!(refused(admin.audit_prove(theirs.id).await), ProblemCode::NotFound);
    pending(there.audit_prove(theirs.id).await);
    sqlx::raw_sql("COMMIT").execute(&mut held).await.unwrap();
    proved(&there, theirs.id).await;
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_altered_entry_there_is_no_proof_but_a_word_of_its_own() {
    let world = World::new().await;
    let admin = world.signed_in("admin").await;
    let found = entry(&admin, "login").await;
    proved(&admin, found.id).await;
    let lie = "SET session_replication_role = replica; UPDATE audit SET purpose = 'treatment' WHERE action = 'login'";
    sqlx::raw_sql(lie)
        .execute(&mut world.admin().await)
        .await
        .unwrap();
    assert_eq!(
        refused(admin.audit_prove(found.id).await),
        ProblemCode::AuditLeafAltered
    );
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_watches_the_log_keeps_heads_and_takes_proofs() {
    let world = World::new().await;
    let admin = world.signed_in("admin").await;
    let key = Pkcs8::es384("watch");
    let client = register(&admin, &[ClientScope::AuditRead], &[&key]).await;
    assert_eq!(client.last_used_at, None);
    let watcher = machine(&world.node, client.id, &key).clinic().await.unwrap();
    let found = entry(&watcher, "login").await;
    let proof = proved(&watcher, found.id).await;
    let head = watcher.audit_head_get().await.unwrap();
    assert!(check(&proof, &head.key).status.success());
    let query = AuditConsistencyQuery {
        from: 1,
        to: Some(head.size),
    };
    watcher.audit_consistency_get(&query).await.unwrap();
    let by: Uuid = sqlx::query_scalar("SELECT actor_id FROM audit WHERE action = 'audit_prove'")
        .fetch_one(&mut world.admin().await)
        .await
        .unwrap();
    assert_eq!(by, client.id.as_uuid());
    // And the admin sees that it is in use, without its version having moved.
    let seen = admin.client_get(client.id).await.unwrap();
    assert!(seen.last_used_at.is_some_and(|at| at >= client.created_at));
    assert_eq!(seen.version, client.version);
    for login in ["clinician", "patient"] {
        let other = world.signed_in(login).await;
        assert_eq!(refused(other.audit_prove(found.id).await), ProblemCode::Forbidden);
        assert_eq!(refused(other.audit_head_get().await), ProblemCode::Forbidden);
        assert_eq!(
            refused(other.audit_consistency_get(&query).await),
            ProblemCode::Forbidden
        );
    }
    world.node.stop().await;
}
