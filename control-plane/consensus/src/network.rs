//! openraft's network over links: what this node says to its peers.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use medmesh_base::ControlId;
use medmesh_link::{Endpoint, Expect, Peer, TrafficClass};
use medmesh_wire::consensus::leader_client::LeaderClient;
use medmesh_wire::consensus::raft_client::RaftClient;
use medmesh_wire::consensus::{RaftMessage, SnapshotChunk};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RPCTypes, RaftNetworkV2};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::types::{Member, Snapshot, SnapshotBytes, Types, Vote};

/// The version of message bodies. A peer that speaks another one is refused:
/// openraft's own messages change with it, and a mixed group must not guess.
pub(crate) const BODY_VERSION: u32 = 1;
/// Largest message: a read of the log (1 MiB) plus one entry that overshoots it, with room to spare.
pub(crate) const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest wait for a follower to write entries: a disk that stalls longer is as good as gone for this round.
const APPEND_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of a snapshot per message.
const CHUNK_BYTES: usize = 256 * 1024;

/// The channels to every peer, made on first use and kept.
#[derive(Clone)]
pub(crate) struct Peers {
    shared: Arc<Shared>,
}

struct Shared {
    node: u64,
    incarnation: u64,
    endpoint: Endpoint,
    known: Mutex<BTreeMap<u64, Known>>,
    /// Addresses from configuration: they win over what the group has recorded.
    pinned: Mutex<BTreeMap<u64, String>>,
}

struct Known {
    address: String,
    peer: Peer,
    channels: Channels,
    /// Of its log, as it last told us.
    incarnation: Option<u64>,
}

/// The gRPC channels to one peer, one stream each: a snapshot never stands before a heartbeat.
#[derive(Clone)]
pub(crate) struct Channels {
    raft: Channel,
    fleet: Channel,
    bulk: Channel,
}

