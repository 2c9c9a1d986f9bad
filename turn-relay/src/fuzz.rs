//! What the fuzzer drives: bytes in, a panic if a promise is broken.
//!
//! Compiled for tests and with `--cfg fuzzing` only. A target is one line:
//! `fuzz_target!(|data: &[u8]| medmesh_turn::fuzz::server(data));`

mod model;
mod parsers;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::codec::{
    Builder, Class, Datagram, Family, Fields, HEADER_BYTES, IntegrityKind, MAGIC_COOKIE, Method, attribute,
    decode,
};
use crate::credential::{Secret, Secrets, long_term_key};
use crate::policy::PeerPolicy;
use crate::server::{
    Command, Counter, Limits, ListenerId, Now, Quotas, RelayId, Server, ServerConfig, Shortcut, ShortcutKey,
    WorkerId,
};

pub use model::model;
pub use parsers::{probe, stream, text};

const REALM: &str = "medmesh";
const LISTENER: ListenerId = ListenerId(0);
const START_UNIX_S: u64 = 1_795_000_000;

/// Reads `data` as a datagram. What reads well must come back the same when it is written again.
pub fn codec(data: &[u8]) {
    let mut dressed = data.to_vec();
    if let Some(header) = dressed.first_chunk_mut::<HEADER_BYTES>() {
        // Past the cookie and the length there is more to find.
        header[0] &= 0x3F;
        header[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        let length = (data.len() - HEADER_BYTES) / 4 * 4;
        header[2..4].copy_from_slice(&u16::try_from(length).unwrap_or(0).to_be_bytes());
        dressed.truncate(HEADER_BYTES + length);
    }
    for bytes in [data, &dressed] {
        let Ok(Datagram::Message(message)) = decode(bytes) else {
            continue;
        };
        let fields = Fields::read(&message);
        assert!(fields.peers(&message).count() <= bytes.len() / 12);
        let _ = fields
            .integrity
            .map(|integrity| integrity.verify(&[7; 16], &message));
        let mut again = Builder::new(message.class, message.method, message.transaction());
        for attribute in message.attributes() {
            again = again.attribute(attribute.kind, attribute.value);
        }
        let again = again.finish();
        assert_eq!(again.len(), bytes.len(), "attributes fill a message");
    }
}

/// Plays `data` as a history: clients that authenticate, peers, noise and time, on one server.
pub fn server(data: &[u8]) {
    let mut world = World::new();
    let mut bytes = data;
    while let Some((&operation, rest)) = bytes.split_first() {
        bytes = rest;
        world.step(operation, &mut bytes);
        world.check();
    }
}

struct World {
    server: Server,
    now: Now,
    policy: PeerPolicy,
    limits: Limits,
    open: BTreeMap<RelayId, SocketAddr>,
    /// What may be relayed without asking.
    shortcuts: BTreeMap<ShortcutKey, Shortcut>,
    answers: u64,
    nonce: [Vec<u8>; 4],
}

fn next<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (found, rest) = bytes.split_at(bytes.len().min(N));
    *bytes = rest;
    let mut out = [0; N];
    out[..found.len()].copy_from_slice(found);
    out
}

fn client_address(client: u8) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(203, 0, 113, 1).into(), 4000 + u16::from(client % 4))
}

/// Few addresses, so that histories meet: most allowed, some not.
fn peer_address(byte: u8) -> SocketAddr {
    let ip = if byte & 0x0C == 0 {
        Ipv4Addr::LOCALHOST
    } else {
        Ipv4Addr::new(192, 0, 2, byte & 3)
    };
    SocketAddr::new(ip.into(), 1000 + u16::from(byte >> 6))
}

impl World {
    fn new() -> Self {
        let limits = Limits {
            allocations_per_user: 3,
            permissions_per_allocation: 3,
            channels_per_allocation: 2,
            ..Limits::default()
        };
        let config = ServerConfig {
            realm: REALM.to_owned(),
            listeners: Vec::new(),
            tcp_relays: false,
            dont_fragment: false,
            mobility: false,
            offload: true,
            worker: WorkerId::default(),
            families: vec![Family::V4],
            limits: limits.clone(),
            legacy_channels: false,
            nonce_key: [1; 32],
            binding_credential: None,
            seed: 1,
        };
        let policy = PeerPolicy::allow_list(vec!["192.0.2.0/24".parse().expect("a network")]);
        let secrets = Secrets::new(Secret::new(1, "fuzz"), None);
        Self {
            server: Server::new(config, secrets, policy.clone(), Arc::new(Quotas::new())),
            now: Now {
                monotonic: Duration::ZERO,
                unix_s: START_UNIX_S,
            },
            policy,
            limits,
            open: BTreeMap::new(),
            shortcuts: BTreeMap::new(),
            answers: 0,
            nonce: Default::default(),
        }
    }

