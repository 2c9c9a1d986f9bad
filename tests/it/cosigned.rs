//! Somebody outside signs our heads, and refuses those of a log it does not know.

use std::path::Path;
use std::sync::Arc;

use medmesh_api_client::Operator;
use medmesh_api_types::audit::AuditVerification;
use medmesh_base::AuditId;
use medmesh_cli::operator::AuditVerb;
use medmesh_tests::control::{ControlNode, Site, TestClinic, Wishes};
use medmesh_tests::outside::{Witness, go_program};
use medmesh_tests::postgres::Scratch;
use medmesh_tlog::note::Verifier;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::audit::{eventually, run_verb};

struct Place {
    witness: Witness,
    scratch: Scratch,
    clinic: TestClinic,
    site: Arc<Site>,
    _dir: tempfile::TempDir,
}

impl Place {
    async fn new(name: &'static str) -> Self {
        let program = go_program(Path::new(env!("CARGO_TARGET_TMPDIR")), "witness");
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::database().await.unwrap();
        Self {
            witness: Witness::start(&program, dir.path()),
            clinic: TestClinic::open(&scratch, name).await,
            scratch,
            site: Site::new(1),
            _dir: dir,
        }
    }

    async fn start(&self) -> ControlNode {
        let (url, key) = (&self.witness.url, &self.witness.key);
        let wishes = Wishes {
            audit: Some(format!(
                "[audit.witness]\nurl = \"{url}\"\nkey = \"{key}\"\nevery_seconds = 1"
            )),
            ..Wishes::default()
        };
        ControlNode::start_in(&self.site, 1, &self.scratch, &wishes).await
    }

    fn operator(&self, node: &ControlNode) -> Operator {
        Operator::new(&node.url(), self.site.operator_token().trim(), None).unwrap()
    }

    async fn verify(&self, node: &ControlNode) -> AuditVerification {
        self.operator(node).audit_verify(self.clinic.id).await.unwrap()
    }

    async fn verify_until(&self, node: &ControlNode, word: &str) -> AuditVerification {
        eventually(async || {
            let report = self.verify(node).await;
            (report.outside_witness.as_deref() == Some(word)).then_some(report)
        })
        .await
    }

    /// The log's key, once there is a head.
    async fn log_key(&self, node: &ControlNode) -> String {
        node.signed_in_as(&self.clinic, "clinician").await;
        let operator = self.operator(node);
        eventually(async || operator.audit_logs().await.ok()?.items.pop())
            .await
            .key
    }

