//! What the model believes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::ALLOCATIONS_PER_USER;
use super::driver::{client_of, is_stream};
use crate::codec::ChannelNumber;
use crate::server::{ConnectionId, RelayId, Shortcut, ShortcutKey};

/// An allocation, by the book.
#[derive(Clone, Debug)]
pub(super) struct Book {
    /// `None`: its connection is gone, and it may come back.
    pub(super) client: Option<usize>,
    pub(super) user: usize,
    pub(super) ends: Duration,
    pub(super) tcp: bool,
    pub(super) mobile: bool,
    pub(super) moves: u32,
    pub(super) relay: RelayId,
    pub(super) permissions: BTreeMap<IpAddr, Duration>,
    pub(super) channels: BTreeMap<u8, (SocketAddr, Duration)>,
    /// Whom indications went to since they are permitted.
    pub(super) correspondents: BTreeSet<SocketAddr>,
}

/// How far a connection with a peer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Connecting,
    Pending,
    Bound,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    pub(super) book: usize,
    pub(super) peer: SocketAddr,
    pub(super) stage: Stage,
    pub(super) due: Duration,
}

/// A port held for a second allocation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    pub(super) token: [u8; 8],
    pub(super) user: usize,
    pub(super) due: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Books {
    books: Vec<Option<Book>>,
    pub(super) attempts: BTreeMap<ConnectionId, Attempt>,
    pub(super) holds: Vec<Hold>,
}

impl Books {
    pub(super) fn alive(&self) -> impl Iterator<Item = &Book> {
        self.books.iter().flatten()
    }

    /// The book of whoever is at a client's address.
    pub(super) fn at(&self, client: usize) -> Option<usize> {
        let here = |book: &Option<Book>| book.as_ref().is_some_and(|book| book.client == Some(client));
        self.books.iter().position(here)
    }

    pub(super) fn find(&self, id: usize) -> Option<&Book> {
        self.books.get(id)?.as_ref()
    }

    pub(super) fn get(&mut self, id: usize) -> &mut Book {
        self.books[id].as_mut().expect("an open book")
    }

    /// Some open book.
    pub(super) fn nth(&self, number: u8) -> Option<(usize, &Book)> {
        let open = self.books.iter().enumerate();
        let open = open.filter_map(|(id, book)| Some((id, book.as_ref()?)));
        open.clone().nth(usize::from(number).checked_rem(open.count())?)
    }

    /// Some connection.
    pub(super) fn attempt(&self, number: u8) -> Option<(ConnectionId, Attempt)> {
        let index = usize::from(number).checked_rem(self.attempts.len())?;
        self.attempts
            .iter()
            .nth(index)
            .map(|(id, attempt)| (*id, *attempt))
    }

    pub(super) fn attempts_of(&self, book: usize) -> impl Iterator<Item = &Attempt> {
        self.attempts.values().filter(move |attempt| attempt.book == book)
    }

    /// How many more allocations a user may make.
    pub(super) fn free_of(&self, user: usize) -> usize {
        let held = self.alive().filter(|book| book.user == user).count();
        let held = held + self.holds.iter().filter(|hold| hold.user == user).count();
        ALLOCATIONS_PER_USER.saturating_sub(held)
    }

    pub(super) fn open(&mut self, book: Book) -> usize {
        self.books.push(Some(book));
        self.books.len() - 1
    }

    pub(super) fn close(&mut self, id: usize) {
        self.books[id] = None;
        self.attempts.retain(|_, attempt| attempt.book != id);
    }

    /// Channels of clients that send datagrams, and indications to peers that have none, for as long as they, their
    /// permissions and their allocations last.
    pub(super) fn shortcuts(&self) -> BTreeMap<ShortcutKey, Shortcut> {
        let mut shortcuts = BTreeMap::new();
        for book in self.alive().filter(|book| !book.tcp) {
            let Some(client) = book.client.filter(|client| !is_stream(*client)) else {
                continue;
            };
            let number =
                |number: u8| ChannelNumber::new(0x4000 + u16::from(number)).expect("a channel's number");
            let channels = book
                .channels
                .iter()
                .map(|(n, (peer, ends))| (Some(number(*n)), *peer, *ends));
            let bound = |peer: &SocketAddr| book.channels.values().any(|(other, _)| other == peer);
            let others = book.correspondents.iter().filter(|peer| !bound(peer));
            let others = others.map(|peer| (None, *peer, Duration::MAX));
            for (number, peer, ends) in channels.chain(others) {
                let Some(permitted) = book.permissions.get(&peer.ip()) else {
                    continue;
                };
                let shortcut = Shortcut {
                    relay: book.relay,
                    number,
                    client: client_of(client),
                    peer,
                    until: book.ends.min(ends).min(*permitted),
                };
                shortcuts.insert(shortcut.key(), shortcut);
            }
        }
        shortcuts
    }

    pub(super) fn expire(&mut self, now: Duration) {
        for id in 0..self.books.len() {
            let Some(book) = &mut self.books[id] else { continue };
            book.permissions.retain(|_, ends| *ends > now);
            book.channels.retain(|_, (_, ends)| *ends > now);
            book.correspondents
                .retain(|peer| book.permissions.contains_key(&peer.ip()));
            if book.ends <= now {
                self.close(id);
            }
        }
        self.attempts.retain(|_, attempt| attempt.due > now);
        self.holds.retain(|hold| hold.due > now);
    }
}
