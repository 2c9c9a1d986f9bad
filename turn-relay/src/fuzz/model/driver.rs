//! What stands for the driver and the clients in front of the real server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::super::{REALM, START_UNIX_S};
use super::{ALLOCATIONS_PER_USER, CONNECTIONS_PER_ALLOCATION};
use crate::codec::{Builder, Class, Datagram, Family, Fields, IntegrityKind, Method, attribute, decode};
use crate::credential::{IntegrityKey, Secret, Secrets, long_term_key};
use crate::policy::PeerPolicy;
use crate::server::{
    Client, Command, ConnectionId, Limits, ListenerId, Now, Port, Quotas, RelayId, Server, ServerConfig,
    Shortcut, ShortcutKey, Transport, WorkerId,
};

/// Half of them send datagrams, half have connections; every other one is the same user.
pub(super) const CLIENTS: usize = 8;

/// Peers: two of one address, one of another, one that is not allowed.
pub(super) const PEERS: [SocketAddr; 4] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 1000),
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 2000),
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 1000),
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1000),
];

pub(super) fn denied(peer: SocketAddr) -> bool {
    peer.ip().is_loopback()
}

pub(super) fn is_stream(client: usize) -> bool {
    client >= CLIENTS / 2
}

pub(super) fn user_of(client: usize) -> usize {
    client % 2
}

pub(super) fn client_of(client: usize) -> Client {
    let port = 4000 + u16::try_from(client).expect("a handful");
    Client {
        listener: ListenerId(is_stream(client).into()),
        address: SocketAddr::new(Ipv4Addr::new(203, 0, 113, 1).into(), port),
    }
}

fn username(user: usize) -> String {
    format!("{}:user-{user}", START_UNIX_S + (1 << 30))
}

/// What of an answer the model looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// 0 for success.
    pub(super) code: u16,
    pub(super) token: Option<[u8; 8]>,
    pub(super) ticket: Option<Vec<u8>>,
}

/// A ticket, the book it is of, whose that is, and how often it had moved.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    pub(super) bytes: Vec<u8>,
    pub(super) book: usize,
    pub(super) user: usize,
    pub(super) moves: u32,
}

pub(super) struct Driver {
    pub(super) server: Server,
    pub(super) now: Now,
    pub(super) open: BTreeMap<RelayId, SocketAddr>,
    /// What may be relayed without asking.
    pub(super) shortcuts: BTreeMap<ShortcutKey, Shortcut>,
    /// Opened last.
    pub(super) opened: Option<RelayId>,
    pub(super) held: BTreeSet<u16>,
    pub(super) connecting: Option<ConnectionId>,
    pub(super) spliced: Option<ConnectionId>,
    /// Every token there has been.
    pub(super) tokens: Vec<[u8; 8]>,
    /// Every ticket there has been.
    pub(super) tickets: Vec<Ticket>,
    keys: [IntegrityKey; 2],
    nonces: Vec<Vec<u8>>,
    sent: Vec<(Client, Vec<u8>)>,
    transaction: u64,
    next_port: u16,
}

impl Driver {
    pub(super) fn new() -> Self {
        let limits = Limits {
            allocations_per_user: u32::try_from(ALLOCATIONS_PER_USER).expect("small"),
            connections_per_allocation: u32::try_from(CONNECTIONS_PER_ALLOCATION).expect("small"),
            // Nobody is to run into these here: they have tests of their own.
            nonce_lifetime: Duration::from_secs(1 << 30),
            age_max: Duration::from_secs(1 << 30),
            stranger_max: Duration::from_secs(1 << 30),
            unauthenticated_burst: 1 << 20,
            ..Limits::default()
        };
        let config = ServerConfig {
            realm: REALM.to_owned(),
            listeners: vec![Transport::Udp, Transport::Tcp],
            tcp_relays: true,
            dont_fragment: true,
            mobility: true,
            offload: true,
            worker: WorkerId::default(),
            families: vec![Family::V4],
            limits,
            legacy_channels: false,
            nonce_key: [1; 32],
            binding_credential: None,
            seed: 1,
        };
        let policy = PeerPolicy::allow_list(vec!["192.0.2.0/24".parse().expect("a network")]);
        let secret = Secret::new(1, "fuzz");
        let key = |user| long_term_key(&username(user), REALM, &secret.password(&username(user)));
        let keys = [key(0), key(1)];
        let mut driver = Self {
            server: Server::new(
                config,
                Secrets::new(secret, None),
                policy,
                Arc::new(Quotas::new()),
            ),
            now: Now {
                monotonic: Duration::from_secs(1),
                unix_s: START_UNIX_S,
            },
            open: BTreeMap::new(),
            shortcuts: BTreeMap::new(),
            opened: None,
            held: BTreeSet::new(),
            connecting: None,
            spliced: None,
            tokens: Vec::new(),
            tickets: Vec::new(),
            keys,
            nonces: vec![Vec::new(); CLIENTS],
            sent: Vec::new(),
            transaction: 0,
            next_port: 0,
        };
        for client in 0..CLIENTS {
            let bare = Builder::new(Class::Request, Method::REFRESH, [0; 12]).finish();
            driver.input(client, &bare);
            let (_, challenge) = driver.sent.pop().expect("a challenge");
            let Ok(Datagram::Message(message)) = decode(&challenge) else {
                panic!("a challenge is a message")
            };
            driver.nonces[client] = Fields::read(&message).nonce.expect("a nonce").to_vec();
        }
        driver
    }

    pub(super) fn wait(&mut self, time: Duration) {
        self.now.monotonic += time;
        self.now.unix_s += time.as_secs();
        self.server.handle_timeout(self.now);
        self.drain();
    }

