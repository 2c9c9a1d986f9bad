//! The audit log through the whole stack: act, head, proof, lie, verdict.

use std::path::Path;
use std::time::Duration;

use medmesh_api_client::Operator;
use medmesh_api_types::audit::AuditProof;
use medmesh_base::{AuditId, ClinicId, JobId};
use medmesh_cli::operator::{AuditVerb, Connection, Unsound, Verb, run};
use medmesh_tests::control::ControlNode;
use medmesh_tlog::note::Verifier;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::clinic::World;

/// Until it holds; the limit is for a machine that is busy with other things.
pub(crate) async fn eventually<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .expect("it never came to be")
}

fn operator(world: &World) -> Operator {
    let token = world.node.site().operator_token();
    Operator::new(&world.node.url(), token.trim(), None).unwrap()
}

/// As `medmesh` is called with these arguments.
async fn medmesh(world: &World, dir: &Path, verb: AuditVerb) -> anyhow::Result<String> {
    run_verb(&world.node, dir, verb).await
}

/// As `medmesh` is called with these arguments, of a node.
pub(crate) async fn run_verb(node: &ControlNode, dir: &Path, verb: AuditVerb) -> anyhow::Result<String> {
    let token_file = dir.join("operator.token");
    std::fs::write(&token_file, node.site().operator_token()).unwrap();
    let connection = Connection {
        url: node.url(),
        token_file: Some(token_file),
        ca_file: None,
        json: true,
    };
    run(&connection, Verb::Audit { verb }).await
}

async fn admin(world: &World) -> PgConnection {
    PgConnection::connect(&world.scratch.admin_url).await.unwrap()
}