impl Channels {
    pub(crate) fn leader(&self) -> LeaderClient<Channel> {
        LeaderClient::new(self.fleet.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn fleet(&self) -> Channel {
        self.fleet.clone()
    }
}

impl Peers {
    pub(crate) fn new(node: u64, incarnation: u64, endpoint: Endpoint) -> Self {
        let shared = Shared {
            node,
            incarnation,
            endpoint,
            known: Mutex::default(),
            pinned: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Uses `address` for `node` from now on, whatever the group has recorded: a group whose
    /// addresses all changed could not agree on the new ones.
    pub(crate) fn pin(&self, node: u64, address: &str) {
        self.shared.pinned.lock().insert(node, address.to_owned());
        self.channels(node, address);
    }

    pub(crate) fn channels(&self, node: u64, recorded: &str) -> Channels {
        let pinned = self.shared.pinned.lock().get(&node).cloned();
        let address = pinned.as_deref().unwrap_or(recorded);
        let mut known = self.shared.known.lock();
        let entry = known.entry(node).or_insert_with(|| {
            let peer = Peer::new(&self.shared.endpoint, address, Expect::Control(ControlId(node)));
            let channels = Channels {
                raft: peer.channel(TrafficClass::Raft),
                fleet: peer.channel(TrafficClass::Fleet),
                bulk: peer.channel(TrafficClass::Bulk),
            };
            Known {
                address: address.to_owned(),
                peer,
                channels,
                incarnation: None,
            }
        });
        if entry.address != address {
            entry.peer.set_address(address);
            address.clone_into(&mut entry.address);
        }
        entry.channels.clone()
    }

    /// Forgets what was known of a node's log: it joins anew.
    pub(crate) fn forget_incarnation(&self, node: u64) {
        if let Some(known) = self.shared.known.lock().get_mut(&node) {
            known.incarnation = None;
        }
    }

    /// Whether `node` still has the log it had. A voter that lost its log has
    /// forgotten its votes: counting on it could elect two leaders.
    fn check_incarnation(&self, node: u64, told: u64) -> Result<(), Status> {
        let mut known = self.shared.known.lock();
        let Some(entry) = known.get_mut(&node) else {
            return Ok(());
        };
        match entry.incarnation {
            Some(held) if held != told => {
                tracing::error!(
                    node,
                    "this node's log was lost or replaced: remove it from the cluster and add it under a new id"
                );
                Err(Status::failed_precondition("the peer's log was lost or replaced"))
            }
            Some(_) => Ok(()),
            None => {
                entry.incarnation = Some(told);
                Ok(())
            }
        }
    }
}

pub(crate) fn encode<T: Serialize>(body: &T, incarnation: u64) -> RaftMessage {
    let body = postcard::to_allocvec(body).expect("plain data always encodes into memory");
    RaftMessage {
        version: BODY_VERSION,
        body: body.into(),
        incarnation,
    }
}

pub(crate) fn decode<T: DeserializeOwned>(message: &RaftMessage) -> Result<T, Status> {
    if message.version != BODY_VERSION {
        let text = format!(
            "raft messages of version {} are not known here: upgrade this node",
            message.version
        );
        return Err(Status::unimplemented(text));
    }
    postcard::from_bytes(&message.body)
        .map_err(|error| Status::invalid_argument(format!("raft message: {error}")))
}

impl RaftNetworkFactory<Types> for Peers {
    type Network = Client;

    async fn new_client(&mut self, target: u64, node: &Member) -> Client {
        Client {
            target,
            channels: self.channels(target, &node.link_address),
            peers: self.clone(),
        }
    }
}

/// One peer, as openraft's core talks to it.
pub(crate) struct Client {
    target: u64,
    channels: Channels,
    peers: Peers,
}

impl Client {
    fn raft(&self) -> RaftClient<Channel> {
        RaftClient::new(self.channels.raft.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn message<T: Serialize>(&self, body: &T) -> RaftMessage {
        encode(body, self.peers.shared.incarnation)
    }

    /// Waits for a call at most `patience` and reads its answer.
    async fn answer<T: DeserializeOwned>(
        &self,
        action: RPCTypes,
        patience: Duration,
        call: impl Future<Output = Result<tonic::Response<RaftMessage>, Status>> + Send,
    ) -> Result<T, RPCError<Types>> {
        let Ok(result) = tokio::time::timeout(patience, call).await else {
            let timeout = Timeout {
                action,
                id: self.peers.shared.node,
                target: self.target,
                timeout: patience,
            };
            return Err(RPCError::Timeout(timeout));
        };
        let message = result.map_err(|status| rpc_error(&status))?.into_inner();
        self.peers
            .check_incarnation(self.target, message.incarnation)
            .map_err(|status| rpc_error(&status))?;
        decode(&message).map_err(|status| rpc_error(&status))
    }
}

/// `Unreachable` makes openraft back off; a broken connection may be tried again at once.
fn rpc_error(status: &Status) -> RPCError<Types> {
    match status.code() {
        Code::Cancelled | Code::Aborted => RPCError::Network(NetworkError::new(status)),
        _ => RPCError::Unreachable(Unreachable::new(status)),
    }
}

impl RaftNetworkV2<Types> for Client {
    type SnapshotData = SnapshotBytes;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        // Entries wait for the follower's fsync; a heartbeat waits for nothing.
        let patience = if request.entries.is_empty() {
            option.hard_ttl()
        } else {
            APPEND_TIMEOUT
        };
        let mut client = self.raft();
        let message = self.message(&request);
        self.answer(RPCTypes::AppendEntries, patience, client.append_entries(message))
            .await
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let mut client = self.raft();
        let message = self.message(&request);
        self.answer(RPCTypes::Vote, option.hard_ttl(), client.vote(message))
            .await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let mut client = self.raft();
        let message = self.message(&request);
        self.answer(RPCTypes::Vote, option.hard_ttl(), client.pre_vote(message))
            .await
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let mut client = self.raft();
        let message = self.message(&request);
        self.answer(
            RPCTypes::TransferLeader,
            option.hard_ttl(),
            client.transfer_leader(message),
        )
        .await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let chunks = futures::stream::iter(chunks(&vote, &snapshot, self.peers.shared.incarnation));
        let mut client = RaftClient::new(self.channels.bulk.clone());
        let call = client.install_snapshot(chunks);
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            answer = self.answer(RPCTypes::InstallSnapshot, option.hard_ttl(), call) => Ok(answer?),
        }
    }
}

/// What precedes a snapshot's bytes.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct SnapshotHeader {
    pub(crate) version: u32,
    pub(crate) incarnation: u64,
    pub(crate) vote: Vote,
    pub(crate) meta: crate::types::SnapshotMeta,
    pub(crate) length_bytes: u64,
    pub(crate) crc32c: u32,
}

fn chunks(vote: &Vote, snapshot: &Snapshot, incarnation: u64) -> impl Iterator<Item = SnapshotChunk> + use<> {
    let bytes = snapshot.snapshot.clone();
    let header = SnapshotHeader {
        version: BODY_VERSION,
        incarnation,
        vote: *vote,
        meta: snapshot.meta.clone(),
        length_bytes: bytes.len() as u64,
        crc32c: crc32c::crc32c(&bytes),
    };
    let header = postcard::to_allocvec(&header).expect("plain data always encodes into memory");
    let first = SnapshotChunk {
        header: header.into(),
        data: Bytes::new(),
    };
    let starts = (0..bytes.len()).step_by(CHUNK_BYTES);
    std::iter::once(first).chain(starts.map(move |start| {
        let end = (start + CHUNK_BYTES).min(bytes.len());
        SnapshotChunk {
            header: Bytes::new(),
            data: bytes.slice(start..end),
        }
    }))
}
