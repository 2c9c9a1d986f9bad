//! Another key, and a database that was put back.

use medmesh_tlog::Checkpoint;
use medmesh_tlog::note::Verifier;
use medmesh_tlog::notice::{Change, Notice, successors};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use time::OffsetDateTime;

use super::world::{World, files, world};
use crate::audit::{Announced, PublishError, TurnError, resume, rotate};

impl World {
    /// As a superuser, whom nothing stops.
    pub(super) async fn sql(&self, sql: &str) {
        let mut admin = PgConnection::connect(&self.scratch.admin_url).await.unwrap();
        let sql = format!("SET session_replication_role = replica; {sql}");
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut admin)
            .await
            .unwrap();
    }

    /// What a backup taken at this moment puts back later.
    async fn backup(&self) {
        self.sql(
            "DROP TABLE IF EXISTS b_order, b_tree;
             CREATE TABLE b_order AS TABLE audit_order; CREATE TABLE b_tree AS TABLE audit_tree",
        )
        .await;
    }

    async fn put_back(&self) {
        self.sql(
            "TRUNCATE audit_order, audit_tree, audit_pending;
             INSERT INTO audit_order TABLE b_order; INSERT INTO audit_tree TABLE b_tree;
             DELETE FROM audit WHERE id NOT IN (SELECT leaf_id FROM b_order)",
        )
        .await;
    }

    async fn resume(&self) -> Result<Announced, TurnError> {
        let evidence = self.evidence();
        let reason = "ticket 12: put back to Monday";
        resume(
            &evidence,
            &self.publisher,
            &self.log(),
            OffsetDateTime::now_utc(),
            reason,
        )
        .await
    }

    async fn publish_fails(&self) -> PublishError {
        while self.store.audit_sequence().await.unwrap() > 0 {}
        let trees = self.store.audit_unpublished().await.unwrap();
        self.publisher.publish(&trees[0]).await.unwrap_err()
    }

    fn kinds(report: &crate::audit::Verification) -> Vec<&str> {
        report
            .findings
            .iter()
            .map(|finding| finding.kind.as_str())
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_of_an_earlier_key_stay_heads_and_lead_to_the_next() {
    let world = world().await;
    world.act(30).await;
    world.publish().await;
    let (old, old_head) = (
        world.log().verifier(),
        world.shelf.head(world.log().place).await.unwrap(),
    );
    let now = OffsetDateTime::now_utc();
    let announced = rotate(&world.evidence(), &world.log(), now).await.unwrap();
    assert_eq!(announced.notice.change, Change::Key);
    assert_eq!(Notice::open(&announced.note, &old), Ok(announced.notice.clone()));
    // The newest head is still of the old key, and good.
    assert!(world.verify().await.is_sound);
    world.act(30).await;
    world.publish().await;
    let report = world.verify().await;
    assert!(report.is_sound && report.gaps.is_empty(), "{report:?}");
    let new = world.log().verifier();
    assert_ne!(new, old);
    let head = world.shelf.head(world.log().place).await.unwrap().unwrap();
    assert!(Checkpoint::open(&head, &new).is_ok() && Checkpoint::open(&head, &old).is_err());
    let (_, by) = world.log().open(&old_head.unwrap()).unwrap();
    assert_eq!(by, old);

    let leaf = world.first_leaf().await;
    let proof = world.prove(leaf).await.unwrap();
    assert_eq!(proof.key.parse::<Verifier>().as_ref(), Ok(&new));
    assert_eq!(successors(&old, &proof.notices), [old, new]);

    // A notice nobody of us signed.
    {
        let mut state = world.voter.0.lock().unwrap();
        let mut log = (*state.audit_logs[&world.clinic]).clone();
        log.notices[0].note = log.notices[0].note.replacen("\nkey\n", "\nresume\n", 1);
        state.audit_logs.insert(world.clinic, log.into());
    }
    let report = world.verify().await;
    assert!(World::kinds(&report).contains(&"notice_forged"), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_put_back_goes_on_and_every_verification_says_so() {
    let world = world().await;
    world.act(299).await;
    world.publish().await;
    assert!(matches!(world.resume().await, Err(TurnError::NotBehind)));
    world.backup().await;
    world.act(400).await;
    world.publish().await;
    let published = files(&world.published());

    world.put_back().await;
    world.act(500).await;
    // No head of it is taken, and what was published is not overwritten.
    assert!(matches!(world.publish_fails().await, PublishError::Diverged(_)));
    assert_eq!(files(&world.published()), published);
    let report = world.verify().await;
    assert!(!report.is_sound && report.gaps.is_empty(), "{report:?}");

    let announced = world.resume().await.unwrap();
    assert_eq!((announced.notice.old_size, announced.notice.size), (700, 300));
    world.publish().await;
    let report = world.verify().await;
    assert!(report.is_sound, "{report:?}");
    let gap = &report.gaps[0];
    assert_eq!((gap.witnessed_size, gap.kept_size), (700, 300));
    assert_eq!(gap.reason, "ticket 12: put back to Monday");
    assert_eq!((report.size, report.published_size), (800, 800));
    let mut left = files(&world.published());
    left.retain(|path, _| !path.to_string_lossy().contains("/notice/"));
    assert_eq!(left, published, "the tree before the gap stays as it was");
    let leaf = world.first_leaf().await;
    assert!(world.prove(leaf).await.is_ok());

    // Once more, and with another key between.
    let now = OffsetDateTime::now_utc();
    rotate(&world.evidence(), &world.log(), now).await.unwrap();
    world.backup().await;
    world.act(10).await;
    world.publish().await;
    world.put_back().await;
    world.resume().await.unwrap();
    world.act(1).await;
    world.publish().await;
    let report = world.verify().await;
    assert!(report.is_sound && report.gaps.len() == 2, "{report:?}");

    // What was left behind is evidence, too.
    std::fs::remove_file(world.published().join("tile/0/000")).unwrap();
    std::fs::remove_file(world.published().join("tile/1/000.p/2")).unwrap();
    let report = world.verify().await;
    assert_eq!(World::kinds(&report), ["left_tiles_differ"], "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_beginning_of_what_was_witnessed_goes_on() {
    let world = world().await;
    world.act(40).await;
    world.publish().await;
    world.backup().await;
    world.act(40).await;
    world.publish().await;
    world.put_back().await;
    // A leaf less, and the rest closes up: no backup was ever like that.
    world
        .sql(
            "DELETE FROM audit_order WHERE tree_index = 7;
             UPDATE audit_order SET tree_index = 7 WHERE tree_index = 39;
             UPDATE audit_tree SET size = 39, published_size = 39",
        )
        .await;
    assert!(matches!(world.resume().await, Err(TurnError::NotOurs)));
    let report = world.verify().await;
    assert!(!report.is_sound && report.gaps.is_empty(), "{report:?}");
}
