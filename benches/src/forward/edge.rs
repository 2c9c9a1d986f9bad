//! The real `medmesh-edge`, started from a stored configuration.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use medmesh_base::media_token::{
    AUDIENCE, Confirmation, Grants, ISSUER, MediaClaims, MeshEdge, PublicJwk, SignallingEdge, Source,
    TokenUse,
};
use medmesh_base::{EdgeId, ParticipantId, RoomId};
use medmesh_edge::{IdentityFiles, settings};
use medmesh_link::{ClusterCa, ClusterName, LEAF_LIFE, Role};
use medmesh_wire::fleet::{EdgeConfig, PeerEdge};
use tempfile::TempDir;

use super::clients::{Client, Clients, Load, Measured};
use super::process::Server;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// One run under `load`. With `edges` = 2 publishers are on one edge and subscribers on the
/// other, and the CPU of both counts.
pub(crate) fn run(load: &Load, edges: usize, time: Duration) -> anyhow::Result<Measured> {
    // Another bench of this process may have chosen already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let fleet = Fleet::start(edges)?;
    let (first, last) = (&fleet.edges[0], &fleet.edges[edges - 1]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let http = reqwest::Client::new();
    let room = RoomId::generate();
    let mut clients = Clients::new(*load);
    for _ in 0..load.publishers {
        let (mut client, offer) = Client::publisher(LOCAL)?;
        let grants = Grants {
            publish: vec![Source::Camera],
            subscribe: false,
        };
        let answer = runtime.block_on(fleet.join(first, &http, room, grants, offer))?;
        client.accept_answer(&answer)?;
        clients.push(client);
        clients.drive(BETWEEN)?;
    }
    for _ in 0..load.subscribers {
        let mut client = Client::subscriber(LOCAL, load)?;
        let offer = client.offer()?;
        let grants = Grants {
            publish: Vec::new(),
            subscribe: true,
        };
        let answer = runtime.block_on(fleet.join(last, &http, room, grants, offer))?;
        client.accept_answer(&answer)?;
        clients.push(client);
        clients.drive(BETWEEN)?;
    }
    let servers: Vec<&Server> = fleet.edges.iter().map(|e| &e.server).collect();
    clients.measure(&servers, time)
}

/// Between two joins, so that handshakes are not all at once.
const BETWEEN: Duration = Duration::from_millis(20);

/// Edges that trust each other, and the issuer of their tokens.
struct Fleet {
    edges: Vec<Edge>,
    signing: EncodingKey,
    public: PublicJwk,
}

struct Edge {
    server: Server,
    id: EdgeId,
    signalling: String,
    link: String,
    _dir: TempDir,
}

impl Fleet {
    fn start(count: usize) -> anyhow::Result<Self> {
        let (signing, public) = issuer()?;
        let cluster: ClusterName = "bench".parse()?;
        let ca = ClusterCa::create(cluster, time::OffsetDateTime::now_utc())?;
        let mut peers: Vec<PeerEdge> = Vec::new();
        for index in 0..count {
            peers.push(PeerEdge {
                edge_id: EdgeId::generate().to_vec(),
                name: format!("bench-{index}"),
                region: "local".to_owned(),
                link_address: format!("{LOCAL}:{}", free_udp_port()?),
            });
        }
        let edges = peers
            .iter()
            .map(|own| Edge::start(&ca, &public, own, &peers))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            edges,
            signing,
            public,
        })
    }

    async fn join(
        &self,
        edge: &Edge,
        http: &reqwest::Client,
        room: RoomId,
        grants: Grants,
        offer: String,
    ) -> anyhow::Result<String> {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("bench".to_owned());
        let token = jsonwebtoken::encode(&header, &self.claims(edge, room, grants)?, &self.signing)?;
        let response = http
            .post(format!("{}/v1/whip", edge.signalling))
            .bearer_auth(token)
            .header("content-type", "application/sdp")
            .body(offer)
            .send()
            .await?;
        let (status, body) = (response.status(), response.text().await?);
        anyhow::ensure!(status == 201, "the edge says {status}: {body}");
        Ok(body)
    }

    fn claims(&self, home: &Edge, room: RoomId, grants: Grants) -> anyhow::Result<MediaClaims> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)?
            .as_secs()
            .cast_signed();
        let signalling = |e: &Edge| SignallingEdge {
            id: e.id,
            url: e.signalling.clone(),
            link: e.link.clone(),
        };
        Ok(MediaClaims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: ParticipantId::generate(),
            jti: ParticipantId::generate().to_string(),
            iat: now,
            nbf: now,
            exp: now + 60,
            token_use: TokenUse::Join,
            room,
            epoch: 1,
            grants,
            edges: vec![signalling(home)],
            mesh: self
                .edges
                .iter()
                .map(|e| MeshEdge {
                    id: e.id,
                    link: e.link.clone(),
                })
                .collect(),
            cnf: Confirmation {
                jwk: self.public.clone(),
            },
        })
    }
}

