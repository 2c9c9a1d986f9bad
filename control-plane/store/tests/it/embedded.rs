//! The private cluster: comes up, keeps its data, leaves nothing behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use medmesh_store::embedded::{Cluster, Durability, EmbeddedError, Settings};

/// Names the directory for the process that gets killed.
const VICTIM: &str = "MEDMESH_TEST_VICTIM";

fn settings(dir: &Path, ephemeral: bool) -> Settings {
    Settings {
        dir: dir.to_owned(),
        durability: Durability::None,
        ephemeral,
        max_connections: 20,
    }
}

fn postgres_of(dir: &Path) -> Option<u32> {
    let pid = fs::read_to_string(dir.join("data/postmaster.pid")).ok()?;
    pid.lines().next()?.parse().ok()
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} in time");
        std::thread::yield_now();
    }
}

fn open_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    // Below it lives somebody else when root runs the tests.
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    dir
}

#[tokio::test]
async fn data_outlive_a_stop_and_provisioning_twice_is_once() {
    let dir = open_dir();
    let state = dir.path().join("state");
    for round in 0..2 {
        let cluster = Cluster::start(&settings(&state, false)).unwrap();
        assert!(matches!(
            Cluster::start(&settings(&state, false)),
            Err(EmbeddedError::InUse { .. })
        ));
        cluster.provision("medmesh").await.unwrap();
        let pool = sqlx::PgPool::connect(&cluster.admin_url("medmesh"))
            .await
            .unwrap();
        if round == 0 {
            sqlx::query("CREATE TABLE kept (x int)")
                .execute(&pool)
                .await
                .unwrap();
        } else {
            sqlx::query("SELECT x FROM kept").fetch_all(&pool).await.unwrap();
        }
        pool.close().await;
        // PostgreSQL warns, and goes on, when a migration gives or takes what it may not.
        let log = fs::read_to_string(state.join("postgres.log")).unwrap();
        assert!(!log.contains("WARNING") && !log.contains("ERROR"), "{log}");
        let pid = postgres_of(&state).unwrap();
        cluster.stop().unwrap();
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "PostgreSQL is gone");
    }
}

#[test]
fn an_ephemeral_cluster_removes_itself() {
    let dir = open_dir();
    let state = dir.path().join("state");
    let cluster = Cluster::start(&settings(&state, true)).unwrap();
    let sockets = socket_dir(&cluster);
    assert!(sockets.exists());
    drop(cluster);
    assert!(!sockets.exists());
    // The directory itself is its parent's; whoever may not write there empties it.
    assert!(!state.join("data").exists());
}

/// Not a test of its own: the process that the next one kills.
#[test]
fn victim() {
    let Some(dir) = std::env::var_os(VICTIM) else {
        return;
    };
    let cluster = Cluster::start(&settings(Path::new(&dir), true)).unwrap();
    fs::write(
        Path::new(&dir).join("sockets"),
        socket_dir(&cluster).to_str().unwrap(),
    )
    .unwrap();
    std::thread::park();
}

#[test]
fn a_killed_process_takes_its_cluster_along() {
    let dir = open_dir();
    let state = dir.path().join("state");
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "embedded::victim", "--nocapture"])
        .env(VICTIM, &state)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let note = state.join("sockets");
    eventually("the victim starts", || {
        fs::read_to_string(&note).is_ok_and(|text| !text.is_empty())
    });
    let sockets = PathBuf::from(fs::read_to_string(&note).unwrap());
    let pid = postgres_of(&state).unwrap();
    victim.kill().unwrap();
    victim.wait().unwrap();
    eventually("PostgreSQL is gone", || {
        !Path::new(&format!("/proc/{pid}")).exists()
    });
    eventually("its sockets are gone", || !sockets.exists());
    eventually("its data are gone", || !state.join("data").exists());
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let dir = open_dir();
    let state = dir.path().join("state");
    Cluster::start(&settings(&state, false)).unwrap().stop().unwrap();
    fs::write(state.join("data/postgresql.auto.conf"), "no_such_setting = 1\n").unwrap();
    let Err(EmbeddedError::Program { output, .. }) = Cluster::start(&settings(&state, false)) else {
        panic!("it must not start");
    };
    assert!(output.contains("no_such_setting"), "{output}");
}

#[test]
fn data_of_another_major_version_are_left_alone() {
    let dir = open_dir();
    let state = dir.path().join("state");
    fs::create_dir_all(state.join("data")).unwrap();
    fs::write(state.join("data/PG_VERSION"), "9\n").unwrap();
    assert!(matches!(
        Cluster::start(&settings(&state, false)),
        Err(EmbeddedError::OtherVersion { .. })
    ));
}

fn socket_dir(cluster: &Cluster) -> PathBuf {
    let url = cluster.admin_url("postgres");
    PathBuf::from(url.split("host=").nth(1).unwrap())
}
