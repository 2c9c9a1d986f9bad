//! A slow and obvious TURN server beside the real one: bytes choose what clients, peers and
//! time do, and after each step both have to say the same.

mod book;
mod driver;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use self::book::{Attempt, Book, Books, Hold, Stage};
use self::driver::{CLIENTS, Driver, PEERS, Ticket, denied, is_stream, user_of};
use super::next;
use crate::codec::{Builder, Class, Method, attribute};
use crate::server::{ConnectFailed, ConnectionId, Counter};

/// Allocations and held ports of a user; small, so that histories meet it.
pub(super) const ALLOCATIONS_PER_USER: usize = 3;
/// Connections with peers of an allocation.
pub(super) const CONNECTIONS_PER_ALLOCATION: usize = 3;
const CHANNELS: u8 = 3;

/// Plays `data` as a history on a server and on its model.
pub fn model(data: &[u8]) {
    let mut pair = Pair {
        driver: Driver::new(),
        books: Books::default(),
    };
    let mut bytes = data;
    while !bytes.is_empty() {
        let [operation, who, what] = next(&mut bytes);
        pair.step(operation, usize::from(who) % CLIENTS, what);
        pair.books.expire(pair.driver.now.monotonic);
        pair.check();
    }
}

struct Pair {
    driver: Driver,
    books: Books,
}

fn peer(what: u8) -> SocketAddr {
    PEERS[usize::from(what) % PEERS.len()]
}

impl Pair {
    fn now(&self) -> Duration {
        self.driver.now.monotonic
    }

    fn step(&mut self, operation: u8, client: usize, what: u8) {
        match operation % 16 {
            0 => self.driver.wait(Duration::from_secs(u64::from(what) * 3)),
            1 | 2 => self.allocate(client, what),
            3 => self.refresh(client, what),
            4 => self.permit(client, peer(what)),
            5 => self.bind(client, what % CHANNELS, peer(what / CHANNELS)),
            6 => self.channel_data(client, what % CHANNELS),
            7 => self.send(client, peer(what)),
            8 => self.peer_sends(what),
            9 => self.come_back(client, what),
            10 => self.connect(client, peer(what)),
            11 => self.peer_answers(what),
            12 => self.peer_comes(what),
            13 => self.bind_connection(client, what),
            14 => self.connection_ends(what),
            _ => self.disconnect(client),
        }
    }

    /// Bits of `what`: TCP, mobile, even port, hold the next; the rest picks a token.
    fn allocate(&mut self, client: usize, what: u8) {
        let (tcp, mobile, even, hold) = (what & 1 != 0, what & 2 != 0, what & 4 != 0, what & 8 != 0);
        let token = (what >= 128).then(|| self.driver.token(what & 0x0F)).flatten();
        let expected = self.expected_of_allocate(client, (tcp, mobile, even, hold), token);
        let reply = self.driver.ask(client, Method::ALLOCATE, |mut r| {
            r = r.attribute(
                attribute::REQUESTED_TRANSPORT,
                &[if tcp { 6 } else { 17 }, 0, 0, 0],
            );
            if mobile {
                r = r.attribute(attribute::MOBILITY_TICKET, &[]);
            }
            if even {
                r = r.attribute(attribute::EVEN_PORT, &[u8::from(hold) << 7]);
            }
            match token {
                Some(token) => r.attribute(attribute::RESERVATION_TOKEN, &token),
                None => r,
            }
        });
        assert_eq!(reply.code, expected, "allocate {client} {what:#b}");
        if expected != 0 {
            return;
        }
        let user = user_of(client);
        if let Some(token) = token {
            self.books.holds.retain(|hold| hold.token != token);
        }
        if let Some(token) = reply.token {
            let due = self.now() + Duration::from_secs(30);
            self.driver.tokens.push(token);
            self.books.holds.push(Hold { token, user, due });
        }
        let id = self.books.open(Book {
            client: Some(client),
            user,
            ends: self.now() + Duration::from_secs(600),
            tcp,
            mobile,
            moves: 0,
            relay: self.driver.opened.expect("an address was opened"),
            permissions: Default::default(),
            channels: Default::default(),
            correspondents: Default::default(),
        });
        if let Some(ticket) = reply.ticket {
            self.note(ticket, id, client, 0);
        }
    }

