//! What one worker has in the table.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::flow::Pair;
use super::{CORRESPONDENTS_MAX, FastPath};
use crate::codec::ChannelNumber;
use crate::server::{Shortcut, ShortcutKey};

/// Channels and peers of one worker's clients.
#[derive(Debug, Default)]
pub(in crate::driver) struct Shortcuts {
    path: Option<Arc<FastPath>>,
    held: HashMap<ShortcutKey, Pair>,
    /// How many of them are peers without a channel.
    correspondents: usize,
}

impl Shortcuts {
    pub(in crate::driver) fn new(path: Option<Arc<FastPath>>) -> Self {
        Self {
            path,
            held: HashMap::new(),
            correspondents: 0,
        }
    }

    /// How many channels.
    pub(in crate::driver) fn channels(&self) -> usize {
        self.held.len() - self.correspondents
    }

    /// How many peers without one.
    pub(in crate::driver) fn correspondents(&self) -> usize {
        self.correspondents
    }

    /// Puts a channel, or a peer, into the table, or makes it stay until another time. `server`: where the client sends
    /// to, `relay`: where the relayed transport address is bound. `false`: it stays with the sockets.
    pub(in crate::driver) fn offload(
        &mut self,
        shortcut: &Shortcut,
        server: SocketAddr,
        relay: SocketAddr,
    ) -> bool {
        let Some(path) = self.path.clone() else {
            return false;
        };
        let addresses = (shortcut.client.address, server, relay, shortcut.peer);
        let (SocketAddr::V4(client), SocketAddr::V4(server), SocketAddr::V4(relay), SocketAddr::V4(peer)) =
            addresses
        else {
            return false;
        };
        let key = shortcut.key();
        let pair = Pair::new(
            client,
            server,
            shortcut.number.map(ChannelNumber::get),
            relay,
            peer,
        );
        match self.held.get(&key).copied() {
            Some(other) if other == pair => {}
            Some(other) => path.remove(&other),
            None if !self.enter(&path, &key) => return false,
            None => {}
        }
        self.held.insert(key, pair);
        let inserted = path.insert(&pair, shortcut.until);
        if let Err(error) = &inserted {
            tracing::debug!(%error, "a channel or a peer stays with the sockets");
            self.withdraw(&key);
        }
        inserted.is_ok()
    }

    /// Counts a new one. `false`: there is no room for it.
    fn enter(&mut self, path: &FastPath, key: &ShortcutKey) -> bool {
        if key.1.is_some() {
            return true;
        }
        let room = |count: usize| (count < CORRESPONDENTS_MAX).then_some(count + 1);
        let entered = path
            .correspondents
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
            .is_ok();
        self.correspondents += usize::from(entered);
        entered
    }

    /// Takes one out; from here on the kernel knows nothing of it.
    pub(in crate::driver) fn withdraw(&mut self, key: &ShortcutKey) {
        if let (Some(path), Some(pair)) = (&self.path, self.held.remove(key)) {
            path.remove(&pair);
            if key.1.is_none() {
                path.correspondents.fetch_sub(1, Ordering::Relaxed);
                self.correspondents -= 1;
            }
        }
    }

    /// Takes out everything.
    pub(in crate::driver) fn clear(&mut self) {
        let held: Vec<ShortcutKey> = self.held.keys().copied().collect();
        held.iter().for_each(|key| self.withdraw(key));
    }
}

impl Drop for Shortcuts {
    fn drop(&mut self) {
        self.clear();
    }
}