    pub(super) fn token(&self, number: u8) -> Option<[u8; 8]> {
        let index = usize::from(number).checked_rem(self.tokens.len())?;
        Some(self.tokens[index])
    }

    pub(super) fn disconnect(&mut self, client: usize) {
        self.server.handle_client_disconnected(client_of(client));
        self.drain();
    }

    /// Where bytes of a client are relayed to.
    pub(super) fn relays(&mut self, client: usize, datagram: &[u8]) -> Option<SocketAddr> {
        let Client { address, listener } = client_of(client);
        let out = self.server.handle_input(self.now, address, listener, datagram)?;
        assert!(
            datagram.get(out.data).is_some(),
            "relayed data lies in the datagram"
        );
        assert!(self.open.contains_key(&out.relay), "{:?} is open", out.relay);
        Some(out.peer)
    }

    fn input(&mut self, client: usize, datagram: &[u8]) {
        // What came of time passing was for others.
        self.server.handle_timeout(self.now);
        self.drain();
        self.sent.clear();
        assert_eq!(self.relays(client, datagram), None);
        self.drain();
    }

    pub(super) fn ask(
        &mut self,
        client: usize,
        method: Method,
        attributes: impl FnOnce(Builder) -> Builder,
    ) -> Reply {
        self.ask_or_wait(client, method, attributes).expect("an answer")
    }

    /// An authenticated request; the answer may come later.
    pub(super) fn ask_or_wait(
        &mut self,
        client: usize,
        method: Method,
        attributes: impl FnOnce(Builder) -> Builder,
    ) -> Option<Reply> {
        self.transaction += 1;
        let mut transaction = [0; 12];
        transaction[4..].copy_from_slice(&self.transaction.to_be_bytes());
        let user = user_of(client);
        let request = attributes(Builder::new(Class::Request, method, transaction))
            .attribute(attribute::USERNAME, username(user).as_bytes())
            .attribute(attribute::REALM, REALM.as_bytes())
            .attribute(attribute::NONCE, &self.nonces[client])
            .integrity(IntegrityKind::Sha1, &self.keys[user])
            .finish();
        self.input(client, &request);
        assert!(self.sent.len() <= 1, "one request, one answer");
        let (to, bytes) = self.sent.pop()?;
        assert_eq!(to, client_of(client), "only who asks is answered");
        Some(read(&bytes, &self.keys[user]))
    }

    /// What a client was told without having asked just now: 0, or the error.
    pub(super) fn told(&mut self) -> Option<u16> {
        self.drain();
        let (to, bytes) = self.sent.pop()?;
        let user = usize::from(to.address.port()) % 2;
        Some(read(&bytes, &self.keys[user]).code)
    }

    /// What anybody was told before the next step is not an answer to it.
    pub(super) fn forget_told(&mut self) {
        self.drain();
        self.sent.clear();
    }

    pub(super) fn drain(&mut self) {
        while let Some(command) = self.server.poll_command() {
            match command {
                Command::Send { to, bytes } => self.sent.push((to, bytes)),
                Command::OpenRelay { relay, port, .. } => {
                    self.next_port += 2;
                    let number = match port {
                        Port::Held(port) => {
                            assert!(self.held.remove(&port), "{port} was held");
                            port
                        }
                        Port::EvenAndHoldNext => {
                            assert!(self.held.insert(self.next_port + 1));
                            self.next_port
                        }
                        Port::Any | Port::Even => self.next_port,
                    };
                    let address = SocketAddr::new(Ipv4Addr::new(198, 51, 100, 1).into(), number);
                    assert_eq!(self.open.insert(relay, address), None);
                    self.opened = Some(relay);
                    self.server.handle_relay_opened(self.now, relay, Ok(address));
                }
                Command::CloseRelay { relay } => {
                    assert!(self.open.remove(&relay).is_some());
                    assert!(!self.shortcuts.keys().any(|(of, ..)| *of == relay), "ports last");
                }
                Command::Offload(shortcut) => {
                    self.shortcuts.insert(shortcut.key(), shortcut);
                }
                Command::Withdraw(key) => {
                    assert!(self.shortcuts.remove(&key).is_some());
                }
                Command::ReleasePort { port, .. } => assert!(self.held.remove(&port), "{port} was held"),
                Command::Connect {
                    connection,
                    relay,
                    peer,
                } => {
                    assert!(self.open.contains_key(&relay) && !denied(peer));
                    self.connecting = Some(connection);
                }
                Command::Splice { connection, .. } => self.spliced = Some(connection),
                Command::CloseConnection { .. } => {}
                command @ (Command::Disconnect { .. }
                | Command::Fetch { .. }
                | Command::AdoptRelay { .. }
                | Command::HandOver { .. }) => panic!("{command:?} of one worker and patient"),
            }
        }
    }
}

fn read(bytes: &[u8], key: &IntegrityKey) -> Reply {
    let Ok(Datagram::Message(message)) = decode(bytes) else {
        panic!("an answer is a message")
    };
    let find = |kind| message.attributes().find(|attribute| attribute.kind == kind);
    if message.class != Class::Indication
        && let Some(integrity) = Fields::read(&message).integrity
    {
        assert!(integrity.verify(key, &message), "sealed as the request was");
    }
    let code = find(attribute::ERROR_CODE).map_or(0, |error| {
        u16::from(error.value[2]) * 100 + u16::from(error.value[3])
    });
    Reply {
        code,
        token: find(attribute::RESERVATION_TOKEN).map(|token| token.value.try_into().expect("8 bytes")),
        ticket: find(attribute::MOBILITY_TICKET).map(|ticket| ticket.value.to_vec()),
    }
}
