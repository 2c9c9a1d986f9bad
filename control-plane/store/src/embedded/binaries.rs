//! Where PostgreSQL's programs are.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::EmbeddedError;

/// The oldest version with what the schema uses.
const MAJOR_MIN: u32 = 15;

/// One installation.
pub(super) struct Binaries {
    dir: PathBuf,
    pub(super) major: u32,
}

impl Binaries {
    /// The newest usable installation.
    pub(super) fn find() -> Result<Self, EmbeddedError> {
        let mut newest: Option<Self> = None;
        let mut too_old = None;
        for dir in candidates() {
            let Some((version, major)) = version_of(&dir.join("postgres")) else {
                continue;
            };
            if !dir.join("initdb").is_file() {
                continue;
            }
            if major < MAJOR_MIN {
                too_old = Some(EmbeddedError::TooOld {
                    found: version,
                    path: dir,
                });
            } else if newest.as_ref().is_none_or(|found| found.major < major) {
                newest = Some(Self { dir, major });
            }
        }
        newest.ok_or(too_old.unwrap_or(EmbeddedError::NotInstalled))
    }

    pub(super) fn path(&self, program: &str) -> PathBuf {
        self.dir.join(program)
    }
}

fn candidates() -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        dirs.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    dirs.extend(versions.map(|version| version.path().join("bin")));
    dirs.extend(env::var_os("PATH").iter().flat_map(env::split_paths));
    dirs
}

/// "postgres (PostgreSQL) 15.18 (Debian …)" → ("15.18", 15).
fn version_of(postgres: &Path) -> Option<(String, u32)> {
    if !postgres.is_file() {
        return None;
    }
    let output = Command::new(postgres).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().nth(2)?;
    let major = version
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()?;
    Some((version.to_owned(), major))
}
