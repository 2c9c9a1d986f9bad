//! The server in virtual time: a world with clients, and one file per kind of promise.

mod alternate;
mod authentication;
mod bandwidth;
mod errors;
mod flood;
mod lifetimes;
mod mobility;
mod model;
mod offload;
mod peers;
mod ports;
mod probe;
mod relaying;
mod strangers_answers;
mod streams;
mod tcp_peers;

use std::collections::HashMap;

use super::*;
use crate::codec::{
    Builder, Fields, IntegrityKind, Message, TransactionId, attribute, decode, decode_xor_address,
};
use crate::credential::{IntegrityKey, PasswordAlgorithm, Secret};

pub(super) const REALM: &str = "medmesh";
/// A moment in 2026.
pub(super) const START_UNIX_S: u64 = 1_795_000_000;
pub(super) const LISTENER: ListenerId = ListenerId(0);
pub(super) const TCP_LISTENER: ListenerId = ListenerId(1);
pub(super) const TLS_LISTENER: ListenerId = ListenerId(2);

pub(super) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn secret() -> Secret {
    Secret::new(1, "a secret of the first epoch")
}

/// A server, its clock, and a driver that opens addresses at once.
pub(super) struct World {
    pub(super) server: Server,
    pub(super) now: Now,
    /// Where input comes in.
    pub(super) listener: ListenerId,
    pub(super) relays: HashMap<RelayId, SocketAddr>,
    pub(super) sent: Vec<(Client, Vec<u8>)>,
    /// Clients the driver was told to disconnect.
    pub(super) closed_clients: Vec<Client>,
    pub(super) connecting: Vec<(ConnectionId, SocketAddr)>,
    pub(super) spliced: Vec<(ConnectionId, Client)>,
    pub(super) closed_connections: Vec<ConnectionId>,
    /// Ports held for a second allocation.
    pub(super) held: std::collections::BTreeSet<(Family, u16)>,
    pub(super) fetched: Vec<(Client, u16, Vec<u8>)>,
    pub(super) adopted: Vec<(RelayId, RelayId)>,
    pub(super) handed_over: Vec<(Client, u16, Vec<u8>)>,
    /// What the driver may relay without asking.
    pub(super) shortcuts: HashMap<ShortcutKey, Shortcut>,
    /// Families whose addresses cannot be opened.
    pub(super) closed: Vec<Family>,
    next_port: u16,
    next_transaction: u32,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(
            Limits::default(),
            PeerPolicy::allow_list(vec!["192.0.2.0/24".parse().unwrap()]),
        )
    }

    pub(super) fn with(limits: Limits, policy: PeerPolicy) -> Self {
        let families = vec![Family::V4, Family::V6];
        Self::of(
            ServerConfig {
                families,
                limits,
                ..config()
            },
            policy,
        )
    }

    pub(super) fn of(config: ServerConfig, policy: PeerPolicy) -> Self {
        let secrets = Secrets::new(secret(), None);
        let now = Now {
            monotonic: Duration::from_secs(5),
            unix_s: START_UNIX_S,
        };
        Self {
            server: Server::new(config, secrets, policy, Arc::new(Quotas::new())),
            now,
            listener: LISTENER,
            relays: HashMap::new(),
            sent: Vec::new(),
            closed_clients: Vec::new(),
            connecting: Vec::new(),
            spliced: Vec::new(),
            closed_connections: Vec::new(),
            handed_over: Vec::new(),
            held: std::collections::BTreeSet::new(),
            fetched: Vec::new(),
            adopted: Vec::new(),
            shortcuts: HashMap::new(),
            closed: Vec::new(),
            next_port: 50_000,
            next_transaction: 0,
        }
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.now.monotonic += by;
        self.now.unix_s += by.as_secs();
        self.server.handle_timeout(self.now);
        self.drain();
    }

    pub(super) fn drain(&mut self) {
        while let Some(command) = self.server.poll_command() {
            match command {
                Command::Send { to, bytes } => self.sent.push((to, bytes)),
                Command::OpenRelay { relay, .. } if self.closed.contains(&relay.family) => {
                    self.server
                        .handle_relay_opened(self.now, relay, Err(NoRelayAddress));
                }
                Command::OpenRelay { relay, port, .. } => {
                    self.next_port = 50_000 + (self.next_port - 50_000 + 2) % 10_000;
                    let port = match port {
                        Port::Held(port) => {
                            assert!(self.held.remove(&(relay.family, port)), "{port} was held");
                            port
                        }
                        Port::EvenAndHoldNext => {
                            assert!(self.held.insert((relay.family, self.next_port + 1)));
                            self.next_port
                        }
                        Port::Any | Port::Even => self.next_port,
                    };
                    let ip = if relay.family == Family::V4 {
                        "198.51.100.1"
                    } else {
                        "2001:db8::1"
                    };
                    let address = SocketAddr::new(ip.parse().unwrap(), port);
                    assert_eq!(
                        self.relays.insert(relay, address),
                        None,
                        "a relay id is never used twice"
                    );
                    self.server.handle_relay_opened(self.now, relay, Ok(address));
                }
                Command::CloseRelay { relay } => {
                    self.relays.remove(&relay).expect("only open relays are closed");
                    let of = |shortcut: &Shortcut| shortcut.relay == relay;
                    assert!(
                        !self.shortcuts.values().any(of),
                        "a port is not given up before its shortcuts"
                    );
                }
                Command::ReleasePort { family, port } => {
                    assert!(self.held.remove(&(family, port)), "{port} was held");
                }
                Command::Fetch {
                    client,
                    worker,
                    request,
                } => self.fetched.push((client, worker, request)),
                Command::AdoptRelay { from, relay } => self.adopted.push((from, relay)),
                Command::Disconnect { client } => self.closed_clients.push(client),
                Command::Connect {
                    connection,
                    peer,
                    relay,
                } => {
                    assert!(self.relays.contains_key(&relay));
                    self.connecting.push((connection, peer));
                }
                Command::Splice { connection, client } => self.spliced.push((connection, client)),
                Command::CloseConnection { connection } => self.closed_connections.push(connection),
                Command::HandOver {
                    client,
                    worker,
                    request,
                } => {
                    self.handed_over.push((client, worker, request));
                }
                Command::Offload(shortcut) => {
                    self.shortcuts.insert(shortcut.key(), shortcut);
                }
                Command::Withdraw(key) => {
                    let told = self.shortcuts.remove(&key);
                    assert!(told.is_some(), "nothing is taken back that was not said");
                }
            }
        }
    }

    /// What the server answers to a datagram.
    pub(super) fn input(&mut self, source: SocketAddr, datagram: &[u8]) -> Option<Reply> {
        let before = self.sent.len();
        assert_eq!(
            self.server
                .handle_input(self.now, source, self.listener, datagram),
            None
        );
        self.drain();
        assert!(self.sent.len() <= before + 1, "one request, one answer");
        let (to, bytes) = self.sent.get(before)?.clone();
        assert_eq!(
            to,
            Client {
                listener: self.listener,
                address: source
            }
        );
        Some(Reply(bytes))
    }

    pub(super) fn transaction(&mut self) -> TransactionId {
        self.next_transaction += 1;
        let mut id = [7; 12];
        id[..4].copy_from_slice(&self.next_transaction.to_be_bytes());
        id
    }

    pub(super) fn count(&self, counter: Counter) -> u64 {
        self.server.counters().get(counter)
    }

    /// The relay an address was opened for.
    pub(super) fn relay_at(&self, address: SocketAddr) -> RelayId {
        *self
            .relays
            .iter()
            .find(|(_, at)| **at == address)
            .expect("an open relay")
            .0
    }
}

