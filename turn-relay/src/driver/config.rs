//! What a relay is told before it starts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::stream::places::ConnectionLimits;
use super::stream::tls::{CertificateError, TlsFiles};
use super::xdp::{self, FastPathError};
use crate::credential::ShortTermCredential;
use crate::server::{Alternate, Limits, Transport};

/// Configuration of a [`crate::Relay`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// UDP addresses clients send to. Port 0 takes a free port, see
    /// [`crate::RelayHandle::listeners`]. The wildcard answers from the address that was asked.
    pub listen: Vec<SocketAddr>,
    /// TCP addresses clients connect to.
    pub streams: Vec<StreamListener>,
    /// Certificate of the TLS listeners among them.
    pub tls: Option<TlsFiles>,
    /// How many connections there may be.
    pub connections: ConnectionLimits,
    /// Where relayed transport addresses are made: one IPv4 and/or one IPv6 address.
    pub relay: Vec<RelayAddress>,
    /// Ports of relayed transport addresses. RFC 8656 §7.2 suggests 49152–65535.
    pub ports: RangeInclusive<u16>,
    /// Realm of the credentials.
    pub realm: String,
    /// Whether channels 0x5000–0x7FFF may be bound. RFC 8656 reserves them; clients written
    /// to RFC 5766 only (coturn's test client is one) pick from them.
    pub legacy_channels: bool,
    /// Worker threads; each has its own sockets and its own share of the clients.
    pub workers: usize,
    /// Kernel buffer of each listening socket, each way. The default of Linux (208 KiB) is
    /// where packets are lost first under load.
    pub socket_buffer_bytes: usize,
    /// How much anybody may take.
    pub limits: Limits,
    /// Who clients are sent to that find this relay draining or full (RFC 8489 §10); with nobody
    /// of their transport and family they are told 508.
    pub alternates: Vec<Alternate>,
    /// What Binding requests have to be made with; anybody may make them without.
    pub binding_credential: Option<ShortTermCredential>,
    /// Ethernet interfaces on which the kernel relays bound channels by itself, IPv4 and UDP on both
    /// sides (XDP). None: the sockets relay everything. Takes CAP_BPF and CAP_NET_ADMIN.
    pub fast_path: Vec<String>,
    /// Whether it relays in the driver of virtual interfaces too. Only where the other end of a veth has an XDP
    /// program as well: without, what the kernel sends there is lost.
    pub fast_path_native: bool,
}

/// A TCP address clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamListener {
    /// Where. Port 0 takes a free port, see [`crate::RelayHandle::stream_listeners`].
    pub address: SocketAddr,
    /// Whether the connection begins with TLS (RFC 8656's `turns:`), TLS 1.3 or 1.2.
    pub tls: bool,
    /// Balancers in front of it, which begin each connection with a PROXY protocol header of
    /// version 2; nobody else may connect then. Empty: clients connect by themselves, and
    /// such a header is an error.
    pub proxies: Vec<Network>,
}

impl StreamListener {
    /// A listener clients connect to by themselves.
    #[must_use]
    pub fn new(address: SocketAddr, tls: bool) -> Self {
        Self {
            address,
            tls,
            proxies: Vec::new(),
        }
    }

    /// Whether `source` is one of the balancers.
    pub(super) fn trusts(&self, source: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(source))
    }
}

/// Addresses with a common prefix; written `192.0.2.0/24`, `2001:db8::/32` or as one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// The text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address or ADDRESS/PREFIX")]
pub struct NetworkError;

impl Network {
    /// Whether `address` is in it. IPv4 in IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(most), |prefix| prefix.parse().map_err(|_| NetworkError))?;
        if prefix > most {
            return Err(NetworkError);
        }
        Ok(Self { address, prefix })
    }
}

/// An address relayed transport addresses are made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayAddress {
    /// Address the sockets are bound to; a concrete one, not the wildcard.
    pub bind: IpAddr,
    /// Address clients are told (the public one where the host stands behind 1:1 NAT).
    pub advertise: IpAddr,
}

impl RelayAddress {
    /// An address that is bound and advertised as it is.
    #[must_use]
    pub fn same(address: IpAddr) -> Self {
        Self {
            bind: address,
            advertise: address,
        }
    }
}

impl Default for RelayConfig {
    fn default() -> Self {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            listen: vec![SocketAddr::new(loopback, 3478)],
            streams: Vec::new(),
            tls: None,
            connections: ConnectionLimits::default(),
            relay: vec![RelayAddress::same(loopback)],
            ports: 49152..=65535,
            realm: "medmesh".to_owned(),
            legacy_channels: false,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            socket_buffer_bytes: 4 << 20,
            limits: Limits::default(),
            alternates: Vec::new(),
            binding_credential: None,
            fast_path: Vec::new(),
            fast_path_native: false,
        }
    }
}

