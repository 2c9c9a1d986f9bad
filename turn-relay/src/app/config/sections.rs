//! The parts of `[turn]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use medmesh_turn::{Alternate, Limits, Network, StreamListener, TlsFiles, Transport};
use serde::Deserialize;

/// `[[turn.tcp]]` and `[[turn.tls]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stream {
    /// Address clients, or the balancer, connect to.
    listen: SocketAddr,
    /// Whether a balancer says whose each connection is (PROXY protocol, version 2).
    #[serde(default)]
    proxy_protocol: bool,
    /// The balancers: addresses or networks.
    #[serde(default)]
    proxies: Vec<String>,
}

impl Stream {
    pub(super) fn listener(&self, index: usize, tls: bool) -> anyhow::Result<StreamListener> {
        let section = format!("turn.{}[{index}]", if tls { "tls" } else { "tcp" });
        ensure!(
            self.proxy_protocol != self.proxies.is_empty(),
            "{section}: {}: proxy_protocol and proxies go together: whoever may say whose a \
             connection is has to be named",
            self.listen
        );
        let proxies: anyhow::Result<Vec<Network>> = self
            .proxies
            .iter()
            .enumerate()
            .map(|(number, text)| {
                text.parse()
                    .with_context(|| format!("{section}.proxies[{number}]: {text:?}"))
            })
            .collect();
        Ok(StreamListener {
            proxies: proxies?,
            ..StreamListener::new(self.listen, tls)
        })
    }
}

/// `[turn.certificate]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Certificate {
    /// PEM chain, leaf first.
    cert_file: PathBuf,
    /// PEM private key.
    key_file: PathBuf,
    /// How often the files are looked at, in seconds.
    #[serde(default = "default_look_s")]
    look_s: u64,
}

/// ACME clients renew weeks ahead.
fn default_look_s() -> u64 {
    30
}

impl Certificate {
    pub(super) fn look(&self) -> anyhow::Result<Duration> {
        ensure!(self.look_s > 0, "turn.certificate.look_s: 0 is no interval");
        Ok(Duration::from_secs(self.look_s))
    }

    pub(super) fn files(&self) -> TlsFiles {
        TlsFiles {
            cert: self.cert_file.clone(),
            key: self.key_file.clone(),
        }
    }
}

/// `[[turn.alternates]]`: a relay clients are sent to when this one drains or is full.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AlternateSection {
    /// Where it listens.
    address: SocketAddr,
    /// Clients of which transport it takes.
    transport: AlternateTransport,
    /// The name its certificate is for, with `tls`.
    domain: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum AlternateTransport {
    Udp,
    Tcp,
    Tls,
}

impl AlternateSection {
    pub(super) fn alternate(&self) -> Alternate {
        Alternate {
            address: self.address,
            transport: match self.transport {
                AlternateTransport::Udp => Transport::Udp,
                AlternateTransport::Tcp => Transport::Tcp,
                AlternateTransport::Tls => Transport::Tls,
            },
            domain: self.domain.clone(),
        }
    }
}

/// `[turn.connections]`: what is absent is as [`ConnectionLimits::default`] has it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ConnectionsSection {
    pub(super) total: Option<usize>,
    pub(super) per_source: Option<usize>,
    without_allocation: Option<u32>,
    without_allocation_per_source: Option<u32>,
    without_allocation_s: Option<u64>,
}

impl ConnectionsSection {
    pub(super) fn limits(&self, limits: &Limits) -> Limits {
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

/// `[turn.limits]`: what is absent is as [`Limits::default`] has it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsSection {
    allocations_per_user: Option<u32>,
    pub(super) allocations: Option<u32>,
    permissions_per_allocation: Option<u32>,
    channels_per_allocation: Option<u32>,
    /// Payload of one allocation, both ways together; unlimited if absent, as the next two.
    bytes_per_second_per_allocation: Option<u64>,
    /// Of all allocations of one user.
    bytes_per_second_per_user: Option<u64>,
    /// Of all.
    bytes_per_second: Option<u64>,
    lifetime_max_s: Option<u64>,
    unauthenticated_per_second: Option<u32>,
    unauthenticated_burst: Option<u32>,
}

impl LimitsSection {
    pub(super) fn limits(&self) -> Limits {
        let d = Limits::default();
        Limits {
            allocations_per_user: self.allocations_per_user.unwrap_or(d.allocations_per_user),
            allocations: self.allocations.unwrap_or(d.allocations),
            permissions_per_allocation: self
                .permissions_per_allocation
                .unwrap_or(d.permissions_per_allocation),
            channels_per_allocation: self.channels_per_allocation.unwrap_or(d.channels_per_allocation),
            bandwidth_per_allocation: self.bytes_per_second_per_allocation,
            bandwidth_per_user: self.bytes_per_second_per_user,
            bandwidth: self.bytes_per_second,
            lifetime_max: self.lifetime_max_s.map_or(d.lifetime_max, Duration::from_secs),
            unauthenticated_per_second: self
                .unauthenticated_per_second
                .unwrap_or(d.unauthenticated_per_second),
            unauthenticated_burst: self.unauthenticated_burst.unwrap_or(d.unauthenticated_burst),
            ..d
        }
    }
}
