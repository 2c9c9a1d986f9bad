//! Lies about logs of a real cluster: three control nodes with their Raft, one PostgreSQL, one object storage, and
//! `medmesh audit verify` asked of each node in turn. What two thousand lies in the unit tests ask of the verification
//! itself, this asks of everything around it.

mod liar;

use std::path::Path;
use std::sync::Arc;

use medmesh_api_client::Operator;
use medmesh_api_types::audit::AuditVerification;
use medmesh_base::{ClinicId, RequestId};
use medmesh_cli::operator::{AuditVerb, Unsound};
use medmesh_clinic::{Actor, SystemActor};
use medmesh_control::audit::LogKeys;
use medmesh_tests::control::{ControlNode, Site, TestClinic, Wishes};
use medmesh_tests::postgres::Scratch;
use medmesh_vault::ClusterSecret;
use sqlx::{Connection as _, PgConnection};

use crate::audit::{eventually, run_verb};
use liar::{KINDS, Kind, Liar, Told};

/// Clinics that are lied to, all at once: each has a log of its own. At least as many as there are kinds of lies.
const LIED_TO: [&str; 14] = [
    "harbour", "orchard", "quarry", "meadow", "lantern", "foundry", "juniper", "saffron", "willow",
    "bramble", "cypress", "dovecote", "ember", "fjord",
];
/// Rounds, each of which tells every clinic every kind of lie: some 250 in all.
const ROUNDS: usize = 2;
/// Lies of a round before the nodes may go on: what they wrote meanwhile must not wait for minutes.
const AT_ONCE: usize = 3;
/// Leaves under the head that is rolled back to; and those of the head after it, with which the log is more than a tile.
const LEAVES: [u64; 2] = [200, 70];

struct Cluster {
    scratch: Scratch,
    site: Arc<Site>,
    nodes: Vec<ControlNode>,
}

impl Cluster {
    async fn new() -> Self {
        let scratch = Scratch::database().await.unwrap();
        let site = Site::new(3);
        let mut nodes = Vec::new();
        for id in 1..=3 {
            nodes.push(ControlNode::start_in(&site, id, &scratch, &Wishes::default()).await);
        }
        Self { scratch, site, nodes }
    }

    async fn admin(&self) -> PgConnection {
        PgConnection::connect(&self.scratch.admin_url).await.unwrap()
    }

    async fn verify(&self, clinic: ClinicId, through: usize) -> AuditVerification {
        let node = &self.nodes[through % self.nodes.len()];
        let operator = Operator::new(&node.url(), self.site.operator_token().trim(), None).unwrap();
        operator.audit_verify(clinic).await.unwrap()
    }

    /// Commits leaves of a clinic.
    async fn act(&self, clinic: ClinicId, leaves: u64) {
        let store = self.scratch.store(1).await.unwrap();
        let actor = Actor::System(SystemActor::Upkeep);
        let mut tx = store.begin(clinic, actor, RequestId::generate()).await.unwrap();
        for _ in 0..leaves {
            tx.audit_verified().await.unwrap();
        }
        tx.commit().await.unwrap();
        store.close().await;
    }

    /// Until every leaf there is has its place and is under a head.
    async fn settled(&self) {
        let mut admin = self.admin().await;
        eventually(async || is_settled(&mut admin).await.then_some(())).await;
    }

    /// Keeps the nodes from giving places and publishing, so that a lie stays what it was while it is looked at.
    /// A superuser can, and must not be the better for it.
    async fn hold(&self) {
        loop {
            self.settled().await;
            self.hands("REVOKE EXECUTE ON FUNCTION audit_sequence(integer), audit_unpublished(integer) FROM medmesh_service")
                .await;
            // What was under way when that was said has ended, or is seen here.
            let mut admin = self.admin().await;
            if is_settled(&mut admin).await && self.nothing_under_way().await {
                return;
            }
            self.let_go().await;
        }
    }

