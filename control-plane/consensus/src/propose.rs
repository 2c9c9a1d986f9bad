//! From a command to its answer: here when this node leads, else through the leader.

use std::error::Error as _;
use std::time::{Duration, Instant};

use medmesh_base::ControlId;
use medmesh_ledger::{Command, Response};
use medmesh_wire::consensus::{ProposeRequest, ReadIndexRequest};
use openraft::ReadPolicy;
use openraft::errors::{ClientWriteError, RaftError};
use tokio::sync::oneshot;
use tonic::{Code, Status};

use crate::batch::{ENTRY_BYTES_MAX, Ticket, Tickets};
use crate::consensus::{Committed, Consensus};
use crate::error::{ProposeError, ReadError};
use crate::network::Channels;
use crate::types::{Proposal, Reply};

/// How long a command looks for a leader: longer than an election.
pub(crate) const SEEK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a leader may take to answer once it has the command.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one attempt at a read may take. Reads may be repeated, so a leader that has just died
/// costs this much and not the whole patience.
const READ_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
/// Between attempts while the leader is unknown or has just changed.
const SEEK_PAUSE: Duration = Duration::from_millis(50);

/// Where a command goes.
enum Way {
    Here,
    To(ControlId, Channels),
}

impl Consensus {
    /// Commits a command from any node. When it resolves with `Ok`, the answer holds and this
    /// node's [`Consensus::read`] shows it. A [`Response::Refused`] is an answer, not an error.
    ///
    /// # Errors
    /// When it was not proposed, or its outcome is unknown ([`ProposeError::Ambiguous`]).
    pub async fn propose(&self, command: Command) -> Result<Committed, ProposeError> {
        let started = Instant::now();
        let result = self.propose_ticket(command).await;
        let outcome = match &result {
            Ok(Committed {
                response: Response::Refused(_),
                ..
            }) => "refused",
            Ok(_) => "committed",
            Err(ProposeError::NoLeader { .. }) => "no_leader",
            Err(ProposeError::Ambiguous { .. }) => "ambiguous",
            Err(ProposeError::TooLarge { .. } | ProposeError::Unsupported { .. }) => "invalid",
        };
        self.metrics().proposed(outcome, started.elapsed());
        result
    }

    async fn propose_ticket(&self, command: Command) -> Result<Committed, ProposeError> {
        self.enter(self.tickets(), command).await
    }

    /// Commits a command that another node brought to this one, together with what others bring.
    pub(crate) async fn propose_forwarded(&self, command: Command) -> Result<Committed, ProposeError> {
        if !self.is_leader() {
            return Err(ProposeError::NoLeader {
                leader: self.leader(),
            });
        }
        self.enter(self.forwarded(), command).await
    }

    async fn enter(&self, tickets: &Tickets, command: Command) -> Result<Committed, ProposeError> {
        let size_bytes = command.encode().len();
        self.check(&command, size_bytes)?;
        let (reply, answer) = oneshot::channel();
        let ticket = Ticket {
            command,
            size_bytes,
            reply,
        };
        let no_leader = |_| ProposeError::NoLeader {
            leader: self.leader(),
        };
        tickets.send(ticket).await.map_err(no_leader)?;
        let stopping = |_| {
            Err(ProposeError::Ambiguous {
                cause: "this node is stopping".to_owned(),
            })
        };
        answer.await.unwrap_or_else(stopping)
    }

    fn check(&self, command: &Command, size_bytes: usize) -> Result<(), ProposeError> {
        let max_bytes = ENTRY_BYTES_MAX;
        if size_bytes > max_bytes {
            return Err(ProposeError::TooLarge {
                size_bytes,
                max_bytes,
            });
        }
        let (needed, floor) = (command.since(), self.read().version_floor());
        if needed > floor {
            return Err(ProposeError::Unsupported { needed, floor });
        }
        Ok(())
    }

    /// Brings one entry's command to whoever leads, waiting for a leader if there is none.
    pub(crate) async fn route(&self, command: &Command) -> Result<Committed, ProposeError> {
        let deadline = Instant::now() + SEEK_TIMEOUT;
        loop {
            let attempt = match self.way() {
                Some(Way::Here) => self.propose_here(command).await,
                Some(Way::To(leader, channels)) => self.forward(command, leader, channels).await,
                None => Err(ProposeError::NoLeader { leader: None }),
            };
            match attempt {
                Err(ProposeError::NoLeader { .. }) if Instant::now() < deadline => self.leader_pause().await,
                other => return other,
            }
        }
    }

