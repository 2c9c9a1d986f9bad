//! What only the driver sees: connections and handshakes, sizes and times.

use std::sync::atomic::{AtomicU64, Ordering};

use super::super::xdp::{Carried, Standing};
use crate::server::counters::{Family, Kind};

const CONNECTIONS: Family = Family {
    name: "client_connections",
    help: "Stream connections open.",
    label: "",
    kind: Kind::Gauge,
};
const ACCEPTED: Family = Family {
    name: "client_connections_accepted_total",
    help: "Stream connections taken.",
    label: "",
    kind: Kind::Counter,
};
const REFUSED: Family = Family {
    name: "client_connections_refused_total",
    help: "Stream connections closed before a word was read.",
    label: "reason",
    kind: Kind::Counter,
};
const ENDED: Family = Family {
    name: "client_connections_ended_total",
    help: "Stream connections the relay hung up on.",
    label: "reason",
    kind: Kind::Counter,
};

const ALLOCATIONS_MAX: Family = Family {
    name: "allocations_max",
    help: "Most allocations there can be: what limits and ports allow.",
    label: "",
    kind: Kind::Gauge,
};

const FAST_PATH_INTERFACES: Family = Family {
    name: "fast_path_interfaces",
    help: "Interfaces on which the kernel relays by itself, and those on which it should and does not.",
    label: "mode",
    kind: Kind::Gauge,
};
const FAST_PATH_CHANNELS: Family = Family {
    name: "fast_path_channels",
    help: "Channels the kernel relays by itself.",
    label: "",
    kind: Kind::Gauge,
};
const FAST_PATH_PEERS: Family = Family {
    name: "fast_path_peers",
    help: "Peers without a channel whose indications the kernel relays by itself.",
    label: "",
    kind: Kind::Gauge,
};
const FAST_PATH_REFUSED: Family = Family {
    name: "fast_path_refused_total",
    help: "Channels and peers that stayed with the sockets though there is a fast path.",
    label: "",
    kind: Kind::Counter,
};
const FAST_PATH_PACKETS: Family = Family {
    name: "fast_path_packets_total",
    help: "Packets the kernel relayed by itself.",
    label: "direction",
    kind: Kind::Counter,
};
const FAST_PATH_BYTES: Family = Family {
    name: "fast_path_bytes_total",
    help: "Payload bytes the kernel relayed by itself.",
    label: "direction",
    kind: Kind::Counter,
};

/// What is known of the kernel's own relaying, families together.
///
/// `asked`: interfaces it was to stand on.
pub(super) fn of_fast_path(
    carried: &Carried,
    standing: &Standing,
    asked: u64,
) -> [((&'static Family, &'static str), u64); 7] {
    let off = asked.saturating_sub(standing.native + standing.generic);
    [
        ((&FAST_PATH_INTERFACES, "native"), standing.native),
        ((&FAST_PATH_INTERFACES, "generic"), standing.generic),
        ((&FAST_PATH_INTERFACES, "off"), off),
        ((&FAST_PATH_PACKETS, "to_peer"), carried.packets_to_peers),
        ((&FAST_PATH_PACKETS, "to_client"), carried.packets_to_clients),
        ((&FAST_PATH_BYTES, "to_peer"), carried.bytes_to_peers),
        ((&FAST_PATH_BYTES, "to_client"), carried.bytes_to_clients),
    ]
}

/// One number the driver keeps; those of one family are neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::driver) enum Number {
    /// Connections open.
    Connections,
    /// Connections taken.
    Accepted,
    /// No place, for anybody or for this source.
    RefusedFull,
    /// Not one of the balancers.
    RefusedUntrusted,
    /// The balancer's header was wrong or late.
    EndedProxy,
    /// No TLS came of it.
    EndedHandshake,
    /// Not a stream of TURN messages.
    EndedFraming,
    /// The client read no answers.
    EndedUnread,
    /// Most allocations of the whole relay; the first worker keeps it.
    AllocationsMax,
    /// Channels the kernel relays by itself.
    FastPathChannels,
    /// Peers without a channel whose indications it relays.
    FastPathPeers,
    /// Channels and peers it was not given, or did not take.
    FastPathRefused,
}

