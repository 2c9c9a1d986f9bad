//! Rotating: a new secret beside the old one, and the old one away.
//!
//! The file is replaced whole, by renaming: who reads it meanwhile reads the old one or the new one.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::{SecretsFileError, lines, private_text};

/// Of a fresh secret: what HMAC-SHA-1 is keyed with at most without hashing it first is 64, and half of
/// that is out of reach of any search.
const FRESH_BYTES: usize = 32;
/// Of a file that was not there: its owner's.
const FRESH_MODE: u32 = 0o600;

/// Adds a fresh secret with the next epoch, which is in force from then on beside the one before it;
/// makes the file (mode 0600) where there is none. Gives the epochs, newest first.
///
/// # Errors
/// [`SecretsFileError::TwoAlready`] while an older one is still there; else as reading and writing go.
pub fn rotate(path: &Path) -> Result<Vec<u64>, SecretsFileError> {
    let mut text = match private_text(path) {
        Ok(text) => text,
        Err(SecretsFileError::Unreadable(_, error)) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let epochs = epochs(path, &text)?;
    if epochs.len() > 1 {
        return Err(SecretsFileError::TwoAlready(path.to_owned()));
    }
    let mut bytes = [0; FRESH_BYTES];
    rand::fill(&mut bytes).map_err(|_| SecretsFileError::NoRandomness)?;
    let next = epochs.first().map_or(1, |epoch| epoch.saturating_add(1));
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text += &format!("{next} {}\n", BASE64_URL_SAFE_NO_PAD.encode(bytes));
    replace(path, &text)?;
    Ok([next].into_iter().chain(epochs).collect())
}

/// Takes the older of two secrets away. Gives the epoch that stays.
///
/// # Errors
/// [`SecretsFileError::NothingOlder`] where there is one only; else as reading and writing go.
pub fn retire(path: &Path) -> Result<Vec<u64>, SecretsFileError> {
    let text = private_text(path)?;
    let fault = |fault| SecretsFileError::Fault(path.to_owned(), fault);
    let found = lines(&text).map_err(fault)?;
    let [current, older] = &found[..] else {
        return Err(SecretsFileError::NothingOlder(path.to_owned()));
    };
    let kept: String = text
        .lines()
        .enumerate()
        .filter(|(index, _)| *index != older.index)
        .map(|(_, line)| format!("{line}\n"))
        .collect();
    replace(path, &kept)?;
    Ok(vec![current.epoch])
}

fn epochs(path: &Path, text: &str) -> Result<Vec<u64>, SecretsFileError> {
    let found = lines(text).map_err(|fault| SecretsFileError::Fault(path.to_owned(), fault))?;
    Ok(found.iter().map(|line| line.epoch).collect())
}

/// Puts `text` in place of what is there, for the same owner and group and with the same mode.
fn replace(path: &Path, text: &str) -> Result<(), SecretsFileError> {
    let fresh = beside(path);
    let written = write(path, &fresh, text);
    if written.is_err() {
        // What was begun is of no use; that it cannot be taken away changes nothing about the error.
        let _ = fs::remove_file(&fresh);
    }
    written.map_err(|error| SecretsFileError::Unwritable(path.to_owned(), error))
}

fn write(path: &Path, fresh: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FRESH_MODE)
        .open(fresh)?;
    if let Ok(old) = fs::metadata(path) {
        let new = file.metadata()?;
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        file.set_permissions(Permissions::from_mode(old.mode() & 0o770))?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(fresh, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    PathBuf::from(name)
}
