//! How many open files an edge may hold decides how many people it relays.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::fleet::{PATIENCE, files_of_a_process};

/// `medmesh-edge` with the files of `dir`, under the limits that the shell sets first.
fn edge(dir: &Path, limits: &str, more: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{limits} && exec \"$0\" --config \"$1\" {more}")])
        .arg(env!("CARGO_BIN_EXE_medmesh-edge"))
        .arg(dir.join("edge.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn too_few_open_files_are_said_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    files_of_a_process(dir.path());
    for more in ["", "--check"] {
        let ended = edge(dir.path(), "ulimit -n 200", more).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success(), "{said}");
        assert!(
            said.contains("200 open files are too few for an edge, 256 are the least")
                && said.contains("LimitNOFILE"),
            "{said}"
        );
    }
    let enough = edge(dir.path(), "ulimit -n 256", "--check").status().unwrap();
    assert!(enough.success());
}

#[tokio::test]
async fn it_takes_as_many_open_files_as_it_may_and_says_how_many_people_fit() {
    let dir = tempfile::tempdir().unwrap();
    let admin = files_of_a_process(dir.path());
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    // Fewer than an edge needs, until it asks for what the system allows.
    let mut command = edge(dir.path(), "ulimit -Sn 200 && ulimit -Hn 2048", "");
    let running = Running(command.stderr(log).spawn().unwrap());
    let deadline = Instant::now() + PATIENCE;
    let metrics = loop {
        if let Ok(answer) = reqwest::get(format!("http://127.0.0.1:{admin}/metrics")).await {
            let text = answer.text().await.unwrap();
            if text.contains("medmesh_turn_allocations_max") {
                break text;
            }
        }
        assert!(Instant::now() < deadline, "no metrics of a relay");
        tokio::task::yield_now().await;
    };
    assert!(
        metrics.contains("medmesh_turn_allocations_max 1024\n"),
        "{metrics}"
    );
    drop(running);
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(
        log.contains("fewer TURN allocations than the default")
            && log.contains("1024")
            && log.contains("2048"),
        "{log}"
    );
}