pub(super) fn config() -> ServerConfig {
    ServerConfig {
        realm: REALM.to_owned(),
        listeners: vec![Transport::Udp, Transport::Tcp, Transport::Tls],
        tcp_relays: true,
        dont_fragment: true,
        mobility: true,
        offload: true,
        worker: WorkerId::default(),
        families: vec![Family::V4, Family::V6],
        limits: Limits::default(),
        legacy_channels: false,
        nonce_key: [3; 32],
        binding_credential: None,
        seed: 11,
    }
}

/// An answer of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply(pub(super) Vec<u8>);

impl Reply {
    pub(super) fn message(&self) -> Message<'_> {
        match decode(&self.0) {
            Ok(Datagram::Message(message)) => message,
            other => panic!("not a message: {other:?}"),
        }
    }

    pub(super) fn get(&self, kind: u16) -> Option<&[u8]> {
        let message = self.message();
        message
            .attributes()
            .find(|attribute| attribute.kind == kind)
            .map(|attribute| attribute.value)
    }

    pub(super) fn is_success(&self) -> bool {
        self.message().class == Class::Success
    }

    /// 0 for success.
    pub(super) fn code(&self) -> u16 {
        self.get(attribute::ERROR_CODE)
            .map_or(0, |value| u16::from(value[2]) * 100 + u16::from(value[3]))
    }

    pub(super) fn nonce(&self) -> Vec<u8> {
        self.get(attribute::NONCE).expect("a nonce").to_vec()
    }

    pub(super) fn lifetime_s(&self) -> u32 {
        u32::from_be_bytes(
            self.get(attribute::LIFETIME)
                .expect("a lifetime")
                .try_into()
                .unwrap(),
        )
    }

    pub(super) fn addresses(&self, kind: u16) -> Vec<SocketAddr> {
        let message = self.message();
        let values = message.attributes().filter(|attribute| attribute.kind == kind);
        values
            .map(|attribute| decode_xor_address(attribute.value, &message.transaction()).unwrap())
            .collect()
    }

    pub(super) fn relayed(&self) -> SocketAddr {
        self.addresses(attribute::XOR_RELAYED_ADDRESS)[0]
    }
}

