//! A second, slow and obvious TURN server, and random histories on both.

use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

const CLIENTS: usize = 3;
const PEERS: [&str; 4] = ["192.0.2.1:1000", "192.0.2.1:2000", "192.0.2.2:1000", "8.8.8.8:1"];
const CHANNELS: [u16; 3] = [0x4000, 0x4001, 0x4FFF];

#[derive(Clone, Debug)]
enum Step {
    Allocate {
        client: usize,
    },
    Refresh {
        client: usize,
        lifetime_s: u32,
    },
    Permit {
        client: usize,
        peers: Vec<usize>,
    },
    Bind {
        client: usize,
        channel: usize,
        peer: usize,
    },
    Channel {
        client: usize,
        channel: usize,
    },
    Send {
        client: usize,
        peer: usize,
    },
    FromPeer {
        client: usize,
        peer: usize,
    },
    Wait {
        seconds: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (client, peer, channel) = (0..CLIENTS, 0..PEERS.len(), 0..CHANNELS.len());
    let step = prop_oneof![
        client.clone().prop_map(|client| Step::Allocate { client }),
        (client.clone(), prop_oneof![Just(0), Just(600), 601..2000_u32])
            .prop_map(|(client, lifetime_s)| Step::Refresh { client, lifetime_s }),
        (client.clone(), prop::collection::vec(peer.clone(), 0..4))
            .prop_map(|(client, peers)| Step::Permit { client, peers }),
        (client.clone(), channel.clone(), peer.clone()).prop_map(|(client, channel, peer)| Step::Bind {
            client,
            channel,
            peer
        }),
        (client.clone(), channel).prop_map(|(client, channel)| Step::Channel { client, channel }),
        (client.clone(), peer.clone()).prop_map(|(client, peer)| Step::Send { client, peer }),
        (client, peer).prop_map(|(client, peer)| Step::FromPeer { client, peer }),
        prop_oneof![1..10_u64, 100..400_u64].prop_map(|seconds| Step::Wait { seconds }),
    ];
    prop::collection::vec(step, 1..80)
}

/// What an allocation is, by the book.
#[derive(Clone, Debug, Default)]
struct Book {
    ends: Duration,
    permissions: BTreeMap<IpAddr, Duration>,
    channels: BTreeMap<u16, (SocketAddr, Duration)>,
}

#[derive(Default)]
struct Model {
    books: [Option<Book>; CLIENTS],
}

impl Model {
    fn expire(&mut self, now: Duration) {
        for slot in &mut self.books {
            if slot.as_ref().is_some_and(|book| book.ends <= now) {
                *slot = None;
            }
            if let Some(book) = slot {
                book.permissions.retain(|_, ends| *ends > now);
                book.channels.retain(|_, (_, ends)| *ends > now);
            }
        }
    }

    fn bind(&mut self, now: Duration, client: usize, channel: u16, peer: SocketAddr) -> u16 {
        let Some(book) = &mut self.books[client] else {
            return 437;
        };
        if !allowed(peer) {
            return 403;
        }
        let taken = book
            .channels
            .iter()
            .any(|(n, (p, _))| (*n == channel) != (*p == peer));
        if taken {
            return 400;
        }
        book.permissions.insert(peer.ip(), now + Duration::from_secs(300));
        book.channels
            .insert(channel, (peer, now + Duration::from_secs(600)));
        0
    }

    fn permit(&mut self, now: Duration, client: usize, peers: &[SocketAddr]) -> u16 {
        let Some(book) = &mut self.books[client] else {
            return 437;
        };
        if peers.is_empty() {
            return 400;
        }
        if !peers.iter().all(|peer| allowed(*peer)) {
            return 403;
        }
        for peer in peers {
            book.permissions.insert(peer.ip(), now + Duration::from_secs(300));
        }
        0
    }

    fn held(&self, of: impl Fn(&Book) -> usize) -> u64 {
        self.books.iter().flatten().map(|book| of(book) as u64).sum()
    }
}

fn allowed(peer: SocketAddr) -> bool {
    peer.ip() != IpAddr::from([8, 8, 8, 8])
}

struct Pair {
    world: World,
    model: Model,
    clients: Vec<TestClient>,
    relayed: Vec<Option<RelayId>>,
}

impl Pair {
    fn new() -> Self {
        // Nobody is to run into the nonce's end here; the tests of nonces do that.
        let limits = Limits {
            nonce_lifetime: Duration::from_secs(1 << 30),
            ..Limits::default()
        };
        let clients = (0..CLIENTS).map(|n| TestClient::new(&format!("203.0.113.7:{}", 4000 + n), "a"));
        let policy = PeerPolicy::allow_list(vec!["192.0.2.0/24".parse().unwrap()]);
        let mut clients: Vec<_> = clients.collect();
        for client in &mut clients {
            client.username = format!("{}:a", START_UNIX_S + (1 << 30));
            client.password = secret().password(&client.username);
        }
        Self {
            world: World::with(limits, policy),
            model: Model::default(),
            clients,
            relayed: vec![None; CLIENTS],
        }
    }

