//! The secrets file: one `epoch secret` a line, the newest epoch in force, the one before it
//! still accepted. Blank lines and lines that begin with `#` are skipped.
//!
//! A relay and whoever hands out credentials for it hold the same file. Errors name the file and the
//! line, never what is on it.

mod change;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::credential::{Secret, Secrets};

pub use change::{retire, rotate};

/// Shorter secrets can be found from one captured password.
pub const SECRET_CHARACTERS_MIN: usize = 32;
/// Longer files are no secrets file.
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// What is wrong with the text of a secrets file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A line is not as it must be: its number, from 1, and why.
    #[error("line {0}: {1}")]
    Line(usize, String),
    /// There is none in it.
    #[error("no secret in it")]
    Empty,
    /// More than two.
    #[error("more than two epochs; a third would outlive its rotation")]
    TooMany,
}

/// A secrets file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretsFileError {
    /// It cannot be read.
    #[error("cannot read {0}")]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// It cannot be written.
    #[error("cannot write {0}")]
    Unwritable(PathBuf, #[source] std::io::Error),
    /// Anybody on the machine could take what is in it.
    #[error("{0}: everybody may read it; chmod o= it")]
    Open(PathBuf),
    /// It is something else.
    #[error("{0}: too long for a secrets file")]
    TooLong(PathBuf),
    /// What is in it is wrong.
    #[error("in {0}")]
    Fault(PathBuf, #[source] Fault),
    /// Two epochs are in it: a third would put the oldest out of force while people hold its credentials.
    #[error("{0}: two epochs are in it; retire the older one first, when nobody uses it any more")]
    TwoAlready(PathBuf),
    /// One epoch is in it, and that is in force.
    #[error("{0}: there is one epoch in it, and it is in force")]
    NothingOlder(PathBuf),
    /// The machine has no randomness to give.
    #[error("no randomness")]
    NoRandomness,
}

/// A line with a secret.
struct Line<'a> {
    /// From 0.
    index: usize,
    epoch: u64,
    secret: &'a str,
}

/// Reads a secrets file.
///
/// # Errors
/// See [`SecretsFileError`].
pub fn read(path: &Path) -> Result<Secrets, SecretsFileError> {
    let text = private_text(path)?;
    parse(&text).map_err(|fault| SecretsFileError::Fault(path.to_owned(), fault))
}

/// Reads what is in one.
///
/// # Errors
/// See [`Fault`].
pub fn parse(text: &str) -> Result<Secrets, Fault> {
    let mut found = lines(text)?
        .into_iter()
        .map(|line| Secret::new(line.epoch, line.secret));
    let current = found.next().ok_or(Fault::Empty)?;
    Ok(Secrets::new(current, found.next()))
}

/// The text of a file that not everybody may read.
///
/// # Errors
/// When it cannot be read, everybody may read it, or it is longer than such files are.
pub fn private_text(path: &Path) -> Result<String, SecretsFileError> {
    let unreadable = |error| SecretsFileError::Unreadable(path.to_owned(), error);
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.permissions().mode() & 0o007 != 0 {
        return Err(SecretsFileError::Open(path.to_owned()));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(SecretsFileError::TooLong(path.to_owned()));
    }
    fs::read_to_string(path).map_err(unreadable)
}

/// The lines with secrets, newest first; none or one or two.
fn lines(text: &str) -> Result<Vec<Line<'_>>, Fault> {
    let mut found: Vec<Line<'_>> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fault = |why: String| Fault::Line(index + 1, why);
        let (epoch, secret) = line
            .split_once(char::is_whitespace)
            .ok_or_else(|| fault("not `epoch secret`".to_owned()))?;
        let epoch = epoch
            .parse()
            .map_err(|_| fault("the epoch is not a number".to_owned()))?;
        let secret = secret.trim();
        if secret.len() < SECRET_CHARACTERS_MIN {
            return Err(fault(format!(
                "a secret needs {SECRET_CHARACTERS_MIN} characters"
            )));
        }
        if found.iter().any(|other| other.epoch == epoch) {
            return Err(fault(format!("epoch {epoch} is there twice")));
        }
        found.push(Line { index, epoch, secret });
    }
    if found.len() > 2 {
        return Err(Fault::TooMany);
    }
    found.sort_unstable_by_key(|line| std::cmp::Reverse(line.epoch));
    Ok(found)
}

/// A secrets file that may change while a process runs.
#[derive(Debug)]
pub struct SecretsFile {
    path: PathBuf,
    /// What was in it when it was last usable.
    text: String,
    /// What was wrong with it the last time.
    fault: Option<String>,
}

impl SecretsFile {
    /// Reads it.
    ///
    /// # Errors
    /// See [`SecretsFileError`].
    pub fn open(path: &Path) -> Result<(Self, Secrets), SecretsFileError> {
        let text = private_text(path)?;
        let secrets = parse(&text).map_err(|fault| SecretsFileError::Fault(path.to_owned(), fault))?;
        let file = Self {
            path: path.to_owned(),
            text,
            fault: None,
        };
        Ok((file, secrets))
    }

    /// What is in it now, if that is something else than the last time. A fault is told once, and
    /// nothing changes by it.
    ///
    /// # Errors
    /// See [`SecretsFileError`].
    pub fn look(&mut self) -> Result<Option<Secrets>, SecretsFileError> {
        let looked = private_text(&self.path).and_then(|text| {
            let parsed = parse(&text).map_err(|fault| SecretsFileError::Fault(self.path.clone(), fault));
            parsed.map(|secrets| (text, secrets))
        });
        match looked {
            Ok((text, secrets)) => {
                self.fault = None;
                let changed = text != self.text;
                self.text = text;
                Ok(changed.then_some(secrets))
            }
            Err(error) => {
                let said = format!("{error:?}");
                let known = self.fault.as_ref() == Some(&said);
                self.fault = Some(said);
                if known { Ok(None) } else { Err(error) }
            }
        }
    }
}

#[cfg(test)]
mod tests;
