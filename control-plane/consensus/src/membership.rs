//! Who is in the group: add a learner, promote it, remove a member.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use medmesh_base::ControlId;
use medmesh_wire::consensus::ChangeMembersRequest;
use medmesh_wire::consensus::change_members_request::Change;
use openraft::ChangeMembers;
use openraft::errors::{ClientWriteError, RaftError};
use tonic::Code;

use crate::consensus::Consensus;
use crate::error::MembershipError;
use crate::propose::{SEEK_TIMEOUT, never_sent};
use crate::status::{MemberStatus, Status};
use crate::types::Member;

/// How far a learner may be behind when it gets a vote: what a follower takes in one append.
const PROMOTE_LAG_MAX: u64 = 1024;
/// Longest silence of a node that counts as there: what the leader sends to everybody is many times as often.
const SILENT_MAX_MS: u64 = 5_000;
/// A change commits two entries on a majority.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MemberChange {
    AddLearner { node: ControlId, link_address: String },
    Promote { node: ControlId },
    Remove { node: ControlId },
}

impl Consensus {
    /// Adds a node that follows without a vote; its log is filled in the background. The id must
    /// be new to the cluster. Answers the log index of the change. From any node.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn add_learner(&self, node: ControlId, link_address: &str) -> Result<u64, MembershipError> {
        self.change(MemberChange::AddLearner {
            node,
            link_address: link_address.to_owned(),
        })
        .await
    }

    /// Gives a learner that has caught up a vote. From any node.
    ///
    /// # Errors
    /// [`MembershipError`]; [`MembershipError::Silent`] while it does not answer, [`MembershipError::Lagging`]
    /// while it is too far behind, [`MembershipError::NoMajority`] when the voters would not be enough.
    pub async fn promote(&self, node: ControlId) -> Result<u64, MembershipError> {
        self.change(MemberChange::Promote { node }).await
    }

    /// Removes a voter or learner. From any node; a leader may remove itself.
    ///
    /// # Errors
    /// [`MembershipError`]; [`MembershipError::NoMajority`] when too few of those that stay answer.
    pub async fn remove(&self, node: ControlId) -> Result<u64, MembershipError> {
        self.change(MemberChange::Remove { node }).await
    }

    async fn change(&self, change: MemberChange) -> Result<u64, MembershipError> {
        let deadline = Instant::now() + SEEK_TIMEOUT;
        loop {
            match self.change_once(change.clone()).await {
                Err(MembershipError::NoLeader) if Instant::now() < deadline => self.leader_pause().await,
                other => return other,
            }
        }
    }

    async fn change_once(&self, change: MemberChange) -> Result<u64, MembershipError> {
        let (leader, address) = self.leader_address().ok_or(MembershipError::NoLeader)?;
        if leader == self.node() {
            return self.change_here(change).await;
        }
        let mut client = self.peers().channels(leader.0, &address).leader();
        let call = client.change_members(request(change));
        match tokio::time::timeout(CHANGE_TIMEOUT, call).await {
            Err(_) => Err(MembershipError::Ambiguous {
                cause: format!("node {leader} did not answer"),
            }),
            Ok(Ok(answer)) => Ok(answer.into_inner().log_index),
            Ok(Err(status)) if never_sent(&status) => Err(MembershipError::NoLeader),
            Ok(Err(status)) => Err(match status.code() {
                Code::FailedPrecondition => MembershipError::NoLeader,
                Code::InvalidArgument => MembershipError::Refused(status.message().to_owned()),
                _ => MembershipError::Ambiguous {
                    cause: status.message().to_owned(),
                },
            }),
        }
    }

    /// Makes the change on this node, which must lead.
    pub(crate) async fn change_here(&self, change: MemberChange) -> Result<u64, MembershipError> {
        let status = self.status();
        let held = |node: ControlId| status.members.iter().find(|member| member.node == node);
        let (members, retain) = match change {
            MemberChange::AddLearner { node, link_address } => {
                if held(node).is_none() {
                    self.peers().forget_incarnation(node.0);
                }
                (
                    ChangeMembers::AddNodes(BTreeMap::from([(node.0, Member { link_address })])),
                    true,
                )
            }
            MemberChange::Promote { node } => {
                let member = held(node).ok_or(MembershipError::UnknownNode(node))?;
                if !member.voter {
                    fit_to_vote(&status, member)?;
                }
                (ChangeMembers::AddVoterIds(BTreeSet::from([node.0])), true)
            }
            MemberChange::Remove { node } => {
                let member = held(node).ok_or(MembershipError::UnknownNode(node))?;
                let ids = BTreeSet::from([node.0]);
                match member.voter {
                    true => {
                        keeps_majority(&status, |member| member.voter && member.node != node)?;
                        (ChangeMembers::RemoveVoters(ids), false)
                    }
                    false => (ChangeMembers::RemoveNodes(ids), true),
                }
            }
        };
        let write = self.raft().change_membership(members, retain);
        match tokio::time::timeout(CHANGE_TIMEOUT, write).await {
            Err(_) => Err(MembershipError::Ambiguous {
                cause: "no majority in time".to_owned(),
            }),
            Ok(Ok(written)) => Ok(written.log_id.index()),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
                Err(MembershipError::NoLeader)
            }
            Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => {
                Err(MembershipError::Refused(error.to_string()))
            }
            Ok(Err(error)) => Err(MembershipError::Ambiguous {
                cause: error.to_string(),
            }),
        }
    }

    /// Hands leadership to the voter that is furthest ahead, if this node leads. Resolves when
    /// another node leads or `patience` is over; answers whether this node no longer leads.
    pub async fn hand_over(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let status = self.status();
        let successor = status
            .members
            .iter()
            .filter(|member| member.voter && member.node != self.node())
            .max_by_key(|member| member.matched_index)
            .map(|member| member.node);
        let Some(successor) = successor.filter(|_| self.is_leader()) else {
            return !self.is_leader();
        };
        let mut leaders = self.watch_leader();
        if self.raft().trigger().transfer_leader(successor.0).await.is_err() {
            return true;
        }
        let own = self.node();
        let gone = leaders.wait_for(|leader| leader.is_some_and(|leader| leader != own));
        let left = deadline.saturating_duration_since(Instant::now());
        let handed = tokio::time::timeout(left, gone).await.is_ok();
        tracing::info!(%successor, handed, "handed leadership over");
        handed
    }
}

