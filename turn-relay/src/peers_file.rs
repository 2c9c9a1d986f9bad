//! The peers file: who may be reached through a relay, kept apart from its configuration, because edges come
//! and go more often than anything else in that changes.
//!
//! One rule a line, `allow RULE` or `deny RULE` as [`PeerRule`] has them, and the word `end` on the last one:
//! a file that was copied in half has none. What follows a `#` is a remark; blank lines are skipped.
//! `medmesh relay peers` writes it from the running fleet; there are no host names in it, because whom a relay
//! reaches is not for whoever answers a name.
//!
//! ```text
//! allow 192.0.2.9:10000-10007  # edge fra-1
//! deny 192.0.2.1  # control node 1
//! end
//! ```

use std::path::{Path, PathBuf};

use crate::policy::{PeerPolicy, PeerRule};
use crate::watched::{self, Unfit, Watched};

/// Rules in one file: a thousand edges with a few sockets each. Every rule is looked at for a permission.
pub const RULES_MAX: usize = 4096;
/// Longer files are no peers file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Whoever may write it opens the relay's network; it may be read by everybody.
const OTHERS: u32 = 0o002;
/// The last line.
const END: &str = "end";

/// What is in a peers file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerRules {
    /// Peers that may be reached.
    pub allow: Vec<PeerRule>,
    /// Peers that may never be.
    pub deny: Vec<PeerRule>,
}

impl PeerRules {
    /// Adds them to what a policy has already.
    pub fn add_to(&self, policy: &mut PeerPolicy) {
        policy.allow.extend_from_slice(&self.allow);
        policy.deny.extend_from_slice(&self.deny);
    }
}

/// What is wrong with the text of a peers file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A line is not as it must be: its number, from 1, and why.
    #[error("line {0}: {1}")]
    Line(usize, String),
    /// Its last line is missing.
    #[error("line {0}: it stops here, without the line `end`: it was not written or copied to its end")]
    Unfinished(usize),
    /// More rules than a relay can ask for each permission.
    #[error("more than {RULES_MAX} rules")]
    TooMany,
}

/// A peers file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PeersFileError {
    /// It cannot be read.
    #[error("cannot read {0}")]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// Anybody on the machine could open the network to the relay's clients.
    #[error("{0}: everybody may write it; chmod o-w it")]
    Open(PathBuf),
    /// It is something else.
    #[error("{0}: too long for a peers file")]
    TooLong(PathBuf),
    /// What is in it is wrong.
    #[error("in {0}")]
    Fault(PathBuf, #[source] Fault),
}

/// Reads what is in one.
///
/// # Errors
/// See [`Fault`].
pub fn parse(text: &str) -> Result<PeerRules, Fault> {
    let mut rules = PeerRules::default();
    let mut ended = None;
    let mut lines = 0;
    for (index, line) in text.lines().enumerate() {
        lines = index + 1;
        let line = line.split_once('#').map_or(line, |(before, _)| before).trim();
        if line.is_empty() {
            continue;
        }
        let fault = |why: String| Fault::Line(index + 1, why);
        if let Some(end) = ended {
            return Err(fault(format!("line {end} said `{END}`")));
        }
        if line == END {
            ended = Some(index + 1);
            continue;
        }
        let (word, rule) = line
            .split_once(char::is_whitespace)
            .ok_or_else(|| fault("not `allow RULE`, `deny RULE` or `end`".to_owned()))?;
        let list = match word {
            "allow" => &mut rules.allow,
            "deny" => &mut rules.deny,
            _ => return Err(fault(format!("{word:?} is neither `allow` nor `deny`"))),
        };
        let rule: PeerRule = rule.trim().parse().map_err(|error| fault(format!("{error}")))?;
        list.push(rule);
        if rules.allow.len() + rules.deny.len() > RULES_MAX {
            return Err(Fault::TooMany);
        }
    }
    ended.map(|_| rules).ok_or(Fault::Unfinished(lines))
}

/// A peers file that may change while a process runs.
#[derive(Debug)]
pub struct PeersFile(Watched);

impl PeersFile {
    /// Reads it.
    ///
    /// # Errors
    /// See [`PeersFileError`].
    pub fn open(path: &Path) -> Result<(Self, PeerRules), PeersFileError> {
        let (text, rules) = look(path)?;
        Ok((Self(Watched::new(path, text)), rules))
    }

    /// What is in it now, if that is something else than the last time. A fault is told once, and
    /// nothing changes by it.
    ///
    /// # Errors
    /// See [`PeersFileError`].
    pub fn look(&mut self) -> Result<Option<PeerRules>, PeersFileError> {
        let looked = look(&self.0.path);
        self.0.looked(looked)
    }
}

fn look(path: &Path) -> Result<(String, PeerRules), PeersFileError> {
    let text = watched::text(path, OTHERS, FILE_BYTES_MAX).map_err(|unfit| match unfit {
        Unfit::Unreadable(error) => PeersFileError::Unreadable(path.to_owned(), error),
        Unfit::Open => PeersFileError::Open(path.to_owned()),
        Unfit::TooLong => PeersFileError::TooLong(path.to_owned()),
    })?;
    match parse(&text) {
        Ok(rules) => Ok((text, rules)),
        Err(fault) => Err(PeersFileError::Fault(path.to_owned(), fault)),
    }
}

#[cfg(test)]
mod tests;
