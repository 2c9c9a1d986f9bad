//! Edges in this process, under a test CA, each with a stored configuration made by hand.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use medmesh_base::media_token::{MediaClaims, MeshEdge, SignallingEdge};
use medmesh_base::{EdgeId, RoomId, telemetry};
use medmesh_edge::{Config, Edge, IdentityFiles, StartError, settings};
use medmesh_link::{ClusterCa, ClusterName, LEAF_LIFE, Role};
use medmesh_wire::fleet::{EdgeConfig, PeerEdge, TurnSecret};
use tempfile::TempDir;
use time::OffsetDateTime;

use crate::issuer::{Key, join_claims};

/// What every wait in these tests is bounded by; nothing takes a tenth of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The text of the TURN secret of all edges.
pub(crate) const TURN_SECRET: &str = "c2VjcmV0IG9mIHRoZSB0ZXN0IGZsZWV0";

/// A running edge with its files.
pub(crate) struct TestEdge {
    edge: Option<Edge>,
    dir: TempDir,
    config: Settings,
}

/// What differs between test edges.
#[derive(Clone, Copy)]
struct Settings {
    index: usize,
    turn: bool,
    link_port: u16,
    drain_seconds: u32,
}

/// Edges that trust each other, and the keys of their token issuer and of a browser.
pub(crate) struct Fleet {
    edges: Vec<TestEdge>,
    pub(crate) issuer: Key,
    pub(crate) holder: Key,
    pub(crate) http: reqwest::Client,
}

impl Fleet {
    /// Starts `count` edges; with `turn` each has its relay.
    pub(crate) async fn start(count: usize, turn: bool) -> Self {
        Self::start_with(count, turn, 0).await
    }

    /// As [`Fleet::start`]; an edge that stops gives people `drain_seconds` to move.
    pub(crate) async fn start_with(count: usize, turn: bool, drain_seconds: u32) -> Self {
        // Later edges know the earlier ones, and have the higher ids: nobody dials ahead of need.
        let ids = (0..count).map(|_| EdgeId::generate()).collect();
        Self::start_as(ids, turn, drain_seconds).await
    }

    /// Two edges of which the second has the lower id, and so a standing link to dial.
    pub(crate) async fn start_linked() -> Self {
        let mut ids: Vec<EdgeId> = (0..2).map(|_| EdgeId::generate()).collect();
        ids.reverse();
        Self::start_as(ids, false, 0).await
    }

    async fn start_as(ids: Vec<EdgeId>, turn: bool, drain_seconds: u32) -> Self {
        // The process's choice of provider; a second test finds it made.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // Silent unless `MEDMESH_LOG` asks.
        telemetry::init("off", telemetry::LogFormat::Text);
        let cluster: ClusterName = "test".parse().unwrap();
        let ca = ClusterCa::create(cluster, OffsetDateTime::now_utc()).unwrap();
        let issuer = Key::generate("k1");
        let mut edges = Vec::new();
        let mut peers: Vec<PeerEdge> = Vec::new();
        for (index, id) in ids.into_iter().enumerate() {
            let dir = tempfile::tempdir().unwrap();
            let wire = EdgeConfig {
                version: 1,
                jwks: issuer.jwks(),
                turn_secrets: vec![TurnSecret {
                    epoch: 1,
                    secret: TURN_SECRET.into(),
                }],
                peers: peers.clone(),
                allowed_origins: vec!["https://portal.example.net".into()],
                ..EdgeConfig::default()
            };
            store(dir.path(), &ca, id, &wire);
            let config = Settings {
                index,
                turn,
                link_port: lasting_port(),
                drain_seconds,
            };
            let edge = Edge::start(config.read(dir.path())).await.unwrap();
            peers.push(PeerEdge {
                edge_id: id.to_vec(),
                name: format!("test-{index}"),
                region: "test".into(),
                link_address: edge.addresses().link.to_string(),
            });
            edges.push(TestEdge {
                edge: Some(edge),
                dir,
                config,
            });
        }
        Self {
            edges,
            issuer,
            holder: Key::generate("browser"),
            http: reqwest::Client::new(),
        }
    }

    pub(crate) fn edge(&self, index: usize) -> &Edge {
        self.edges[index].edge.as_ref().unwrap()
    }

    /// Takes an edge out, to be drained.
    pub(crate) fn take(&mut self, index: usize) -> Edge {
        self.edges[index].edge.take().unwrap()
    }

