//! A peer that is dialled when needed, and gRPC channels over it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::sync::Mutex;
use tonic::transport::Channel;

use crate::backoff::Backoff;
use crate::endpoint::Endpoint;
use crate::error::LinkError;
use crate::session::Session;
use crate::stream::{QuicStream, StreamClass};
use crate::tls::Expect;

/// Pauses between dials of a peer that does not answer: short at first, since most
/// silences are restarts; at most a second, since a visit may be waiting.
const REDIAL_FIRST: Duration = Duration::from_millis(50);
const REDIAL_CEILING: Duration = Duration::from_secs(1);

/// A session that lived this long was a good one, and the next failure starts with a short
/// pause again. A peer that refuses us ends the session within a round trip.
const STABLE_AFTER: Duration = Duration::from_secs(2);

/// Flow control of bulk streams: 100 Mbit/s at 300 ms.
const BULK_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// What kind of gRPC a stream carries. Each kind has its own stream, so that a snapshot
/// never stands before a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrafficClass {
    /// Votes, heartbeats, log entries.
    Raft,
    /// Proposals, placements, reports and commands.
    Fleet,
    /// Snapshots and whatever else may wait.
    Bulk,
}

impl TrafficClass {
    /// Larger goes first within a session.
    fn priority(self) -> i32 {
        match self {
            Self::Raft => 30,
            Self::Fleet => 20,
            Self::Bulk => 0,
        }
    }
}

/// Priority of mesh streams: keyframe requests and retransmission requests are urgent.
const MESH_PRIORITY: i32 = 40;

/// A machine at an address, dialled on first use and again when its session ends.
///
/// Clones share the one session. While a pause between dials runs, asking fails at once
/// with [`LinkError::BackingOff`]; [`Peer::session_wait`] waits instead.
#[derive(Clone, Debug)]
pub struct Peer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    address: ArcSwap<String>,
    expect: Expect,
    slot: Mutex<Slot>,
}

#[derive(Debug)]
struct Slot {
    session: Option<Session>,
    since: Instant,
    backoff: Backoff,
    not_before: Instant,
}

impl Slot {
    fn open_session(&mut self) -> Option<Session> {
        let session = self.session.as_ref()?;
        if session.is_open() {
            return Some(session.clone());
        }
        self.session = None;
        if self.since.elapsed() >= STABLE_AFTER {
            self.backoff.reset();
        }
        self.pause();
        None
    }

    fn pause(&mut self) {
        self.not_before = Instant::now() + self.backoff.next_pause();
    }
}

impl Peer {
    /// A peer at `address` (`host:port`), which must prove to be `expect`. Dials nothing yet.
    #[must_use]
    pub fn new(endpoint: &Endpoint, address: impl Into<String>, expect: Expect) -> Self {
        let now = Instant::now();
        Self {
            inner: Arc::new(Inner {
                endpoint: endpoint.clone(),
                address: ArcSwap::from_pointee(address.into()),
                expect,
                slot: Mutex::new(Slot {
                    session: None,
                    since: now,
                    backoff: Backoff::new(REDIAL_FIRST, REDIAL_CEILING, rand::random()),
                    not_before: now,
                }),
            }),
        }
    }

    /// Who is expected there.
    #[must_use]
    pub fn expect(&self) -> Expect {
        self.inner.expect
    }

    /// Dials another address from the next time on.
    pub fn set_address(&self, address: impl Into<String>) {
        self.inner.address.store(Arc::new(address.into()));
    }

    /// Dials anew for whoever asks next, with the certificate in force then. The session there is
    /// stays open for as long as somebody holds it.
    pub async fn renew_session(&self) {
        let mut slot = self.inner.slot.lock().await;
        slot.session = None;
        slot.not_before = Instant::now();
    }

    /// The open session, or a new one. Callers at the same time share one dial.
    ///
    /// # Errors
    /// When the dial fails, or the pause after the last failure is not over.
    pub async fn session(&self) -> Result<Session, LinkError> {
        let mut slot = self.inner.slot.lock().await;
        if let Some(session) = slot.open_session() {
            return Ok(session);
        }
        if Instant::now() < slot.not_before {
            return Err(LinkError::BackingOff);
        }
        let address = self.inner.address.load_full();
        match self.inner.endpoint.dial(&address, self.inner.expect).await {
            Ok(session) => {
                slot.session = Some(session.clone());
                slot.since = Instant::now();
                Ok(session)
            }
            Err(error) => {
                slot.pause();
                Err(error)
            }
        }
    }

    /// The open session, or a new one, however long that takes. Drop the future to give up.
    pub async fn session_wait(&self) -> Session {
        loop {
            match self.session().await {
                Ok(session) => return session,
                Err(LinkError::BackingOff) => {}
                Err(error) => tracing::debug!(%error, expect = ?self.inner.expect, "dial failed"),
            }
            let until = self.inner.slot.lock().await.not_before;
            tokio::time::sleep_until(until.into()).await;
        }
    }

    /// Opens a mesh stream and gives the session its datagrams travel on.
    ///
    /// # Errors
    /// As [`Peer::session`].
    pub async fn open_mesh(&self) -> Result<(Session, QuicStream), LinkError> {
        let session = self.session().await?;
        let stream = session.open_stream(StreamClass::Mesh, MESH_PRIORITY).await?;
        Ok((session, stream))
    }

    /// A gRPC channel with a stream of its own. Connects when first used and again after
    /// every failure; a call made while the peer is away fails with `UNAVAILABLE`.
    #[must_use]
    pub fn channel(&self, class: TrafficClass) -> Channel {
        let peer = self.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let peer = peer.clone();
            // In a task of its own: a channel stops polling its connector when the call that
            // asked for it is given up, and would keep the dial's lock from every other channel.
            let dialling = tokio::spawn(async move {
                let session = peer.session().await?;
                let stream = session.open_stream(StreamClass::Grpc, class.priority()).await?;
                Ok::<_, LinkError>(TokioIo::new(stream))
            });
            // Ends early only by a panic, or by the runtime's end, where nobody waits.
            async move { dialling.await.unwrap_or(Err(LinkError::DialTimeout)) }
        });
        let mut endpoint = tonic::transport::Endpoint::from_static("http://link.medmesh.invalid");
        if class == TrafficClass::Bulk {
            endpoint = endpoint
                .initial_stream_window_size(BULK_WINDOW_BYTES)
                .initial_connection_window_size(BULK_WINDOW_BYTES);
        }
        endpoint.connect_with_connector_lazy(connector)
    }
}
