//! A signed head: how large a log is and what its root is (C2SP tlog-checkpoint).

use std::fmt;

use crate::SIZE_MAX;
use crate::hash::Hash;
use crate::note::{NoteError, Signer, Verifier};

/// The head of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: also the name of its key.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
}

/// The note is not a checkpoint of this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note is malformed or not signed by the log.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text is not a checkpoint.
    #[error("not a checkpoint")]
    Malformed,
    /// It is another log's.
    #[error("the checkpoint of another log")]
    OtherLog,
}

impl fmt::Display for Checkpoint {
    /// The text that is signed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, self.root)
    }
}

impl Checkpoint {
    /// The checkpoint as the log's signer signs it.
    #[must_use]
    pub fn sign(&self, signer: &Signer) -> String {
        signer.sign(&self.to_string())
    }

    /// Reads a checkpoint signed by `log`; extension lines are ignored.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn open(note: &str, log: &Verifier) -> Result<Self, CheckpointError> {
        let (text, _) = log.verify(note)?;
        let checkpoint = Self::parse(text)?;
        if checkpoint.origin == log.name() {
            Ok(checkpoint)
        } else {
            Err(CheckpointError::OtherLog)
        }
    }

    /// Reads a checkpoint's text without its signatures.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.split('\n');
        let mut line = || {
            let line = lines.next().filter(|line| !line.is_empty());
            line.ok_or(CheckpointError::Malformed)
        };
        let (origin, size, root) = (line()?, line()?, line()?);
        let plain_number = size == "0" || !size.starts_with(['0', '+']);
        let size = size.parse().ok().filter(|size| plain_number && *size <= SIZE_MAX);
        Ok(Self {
            origin: origin.to_owned(),
            size: size.ok_or(CheckpointError::Malformed)?,
            root: root.parse().map_err(|_| CheckpointError::Malformed)?,
        })
    }
}
