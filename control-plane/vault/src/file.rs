//! Key files: owner-only, created at once with their content or not at all.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::VaultError;

/// Reads the file, or creates it with `fresh()`. When two processes race, both
/// end with the content of whoever linked first.
pub(crate) fn load_or_create(
    path: &Path,
    fresh: impl FnOnce() -> Result<Zeroizing<Vec<u8>>, VaultError>,
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    match load(path) {
        Err(VaultError::File { source, .. }) if source.kind() == ErrorKind::NotFound => {
            create(path, &fresh()?)?;
            load(path)
        }
        other => other,
    }
}

/// Reads an owner-only file.
pub(crate) fn load(path: &Path) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let failed = |source| VaultError::File {
        path: path.to_owned(),
        source,
    };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(VaultError::Exposed(path.to_owned()));
    }
    fs::read(path).map(Zeroizing::new).map_err(failed)
}

/// Replaces the file in one step for whoever looks.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), VaultError> {
    let failed = |source| VaultError::File {
        path: path.to_owned(),
        source,
    };
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    write_draft(&draft, content)
        .and_then(|()| fs::rename(&draft, path))
        .map_err(failed)
}

fn create(path: &Path, content: &[u8]) -> Result<(), VaultError> {
    let failed = |source| VaultError::File {
        path: path.to_owned(),
        source,
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    let written = write_draft(&draft, content).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    // The draft is scaffolding: whether the link took or not, it goes.
    let _ = fs::remove_file(&draft);
    written.map_err(failed)
}

fn write_draft(draft: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file: File = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(draft)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(content)?;
    file.sync_all()
}
