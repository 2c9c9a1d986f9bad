//! What goes in and out of the server.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use super::ShortcutKey;
#[expect(unused_imports, reason = "named by the documentation")]
use super::{ConnectionId, Limits, Server, ServerConfig, Shortcut};
use crate::codec::{self, Family};

/// The time a call happens at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Time since any fixed moment, the same for servers that share [`super::Quotas`]; never goes
    /// back. Lifetimes and rates are counted in it.
    pub monotonic: Duration,
    /// Seconds since the Unix epoch. Credentials and nonces expire by it.
    pub unix_s: u64,
}

/// A listening address, numbered by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u16);

/// What clients of a listener speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// One message a datagram.
    #[default]
    Udp,
    /// A stream of messages.
    Tcp,
    /// A stream of messages in TLS.
    Tls,
    /// One message a DTLS record.
    Dtls,
}

impl Transport {
    /// Whether messages follow each other in a stream: framed, padded, and gone with the connection.
    #[must_use]
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }
}

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

/// What is spoken with peers on a relayed transport address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Datagrams.
    Udp,
    /// Connections, made and accepted (RFC 6062).
    Tcp,
}

/// Which port a relayed transport address may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// One that nobody can predict.
    Any,
    /// An even one (RFC 8656 §18.6).
    Even,
    /// An even one, and the next higher is to be held for [`Port::Held`] or
    /// [`Command::ReleasePort`]: both or neither.
    EvenAndHoldNext,
    /// This one, which has been held. The hold ends, whether the address can be opened or not.
    Held(u16),
}

/// A server among those that share listening addresses, each with clients of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerId {
    /// Which one, below `count`.
    pub index: u16,
    /// How many there are.
    pub count: u16,
}

impl Default for WorkerId {
    fn default() -> Self {
        Self { index: 0, count: 1 }
    }
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
        /// What is spoken there. A TCP address listens, and connections are made from it.
        protocol: Protocol,
        /// Which port it may have.
        port: Port,
    },
    /// Close a relayed transport address.
    CloseRelay {
        /// Which.
        relay: RelayId,
    },
    /// Nobody has come for a held port: give it back.
    ReleasePort {
        /// Of the address of this family.
        family: Family,
        /// Which.
        port: u16,
    },
    /// Close a client's connection after writing what is queued for it. Only for streams; the
    /// server has forgotten the client already.
    Disconnect {
        /// Whose.
        client: Client,
    },
    /// Make a TCP connection from a relayed transport address to a peer, then call
    /// [`Server::handle_peer_connected`]. The server gives up by itself after
    /// [`Limits::CONNECTION_PATIENCE`].
    Connect {
        /// Its name from now on.
        connection: ConnectionId,
        /// From where.
        relay: RelayId,
        /// To whom.
        peer: SocketAddr,
    },
    /// From now on carry bytes between a peer's connection and a client's, beginning with what
    /// either has sent already; what was queued for the client goes first. The client is none of
    /// the server's any more: the end of either is told with [`Server::handle_connection_closed`].
    Splice {
        /// The peer's.
        connection: ConnectionId,
        /// The client's.
        client: Client,
    },
    /// Close a connection with a peer, or stop making it; if it is spliced, close the client's
    /// with it.
    CloseConnection {
        /// Which.
        connection: ConnectionId,
    },
    /// The request is another worker's to answer: move the client's connection there, call
    /// [`Server::handle_client_connected`] and then `handle_input` with `request` there, and go on
    /// with what follows it. The server has forgotten the client. Never with one worker.
    HandOver {
        /// Whose.
        client: Client,
        /// To which worker.
        worker: u16,
        /// The message that did not belong here.
        request: Vec<u8>,
    },
    /// The client has come from another address, and its allocation is another worker's: call
    /// [`Server::handle_fetch`] there with `client` and `request`, and [`Server::handle_moved`]
    /// here with what it returns and the sockets of [`super::Moving::relays`]. Never with one worker.
    Fetch {
        /// Who.
        client: Client,
        /// Which worker has the allocation.
        worker: u16,
        /// The message that asks for it.
        request: Vec<u8>,
    },
    /// A relayed transport address that came from another worker has another name here.
    AdoptRelay {
        /// As it was called there.
        from: RelayId,
        /// As it is called from now on.
        relay: RelayId,
    },
    /// Packets of a channel, or indications, may be relayed without asking, until a time; instead of what was said
    /// under the same name ([`Shortcut::key`]) before. Nothing but time is lost if the
    /// driver does not. Only with [`ServerConfig::offload`].
    Offload(Shortcut),
    /// They may not any more: ask again, from before the next command on.
    Withdraw(ShortcutKey),
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
    /// Whether to send it with the DF bit (IPv4), or without a fragment header (IPv6).
    pub dont_fragment: bool,
}

/// An ICMP error that came back for relayed data (RFC 8656 §11.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// ICMP or ICMPv6 type, by the family of the relayed transport address.
    pub kind: u8,
    /// ICMP or ICMPv6 code.
    pub code: u8,
    /// The next hop's MTU where the type has one, else 0.
    pub data: u32,
}

/// Longest framing in front of relayed data: a Data indication with an IPv6 peer.
pub const PREFIX_BYTES_MAX: usize = codec::HEADER_BYTES + 4 + 20 + 4;

/// Data of a peer on its way to a client: send `prefix`, the data, `padding` zero bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToClient {
    /// To whom.
    pub client: Client,
    pub(super) prefix: [u8; PREFIX_BYTES_MAX],
    pub(super) prefix_length: u8,
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