/// Whether the leader has heard of it lately; of itself it always has.
fn is_heard(status: &Status, member: &MemberStatus) -> bool {
    member.node == status.node || member.silent_ms.is_some_and(|silent| silent <= SILENT_MAX_MS)
}

/// A learner may vote when it answers, has nearly all there is, and a majority answers with it.
fn fit_to_vote(status: &Status, learner: &MemberStatus) -> Result<(), MembershipError> {
    let node = learner.node;
    if !is_heard(status, learner) {
        return Err(MembershipError::Silent { node });
    }
    let lag_entries = learner.lag_entries.unwrap_or(status.last_index);
    if lag_entries > PROMOTE_LAG_MAX {
        return Err(MembershipError::Lagging { node, lag_entries });
    }
    keeps_majority(status, |member| member.voter || member.node == node)
}

/// Whether enough of those that would vote answer: without a majority nothing is committed any more,
/// not even the change that would mend it.
fn keeps_majority(status: &Status, votes: impl Fn(&MemberStatus) -> bool) -> Result<(), MembershipError> {
    let voters: Vec<_> = status.members.iter().filter(|member| votes(member)).collect();
    let heard = voters.iter().filter(|member| is_heard(status, member)).count();
    match heard > voters.len() / 2 {
        true => Ok(()),
        false => Err(MembershipError::NoMajority {
            heard,
            voters: voters.len(),
        }),
    }
}

fn request(change: MemberChange) -> ChangeMembersRequest {
    let (change, node, link_address) = match change {
        MemberChange::AddLearner { node, link_address } => (Change::AddLearner, node, link_address),
        MemberChange::Promote { node } => (Change::Promote, node, String::new()),
        MemberChange::Remove { node } => (Change::Remove, node, String::new()),
    };
    ChangeMembersRequest {
        change: change.into(),
        node: node.0,
        link_address,
    }
}
