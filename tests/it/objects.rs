//! The audit log in a bucket that locks: what was published stays, whoever has the keys.

use std::path::Path;

use medmesh_api_client::Operator;
use medmesh_api_types::audit::AuditVerification;
use medmesh_control::app::{App, StartError};
use medmesh_control::config::Config;
use medmesh_control::objects::LockError;
use medmesh_tests::control::{ControlNode, Site, TestClinic, Wishes};
use medmesh_tests::postgres::Scratch;
use medmesh_tests::s3::S3;
use tempfile::TempDir;

use crate::audit::eventually;

/// Six years, which is for how long the log is kept at least.
const SIX_YEARS_DAYS: u32 = 2192;

struct Place {
    s3: S3,
    scratch: Scratch,
    dir: TempDir,
}

impl Place {
    async fn new() -> Self {
        Self {
            s3: S3::start(Path::new(env!("CARGO_TARGET_TMPDIR")), "audit"),
            scratch: Scratch::database().await.unwrap(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn wishes(&self, objects: String) -> Wishes {
        Wishes {
            objects: Some(objects),
            ..Wishes::default()
        }
    }

    async fn build(&self, objects: String) -> Result<App, StartError> {
        let site = Site::new(1);
        let file = site.config_file(1, &self.scratch, &self.wishes(objects));
        App::build(Config::load(&file).unwrap()).await
    }
}

async fn verified(operator: &Operator, clinic: &TestClinic) -> AuditVerification {
    operator.audit_verify(clinic.id).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_published_into_a_bucket_that_locks_cannot_be_taken_away() {
    let mut place = Place::new().await;
    let clinic = TestClinic::open(&place.scratch, "locked").await;
    let objects = place.s3.objects(place.dir.path(), Some(SIX_YEARS_DAYS));
    let node = ControlNode::start(&place.scratch, &place.wishes(objects)).await;
    let token = node.site().operator_token();
    let operator = Operator::new(&node.url(), token.trim(), None).unwrap();
    node.signed_in_as(&clinic, "clinician").await;
    let size = eventually(async || {
        let logs = operator.audit_logs().await.ok()?.items;
        logs.first().map(|log| log.size).filter(|size| *size > 0)
    })
    .await;
    let report = verified(&operator, &clinic).await;
    assert!(report.is_sound && report.published_size >= size, "{report:?}");

    let attack = place.s3.tell(&format!("attack audit/{}", clinic.id));
    assert!(attack["tried"].as_u64().unwrap() > 3, "{attack}");
    assert_eq!(attack["tried"], attack["refused"], "{attack}");
    // Something else can be put in front of it, which hides nothing and is found.
    let head = format!("audit/{}/checkpoint", clinic.id);
    let versions = format!("versions {head}");
    let before = place.s3.tell(&versions)["versions"].as_u64().unwrap();
    // A head that comes right after it is in front of it again, hence perhaps more than once.
    eventually(async || {
        place.s3.tell(&format!("hide {head}"));
        let report = verified(&operator, &clinic).await;
        let kinds: Vec<&str> = report.findings.iter().map(|it| it.kind.as_str()).collect();
        (kinds == ["head_forged"]).then_some(())
    })
    .await;
    let after = place.s3.tell(&versions)["versions"].as_u64().unwrap();
    assert!(before > 0 && after > before, "{before} and {after}");
    // The next head comes in front of that again. (Verifying was an act.)
    eventually(async || verified(&operator, &clinic).await.is_sound.then_some(())).await;

    // A bucket that stops locking is noticed.
    place.s3.tell("weaken");
    let report = verified(&operator, &clinic).await;
    assert_eq!(report.findings[0].kind, "objects_unlocked", "{report:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_does_not_lock_is_refused_at_the_start() {
    let mut place = Place::new().await;
    place.s3.tell("open loose");
    let dir = place.dir.path().to_owned();
    let loose = place.s3.objects_in("loose", &dir, Some(1));
    let refused = |built: Result<App, StartError>| {
        let error = built.err().expect("it does not start");
        assert!(
            matches!(error, StartError::Unlocked(LockError::Unlocked(_))),
            "{error:?}"
        );
    };
    refused(place.build(loose).await);
    refused(place.build(place.s3.objects(&dir, Some(20_000))).await);
    // Where no lock is asked for, none is needed; one that nobody can ask for may come back.
    place
        .build(place.s3.objects_in("loose", &dir, None))
        .await
        .unwrap();
    let away = place
        .s3
        .objects(&dir, Some(1))
        .replace(&place.s3.url, "http://127.0.0.1:9");
    place.build(away).await.unwrap();
}
