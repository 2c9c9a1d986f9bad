//! Control nodes in one process, over real QUIC on loopback.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use medmesh_base::ControlId;
use medmesh_base::drain::Drain;
use medmesh_ledger::{Command, State};
use medmesh_link::{ClusterCa, ClusterName, Endpoint, EndpointConfig, LEAF_LIFE, LinkMetrics, Role, Trust};
use medmesh_wire::consensus::{ExplainRequest, ExplainResponse, PlaceRequest, PlaceResponse};
use prometheus::Registry;
use tonic::Status as RpcStatus;
use tonic::transport::Server;

use crate::{Config, Consensus, Placer, SnapshotEvery, StartError, Timers};

/// Nothing in these tests takes longer, also on a busy machine.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// A fleet's control nodes: their CA, directories and addresses.
pub(super) struct Cluster {
    ca: ClusterCa,
    name: ClusterName,
    root: tempfile::TempDir,
    addresses: BTreeMap<ControlId, String>,
    pub(super) snapshots: SnapshotEvery,
    pub(super) nodes: BTreeMap<ControlId, Node>,
}

pub(super) struct Node {
    pub(super) consensus: Consensus,
    pub(super) registry: Registry,
    drain: Drain,
}

struct NoPlacer;

#[tonic::async_trait]
impl Placer for NoPlacer {
    async fn place(&self, _: PlaceRequest) -> Result<PlaceResponse, RpcStatus> {
        Err(RpcStatus::unimplemented("these nodes only agree"))
    }

    async fn explain(&self, _: ExplainRequest) -> Result<ExplainResponse, RpcStatus> {
        Err(RpcStatus::unimplemented("these nodes only agree"))
    }
}

impl Cluster {
    pub(super) fn new() -> Self {
        let name: ClusterName = "test".parse().unwrap();
        let ca = ClusterCa::create(name.clone(), time::OffsetDateTime::now_utc()).unwrap();
        Self {
            ca,
            name,
            root: tempfile::tempdir().unwrap(),
            addresses: BTreeMap::new(),
            snapshots: SnapshotEvery::default(),
            nodes: BTreeMap::new(),
        }
    }

    /// Three founders, with a leader.
    pub(super) async fn three() -> Self {
        let mut cluster = Self::new();
        cluster.found(&[1, 2, 3]).await;
        cluster
    }

    pub(super) async fn found(&mut self, ids: &[u64]) {
        for id in ids {
            self.start(*id).await.unwrap();
        }
        for node in self.nodes.values() {
            node.consensus.bootstrap(&self.addresses).await.unwrap();
        }
        self.leader().await;
    }

    pub(super) fn directory(&self, id: u64) -> PathBuf {
        self.root.path().join(id.to_string())
    }

    /// Nodes get new addresses when they start again.
    pub(super) fn forget_addresses(&mut self) {
        self.addresses.clear();
    }

    pub(super) fn address(&self, id: u64) -> &str {
        &self.addresses[&ControlId(id)]
    }

    /// Starts a node from its directory, at the address it had.
    pub(super) async fn start(&mut self, id: u64) -> Result<(), StartError> {
        let node = ControlId(id);
        let listen = self
            .addresses
            .get(&node)
            .map_or("127.0.0.1:0", String::as_str)
            .parse()
            .unwrap();
        let identity = self
            .ca
            .issue(Role::Control(node), time::OffsetDateTime::now_utc(), LEAF_LIFE)
            .unwrap();
        let trust = Trust::new(self.name.clone(), self.ca.certificate()).unwrap();
        let config = EndpointConfig {
            listen,
            trust,
            identity,
            enrolment: false,
        };
        let (drain, registry) = (Drain::new(), Registry::new());
        let (endpoint, incoming) =
            Endpoint::bind(config, LinkMetrics::register(&registry).unwrap(), &drain).unwrap();
        self.addresses.insert(node, endpoint.local_address().to_string());
        let mut config = Config::new(node, "test", self.directory(id));
        config.snapshots = self.snapshots;
        config.timers = Timers {
            heartbeat: Duration::from_millis(60),
            election_min: Duration::from_millis(300),
            election_max: Duration::from_millis(600),
        };
        let consensus = match Consensus::start(config, endpoint, &registry).await {
            Ok(consensus) => consensus,
            Err(error) => {
                drain.finish(DEADLINE).await;
                return Err(error);
            }
        };
        let server = Server::builder()
            .add_service(consensus.raft_service())
            .add_service(consensus.leader_service(NoPlacer))
            .serve_with_incoming_shutdown(incoming.grpc, drain.token().cancelled_owned());
        drain.spawn(async move { server.await.unwrap() });
        self.nodes.insert(
            node,
            Node {
                consensus,
                registry,
                drain,
            },
        );
        Ok(())
    }

    /// Cuts a node off and stops it, without a word to its peers.
    pub(super) async fn kill(&mut self, id: u64) {
        let node = self.nodes.remove(&ControlId(id)).unwrap();
        node.drain.finish(DEADLINE).await;
        assert!(node.consensus.stop().await, "everything ended");
        drop(node);
        self.port_free(id).await;
    }

    /// The socket goes a moment after its last user.
    async fn port_free(&self, id: u64) {
        let address = self.address(id);
        eventually("a free port", || async {
            std::net::UdpSocket::bind(address).ok()
        })
        .await;
    }

    /// Stops a node in order.
    pub(super) async fn shut_down(&mut self, id: u64) {
        let node = self.nodes.remove(&ControlId(id)).unwrap();
        assert!(node.consensus.shutdown().await, "everything ended");
        node.drain.finish(DEADLINE).await;
        drop(node);
        self.port_free(id).await;
    }

    pub(super) fn node(&self, id: u64) -> &Consensus {
        &self.nodes[&ControlId(id)].consensus
    }

    /// The node that leads, once all running nodes agree on it.
    pub(super) async fn leader(&self) -> ControlId {
        eventually("one leader", || async {
            let mut seen = self.nodes.values().map(|node| node.consensus.leader());
            let first = seen.next().flatten()?;
            (self.nodes.contains_key(&first) && seen.all(|leader| leader == Some(first))).then_some(first)
        })
        .await
    }

    /// A running node that follows.
    pub(super) async fn follower(&self) -> &Consensus {
        let leader = self.leader().await;
        let follower = self.nodes.iter().find(|(id, _)| **id != leader);
        &follower.unwrap().1.consensus
    }

    /// All running nodes reach the same state, which is answered.
    pub(super) async fn converge(&self) -> State {
        let any = self.nodes.values().next().unwrap();
        let state = any.consensus.read_linearizable().await.unwrap();
        eventually("equal states", || async {
            self.nodes
                .values()
                .all(|node| node.consensus.read() == state)
                .then_some(())
        })
        .await;
        State::clone(&state)
    }

    pub(super) async fn end(mut self) {
        for id in self.nodes.keys().map(|id| id.0).collect::<Vec<_>>() {
            self.kill(id).await;
        }
    }
}

/// Waits for a condition, at most [`DEADLINE`].
pub(super) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, condition: impl Fn() -> F) -> T {
    let waiting = async {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        loop {
            tick.tick().await;
            if let Some(value) = condition().await {
                return value;
            }
        }
    };
    tokio::time::timeout(DEADLINE, waiting)
        .await
        .unwrap_or_else(|_| panic!("never happened: {what}"))
}

/// A small command, different every time.
pub(super) fn checkpoint(name: &str) -> Command {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Command::CheckpointPut {
        name: name.to_owned(),
        bytes: count.to_le_bytes().to_vec(),
        now: count,
    }
}
