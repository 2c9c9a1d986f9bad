//! What a log says about itself when something about it changes: another key signs it, or it goes on
//! from an earlier head under another name.
//!
//! A notice is a signed note, and carries the key that follows. It is signed by the key before *and* by
//! the one after, so that whoever believes the one comes to the other by reading ([`successors`]).
//!
//! ```text
//! medmesh audit notice v1
//! key | resume
//! ORIGIN            of the log until now
//! SIZE              of its newest head
//! ROOT              of that
//! VERIFIER KEY      from now on; its name is the origin from now on
//! SIZE              of the head it goes on from
//! ROOT              of that
//! UNIX SECONDS
//! REASON            in the operator's words, "-" without
//! ```

use std::fmt;

use crate::hash::Hash;
use crate::note::{NoteError, Signer, Verifier};

const FIRST_LINE: &str = "medmesh audit notice v1";
/// Longest reason, bytes: a ticket's number and a sentence.
pub const REASON_BYTES_MAX: usize = 200;

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Another key signs the log.
    Key,
    /// The log goes on from an earlier head, under another name: its database was put back.
    Resume,
}

/// One notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What changed.
    pub change: Change,
    /// The log's name until now.
    pub origin: String,
    /// Leaves of its newest head.
    pub old_size: u64,
    /// Root of that head.
    pub old_root: Hash,
    /// Who signs it from now on, and what it is called.
    pub key: Verifier,
    /// Leaves of the head it goes on from.
    pub size: u64,
    /// Root of that head.
    pub root: Hash,
    /// When, Unix seconds.
    pub at: u64,
    /// Why; names nobody.
    pub reason: Option<String>,
}

/// The text is no notice, or nobody signed it who may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoticeError {
    /// Not signed as it must be.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Not of the form of a notice.
    #[error("not a notice")]
    Malformed,
}

impl fmt::Display for Notice {
    /// The text that is signed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let change = match self.change {
            Change::Key => "key",
            Change::Resume => "resume",
        };
        writeln!(f, "{FIRST_LINE}\n{change}\n{}", self.origin)?;
        writeln!(f, "{}\n{}\n{}", self.old_size, self.old_root, self.key)?;
        writeln!(f, "{}\n{}\n{}", self.size, self.root, self.at)?;
        writeln!(f, "{}", self.reason.as_deref().unwrap_or("-"))
    }
}

impl Notice {
    /// The notice as both keys sign it.
    #[must_use]
    pub fn sign(&self, before: &Signer, after: &Signer) -> String {
        let text = self.to_string();
        let second = after.sign(&text);
        let second = second.rsplit_once("\n\n").map_or("", |(_, line)| line);
        format!("{}{second}", before.sign(&text))
    }

    /// Reads a notice that `before` signed, and the key it names.
    ///
    /// # Errors
    /// [`NoticeError`].
    pub fn open(note: &str, before: &Verifier) -> Result<Self, NoticeError> {
        let (text, _) = before.verify(note)?;
        let notice = Self::parse(text)?;
        notice.key.verify(note)?;
        if notice.origin == before.name() {
            Ok(notice)
        } else {
            Err(NoticeError::Malformed)
        }
    }

    /// Reads a notice's text, or a note's without looking at who signed.
    ///
    /// # Errors
    /// [`NoticeError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, NoticeError> {
        let mut lines = text.split('\n');
        let mut line = || {
            let line = lines.next().filter(|line| !line.is_empty());
            line.ok_or(NoticeError::Malformed)
        };
        let number = |text: &str| text.parse().map_err(|_| NoticeError::Malformed);
        let hash = |text: &str| text.parse().map_err(|_| NoticeError::Malformed);
        if line()? != FIRST_LINE {
            return Err(NoticeError::Malformed);
        }
        let change = match line()? {
            "key" => Change::Key,
            "resume" => Change::Resume,
            _ => return Err(NoticeError::Malformed),
        };
        Ok(Self {
            change,
            origin: line()?.to_owned(),
            old_size: number(line()?)?,
            old_root: hash(line()?)?,
            key: line()?.parse()?,
            size: number(line()?)?,
            root: hash(line()?)?,
            at: number(line()?)?,
            reason: Some(line()?).filter(|reason| *reason != "-").map(str::to_owned),
        })
    }
}

/// Whether these words can be a reason: one line, not too long, nothing that does not print.
#[must_use]
pub fn is_reason(text: &str) -> bool {
    let prints = !text.chars().any(char::is_control);
    (1..=REASON_BYTES_MAX).contains(&text.len()) && prints && text.trim() == text && text != "-"
}

/// The keys that whoever believes `key` comes to by these notices, `key` itself first.
#[must_use]
pub fn successors(key: &Verifier, notices: &[String]) -> Vec<Verifier> {
    let mut believed = vec![key.clone()];
    for note in notices {
        let opened = believed.iter().find_map(|key| Notice::open(note, key).ok());
        if let Some(notice) = opened
            && !believed.contains(&notice.key)
        {
            believed.push(notice.key);
        }
    }
    believed
}
