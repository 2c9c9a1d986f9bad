//! The relay as a value: no sockets, no clock, no randomness.
//!
//! Datagrams and time come in; what to do comes out, in two ways. *Relayed data* is the
//! return value of the call that brought it ([`ToPeer`], [`ToClient`]): where it goes and
//! what stands around it, never a copy of it, so that relaying allocates nothing. Everything
//! else is a [`Command`], to be drained with [`Server::poll_command`] after each call.
//!
//! The order of calls, at any time: `handle_input` for a datagram of a client,
//! `handle_relayed` for one of a peer, `handle_timeout` when [`Server::poll_timeout`] is
//! reached. Each [`Command::OpenRelay`] is answered by one `handle_relay_opened` before
//! the next input.
//!
//! # Clients over TCP and TLS
//!
//! What a listener speaks is said in [`ServerConfig::listeners`]. A connection is a
//! [`Client`] like any other: its listener and the peer's address (behind a proxy, the one
//! the PROXY header gives). The driver
//!
//! 1. calls [`Server::handle_client_connected`] as soon as it has accepted a connection,
//!    before any TLS handshake, so that the handshake counts against the time a stranger
//!    has; `false` means close it,
//! 2. cuts what it reads into frames ([`codec::Framer`], [`codec::Frames`]) of at most
//!    [`Server::frame_bytes_max`] bytes, and gives each to `handle_input` as if it were a
//!    datagram; a stream that cannot be cut is closed,
//! 3. writes what comes out as it comes: messages are whole frames already, and
//!    [`ToClient::padding`] is what a stream needs (RFC 8656 §12.5),
//! 4. calls [`Server::handle_client_disconnected`] when a connection has ended, which ends its
//!    allocation, and on [`Command::Disconnect`] writes what is queued and closes.
//!
//! # Peers over TCP (RFC 6062)
//!
//! A relayed transport address of [`Protocol::Tcp`] listens. Each connection with a peer has a
//! [`ConnectionId`], whoever made it:
//!
//! - [`Command::Connect`] → connect → [`Server::handle_peer_connected`].
//! - accept → [`Server::handle_peer_accepted`] → `Some(id)`, or `None`: close it at once.
//!
//! Until [`Command::Splice`] names the client's connection that goes with it, the driver reads
//! nothing from the peer (TCP holds it back). From then on bytes go both ways as they are. The
//! end of either side, at any time, is [`Server::handle_connection_closed`];
//! [`Command::CloseConnection`] asks for it.
//!
//! A client may bind a connection from a TCP connection that another worker accepted; that
//! worker is told to pass it on with [`Command::HandOver`].
//!
//! DTLS is a datagram transport here: no frames, no padding, no connection to lose.
//!
//! What a sender has not authenticated for is never remembered; answers to it come out of
//! a fixed-size table of token buckets and are as small as the RFC lets them be.

mod allocate;
mod allocation;
mod alternate;
mod authenticate;
mod bandwidth;
mod connect;
mod connections;
pub(crate) mod counters;
mod interface;
mod limits;
mod mobility;
mod nonce;
mod offload;
mod quota;
mod relaying;
mod request;
mod reservation;
mod source;
mod strangers;
mod table;
mod tokens;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use allocate::NoRelayAddress;
pub use alternate::Alternate;
pub use bandwidth::Direction;
pub use connect::ConnectFailed;
pub use connections::ConnectionId;
pub use counters::{Counter, Counters};
pub use interface::{
    Client, Command, IcmpError, ListenerId, Now, PREFIX_BYTES_MAX, Port, Protocol, RelayId, ToClient, ToPeer,
    Transport, WorkerId,
};
pub use limits::Limits;
pub use mobility::Moving;
pub use offload::{Shortcut, ShortcutKey};
pub use quota::Quotas;

use crate::codec::{self, Class, Datagram, Family, Method};
use crate::credential::{Secrets, ShortTermCredential};
use crate::policy::PeerPolicy;
use connections::Connections;
use mobility::Tickets;
use nonce::Nonces;
use source::SourceLimits;
use strangers::Strangers;
use table::Table;
use tokens::Tokens;

