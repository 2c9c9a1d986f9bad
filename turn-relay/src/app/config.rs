//! The configuration file.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use figment::Figment;
use figment::providers::{Env, Format as _, Toml};
use medmesh_base::telemetry::LogFormat;
use medmesh_turn::{
    ConnectionLimits, Limits, Network, PeerMode, PeerPolicy, PeerRule, RelayAddress, RelayConfig,
    StreamListener, TlsFiles,
};
use serde::Deserialize;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) turn: Turn,
    pub(crate) peers: Peers,
    pub(crate) admin: Admin,
    #[serde(default)]
    pub(crate) log: Log,
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
    /// `bind` or `bind=advertise`, at most one per family.
    relay: Vec<String>,
    /// `low-high`.
    #[serde(default = "default_ports")]
    port_range: String,
    #[serde(default = "default_realm")]
    realm: String,
    /// See [`super::secrets`].
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

/// `[[turn.tcp]]` and `[[turn.tls]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stream {
    /// Address clients, or the balancer, connect to.
    listen: SocketAddr,
    /// Whether a balancer says whose each connection is (PROXY protocol, version 2).
    #[serde(default)]
    proxy_protocol: bool,
    /// The balancers: addresses or networks.
    #[serde(default)]
    proxies: Vec<String>,
}

/// `[turn.certificate]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Certificate {
    /// PEM chain, leaf first.
    cert_file: PathBuf,
    /// PEM private key.
    key_file: PathBuf,
}

/// `[turn.connections]`: what is absent is as [`ConnectionLimits::default`] has it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ConnectionsSection {
    total: Option<usize>,
    per_source: Option<usize>,
    without_allocation: Option<u32>,
    without_allocation_per_source: Option<u32>,
    without_allocation_s: Option<u64>,
}

/// `[turn.limits]`: what is absent is as [`Limits::default`] has it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LimitsSection {
    allocations_per_user: Option<u32>,
    allocations: Option<u32>,
    permissions_per_allocation: Option<u32>,
    channels_per_allocation: Option<u32>,
    lifetime_max_s: Option<u64>,
    unauthenticated_per_second: Option<u32>,
    unauthenticated_burst: Option<u32>,
}

/// `[peers]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peers {
    mode: Mode,
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
    /// Where `/metrics` and `/healthz` are served.
    pub(crate) listen: SocketAddr,
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
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
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

    /// What the relay is told.
    pub(crate) fn relay(&self) -> anyhow::Result<RelayConfig> {
        let defaults = RelayConfig::default();
        let relay: anyhow::Result<Vec<_>> = self.turn.relay.iter().map(|text| relay_address(text)).collect();
        let tcp = self.turn.tcp.iter().map(|stream| stream.listener(false));
        let tls = self.turn.tls.iter().map(|stream| stream.listener(true));
        let streams: anyhow::Result<Vec<_>> = tcp.chain(tls).collect();
        let connections = &self.turn.connections;
        let d = ConnectionLimits::default();
        Ok(RelayConfig {
            listen: self.turn.listen.clone(),
            streams: streams?,
            tls: self.turn.certificate.as_ref().map(Certificate::files),
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
            ..defaults
        })
    }
}

impl Stream {
    fn listener(&self, tls: bool) -> anyhow::Result<StreamListener> {
        let section = if tls { "turn.tls" } else { "turn.tcp" };
        ensure!(
            self.proxy_protocol != self.proxies.is_empty(),
            "{section}: {}: proxy_protocol and proxies go together: whoever may say whose a \
             connection is has to be named",
            self.listen
        );
        let proxies: anyhow::Result<Vec<Network>> = self
            .proxies
            .iter()
            .map(|text| {
                text.parse()
                    .with_context(|| format!("{section}.proxies: {text:?}"))
            })
            .collect();
        Ok(StreamListener {
            proxies: proxies?,
            ..StreamListener::new(self.listen, tls)
        })
    }
}

impl Certificate {
    fn files(&self) -> TlsFiles {
        TlsFiles {
            cert: self.cert_file.clone(),
            key: self.key_file.clone(),
        }
    }
}

