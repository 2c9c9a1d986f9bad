//! The program itself, as somebody types it, against a running node.
#![allow(clippy::unwrap_used, reason = "an integration test is a test throughout")]

mod machine;

use std::process::{Output, Stdio};

use tokio::process::Command;

/// What came of a call.
pub(crate) struct Said {
    /// 0 where it was done, 1 where it was not, 2 where it was called wrongly.
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Calls `medmesh` with these arguments, and nothing of this process's environment that it reads.
pub(crate) async fn medmesh(arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medmesh"));
    for variable in ["MEDMESH_URL", "MEDMESH_TOKEN_FILE", "MEDMESH_CA_FILE"] {
        command.env_remove(variable);
    }
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().await.unwrap();
    Said {
        code: status.code().expect("it ends by itself"),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}
