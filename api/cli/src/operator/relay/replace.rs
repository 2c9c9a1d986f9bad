//! One file in place of another, whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Who may do what with a file that is made: there is nothing secret in it.
const FRESH_MODE: u32 = 0o644;

/// Puts `text` in place of what is there, with the same mode. Whoever reads sees the old file or the new one.
pub(super) fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let fresh = PathBuf::from(name);
    let written = write(path, &fresh, text);
    if written.is_err() {
        // What was begun is of no use; that it cannot be taken away changes nothing about the error.
        let _ = fs::remove_file(&fresh);
    }
    written
}

fn write(path: &Path, fresh: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FRESH_MODE)
        .open(fresh)?;
    if let Ok(old) = fs::metadata(path) {
        file.set_permissions(Permissions::from_mode(old.permissions().mode() & 0o775))?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(fresh, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}
