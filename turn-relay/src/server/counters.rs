//! What the server counts, and what each number is called outside.

/// Whether a number only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only grows.
    Counter,
}

/// Name of a metric family without the `medmesh_turn_` prefix, its help, and the label all
/// of its series carry.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Name after the prefix.
    pub name: &'static str,
    /// One line for people.
    pub help: &'static str,
    /// Label name; empty where the family is a single series.
    pub label: &'static str,
    /// Gauge or counter.
    pub kind: Kind,
}

const ALLOCATIONS: Family = gauge("allocations", "Allocations alive.");
const PERMISSIONS: Family = gauge("permissions", "Permissions alive.");
const CHANNELS: Family = gauge("channels", "Channel bindings alive.");
const CONNECTIONS: Family = gauge(
    "peer_connections",
    "TCP connections with peers alive, or being made.",
);
const CONNECTION_OUTCOMES: Family = counter(
    "peer_connections_total",
    "TCP connections with peers, by what became of the attempt.",
    "outcome",
);
const RESERVATIONS: Family = counter(
    "reservations_total",
    "Ports held for a second allocation, by what became of them.",
    "outcome",
);
const ICMP_REPORTED: Family = counter("icmp_errors_total", "ICMP errors passed on to clients.", "");
const MOVES: Family = counter("moves_total", "Allocations whose client came from elsewhere.", "");
const STRANGERS: Family = gauge("strangers", "Stream connections without an allocation.");
const TURNED_AWAY: Family = counter(
    "strangers_turned_away_total",
    "Stream connections closed because no allocation came of them.",
    "reason",
);
const PACKETS: Family = counter("packets_total", "Packets relayed.", "direction");
const BYTES: Family = counter("bytes_total", "Payload bytes relayed.", "direction");
const DROPS: Family = counter(
    "dropped_packets_total",
    "Packets not relayed or not answered.",
    "reason",
);
const REQUESTS: Family = counter("requests_total", "Requests received.", "method");
const ERRORS: Family = counter("errors_total", "Error responses sent.", "code");
const REFUSALS: Family = counter(
    "authentication_failures_total",
    "Requests not authenticated.",
    "reason",
);

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family {
        name,
        help,
        label: "",
        kind: Kind::Gauge,
    }
}

const fn counter(name: &'static str, help: &'static str, label: &'static str) -> Family {
    Family {
        name,
        help,
        label,
        kind: Kind::Counter,
    }
}

macro_rules! counters {
    ($($name:ident = $family:ident, $value:literal;)+) => {
        /// One number the server keeps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each is described by its family and label value")]
        pub enum Counter { $($name,)+ }

        impl Counter {
            /// Every number, in order; those of one family are neighbours.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The family it belongs to and its label value there.
            #[must_use]
            pub const fn family(self) -> (&'static Family, &'static str) {
                match self { $(Self::$name => (&$family, $value),)+ }
            }
        }
    };
}

counters! {
    Allocations = ALLOCATIONS, "";
    Permissions = PERMISSIONS, "";
    Channels = CHANNELS, "";
    Connections = CONNECTIONS, "";
    ConnectionConnected = CONNECTION_OUTCOMES, "connected";
    ConnectionAccepted = CONNECTION_OUTCOMES, "accepted";
    ConnectionBound = CONNECTION_OUTCOMES, "bound";
    ConnectionFailed = CONNECTION_OUTCOMES, "failed";
    ConnectionRefused = CONNECTION_OUTCOMES, "refused";
    ConnectionUnclaimed = CONNECTION_OUTCOMES, "unclaimed";
    ReservationMade = RESERVATIONS, "made";
    ReservationUsed = RESERVATIONS, "used";
    ReservationUnused = RESERVATIONS, "unused";
    IcmpReported = ICMP_REPORTED, "";
    Moves = MOVES, "";
    Strangers = STRANGERS, "";
    StrangerTooSlow = TURNED_AWAY, "too_slow";
    StrangerTooMany = TURNED_AWAY, "too_many";
    StrangerSource = TURNED_AWAY, "too_many_of_source";
    PacketsToPeers = PACKETS, "to_peer";
    PacketsToClients = PACKETS, "to_client";
    BytesToPeers = BYTES, "to_peer";
    BytesToClients = BYTES, "to_client";
    DropMalformed = DROPS, "malformed";
    DropUnexpected = DROPS, "unexpected_message";
    DropNoAllocation = DROPS, "no_allocation";
    DropUnknownChannel = DROPS, "unknown_channel";
    DropAway = DROPS, "client_away";
    DropNoPermission = DROPS, "no_permission";
    DropPeerDenied = DROPS, "peer_denied";
    DropUnauthenticatedLimit = DROPS, "unauthenticated_limit";
    DropBandwidthAllocation = DROPS, "bandwidth_of_allocation";
    DropBandwidthUser = DROPS, "bandwidth_of_user";
    DropBandwidthRelay = DROPS, "bandwidth_of_relay";
    DropTooLarge = DROPS, "too_large";
    DropSendFailed = DROPS, "send_failed";
    DropSendBufferFull = DROPS, "send_buffer_full";
    RequestBinding = REQUESTS, "binding";
    RequestAllocate = REQUESTS, "allocate";
    RequestRefresh = REQUESTS, "refresh";
    RequestCreatePermission = REQUESTS, "create_permission";
    RequestChannelBind = REQUESTS, "channel_bind";
    RequestConnect = REQUESTS, "connect";
    RequestConnectionBind = REQUESTS, "connection_bind";
    RequestOther = REQUESTS, "other";
    Error300 = ERRORS, "300";
    Error400 = ERRORS, "400";
    Error401 = ERRORS, "401";
    Error403 = ERRORS, "403";
    Error405 = ERRORS, "405";
    Error420 = ERRORS, "420";
    Error437 = ERRORS, "437";
    Error438 = ERRORS, "438";
    Error440 = ERRORS, "440";
    Error441 = ERRORS, "441";
    Error442 = ERRORS, "442";
    Error443 = ERRORS, "443";
    Error446 = ERRORS, "446";
    Error447 = ERRORS, "447";
    Error486 = ERRORS, "486";
    Error508 = ERRORS, "508";
    AuthMissing = REFUSALS, "no_credentials";
    AuthIncomplete = REFUSALS, "incomplete";
    AuthUsername = REFUSALS, "username";
    AuthExpired = REFUSALS, "expired";
    AuthIntegrity = REFUSALS, "integrity";
    AuthAlgorithm = REFUSALS, "algorithm";
    AuthStaleNonce = REFUSALS, "stale_nonce";
}

/// All numbers of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters([u64; Counter::ALL.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self([0; Counter::ALL.len()])
    }
}

impl Counters {
    /// The value of one number.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    /// All values, in the order of [`Counter::ALL`].
    #[must_use]
    pub fn values(&self) -> &[u64] {
        &self.0
    }

    /// Adds to a number.
    pub fn add(&mut self, counter: Counter, amount: u64) {
        self.0[counter as usize] += amount;
    }

    pub(crate) fn increment(&mut self, counter: Counter) {
        self.add(counter, 1);
    }

    pub(crate) fn set(&mut self, counter: Counter, value: u64) {
        self.0[counter as usize] = value;
    }
}
