//! Which peers a client may reach through the relay.
//!
//! A relay that reaches everything is an open door into the network it stands in. The
//! default therefore is an allow-list: the addresses of the mesh's own forwarding units
//! and nothing else. The other mode, for a relay that serves arbitrary peers, refuses
//! every special-purpose address, however it is written.
//!
//! The order of judgement: `deny` rules, then `allow` rules, then the relay's own
//! addresses (refused), then the mode.

mod special;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

pub use special::embedded_ipv4;

/// What happens to a peer that no rule names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PeerMode {
    /// Refused.
    #[default]
    AllowListed,
    /// Allowed, unless it is special-purpose (IANA registries, RFC 6890), multicast, or an
    /// IPv4 address dressed as IPv6.
    PublicOnly,
}

/// Addresses, and the ports on them, that a rule speaks of.
///
/// As text: `10.0.0.0/8`, `192.0.2.7`, `192.0.2.7:10000-10999`, `[2001:db8::1]:4000`, `2001:db8::/64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRule {
    network: IpAddr,
    prefix: u8,
    ports: RangeInclusive<u16>,
}

/// A rule that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not an address, network or address:port-range: {0:?}")]
pub struct PeerRuleError(String);

impl PeerRule {
    /// One address, every port.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        Self {
            network: address,
            prefix: bits(address),
            ports: 0..=u16::MAX,
        }
    }

    /// One address and some of its ports.
    #[must_use]
    pub fn ports(address: IpAddr, ports: RangeInclusive<u16>) -> Self {
        Self {
            network: address,
            prefix: bits(address),
            ports,
        }
    }

    fn covers_ip(&self, ip: IpAddr) -> bool {
        match (self.network, ip) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                special::prefix_eq(net.to_bits().into(), ip.to_bits().into(), self.prefix, 32)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                special::prefix_eq(net.to_bits(), ip.to_bits(), self.prefix, 128)
            }
            _ => false,
        }
    }

    fn covers(&self, peer: SocketAddr) -> bool {
        self.covers_ip(peer.ip()) && self.ports.contains(&peer.port())
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl FromStr for PeerRule {
    type Err = PeerRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || PeerRuleError(text.to_owned());
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::address(address));
        }
        if let Some((network, prefix)) = text.split_once('/') {
            let network: IpAddr = network.parse().map_err(|_| error())?;
            let prefix: u8 = prefix.parse().map_err(|_| error())?;
            if prefix > bits(network) {
                return Err(error());
            }
            return Ok(Self {
                network,
                prefix,
                ports: 0..=u16::MAX,
            });
        }
        let (host, ports) = text.rsplit_once(':').ok_or_else(error)?;
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        let (low, high) = ports.split_once('-').unwrap_or((ports, ports));
        let low = low.parse().map_err(|_| error())?;
        let high = high.parse().map_err(|_| error())?;
        if low > high {
            return Err(error());
        }
        Ok(Self::ports(host.parse().map_err(|_| error())?, low..=high))
    }
}

impl fmt::Display for PeerRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix != bits(self.network) {
            return write!(f, "{}/{}", self.network, self.prefix);
        }
        if self.ports == (0..=u16::MAX) {
            return write!(f, "{}", self.network);
        }
        let (low, high) = (self.ports.start(), self.ports.end());
        match self.network {
            IpAddr::V4(ip) => write!(f, "{ip}:{low}-{high}"),
            IpAddr::V6(ip) => write!(f, "[{ip}]:{low}-{high}"),
        }
    }
}

/// Which peers may be reached. The default reaches nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerPolicy {
    /// What happens to a peer that no rule names.
    pub mode: PeerMode,
    /// Peers that may be reached. Rules are literal: an IPv4 rule never matches an IPv6
    /// spelling of the same address.
    pub allow: Vec<PeerRule>,
    /// Peers that may never be reached, however they are written; stronger than `allow`.
    pub deny: Vec<PeerRule>,
    /// The relay's own addresses: refused unless `allow` names them. The driver adds the
    /// addresses it listens and relays on.
    pub own: Vec<IpAddr>,
}

impl PeerPolicy {
    /// Exactly these peers.
    #[must_use]
    pub fn allow_list(allow: Vec<PeerRule>) -> Self {
        Self {
            allow,
            ..Self::default()
        }
    }

    /// Every peer with a public address.
    #[must_use]
    pub fn public_only() -> Self {
        Self {
            mode: PeerMode::PublicOnly,
            ..Self::default()
        }
    }

    /// Whether a permission for `ip` may exist: some port of it may be reached.
    #[must_use]
    pub fn permits_ip(&self, ip: IpAddr) -> bool {
        let any_port = |rule: &PeerRule| rule.ports == (0..=u16::MAX);
        if self.denied(ip, any_port) {
            return false;
        }
        self.allow.iter().any(|rule| rule.covers_ip(ip)) || self.by_mode(ip)
    }

    /// Whether packets may go to `peer`.
    #[must_use]
    pub fn permits(&self, peer: SocketAddr) -> bool {
        let ip = peer.ip();
        if peer.port() == 0 || self.denied(ip, |rule| rule.ports.contains(&peer.port())) {
            return false;
        }
        self.allow.iter().any(|rule| rule.covers(peer)) || self.by_mode(ip)
    }

    /// A deny rule speaks of an address in every spelling of it.
    fn denied(&self, ip: IpAddr, ports: impl Fn(&PeerRule) -> bool) -> bool {
        let inner = embedded_ipv4(ip);
        self.deny
            .iter()
            .filter(|rule| ports(rule))
            .any(|rule| rule.covers_ip(ip) || inner.is_some_and(|v4| rule.covers_ip(v4.into())))
    }

    fn by_mode(&self, ip: IpAddr) -> bool {
        self.mode == PeerMode::PublicOnly && !special::is_special(ip) && !self.own.contains(&ip)
    }
}

#[cfg(test)]
mod tests;
