//! `edge.toml`: one typed struct, checked whole before anything starts.
//!
//! Values come from the file, then from the environment
//! (`MEDMESH_MEDIA__PORT_BASE=40000`). Secrets are only ever paths to files.

mod load;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use medmesh_base::{Region, telemetry::LogFormat};
use serde::Deserialize;

pub use load::ConfigError;

/// Everything an edge is told by its operator.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who this edge is.
    pub edge: EdgeSection,
    /// How it finds the control plane.
    #[serde(default)]
    pub control: ControlSection,
    /// QUIC: control plane and other edges.
    pub link: LinkSection,
    /// HTTP(S): browsers.
    pub signalling: SignallingSection,
    /// UDP media.
    pub media: MediaSection,
    /// The embedded relay.
    #[serde(default)]
    pub turn: TurnSection,
    /// Metrics, health, drain.
    pub admin: AdminSection,
    /// Log lines.
    #[serde(default)]
    pub log: LogSection,
}

/// `[edge]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeSection {
    /// Unique in the fleet, e.g. `fra-1`.
    pub name: String,
    /// Where it stands.
    pub region: Region,
    /// Identity and last configuration live here, mode 0700.
    pub data_dir: PathBuf,
    /// What the planner may place here.
    #[serde(default = "default_capacity")]
    pub capacity_participants: u32,
    /// How long participants may take to move to another edge when this one stops.
    #[serde(default = "default_drain_seconds")]
    pub drain_seconds: u32,
}

/// `[control]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlSection {
    /// File with the one-time join token; needed until the edge has enrolled.
    pub join_token_file: Option<PathBuf>,
    /// `host:port` of the control nodes' links; those in the join token otherwise.
    #[serde(default)]
    pub nodes: Vec<String>,
}

/// `[link]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSection {
    /// UDP address of the QUIC endpoint.
    pub listen: SocketAddr,
    /// `host:port` other edges dial; the bound address otherwise.
    pub advertise: Option<String>,
}

/// `[signalling]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignallingSection {
    /// TCP address. Without certificate files it must be loopback.
    pub listen: SocketAddr,
    /// Base URL browsers reach; derived from the bound address otherwise.
    pub public_url: Option<String>,
    /// PEM chain, leaf first. Read again when it changes.
    pub cert_file: Option<PathBuf>,
    /// PEM private key.
    pub key_file: Option<PathBuf>,
    /// Origins let in besides those the control plane pushes.
    #[serde(default)]
    pub allowed_origins: Vec<String>,
    /// Requests one address may make at once. A clinic behind one address starts many visits on the hour.
    #[serde(default = "default_burst")]
    pub burst: u32,
    /// Requests per second one address may sustain.
    #[serde(default = "default_rate")]
    pub rate_per_second: u32,
}

/// `[media]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MediaSection {
    /// The address in ICE candidates, and the one the sockets bind unless `bind` is set.
    pub address: IpAddr,
    /// Bind here instead: a private address behind a one-to-one NAT.
    pub bind: Option<IpAddr>,
    /// Shard `i` uses UDP port `port_base + i`; 0 lets the system choose.
    #[serde(default)]
    pub port_base: u16,
    /// How many shards; 0 means one per core.
    #[serde(default)]
    pub shards: u16,
    /// Most participants of one room, on this edge and others; the shard's own bound otherwise.
    pub participants_per_room_max: Option<usize>,
}

/// `[turn]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnSection {
    /// Whether this edge relays.
    #[serde(default)]
    pub enabled: bool,
    /// UDP address clients reach.
    pub listen: Option<SocketAddr>,
    /// `host:port` in the URLs handed to clients; the bound address otherwise.
    pub advertise: Option<String>,
    /// First and last relay port.
    #[serde(default = "default_port_range")]
    pub port_range: (u16, u16),
    /// TCP, for networks that let no UDP out.
    pub tcp: Option<TurnStreamSection>,
    /// TLS, for networks that let nothing out but HTTPS.
    pub tls: Option<TurnStreamSection>,
}

/// `[turn.tcp]` and `[turn.tls]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnStreamSection {
    /// TCP address clients reach.
    pub listen: SocketAddr,
    /// `host:port` in the URLs handed to clients; the bound address otherwise. Over TLS the
    /// host must be a name of the certificate.
    pub advertise: Option<String>,
    /// Balancers in front (addresses or networks), which must speak the PROXY protocol,
    /// version 2; none: clients connect by themselves.
    #[serde(default)]
    pub proxies: Vec<String>,
    /// TLS: PEM chain, leaf first; the signalling's otherwise. Read again when it changes.
    pub cert_file: Option<PathBuf>,
    /// TLS: PEM private key.
    pub key_file: Option<PathBuf>,
}

impl Default for TurnSection {
    fn default() -> Self {
        Self {
            enabled: false,
            listen: None,
            advertise: None,
            port_range: default_port_range(),
            tcp: None,
            tls: None,
        }
    }
}

/// `[admin]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminSection {
    /// TCP address of `/metrics`, `/healthz`, `/readyz`, and on loopback `POST /drain`.
    pub listen: SocketAddr,
}

/// `[log]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSection {
    /// `EnvFilter` syntax.
    #[serde(default = "default_filter")]
    pub filter: String,
    /// JSON or text.
    #[serde(default)]
    pub format: LogFormat,
}

impl Default for LogSection {
    fn default() -> Self {
        Self {
            filter: default_filter(),
            format: LogFormat::default(),
        }
    }
}

impl MediaSection {
    /// How many shards run: the configured number, or one per core.
    #[must_use]
    pub fn shard_count(&self) -> u16 {
        if self.shards > 0 {
            return self.shards;
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        u16::try_from(cores).unwrap_or(SHARDS_MAX).min(SHARDS_MAX)
    }
}

/// Most shards: flow ids carry the shard in their top eight bits.
pub const SHARDS_MAX: u16 = 256;

/// A small host's worth; operators of larger ones say so.
const fn default_capacity() -> u32 {
    200
}

/// A second peer connection is up within two; supervisors kill after thirty.
const fn default_drain_seconds() -> u32 {
    10
}

const fn default_burst() -> u32 {
    200
}

const fn default_rate() -> u32 {
    50
}

/// Above what Linux gives out by itself (32768 to 60999): relayed addresses never take a
/// port from under somebody. 4,500 of them are twenty for each participant of a full host.
const fn default_port_range() -> (u16, u16) {
    (61_000, 65_535)
}

fn default_filter() -> String {
    "info".into()
}
