//! Whom PostgreSQL runs as, and what they may enter.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{EmbeddedError, clean_command, io_error, unique_name};

/// Unprivileged users that root may hand PostgreSQL to, best first.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// Whom PostgreSQL runs as: us, or somebody else when we are root.
pub(super) struct Runner {
    /// User and group to change to.
    other: Option<(u32, u32)>,
}

impl Runner {
    /// Decides, and makes `dir` theirs.
    pub(super) fn choose(dir: &Path) -> Result<Self, EmbeddedError> {
        fs::create_dir_all(dir).map_err(io_error("create the directory"))?;
        let we_are_root = fs::metadata("/proc/self")
            .map_err(io_error("look at our own process"))?
            .uid()
            == 0;
        let other = if we_are_root {
            Some(user().ok_or(EmbeddedError::NoUser)?)
        } else {
            None
        };
        let runner = Self { other };
        if runner.other.is_some() {
            reachable(dir)?;
        }
        runner.own(dir)?;
        Ok(runner)
    }

    /// A command that runs as them, out of reach of the terminal's Ctrl-C.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = clean_command(program);
        command.process_group(0);
        if let Some((uid, gid)) = self.other {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// A new directory that only they may enter.
    pub(super) fn make_dir(&self, path: &Path) -> Result<(), EmbeddedError> {
        fs::DirBuilder::new()
            .mode(0o700)
            .create(path)
            .map_err(io_error("create a directory"))?;
        self.own(path)
    }

    /// A new directory under a name nobody can guess.
    pub(super) fn private_dir(&self, parent: &Path) -> Result<PathBuf, EmbeddedError> {
        let path = parent.join(unique_name());
        self.make_dir(&path)?;
        Ok(path)
    }

    fn own(&self, path: &Path) -> Result<(), EmbeddedError> {
        let Some((uid, gid)) = self.other else {
            return Ok(());
        };
        chown(path, Some(uid), Some(gid)).map_err(io_error("hand over a directory"))
    }
}

/// Whether a user without privileges can get to `dir`: every directory above it
/// may be entered by everybody. Only root has to ask.
///
/// # Errors
/// [`EmbeddedError::Unreachable`] with the first closed one.
pub fn reachable(dir: &Path) -> Result<(), EmbeddedError> {
    const ENTER_OTHERS: u32 = 0o001;
    let dir = dir.canonicalize().map_err(io_error("resolve the directory"))?;
    for above in dir.ancestors().skip(1) {
        let mode = fs::metadata(above)
            .map_err(io_error("look at a directory"))?
            .mode();
        if mode & ENTER_OTHERS == 0 {
            return Err(EmbeddedError::Unreachable {
                path: above.to_owned(),
            });
        }
    }
    Ok(())
}

/// User and group ids from `/etc/passwd` (name:password:uid:gid:…).
fn user() -> Option<(u32, u32)> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    USERS.iter().find_map(|name| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some((uid, gid))
    })
}
