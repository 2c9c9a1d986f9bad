//! One QUIC session with a machine whose certificate has been checked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, ConnectionError, SendDatagramError, VarInt};

use crate::error::{LinkError, is_expiry};
use crate::identity::PeerIdentity;
use crate::metrics::LinkMetrics;
use crate::stream::{PeerInfo, QuicStream, StreamClass};

/// Why a session is closed, as the QUIC application error code the peer sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Nothing is wrong; nobody needs it any more.
    Done,
    /// The process is going down.
    Stopping,
    /// The peer has no certificate where one is needed.
    NoIdentity,
    /// The peer broke the protocol.
    Protocol,
    /// A newer session with the same peer takes its place.
    Replaced,
    /// Too many sessions.
    Busy,
    /// The peer's certificate counts no more: it was taken out of the cluster.
    Removed,
}

impl CloseReason {
    pub(crate) fn code(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::Done => 0,
            Self::Stopping => 1,
            Self::NoIdentity => 2,
            Self::Protocol => 3,
            Self::Replaced => 4,
            Self::Busy => 5,
            Self::Removed => 6,
        })
    }
}

/// Why a datagram was not sent. Each is counted by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatagramDrop {
    /// It does not fit one packet of this path.
    #[error("datagram of {size_bytes} bytes is larger than the path's {max_bytes}")]
    TooBig {
        /// Its size.
        size_bytes: usize,
        /// What fits now.
        max_bytes: usize,
    },
    /// As much waits as may wait; QUIC would drop an older one silently instead.
    #[error("the datagram buffer is full")]
    BufferFull,
    /// The session is over.
    #[error("the session is closed")]
    Closed,
}

impl DatagramDrop {
    /// The word for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooBig { .. } => "too_big",
            Self::BufferFull => "buffer_full",
            Self::Closed => "closed",
        }
    }
}

/// What QUIC knows about the path of a session. `packets_lost` includes spurious
/// losses; for network loss use probe datagrams ([`crate::ProbeTracker`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathStats {
    /// Smoothed round trip.
    pub rtt: Duration,
    /// Congestion window.
    pub window_bytes: u64,
    /// Packets declared lost since the session began.
    pub packets_lost: u64,
    /// Packets sent since the session began.
    pub packets_sent: u64,
    /// Largest UDP payload in use.
    pub mtu_bytes: u16,
}

/// A session; clones share it. It ends when closed by either side, when the peer has been
/// silent for [`crate::IDLE_TIMEOUT`], or when every clone and stream is gone.
#[derive(Clone, Debug)]
pub struct Session {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    connection: Connection,
    peer: PeerIdentity,
    metrics: LinkMetrics,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.metrics.session_closed();
    }
}

impl Session {
    pub(crate) fn new(
        connection: Connection,
        peer: PeerIdentity,
        metrics: LinkMetrics,
        direction: &'static str,
    ) -> Self {
        metrics.session_opened(direction, peer.role.kind());
        Self {
            inner: Arc::new(Inner {
                connection,
                peer,
                metrics,
            }),
        }
    }

    /// Who is at the other end, from its certificate.
    #[must_use]
    pub fn peer(&self) -> &PeerIdentity {
        &self.inner.peer
    }

    /// Where it is.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.inner.connection.remote_address()
    }

    /// Opens a stream of `class` towards the peer. Only the side that dialled may.
    /// Larger `priority` goes first within the session.
    ///
    /// # Errors
    /// When the session is over.
    pub async fn open_stream(&self, class: StreamClass, priority: i32) -> Result<QuicStream, LinkError> {
        let (mut send, recv) = self.inner.connection.open_bi().await?;
        // Fails only on a stream that is already closed, which the write reports.
        let _ = send.set_priority(priority);
        send.write_all(&[class.byte()])
            .await
            .map_err(std::io::Error::from)?;
        let info = PeerInfo {
            identity: Some(self.inner.peer.clone()),
            remote: self.remote_address(),
        };
        Ok(QuicStream::new(send, recv, info))
    }

    /// Sends one datagram, or says at once why not. Never waits.
    ///
    /// # Errors
    /// [`DatagramDrop`]; the datagram is gone and counted.
    pub fn send_datagram(&self, datagram: Bytes) -> Result<(), DatagramDrop> {
        let size_bytes = datagram.len();
        let result = self.try_send_datagram(datagram);
        match result {
            Ok(()) => self.inner.metrics.datagram_sent(size_bytes),
            Err(drop) => self.inner.metrics.datagram_dropped(drop.reason()),
        }
        result
    }

    fn try_send_datagram(&self, datagram: Bytes) -> Result<(), DatagramDrop> {
        let connection = &self.inner.connection;
        let size_bytes = datagram.len();
        if connection.datagram_send_buffer_space() < size_bytes {
            return Err(DatagramDrop::BufferFull);
        }
        connection.send_datagram(datagram).map_err(|error| match error {
            SendDatagramError::TooLarge => DatagramDrop::TooBig {
                size_bytes,
                max_bytes: connection.max_datagram_size().unwrap_or(0),
            },
            SendDatagramError::UnsupportedByPeer | SendDatagramError::Disabled => DatagramDrop::TooBig {
                size_bytes,
                max_bytes: 0,
            },
            SendDatagramError::ConnectionLost(_) => DatagramDrop::Closed,
        })
    }

    /// The next datagram from the peer. Safe to use in `select!`.
    ///
    /// # Errors
    /// When the session is over.
    pub async fn recv_datagram(&self) -> Result<Bytes, LinkError> {
        let datagram = self.inner.connection.read_datagram().await?;
        self.inner.metrics.datagram_received(datagram.len());
        Ok(datagram)
    }

    /// Largest datagram that fits the path now; changes as the path's MTU is discovered.
    #[must_use]
    pub fn datagram_bytes_max(&self) -> usize {
        self.inner.connection.max_datagram_size().unwrap_or(0)
    }

    /// What QUIC knows about the path.
    #[must_use]
    pub fn path(&self) -> PathStats {
        let stats = self.inner.connection.stats().path;
        PathStats {
            rtt: stats.rtt,
            window_bytes: stats.cwnd,
            packets_lost: stats.lost_packets,
            packets_sent: stats.sent_packets,
            mtu_bytes: stats.current_mtu,
        }
    }

    /// Whether nobody has ended it yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.inner.connection.close_reason().is_none()
    }

    /// Whether the peer ended it because this machine was taken out of the cluster.
    #[must_use]
    pub fn was_removed(&self) -> bool {
        let code = CloseReason::Removed.code();
        matches!(
            self.inner.connection.close_reason(),
            Some(ConnectionError::ApplicationClosed(close)) if close.error_code == code
        )
    }

    /// Whether the peer ended it because the own certificate is out of its time. Whoever dials
    /// learns that only after the handshake.
    #[must_use]
    pub fn was_out_of_time(&self) -> bool {
        let reason = self.inner.connection.close_reason();
        reason.is_some_and(|reason| is_expiry(&reason))
    }

    /// Resolves when it is over, with the reason.
    pub async fn closed(&self) -> ConnectionError {
        self.inner.connection.closed().await
    }

    /// Ends it now; streams are cut.
    pub fn close(&self, reason: CloseReason) {
        self.inner.connection.close(reason.code(), b"");
    }

    /// The same number for clones of one session, different for any two sessions alive.
    #[must_use]
    pub fn stable_id(&self) -> usize {
        self.inner.connection.stable_id()
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.inner.connection
    }
}