/// Signs in, and gives the leaf that says so once it is under a witnessed head.
pub(crate) async fn leaf_of_a_login(world: &World) -> (AuditId, AuditProof) {
    world.node.signed_in_as(&world.clinic, "clinician").await;
    let id: Uuid = sqlx::query_scalar("SELECT id FROM audit WHERE action = 'login' ORDER BY id DESC LIMIT 1")
        .fetch_one(&mut admin(world).await)
        .await
        .unwrap();
    let (operator, leaf) = (operator(world), AuditId::from_uuid(id));
    let proof = eventually(async || operator.audit_prove(world.clinic.id, leaf).await.ok()).await;
    (leaf, proof)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_is_checked_without_asking_anybody() {
    let world = World::new().await;
    let (leaf, proof) = leaf_of_a_login(&world).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("proof.json");
    let verb = AuditVerb::Prove {
        leaf,
        clinic: world.clinic.id,
        out: Some(file.clone()),
    };
    medmesh(&world, dir.path(), verb).await.unwrap();
    // By another way than the proof.
    let key = operator(&world).audit_logs().await.unwrap().items.remove(0).key;
    assert_eq!(key, proof.key);
    let check = |file: &Path| AuditVerb::Check {
        file: file.to_owned(),
        key: key.clone(),
        witness: None,
    };
    let said = medmesh(&world, dir.path(), check(&file)).await.unwrap();
    assert!(said.starts_with("proved: leaf"), "{said}");

    let bent = dir.path().join("bent.json");
    let mut other: AuditProof = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    other
        .event
        .replace_range(20..21, if &other.event[20..21] == "A" { "B" } else { "A" });
    std::fs::write(&bent, serde_json::to_vec(&other).unwrap()).unwrap();
    assert!(medmesh(&world, dir.path(), check(&bent)).await.is_err());
    let stranger = medmesh_tlog::note::Signer::from_seed("medmesh/other", &[1; 32]).unwrap();
    let other_key = AuditVerb::Check {
        file,
        key: stranger.verifier().to_string(),
        witness: None,
    };
    assert!(medmesh(&world, dir.path(), other_key).await.is_err());
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_tells_by_its_exit_code() {
    let world = World::new().await;
    let (leaf, _) = leaf_of_a_login(&world).await;
    let dir = tempfile::tempdir().unwrap();
    let verify = || AuditVerb::Verify { clinic: None };
    let said = medmesh(&world, dir.path(), verify()).await.unwrap();
    assert!(said.contains("\"is_sound\": true"), "{said}");
    let lie = "SET session_replication_role = replica; UPDATE audit SET purpose = 'treatment' WHERE action = 'login'";
    sqlx::raw_sql(lie)
        .execute(&mut admin(&world).await)
        .await
        .unwrap();
    let error = medmesh(&world, dir.path(), verify()).await.unwrap_err();
    let said = &error
        .downcast_ref::<Unsound>()
        .expect("it is the log that is wrong")
        .text;
    assert!(
        said.contains(&leaf.to_string()) && said.contains("leaf_altered"),
        "{said}"
    );
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_desk_is_the_operators() {
    let world = World::new().await;
    let stranger = Operator::new(&world.node.url(), "0123456789abcdef0123456789abcdef", None).unwrap();
    let (clinic, job) = (world.clinic.id, JobId::generate());
    assert!(stranger.audit_logs().await.is_err());
    assert!(stranger.audit_verify(clinic).await.is_err());
    assert!(stranger.audit_prove(clinic, AuditId::generate()).await.is_err());
    assert!(stranger.job_list(None).await.is_err());

    let operator = operator(&world);
    assert!(operator.audit_verify(clinic).await.unwrap().is_sound);
    assert!(operator.audit_verify(ClinicId::generate()).await.is_err());
    assert!(operator.audit_prove(clinic, AuditId::generate()).await.is_err());
    let given_up =
        "INSERT INTO job (id, clinic_id, kind, payload, created_at, due_at, attempts, attempts_max, dead_at)";
    let given_up =
        format!("{given_up} VALUES ('{job}', '{clinic}', 'mail', '{{}}', now(), now(), 3, 3, now())");
    sqlx::raw_sql(sqlx::AssertSqlSafe(given_up))
        .execute(&mut admin(&world).await)
        .await
        .unwrap();
    let dead = operator.job_list(Some(true)).await.unwrap().items;
    assert_eq!(dead.iter().map(|dead| dead.id).collect::<Vec<_>>(), [job]);
    operator.job_retry(job).await.unwrap();
    let said = "SELECT count(*) FROM audit WHERE action = 'job_retry' AND object_id = $1 AND actor_kind = 'operator'";
    let said: i64 = sqlx::query_scalar(said)
        .bind(job.as_uuid())
        .fetch_one(&mut admin(&world).await)
        .await
        .unwrap();
    assert_eq!(said, 1, "who let it be tried again is in the clinic's log");
    assert!(operator.job_retry(JobId::generate()).await.is_err());
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaf_taken_away_before_it_was_witnessed_is_missed() {
    let world = World::new().await;
    leaf_of_a_login(&world).await;
    // Faster than the sequencer: the row goes in the same moment its transaction commits.
    let trap = "CREATE FUNCTION take_away() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER take_away BEFORE INSERT ON audit_pending FOR EACH ROW EXECUTE FUNCTION take_away()";
    sqlx::raw_sql(trap)
        .execute(&mut admin(&world).await)
        .await
        .unwrap();
    world.node.signed_in_as(&world.clinic, "colleague").await;
    let report = operator(&world).audit_verify(world.clinic.id).await.unwrap();
    assert!(
        report
            .findings
            .iter()
            .any(|finding| finding.kind == "leaf_without_place")
    );
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_gives_a_log_another_key_and_old_keys_lead_there() {
    let world = World::new().await;
    let (leaf, proof) = leaf_of_a_login(&world).await;
    let dir = tempfile::tempdir().unwrap();
    let clinic = world.clinic.id;
    let rotate = AuditVerb::RotateKey { clinic };
    let said = medmesh(&world, dir.path(), rotate).await.unwrap();
    assert!(said.contains("medmesh audit notice v1"), "{said}");
    let operator = operator(&world);
    let log = eventually(async || {
        let log = operator.audit_logs().await.ok()?.items.pop()?;
        let key: Verifier = log.key.parse().ok()?;
        key.verify(&log.checkpoint).is_ok().then_some(log)
    })
    .await;
    assert_ne!(log.key, proof.key);
    assert_eq!(log.notices.len(), 1);
    let file = dir.path().join("proof.json");
    let newer = eventually(async || {
        let newer = operator.audit_prove(clinic, leaf).await.ok()?;
        (newer.key == log.key).then_some(newer)
    })
    .await;
    let check = |key: &str| AuditVerb::Check {
        file: file.clone(),
        key: key.to_owned(),
        witness: None,
    };
    std::fs::write(&file, serde_json::to_vec(&newer).unwrap()).unwrap();
    for key in [&proof.key, &log.key] {
        medmesh(&world, dir.path(), check(key)).await.unwrap();
    }
    // Without what was announced nothing leads there; and the older proof is as good as before.
    let bare = AuditProof {
        notices: Vec::new(),
        ..newer
    };
    std::fs::write(&file, serde_json::to_vec(&bare).unwrap()).unwrap();
    assert!(medmesh(&world, dir.path(), check(&proof.key)).await.is_err());
    std::fs::write(&file, serde_json::to_vec(&proof).unwrap()).unwrap();
    medmesh(&world, dir.path(), check(&proof.key)).await.unwrap();

    // Nothing was put back here: there is nothing to go on from. And reasons are kept for good.
    assert!(operator.audit_resume(clinic, "ticket 12").await.is_err());
    assert!(operator.audit_resume(clinic, "two\nlines").await.is_err());
    let report = operator.audit_verify(clinic).await.unwrap();
    assert!(report.is_sound && report.gaps.is_empty(), "{report:?}");
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_database_was_put_back_goes_on_by_an_operators_word() {
    let world = World::new().await;
    leaf_of_a_login(&world).await;
    let (operator, clinic) = (operator(&world), world.clinic.id);
    let size = async || operator.audit_logs().await.unwrap().items[0].size;
    let mut admin = admin(&world).await;
    let tables = "CREATE TABLE b_order AS TABLE audit_order; CREATE TABLE b_tree AS TABLE audit_tree";
    sqlx::raw_sql(tables).execute(&mut admin).await.unwrap();
    let kept: i64 = sqlx::query_scalar("SELECT published_size FROM b_tree")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    let kept = u64::try_from(kept).unwrap();
    world.node.signed_in_as(&world.clinic, "colleague").await;
    let witnessed = eventually(async || Some(size().await).filter(|size| *size > kept)).await;
    let put_back = "SET session_replication_role = replica;
        TRUNCATE audit_order, audit_tree, audit_pending;
        INSERT INTO audit_order TABLE b_order; INSERT INTO audit_tree TABLE b_tree;
        DELETE FROM audit WHERE id NOT IN (SELECT leaf_id FROM b_order)";
    sqlx::raw_sql(put_back).execute(&mut admin).await.unwrap();
    world.node.signed_in_as(&world.clinic, "clinician").await;
    assert!(!operator.audit_verify(clinic).await.unwrap().is_sound);

    let dir = tempfile::tempdir().unwrap();
    let reason = "ticket 12: put back to Monday 09:00".to_owned();
    let resume = AuditVerb::Resume { clinic, reason };
    let said = medmesh(&world, dir.path(), resume).await.unwrap();
    assert!(said.contains(&format!("\"kept_size\": {kept}")), "{said}");
    let report = eventually(async || {
        let report = operator.audit_verify(clinic).await.ok()?;
        (report.published_size > kept).then_some(report)
    })
    .await;
    assert!(report.is_sound, "{report:?}");
    assert_eq!(report.gaps.len(), 1, "{report:?}");
    assert!(report.gaps[0].witnessed_size >= witnessed, "{report:?}");
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM audit WHERE action = 'audit_resume'")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert_eq!(left, 1);
    world.node.stop().await;
}