impl Edge {
    fn start(ca: &ClusterCa, public: &PublicJwk, own: &PeerEdge, peers: &[PeerEdge]) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let id = EdgeId::from_slice(&own.edge_id)?;
        let others = peers
            .iter()
            .filter(|p| p.edge_id != own.edge_id)
            .cloned()
            .collect();
        prepare(dir.path(), ca, id, public, others)?;
        let port = free_port()?;
        let signalling = format!("http://{LOCAL}:{port}");
        let config = dir.path().join("edge.toml");
        std::fs::write(&config, configuration(dir.path(), port, &own.link_address))?;
        let log = std::fs::File::create(dir.path().join("edge.log"))?;
        let mut command = Command::new(program()?);
        command
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let mut server = Server::start(&mut command)?;
        server
            .wait(|| std::net::TcpStream::connect((LOCAL, port)).ok())
            .with_context(|| std::fs::read_to_string(dir.path().join("edge.log")).unwrap_or_default())?;
        Ok(Self {
            server,
            id,
            signalling,
            link: own.link_address.clone(),
            _dir: dir,
        })
    }
}

/// `medmesh-edge` beside this program.
fn program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let program = own
        .parent()
        .context("a program is in a directory")?
        .join("medmesh-edge");
    anyhow::ensure!(
        program.exists(),
        "build medmesh-edge first: {} is missing",
        program.display()
    );
    Ok(program)
}

fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind((LOCAL, 0))?.local_addr()?.port())
}

fn issuer() -> anyhow::Result<(EncodingKey, PublicJwk)> {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref())?;
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let public = PublicJwk {
        kty: "EC".into(),
        crv: "P-256".into(),
        x: BASE64_URL_SAFE_NO_PAD.encode(x),
        y: BASE64_URL_SAFE_NO_PAD.encode(y),
    };
    Ok((EncodingKey::from_ec_der(pkcs8.as_ref()), public))
}

fn free_udp_port() -> anyhow::Result<u16> {
    Ok(std::net::UdpSocket::bind((LOCAL, 0))?.local_addr()?.port())
}

/// Writes what an enrolled edge has on disk.
fn prepare(
    dir: &Path,
    ca: &ClusterCa,
    id: EdgeId,
    public: &PublicJwk,
    peers: Vec<PeerEdge>,
) -> anyhow::Result<()> {
    let files = IdentityFiles::under(dir);
    ca.issue(Role::Edge(id), time::OffsetDateTime::now_utc(), LEAF_LIFE)?
        .save(&files.identity)?;
    std::fs::write(&files.ca, ca.certificate_pem())?;
    let PublicJwk { kty, crv, x, y } = public;
    let jwks = serde_json::json!({
        "keys": [{"kty": kty, "crv": crv, "x": x, "y": y, "kid": "bench", "alg": "ES256"}]
    });
    let wire = EdgeConfig {
        version: 1,
        jwks: jwks.to_string(),
        peers,
        ..EdgeConfig::default()
    };
    settings::write_stored(dir, &wire)?;
    Ok(())
}

/// One shard: the room is on one anyway. Bounds are raised to the load.
fn configuration(dir: &Path, port: u16, link: &str) -> String {
    let dir = dir.display();
    format!(
        r#"
[edge]
name = "bench"
region = "local"
data_dir = "{dir}"
drain_seconds = 0
[link]
listen = "{link}"
[signalling]
listen = "{LOCAL}:{port}"
burst = 1000
rate_per_second = 1000
[media]
address = "{LOCAL}"
shards = 1
participants_per_room_max = 100
[admin]
listen = "{LOCAL}:0"
[log]
filter = "warn"
"#
    )
}