/// Most worker threads: more than any host we know has cores.
pub(super) const WORKERS_MAX: usize = 256;
/// Most listening addresses; each costs every worker a socket.
pub(super) const LISTENERS_MAX: usize = 32;
/// Most alternates: a fleet has a few relays per region, and each is looked at per refusal.
pub(super) const ALTERNATES_MAX: usize = 32;
/// Longest realm: it is in every 401, which must stay small (RFC 8489 §14.9 allows 763 bytes).
pub(super) const REALM_BYTES_MAX: usize = 64;

impl RelayConfig {
    /// Most allocations there can be: what the limits allow and the ports suffice for.
    pub(super) fn allocations_max(&self) -> u64 {
        let ports = self.ports.len() * self.relay.len();
        u64::from(self.limits.allocations).min(ports as u64)
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// [`RelayError::Config`] with the field and the reason.
    pub fn validate(&self) -> Result<(), RelayError> {
        let families = |v4: bool| self.relay.iter().filter(|r| r.bind.is_ipv4() == v4).count();
        let listeners = self.listen.len() + self.streams.len();
        let problem = if listeners == 0 || listeners > LISTENERS_MAX {
            format!("listen: needs 1 to {LISTENERS_MAX} addresses over all transports")
        } else if self.streams.iter().any(|listener| listener.tls) && self.tls.is_none() {
            "tls: a TLS listener needs a certificate".to_owned()
        } else if self.connections.connections == 0 || self.connections.connections_per_source == 0 {
            "connections: a limit of 0 lets nobody in".to_owned()
        } else if self.relay.is_empty() || families(true) > 1 || families(false) > 1 {
            "relay: needs at least one address and at most one per family".to_owned()
        } else if self
            .relay
            .iter()
            .any(|r| r.bind.is_unspecified() || r.advertise.is_unspecified())
        {
            "relay: the wildcard is not an address a peer could send to".to_owned()
        } else if self
            .relay
            .iter()
            .any(|r| r.bind.is_ipv4() != r.advertise.is_ipv4())
        {
            "relay: bind and advertise are of different families".to_owned()
        } else if self.ports.is_empty() || *self.ports.start() < 1024 {
            "ports: needs a range of ports from 1024 up".to_owned()
        } else if self.realm.is_empty() || self.realm.len() > REALM_BYTES_MAX || !self.realm.is_ascii() {
            format!("realm: needs 1 to {REALM_BYTES_MAX} ASCII characters")
        } else if self.workers == 0 || self.workers > WORKERS_MAX {
            format!("workers: needs 1 to {WORKERS_MAX}")
        } else if self.alternates.len() > ALTERNATES_MAX {
            format!("alternates: {ALTERNATES_MAX} at most")
        } else if self
            .alternates
            .iter()
            .any(|other| other.domain.is_some() && other.transport != Transport::Tls)
        {
            "alternates: a domain is the name of a certificate: only with tls".to_owned()
        } else if [
            self.limits.bandwidth_per_allocation,
            self.limits.bandwidth_per_user,
            self.limits.bandwidth,
        ]
        .contains(&Some(0))
        {
            "limits: 0 bytes per second let nothing through; leave it out for no limit".to_owned()
        } else if self.fast_path.len() > xdp::INTERFACES_MAX {
            format!("xdp.interfaces: {} at most", xdp::INTERFACES_MAX)
        } else if !self.fast_path.is_empty() && self.limits.limit_bandwidth() {
            "xdp: limits of bandwidth are kept packet by packet, by the sockets: leave out either".to_owned()
        } else if self.limits.lifetime_max < Limits::LIFETIME_DEFAULT {
            "limits.lifetime_max: below the default lifetime of ten minutes".to_owned()
        } else {
            return Ok(xdp::check(&self.fast_path)?);
        };
        Err(RelayError::Config(problem))
    }
}

/// Why a relay does not start.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The configuration makes no sense: field and reason.
    #[error("{0}")]
    Config(String),
    /// A listening socket could not be opened.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// An address for relayed transport addresses is not ours.
    #[error("cannot relay on {address}")]
    RelayAddress {
        /// The address asked for.
        address: IpAddr,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The certificate cannot be used.
    #[error("cannot use the certificate")]
    Certificate(#[from] CertificateError),
    /// TLS could not be configured.
    #[error("cannot configure TLS")]
    Tls(#[from] rustls::Error),
    /// Threads, polls or randomness could not be had.
    #[error("cannot start the relay's workers")]
    Start(#[source] std::io::Error),
    /// The kernel does not relay by itself, as it was asked to.
    #[error("no fast path")]
    FastPath(#[from] FastPathError),
    /// The registry already has a relay's metrics.
    #[error("cannot register metrics")]
    Metrics(#[source] prometheus::Error),
}
