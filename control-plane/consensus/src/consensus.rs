//! The one handle.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use medmesh_base::ControlId;
use medmesh_base::drain::Drain;
use medmesh_ledger::{Response, State};
use medmesh_link::Endpoint;
use medmesh_wire::consensus::leader_server::LeaderServer;
use medmesh_wire::consensus::raft_server::RaftServer;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{InitializeError, RaftError};
use parking_lot::Mutex;
use prometheus::Registry;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tonic::transport::Channel;

use crate::batch::{self, Tickets, To};
use crate::changes::Changes;
use crate::config::{Config, raft_config};
use crate::error::StartError;
use crate::log::{LogStore, WriterThread};
use crate::machine::Machine;
use crate::metrics::Metrics;
use crate::network::Peers;
use crate::service::{LeaderService, Placer, RaftService, leader_server, raft_server};
use crate::snapshot::SnapshotStore;
use crate::status::{self, Status};
use crate::types::{Member, Raft};

/// How long a leader waits for its successor when it stops.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(2);
/// How long tasks of a stopping node may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// A committed command's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// What the ledger said.
    pub response: Response,
    /// The log index it was committed at.
    pub index: u64,
}

/// This node's part in the group. Clones share it.
///
/// Nothing of openraft shows through: what is below may change.
#[derive(Clone)]
pub struct Consensus {
    inner: Arc<Inner>,
}

struct Inner {
    node: ControlId,
    raft: Raft,
    machine: Machine,
    log: LogStore,
    peers: Peers,
    metrics: Metrics,
    tickets: Tickets,
    forwarded: Tickets,
    leader: watch::Sender<Option<ControlId>>,
    fault: watch::Sender<Option<String>>,
    snapshot_bytes: usize,
    drain: Drain,
    writer: Mutex<Option<WriterThread>>,
}

impl fmt::Debug for Consensus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consensus")
            .field("node", &self.inner.node)
            .finish_non_exhaustive()
    }
}