    async fn let_go(&self) {
        self.hands("GRANT EXECUTE ON FUNCTION audit_sequence(integer), audit_unpublished(integer) TO medmesh_service")
            .await;
    }

    async fn hands(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&mut self.admin().await).await.unwrap();
    }

    /// The nodes' own heads are those of the database: none is being brought to the voters.
    async fn nothing_under_way(&self) -> bool {
        let operator = Operator::new(&self.nodes[0].url(), self.site.operator_token().trim(), None).unwrap();
        let heads = operator.audit_logs().await.unwrap().items;
        let mut admin = self.admin().await;
        let published: Vec<(uuid::Uuid, i64)> =
            sqlx::query_as("SELECT clinic_id, published_size FROM audit_tree")
                .fetch_all(&mut admin)
                .await
                .unwrap();
        published.iter().all(|(clinic, size)| {
            let head = heads.iter().find(|head| head.clinic_id.as_uuid() == *clinic);
            head.is_some_and(|head| i64::try_from(head.size) == Ok(*size))
        })
    }
}

async fn is_settled(admin: &mut PgConnection) -> bool {
    sqlx::query_scalar(
        "SELECT NOT EXISTS (SELECT FROM audit_pending)
             AND NOT EXISTS (SELECT FROM audit_tree WHERE published_size < size)
             AND EXISTS (SELECT FROM audit_tree)",
    )
    .fetch_one(admin)
    .await
    .unwrap()
}

/// The first id of this moment: what is written from now on has a later one.
fn this_moment() -> String {
    let now = uuid::Uuid::now_v7();
    uuid::Uuid::from_u128(now.as_u128() & !((1 << 80) - 1)).to_string()
}

#[track_caller]
fn found(report: &AuditVerification, (what, at): &Told, round: usize) {
    assert!(!report.is_sound, "round {round}: not found: {what}: {report:#?}");
    let first = report.first_divergent.as_ref().unwrap();
    if at.is_some() {
        assert_eq!(first.leaf_index, *at, "round {round}: {what}: {report:#?}");
    }
}

