//! TCP connections with peers (RFC 6062), found by their ids and by when patience ends.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::request::Seal;
use super::tokens::Tokens;
use super::{Limits, WorkerId};
use crate::codec::TransactionId;

/// A TCP connection with a peer: the value of CONNECTION-ID. It cannot be guessed, and its
/// remainder by the number of workers is the worker that knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u32);

/// Entries of the queue that are stale and not worth a pass over it.
const QUEUE_SLACK: usize = 256;

/// How far a connection has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// The driver is at it; the Connect request to answer then.
    Connecting { transaction: TransactionId, seal: Seal },
    /// It waits for the client's ConnectionBind.
    Pending,
    /// The driver carries its bytes.
    Bound,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    /// Of its allocation.
    pub(super) slot: u32,
    pub(super) peer: SocketAddr,
    pub(super) state: State,
    /// When patience ends; never for a bound one.
    due: Duration,
}

/// All connections of one server.
#[derive(Debug, Default)]
pub(super) struct Connections {
    by_id: HashMap<u32, Connection>,
    /// Everybody gets the same time, so the order of arrival is the order of the deadlines.
    queue: VecDeque<(Duration, u32)>,
}

impl Connections {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.by_id.get(&id.0)
    }

    /// The allocation of the connection a request names.
    pub(super) fn slot_of(&self, id: Option<u32>) -> Option<u32> {
        self.by_id.get(&id?).map(|connection| connection.slot)
    }

    pub(super) fn insert(
        &mut self,
        tokens: &mut Tokens,
        worker: WorkerId,
        (slot, peer): (u32, SocketAddr),
        state: State,
        now: Duration,
    ) -> ConnectionId {
        let (index, count) = (u32::from(worker.index), u32::from(worker.count));
        let id = loop {
            let random = u32::from_be_bytes(tokens.next());
            // Rounded down to a multiple of the workers; the last one may not have room for all.
            let id = (random - random % count).checked_add(index);
            if let Some(id) = id.filter(|id| !self.by_id.contains_key(id)) {
                break id;
            }
        };
        let connection = Connection {
            slot,
            peer,
            state,
            due: Duration::MAX,
        };
        self.by_id.insert(id, connection);
        self.set_state(ConnectionId(id), state, now);
        ConnectionId(id)
    }

    /// Moves a connection on; it has patience anew unless it is bound.
    pub(super) fn set_state(&mut self, id: ConnectionId, state: State, now: Duration) {
        let Some(connection) = self.by_id.get_mut(&id.0) else {
            return;
        };
        connection.state = state;
        connection.due = match state {
            State::Bound => Duration::MAX,
            State::Connecting { .. } | State::Pending => now + Limits::CONNECTION_PATIENCE,
        };
        if connection.due != Duration::MAX {
            self.queue.push_back((connection.due, id.0));
        }
        self.drop_stale();
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let connection = self.by_id.remove(&id.0);
        self.drop_stale();
        connection
    }

    /// The connections with some peers.
    pub(super) fn of_peers(&self, wanted: impl Fn(SocketAddr) -> bool) -> Vec<ConnectionId> {
        let found = self
            .by_id
            .iter()
            .filter(|(_, connection)| wanted(connection.peer));
        found.map(|(id, _)| ConnectionId(*id)).collect()
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        self.queue.front().map(|(due, _)| *due)
    }

    /// The next connection whose patience has ended by `now`.
    pub(super) fn pop_due(&mut self, now: Duration) -> Option<ConnectionId> {
        let &(due, id) = self.queue.front()?;
        if due > now {
            return None;
        }
        self.queue.pop_front();
        self.drop_stale();
        Some(ConnectionId(id))
    }

    /// Keeps stale entries from the front of the queue, and from filling it.
    fn drop_stale(&mut self) {
        let by_id = &self.by_id;
        let waits = |&(due, id): &(Duration, u32)| by_id.get(&id).is_some_and(|c| c.due == due);
        while self.queue.front().is_some_and(|entry| !waits(entry)) {
            self.queue.pop_front();
        }
        if self.queue.len() > QUEUE_SLACK + 2 * by_id.len() {
            self.queue.retain(waits);
        }
    }
}
