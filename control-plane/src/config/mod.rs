//! Configuration of `medmesh-control`: one TOML file, every value of which the
//! environment may override (`MEDMESH_HTTP__LISTEN=127.0.0.1:8080`).
//!
//! [`Config::load`] reads, types and validates; an error names the file, the
//! line and the key, or the variable. Secrets are named by file, or come with
//! the environment (`MEDMESH_DATABASE__URL`), never by flag.

mod audit;
mod check;
mod engines;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod limits;
mod objects;
mod place;
#[cfg(test)]
mod tests;
mod turn;
mod vault;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format as _, Toml};
use medmesh_base::ControlId;
use medmesh_base::telemetry::LogFormat;
use serde::Deserialize;

pub use audit::{Audit, OutsideWitness};
pub use engines::DATABASE_RULE;
pub use limits::RateLimits;
pub use objects::{Objects, S3};
pub use turn::{ExternalRelay, Turn};
pub use vault::{AwsVault, FileVault, TransitVault, Vault};

/// Prefix of the variables that override the file.
const ENV_PREFIX: &str = "MEDMESH_";
/// Between the table and the key of a variable.
const ENV_SPLIT: &str = "__";

/// Everything `medmesh-control` can be told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This node.
    pub node: Node,
    /// What all control nodes share.
    pub cluster: Cluster,
    /// QUIC to edges and control nodes.
    pub link: Link,
    /// Plain HTTP, for this machine only.
    pub http: Http,
    /// HTTPS for everyone else.
    pub https: Option<Https>,
    /// Metrics and health.
    pub admin: Admin,
    /// PostgreSQL.
    pub database: Database,
    /// The keys behind the sealed columns.
    pub vault: Vault,
    /// Redis; without it counters and live events stay in this process.
    pub redis: Option<Redis>,
    /// Where events are published; without it they stay among the control nodes.
    pub rabbitmq: Option<RabbitMq>,
    /// Where mail is handed over; without it no mail is sent.
    pub mail: Option<MailConfig>,
    /// The portals' builds.
    pub portals: Option<Portals>,
    /// Who may use the operator's routes.
    pub operator: Option<Operator>,
    /// Outside OpenID providers.
    #[serde(default)]
    pub oidc: OidcConfig,
    /// Where audit tiles and exports are kept.
    #[serde(default)]
    pub objects: Objects,
    /// The audit log.
    #[serde(default)]
    pub audit: Audit,
    /// Relays that stand by themselves.
    #[serde(default)]
    pub turn: Turn,
    /// How often somebody may ask.
    #[serde(default)]
    pub limits: RateLimits,
    /// Logging.
    #[serde(default)]
    pub log: Log,
}

/// This node.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// The small stable number it votes with.
    pub id: ControlId,
    /// Name of the cluster, part of every certificate.
    pub cluster: String,
    /// Where its log, keys and certificates live.
    pub data_dir: PathBuf,
}

/// What all control nodes share.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// 32 random bytes, the same on every node.
    pub secret_file: PathBuf,
    /// Certificate of the fleet's authority, PEM.
    pub ca_cert_file: PathBuf,
    /// Its key, PEM.
    pub ca_key_file: PathBuf,
    /// How long the certificates of machines live, seconds; they are renewed after two thirds of it.
    #[serde(default = "certificate_lifetime_seconds")]
    pub certificate_lifetime_seconds: u64,
    /// The control nodes, this one included; a node alone may leave it out.
    #[serde(default)]
    pub peers: Vec<Peer>,
    /// Whether this node comes to a cluster that is there already: it founds nothing, and waits until an
    /// operator adds it (`medmesh raft add-learner`). May stay when it has been.
    #[serde(default)]
    pub join: bool,
}

/// A control node.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its number.
    pub id: ControlId,
    /// `host:port` of its link.
    pub link: String,
    /// Base URL of its HTTP.
    pub http: String,
}

/// QUIC to edges and control nodes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// UDP address to listen on.
    pub listen: SocketAddr,
    /// `host:port` others dial.
    pub advertise: String,
}

/// Plain HTTP, for this machine only.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Loopback address to listen on.
    pub listen: SocketAddr,
    /// Base URL browsers reach the portals at.
    pub public_url: String,
    /// Further origins portals are served from; told to the edges for CORS.
    #[serde(default)]
    pub allowed_origins: Vec<String>,
    /// Whether a proxy on this machine sets `X-Forwarded-For`; its last entry then is the client.
    #[serde(default)]
    pub trust_forwarded_for: bool,
}

/// HTTPS for everyone else: HTTP/1.1 and 2 over TCP, 3 over UDP, on one port.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Https {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Certificate chain, PEM; a changed file is picked up while running.
    pub cert_file: PathBuf,
    /// Its key, PEM.
    pub key_file: PathBuf,
}

/// Metrics and health.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Address to listen on; keep it inside.
    pub listen: SocketAddr,
}

/// PostgreSQL.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `postgres://…`; may hold a password, so it never prints.
    pub url: String,
    /// The same database past a pooler that shares connections between transactions; `url` when
    /// absent. The relay of events and those who hear it need connections of their own.
    pub direct_url: Option<String>,
    /// Most connections this node opens.
    #[serde(default = "database_connections_default")]
    pub max_connections: u32,
}

