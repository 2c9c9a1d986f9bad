//! What an operator can do.

use medmesh_api_types::Secret;
use medmesh_api_types::fleet::{JOIN_TOKEN_SECONDS_DEFAULT, JoinToken};
use medmesh_base::{ControlId, EdgeId, RoomId};
use medmesh_consensus::{MembershipError, ProposeError, ReadError};
use medmesh_ledger::{Command, Refused, Response};

use super::handle::{Fleet, now_unix_ms};
use super::overview::instant;

/// An operator's wish was not fulfilled.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// No leader took it, or its outcome is unknown; trying again is safe.
    #[error("no leader decided in time")]
    Unavailable(#[source] ProposeError),
    /// There is no such edge.
    #[error("unknown edge")]
    UnknownEdge,
    /// The edge still has people.
    #[error("the edge still carries {participants} participants: drain it first, or force it")]
    EdgeCarries {
        /// How many are placed there, or connected.
        participants: usize,
    },
    /// There is no such room.
    #[error("unknown room")]
    UnknownRoom,
    /// The leader did not answer.
    #[error("the leader did not answer")]
    NoAnswer(#[source] Box<tonic::Status>),
    /// The ledger refused it.
    #[error("refused: {0}")]
    Refused(Refused),
    /// The Raft group was not changed, or may have been.
    #[error(transparent)]
    Members(#[from] MembershipError),
    /// No control node has introduced itself yet, so there is no address to put into a token.
    #[error("no control node is known yet")]
    NoControlNode,
    /// What was decided cannot be read back; asking again is safe.
    #[error("no leader answered in time")]
    NotRead(#[source] ReadError),
    /// The same key came with another request.
    #[error("the key was used for another request")]
    KeyReused,
}

impl Fleet {
    /// Whether an edge is sent new people.
    ///
    /// # Errors
    /// [`OperateError`].
    pub async fn edge_cordon(&self, edge: EdgeId, cordoned: bool) -> Result<(), OperateError> {
        let now = now_unix_ms();
        self.command_edge(Command::EdgeCordon { edge, cordoned, now })
            .await
    }

    /// Whether an edge's people are being moved away. It is told at once, and tells them.
    ///
    /// # Errors
    /// [`OperateError`].
    pub async fn edge_drain(&self, edge: EdgeId, draining: bool) -> Result<(), OperateError> {
        let now = now_unix_ms();
        self.command_edge(Command::EdgeDrain { edge, draining, now })
            .await
    }

    async fn command_edge(&self, command: Command) -> Result<(), OperateError> {
        match self.decide(command).await {
            Err(OperateError::Refused(Refused::UnknownEdge(_))) => Err(OperateError::UnknownEdge),
            other => other.map(drop),
        }
    }

    /// All of these commands change nothing the second time, so an unclear outcome is tried again.
    pub(super) async fn decide(&self, command: Command) -> Result<Response, OperateError> {
        let decided = self.propose_surely(command).await;
        decided
            .map_err(OperateError::Unavailable)?
            .map_err(OperateError::Refused)
    }

    /// Ends a room: it is forgotten, and edges are told to close it.
    ///
    /// # Errors
    /// [`OperateError`].
    pub async fn room_close(&self, room: RoomId) -> Result<(), OperateError> {
        let now = now_unix_ms();
        self.decide(Command::RoomClose { room, now }).await.map(drop)
    }

    /// Keeps a few bytes by name, at every voter.
    ///
    /// # Errors
    /// [`OperateError`].
    pub async fn checkpoint_put(&self, name: String, bytes: Vec<u8>) -> Result<(), OperateError> {
        let now = now_unix_ms();
        self.decide(Command::CheckpointPut { name, bytes, now })
            .await
            .map(drop)
    }

    /// A token that lets one edge in, once. Only the hash of its secret is kept.
    ///
    /// # Errors
    /// [`OperateError`].
    pub async fn join_token_create(
        &self,
        idempotency_key: &str,
        life_seconds: Option<u32>,
    ) -> Result<JoinToken, OperateError> {
        let state = self.state();
        let control: Vec<String> = state
            .controls
            .values()
            .map(|node| node.descriptor.link_address.clone())
            .collect();
        if control.is_empty() {
            return Err(OperateError::NoControlNode);
        }
        let ca = &self.inner.ca;
        let secret = *self.inner.secret.join_secret(idempotency_key);
        let token =
            medmesh_link::JoinToken::with_secret(ca.cluster().clone(), ca.fingerprint(), control, secret);
        let life_ms = u64::from(life_seconds.unwrap_or(JOIN_TOKEN_SECONDS_DEFAULT)) * 1000;
        let (now, hash) = (now_unix_ms(), token.secret_hash());
        // Of one that there is already nothing changes.
        self.decide(Command::JoinTokenAdd {
            token: hash,
            expires_at: now + life_ms,
            now,
        })
        .await?;
        let agreed = self.inner.consensus.read_linearizable().await;
        let agreed = agreed.map_err(OperateError::NotRead)?;
        let held = agreed
            .join_token(&hash)
            .ok_or(OperateError::Refused(Refused::TokenUnknown))?;
        if held.life_ms().is_some_and(|life| life != life_ms) {
            return Err(OperateError::KeyReused);
        }
        Ok(JoinToken {
            token: Secret::new(token.to_text()),
            expires_at: instant(held.expires_at),
        })
    }

    /// Adds a node to the Raft group, without a vote.
    ///
    /// # Errors
    /// [`OperateError::Members`].
    pub async fn raft_add_learner(&self, node: ControlId, link_address: &str) -> Result<(), OperateError> {
        self.inner.consensus.add_learner(node, link_address).await?;
        Ok(())
    }

    /// Gives a learner that has caught up a vote.
    ///
    /// # Errors
    /// [`OperateError::Members`].
    pub async fn raft_promote(&self, node: ControlId) -> Result<(), OperateError> {
        self.inner.consensus.promote(node).await?;
        Ok(())
    }

    /// Takes a node out of the Raft group, and forgets its address.
    ///
    /// # Errors
    /// [`OperateError`].
    pub async fn raft_remove(&self, node: ControlId) -> Result<(), OperateError> {
        self.inner.consensus.remove(node).await?;
        let now = now_unix_ms();
        self.decide(Command::ControlRemove { node, now }).await.map(drop)
    }
}
