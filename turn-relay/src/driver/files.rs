//! Open files: each allocation is one, and each connection.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Takes as many open files as the system lets this process have (the hard limit); says how many
/// that are.
///
/// # Errors
/// The system says no, as seccomp filters do.
pub fn raise_file_limit() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// Open files this process may hold.
#[must_use]
pub fn file_limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft)
}
