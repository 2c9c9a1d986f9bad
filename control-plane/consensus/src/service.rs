//! What peers may ask of this node: the `Raft` and `Leader` services.
//!
//! Only a control node's certificate opens them.

use bytes::{Bytes, BytesMut};
use medmesh_ledger::Command;
use medmesh_link::PeerInfo;
use medmesh_wire::consensus::change_members_request::Change;
use medmesh_wire::consensus::leader_server::{Leader, LeaderServer};
use medmesh_wire::consensus::raft_server::{Raft as RaftRpc, RaftServer};
use medmesh_wire::consensus::{
    ChangeMembersRequest, ChangeMembersResponse, ExplainRequest, ExplainResponse, PlaceRequest,
    PlaceResponse, ProposeRequest, ProposeResponse, RaftMessage, ReadIndexRequest, ReadIndexResponse,
    SnapshotChunk,
};
use tonic::{Request, Response, Status, Streaming};

use crate::consensus::Consensus;
use crate::error::{MembershipError, ProposeError};
use crate::membership::MemberChange;
use crate::network::{BODY_VERSION, MESSAGE_BYTES_MAX, SnapshotHeader, decode, encode};
use crate::snapshot::SNAPSHOT_BYTES_MAX;
use crate::types::Snapshot;

/// Who answers `Leader.Place` and `Leader.Explain`: the control plane, which knows telemetry. Called on the
/// leader only, for requests of other control nodes.
#[tonic::async_trait]
pub trait Placer: Send + Sync + 'static {
    /// Places one participant and commits it.
    ///
    /// # Errors
    /// What the caller shall see.
    async fn place(&self, request: PlaceRequest) -> Result<PlaceResponse, Status>;

    /// Says why the people of a room are where they are. Changes nothing.
    ///
    /// # Errors
    /// What the caller shall see.
    async fn explain(&self, request: ExplainRequest) -> Result<ExplainResponse, Status>;
}

pub(crate) fn raft_server(consensus: Consensus) -> RaftServer<RaftService> {
    RaftServer::new(RaftService { consensus })
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

pub(crate) fn leader_server<P: Placer>(consensus: Consensus, placer: P) -> LeaderServer<LeaderService<P>> {
    LeaderServer::new(LeaderService { consensus, placer })
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// `consensus.v1.Raft`.
#[derive(Clone, Debug)]
pub struct RaftService {
    consensus: Consensus,
}

fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("this node has stopped: {error}"))
}

impl RaftService {
    fn reply<T: serde::Serialize>(&self, body: &T) -> Response<RaftMessage> {
        Response::new(encode(body, self.consensus.incarnation()))
    }
}

#[tonic::async_trait]
impl RaftRpc for RaftService {
    async fn append_entries(&self, request: Request<RaftMessage>) -> Result<Response<RaftMessage>, Status> {
        PeerInfo::require_control(&request)?;
        let body = decode(request.get_ref())?;
        let answer = self
            .consensus
            .raft()
            .append_entries(body)
            .await
            .map_err(stopped)?;
        Ok(self.reply(&answer))
    }

    async fn vote(&self, request: Request<RaftMessage>) -> Result<Response<RaftMessage>, Status> {
        PeerInfo::require_control(&request)?;
        let body = decode(request.get_ref())?;
        let answer = self.consensus.raft().vote(body).await.map_err(stopped)?;
        Ok(self.reply(&answer))
    }

    async fn pre_vote(&self, request: Request<RaftMessage>) -> Result<Response<RaftMessage>, Status> {
        PeerInfo::require_control(&request)?;
        let body = decode(request.get_ref())?;
        let answer = self.consensus.raft().pre_vote(body).await.map_err(stopped)?;
        Ok(self.reply(&answer))
    }

    async fn transfer_leader(&self, request: Request<RaftMessage>) -> Result<Response<RaftMessage>, Status> {
        PeerInfo::require_control(&request)?;
        let body = decode(request.get_ref())?;
        let answer = self
            .consensus
            .raft()
            .handle_transfer_leader(body)
            .await
            .map_err(stopped)?;
        Ok(self.reply(&answer))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<SnapshotChunk>>,
    ) -> Result<Response<RaftMessage>, Status> {
        PeerInfo::require_control(&request)?;
        let (header, snapshot) = receive_snapshot(request.into_inner()).await?;
        let answer = self
            .consensus
            .raft()
            .install_full_snapshot(header.vote, snapshot)
            .await
            .map_err(stopped)?;
        Ok(self.reply(&answer))
    }
}