impl Number {
    pub(super) const ALL: &[Self] = &[
        Self::Connections,
        Self::Accepted,
        Self::RefusedFull,
        Self::RefusedUntrusted,
        Self::EndedProxy,
        Self::EndedHandshake,
        Self::EndedFraming,
        Self::EndedUnread,
        Self::AllocationsMax,
        Self::FastPathChannels,
        Self::FastPathPeers,
        Self::FastPathRefused,
    ];

    /// The family it belongs to and its label value there.
    pub(super) const fn family(self) -> (&'static Family, &'static str) {
        match self {
            Self::Connections => (&CONNECTIONS, ""),
            Self::Accepted => (&ACCEPTED, ""),
            Self::RefusedFull => (&REFUSED, "full"),
            Self::RefusedUntrusted => (&REFUSED, "untrusted_proxy"),
            Self::EndedProxy => (&ENDED, "proxy_header"),
            Self::EndedHandshake => (&ENDED, "tls_handshake"),
            Self::EndedFraming => (&ENDED, "framing"),
            Self::EndedUnread => (&ENDED, "answers_unread"),
            Self::AllocationsMax => (&ALLOCATIONS_MAX, ""),
            Self::FastPathChannels => (&FAST_PATH_CHANNELS, ""),
            Self::FastPathPeers => (&FAST_PATH_PEERS, ""),
            Self::FastPathRefused => (&FAST_PATH_REFUSED, ""),
        }
    }
}

/// What is counted by size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::driver) enum Measure {
    /// Payload of packets to peers, in bytes.
    SizeToPeer,
    /// Payload of packets to clients, in bytes.
    SizeToClient,
    /// From the kernel's saying that something is there to everything's being sent on, in
    /// nanoseconds: what the relay adds to the latency of the last packet of a turn.
    Turn,
    /// From accepting a connection to its TLS being agreed on, in nanoseconds.
    Handshake,
}

/// A family of histograms.
#[derive(Debug)]
pub(super) struct Scale {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) label: &'static str,
    /// Upper bounds of the buckets, in what is measured.
    pub(super) bounds: &'static [u64],
    /// What is measured, in the unit that is shown.
    pub(super) unit: f64,
}

const SIZES: Scale = Scale {
    name: "packet_bytes",
    help: "Payload of relayed packets.",
    label: "direction",
    bounds: &[64, 128, 256, 512, 1024, 1280, 1500, 9000],
    unit: 1.0,
};
const TURNS: Scale = Scale {
    name: "turn_seconds",
    help: "Time from being woken for packets to having sent them on.",
    label: "",
    bounds: &[
        20_000,
        50_000,
        100_000,
        200_000,
        500_000,
        1_000_000,
        2_000_000,
        5_000_000,
        20_000_000,
        100_000_000,
    ],
    unit: 1e-9,
};
const HANDSHAKES: Scale = Scale {
    name: "tls_handshake_seconds",
    help: "Time from accepting a connection to having agreed on TLS.",
    label: "",
    bounds: &[
        1_000_000,
        5_000_000,
        20_000_000,
        50_000_000,
        100_000_000,
        200_000_000,
        500_000_000,
        1_000_000_000,
        5_000_000_000,
    ],
    unit: 1e-9,
};

impl Measure {
    pub(super) const ALL: &[Self] = &[Self::SizeToPeer, Self::SizeToClient, Self::Turn, Self::Handshake];

    pub(super) const fn scale(self) -> (&'static Scale, &'static str) {
        match self {
            Self::SizeToPeer => (&SIZES, "to_peer"),
            Self::SizeToClient => (&SIZES, "to_client"),
            Self::Turn => (&TURNS, ""),
            Self::Handshake => (&HANDSHAKES, ""),
        }
    }
}

/// More than any [`Scale`] has bounds.
const BUCKETS: usize = 12;

/// Written by one worker, read by scrapes: plain loads and stores are enough.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    pub(super) buckets: [AtomicU64; BUCKETS],
    pub(super) sum: AtomicU64,
}

impl Histogram {
    #[inline]
    pub(super) fn record(&self, scale: &Scale, value: u64) {
        let bucket = scale.bounds.iter().take_while(|bound| value > **bound).count();
        add(&self.buckets[bucket], 1);
        add(&self.sum, value);
    }
}

/// Adds to a number that nobody else writes.
#[inline]
pub(super) fn add(number: &AtomicU64, amount: u64) {
    number.store(number.load(Ordering::Relaxed) + amount, Ordering::Relaxed);
}
