//! Three control nodes: whichever is asked answers, whichever did the work.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use medmesh_api_client::{IdempotencyKey, Operator};
use medmesh_api_types::record_export::{ExportForm, ExportState};
use medmesh_base::AuditId;
use medmesh_cli::operator::AuditVerb;
use medmesh_tests::control::{ControlNode, Site, TestClinic, Wishes};
use medmesh_tests::postgres::Scratch;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::audit::{eventually, run_verb};
use crate::clinic::plain_http;

/// How long a node may take to say that it has to end; it is a matter of one look.
const PATIENCE: Duration = Duration::from_secs(60);

async fn metric(node: &ControlNode, line: &str) -> bool {
    let url = format!("{}/metrics", node.admin_url());
    let text = plain_http().get(url).send().await.unwrap().text().await.unwrap();
    text.lines().any(|found| found == line)
}

async fn three(scratch: &Scratch) -> (Arc<Site>, Vec<ControlNode>) {
    let site = Site::new(3);
    let mut nodes = Vec::new();
    for id in 1..=3 {
        nodes.push(ControlNode::start_in(&site, id, scratch, &Wishes::default()).await);
    }
    for node in &nodes {
        eventually(async || metric(node, "medmesh_objects_shared 1").await.then_some(())).await;
    }
    (site, nodes)
}

async fn leaf_of_the_login(scratch: &Scratch) -> AuditId {
    let mut admin = PgConnection::connect(&scratch.admin_url).await.unwrap();
    let id: Uuid = sqlx::query_scalar("SELECT id FROM audit WHERE action = 'login' ORDER BY id DESC LIMIT 1")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    AuditId::from_uuid(id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_node_proves_and_verifies_what_one_of_them_published() {
    let scratch = Scratch::database().await.unwrap();
    let clinic = TestClinic::open(&scratch, "riverside").await;
    let (site, nodes) = three(&scratch).await;
    eventually(async || {
        let client = nodes[0].client();
        client
            .login(&clinic.email("patient"), medmesh_tests::control::PASSWORD)
            .await
            .ok()
    })
    .await;
    let leaf = leaf_of_the_login(&scratch).await;
    let dir = tempfile::tempdir().unwrap();
    for (number, node) in nodes.iter().enumerate() {
        let operator = Operator::new(&node.url(), site.operator_token().trim(), None).unwrap();
        eventually(async || operator.audit_prove(clinic.id, leaf).await.ok()).await;
        let verify = AuditVerb::Verify { clinic: None };
        let said = run_verb(node, dir.path(), verify).await.unwrap();
        assert!(
            said.contains("\"is_sound\": true"),
            "through node {}: {said}",
            number + 1
        );
        let file = dir.path().join(format!("{number}.json"));
        prove_and_check(node, dir.path(), &clinic, leaf, &file, &operator).await;
    }
    let leads = {
        let mut leads = 0;
        for node in &nodes {
            leads += usize::from(metric(node, "medmesh_audit_leads 1").await);
        }
        leads
    };
    assert_eq!(leads, 1, "one node publishes, and three have proved");
    for node in nodes {
        node.stop().await;
    }
}

async fn prove_and_check(
    node: &ControlNode,
    dir: &Path,
    clinic: &TestClinic,
    leaf: AuditId,
    file: &Path,
    operator: &Operator,
) {
    let prove = AuditVerb::Prove {
        leaf,
        clinic: clinic.id,
        out: Some(file.to_owned()),
    };
    run_verb(node, dir, prove).await.unwrap();
    let key = operator.audit_logs().await.unwrap().items.remove(0).key;
    let check = AuditVerb::Check {
        file: file.to_owned(),
        key,
        witness: None,
    };
    let said = run_verb(node, dir, check).await.unwrap();
    assert!(said.starts_with("proved: leaf"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_taken_through_each_node_whichever_made_it() {
    let scratch = Scratch::database().await.unwrap();
    let clinic = TestClinic::open(&scratch, "riverside").await;
    let (_site, nodes) = three(&scratch).await;
    let patient = clinic.person("patient");
    let own = nodes[0].signed_in(&clinic.email("patient")).await;
    let asked = own
        .record_export_create(&IdempotencyKey::fresh(), patient)
        .await
        .unwrap();
    eventually(async || {
        let export = own.record_export_get(patient, asked.id).await.ok()?;
        (export.state == ExportState::Ready).then_some(())
    })
    .await;
    let mut taken = Vec::new();
    for node in &nodes {
        let own = node.signed_in(&clinic.email("patient")).await;
        let copy = own
            .record_export_download(patient, asked.id, ExportForm::Json)
            .await;
        taken.push(copy.unwrap());
    }
    assert!(!taken[0].is_empty());
    assert!(
        taken.iter().all(|copy| *copy == taken[0]),
        "the same copy from each"
    );
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_a_storage_of_its_own_has_to_end() {
    let scratch = Scratch::database().await.unwrap();
    TestClinic::open(&scratch, "riverside").await;
    let site = Site::new(2);
    let node = ControlNode::start_in(&site, 1, &scratch, &Wishes::default()).await;
    eventually(async || metric(&node, "medmesh_objects_shared 1").await.then_some(())).await;
    let apart = Wishes {
        objects: Some(format!("dir = \"{}/apart\"", site.dir().display())),
        ..Wishes::default()
    };
    let stray = ControlNode::start_in(&site, 2, &scratch, &apart).await;
    let why = tokio::time::timeout(PATIENCE, stray.failed()).await.unwrap();
    let number = std::fs::read_to_string(site.dir().join("objects/storage.id")).unwrap();
    assert!(why.contains("[objects]") && why.contains(number.trim()), "{why}");
    assert!(metric(&stray, "medmesh_objects_shared 0").await);
    assert!(
        metric(&stray, "medmesh_audit_leads 0").await,
        "it publishes nothing"
    );
    stray.stop().await;
    assert!(metric(&node, "medmesh_objects_shared 1").await);
    node.stop().await;
}