/// What a server is made from.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Realm of the credentials.
    pub realm: String,
    /// What each listener speaks, by [`ListenerId`]; those that are not named are UDP.
    pub listeners: Vec<Transport>,
    /// Families the driver can open relayed transport addresses of.
    pub families: Vec<Family>,
    /// Whether the driver can open relayed transport addresses of TCP.
    pub tcp_relays: bool,
    /// Whether the driver heeds [`ToPeer::dont_fragment`]. Where it does not, clients that ask
    /// are told 420.
    pub dont_fragment: bool,
    /// Whether clients may take their allocations to other addresses (RFC 8016).
    pub mobility: bool,
    /// Whether the driver is told what it may relay without asking ([`Command::Offload`]). With a
    /// limit of bandwidth there are none: every packet has to be counted.
    pub offload: bool,
    /// Which of the servers that share listening addresses this is.
    pub worker: WorkerId,
    /// How much anybody may take.
    pub limits: Limits,
    /// Whether channels 0x5000–0x7FFF may be bound, as RFC 5766 had it.
    pub legacy_channels: bool,
    /// Key of the nonces. Servers that share a listening address share it, so that a client
    /// whose packets move between them is not challenged again.
    pub nonce_key: [u8; 32],
    /// What Binding requests have to be made with; anybody may make them without.
    pub binding_credential: Option<ShortTermCredential>,
    /// Seeds whatever needs no secrecy but should not be guessed easily.
    pub seed: u64,
}

/// The TURN server.
#[derive(Debug)]
pub struct Server {
    realm: String,
    listeners: Vec<Transport>,
    families: Vec<Family>,
    limits: Limits,
    legacy_channels: bool,
    tcp_relays: bool,
    worker: WorkerId,
    dont_fragment: bool,
    mobility: bool,
    offload: bool,
    tokens: Tokens,
    tickets: Tickets,
    connections: Connections,
    binding_credential: Option<ShortTermCredential>,
    nonces: Nonces,
    sources: SourceLimits,
    strangers: Strangers,
    quotas: Arc<Quotas>,
    secrets: Secrets,
    policy: PeerPolicy,
    draining: bool,
    alternates: Vec<Alternate>,
    /// How many clients were sent elsewhere.
    alternated: usize,
    table: Table,
    commands: VecDeque<Command>,
    counters: Counters,
    /// Indications carry a transaction id that nobody answers; a counter, stirred, is enough.
    indication: u64,
}

impl Server {
    /// A server without allocations. `quotas` are shared with the other servers of a relay.
    #[must_use]
    pub fn new(config: ServerConfig, secrets: Secrets, policy: PeerPolicy, quotas: Arc<Quotas>) -> Self {
        Self {
            nonces: Nonces::new(&config.nonce_key, config.limits.nonce_lifetime),
            sources: SourceLimits::new(&config.limits, config.seed),
            strangers: Strangers::default(),
            tcp_relays: config.tcp_relays,
            binding_credential: config.binding_credential,
            worker: config.worker,
            dont_fragment: config.dont_fragment,
            mobility: config.mobility,
            offload: config.offload && !config.limits.limit_bandwidth(),
            tokens: Tokens::new(&config.nonce_key, config.seed),
            tickets: Tickets::new(&config.nonce_key),
            connections: Connections::default(),
            realm: config.realm,
            listeners: config.listeners,
            families: config.families,
            limits: config.limits,
            legacy_channels: config.legacy_channels,
            quotas,
            secrets,
            policy,
            draining: false,
            alternates: Vec::new(),
            alternated: 0,
            table: Table::default(),
            commands: VecDeque::new(),
            counters: Counters::default(),
            indication: config.seed,
        }
    }

    /// Takes a datagram that `source` sent to `listener`.
    ///
    /// Returns where to relay its data, if that is what it asks for.
    pub fn handle_input(
        &mut self,
        now: Now,
        source: SocketAddr,
        listener: ListenerId,
        datagram: &[u8],
    ) -> Option<ToPeer> {
        let client = Client {
            listener,
            address: source,
        };
        match codec::decode(datagram) {
            Ok(Datagram::ChannelData(channel)) => self.relay_channel_data(now, client, &channel),
            Ok(Datagram::Message(message)) => match (message.class, message.method) {
                (Class::Indication, Method::SEND) => self.relay_send(now, client, &message),
                (Class::Request, _) => {
                    self.handle_request(now, client, &message);
                    None
                }
                // A Binding indication is a keep-alive (RFC 8489 §6.3.2); the rest is noise.
                (Class::Indication, Method::BINDING) => None,
                _ => self.drop_packet(Counter::DropUnexpected),
            },
            Err(_) => self.drop_packet(Counter::DropMalformed),
        }
    }