/// Enough for two cores' worth of handlers; PostgreSQL's own default serves a hundred.
fn database_connections_default() -> u32 {
    16
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

/// Redis.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// `rediss://…`; `redis://` and `unix://` on this machine only. May hold a password, so it never prints.
    pub url: String,
    /// An authority the system does not know, PEM; then only what it signed is trusted.
    pub ca_file: Option<PathBuf>,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

/// A RabbitMQ that takes our events.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RabbitMq {
    /// `amqp://user:password@localhost:5672/vhost`; holds a password, so it never prints. Of this machine
    /// only: a broker elsewhere is reached through a TLS tunnel (stunnel, a service mesh).
    pub url: String,
    /// The durable topic exchange events are published to.
    #[serde(default = "events_name")]
    pub exchange: String,
    /// The durable queue that takes every event, so that none is lost before a consumer comes.
    #[serde(default = "events_name")]
    pub queue: String,
}

/// What exchange and queue are called where nothing else is said.
fn events_name() -> String {
    "medmesh.events".to_owned()
}

impl std::fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RabbitMq")
            .field("exchange", &self.exchange)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

/// A mail server that takes our mail (RFC 6409).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailConfig {
    /// Its name; its certificate must be for it.
    pub host: String,
    /// Its port: 587 with STARTTLS, 465 with TLS from the first byte.
    pub port: u16,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: MailTls,
    /// Who we are to it.
    pub username: Option<String>,
    /// Holds the password.
    pub password_file: Option<PathBuf>,
    /// The sender: `Clinic <no-reply@example.org>`.
    pub from: String,
}

/// How the connection to the mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// Upgraded before anything else; never without.
    #[default]
    Starttls,
    /// From the first byte (RFC 8314).
    Implicit,
    /// Not at all: only to this machine.
    None,
}

/// The portals' builds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Portals {
    /// Holds `home/`, `patient/`, `clinician/` and `admin/`.
    pub dir: PathBuf,
    /// Origins of the edges, as a content security policy names them; any HTTPS host when absent.
    #[serde(default)]
    pub connect_origins: Vec<String>,
}

/// Who may use the operator's routes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// Holds the bearer token.
    pub token_file: PathBuf,
}

/// Outside OpenID providers. Which ones there are is each clinic's to say.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    /// Whether a provider may be on this machine, over plain HTTP. For tests only: a clinic's admin
    /// then reaches through us what listens on loopback.
    #[serde(default)]
    pub allow_loopback: bool,
}

/// Logging.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// As `EnvFilter` reads it.
    pub filter: String,
    /// JSON or text.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            // openraft tells each of its steps at info.
            filter: "info,openraft=warn".into(),
            format: LogFormat::Json,
        }
    }
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Values that are missing, of the wrong type or against a rule; one line each,
    /// `control.toml:12: http.listen: what is wrong`.
    #[error("{}", .0.join("\n"))]
    Invalid(Vec<String>),
}

impl Config {
    /// Reads the file, lets the environment override it, and validates.
    ///
    /// # Errors
    /// When the file is away, does not parse, or a value is against a rule.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Self::from_text(path, &text)
    }

    /// As [`Config::load`], for text that is already in memory.
    ///
    /// # Errors
    /// See [`Config::load`].
    pub fn from_text(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let source = place::Source::parse(path, text)?;
        let config: Self = Figment::from(Toml::string(text))
            .merge(environment())
            .extract()
            .map_err(|error| ConfigError::Invalid(source.explain(error)))?;
        let broken = config.broken_rules();
        if broken.is_empty() {
            Ok(config)
        } else {
            let lines = broken.iter().map(|(key, why)| source.line(key, why));
            Err(ConfigError::Invalid(lines.collect()))
        }
    }

    /// The control nodes, this one included.
    #[must_use]
    pub fn control_nodes(&self) -> Vec<Peer> {
        if self.cluster.peers.is_empty() {
            vec![Peer {
                id: self.node.id,
                link: self.link.advertise.clone(),
                http: self.http.public_url.clone(),
            }]
        } else {
            self.cluster.peers.clone()
        }
    }

    /// What a portal's page may speak to besides this node (CSP `connect-src`).
    #[must_use]
    pub fn connect_origins(&self) -> Vec<String> {
        let named = self.portals.as_ref().map(|portals| &portals.connect_origins);
        if let Some(named) = named.filter(|named| !named.is_empty()) {
            return named.clone();
        }
        let mut origins = vec!["https:".to_owned()];
        if self.http.public_url.starts_with("http://") {
            // One machine: its edges speak plain HTTP on loopback too.
            origins.extend(["http://127.0.0.1:*".to_owned(), "http://localhost:*".to_owned()]);
        }
        origins
    }

    /// The host browsers reach the portals at: the domain passkeys are made for.
    #[must_use]
    pub fn host(&self) -> String {
        let uri = self.http.public_url.parse::<http::Uri>().ok();
        let host = uri.as_ref().and_then(http::Uri::host);
        host.unwrap_or_default().to_ascii_lowercase()
    }

    /// Every origin a portal may be served from.
    #[must_use]
    pub fn origins(&self) -> Vec<String> {
        let mut origins = vec![check::origin(&self.http.public_url)];
        origins.extend(self.http.allowed_origins.iter().map(|url| check::origin(url)));
        origins.dedup();
        origins
    }
}

/// `MEDMESH_TABLE__KEY`; other `MEDMESH_` variables (`MEDMESH_LOG`) are not ours.
fn environment() -> Env {
    Env::prefixed(ENV_PREFIX)
        .filter(|key| key.as_str().contains(ENV_SPLIT))
        .split(ENV_SPLIT)
}

/// A day; see [`medmesh_link::LEAF_LIFE`].
const fn certificate_lifetime_seconds() -> u64 {
    medmesh_link::LEAF_LIFE.as_secs()
}

impl Cluster {
    /// How long the certificates of machines live.
    #[must_use]
    pub const fn certificate_life(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.certificate_lifetime_seconds)
    }
}