    fn expected_of_allocate(
        &self,
        client: usize,
        (tcp, mobile, even, hold): (bool, bool, bool, bool),
        token: Option<[u8; 8]>,
    ) -> u16 {
        let user = user_of(client);
        let (wanted, free) = (1 + usize::from(even && hold), self.books.free_of(user));
        match token {
            _ if self.books.at(client).is_some() => 437,
            _ if tcp && (!is_stream(client) || even || token.is_some()) => 400,
            _ if tcp && mobile => 405,
            Some(_) if even => 400,
            Some(token)
                if !self
                    .books
                    .holds
                    .iter()
                    .any(|h| h.token == token && h.user == user) =>
            {
                508
            }
            Some(_) => 0,
            None if wanted > free => 486,
            None => 0,
        }
    }

    fn refresh(&mut self, client: usize, what: u8) {
        let lifetime = [0_u32, 600, 1200, 3000][usize::from(what) % 4];
        let reply = self.driver.ask(client, Method::REFRESH, |r| {
            r.attribute(attribute::LIFETIME, &lifetime.to_be_bytes())
        });
        let now = self.now();
        let Some(id) = self.books.at(client) else {
            return assert_eq!(reply.code, 437, "refresh {client}");
        };
        assert_eq!(reply.code, 0, "refresh {client}");
        if lifetime == 0 {
            self.books.close(id);
        } else {
            self.books.get(id).ends = now + Duration::from_secs(lifetime.into());
        }
    }

    fn permit(&mut self, client: usize, peer: SocketAddr) {
        let expected = match self.books.at(client) {
            None => 437,
            Some(_) if denied(peer) => 403,
            Some(_) => 0,
        };
        let reply = self.driver.ask(client, Method::CREATE_PERMISSION, |r| {
            r.address(attribute::XOR_PEER_ADDRESS, peer)
        });
        assert_eq!(reply.code, expected, "permission of {client} for {peer}");
        if let Some(id) = self.books.at(client).filter(|_| expected == 0) {
            let ends = self.now() + Duration::from_secs(300);
            self.books.get(id).permissions.insert(peer.ip(), ends);
        }
    }

    fn bind(&mut self, client: usize, number: u8, peer: SocketAddr) {
        let expected = match self.books.at(client).map(|id| self.books.get(id)) {
            None => 437,
            Some(book) if denied(peer) || book.tcp => 403,
            Some(book)
                if book
                    .channels
                    .iter()
                    .any(|(n, (p, _))| (*n == number) != (*p == peer)) =>
            {
                400
            }
            Some(_) => 0,
        };
        let reply = self.driver.ask(client, Method::CHANNEL_BIND, |r| {
            r.attribute(attribute::CHANNEL_NUMBER, &[0x40, number, 0, 0])
                .address(attribute::XOR_PEER_ADDRESS, peer)
        });
        assert_eq!(reply.code, expected, "channel {number} of {client} to {peer}");
        let now = self.now();
        if let Some(id) = self.books.at(client).filter(|_| expected == 0) {
            let book = self.books.get(id);
            book.permissions.insert(peer.ip(), now + Duration::from_secs(300));
            book.channels
                .insert(number, (peer, now + Duration::from_secs(600)));
        }
    }

    fn channel_data(&mut self, client: usize, number: u8) {
        let book = self.books.at(client).map(|id| self.books.get(id));
        let expected = book
            .and_then(|book| book.channels.get(&number))
            .map(|(peer, _)| *peer);
        let relayed = self.driver.relays(client, &[0x40, number, 0, 1, 5]);
        assert_eq!(relayed, expected, "channel data of {client}");
    }

    fn send(&mut self, client: usize, peer: SocketAddr) {
        let send = Builder::new(Class::Indication, Method::SEND, [9; 12])
            .address(attribute::XOR_PEER_ADDRESS, peer)
            .attribute(attribute::DATA, b"data");
        let relayed = self.driver.relays(client, &send.finish());
        let allowed = self.books.at(client).is_some_and(|id| {
            let book = self.books.get(id);
            !book.tcp && book.permissions.contains_key(&peer.ip())
        });
        assert_eq!(relayed, allowed.then_some(peer), "send of {client} to {peer}");
        if let Some(id) = self.books.at(client).filter(|_| allowed) {
            self.books.get(id).correspondents.insert(peer);
        }
    }

