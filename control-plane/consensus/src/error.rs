//! Why something did not happen, or may have.

use medmesh_base::ControlId;

/// A node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log or the snapshot cannot be used; the message says what to do.
    #[error(transparent)]
    Log(#[from] crate::LogError),
    /// The snapshot is of a version this build cannot read.
    #[error("cannot read the state: {0}")]
    State(#[source] std::io::Error),
    /// Timers that cannot work together.
    #[error("raft timers: {0}")]
    Timers(String),
    /// The metrics are registered already.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// openraft refused what it found on disk.
    #[error("raft: {0}")]
    Raft(String),
}

/// A command has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// It was not proposed: there was no leader to take it. Safe to try again.
    #[error("no leader took the command (last known: {leader:?})")]
    NoLeader {
        /// The last leader this node knew.
        leader: Option<ControlId>,
    },
    /// It may or may not take effect. Read the state, or propose it again: every command
    /// either does nothing the second time or is refused as stale.
    #[error("the outcome is unknown: {cause}")]
    Ambiguous {
        /// What broke.
        cause: String,
    },
    /// It is larger than an entry may be.
    #[error("the command has {size_bytes} bytes, {max_bytes} are allowed")]
    TooLarge {
        /// Its size.
        size_bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// A control node of the cluster is too old for it: finish the upgrade first.
    #[error("the command needs ledger version {needed}, the oldest control node has {floor}")]
    Unsupported {
        /// The version that introduced the command.
        needed: u8,
        /// The oldest node's version.
        floor: u8,
    },
}

/// A linearizable read is not possible now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no leader confirmed the read: {cause}")]
pub struct ReadError {
    /// What is missing.
    pub cause: String,
}

/// The membership was not changed, or may have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// No leader took it.
    #[error("no leader took the change")]
    NoLeader,
    /// It may or may not take effect: look at the status.
    #[error("the outcome is unknown: {cause}")]
    Ambiguous {
        /// What broke.
        cause: String,
    },
    /// No such member.
    #[error("node {0} is not a member")]
    UnknownNode(ControlId),
    /// The learner has not answered for a while, or never: its vote would count, and never come.
    #[error("node {node} does not answer: it cannot vote")]
    Silent {
        /// The learner.
        node: ControlId,
    },
    /// After the change too few of the voters would answer to agree on anything.
    #[error("of the {voters} voters there would be, {heard} answer: nothing could be agreed any more")]
    NoMajority {
        /// How many of them answer.
        heard: usize,
        /// How many there would be.
        voters: usize,
    },
    /// The learner is too far behind to vote: promoting it could stop commits.
    #[error("node {node} is {lag_entries} entries behind: wait until it has caught up")]
    Lagging {
        /// The learner.
        node: ControlId,
        /// How far it is behind.
        lag_entries: u64,
    },
    /// The leader refused it.
    #[error("{0}")]
    Refused(String),
}
