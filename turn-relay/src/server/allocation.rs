//! One allocation and what it may reach.

use std::net::{IpAddr, SocketAddr};
use std::ops::{AddAssign, Sub};
use std::sync::Arc;
use std::time::Duration;

use super::bandwidth::Meter;
use super::mobility::Mobility;
use super::reservation::ReservationToken;
use super::{Client, ConnectionId, Limits, Protocol, Shortcut};
use crate::codec::{ChannelNumber, Family, IntegrityKind, TransactionId};
use crate::credential::{IntegrityKey, Username};

/// How many permissions and channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) permissions: u32,
    pub(super) channels: u32,
}

impl AddAssign for Held {
    fn add_assign(&mut self, other: Self) {
        self.permissions += other.permissions;
        self.channels += other.channels;
    }
}

impl Sub for Held {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            permissions: self.permissions - other.permissions,
            channels: self.channels - other.channels,
        }
    }
}

/// A relayed transport address that an allocation has, or waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relay {
    /// Never asked for, refused, or given back.
    None,
    /// The driver has been asked.
    Opening,
    /// Peers reach the client here.
    Open(SocketAddr),
}

/// The relayed transport addresses: IPv4, IPv6 (RFC 8656 §7.2 allows both at once).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Relays([Relay; 2]);

impl Relays {
    pub(super) const NONE: Self = Self([Relay::None; 2]);

    pub(super) fn get(&self, family: Family) -> Relay {
        self.0[family as usize]
    }

    pub(super) fn set(&mut self, family: Family, relay: Relay) {
        self.0[family as usize] = relay;
    }

    /// The addresses peers can send to.
    pub(super) fn open(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.into_iter().filter_map(|relay| match relay {
            Relay::Open(address) => Some(address),
            Relay::None | Relay::Opening => None,
        })
    }

    pub(super) fn is_open(&self, family: Family) -> bool {
        matches!(self.get(family), Relay::Open(_))
    }

    pub(super) fn is_opening(&self) -> bool {
        self.0.contains(&Relay::Opening)
    }

    /// The families there is a socket of, or may be.
    pub(super) fn families(self) -> impl Iterator<Item = Family> {
        [Family::V4, Family::V6]
            .into_iter()
            .filter(move |&family| self.get(family) != Relay::None)
    }
}

/// One allocation (RFC 8656 §3.2).
#[derive(Clone, Debug)]
pub(super) struct Allocation {
    pub(super) client: Client,
    /// Of the request that made it: a retransmission gets the same answer again.
    pub(super) transaction: TransactionId,
    pub(super) fingerprint: bool,
    pub(super) integrity: IntegrityKind,
    pub(super) username: Box<str>,
    pub(super) key: IntegrityKey,
    pub(super) created: Duration,
    pub(super) expires: Duration,
    /// Lifetime told in the first answer.
    pub(super) granted: Duration,
    pub(super) relays: Relays,
    /// What is spoken with peers.
    pub(super) protocol: Protocol,
    /// Told in the first answer: the port after its own is held for whoever brings this.
    pub(super) reservation: Option<ReservationToken>,
    /// Whether its client may come from elsewhere (RFC 8016).
    pub(super) mobility: Option<Mobility>,
    /// How full its bucket of bandwidth is, and that of its user.
    pub(super) sent: u64,
    pub(super) user_meter: Arc<Meter>,
    /// When an ICMP error was last passed on.
    pub(super) reported: Duration,
    /// TCP connections with peers: made, or being made.
    pub(super) connections: Vec<ConnectionId>,
    /// The second family was asked for and could not be had: error to report with it.
    pub(super) family_error: Option<(Family, u16)>,
    /// When the table looks at it next.
    pub(super) timer: Duration,
    pub(super) peers: Peers,
    /// What the driver relays without asking, as it was last told.
    pub(super) shortcuts: Vec<Shortcut>,
}

impl Allocation {
    /// Whom quotas count it for.
    pub(super) fn user(&self) -> &str {
        Username::parse(&self.username).map_or("", |name| name.opaque)
    }

    /// When something of it expires next.
    pub(super) fn next_expiry(&self) -> Duration {
        self.peers
            .next_expiry()
            .map_or(self.expires, |peers| peers.min(self.expires))
    }
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    number: ChannelNumber,
    peer: SocketAddr,
    expires: Duration,
}

/// Why a channel cannot be bound (RFC 8656 §12.2): 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChannelConflict;

/// Permissions and channels. Sorted vectors: a handful of entries, found in a cache line or
/// two, and an idle allocation pays for none.
#[derive(Clone, Debug, Default)]
pub(super) struct Peers {
    permissions: Vec<(IpAddr, Duration)>,
    /// By number.
    channels: Vec<Channel>,
    /// Peer to number, by peer.
    by_peer: Vec<(SocketAddr, ChannelNumber)>,
    /// Peers that indications go to, whose permissions are there; sorted.
    correspondents: Vec<SocketAddr>,
}

impl Peers {
    pub(super) fn held(&self) -> Held {
        // Both are bounded by limits that are themselves u32.
        let count = |length| u32::try_from(length).unwrap_or(u32::MAX);
        Held {
            permissions: count(self.permissions.len()),
            channels: count(self.channels.len()),
        }
    }

    pub(super) fn next_expiry(&self) -> Option<Duration> {
        let permissions = self.permissions.iter().map(|(_, expires)| *expires);
        permissions
            .chain(self.channels.iter().map(|channel| channel.expires))
            .min()
    }

    /// Whether a permission for `ip` is alive (RFC 8656 §9; ports do not matter).
    #[inline]
    pub(super) fn permitted(&self, ip: IpAddr, now: Duration) -> bool {
        self.permissions
            .binary_search_by_key(&ip, |(ip, _)| *ip)
            .is_ok_and(|at| self.permissions[at].1 > now)
    }