    fn peer_sends(&mut self, what: u8) {
        let Some((_, book)) = self.books.nth(what >> 2).filter(|(_, book)| !book.tcp) else {
            return;
        };
        let peer = peer(what & 3);
        let out = self
            .driver
            .server
            .handle_relayed(self.driver.now, book.relay, peer, 7);
        let allowed = book.client.filter(|_| book.permissions.contains_key(&peer.ip()));
        assert_eq!(
            out.map(|out| out.client),
            allowed.map(driver::client_of),
            "data of {peer}"
        );
        let channel = book.channels.iter().find(|(_, (bound, _))| *bound == peer);
        if let Some(out) = out {
            assert_eq!(
                out.prefix().len() == 4,
                channel.is_some(),
                "channel or indication"
            );
        }
    }

    /// A Refresh with a ticket, from wherever.
    fn come_back(&mut self, client: usize, what: u8) {
        let Some(index) = usize::from(what).checked_rem(self.driver.tickets.len()) else {
            return;
        };
        let Ticket {
            bytes: ticket,
            book: id,
            user,
            moves,
        } = self.driver.tickets[index].clone();
        let expected = match self.books.at(client) {
            Some(_) => 0,
            None if user != user_of(client) => 400,
            None => match self.books.find(id) {
                None => 437,
                Some(book) if moves != book.moves && moves + 1 != book.moves => 400,
                Some(_) => 0,
            },
        };
        let reply = self.driver.ask(client, Method::REFRESH, |r| {
            r.attribute(attribute::MOBILITY_TICKET, &ticket)
        });
        assert_eq!(reply.code, expected, "{client} with a ticket");
        if expected != 0 {
            return;
        }
        let ends = self.now() + Duration::from_secs(600);
        let id = self.books.at(client).unwrap_or_else(|| {
            let book = self.books.get(id);
            book.client = Some(client);
            book.moves += 1;
            id
        });
        let book = self.books.get(id);
        book.ends = ends;
        assert_eq!(reply.ticket.is_some(), book.mobile, "a ticket for who may move");
        let moves = book.moves;
        if let Some(ticket) = reply.ticket {
            self.note(ticket, id, client, moves);
        }
    }

    fn note(&mut self, bytes: Vec<u8>, book: usize, client: usize, moves: u32) {
        let user = user_of(client);
        self.driver.tickets.push(Ticket {
            bytes,
            book,
            user,
            moves,
        });
    }

    fn connect(&mut self, client: usize, peer: SocketAddr) {
        let book = self.books.at(client).map(|id| (id, self.books.get(id).tcp));
        let expected = match book {
            None => Some(437),
            Some((_, false)) => Some(403),
            Some(_) if denied(peer) => Some(403),
            Some((id, _)) if self.books.attempts_of(id).any(|a| a.peer == peer) => Some(446),
            Some((id, _)) if self.books.attempts_of(id).count() >= CONNECTIONS_PER_ALLOCATION => Some(508),
            Some(_) => None,
        };
        let reply = self.driver.ask_or_wait(client, Method::CONNECT, |r| {
            r.address(attribute::XOR_PEER_ADDRESS, peer)
        });
        assert_eq!(
            reply.map(|reply| reply.code),
            expected,
            "{client} connects to {peer}"
        );
        if let (None, Some((book, _))) = (expected, book) {
            let connection = self.driver.connecting.take().expect("the driver was asked");
            let due = self.now() + Duration::from_secs(30);
            let attempt = Attempt {
                book,
                peer,
                stage: Stage::Connecting,
                due,
            };
            self.books.attempts.insert(connection, attempt);
        }
    }

    fn peer_answers(&mut self, what: u8) {
        let Some((connection, attempt)) = self.books.attempt(what >> 1) else {
            return;
        };
        let (now, connected) = (
            self.driver.now,
            if what & 1 == 0 { Ok(()) } else { Err(ConnectFailed) },
        );
        self.driver
            .server
            .handle_peer_connected(now, connection, connected);
        let told = self.driver.told();
        if attempt.stage != Stage::Connecting {
            return assert_eq!(told, None, "it had answered before");
        }
        assert_eq!(told, Some(if connected.is_ok() { 0 } else { 447 }));
        if connected.is_ok() {
            let due = self.now() + Duration::from_secs(30);
            let pending = Attempt {
                stage: Stage::Pending,
                due,
                ..attempt
            };
            self.books.attempts.insert(connection, pending);
        } else {
            self.books.attempts.remove(&connection);
        }
    }

