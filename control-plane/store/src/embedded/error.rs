//! Why a private cluster does not run.

use std::io;
use std::path::PathBuf;

use crate::SetupError;

/// Why no cluster came up.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// PostgreSQL is not installed.
    #[error(
        "PostgreSQL 15 or later is needed and was not found (looked in pg_config --bindir, /usr/lib/postgresql/*/bin and PATH); on Debian and Ubuntu: apt-get install postgresql"
    )]
    NotInstalled,
    /// The installed one is too old.
    #[error("PostgreSQL 15 or later is needed, {found} was found in {path}", path = .path.display())]
    TooOld {
        /// What it says of itself.
        found: String,
        /// Where it is.
        path: PathBuf,
    },
    /// Root has nobody to run PostgreSQL as.
    #[error("PostgreSQL refuses to run as root, and there is neither a user 'postgres' nor 'nobody'")]
    NoUser,
    /// The user that PostgreSQL runs as cannot get at the directory.
    #[error("{path} is closed to the user PostgreSQL runs as; choose a directory below one that everybody may enter", path = .path.display())]
    Unreachable {
        /// The closed directory on the way.
        path: PathBuf,
    },
    /// Another process uses this directory.
    #[error("{path} is in use by another process", path = .path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The data were written by another major version.
    #[error("the data in {path} are of PostgreSQL {found}, installed is {wanted}; move them away or use pg_upgrade", path = .path.display())]
    OtherVersion {
        /// The directory.
        path: PathBuf,
        /// Who wrote it.
        found: String,
        /// What is installed.
        wanted: String,
    },
    /// A program failed.
    #[error("{program} failed: {output}")]
    Program {
        /// Which.
        program: &'static str,
        /// What it said.
        output: String,
    },
    /// It did not come up, or not go down, in time.
    #[error("PostgreSQL did not {what} in time; its log is {log}", log = .log.display())]
    Deadline {
        /// `start` or `stop`.
        what: &'static str,
        /// Where to look.
        log: PathBuf,
    },
    /// A file or process could not be handled.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The database was up but could not be prepared.
    #[error(transparent)]
    Setup(#[from] SetupError),
}

/// Says what was tried when a file or process fails.
pub(super) fn io_error(what: &'static str) -> impl FnOnce(io::Error) -> EmbeddedError {
    move |source| EmbeddedError::Io { what, source }
}