/// Tells one clinic some lies, one after the other, and puts each back.
async fn lie_to(cluster: &Cluster, liar: &mut Liar, clinic: ClinicId, kinds: &[Kind], round: usize) {
    liar.look().await;
    for (number, kind) in kinds.iter().enumerate() {
        // Ids are by the millisecond: those of a lie are earlier than what is written after it.
        let before = this_moment();
        while this_moment() == before {
            tokio::task::yield_now().await;
        }
        let lied_at = this_moment();
        let told = liar.lie(*kind).await;
        let report = cluster.verify(clinic, round + number).await;
        found(&report, &told, round);
        liar.undo(&lied_at).await;
    }
    let truth = cluster.verify(clinic, round).await;
    assert!(truth.is_sound, "after round {round} of {kinds:?}: {truth:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_lie_to_a_cluster_is_found_whichever_node_is_asked() {
    let cluster = Cluster::new().await;
    let untouched = TestClinic::open(&cluster.scratch, "untouched").await;
    let mut clinics = Vec::new();
    for name in LIED_TO {
        clinics.push(TestClinic::open(&cluster.scratch, name).await.id);
    }
    let secret = ClusterSecret::load_or_create(&cluster.site.dir().join("cluster.secret")).unwrap();
    let keys = LogKeys::new("test".to_owned(), secret);
    let mut liars = Vec::new();
    for (seed, clinic) in clinics.iter().enumerate() {
        let folder = cluster.site.dir().join(format!("objects/audit/{clinic}"));
        let log = keys.log(*clinic, None);
        liars.push(Liar::new(&cluster.scratch.admin_url, log, folder, seed as u64 + 1).await);
    }
    for leaves in LEAVES {
        for clinic in clinics.iter().chain([&untouched.id]) {
            cluster.act(*clinic, leaves).await;
        }
        cluster.settled().await;
        for liar in &mut liars {
            liar.look().await;
        }
    }
    for round in 0..ROUNDS {
        for kinds in KINDS.chunks(AT_ONCE) {
            cluster.hold().await;
            let lies = liars.iter_mut().zip(&clinics);
            futures::future::join_all(
                lies.map(|(liar, clinic)| lie_to(&cluster, liar, *clinic, kinds, round)),
            )
            .await;
            cluster.let_go().await;
        }
    }
    cluster.settled().await;
    every_kind_once_while_the_nodes_go_on(&cluster, &mut liars, &clinics).await;
    let truth = cluster.verify(untouched.id, 0).await;
    assert!(truth.is_sound && truth.size >= LEAVES.iter().sum(), "{truth:#?}");
    a_month_is_taken_off(&cluster, &untouched).await;
    for node in cluster.nodes {
        node.stop().await;
    }
}

/// What nodes that go on do not put right by themselves. A head or a tile that is missing or bent is published again
/// from rows that are true; rows that lie are all there is of them.
const LASTING: [Kind; 7] = [
    Kind::Edit,
    Kind::Delete,
    Kind::Insert,
    Kind::Reorder,
    Kind::Truncate,
    Kind::RollBack,
    Kind::Fork,
];

/// Nothing is held back now, and nothing put back: one lie to each log, and the nodes go on placing and publishing on
/// top of it. It is found at once and stays found, by the command as people use it.
async fn every_kind_once_while_the_nodes_go_on(cluster: &Cluster, liars: &mut [Liar], clinics: &[ClinicId]) {
    let mut told = Vec::new();
    for (liar, kind) in liars.iter_mut().zip(LASTING) {
        liar.look().await;
        told.push(liar.lie(kind).await);
    }
    for (clinic, told) in clinics.iter().zip(&told) {
        cluster.act(*clinic, 3).await;
        let report = cluster.verify(*clinic, 1).await;
        assert!(!report.is_sound, "{}: {report:#?}", told.0);
    }
    let dir = tempfile::tempdir().unwrap();
    for (number, (clinic, told)) in clinics.iter().zip(&told).enumerate() {
        let said = verify_by_command(&cluster.nodes[number % 3], dir.path(), Some(*clinic)).await;
        let said = said.expect_err(&told.0);
        assert!(said.contains("\"is_sound\": false"), "{}: {said}", told.0);
    }
}

/// As `medmesh audit verify` is called; what it says when something is wrong is the error.
async fn verify_by_command(
    node: &ControlNode,
    dir: &Path,
    clinic: Option<ClinicId>,
) -> Result<String, String> {
    let said = run_verb(node, dir, AuditVerb::Verify { clinic }).await;
    said.map_err(|error| {
        let unsound = error.downcast_ref::<Unsound>();
        unsound.expect("it is the log that is wrong").text.clone()
    })
}

/// The schema's owner takes the table of this month off, under nodes that go on writing.
async fn a_month_is_taken_off(cluster: &Cluster, clinic: &TestClinic) {
    let now = time::OffsetDateTime::now_utc();
    let table = format!("audit_{:04}_{:02}", now.year(), u8::from(now.month()));
    let mut owner = PgConnection::connect(&cluster.scratch.owner_url).await.unwrap();
    let detach = format!("ALTER TABLE audit DETACH PARTITION {table}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(detach))
        .execute(&mut owner)
        .await
        .unwrap();
    // People go on working, and what they do is in the log.
    cluster.nodes[0].signed_in_as(clinic, "clinician").await;
    let dir = tempfile::tempdir().unwrap();
    let said = verify_by_command(&cluster.nodes[1], dir.path(), Some(clinic.id)).await;
    let said = said.expect_err("a month is gone");
    assert!(said.contains("month_missing") && said.contains(&table), "{said}");
    let report = cluster.verify(clinic.id, 2).await;
    let first = report.first_divergent.unwrap();
    assert_eq!(
        (first.kind.as_str(), first.leaf_index),
        ("month_missing", Some(0)),
        "{first:?}"
    );
}
