//! Files only the edge's own user may read, and how many may be open.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::app::StartError;

/// Owner only: it holds secrets.
const FILE_MODE: u32 = 0o600;
/// Owner only.
const DIRECTORY_MODE: u32 = 0o700;

/// Replaces a file whole: written beside, flushed, renamed.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    // A leftover of a crash may carry another mode.
    let _ = std::fs::remove_file(&beside);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

/// Makes the data directory if it is not there.
pub(crate) fn create_private_dir(path: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)
}

/// Open files without which an edge is of no use: half of them for 128 relayed people, half for
/// their signalling, the links and the listeners. Systems give 1,024 by themselves.
const OPEN_MIN: u64 = 256;

/// Whether this process may hold as many open files as an edge needs; raise the limit first.
///
/// # Errors
/// [`StartError::Files`].
pub fn check_open_files() -> Result<(), StartError> {
    let limit = medmesh_turn::file_limit();
    if limit < OPEN_MIN {
        return Err(StartError::Files {
            limit,
            least: OPEN_MIN,
        });
    }
    Ok(())
}
