//! The configuration file.

mod place;
mod sections;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use figment::Figment;
use figment::providers::{Env, Format as _, Toml};
use medmesh_base::telemetry::LogFormat;
use medmesh_turn::{ConnectionLimits, PeerMode, PeerPolicy, PeerRule, RelayAddress, RelayConfig};
use serde::Deserialize;

pub(crate) use self::place::Source;
use self::sections::{AlternateSection, Certificate, ConnectionsSection, LimitsSection, Stream};
use super::secrets;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) turn: Turn,
    pub(crate) peers: Peers,
    pub(crate) admin: Admin,
    #[serde(default)]
    pub(crate) log: Log,
    #[serde(default)]
    xdp: Xdp,
    /// What all this was read from.
    #[serde(skip)]
    pub(crate) source: Source,
}

/// `[turn]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Turn {
    /// UDP addresses clients send to.
    #[serde(default)]
    listen: Vec<SocketAddr>,
    /// `[[turn.tcp]]`
    #[serde(default)]
    tcp: Vec<Stream>,
    /// `[[turn.tls]]`
    #[serde(default)]
    tls: Vec<Stream>,
    /// `[turn.certificate]`, of the TLS listeners.
    certificate: Option<Certificate>,
    /// `[[turn.alternates]]`
    #[serde(default)]
    alternates: Vec<AlternateSection>,
    /// What Binding requests have to be made with, see [`super::secrets::credential`]; anybody
    /// may make them if absent.
    binding_credential_file: Option<PathBuf>,
    /// `bind` or `bind=advertise`, at most one per family.
    relay: Vec<String>,
    /// `low-high`.
    #[serde(default = "default_ports")]
    port_range: String,
    #[serde(default = "default_realm")]
    realm: String,
    /// See [`medmesh_turn::secrets_file`].
    pub(crate) secrets_file: PathBuf,
    /// Whether clients of RFC 5766 may bind the channels that RFC 8656 reserves.
    #[serde(default)]
    legacy_channels: bool,
    /// Threads; as many as there are cores if absent.
    workers: Option<usize>,
    /// How long running allocations may live on after SIGTERM.
    #[serde(default = "default_drain_s")]
    pub(crate) drain_s: u64,
    #[serde(default)]
    limits: LimitsSection,
    #[serde(default)]
    connections: ConnectionsSection,
}

/// `[peers]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peers {
    mode: Mode,
    /// More rules, see [`medmesh_turn::peers_file`].
    pub(crate) file: Option<PathBuf>,
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    deny: Vec<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    AllowList,
    PublicOnly,
}

/// `[admin]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Admin {
    /// Where `/metrics`, `/healthz` and `/readyz` are served.
    pub(crate) listen: SocketAddr,
}

/// `[xdp]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Xdp {
    /// Interfaces on which the kernel relays channels by itself.
    interfaces: Vec<String>,
    /// In the driver of virtual interfaces too.
    #[serde(default)]
    native: bool,
}

/// `[log]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    pub(crate) filter: String,
    pub(crate) format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::Json,
        }
    }
}

/// As good as never, where there is no certificate to look at.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// Logs, the poll of each worker, scrapes, and what the runtime holds.
const FILES_OWN: u64 = 64;

fn default_ports() -> String {
    "49152-65535".to_owned()
}

fn default_realm() -> String {
    "medmesh".to_owned()
}

/// Two refreshes' worth: whoever is still here after that is in a visit.
fn default_drain_s() -> u64 {
    1200
}

