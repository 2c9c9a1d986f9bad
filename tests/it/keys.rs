//! Keys as an operator sees and replaces them, through the command line and a control node.

use std::path::Path;
use std::time::Duration;

use medmesh_api_types::key::KeyList;
use medmesh_api_types::person::PersonQuery;
use medmesh_base::ClinicId;
use medmesh_cli::operator::{Connection, JobVerb, KeyRotate, KeyVerb, Verb, run};
use sqlx::{Connection as _, PgConnection};

use crate::clinic::World;

/// Until it holds; the limit is for a machine that is busy with other things.
pub(crate) async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(90), waiting)
        .await
        .expect("it never came to be");
}

/// As `medmesh` is called with these arguments.
pub(crate) async fn medmesh(world: &World, dir: &Path, verb: Verb) -> anyhow::Result<String> {
    let token_file = dir.join("operator.token");
    std::fs::write(&token_file, world.node.site().operator_token()).unwrap();
    let connection = Connection {
        url: world.node.url(),
        token_file: Some(token_file),
        ca_file: None,
        json: true,
    };
    run(&connection, verb).await
}

pub(crate) async fn show(world: &World, dir: &Path) -> KeyList {
    let verb = KeyVerb::Show;
    let said = medmesh(world, dir, Verb::Keys { verb }).await.unwrap();
    serde_json::from_str(&said).unwrap()
}

async fn sql(world: &World, sql: &'static str) {
    let mut admin = PgConnection::connect(&world.scratch.admin_url).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut admin).await.unwrap();
}

fn of_clinic(list: &KeyList, clinic: ClinicId) -> Vec<(u32, u64)> {
    let own = list.keys.iter().filter(|key| key.clinic_id == Some(clinic));
    own.map(|key| (key.version, key.patients)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_replaces_keys_and_sees_how_far_it_is() {
    let world = World::new().await;
    let (dir, clinic) = (tempfile::tempdir().unwrap(), world.clinic.id);
    let before = show(&world, dir.path()).await;
    let [(1, patients)] = of_clinic(&before, clinic)[..] else {
        panic!("{before:?}")
    };
    assert!(
        before.keys.iter().any(|key| key.clinic_id.is_none()),
        "the system's too"
    );
    assert!(
        before
            .keys
            .iter()
            .all(|key| Some(&key.root) == before.root.as_ref())
    );

    let rotate = |which| Verb::Keys {
        verb: KeyVerb::Rotate(which),
    };
    let said = medmesh(&world, dir.path(), rotate(KeyRotate::Clinic { clinic })).await;
    assert!(said.unwrap().contains("\"version\": 2"));
    let again = medmesh(&world, dir.path(), rotate(KeyRotate::Index { clinic })).await;
    assert!(again.unwrap_err().to_string().contains("rotated already"));
    let nobody = KeyRotate::Clinic {
        clinic: ClinicId::generate(),
    };
    assert!(medmesh(&world, dir.path(), rotate(nobody)).await.is_err());
    // The job moves the patients' keys and then waits until every node knows of the new version.
    eventually(async || of_clinic(&show(&world, dir.path()).await, clinic) == [(1, 0), (2, patients)]).await;
    let list = || Verb::Jobs {
        verb: JobVerb::List { dead: false },
    };
    let is_shown = async || {
        let jobs = medmesh(&world, dir.path(), list()).await.unwrap();
        jobs.contains("key_rotation") && jobs.contains("\"remaining\": 0") && !jobs.contains("\"moved\": 0,")
    };
    eventually(is_shown).await;
    assert!(patients > 0);
    let status = Verb::Keys {
        verb: KeyVerb::Status,
    };
    let said = medmesh(&world, dir.path(), status).await.unwrap();
    assert!(
        said.contains("key_rotation") && said.contains("\"under_older_root\": 0"),
        "{said}"
    );

    let root = KeyRotate::Root {
        without_rewrap: false,
        only_rewrap: false,
    };
    medmesh(&world, dir.path(), rotate(root)).await.unwrap();
    eventually(async || {
        let now = show(&world, dir.path()).await;
        now.root != before.root && now.keys.iter().all(|key| Some(&key.root) == now.root.as_ref())
    })
    .await;
    world.node.signed_in_as(&world.clinic, "clinician").await;
    world.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_voters_agreed_on_outlives_a_database_that_is_put_back() {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let admin = world.node.signed_in_as(&world.clinic, "admin").await;
    let reads = async || admin.person_list(&PersonQuery::default()).await.is_ok();
    assert!(reads().await);
    // As after two rotations, and then a backup of before them.
    sql(&world, "UPDATE clinic_key SET floor = 3").await;
    eventually(async || !reads().await).await;
    sql(&world, "UPDATE clinic_key SET floor = 0").await;
    // A new version makes the node read the clinic's keys again, and with them the lower floor.
    let verb = KeyVerb::Rotate(KeyRotate::Clinic {
        clinic: world.clinic.id,
    });
    medmesh(&world, dir.path(), Verb::Keys { verb }).await.unwrap();
    assert!(!reads().await, "the ledger remembers");
    let restored = KeyVerb::Restored {
        clinic: world.clinic.id,
    };
    medmesh(&world, dir.path(), Verb::Keys { verb: restored })
        .await
        .unwrap();
    eventually(reads).await;
    let leaf = "SELECT count(*) FROM audit WHERE action = 'key_restore'";
    let mut db = PgConnection::connect(&world.scratch.admin_url).await.unwrap();
    let leaves: i64 = sqlx::query_scalar(leaf).fetch_one(&mut db).await.unwrap();
    assert_eq!(leaves, 1);
    world.node.stop().await;
}