    /// The peer a live channel is bound to.
    #[inline]
    pub(super) fn channel_peer(&self, number: ChannelNumber, now: Duration) -> Option<SocketAddr> {
        let at = self
            .channels
            .binary_search_by_key(&number, |channel| channel.number)
            .ok()?;
        let channel = &self.channels[at];
        (channel.expires > now).then_some(channel.peer)
    }

    /// The live channel bound to a peer.
    #[inline]
    pub(super) fn peer_channel(&self, peer: SocketAddr, now: Duration) -> Option<ChannelNumber> {
        let at = self.by_peer.binary_search_by_key(&peer, |(peer, _)| *peer).ok()?;
        let number = self.by_peer[at].1;
        self.channel_peer(number, now).map(|_| number)
    }

    pub(super) fn has_permission(&self, ip: IpAddr) -> bool {
        self.permissions.binary_search_by_key(&ip, |(ip, _)| *ip).is_ok()
    }

    /// The channels whose peers are permitted, and when the first of both ends.
    pub(super) fn bound_until(&self) -> impl Iterator<Item = (ChannelNumber, SocketAddr, Duration)> {
        self.channels.iter().filter_map(|channel| {
            let ip = channel.peer.ip();
            let at = self.permissions.binary_search_by_key(&ip, |(ip, _)| *ip).ok()?;
            let until = channel.expires.min(self.permissions[at].1);
            Some((channel.number, channel.peer, until))
        })
    }

    /// The peers without channels that indications go to, and when their permissions end.
    pub(super) fn corresponding_until(&self) -> impl Iterator<Item = (SocketAddr, Duration)> {
        let bound = |peer| self.by_peer.binary_search_by_key(peer, |(peer, _)| *peer).is_ok();
        self.correspondents.iter().filter_map(move |peer| {
            let ip = peer.ip();
            let at = self.permissions.binary_search_by_key(&ip, |(ip, _)| *ip).ok()?;
            (!bound(peer)).then_some((*peer, self.permissions[at].1))
        })
    }

    /// Remembers that an indication went to a peer that is permitted. `true`: that is news.
    pub(super) fn correspond(&mut self, peer: SocketAddr) -> bool {
        match self.correspondents.binary_search(&peer) {
            Err(at) if self.correspondents.len() < Limits::CORRESPONDENTS => {
                self.correspondents.insert(at, peer);
                true
            }
            _ => false,
        }
    }

    /// Installs or refreshes a permission.
    pub(super) fn permit(&mut self, ip: IpAddr, now: Duration) {
        let expires = now + Limits::PERMISSION_LIFETIME;
        match self.permissions.binary_search_by_key(&ip, |(ip, _)| *ip) {
            Ok(at) => self.permissions[at].1 = expires,
            Err(at) => self.permissions.insert(at, (ip, expires)),
        }
    }

    /// Whether binding `number` to `peer` would be a new channel; a number or a peer that is
    /// bound otherwise is a conflict.
    pub(super) fn channel_is_new(
        &self,
        number: ChannelNumber,
        peer: SocketAddr,
    ) -> Result<bool, ChannelConflict> {
        let bound_peer = self
            .channels
            .binary_search_by_key(&number, |channel| channel.number);
        let bound_number = self.by_peer.binary_search_by_key(&peer, |(peer, _)| *peer);
        match (bound_peer, bound_number) {
            (Err(_), Err(_)) => Ok(true),
            (Ok(at), Ok(_)) if self.channels[at].peer == peer => Ok(false),
            _ => Err(ChannelConflict),
        }
    }

    /// Binds or refreshes a channel for which [`Peers::channel_is_new`] found no conflict.
    pub(super) fn bind(&mut self, number: ChannelNumber, peer: SocketAddr, now: Duration) {
        let expires = now + Limits::CHANNEL_LIFETIME;
        match self
            .channels
            .binary_search_by_key(&number, |channel| channel.number)
        {
            Ok(at) => self.channels[at].expires = expires,
            Err(at) => {
                self.channels.insert(
                    at,
                    Channel {
                        number,
                        peer,
                        expires,
                    },
                );
                let at = self.by_peer.partition_point(|(other, _)| *other < peer);
                self.by_peer.insert(at, (peer, number));
            }
        }
    }

    /// Drops what has expired or is no longer allowed; says how much that was.
    pub(super) fn retain(
        &mut self,
        ip_allowed: impl Fn(IpAddr) -> bool,
        peer_allowed: impl Fn(SocketAddr) -> bool,
        now: Duration,
    ) -> Held {
        let before = self.held();
        self.permissions
            .retain(|&(ip, expires)| expires > now && ip_allowed(ip));
        self.channels
            .retain(|channel| channel.expires > now && peer_allowed(channel.peer));
        if self.channels.len() != self.by_peer.len() {
            let channels = &self.channels;
            self.by_peer.retain(|(_, number)| {
                channels
                    .binary_search_by_key(number, |channel| channel.number)
                    .is_ok()
            });
        }
        let permissions = &self.permissions;
        self.correspondents.retain(|peer| {
            let permission = permissions.binary_search_by_key(&peer.ip(), |(ip, _)| *ip);
            permission.is_ok() && peer_allowed(*peer)
        });
        before - self.held()
    }

    /// Forgets a family whose relayed address is gone.
    pub(super) fn forget_family(&mut self, family: Family) -> Held {
        let of = |v4: bool| (family == Family::V4) == v4;
        self.retain(|ip| !of(ip.is_ipv4()), |peer| !of(peer.is_ipv4()), Duration::ZERO)
    }
}