impl ConnectionsSection {
    fn limits(&self, limits: &Limits) -> Limits {
        Limits {
            strangers: self.without_allocation.unwrap_or(limits.strangers),
            strangers_per_source: self
                .without_allocation_per_source
                .unwrap_or(limits.strangers_per_source),
            stranger_max: self
                .without_allocation_s
                .map_or(limits.stranger_max, Duration::from_secs),
            ..limits.clone()
        }
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

impl LimitsSection {
    fn limits(&self) -> Limits {
        let d = Limits::default();
        Limits {
            allocations_per_user: self.allocations_per_user.unwrap_or(d.allocations_per_user),
            allocations: self.allocations.unwrap_or(d.allocations),
            permissions_per_allocation: self
                .permissions_per_allocation
                .unwrap_or(d.permissions_per_allocation),
            channels_per_allocation: self.channels_per_allocation.unwrap_or(d.channels_per_allocation),
            lifetime_max: self.lifetime_max_s.map_or(d.lifetime_max, Duration::from_secs),
            unauthenticated_per_second: self
                .unauthenticated_per_second
                .unwrap_or(d.unauthenticated_per_second),
            unauthenticated_burst: self.unauthenticated_burst.unwrap_or(d.unauthenticated_burst),
            ..d
        }
    }
}

impl Peers {
    /// What may be reached.
    pub(crate) fn policy(&self) -> anyhow::Result<PeerPolicy> {
        let rules = |name: &'static str, texts: &[String]| -> anyhow::Result<Vec<PeerRule>> {
            texts.iter().map(|text| text.parse().context(name)).collect()
        };
        Ok(PeerPolicy {
            mode: match self.mode {
                Mode::AllowList => PeerMode::AllowListed,
                Mode::PublicOnly => PeerMode::PublicOnly,
            },
            allow: rules("peers.allow", &self.allow)?,
            deny: rules("peers.deny", &self.deny)?,
            own: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[turn]
listen = ["192.0.2.1:3478"]
relay = ["10.0.0.1=192.0.2.1"]
secrets_file = "/etc/medmesh/turn.secrets"
[turn.limits]
allocations_per_user = 3
[peers]
mode = "allow-list"
allow = ["192.0.2.9:10000-10007"]
[admin]
listen = "127.0.0.1:9478"
"#;

    #[test]
    fn a_short_file_is_enough() {
        let config = Config::parse(GOOD).unwrap();
        let relay = config.relay().unwrap();
        relay.validate().unwrap();
        assert_eq!(relay.limits.allocations_per_user, 3);
        assert_eq!(relay.relay[0].advertise.to_string(), "192.0.2.1");
        assert!(
            config
                .peers
                .policy()
                .unwrap()
                .permits("192.0.2.9:10003".parse().unwrap())
        );
    }

    #[test]
    fn the_example_is_valid_and_says_the_defaults() {
        let config = Config::parse(include_str!("../../turn.example.toml")).unwrap();
        let relay = config.relay().unwrap();
        relay.validate().unwrap();
        config.peers.policy().unwrap();
        assert_eq!(relay.limits, Limits::default());
        assert_eq!(relay.ports, RelayConfig::default().ports);
        assert_eq!(relay.connections, ConnectionLimits::default());
        assert_eq!(config.turn.drain_s, default_drain_s());
    }

    #[test]
    fn limits_fit_the_files_there_are() {
        let config = Config::parse(GOOD).unwrap();
        let mut relay = config.relay().unwrap();
        config.fit(&mut relay, 1024).unwrap();
        assert!(
            (900..1024).contains(&relay.limits.allocations),
            "{}",
            relay.limits.allocations
        );
        let mut relay = config.relay().unwrap();
        config.fit(&mut relay, 1 << 20).unwrap();
        assert_eq!(relay.limits, config.relay().unwrap().limits);

        let asks =
            Config::parse(&GOOD.replace("[turn.limits]", "[turn.limits]\nallocations = 20000")).unwrap();
        let error = asks
            .fit(&mut asks.relay().unwrap(), 1024)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("turn.limits.allocations") && error.contains("1024"),
            "{error}"
        );

        let streams = format!("{GOOD}\n[[turn.tcp]]\nlisten = \"192.0.2.1:443\"\n");
        let config = Config::parse(&streams).unwrap();
        let mut relay = config.relay().unwrap();
        config.fit(&mut relay, 20_000).unwrap();
        let files = relay.connections.connections + relay.limits.allocations as usize;
        assert!((19_000..20_000).contains(&files), "{files}");
    }

    #[test]
    fn balancers_are_named() {
        let with = |lines: &str| {
            let text = format!("{GOOD}\n[[turn.tls]]\nlisten = \"192.0.2.1:443\"\n{lines}");
            Config::parse(&text)
                .and_then(|config| config.relay())
                .map_err(|error| format!("{error:#}"))
        };
        let named = with("proxy_protocol = true\nproxies = [\"10.0.0.0/8\"]").unwrap();
        assert_eq!(named.streams[0].proxies, ["10.0.0.0/8".parse().unwrap()]);
        named.validate().unwrap_err();
        let error = with("proxy_protocol = true").unwrap_err();
        assert!(error.contains("192.0.2.1:443: proxy_protocol"), "{error}");
        with("proxies = [\"10.0.0.0/8\"]").unwrap_err();
        let error = with("proxy_protocol = true\nproxies = [\"10.0.0.0/33\"]").unwrap_err();
        assert!(error.contains("turn.tls.proxies"), "{error}");
        let error = with("proxy_protocol = 1").unwrap_err();
        assert!(error.contains("line 16"), "{error}");
    }

    #[test]
    fn errors_say_where() {
        for (from, to, said) in [
            ("allocations_per_user = 3", "allocations_per_usr = 3", "line 7"),
            (
                "listen = [\"192.0.2.1:3478\"]",
                "listen = [\"192.0.2.1\"]",
                "line 3",
            ),
            ("mode = \"allow-list\"", "mode = \"allow\"", "line 9"),
        ] {
            let error = format!("{:#}", Config::parse(&GOOD.replace(from, to)).unwrap_err());
            assert!(error.contains(said), "{error}");
        }
        let config = Config::parse(&GOOD.replace("10.0.0.1=", "10.0.0=")).unwrap();
        assert!(format!("{:#}", config.relay().unwrap_err()).contains("turn.relay"));
        let config = Config::parse(&GOOD.replace("10000-10007", "2-1")).unwrap();
        assert!(format!("{:#}", config.peers.policy().unwrap_err()).contains("peers.allow"));
    }
}
