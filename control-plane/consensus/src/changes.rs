//! What changed, for subscribers.

use std::sync::Arc;

use medmesh_ledger::Event;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// What one log entry changed.
#[derive(Clone, Debug)]
pub struct Change {
    /// The entry. The state read after receiving this is at least as new.
    pub index: u64,
    /// Never empty.
    pub events: Arc<[Event]>,
}

/// A subscription: changes in log order, from the moment of subscribing.
#[derive(Debug)]
pub struct Changes {
    receiver: broadcast::Receiver<Change>,
}

impl Changes {
    pub(crate) fn new(receiver: broadcast::Receiver<Change>) -> Self {
        Self { receiver }
    }

    /// The next change; `None` when this node has stopped. A subscriber that fell too far behind
    /// gets one [`Event::Replaced`] (index 0) in place of what it missed. Safe to use in `select!`.
    pub async fn next(&mut self) -> Option<Change> {
        match self.receiver.recv().await {
            Ok(change) => Some(change),
            Err(RecvError::Lagged(_)) => Some(Change {
                index: 0,
                events: Arc::new([Event::Replaced]),
            }),
            Err(RecvError::Closed) => None,
        }
    }
}
