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
//! What a sender has not authenticated for is never remembered; answers to it come out of
//! a fixed-size table of token buckets and are as small as the RFC lets them be.

mod allocate;
mod allocation;
mod authenticate;
pub(crate) mod counters;
mod limits;
mod nonce;
mod quota;
mod relaying;
mod request;
mod source;
mod table;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

pub use allocate::NoRelayAddress;
pub use counters::{Counter, Counters};
pub use limits::Limits;
pub use quota::Quotas;

use crate::codec::{self, Class, Datagram, Family, Method};
use crate::credential::Secrets;
use crate::policy::PeerPolicy;
use nonce::Nonces;
use source::SourceLimits;
use table::Table;

/// The time a call happens at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Time since any fixed moment; never goes back. Lifetimes are counted in it.
    pub monotonic: Duration,
    /// Seconds since the Unix epoch. Credentials and nonces expire by it.
    pub unix_s: u64,
}

/// A listening address, numbered by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u16);

/// A client as the relay knows it: its side of the 5-tuple (RFC 8656 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client {
    /// Where it sends to.
    pub listener: ListenerId,
    /// Where it sends from.
    pub address: SocketAddr,
}

/// One relayed transport address. Never used twice, so that a late packet cannot meet the
/// next owner of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayId {
    /// Small and dense: drivers index by it.
    pub slot: u32,
    /// Tells the owners of one slot apart.
    pub generation: u32,
    /// The family of the address.
    pub family: Family,
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Send a control message to a client.
    Send {
        /// To whom.
        to: Client,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Open a relayed transport address of `relay.family`, then call
    /// [`Server::handle_relay_opened`].
    OpenRelay {
        /// Its name from now on.
        relay: RelayId,
        /// Whether its port must be even (RFC 8656 §18.7).
        even_port: bool,
    },
    /// Close a relayed transport address.
    CloseRelay {
        /// Which.
        relay: RelayId,
    },
}

/// Data of a client on its way to a peer: send `input[data]` from `relay` to `peer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToPeer {
    /// Socket to send from.
    pub relay: RelayId,
    /// Where to.
    pub peer: SocketAddr,
    /// Which bytes of the datagram.
    pub data: Range<usize>,
}

/// Longest framing in front of relayed data: a Data indication with an IPv6 peer.
pub const PREFIX_BYTES_MAX: usize = codec::HEADER_BYTES + 4 + 20 + 4;

/// Data of a peer on its way to a client: send `prefix`, the data, `padding` zero bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToClient {
    /// To whom.
    pub client: Client,
    prefix: [u8; PREFIX_BYTES_MAX],
    prefix_length: u8,
    /// Zero bytes behind the data, 0 to 3.
    pub padding: u8,
}

impl ToClient {
    /// The framing in front of the data.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        &self.prefix[..usize::from(self.prefix_length)]
    }
}

/// What a server is made from.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Realm of the credentials.
    pub realm: String,
    /// Families the driver can open relayed transport addresses of.
    pub families: Vec<Family>,
    /// How much anybody may take.
    pub limits: Limits,
    /// Whether channels 0x5000–0x7FFF may be bound, as RFC 5766 had it.
    pub legacy_channels: bool,
    /// Key of the nonces. Servers that share a listening address share it, so that a client
    /// whose packets move between them is not challenged again.
    pub nonce_key: [u8; 32],
    /// Seeds whatever needs no secrecy but should not be guessed easily.
    pub seed: u64,
}

/// The TURN server.
#[derive(Debug)]
pub struct Server {
    realm: String,
    families: Vec<Family>,
    limits: Limits,
    legacy_channels: bool,
    nonces: Nonces,
    sources: SourceLimits,
    quotas: Arc<Quotas>,
    secrets: Secrets,
    policy: PeerPolicy,
    draining: bool,
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
            realm: config.realm,
            families: config.families,
            limits: config.limits,
            legacy_channels: config.legacy_channels,
            quotas,
            secrets,
            policy,
            draining: false,
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

    /// Counts a packet that goes nowhere.
    fn drop_packet<T>(&mut self, reason: Counter) -> Option<T> {
        self.counters.increment(reason);
        None
    }

    /// Ends what has expired.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(slot) = self.table.pop_due(now.monotonic) {
            let Some(allocation) = self.table.get_mut(slot) else {
                continue;
            };
            if allocation.expires <= now.monotonic {
                self.free(slot);
            } else {
                let gone = allocation.peers.retain(|_| true, |_| true, now.monotonic);
                self.release(gone);
                self.table.schedule(slot);
            }
        }
    }

    /// When [`Server::handle_timeout`] has something to do next, on the monotonic clock.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.table.next_due()
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
    }

    /// Refuses new allocations from now on (508); those that exist live on.
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
        for gauge in [Counter::Allocations, Counter::Permissions, Counter::Channels] {
            self.counters.set(gauge, 0);
        }
    }

    /// For what only the driver sees: packets the kernel would not send.
    pub fn count(&mut self, counter: Counter, amount: u64) {
        self.counters.add(counter, amount);
    }

    /// Ends an allocation and gives back what it held.
    fn free(&mut self, slot: u32) {
        let Some((generation, allocation)) = self.table.remove(slot) else {
            return;
        };
        for family in allocation.relays.families() {
            self.commands.push_back(Command::CloseRelay {
                relay: RelayId {
                    slot,
                    generation,
                    family,
                },
            });
        }
        self.quotas.release_allocation(allocation.user());
        self.release(allocation.peers.held());
        self.counters.set(Counter::Allocations, self.table.len() as u64);
    }

    fn release(&mut self, gone: allocation::Held) {
        self.quotas.release(gone);
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
    }
}

#[cfg(test)]
mod tests;