async fn receive_snapshot(
    mut chunks: Streaming<SnapshotChunk>,
) -> Result<(SnapshotHeader, Snapshot), Status> {
    let first = chunks
        .message()
        .await?
        .ok_or_else(|| Status::invalid_argument("empty snapshot stream"))?;
    let header: SnapshotHeader = postcard::from_bytes(&first.header)
        .map_err(|error| Status::invalid_argument(format!("snapshot header: {error}")))?;
    if header.version != BODY_VERSION {
        return Err(Status::unimplemented(
            "a snapshot of another version: upgrade this node",
        ));
    }
    if header.length_bytes > SNAPSHOT_BYTES_MAX {
        return Err(Status::resource_exhausted("the snapshot is too large"));
    }
    let mut bytes = BytesMut::from(first.data.as_ref());
    while let Some(chunk) = chunks.message().await? {
        if (bytes.len() + chunk.data.len()) as u64 > header.length_bytes {
            return Err(Status::invalid_argument(
                "more bytes than the snapshot's header says",
            ));
        }
        bytes.extend_from_slice(&chunk.data);
    }
    let bytes: Bytes = bytes.freeze();
    if bytes.len() as u64 != header.length_bytes || crc32c::crc32c(&bytes) != header.crc32c {
        return Err(Status::data_loss("the snapshot arrived damaged"));
    }
    let snapshot = Snapshot {
        meta: header.meta.clone(),
        snapshot: bytes,
    };
    Ok((header, snapshot))
}

/// `consensus.v1.Leader`.
#[derive(Clone, Debug)]
pub struct LeaderService<P> {
    consensus: Consensus,
    placer: P,
}

/// What a follower reads from these codes: `FAILED_PRECONDITION` = nothing happened, ask the
/// leader; `UNKNOWN` = it may have happened.
fn propose_status(error: &ProposeError) -> Status {
    match error {
        ProposeError::NoLeader { .. } => Status::failed_precondition(error.to_string()),
        ProposeError::Ambiguous { .. } => Status::unknown(error.to_string()),
        ProposeError::TooLarge { .. } => Status::invalid_argument(error.to_string()),
        ProposeError::Unsupported { .. } => Status::unimplemented(error.to_string()),
    }
}

#[tonic::async_trait]
impl<P: Placer> Leader for LeaderService<P> {
    async fn propose(&self, request: Request<ProposeRequest>) -> Result<Response<ProposeResponse>, Status> {
        PeerInfo::require_control(&request)?;
        let bytes = request.into_inner().command;
        let command =
            Command::decode(&bytes).map_err(|error| Status::invalid_argument(format!("command: {error}")))?;
        let answer = self
            .consensus
            .propose_forwarded(command)
            .await
            .map_err(|error| propose_status(&error))?;
        Ok(Response::new(ProposeResponse {
            response: answer.response.encode().into(),
            log_index: answer.index,
        }))
    }

    async fn place(&self, request: Request<PlaceRequest>) -> Result<Response<PlaceResponse>, Status> {
        PeerInfo::require_control(&request)?;
        if !self.consensus.is_leader() {
            return Err(Status::failed_precondition("this node does not lead"));
        }
        self.placer.place(request.into_inner()).await.map(Response::new)
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        PeerInfo::require_control(&request)?;
        if !self.consensus.is_leader() {
            return Err(Status::failed_precondition("this node does not lead"));
        }
        self.placer.explain(request.into_inner()).await.map(Response::new)
    }

    async fn read_index(
        &self,
        request: Request<ReadIndexRequest>,
    ) -> Result<Response<ReadIndexResponse>, Status> {
        PeerInfo::require_control(&request)?;
        let log_index = self
            .consensus
            .read_index_here()
            .await
            .map_err(|error| Status::failed_precondition(error.to_string()))?;
        Ok(Response::new(ReadIndexResponse { log_index }))
    }

    async fn change_members(
        &self,
        request: Request<ChangeMembersRequest>,
    ) -> Result<Response<ChangeMembersResponse>, Status> {
        PeerInfo::require_control(&request)?;
        let request = request.into_inner();
        let node = medmesh_base::ControlId(request.node);
        let change = match request.change() {
            Change::Unspecified => return Err(Status::invalid_argument("no change named")),
            Change::AddLearner => MemberChange::AddLearner {
                node,
                link_address: request.link_address,
            },
            Change::Promote => MemberChange::Promote { node },
            Change::Remove => MemberChange::Remove { node },
        };
        match self.consensus.change_here(change).await {
            Ok(log_index) => Ok(Response::new(ChangeMembersResponse { log_index })),
            Err(error @ MembershipError::NoLeader) => Err(Status::failed_precondition(error.to_string())),
            Err(error @ MembershipError::Ambiguous { .. }) => Err(Status::unknown(error.to_string())),
            Err(error) => Err(Status::invalid_argument(error.to_string())),
        }
    }
}
