//! A file that an operator may change while a process runs.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The text of a file within its bounds, or what is wrong with it.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// It cannot be read.
    Unreadable(std::io::Error),
    /// Others may do with it what they must not.
    Open,
    /// It is longer than such files are.
    TooLong,
}

/// Reads a file of which others have none of these permission bits and that has at most so many bytes.
pub(crate) fn text(path: &Path, forbidden: u32, bytes_max: u64) -> Result<String, Unfit> {
    let metadata = fs::metadata(path).map_err(Unfit::Unreadable)?;
    if metadata.permissions().mode() & forbidden != 0 {
        return Err(Unfit::Open);
    }
    if metadata.len() > bytes_max {
        return Err(Unfit::TooLong);
    }
    fs::read_to_string(path).map_err(Unfit::Unreadable)
}

/// What is remembered between two looks at a file.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) path: PathBuf,
    /// What was in it when it was last usable.
    text: String,
    /// What was wrong with it the last time.
    fault: Option<String>,
}

impl Watched {
    pub(crate) fn new(path: &Path, text: String) -> Self {
        Self {
            path: path.to_owned(),
            text,
            fault: None,
        }
    }

    /// What a look at the file has shown, if that is news: other content, or a fault that was not told yet.
    pub(crate) fn looked<T, E: fmt::Debug>(
        &mut self,
        looked: Result<(String, T), E>,
    ) -> Result<Option<T>, E> {
        match looked {
            Ok((text, content)) => {
                self.fault = None;
                let changed = text != self.text;
                self.text = text;
                Ok(changed.then_some(content))
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