/// A client that knows how to authenticate.
#[derive(Clone, Debug)]
pub(super) struct TestClient {
    pub(super) address: SocketAddr,
    pub(super) username: String,
    pub(super) password: String,
    pub(super) integrity: IntegrityKind,
    /// Named in requests, unless it is what not naming one means.
    pub(super) algorithm: PasswordAlgorithm,
    pub(super) nonce: Vec<u8>,
}

impl TestClient {
    /// With credentials that are good for an hour.
    pub(super) fn new(address: &str, user: &str) -> Self {
        let username = format!("{}:{user}", START_UNIX_S + 3600);
        let password = secret().password(&username);
        Self {
            address: addr(address),
            username,
            password,
            integrity: IntegrityKind::Sha1,
            algorithm: PasswordAlgorithm::Md5,
            nonce: Vec::new(),
        }
    }

    pub(super) fn key(&self) -> IntegrityKey {
        self.algorithm.key(&self.username, REALM, &self.password)
    }

    pub(super) fn seal(&self, mut request: Builder) -> Vec<u8> {
        if self.algorithm == PasswordAlgorithm::Sha256 {
            request = request
                .attribute(attribute::PASSWORD_ALGORITHMS, &[0, 2, 0, 0, 0, 1, 0, 0])
                .attribute(attribute::PASSWORD_ALGORITHM, &[0, 2, 0, 0]);
        }
        request
            .attribute(attribute::USERNAME, self.username.as_bytes())
            .attribute(attribute::REALM, REALM.as_bytes())
            .attribute(attribute::NONCE, &self.nonce)
            .integrity(self.integrity, &self.key())
            .fingerprint()
            .finish()
    }

    /// A request with credentials; fetches a nonce first if there is none.
    pub(super) fn request(
        &mut self,
        world: &mut World,
        method: Method,
        attributes: impl FnOnce(Builder) -> Builder,
    ) -> Reply {
        if self.nonce.is_empty() {
            let bare = Builder::new(Class::Request, Method::ALLOCATE, world.transaction()).finish();
            self.nonce = world.input(self.address, &bare).expect("a challenge").nonce();
        }
        let transaction = world.transaction();
        let request = self.seal(attributes(Builder::new(Class::Request, method, transaction)));
        let reply = world.input(self.address, &request).expect("an answer");
        assert_eq!(reply.message().transaction(), transaction);
        assert_eq!(reply.message().method, method);
        if ![401, 438].contains(&reply.code()) {
            self.verify(&reply);
        }
        reply
    }

    /// Answers after authentication are protected as the request was.
    pub(super) fn verify(&self, reply: &Reply) {
        let message = reply.message();
        let fields = Fields::read(&message);
        let integrity = fields.integrity.expect("an integrity attribute");
        assert_eq!(integrity.kind, self.integrity);
        assert!(integrity.verify(&self.key(), &message));
    }

    pub(super) fn allocate(&mut self, world: &mut World) -> SocketAddr {
        let reply = self.request(world, Method::ALLOCATE, udp);
        assert_eq!(reply.code(), 0, "{reply:?}");
        reply.relayed()
    }

    pub(super) fn permit(&mut self, world: &mut World, peers: &[&str]) -> u16 {
        let add = |request, peer: &&str| address_attribute(request, addr(peer));
        self.request(world, Method::CREATE_PERMISSION, |r| peers.iter().fold(r, add))
            .code()
    }

    pub(super) fn bind(&mut self, world: &mut World, number: u16, peer: &str) -> u16 {
        let [n1, n0] = number.to_be_bytes();
        self.request(world, Method::CHANNEL_BIND, |request| {
            address_attribute(
                request.attribute(attribute::CHANNEL_NUMBER, &[n1, n0, 0, 0]),
                addr(peer),
            )
        })
        .code()
    }

    pub(super) fn refresh(&mut self, world: &mut World, lifetime_s: u32) -> Reply {
        self.request(world, Method::REFRESH, |r| {
            r.attribute(attribute::LIFETIME, &lifetime_s.to_be_bytes())
        })
    }
}

pub(super) fn udp(request: Builder) -> Builder {
    request.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
}

pub(super) fn address_attribute(request: Builder, peer: SocketAddr) -> Builder {
    request.address(attribute::XOR_PEER_ADDRESS, peer)
}

/// A Send indication.
pub(super) fn send_indication(peer: SocketAddr, data: &[u8]) -> Vec<u8> {
    let indication = Builder::new(Class::Indication, Method::SEND, [9; 12]);
    address_attribute(indication, peer)
        .attribute(attribute::DATA, data)
        .finish()
}