    async fn admin(&self, sql: &str) {
        let mut admin = PgConnection::connect(&self.scratch.admin_url).await.unwrap();
        let sql = format!("SET session_replication_role = replica; {sql}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut admin)
            .await
            .unwrap();
    }
}

async fn metric(node: &ControlNode, line: &str) -> bool {
    let text = reqwest::get(format!("{}/metrics", node.admin_url()))
        .await
        .unwrap();
    text.text().await.unwrap().lines().any(|found| found == line)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_and_proofs_carry_the_signature_of_somebody_outside() {
    let mut place = Place::new("cosigned").await;
    let node = place.start().await;
    let key = place.log_key(&node).await;
    // Nobody told the witness of this log yet: it signs nothing, and nothing waits for it.
    let report = place.verify_until(&node, "unknown_log").await;
    assert!(report.is_sound && report.cosigned_size.is_none(), "{report:?}");
    place.witness.tell(&format!("trust {key}"));
    let report = place.verify_until(&node, "signs").await;
    assert!(report.is_sound, "{report:?}");

    // The proof of a leaf says so to whoever has both keys.
    let mut admin = PgConnection::connect(&place.scratch.admin_url).await.unwrap();
    let leaf: Uuid = sqlx::query_scalar("SELECT id FROM audit WHERE action = 'login' LIMIT 1")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    let (operator, leaf) = (place.operator(&node), AuditId::from_uuid(leaf));
    let witness: Verifier = place.witness.key.parse().unwrap();
    let proof = eventually(async || {
        let proof = operator.audit_prove(place.clinic.id, leaf).await.ok()?;
        witness.verify(&proof.checkpoint).is_ok().then_some(proof)
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("proof.json");
    std::fs::write(&file, serde_json::to_vec(&proof).unwrap()).unwrap();
    let check = |witness: &str| AuditVerb::Check {
        file: file.clone(),
        key: key.clone(),
        witness: Some(witness.to_owned()),
    };
    let said = run_verb(&node, dir.path(), check(&place.witness.key))
        .await
        .unwrap();
    assert!(said.contains("signed outside at "), "{said}");
    assert!(run_verb(&node, dir.path(), check(&key)).await.is_err());

    // The clinic's own auditor sees the same, and takes the same away.
    let auditor = node.signed_in_as(&place.clinic, "admin").await;
    let theirs = auditor.audit_prove(leaf).await.unwrap();
    assert!(witness.verify(&theirs.checkpoint).is_ok(), "{theirs:?}");
    let outside = auditor.audit_head_get().await.unwrap().outside_witness.unwrap();
    assert_eq!((&outside.key, outside.refused_at), (&place.witness.key, None));
    let signed = outside.signed.unwrap();
    let (_, at) = witness.verify(&signed.checkpoint).unwrap();
    assert_eq!(at, u64::try_from(signed.signed_at.unix_timestamp()).ok());
    assert!(signed.size > theirs.leaf_index);

    // Away: people go on working, heads go on being published, and it catches up by itself.
    place.witness.tell("away");
    let away = place.verify_until(&node, "away").await;
    assert!(away.is_sound, "{away:?}");
    node.signed_in_as(&place.clinic, "colleague").await;
    eventually(async || (place.verify(&node).await.published_size > away.published_size).then_some(())).await;
    place.witness.tell("back");
    place.verify_until(&node, "signs").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_rewritten_by_everybody_here_is_refused_outside() {
    let mut place = Place::new("forked").await;
    let node = place.start().await;
    let key = place.log_key(&node).await;
    place.witness.tell(&format!("trust {key}"));
    let report = place.verify_until(&node, "signs").await;
    assert!(report.is_sound, "{report:?}");
    node.stop().await;

    // The database's superuser, whoever rules the object storage and every control node agree that the login
    // never was: leaves go, the rest closes up, tiles, heads and the ledger begin anew.
    place
        .admin(
            "DELETE FROM audit_order WHERE leaf_id IN (SELECT id FROM audit WHERE action = 'login');
             DELETE FROM audit WHERE action = 'login';
             WITH again AS (SELECT leaf_id, row_number() OVER (ORDER BY tree_index) - 1 AS place FROM audit_order)
             UPDATE audit_order o SET tree_index = -1 - again.place FROM again WHERE again.leaf_id = o.leaf_id;
             UPDATE audit_order SET tree_index = -1 - tree_index;
             UPDATE audit_tree SET size = (SELECT count(*) FROM audit_order), published_size = 0, note = NULL,
                 cosigned_size = 0, cosigned_note = NULL;
             DELETE FROM object_storage",
        )
        .await;
    let anew = Site::new(1);
    let secret = "cluster.secret";
    std::fs::copy(place.site.dir().join(secret), anew.dir().join(secret)).unwrap();
    place.site = anew;
    let node = place.start().await;
    place.log_key(&node).await;
    let report = place.verify_until(&node, "refuses").await;
    let kinds: Vec<&str> = report
        .findings
        .iter()
        .map(|finding| finding.kind.as_str())
        .collect();
    assert_eq!(kinds, ["witness_refuses"], "{report:?}");
    // And it is an alarm of its own, without anybody asking.
    eventually(async || metric(&node, "medmesh_audit_refused_logs 1").await.then_some(())).await;
    // The clinic's auditors are told, too.
    let auditor = node.signed_in_as(&place.clinic, "admin").await;
    eventually(async || {
        let outside = auditor.audit_head_get().await.ok()?.outside_witness?;
        outside.refused_at
    })
    .await;
    node.stop().await;
}