    /// Starts an edge that was taken out, from its files and on its old link address.
    pub(crate) async fn start_again(&mut self, index: usize) {
        let one = &mut self.edges[index];
        // QUIC closes its socket a moment after its last handle is gone.
        let started = async {
            loop {
                match Edge::start(one.config.read(one.dir.path())).await {
                    Ok(edge) => return edge,
                    Err(StartError::Link(_)) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        one.edge = Some(tokio::time::timeout(PATIENCE, started).await.unwrap());
    }

    /// Claims for somebody new in `room` whose home is the edge `home`; the others follow.
    pub(crate) fn claims(&self, room: RoomId, home: usize) -> MediaClaims {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let mut claims = join_claims(room, self.edge(home).id(), &self.holder, now);
        let order = std::iter::once(home).chain((0..self.edges.len()).filter(|index| *index != home));
        let edges = order.map(|index| self.edge(index));
        claims.edges = edges
            .map(|edge| SignallingEdge {
                id: edge.id(),
                url: edge.addresses().signalling_url.clone(),
                link: edge.addresses().link.to_string(),
            })
            .collect();
        claims.mesh = claims
            .edges
            .iter()
            .map(|edge| MeshEdge {
                id: edge.id,
                link: edge.link.clone(),
            })
            .collect();
        claims
    }

    pub(crate) fn whip_url(&self, index: usize) -> String {
        format!("{}/v1/whip", self.edge(index).addresses().signalling_url)
    }

    /// A request to join edge `index`.
    pub(crate) fn post(
        &self,
        index: usize,
        token: &str,
        offer: impl Into<reqwest::Body>,
    ) -> reqwest::RequestBuilder {
        self.http
            .post(self.whip_url(index))
            .bearer_auth(token)
            .header("content-type", "application/sdp")
            .body(offer)
    }

    /// The value of a sample in an edge's metrics; 0 where there is none.
    pub(crate) async fn metric(&self, index: usize, sample: &str) -> f64 {
        let url = format!("{}/metrics", self.edge(index).addresses().admin_url);
        let text = self.http.get(url).send().await.unwrap().text().await.unwrap();
        text.lines()
            .filter_map(|line| line.rsplit_once(' '))
            .find(|(name, _)| *name == sample)
            .map_or(0.0, |(_, value)| value.parse().unwrap())
    }

    /// Sum over all samples of a family.
    pub(crate) async fn metric_sum(&self, index: usize, family: &str) -> f64 {
        let url = format!("{}/metrics", self.edge(index).addresses().admin_url);
        let text = self.http.get(url).send().await.unwrap().text().await.unwrap();
        text.lines()
            .filter_map(|line| line.rsplit_once(' '))
            .filter(|(name, _)| name.split('{').next() == Some(family))
            .map(|(_, value)| value.parse::<f64>().unwrap())
            .sum()
    }

    /// Waits until a sample has reached `least`.
    pub(crate) async fn metric_reaches(&self, index: usize, sample: &str, least: f64) {
        let reached = async {
            while self.metric(index, sample).await < least {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(PATIENCE, reached).await.is_err() {
            panic!("{sample} is {}, not {least}", self.metric(index, sample).await);
        }
    }

    /// Drains every edge; each must end clean.
    pub(crate) async fn stop(self) {
        for edge in self.edges.into_iter().filter_map(|one| one.edge) {
            assert!(edge.drain().await, "an edge left something behind");
        }
    }
}

/// A free port below the range the system gives out by itself (32768 and up), so that
/// nobody takes it while its edge is away.
fn lasting_port() -> u16 {
    loop {
        let port = rand::random_range(20_000..30_000);
        if UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

fn store(dir: &Path, ca: &ClusterCa, id: EdgeId, wire: &EdgeConfig) {
    let files = IdentityFiles::under(dir);
    let identity = ca
        .issue(Role::Edge(id), OffsetDateTime::now_utc(), LEAF_LIFE)
        .unwrap();
    identity.save(&files.identity).unwrap();
    std::fs::write(&files.ca, ca.certificate_pem()).unwrap();
    settings::write_stored(dir, wire).unwrap();
}

/// An edge's files, for a process of its own; its admin listener is at the port.
pub(crate) fn files_of_a_process(dir: &Path) -> u16 {
    let ca = ClusterCa::create("test".parse().unwrap(), OffsetDateTime::now_utc()).unwrap();
    let wire = EdgeConfig {
        version: 1,
        jwks: Key::generate("k1").jwks(),
        ..EdgeConfig::default()
    };
    store(dir, &ca, EdgeId::generate(), &wire);
    let settings = Settings {
        index: 0,
        turn: true,
        link_port: lasting_port(),
        drain_seconds: 0,
    };
    let admin = lasting_port();
    let text = settings.text(dir);
    let (before, _) = text.split_once("[admin]").unwrap();
    let text = format!("{before}[admin]\nlisten = \"127.0.0.1:{admin}\"\n");
    std::fs::write(dir.join("edge.toml"), text).unwrap();
    admin
}

impl Settings {
    fn read(self, dir: &Path) -> Config {
        Config::from_text(Path::new("edge.toml"), &self.text(dir)).unwrap()
    }

    fn text(self, dir: &Path) -> String {
        let Self {
            index,
            turn,
            link_port,
            drain_seconds,
        } = self;
        let any = Ipv4Addr::LOCALHOST;
        let dir = dir.display();
        format!(
            r#"
[edge]
name = "test-{index}"
region = "test"
data_dir = "{dir}"
drain_seconds = {drain_seconds}
[link]
listen = "{any}:{link_port}"
[signalling]
listen = "{any}:0"
[media]
address = "{any}"
shards = 2
[turn]
enabled = {turn}
listen = "{any}:0"
[admin]
listen = "{any}:0"
"#
        )
    }
}