impl Config {
    /// Reads the file and the environment over it.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut config = Self::parse(&text).with_context(|| format!("in {}", path.display()))?;
        config.source = Source::new(path.to_owned(), text);
        Ok(config)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        // Variables without a section (MEDMESH_LOG) are not the file's.
        let sections = Env::prefixed("MEDMESH_")
            .filter(|key| key.as_str().contains("__"))
            .split("__");
        let figment = Figment::new().merge(Toml::string(text)).merge(sections);
        match figment.extract() {
            Ok(config) => Ok(config),
            // toml alone knows the line; figment knows the key and the variable.
            Err(error) => match toml::from_str::<Self>(text) {
                Err(precise) => Err(precise.into()),
                Ok(_) => Err(error.into()),
            },
        }
    }

    /// Fits what the file leaves open to the files the process may hold; what it says
    /// and cannot have is an error.
    pub(crate) fn fit(&self, relay: &mut RelayConfig, files: u64) -> anyhow::Result<()> {
        let listeners = relay.workers * (relay.listen.len() + relay.streams.len() + 2);
        let own = FILES_OWN + listeners as u64;
        let left = files.saturating_sub(own);
        let streams = !relay.streams.is_empty();
        // One socket for an allocation (two are the exception), one for a connection; RFC 6062's
        // come out of the connections.
        let said = |given: bool, value: u64| if given { value } else { 0 };
        let allocations = said(
            self.turn.limits.allocations.is_some(),
            relay.limits.allocations.into(),
        );
        let connections = said(
            streams && self.turn.connections.total.is_some(),
            relay.connections.connections as u64,
        );
        ensure!(
            allocations + connections <= left,
            "turn.limits.allocations and turn.connections.total: {allocations} allocations and \
             {connections} connections need {} open files, the limit is {files}: raise it (LimitNOFILE=) \
             or ask for less",
            allocations + connections + own
        );
        let mut left = left - allocations - connections;
        if streams && connections == 0 {
            // As many connections as allocations, or what those leave.
            let share = if allocations == 0 { left / 2 } else { left };
            let most = share.min(relay.connections.connections as u64);
            relay.connections.connections = usize::try_from(most).unwrap_or(usize::MAX);
            left -= most;
        }
        if allocations == 0 && u64::from(relay.limits.allocations) > left {
            relay.limits.allocations = u32::try_from(left).unwrap_or(u32::MAX);
            tracing::warn!(
                allocations = left,
                files,
                "fewer allocations than the default: the limit of open files allows no more"
            );
        }
        Ok(())
    }

    /// How often the certificate's files are looked at.
    pub(crate) fn certificate_look(&self) -> anyhow::Result<Duration> {
        let certificate = self.turn.certificate.as_ref();
        certificate.map_or(Ok(NEVER), Certificate::look)
    }

    /// What the relay is told.
    pub(crate) fn relay(&self) -> anyhow::Result<RelayConfig> {
        let defaults = RelayConfig::default();
        let relay: anyhow::Result<Vec<_>> = self.turn.relay.iter().map(|text| relay_address(text)).collect();
        let tcp = self.turn.tcp.iter().enumerate();
        let tcp = tcp.map(|(index, stream)| stream.listener(index, false));
        let tls = self.turn.tls.iter().enumerate();
        let tls = tls.map(|(index, stream)| stream.listener(index, true));
        let streams: anyhow::Result<Vec<_>> = tcp.chain(tls).collect();
        let connections = &self.turn.connections;
        let binding_credential = self
            .turn
            .binding_credential_file
            .as_deref()
            .map(secrets::credential);
        let d = ConnectionLimits::default();
        Ok(RelayConfig {
            listen: self.turn.listen.clone(),
            streams: streams?,
            tls: self.turn.certificate.as_ref().map(Certificate::files),
            alternates: self
                .turn
                .alternates
                .iter()
                .map(AlternateSection::alternate)
                .collect(),
            binding_credential: binding_credential.transpose()?,
            connections: ConnectionLimits {
                connections: connections.total.unwrap_or(d.connections),
                connections_per_source: connections.per_source.unwrap_or(d.connections_per_source),
            },
            relay: relay?,
            ports: ports(&self.turn.port_range)?,
            realm: self.turn.realm.clone(),
            workers: self.turn.workers.unwrap_or(defaults.workers),
            limits: self.turn.connections.limits(&self.turn.limits.limits()),
            legacy_channels: self.turn.legacy_channels,
            fast_path: self.xdp.interfaces.clone(),
            fast_path_native: self.xdp.native,
            ..defaults
        })
    }
}

fn relay_address(text: &str) -> anyhow::Result<RelayAddress> {
    let (bind, advertise) = text.split_once('=').unwrap_or((text, text));
    let parse = |ip: &str| {
        ip.parse::<IpAddr>()
            .with_context(|| format!("turn.relay: {text:?} is no address"))
    };
    Ok(RelayAddress {
        bind: parse(bind)?,
        advertise: parse(advertise)?,
    })
}

fn ports(text: &str) -> anyhow::Result<std::ops::RangeInclusive<u16>> {
    let error = || format!("turn.port_range: {text:?} is not low-high");
    let (low, high) = text.split_once('-').with_context(error)?;
    Ok(low.parse().with_context(error)?..=high.parse().with_context(error)?)
}

impl Config {
    /// What may be reached: never this process' own metrics, whatever the rules say.
    pub(crate) fn policy(&self) -> anyhow::Result<PeerPolicy> {
        let mut policy = self.peers.policy()?;
        policy.own_sockets.push(self.admin.listen);
        Ok(policy)
    }
}

impl Peers {
    fn policy(&self) -> anyhow::Result<PeerPolicy> {
        let rules = |name: &'static str, texts: &[String]| -> anyhow::Result<Vec<PeerRule>> {
            let texts = texts.iter().enumerate();
            texts
                .map(|(index, text)| text.parse().with_context(|| format!("{name}[{index}]")))
                .collect()
        };
        Ok(PeerPolicy {
            mode: match self.mode {
                Mode::AllowList => PeerMode::AllowListed,
                Mode::PublicOnly => PeerMode::PublicOnly,
            },
            allow: rules("peers.allow", &self.allow)?,
            deny: rules("peers.deny", &self.deny)?,
            ..PeerPolicy::default()
        })
    }
}

#[cfg(test)]
mod tests;