    fn step(&mut self, operation: u8, bytes: &mut &[u8]) {
        let client = client_address(operation >> 4);
        match operation & 0x0F {
            0 => {
                let [length] = next(bytes);
                let (datagram, rest) = bytes.split_at(bytes.len().min(length.into()));
                *bytes = rest;
                self.input(client, datagram);
            }
            1 => {
                let [seconds] = next(bytes);
                self.now.monotonic += Duration::from_secs(u64::from(seconds) * 4);
                self.now.unix_s += u64::from(seconds) * 4;
                self.server.handle_timeout(self.now);
                self.drain(None);
            }
            2 => {
                let [number, length] = next(bytes);
                let channel = [0x40, number & 3, 0, length & 7];
                self.input(client, &[&channel[..], &[5; 7]].concat());
            }
            3 => {
                let [peer, slot] = next(bytes);
                let relay = self
                    .open
                    .keys()
                    .nth(usize::from(slot) % self.open.len().max(1))
                    .copied();
                if let Some(relay) = relay {
                    let peer = peer_address(peer);
                    let out = self.server.handle_relayed(self.now, relay, peer, slot.into());
                    assert!(
                        out.is_none() || self.policy.permits_ip(peer.ip()),
                        "{peer} got through"
                    );
                }
            }
            4 => {
                let [peer] = next(bytes);
                let send = Builder::new(Class::Indication, Method::SEND, [2; 12])
                    .address(attribute::XOR_PEER_ADDRESS, peer_address(peer))
                    .attribute(attribute::DATA, &[6; 5]);
                self.input(client, &send.finish());
            }
            method => self.request(method, operation >> 4, bytes),
        }
    }

