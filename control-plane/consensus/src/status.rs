//! The operator's view of one node.

use medmesh_base::ControlId;
use openraft::Instant as _;
use serde::Serialize;

use crate::types::Metrics;

/// What a node is doing in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Proposes.
    Leader,
    /// Votes and follows.
    Follower,
    /// Asks to lead.
    Candidate,
    /// Follows without a vote.
    Learner,
    /// Has stopped.
    Stopped,
}

/// One node as it sees itself and its group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// This node.
    pub node: ControlId,
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// The leader it knows.
    pub leader: Option<ControlId>,
    /// Last entry in its log.
    pub last_index: u64,
    /// Last entry it knows to be committed.
    pub committed_index: u64,
    /// Last entry applied to its state.
    pub applied_index: u64,
    /// Last entry in its snapshot; 0 without one.
    pub snapshot_index: u64,
    /// Last entry it has forgotten.
    pub purged_index: u64,
    /// On the leader: milliseconds since a majority last answered.
    pub quorum_age_ms: Option<u64>,
    /// Everybody in the group, by id.
    pub members: Vec<MemberStatus>,
    /// Why it has stopped, when that was not asked for.
    pub fault: Option<String>,
}

/// One member of the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberStatus {
    /// Which node.
    pub node: ControlId,
    /// Where its link is.
    pub link_address: String,
    /// Whether it votes.
    pub voter: bool,
    /// On the leader: the last entry it is known to hold.
    pub matched_index: Option<u64>,
    /// On the leader: how many entries it is behind.
    pub lag_entries: Option<u64>,
    /// On the leader: milliseconds since it last answered.
    pub silent_ms: Option<u64>,
}

impl Status {
    pub(crate) fn of(metrics: &Metrics) -> Self {
        let index = |id: &Option<crate::types::LogId>| id.as_ref().map_or(0, crate::types::LogId::index);
        let last_index = metrics.last_log_index.unwrap_or(0);
        let membership = metrics.membership_config.membership();
        let voters: Vec<u64> = membership.voter_ids().collect();
        let member = |(id, node): (&u64, &crate::types::Member)| {
            let matched = metrics
                .replication
                .as_ref()
                .and_then(|all| all.get(id))
                .map(index);
            let heard = metrics
                .heartbeat
                .as_ref()
                .and_then(|all| all.get(id))
                .copied()
                .flatten();
            MemberStatus {
                node: ControlId(*id),
                link_address: node.link_address.clone(),
                voter: voters.contains(id),
                matched_index: matched,
                lag_entries: matched.map(|matched| last_index.saturating_sub(matched)),
                silent_ms: heard.map(|heard| millis(heard.elapsed())),
            }
        };
        Self {
            node: ControlId(metrics.id),
            role: role(metrics),
            term: metrics.current_term,
            leader: metrics.current_leader.map(ControlId),
            last_index,
            committed_index: index(&metrics.local_committed),
            applied_index: index(&metrics.last_applied),
            snapshot_index: index(&metrics.snapshot),
            purged_index: index(&metrics.purged),
            quorum_age_ms: metrics.last_quorum_acked.map(|at| millis(at.elapsed())),
            members: membership.nodes().map(member).collect(),
            fault: fault(metrics),
        }
    }
}

fn role(metrics: &Metrics) -> Role {
    use openraft::ServerState;
    if metrics.running_state.is_err() {
        return Role::Stopped;
    }
    match metrics.state {
        ServerState::Leader => Role::Leader,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Learner => Role::Learner,
        ServerState::Shutdown => Role::Stopped,
    }
}

pub(crate) fn fault(metrics: &Metrics) -> Option<String> {
    match &metrics.running_state {
        Ok(()) | Err(openraft::errors::Fatal::Stopped) => None,
        Err(error) => Some(error.to_string()),
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
