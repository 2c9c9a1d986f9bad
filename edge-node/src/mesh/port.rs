//! What a shard holds of a link: where to put datagrams and messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{BufMut as _, Bytes, BytesMut};
use medmesh_base::EdgeId;
use medmesh_link::{CloseReason, DatagramDrop, HEAD_BYTES, Session, media_head};
use medmesh_sfu::MeshMessage;
use tokio::sync::mpsc;

/// Counted per peer edge, over all its sessions.
#[derive(Debug, Default)]
pub(crate) struct PeerCounters {
    pub(crate) datagrams_sent: AtomicU64,
    pub(crate) bytes_sent: AtomicU64,
    pub(crate) datagrams_received: AtomicU64,
    pub(crate) bytes_received: AtomicU64,
    pub(crate) dropped_too_big: AtomicU64,
    pub(crate) dropped_buffer_full: AtomicU64,
    pub(crate) dropped_closed: AtomicU64,
    pub(crate) malformed: AtomicU64,
    pub(crate) messages_sent: AtomicU64,
    pub(crate) messages_received: AtomicU64,
    pub(crate) sessions: AtomicU64,
    pub(crate) rtt_us: AtomicU64,
    pub(crate) jitter_us: AtomicU64,
    pub(crate) loss_ppm: AtomicU64,
}

/// Adds to a counter that is only ever read for display.
pub(crate) fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

/// One session with a peer, as a shard uses it. Sending never waits.
#[derive(Clone)]
pub(crate) struct PeerPort {
    peer: EdgeId,
    session: Session,
    messages: mpsc::Sender<MeshMessage>,
    counters: Arc<PeerCounters>,
}

impl PeerPort {
    pub(crate) fn new(
        peer: EdgeId,
        session: Session,
        messages: mpsc::Sender<MeshMessage>,
        counters: Arc<PeerCounters>,
    ) -> Self {
        Self {
            peer,
            session,
            messages,
            counters,
        }
    }

    pub(crate) fn peer(&self) -> EdgeId {
        self.peer
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// What fits into a datagram beside the head, on the path as it is now.
    pub(crate) fn body_bytes_max(&self) -> usize {
        self.session.datagram_bytes_max().saturating_sub(HEAD_BYTES)
    }

    /// Sends a media datagram, or counts why not.
    pub(crate) fn send_datagram(&self, flow: u32, body: &[u8]) {
        let mut datagram = BytesMut::with_capacity(HEAD_BYTES + body.len());
        datagram.put_slice(&media_head(flow));
        datagram.put_slice(body);
        let datagram: Bytes = datagram.freeze();
        let bytes = datagram.len();
        match self.session.send_datagram(datagram) {
            Ok(()) => {
                count(&self.counters.datagrams_sent, 1);
                count(&self.counters.bytes_sent, bytes);
            }
            Err(DatagramDrop::TooBig { .. }) => count(&self.counters.dropped_too_big, 1),
            Err(DatagramDrop::BufferFull) => count(&self.counters.dropped_buffer_full, 1),
            Err(DatagramDrop::Closed) => count(&self.counters.dropped_closed, 1),
        }
    }

    /// Queues a message. A queue that is full means a peer that reads nothing: messages
    /// are reliable or the session is over, so the session ends and the state starts anew.
    pub(crate) fn send_message(&self, message: MeshMessage) {
        match self.messages.try_send(message) {
            Ok(()) => count(&self.counters.messages_sent, 1),
            Err(mpsc::error::TrySendError::Full(_)) => self.session.close(CloseReason::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => {}
        }
    }
}
