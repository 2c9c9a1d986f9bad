//! How much anybody may take.

use std::time::Duration;

/// Bounds of the relay. The defaults suit an edge with some thousand participants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Allocations of one user (the opaque part of the user name). An ICE agent makes one
    /// per local interface, relay URL and address family; 16 leaves room for two devices
    /// and for leftovers of a lost connection until they expire.
    pub allocations_per_user: u32,
    /// Allocations in total; the port range bounds them as well.
    pub allocations: u32,
    /// Permissions of one allocation: a peer's candidates number a dozen at most.
    pub permissions_per_allocation: u32,
    /// Permissions in total.
    pub permissions: u32,
    /// Channels of one allocation, for the same reason.
    pub channels_per_allocation: u32,
    /// Channels in total.
    pub channels: u32,
    /// TCP connections with peers of one allocation (RFC 6062): ICE over TCP tries a few.
    pub connections_per_allocation: u32,
    /// TCP connections with peers in total; each is one or two sockets.
    pub connections: u32,
    /// Bytes a second relayed for one allocation, both ways together; a second's worth may
    /// come at once. What is more is dropped. Unlimited without a number, as the next two.
    pub bandwidth_per_allocation: Option<u64>,
    /// The same for all allocations of one user.
    pub bandwidth_per_user: Option<u64>,
    /// The same for the relay: what the link carries, less what else lives on it.
    pub bandwidth: Option<u64>,
    /// Longest lifetime granted (RFC 8656 §7.2 suggests an hour). Never below
    /// [`Limits::LIFETIME_DEFAULT`].
    pub lifetime_max: Duration,
    /// Longest life of an allocation, refreshed or not. Refreshing does not need
    /// unexpired credentials (a visit that overruns must not go dark), so something else
    /// has to end it.
    pub age_max: Duration,
    /// How long a nonce may be used (RFC 8656 §5 asks for an hour at most).
    pub nonce_lifetime: Duration,
    /// Answers per second to senders that have not authenticated, per source address
    /// (IPv4) or /64 (IPv6). A hospital behind one address needs a few per visit.
    pub unauthenticated_per_second: u32,
    /// Answers of that kind that may come at once.
    pub unauthenticated_burst: u32,
    /// Stream connections without an allocation that are kept, per server. When one more
    /// comes the oldest goes: who means it has an allocation within a round trip or two, so a
    /// flood has to bring this many connections in that time to be in anybody's way.
    pub strangers: u32,
    /// Of those, how many may come from one source address (IPv4) or /64 (IPv6). A hospital
    /// behind one address whose relay went away comes back all at once.
    pub strangers_per_source: u32,
    /// How long a stream connection may go without an allocation, handshake included.
    pub stranger_max: Duration,
}

impl Limits {
    /// Lifetime of an allocation that asks for nothing (RFC 8656 §3.2).
    pub const LIFETIME_DEFAULT: Duration = Duration::from_secs(600);
    /// Lifetime of a permission (RFC 8656 §9).
    pub const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);
    /// How long a peer may take to accept a connection, and then a client to bind it:
    /// "at least 30 seconds" and 30 seconds (RFC 6062 §5.2, §5.3).
    pub const CONNECTION_PATIENCE: Duration = Duration::from_secs(30);
    /// Peers of one allocation whose indications a driver may relay without asking: the candidates of a peer are a
    /// dozen at most. What goes to more is relayed as well, and asked for each time.
    pub const CORRESPONDENTS: usize = 16;
    /// Lifetime of a channel binding (RFC 8656 §12).
    pub const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            allocations_per_user: 16,
            allocations: 50_000,
            permissions_per_allocation: 64,
            permissions: 400_000,
            channels_per_allocation: 64,
            channels: 400_000,
            connections_per_allocation: 16,
            connections: 10_000,
            bandwidth_per_allocation: None,
            bandwidth_per_user: None,
            bandwidth: None,
            lifetime_max: Duration::from_secs(3600),
            age_max: Duration::from_secs(12 * 3600),
            nonce_lifetime: Duration::from_secs(3600),
            unauthenticated_per_second: 100,
            unauthenticated_burst: 200,
            strangers: 8192,
            strangers_per_source: 512,
            stranger_max: Duration::from_secs(20),
        }
    }
}