    /// What a message says; what this server does not serve is unknown to it.
    fn read<'m>(&self, message: &codec::Message<'m>) -> codec::Fields<'m> {
        let mut fields = codec::Fields::read(message);
        if fields.dont_fragment && !self.dont_fragment {
            fields.disown(codec::attribute::DONT_FRAGMENT);
        }
        fields
    }

    /// Counts a packet that goes nowhere.
    fn drop_packet<T>(&mut self, reason: Counter) -> Option<T> {
        self.counters.increment(reason);
        None
    }

    /// Ends what has expired.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(client) = self.strangers.pop_due(now.monotonic) {
            self.turn_away(client, Counter::StrangerTooSlow);
        }
        self.give_up_connections(now);
        self.end_reservations(now);
        while let Some(slot) = self.table.pop_due(now.monotonic) {
            let Some(allocation) = self.table.get_mut(slot) else {
                continue;
            };
            if allocation.expires <= now.monotonic {
                self.end(now, slot);
            } else {
                let gone = allocation.peers.retain(|_| true, |_| true, now.monotonic);
                self.release(gone);
                self.offload(slot);
                self.table.schedule(slot);
            }
        }
    }

    /// When [`Server::handle_timeout`] has something to do next, on the monotonic clock.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let due = [
            self.table.next_due(),
            self.strangers.next_due(),
            self.connections.next_due(),
            self.reservation_due(),
        ];
        due.into_iter().flatten().min()
    }

    /// The next thing to do, in order.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Puts other secrets in force. Allocations that exist keep the key they were made with.
    pub fn set_secrets(&mut self, secrets: Secrets) {
        self.secrets = secrets;
    }

    /// Puts another peer policy in force and ends what it does not allow.
    pub fn set_peer_policy(&mut self, policy: PeerPolicy) {
        self.policy = policy;
        let mut gone = allocation::Held::default();
        for allocation in self.table.iter_mut() {
            gone += allocation.peers.retain(
                |ip| self.policy.permits_ip(ip),
                |peer| self.policy.permits(peer),
                Duration::ZERO,
            );
        }
        self.release(gone);
        self.offload_all();
        for connection in self.connections.of_peers(|peer| !self.policy.permits(peer)) {
            self.close_connection(connection);
        }
    }

    /// Refuses new allocations from now on (300 or 508); those that exist live on.
    pub fn set_draining(&mut self, draining: bool) {
        self.draining = draining;
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Goes on counting where another server stopped; what is alive is counted anew.
    pub fn inherit(&mut self, counters: &Counters) {
        self.counters = counters.clone();
        let gauges = [
            Counter::Allocations,
            Counter::Permissions,
            Counter::Channels,
            Counter::Strangers,
            Counter::Connections,
        ];
        for gauge in gauges {
            self.counters.set(gauge, 0);
        }
    }

    /// For what only the driver sees: packets the kernel would not send.
    pub fn count(&mut self, counter: Counter, amount: u64) {
        self.counters.add(counter, amount);
    }

    /// What `client` speaks.
    #[inline]
    fn transport(&self, client: Client) -> Transport {
        let listener = self.listeners.get(usize::from(client.listener.0));
        listener.copied().unwrap_or_default()
    }

    /// Ends an allocation whose client may still be there: on a stream it is a stranger again.
    fn end(&mut self, now: Now, slot: u32) {
        let here = |allocation: &&allocation::Allocation| !allocation.mobility.is_some_and(|m| m.away);
        let client = self
            .table
            .get(slot)
            .filter(here)
            .map(|allocation| allocation.client);
        self.free(slot);
        if let Some(client) = client.filter(|&client| self.transport(client).is_stream()) {
            self.admit_stranger(now, client);
        }
    }

    /// Ends an allocation and gives back what it held.
    fn free(&mut self, slot: u32) {
        let Some((generation, mut allocation)) = self.table.remove(slot) else {
            return;
        };
        self.withdraw(&mut allocation);
        for connection in &allocation.connections {
            self.close_connection(*connection);
        }
        for family in allocation.relays.families() {
            self.commands.push_back(Command::CloseRelay {
                relay: RelayId {
                    slot,
                    generation,
                    family,
                },
            });
        }
        if allocation.reservation.is_some() && allocation.relays.is_opening() {
            self.quotas.release_allocation(allocation.user());
        }
        self.quotas.release_allocation(allocation.user());
        self.release(allocation.peers.held());
        self.counters.set(Counter::Allocations, self.table.len() as u64);
    }

    fn release(&mut self, gone: allocation::Held) {
        self.quotas.release(gone);
        self.uncount(gone);
    }

    fn uncount(&mut self, gone: allocation::Held) {
        let permissions = self.counters.get(Counter::Permissions) - u64::from(gone.permissions);
        self.counters.set(Counter::Permissions, permissions);
        let channels = self.counters.get(Counter::Channels) - u64::from(gone.channels);
        self.counters.set(Counter::Channels, channels);
    }
}

/// Quotas are shared with servers that go on: what this one held goes back.
impl Drop for Server {
    fn drop(&mut self) {
        for allocation in self.table.iter_mut() {
            self.quotas.release_allocation(allocation.user());
            self.quotas.release(allocation.peers.held());
        }
        for _ in 0..self.connections.len() {
            self.quotas.release_connection();
        }
    }
}

#[cfg(test)]
mod tests;
