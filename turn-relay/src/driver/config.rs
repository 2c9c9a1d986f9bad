//! What a relay is told before it starts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use crate::server::Limits;

/// Configuration of a [`crate::Relay`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// UDP addresses clients send to. Port 0 takes a free port, see
    /// [`crate::RelayHandle::listeners`]. On hosts with several addresses name each
    /// instead of the wildcard: an answer must leave from the address that was asked.
    pub listen: Vec<SocketAddr>,
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
            relay: vec![RelayAddress::same(loopback)],
            ports: 49152..=65535,
            realm: "medmesh".to_owned(),
            legacy_channels: false,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            socket_buffer_bytes: 4 << 20,
            limits: Limits::default(),
        }
    }
}

/// Most worker threads: more than any host we know has cores.
pub(super) const WORKERS_MAX: usize = 256;
/// Most listening addresses; each costs every worker a socket.
pub(super) const LISTENERS_MAX: usize = 16;
/// Longest realm: it is in every 401, which must stay small (RFC 8489 §14.9 allows 763 bytes).
pub(super) const REALM_BYTES_MAX: usize = 64;

impl RelayConfig {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// [`RelayError::Config`] with the field and the reason.
    pub fn validate(&self) -> Result<(), RelayError> {
        let families = |v4: bool| self.relay.iter().filter(|r| r.bind.is_ipv4() == v4).count();
        let problem = if self.listen.is_empty() || self.listen.len() > LISTENERS_MAX {
            format!("listen: needs 1 to {LISTENERS_MAX} addresses")
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
        } else if self.limits.lifetime_max < Limits::LIFETIME_DEFAULT {
            "limits.lifetime_max: below the default lifetime of ten minutes".to_owned()
        } else {
            return Ok(());
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
    /// Threads, polls or randomness could not be had.
    #[error("cannot start the relay's workers")]
    Start(#[source] std::io::Error),
    /// The registry already has a relay's metrics.
    #[error("cannot register metrics")]
    Metrics(#[source] prometheus::Error),
}
