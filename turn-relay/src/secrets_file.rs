//! The secrets file: one `epoch secret` a line, the newest epoch in force, the one before it
//! still accepted. Blank lines and lines that begin with `#` are skipped.
//!
//! A relay and whoever hands out credentials for it hold the same file. Errors name the file and the
//! line, never what is on it.

mod change;

use std::path::{Path, PathBuf};

use crate::credential::{Secret, Secrets};
use crate::watched::{self, Unfit, Watched};

pub use change::{retire, rotate};

/// Shorter secrets can be found from one captured password.
pub const SECRET_CHARACTERS_MIN: usize = 32;
/// Whatever others might do with it.
const OTHERS: u32 = 0o007;
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
    look(path).map(|(_, secrets)| secrets)
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
    watched::text(path, OTHERS, FILE_BYTES_MAX).map_err(|unfit| match unfit {
        Unfit::Unreadable(error) => SecretsFileError::Unreadable(path.to_owned(), error),
        Unfit::Open => SecretsFileError::Open(path.to_owned()),
        Unfit::TooLong => SecretsFileError::TooLong(path.to_owned()),
    })
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
pub struct SecretsFile(Watched);

impl SecretsFile {
    /// Reads it.
    ///
    /// # Errors
    /// See [`SecretsFileError`].
    pub fn open(path: &Path) -> Result<(Self, Secrets), SecretsFileError> {
        let (text, secrets) = look(path)?;
        Ok((Self(Watched::new(path, text)), secrets))
    }

    /// What is in it now, if that is something else than the last time. A fault is told once, and
    /// nothing changes by it.
    ///
    /// # Errors
    /// See [`SecretsFileError`].
    pub fn look(&mut self) -> Result<Option<Secrets>, SecretsFileError> {
        let looked = look(&self.0.path);
        self.0.looked(looked)
    }
}

fn look(path: &Path) -> Result<(String, Secrets), SecretsFileError> {
    let text = private_text(path)?;
    match parse(&text) {
        Ok(secrets) => Ok((text, secrets)),
        Err(fault) => Err(SecretsFileError::Fault(path.to_owned(), fault)),
    }
}

#[cfg(test)]
mod tests;
