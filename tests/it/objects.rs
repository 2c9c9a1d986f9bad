//! The audit log in a bucket that locks: what was published stays, whoever has the keys.

use std::path::Path;

use medmesh_api_client::{IdempotencyKey, Operator};
use medmesh_api_types::audit::AuditVerification;
use medmesh_api_types::rights::RecordRightsSet;
use medmesh_control::app::{App, StartError};
use medmesh_control::config::Config;
use medmesh_control::objects::{LockError, PassingError};
use medmesh_tests::control::{ControlNode, Site, TestClinic, Wishes};
use medmesh_tests::postgres::Scratch;
use medmesh_tests::s3::S3;
use sqlx::{Connection as _, PgConnection};
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
        let mut s3 = S3::start(Path::new(env!("CARGO_TARGET_TMPDIR")), "audit");
        s3.tell("plain copies");
        Self {
            s3,
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
            matches!(
                error,
                StartError::Unlocked {
                    key: "lock_days",
                    source: LockError::Unlocked(_)
                }
            ),
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

/// The register in a bucket of its own that locks, copies in one that does not.
fn apart(place: &Place) -> String {
    let objects = place.s3.objects(place.dir.path(), Some(SIX_YEARS_DAYS));
    format!("{objects}erasures_bucket = \"register\"\nerasures_lock_days = {SIX_YEARS_DAYS}\n")
}

/// Whoever holds the keys to the bucket, and puts back a backup of the database, brings nobody back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_erased_stays_in_the_register_and_copies_of_their_record_do_not_stay() {
    let mut place = Place::new().await;
    place.s3.tell("lock register");
    let clinic = TestClinic::open(&place.scratch, "apart").await;
    let node = ControlNode::start(&place.scratch, &place.wishes(apart(&place))).await;
    let operator = Operator::new(&node.url(), node.site().operator_token().trim(), None).unwrap();
    let patient = clinic.person("second");
    let own = node.signed_in_as(&clinic, "second").await;
    own.record_export_create(&IdempotencyKey::fresh(), patient)
        .await
        .unwrap();
    let copies = format!("count copies:exports/{}/{patient}", clinic.id);
    eventually(async || (place.s3.tell(&copies)["objects"] == 2).then_some(())).await;
    let backup = "CREATE TABLE kept_person AS SELECT * FROM person; CREATE TABLE kept_key AS SELECT * FROM patient_key";
    let mut database = PgConnection::connect(&place.scratch.admin_url).await.unwrap();
    sqlx::raw_sql(backup).execute(&mut database).await.unwrap();
    let goes = RecordRightsSet {
        restricted: false,
        erasure: true,
    };
    own.record_rights_set(patient, 0, goes).await.unwrap();
    let entries = format!("count register:erasures/{}/{patient}", clinic.id);
    eventually(async || (place.s3.tell(&entries)["objects"] == 1).then_some(())).await;
    eventually(async || (place.s3.tell(&copies)["objects"] == 0).then_some(())).await;
    let left = place.s3.tell(&format!("attack copies:exports/{}", clinic.id));
    assert_eq!(
        left["tried"], 0,
        "nothing is left of the copies, no older version either"
    );
    let attack = place.s3.tell("attack register:erasures/");
    assert!(
        attack["tried"].as_u64().unwrap() > 0 && attack["tried"] == attack["refused"],
        "{attack}"
    );

    // Hidden from every listing, and nobody knows of the wish any more: they stay erased.
    assert_eq!(place.s3.tell("conceal register:erasures/")["concealed"], 1);
    assert_eq!(place.s3.tell(&entries)["objects"], 0);
    sqlx::raw_sql(
        "DELETE FROM record_rights;
         UPDATE person p SET display_name = k.display_name, email = k.email, seal_version = k.seal_version,
             active = true, erased_at = NULL FROM kept_person k WHERE k.id = p.id AND p.erased_at IS NOT NULL;
         INSERT INTO patient_key SELECT * FROM kept_key ON CONFLICT DO NOTHING",
    )
    .execute(&mut database)
    .await
    .unwrap();
    let held = operator.erasure_enforce().await.unwrap();
    assert_eq!(
        (held.listed, held.erased_again, held.hidden, held.unknown),
        (1, 1, 1, 0)
    );
    let gone = "SELECT count(*) = 1 FROM person p WHERE p.erased_at IS NOT NULL
        AND NOT EXISTS (SELECT FROM patient_key k WHERE k.patient_id = p.id)";
    let is_gone: bool = sqlx::query_scalar(gone).fetch_one(&mut database).await.unwrap();
    assert!(is_gone);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_register_that_could_be_taken_away_and_copies_that_would_stay_are_refused_at_the_start() {
    let mut place = Place::new().await;
    place.s3.tell("open loose");
    place.s3.tell("lock register");
    let good = apart(&place);
    place.build(good.clone()).await.unwrap();
    let loose = good.replace("\"register\"", "\"loose\"");
    let error = place.build(loose).await.err().expect("no entry would stay");
    assert!(
        matches!(
            error,
            StartError::Unlocked {
                key: "erasures_lock_days",
                source: LockError::Unlocked(_)
            }
        ),
        "{error:?}"
    );
    // Older versions of what is removed, or a lock on it.
    place.s3.tell("lock locked");
    for keeps in ["loose", "locked"] {
        let copies = good.replace("\"copies\"", &format!("\"{keeps}\""));
        let error = place.build(copies).await.err().expect("copies would stay");
        assert!(
            matches!(error, StartError::Kept(PassingError::Kept(_))),
            "{keeps}: {error:?}"
        );
    }
    // A bucket for everything that locks, though the configuration does not ask for it.
    let silent = place.s3.objects(place.dir.path(), None);
    let error = place.build(silent).await.err().expect("copies would stay");
    assert!(
        matches!(error, StartError::Kept(PassingError::Kept(_))),
        "{error:?}"
    );
}