    /// Waits until the leader may be another one.
    pub(crate) async fn leader_pause(&self) {
        let mut leaders = self.watch_leader();
        leaders.mark_unchanged();
        // Either is a reason to try again; the metrics may be right already and the leader not ready yet.
        let _ = tokio::time::timeout(SEEK_PAUSE, leaders.changed()).await;
    }

    fn way(&self) -> Option<Way> {
        let (leader, address) = self.leader_address()?;
        if leader == self.node() {
            return Some(Way::Here);
        }
        Some(Way::To(leader, self.peers().channels(leader.0, &address)))
    }

    /// Commits on this node, which must lead.
    pub(crate) async fn propose_here(&self, command: &Command) -> Result<Committed, ProposeError> {
        let bytes = command.encode();
        self.check(command, bytes.len())?;
        let ambiguous = |cause: String| ProposeError::Ambiguous { cause };
        match self.raft().client_write(Proposal(bytes.into())).await {
            Ok(written) => match written.data {
                Reply(Some(response)) => Ok(Committed {
                    response,
                    index: written.log_id.index(),
                }),
                Reply(None) => Err(ambiguous("an entry without an answer".to_owned())),
            },
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => Err(ProposeError::NoLeader {
                leader: to.leader_id.map(ControlId),
            }),
            Err(error) => Err(ambiguous(error.to_string())),
        }
    }

    async fn forward(
        &self,
        command: &Command,
        leader: ControlId,
        channels: Channels,
    ) -> Result<Committed, ProposeError> {
        let request = ProposeRequest {
            command: command.encode().into(),
        };
        let mut client = channels.leader();
        let Ok(answer) = tokio::time::timeout(ANSWER_TIMEOUT, client.propose(request)).await else {
            return Err(ProposeError::Ambiguous {
                cause: format!("node {leader} did not answer"),
            });
        };
        match answer {
            Ok(answer) => {
                let answer = answer.into_inner();
                let response =
                    Response::decode(&answer.response).map_err(|error| ProposeError::Ambiguous {
                        cause: format!("answer of node {leader}: {error}"),
                    })?;
                // Read your own writes: what was just answered is visible here too.
                let applied = self.machine().wait_applied(answer.log_index);
                if tokio::time::timeout(ANSWER_TIMEOUT, applied).await.is_err() {
                    tracing::warn!(
                        index = answer.log_index,
                        "this node lags behind an answer it gives"
                    );
                }
                Ok(Committed {
                    response,
                    index: answer.log_index,
                })
            }
            Err(status) if never_sent(&status) || status.code() == Code::FailedPrecondition => {
                Err(ProposeError::NoLeader { leader: Some(leader) })
            }
            Err(status) => Err(ProposeError::Ambiguous {
                cause: status.message().to_owned(),
            }),
        }
    }

    /// The state with everything that was committed before this call, wherever it was committed.
    ///
    /// # Errors
    /// When no leader can confirm that it still leads.
    pub async fn read_linearizable(&self) -> Result<std::sync::Arc<medmesh_ledger::State>, ReadError> {
        let deadline = Instant::now() + SEEK_TIMEOUT;
        loop {
            match self.read_index().await {
                Ok(index) => {
                    let applied = self.machine().wait_applied(index);
                    return match tokio::time::timeout(ANSWER_TIMEOUT, applied).await {
                        Ok(()) => Ok(self.read()),
                        Err(_) => Err(ReadError {
                            cause: "this node lags behind the leader".to_owned(),
                        }),
                    };
                }
                // Asking again changes nothing, so every failure may be tried again.
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => self.leader_pause().await,
            }
        }
    }

    async fn read_index(&self) -> Result<u64, ReadError> {
        match self.way() {
            Some(Way::Here) => self.read_index_here().await,
            Some(Way::To(_, channels)) => {
                let mut client = channels.leader();
                let call = client.read_index(ReadIndexRequest {});
                match tokio::time::timeout(READ_ATTEMPT_TIMEOUT, call).await {
                    Ok(Ok(answer)) => Ok(answer.into_inner().log_index),
                    Ok(Err(status)) => Err(ReadError {
                        cause: status.message().to_owned(),
                    }),
                    Err(_) => Err(ReadError {
                        cause: "the leader did not answer".to_owned(),
                    }),
                }
            }
            None => Err(ReadError {
                cause: "there is no leader".to_owned(),
            }),
        }
    }

    /// The index a linearizable read needs, asked of this node, which must lead. A majority
    /// confirms it: no clock is trusted.
    pub(crate) async fn read_index_here(&self) -> Result<u64, ReadError> {
        match self.raft().get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => Ok(linearizer.read_log_id().index()),
            Err(error) => Err(ReadError {
                cause: error.to_string(),
            }),
        }
    }
}

/// Whether the call failed before anything was sent.
pub(crate) fn never_sent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
