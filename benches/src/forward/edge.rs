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
use medmesh_wire::fleet::EdgeConfig;
use tempfile::TempDir;

use super::clients::{Client, Clients, Load, Measured};
use super::process::Server;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// One run under `load`.
pub(crate) fn run(load: &Load, time: Duration) -> anyhow::Result<Measured> {
    // Another bench of this process may have chosen already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut edge = Edge::start()?;
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
        let answer = runtime.block_on(edge.join(&http, room, grants, offer))?;
        client.accept_answer(&answer)?;
        clients.push(client);
        clients.drive(Duration::from_millis(20))?;
    }
    for _ in 0..load.subscribers {
        let mut client = Client::subscriber(LOCAL, load)?;
        let offer = client.offer()?;
        let grants = Grants {
            publish: Vec::new(),
            subscribe: true,
        };
        let answer = runtime.block_on(edge.join(&http, room, grants, offer))?;
        client.accept_answer(&answer)?;
        clients.push(client);
        clients.drive(Duration::from_millis(20))?;
    }
    clients.measure(&edge.server, time)
}

struct Edge {
    server: Server,
    id: EdgeId,
    signalling: String,
    signing: EncodingKey,
    public: PublicJwk,
    _dir: TempDir,
}

impl Edge {
    fn start() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let id = EdgeId::generate();
        let (signing, public) = issuer()?;
        prepare(dir.path(), id, &public)?;
        let port = free_port()?;
        let signalling = format!("http://{LOCAL}:{port}");
        let config = dir.path().join("edge.toml");
        std::fs::write(&config, configuration(dir.path(), port))?;
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
            signing,
            public,
            _dir: dir,
        })
    }

    async fn join(
        &mut self,
        http: &reqwest::Client,
        room: RoomId,
        grants: Grants,
        offer: String,
    ) -> anyhow::Result<String> {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("bench".to_owned());
        let token = jsonwebtoken::encode(&header, &self.claims(room, grants)?, &self.signing)?;
        let response = http
            .post(format!("{}/v1/whip", self.signalling))
            .bearer_auth(token)
            .header("content-type", "application/sdp")
            .body(offer)
            .send()
            .await?;
        let (status, body) = (response.status(), response.text().await?);
        anyhow::ensure!(status == 201, "the edge says {status}: {body}");
        Ok(body)
    }

    fn claims(&self, room: RoomId, grants: Grants) -> anyhow::Result<MediaClaims> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)?
            .as_secs()
            .cast_signed();
        let link = format!("{LOCAL}:1");
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
            edges: vec![SignallingEdge {
                id: self.id,
                url: self.signalling.clone(),
                link: link.clone(),
            }],
            mesh: vec![MeshEdge { id: self.id, link }],
            cnf: Confirmation {
                jwk: self.public.clone(),
            },
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

/// Writes what an enrolled edge has on disk.
fn prepare(dir: &Path, id: EdgeId, public: &PublicJwk) -> anyhow::Result<()> {
    let cluster: ClusterName = "bench".parse()?;
    let now = time::OffsetDateTime::now_utc();
    let ca = ClusterCa::create(cluster, now)?;
    let files = IdentityFiles::under(dir);
    ca.issue(Role::Edge(id), now, LEAF_LIFE)?.save(&files.identity)?;
    std::fs::write(&files.ca, ca.certificate_pem())?;
    let PublicJwk { kty, crv, x, y } = public;
    let jwks = serde_json::json!({
        "keys": [{"kty": kty, "crv": crv, "x": x, "y": y, "kid": "bench", "alg": "ES256"}]
    });
    let wire = EdgeConfig {
        version: 1,
        jwks: jwks.to_string(),
        ..EdgeConfig::default()
    };
    settings::write_stored(dir, &wire)?;
    Ok(())
}

/// One shard: the room is on one anyway. Bounds are raised to the load.
fn configuration(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    format!(
        r#"
[edge]
name = "bench"
region = "local"
data_dir = "{dir}"
drain_seconds = 0
[link]
listen = "{LOCAL}:0"
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