impl Consensus {
    /// Opens the node's log and snapshots and joins in. It dials peers through `endpoint`; mount
    /// [`Consensus::raft_service`] and [`Consensus::leader_service`] there, or nobody hears it.
    /// A node with an empty directory waits for [`Consensus::bootstrap`] or to be added as a learner.
    ///
    /// # Errors
    /// When what is on disk cannot be used; the message says what to do.
    pub async fn start(config: Config, endpoint: Endpoint, registry: &Registry) -> Result<Self, StartError> {
        let metrics = Metrics::register(registry)?;
        let raft_config = Arc::new(raft_config(&config)?);
        let opening = (config.directory.clone(), config.node.0, metrics.log.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let (directory, node, metrics) = opening;
            let log = LogStore::open(&directory.join("log"), node, metrics)?;
            Ok::<_, crate::LogError>((log, SnapshotStore::open(&directory.join("snapshots"))?))
        });
        let ((log, writer), (snapshots, newest)) = opened.await.expect("opening a log does not panic")?;
        let machine = Machine::new(snapshots, newest, metrics.machine.clone()).map_err(StartError::State)?;
        let peers = Peers::new(config.node.0, log.incarnation(), endpoint);
        let raft = Raft::new(
            config.node.0,
            raft_config,
            peers.clone(),
            log.clone(),
            machine.clone(),
        )
        .await
        .map_err(|error| StartError::Raft(error.to_string()))?;
        let (tickets, queue) = batch::channel();
        let (forwarded, forwarded_queue) = batch::channel();
        let inner = Inner {
            node: config.node,
            raft,
            machine,
            log,
            peers,
            metrics,
            tickets,
            forwarded,
            leader: watch::channel(None).0,
            fault: watch::channel(None).0,
            snapshot_bytes: config.snapshots.log_bytes,
            drain: Drain::new(),
            writer: Mutex::new(Some(writer)),
        };
        let consensus = Self {
            inner: Arc::new(inner),
        };
        let drain = &consensus.inner.drain;
        drain.spawn(batch::run(consensus.clone(), To::Leader, queue));
        drain.spawn(batch::run(consensus.clone(), To::Here, forwarded_queue));
        consensus.inner.drain.spawn(observe(consensus.clone()));
        Ok(consensus)
    }

    /// Founds the group from the first `voters` (node → `host:port` of its link), this node among
    /// them. Each founder may call it with the same voters, and again at every start: a group that
    /// exists is left alone, but its voters are dialled at these addresses from now on. Answers
    /// whether it was founded now.
    ///
    /// # Errors
    /// When this node is not among the voters, or has stopped.
    pub async fn bootstrap(&self, voters: &BTreeMap<ControlId, String>) -> Result<bool, StartError> {
        let members: BTreeMap<u64, Member> = voters
            .iter()
            .map(|(node, address)| {
                (
                    node.0,
                    Member {
                        link_address: address.clone(),
                    },
                )
            })
            .collect();
        for (node, address) in voters {
            self.peers().pin(node.0, address);
        }
        match self.raft().initialize(members).await {
            Ok(()) => Ok(true),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(false),
            Err(error) => Err(StartError::Raft(error.to_string())),
        }
    }

    /// The state as this node has it: local, cheap, possibly a moment old.
    #[must_use]
    pub fn read(&self) -> Arc<State> {
        self.inner.machine.state()
    }

    /// Changes from now on. To miss none, subscribe first and read after.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes::new(self.inner.machine.subscribe())
    }

    /// This node.
    #[must_use]
    pub fn node(&self) -> ControlId {
        self.inner.node
    }

    /// The leader, as this node knows it.
    #[must_use]
    pub fn leader(&self) -> Option<ControlId> {
        self.leader_address().map(|(leader, _)| leader)
    }

    /// Whether this node leads, as far as it knows.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leader() == Some(self.node())
    }

    /// The leader, now and whenever it changes.
    #[must_use]
    pub fn watch_leader(&self) -> watch::Receiver<Option<ControlId>> {
        self.inner.leader.subscribe()
    }

    /// A gRPC channel to the leader for calls of the control plane (`Leader.Place`);
    /// `None` when this node leads or no leader is known.
    #[must_use]
    pub fn leader_channel(&self) -> Option<(ControlId, Channel)> {
        let (leader, address) = self
            .leader_address()
            .filter(|(leader, _)| *leader != self.node())?;
        Some((leader, self.peers().channels(leader.0, &address).fleet()))
    }

    /// The operator's view.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(&self.raft().metrics().borrow_watched())
    }

    /// Resolves when the node has stopped by itself (a disk that fails, an entry it cannot read),
    /// with the reason. The process should then end: its state no longer moves.
    pub async fn failed(&self) -> String {
        let mut fault = self.inner.fault.subscribe();
        match fault.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// `consensus.v1.Raft`, to mount on the link.
    #[must_use]
    pub fn raft_service(&self) -> RaftServer<RaftService> {
        raft_server(self.clone())
    }

    /// `consensus.v1.Leader`, to mount on the link.
    #[must_use]
    pub fn leader_service<P: Placer>(&self, placer: P) -> LeaderServer<LeaderService<P>> {
        leader_server(self.clone(), placer)
    }

    /// Hands leadership over, stops, and waits until everything is on disk. Answers whether
    /// everything ended in time.
    pub async fn shutdown(&self) -> bool {
        self.hand_over(HAND_OVER_PATIENCE).await;
        self.stop().await
    }

    /// Stops without handing leadership over, as a crash would.
    pub(crate) async fn stop(&self) -> bool {
        let left = self.inner.drain.finish(STOP_PATIENCE).await;
        // An error means that the core panicked: it has stopped all the same.
        let _ = self.raft().shutdown().await;
        self.inner.log.stop();
        let writer = self.inner.writer.lock().take();
        let joined = tokio::task::spawn_blocking(move || writer.is_none_or(|thread| thread.join().is_ok()));
        left == 0 && joined.await.unwrap_or(false)
    }

    pub(crate) fn leader_address(&self) -> Option<(ControlId, String)> {
        let metrics = self.raft().metrics();
        let metrics = metrics.borrow_watched();
        let leader = metrics.current_leader?;
        let member = metrics.membership_config.get_node(&leader)?;
        Some((ControlId(leader), member.link_address.clone()))
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.inner.raft
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.inner.machine
    }

    pub(crate) fn peers(&self) -> &Peers {
        &self.inner.peers
    }

    pub(crate) fn tickets(&self) -> &Tickets {
        &self.inner.tickets
    }

    pub(crate) fn forwarded(&self) -> &Tickets {
        &self.inner.forwarded
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    pub(crate) fn drain(&self) -> &Drain {
        &self.inner.drain
    }

    pub(crate) fn incarnation(&self) -> u64 {
        self.inner.log.incarnation()
    }
}

/// Between two looks at everything that is only for show.
const OBSERVE_INTERVAL: Duration = Duration::from_millis(100);

/// Follows openraft's metrics: leader and faults at once; Prometheus and snapshots by size now and then.
async fn observe(consensus: Consensus) {
    let mut metrics = consensus.raft().metrics();
    let mut tick = tokio::time::interval(OBSERVE_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut snapshot_asked_at = 0;
    loop {
        tokio::select! {
            () = consensus.drain().stopping() => return,
            _ = tick.tick() => snapshot_asked_at = look(&consensus, snapshot_asked_at).await,
            changed = metrics.changed() => if changed.is_err() { return },
        }
        let (leader, fault) = {
            let metrics = metrics.borrow_watched();
            (metrics.current_leader.map(ControlId), status::fault(&metrics))
        };
        let changed = consensus
            .inner
            .leader
            .send_if_modified(|held| std::mem::replace(held, leader) != leader);
        if changed && let Some(leader) = leader {
            tracing::info!(%leader, "the control plane has a leader");
            consensus.metrics().leader_changed();
        }
        if let Some(fault) = fault {
            tracing::error!(%fault, "this node's part in the control plane has stopped");
            consensus.inner.fault.send_replace(Some(fault));
            return;
        }
    }
}

/// Updates the metrics and asks for a snapshot when the log is large; answers the applied index
/// at which one was last asked for.
async fn look(consensus: &Consensus, asked_at: u64) -> u64 {
    let status = consensus.status();
    let log_bytes = consensus.inner.log.entry_bytes();
    consensus.metrics().observe(&status, log_bytes);
    // Once per snapshot: the next one cannot help before this one is there.
    if log_bytes <= consensus.inner.snapshot_bytes || status.snapshot_index < asked_at {
        return asked_at;
    }
    // Fails only when the core has stopped, which is seen elsewhere.
    let _ = consensus.raft().trigger().snapshot().await;
    status.applied_index
}
