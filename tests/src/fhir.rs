//! Is it FHIR? Asked of a validator that was not written here (npm `@medplum/core`, with the specification's
//! own definitions).

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::prepared::{prepared, source};

/// What a validator says of resources, each a file of JSON: a line for each fault.
///
/// # Panics
/// When it cannot be asked.
pub async fn faults(files: &[PathBuf]) -> Vec<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fhir");
    let packages = source(&dir.join("package-lock.json"));
    prepared(&dir.join("node_modules"), &packages, || {
        let mut install = std::process::Command::new("npm");
        install.args(["ci", "--no-audit", "--no-fund"]).current_dir(&dir);
        assert!(install.status().expect("npm runs").success(), "npm ci");
    });
    let said = Command::new("node")
        .arg(dir.join("validate.mjs"))
        .args(files)
        .kill_on_drop(true)
        .output()
        .await
        .expect("node runs");
    let text = String::from_utf8(said.stdout).expect("it says text");
    let faults: Vec<String> = text.lines().map(str::to_owned).collect();
    let error = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.success(), faults.is_empty(), "{error}");
    faults
}
