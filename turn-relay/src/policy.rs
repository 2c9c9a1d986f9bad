//! Which peers a client may reach through the relay.
//!
//! A relay that reaches everything is an open door into the network it stands in. The
//! default therefore is an allow-list: the addresses of the mesh's own forwarding units
//! and nothing else. The other mode, for a relay that serves arbitrary peers, refuses
//! every special-purpose address, however it is written.
//!
//! The order of judgement: what is no peer at all (port 0, multicast), `deny` rules, the host the relay
//! stands on, `allow` rules, the mode. The host itself - its addresses, loopback, the wildcard, in
//! every spelling - is out of reach whatever network an `allow` rule covers: only a rule that names one
//! address *and ports* of it reaches those, as the media sockets beside an embedded relay are named,
//! and none reaches the relay's own sockets.

mod special;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
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

    /// Whether it names some ports of one address, and so may speak of the relay's own host.
    fn is_narrow(&self) -> bool {
        self.prefix == bits(self.network) && self.ports != (0..=u16::MAX)
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
    /// The addresses of the relay's host, besides loopback and the wildcard: refused in every spelling,
    /// unless `allow` names the address and ports of it. The driver adds the addresses it listens and
    /// relays on, and those of the host's interfaces.
    pub own: Vec<IpAddr>,
    /// Sockets of the relay itself: no rule reaches them. One on the wildcard is on every address of the
    /// host. The driver adds its listeners.
    pub own_sockets: Vec<SocketAddr>,
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
        if is_group(ip) || self.denied(ip, any_port) {
            return false;
        }
        if self.is_own(ip) {
            return self.names(ip).next().is_some();
        }
        self.allow.iter().any(|rule| rule.covers_ip(ip)) || self.by_mode(ip)
    }

    /// Whether packets may go to `peer`.
    #[must_use]
    pub fn permits(&self, peer: SocketAddr) -> bool {
        let ip = peer.ip();
        if peer.port() == 0 || is_group(ip) || self.denied(ip, |rule| rule.ports.contains(&peer.port())) {
            return false;
        }
        if self.is_own(ip) {
            return !self.is_own_socket(peer) && self.names(ip).any(|rule| rule.covers(peer));
        }
        self.allow.iter().any(|rule| rule.covers(peer)) || self.by_mode(ip)
    }

    /// The rules that name ports of an address of the relay's host; none for a disguised one.
    fn names(&self, ip: IpAddr) -> impl Iterator<Item = &PeerRule> {
        let plain = embedded_ipv4(ip).is_none();
        let rules = self.allow.iter();
        rules.filter(move |rule| plain && rule.is_narrow() && rule.covers_ip(ip))
    }

    /// Whether packets to `ip` end at the relay's own host, or would if somebody on the way undid the
    /// disguise.
    fn is_own(&self, ip: IpAddr) -> bool {
        let here = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified() || self.own.contains(&ip);
        here(ip) || embedded_ipv4(ip).is_some_and(|v4| here(v4.into()))
    }

    fn is_own_socket(&self, peer: SocketAddr) -> bool {
        let mut sockets = self.own_sockets.iter();
        sockets.any(|own| own.port() == peer.port() && (own.ip().is_unspecified() || own.ip() == peer.ip()))
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
        self.mode == PeerMode::PublicOnly && !special::is_special(ip)
    }
}

/// Whether `ip` stands for many hosts, the relay's own perhaps among them: multicast and limited
/// broadcast, in every spelling. A peer is one host.
fn is_group(ip: IpAddr) -> bool {
    let group = |ip: IpAddr| ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    group(ip) || embedded_ipv4(ip).is_some_and(|v4| group(v4.into()))
}

#[cfg(test)]
mod tests;