    fn peer_comes(&mut self, what: u8) {
        let Some((book, (tcp, relay, permitted))) = self.books.nth(what >> 2).map(|(id, book)| {
            let permitted = book.permissions.contains_key(&peer(what & 3).ip());
            (id, (book.tcp, book.relay, permitted))
        }) else {
            return;
        };
        let room = self.books.attempts_of(book).count() < CONNECTIONS_PER_ALLOCATION;
        let peer = peer(what & 3);
        let accepted = self
            .driver
            .server
            .handle_peer_accepted(self.driver.now, relay, peer);
        assert_eq!(accepted.is_some(), tcp && permitted && room, "{peer} connects");
        assert_eq!(
            self.driver.told().is_some(),
            accepted.is_some(),
            "its client is told"
        );
        if let Some(connection) = accepted {
            let due = self.now() + Duration::from_secs(30);
            let attempt = Attempt {
                book,
                peer,
                stage: Stage::Pending,
                due,
            };
            self.books.attempts.insert(connection, attempt);
        }
    }

    fn bind_connection(&mut self, client: usize, what: u8) {
        let known = self.books.attempt(what);
        let id = known.map_or(ConnectionId(what.into()), |(id, _)| id);
        let pending = known.filter(|(_, attempt)| attempt.stage == Stage::Pending);
        let owner = pending
            .and_then(|(_, attempt)| self.books.find(attempt.book))
            .map(|book| book.user);
        let expected = match owner {
            _ if !is_stream(client) || self.books.at(client).is_some() => 400,
            None => 400,
            Some(owner) if owner != user_of(client) => 441,
            Some(_) => 0,
        };
        let reply = self.driver.ask(client, Method::CONNECTION_BIND, |r| {
            r.attribute(attribute::CONNECTION_ID, &id.0.to_be_bytes())
        });
        assert_eq!(reply.code, expected, "{client} binds {id:?}");
        assert_eq!(
            self.driver.spliced.take().is_some(),
            expected == 0,
            "spliced when bound"
        );
        if let (0, Some((id, attempt))) = (expected, pending) {
            let bound = Attempt {
                stage: Stage::Bound,
                due: Duration::MAX,
                ..attempt
            };
            self.books.attempts.insert(id, bound);
        }
    }

    fn connection_ends(&mut self, what: u8) {
        if let Some((connection, attempt)) = self.books.attempt(what) {
            self.driver.server.handle_connection_closed(connection);
            let refused = (attempt.stage == Stage::Connecting).then_some(447);
            assert_eq!(self.driver.told(), refused);
            self.books.attempts.remove(&connection);
        }
    }

    fn disconnect(&mut self, client: usize) {
        if !is_stream(client) {
            return;
        }
        self.driver.disconnect(client);
        if let Some(id) = self.books.at(client) {
            match self.books.get(id) {
                book if book.mobile => book.client = None,
                _ => self.books.close(id),
            }
        }
    }

    /// What holds between any two steps.
    fn check(&mut self) {
        self.driver.forget_told();
        let get = |counter| usize::try_from(self.driver.server.counters().get(counter)).unwrap_or(usize::MAX);
        let sum = |of: fn(&Book) -> usize| self.books.alive().map(of).sum::<usize>();
        assert_eq!(get(Counter::Allocations), self.books.alive().count());
        assert_eq!(get(Counter::Permissions), sum(|book| book.permissions.len()));
        assert_eq!(get(Counter::Channels), sum(|book| book.channels.len()));
        assert_eq!(get(Counter::Connections), self.books.attempts.len());
        assert_eq!(
            self.driver.open.len(),
            self.books.alive().count(),
            "one address each"
        );
        assert!(
            self.books
                .alive()
                .all(|book| self.driver.open.contains_key(&book.relay))
        );
        assert_eq!(self.driver.held.len(), self.books.holds.len(), "held ports");
        assert_eq!(
            self.driver.shortcuts,
            self.books.shortcuts(),
            "what needs no asking"
        );
        let denied = |ip: &IpAddr| denied(SocketAddr::new(*ip, 1));
        assert!(!self.books.alive().any(|book| book.permissions.keys().any(denied)));
        let waiting = self.books.alive().next().is_some() || !self.books.holds.is_empty();
        assert!(
            !waiting || self.driver.server.poll_timeout().is_some(),
            "everything ends some time"
        );
    }
}