    /// An authenticated request with attributes the bytes choose.
    fn request(&mut self, method: u8, client: u8, bytes: &mut &[u8]) {
        let [id, count] = next(bytes);
        let method = match method % 4 {
            0 => Method::ALLOCATE,
            1 => Method::REFRESH,
            2 => Method::CREATE_PERMISSION,
            _ => Method::CHANNEL_BIND,
        };
        let mut request = Builder::new(Class::Request, method, [id; 12]);
        if method == Method::ALLOCATE {
            request = request.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        }
        for _ in 0..count % 4 {
            let [kind, value] = next(bytes);
            request = match kind % 8 {
                0..3 => request.address(attribute::XOR_PEER_ADDRESS, peer_address(value)),
                3 | 4 => request.attribute(attribute::CHANNEL_NUMBER, &[0x40, value & 3, 0, 0]),
                5 => request.attribute(attribute::LIFETIME, &[0, 0, value & 0x0F, value]),
                6 => request.attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[value & 3, 0, 0, 0]),
                _ => request.attribute(u16::from(value), &[value; 4][..usize::from(value % 5)]),
            };
        }
        let index = usize::from(client % 4);
        let username = format!("{}:user-{}", START_UNIX_S + 100_000, client & 1);
        let key = long_term_key(&username, REALM, &Secret::new(1, "fuzz").password(&username));
        let request = request
            .attribute(attribute::USERNAME, username.as_bytes())
            .attribute(attribute::REALM, REALM.as_bytes())
            .attribute(attribute::NONCE, &self.nonce[index])
            .integrity(IntegrityKind::Sha1, &key)
            .finish();
        self.input(client_address(client), &request);
    }

    fn input(&mut self, client: SocketAddr, datagram: &[u8]) {
        let before = self.answers;
        if let Some(out) = self.server.handle_input(self.now, client, LISTENER, datagram) {
            assert!(
                datagram.get(out.data).is_some(),
                "relayed data lies in the datagram"
            );
            assert!(self.policy.permits(out.peer), "{} was reached", out.peer);
            assert!(self.open.contains_key(&out.relay), "{:?} is open", out.relay);
        }
        self.drain(Some(client));
        assert!(self.answers <= before + 1, "one datagram, one answer");
    }

    fn drain(&mut self, asked: Option<SocketAddr>) {
        while let Some(command) = self.server.poll_command() {
            match command {
                Command::OpenRelay { relay, .. } => {
                    let port = 50_000 + u16::try_from(self.open.len()).expect("a handful");
                    let address = SocketAddr::new(Ipv4Addr::new(198, 51, 100, 1).into(), port);
                    assert_eq!(self.open.insert(relay, address), None);
                    self.server.handle_relay_opened(self.now, relay, Ok(address));
                }
                Command::CloseRelay { relay } => {
                    assert!(self.open.remove(&relay).is_some());
                    assert!(!self.shortcuts.keys().any(|(of, ..)| *of == relay));
                }
                Command::Offload(shortcut) => {
                    assert!(self.policy.permits(shortcut.peer) && shortcut.until > self.now.monotonic);
                    assert!(self.open.contains_key(&shortcut.relay));
                    self.shortcuts.insert(shortcut.key(), shortcut);
                }
                Command::Withdraw(key) => {
                    assert!(self.shortcuts.remove(&key).is_some());
                }
                command @ (Command::Disconnect { .. }
                | Command::Connect { .. }
                | Command::Splice { .. }
                | Command::CloseConnection { .. }
                | Command::ReleasePort { .. }
                | Command::Fetch { .. }
                | Command::AdoptRelay { .. }
                | Command::HandOver { .. }) => panic!("{command:?} for a client that sends datagrams"),
                Command::Send { to, bytes } => {
                    assert_eq!(Some(to.address), asked, "only who asks is answered");
                    self.answers += 1;
                    self.remember_nonce(to.address, &bytes);
                }
            }
        }
    }

    fn remember_nonce(&mut self, client: SocketAddr, answer: &[u8]) {
        let Ok(Datagram::Message(message)) = decode(answer) else {
            panic!("an answer is a message")
        };
        if let Some(nonce) = Fields::read(&message).nonce {
            self.nonce[usize::from(client.port() - 4000)] = nonce.to_vec();
        }
    }

    /// What holds between any two steps.
    fn check(&self) {
        let get = |counter| self.server.counters().get(counter);
        let allocations = get(Counter::Allocations);
        assert_eq!(allocations, self.open.len() as u64, "one open address each");
        assert!(get(Counter::Permissions) <= allocations * u64::from(self.limits.permissions_per_allocation));
        assert!(get(Counter::Channels) <= allocations * u64::from(self.limits.channels_per_allocation));
        if allocations == 0 {
            assert_eq!((get(Counter::Permissions), get(Counter::Channels)), (0, 0));
            assert!(self.shortcuts.is_empty());
        } else {
            assert!(self.server.poll_timeout().is_some(), "everything ends some time");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn random_bytes_break_nothing(data in prop::collection::vec(any::<u8>(), 0..400)) {
            super::codec(&data);
            super::server(&data);
            super::stream(&data);
            super::probe(&data);
            super::text(&data);
        }

        /// As streams begin, so that pieces of frames are cut, and not only noise.
        #[test]
        fn frames_come_out_as_they_went_in(
            cuts in prop::collection::vec(any::<u8>(), 8),
            frames in prop::collection::vec((any::<bool>(), 0..60_u8), 0..20),
        ) {
            let mut data = cuts;
            for (is_message, length) in frames {
                let body = vec![length; usize::from(length.next_multiple_of(4))];
                if is_message {
                    data.extend([0, 1, 0, length.next_multiple_of(4)]);
                    data.extend(super::MAGIC_COOKIE.to_be_bytes());
                    data.extend([7; 12]);
                } else {
                    data.extend([0x40, 0, 0, length]);
                }
                data.extend(body);
            }
            super::stream(&data);
        }

        #[test]
        fn what_operators_write_breaks_nothing(text in r"([0-9]{1,3}[ \t][a-f]{30,40}\n|(allow|deny) [0-9.:/-]{7,20}\n|end\n|[0-9.:/\[\]-]{0,30}|#.{0,9}\n){0,5}") {
            super::text(text.as_bytes());
        }

        #[test]
        fn the_server_does_what_its_model_says(data in prop::collection::vec(any::<u8>(), 0..900)) {
            super::model(&data);
        }
    }
}
