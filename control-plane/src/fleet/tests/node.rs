//! A control node and edges in one process, over real links.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use medmesh_base::drain::Drain;
use medmesh_base::{ControlId, EdgeId};
use medmesh_consensus::{Config, Consensus, Timers};
use medmesh_ledger::{ControlDescriptor, LEDGER_VERSION};
use medmesh_link::{
    ClusterCa, Endpoint, EndpointConfig, Enrolled, Expect, Incoming, LEAF_LIFE, LinkMetrics, Peer, Role,
    TrafficClass, Trust, enrol,
};
use medmesh_vault::{ClusterSecret, TokenSigner};
use medmesh_wire::fleet as wire;
use medmesh_wire::fleet::edge_command::Command as Down;
use medmesh_wire::fleet::fleet_client::FleetClient;
use prometheus::Registry;
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::fleet::{Clock, Fleet, FleetMetrics, Parts, spawn};

/// Marks the last report of an edge that is to fall silent.
const LAST_WORD: u64 = 4_711;

/// Nothing here takes this long; what does is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it takes too long")
}

pub(crate) async fn eventually<T, F: AsyncFnMut() -> Option<T>>(mut condition: F) -> T {
    soon(async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

pub(crate) struct Control {
    pub(crate) fleet: Fleet,
    pub(crate) address: String,
    /// What edges' silence is judged by; it stands still until a test moves it.
    pub(crate) clock: Clock,
    drain: Drain,
    dir: tempfile::TempDir,
}

/// A socket is open, so that its address can be told to the others.
struct Bound {
    node: ControlId,
    endpoint: Endpoint,
    incoming: Incoming,
    registry: Registry,
    drain: Drain,
}

impl Bound {
    fn new(ca: &ClusterCa, node: ControlId) -> Self {
        let (drain, registry) = (Drain::new(), Registry::new());
        let identity = ca.issue(Role::Control(node), OffsetDateTime::now_utc(), LEAF_LIFE);
        let config = EndpointConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            trust: Trust::new(ca.cluster().clone(), ca.certificate()).unwrap(),
            identity: identity.unwrap(),
            enrolment: true,
        };
        let metrics = LinkMetrics::register(&registry).unwrap();
        let (endpoint, incoming) = Endpoint::bind(config, metrics, &drain).unwrap();
        Self {
            node,
            endpoint,
            incoming,
            registry,
            drain,
        }
    }

    fn address(&self) -> String {
        self.endpoint.local_address().to_string()
    }

    async fn join(self, ca: &Arc<ClusterCa>, voters: &BTreeMap<ControlId, String>) -> Control {
        let dir = tempfile::tempdir().unwrap();
        let address = self.address();
        let mut raft = Config::new(self.node, "test", dir.path().join("raft"));
        if voters.len() == 1 {
            // Nobody to wait for.
            raft.timers = Timers {
                heartbeat: Duration::from_millis(50),
                election_min: Duration::from_millis(100),
                election_max: Duration::from_millis(200),
            };
        }
        let consensus = Consensus::start(raft, self.endpoint.clone(), &self.registry)
            .await
            .unwrap();
        let clock = Clock::manual();
        let fleet = Fleet::new(Parts {
            consensus: consensus.clone(),
            endpoint: self.endpoint,
            certificate_life: LEAF_LIFE,
            ca: ca.clone(),
            secret: ClusterSecret::load_or_create(&dir.path().join("cluster.secret")).unwrap(),
            signer: TokenSigner::load_or_create(&dir.path().join("signing.key")).unwrap(),
            descriptor: ControlDescriptor {
                link_address: address.clone(),
                http_url: "http://127.0.0.1:1".to_owned(),
                ledger_version: LEDGER_VERSION,
            },
            origins: vec!["https://clinic.example".to_owned()],
            metrics: FleetMetrics::register(&self.registry).unwrap(),
            clock: clock.clone(),
        });
        spawn(&fleet, self.incoming, &self.drain);
        consensus.bootstrap(voters).await.unwrap();
        Control {
            fleet,
            address,
            clock,
            drain: self.drain,
            dir,
        }
    }
}

impl Control {
    /// A group of one, with a leader that has introduced itself.
    pub(crate) async fn start() -> Self {
        Self::group(1).await.remove(0)
    }

    /// A group whose nodes have all introduced themselves.
    pub(crate) async fn group(size: u64) -> Vec<Self> {
        let ca = Arc::new(ClusterCa::create("test".parse().unwrap(), OffsetDateTime::now_utc()).unwrap());
        let bound: Vec<_> = (1..=size).map(|id| Bound::new(&ca, ControlId(id))).collect();
        let voters = bound.iter().map(|node| (node.node, node.address())).collect();
        let mut group = Vec::new();
        for node in bound {
            group.push(node.join(&ca, &voters).await);
        }
        for control in &group {
            eventually(async || {
                let state = control.fleet.state();
                (state.controls.len() == voters.len() && state.turn.current > 0).then_some(())
            })
            .await;
        }
        group
    }

    pub(crate) fn leads(&self) -> bool {
        self.fleet.inner.consensus.is_leader()
    }

    pub(crate) async fn join_token(&self) -> String {
        let token = self
            .fleet
            .join_token_create(&uuid::Uuid::new_v4().to_string(), None)
            .await
            .unwrap();
        token.token.expose().to_owned()
    }

    pub(crate) async fn enrol(&self, name: &str, region: &str) -> Edge {
        let token = self.join_token().await;
        let enrolled = soon(enrol(&token, super::wire_descriptor(name, region)))
            .await
            .unwrap();
        Edge::new(enrolled, name, region, &self.address)
    }

    /// The edge stops reporting, and as much time goes by. Its last report has been heard before,
    /// so that none on its way arrives in the new time.
    pub(crate) async fn silence(&self, edge: &Edge, attached: &Attached, reporting: Drain, for_ms: u64) {
        assert_eq!(reporting.finish(PATIENCE).await, 0);
        let mut last = edge.report();
        last.config_version = LAST_WORD;
        attached.up.send(last).await.unwrap();
        eventually(async || {
            let nodes = self.fleet.nodes();
            let heard = nodes.edges.into_iter().find(|node| node.id == edge.id)?.report?;
            (heard.config_version == LAST_WORD).then_some(())
        })
        .await;
        self.clock.advance(for_ms);
    }

    pub(crate) async fn stop(self) {
        self.fleet.shutdown().await;
        assert_eq!(self.drain.finish(PATIENCE).await, 0, "a task outlived the drain");
        drop(self.dir);
    }
}

pub(crate) struct Edge {
    pub(crate) id: EdgeId,
    pub(crate) enrolled: Enrolled,
    pub(crate) peer: Peer,
    endpoint: Endpoint,
    name: String,
    region: String,
    drain: Drain,
}

/// An edge's side of `Attach`.
pub(crate) struct Attached {
    pub(crate) up: mpsc::Sender<wire::EdgeReport>,
    pub(crate) down: Streaming<wire::EdgeCommand>,
}

impl Attached {
    pub(crate) async fn next(&mut self) -> Option<Down> {
        soon(self.down.message()).await.ok()??.command
    }

    pub(crate) async fn config(&mut self, wanted: impl Fn(&wire::EdgeConfig) -> bool) -> wire::EdgeConfig {
        loop {
            match self.next().await {
                Some(Down::Config(config)) if wanted(&config) => return config,
                Some(_) => {}
                None => panic!("the stream ended"),
            }
        }
    }
}

impl Edge {
    fn new(enrolled: Enrolled, name: &str, region: &str, control: &str) -> Self {
        let drain = Drain::new();
        let config = EndpointConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            trust: Trust::new("test".parse().unwrap(), &enrolled.ca).unwrap(),
            identity: enrolled.identity.clone(),
            enrolment: false,
        };
        let metrics = LinkMetrics::register(&Registry::new()).unwrap();
        let (endpoint, _) = Endpoint::bind(config, metrics, &drain).unwrap();
        Self {
            id: enrolled.edge,
            peer: Peer::new(&endpoint, control, Expect::AnyControl),
            endpoint,
            enrolled,
            name: name.to_owned(),
            region: region.to_owned(),
            drain,
        }
    }

    /// The same edge, attaching to another control node.
    pub(crate) fn towards(&self, control: &Control) -> Peer {
        Peer::new(&self.endpoint, control.address.clone(), Expect::AnyControl)
    }

    pub(crate) fn client(&self) -> FleetClient<Channel> {
        FleetClient::new(self.peer.channel(TrafficClass::Fleet))
    }

    pub(crate) fn report(&self) -> wire::EdgeReport {
        super::report(&self.name, &self.region)
    }

    pub(crate) async fn attach(&self) -> Result<Attached, tonic::Status> {
        Self::attach_by(self.client()).await
    }

    async fn attach_by(mut client: FleetClient<Channel>) -> Result<Attached, tonic::Status> {
        let (up, reports) = mpsc::channel(4);
        let down = soon(client.attach(ReceiverStream::new(reports))).await?;
        Ok(Attached {
            up,
            down: down.into_inner(),
        })
    }

    /// Attaches and reports every 200 ms until the returned drain stops.
    pub(crate) async fn keep_reporting(&self) -> (Attached, Drain) {
        self.keep_sending(self.client(), self.report()).await
    }

    /// The same towards each control node of a group, as edges do.
    pub(crate) async fn keep_reporting_to(&self, group: &[Control]) -> Vec<(Attached, Drain)> {
        let mut kept = Vec::new();
        for control in group {
            let client = FleetClient::new(self.towards(control).channel(TrafficClass::Fleet));
            kept.push(self.keep_sending(client, self.report()).await);
        }
        kept
    }

    /// The same, with a measured path to another edge.
    pub(crate) async fn keep_reporting_path(&self, to: EdgeId, rtt_us: u32) -> (Attached, Drain) {
        let mut report = self.report();
        report.peers.push(wire::PeerPath {
            edge_id: to.to_vec(),
            rtt_us,
            ..wire::PeerPath::default()
        });
        self.keep_sending(self.client(), report).await
    }

    async fn keep_sending(
        &self,
        client: FleetClient<Channel>,
        report: wire::EdgeReport,
    ) -> (Attached, Drain) {
        // A node that lags has not heard of the enrolment yet.
        let attached = eventually(async || Self::attach_by(client.clone()).await.ok()).await;
        let (up, drain) = (attached.up.clone(), Drain::new());
        let stop = drain.clone();
        drain.spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(200));
            loop {
                tokio::select! {
                    () = stop.stopping() => return,
                    _ = ticks.tick() => if up.send(report.clone()).await.is_err() { return },
                }
            }
        });
        (attached, drain)
    }

    pub(crate) async fn stop(self) {
        assert_eq!(self.drain.finish(PATIENCE).await, 0, "a task outlived the drain");
    }
}