    fn run(&mut self, step: &Step) {
        let now = self.world.now.monotonic;
        let (world, model) = (&mut self.world, &mut self.model);
        match *step {
            Step::Wait { seconds } => world.advance(Duration::from_secs(seconds)),
            Step::Allocate { client } => {
                let reply = self.clients[client].request(world, Method::ALLOCATE, udp);
                let free = model.books[client].is_none();
                assert_eq!(reply.code(), if free { 0 } else { 437 });
                if free {
                    self.relayed[client] = Some(world.relay_at(reply.relayed()));
                    model.books[client] = Some(Book {
                        ends: now + Duration::from_secs(600),
                        ..Book::default()
                    });
                }
            }
            Step::Refresh { client, lifetime_s } => {
                let code = self.clients[client].refresh(world, lifetime_s).code();
                assert_eq!(code, if model.books[client].is_some() { 0 } else { 437 });
                let keeps = lifetime_s > 0;
                model.books[client] = model.books[client].take().filter(|_| keeps).map(|book| Book {
                    ends: now + Duration::from_secs(lifetime_s.into()),
                    ..book
                });
            }
            Step::Permit { client, ref peers } => {
                let texts: Vec<&str> = peers.iter().map(|peer| PEERS[*peer]).collect();
                let addresses: Vec<_> = texts.iter().map(|text| addr(text)).collect();
                let expected = model.permit(now, client, &addresses);
                assert_eq!(self.clients[client].permit(world, &texts), expected);
            }
            Step::Bind {
                client,
                channel,
                peer,
            } => {
                let expected = model.bind(now, client, CHANNELS[channel], addr(PEERS[peer]));
                assert_eq!(
                    self.clients[client].bind(world, CHANNELS[channel], PEERS[peer]),
                    expected
                );
            }
            Step::Channel { .. } | Step::Send { .. } | Step::FromPeer { .. } => self.relay(step),
        }
    }

    fn relay(&mut self, step: &Step) {
        let world = &mut self.world;
        match *step {
            Step::Channel { client, channel } => {
                let book = self.model.books[client].as_ref();
                let expected = book
                    .and_then(|book| book.channels.get(&CHANNELS[channel]))
                    .map(|(peer, _)| *peer);
                let [n1, n0] = CHANNELS[channel].to_be_bytes();
                let out = world.server.handle_input(
                    world.now,
                    self.clients[client].address,
                    LISTENER,
                    &[n1, n0, 0, 1, 5],
                );
                assert_eq!(out.map(|out| out.peer), expected);
            }
            Step::Send { client, peer } => {
                let peer = addr(PEERS[peer]);
                let book = self.model.books[client].as_ref();
                let expected = book.is_some_and(|book| book.permissions.contains_key(&peer.ip()));
                let send = send_indication(peer, b"x");
                let out = world
                    .server
                    .handle_input(world.now, self.clients[client].address, LISTENER, &send);
                assert_eq!(out.is_some(), expected);
            }
            Step::FromPeer { client, peer } => {
                let peer = addr(PEERS[peer]);
                let Some(relay) = self.relayed[client] else { return };
                let book = self.model.books[client].as_ref();
                let permitted = book.is_some_and(|book| book.permissions.contains_key(&peer.ip()));
                let channel = book.and_then(|book| book.channels.iter().find(|(_, (p, _))| *p == peer));
                let out = world.server.handle_relayed(world.now, relay, peer, 1);
                assert_eq!(out.is_some(), permitted);
                if let Some(out) = out {
                    let header = channel.map(|(number, _)| number.to_be_bytes());
                    assert_eq!(header.is_some(), out.prefix().len() == 4);
                    assert!(header.is_none_or(|number| out.prefix()[..2] == number));
                }
            }
            _ => unreachable!("only relaying steps come here"),
        }
    }

    /// What holds between any two steps.
    fn check(&mut self) {
        self.model.expire(self.world.now.monotonic);
        let alive = self.model.books.iter().flatten().count() as u64;
        assert_eq!(self.world.count(Counter::Allocations), alive);
        assert_eq!(self.world.relays.len() as u64, alive);
        assert_eq!(
            self.world.count(Counter::Permissions),
            self.model.held(|book| book.permissions.len())
        );
        assert_eq!(
            self.world.count(Counter::Channels),
            self.model.held(|book| book.channels.len())
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_server_does_what_the_book_says(steps in steps()) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.run(step);
            pair.check();
        }
        // In the end everything ends, and everything is given back.
        pair.world.advance(Duration::from_secs(4000));
        pair.check();
        prop_assert!(pair.world.relays.is_empty());
        prop_assert_eq!(pair.world.server.poll_timeout(), None);
    }

    #[test]
    fn no_datagram_makes_it_panic(datagram in prop::collection::vec(any::<u8>(), 0..200), port: u16) {
        let mut world = World::new();
        world.server.handle_input(world.now, SocketAddr::from(([203, 0, 113, 7], port)), LISTENER, &datagram);
        world.drain();
    }
}
