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
    ClusterCa, Endpoint, EndpointConfig, Enrolled, Expect, LEAF_LIFE, LinkMetrics, Peer, Role, TrafficClass,
    Trust, enrol,
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

use crate::fleet::{Fleet, FleetMetrics, Parts, spawn};

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
    drain: Drain,
    _dir: tempfile::TempDir,
}

impl Control {
    /// A group of one, with a leader that has introduced itself.
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let drain = Drain::new();
        let registry = Registry::new();
        let ca = Arc::new(ClusterCa::create("test".parse().unwrap(), OffsetDateTime::now_utc()).unwrap());
        let node = ControlId(1);
        let config = EndpointConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            trust: Trust::new(ca.cluster().clone(), ca.certificate()).unwrap(),
            identity: ca
                .issue(Role::Control(node), OffsetDateTime::now_utc(), LEAF_LIFE)
                .unwrap(),
            enrolment: true,
        };
        let (endpoint, incoming) =
            Endpoint::bind(config, LinkMetrics::register(&registry).unwrap(), &drain).unwrap();
        let address = endpoint.local_address().to_string();
        let mut raft = Config::new(node, "test", dir.path().join("raft"));
        raft.timers = Timers {
            heartbeat: Duration::from_millis(50),
            election_min: Duration::from_millis(100),
            election_max: Duration::from_millis(200),
        };
        let consensus = Consensus::start(raft, endpoint, &registry).await.unwrap();
        let fleet = Fleet::new(Parts {
            consensus: consensus.clone(),
            ca,
            secret: ClusterSecret::load_or_create(&dir.path().join("cluster.secret")).unwrap(),
            signer: TokenSigner::load_or_create(&dir.path().join("signing.key")).unwrap(),
            descriptor: ControlDescriptor {
                link_address: address.clone(),
                http_url: "http://127.0.0.1:1".to_owned(),
                ledger_version: LEDGER_VERSION,
            },
            origins: vec!["https://clinic.example".to_owned()],
            metrics: FleetMetrics::register(&registry).unwrap(),
        });
        spawn(&fleet, incoming, &drain);
        consensus
            .bootstrap(&BTreeMap::from([(node, address.clone())]))
            .await
            .unwrap();
        eventually(async || {
            (fleet.state().controls.len() == 1 && fleet.state().turn.current > 0).then_some(())
        })
        .await;
        Self {
            fleet,
            address,
            drain,
            _dir: dir,
        }
    }

    pub(crate) async fn join_token(&self) -> String {
        let token = self.fleet.join_token_create(None).await.unwrap();
        token.token.expose().to_owned()
    }

    pub(crate) async fn enrol(&self, name: &str, region: &str) -> Edge {
        let token = self.join_token().await;
        let enrolled = soon(enrol(&token, super::wire_descriptor(name, region)))
            .await
            .unwrap();
        Edge::new(enrolled, name, region, &self.address)
    }

    pub(crate) async fn stop(self) {
        self.fleet.shutdown().await;
        assert_eq!(self.drain.finish(PATIENCE).await, 0, "a task outlived the drain");
    }
}

pub(crate) struct Edge {
    pub(crate) id: EdgeId,
    pub(crate) enrolled: Enrolled,
    pub(crate) peer: Peer,
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
            enrolled,
            name: name.to_owned(),
            region: region.to_owned(),
            drain,
        }
    }

    pub(crate) fn client(&self) -> FleetClient<tonic::transport::Channel> {
        FleetClient::new(self.peer.channel(TrafficClass::Fleet))
    }

    pub(crate) fn report(&self) -> wire::EdgeReport {
        super::report(&self.name, &self.region)
    }

    pub(crate) async fn attach(&self) -> Result<Attached, tonic::Status> {
        let (up, reports) = mpsc::channel(4);
        let down = soon(self.client().attach(ReceiverStream::new(reports))).await?;
        Ok(Attached {
            up,
            down: down.into_inner(),
        })
    }

    /// Attaches and reports every 200 ms until the returned drain stops.
    pub(crate) async fn keep_reporting(&self) -> (Attached, Drain) {
        self.keep_sending(self.report()).await
    }

    /// The same, with a measured path to another edge.
    pub(crate) async fn keep_reporting_path(&self, to: EdgeId, rtt_us: u32) -> (Attached, Drain) {
        let mut report = self.report();
        report.peers.push(wire::PeerPath {
            edge_id: to.to_vec(),
            rtt_us,
            ..wire::PeerPath::default()
        });
        self.keep_sending(report).await
    }

    async fn keep_sending(&self, report: wire::EdgeReport) -> (Attached, Drain) {
        let attached = self.attach().await.unwrap();
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
