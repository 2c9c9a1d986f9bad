//! One thread: its own sockets, its own server, no locks shared with the others on the way
//! of a packet.
//!
//! Each turn of the loop takes what the kernel has ready in batches, lets the server judge
//! every datagram, and sends what comes of it in batches before the next one is taken.
//! Nothing waits for a timer: a batch is what has arrived while the last one was handled.
//! Turns held back by 50 or 100 µs, to make batches longer, relayed no more packets per second
//! of CPU when that was measured.

mod commands;
mod packets;
mod peers;
mod streams;

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use super::handle::Shared;
use super::locals::{self, Met};
use super::metrics::{Measure, Number, WorkerMetrics};
use super::mmsg::{RecvBatch, SendBatch};
use super::outbox::{ClientOutbox, PeerOutbox};
use super::relays::RelaySockets;
use super::stream::peers::Peers;
use super::stream::{Connections, Handed};
use super::token::Source;
use super::xdp::Shortcuts;
use crate::codec::{FRAME_BYTES_MAX, Family};
use crate::server::{Now, Server, ServerConfig, Transport, WorkerId};

/// Events taken from the kernel in one turn.
const EVENTS_MAX: usize = 256;
/// Messages taken from a listening socket before they are sent on.
const LISTENER_BATCH: usize = 32;
/// Messages taken from relayed transport addresses before they are sent on.
const RELAY_BATCH: usize = 32;
/// Messages taken from one of those at a time, so that a busy one leaves room for the others.
const RELAY_SHARE: usize = 16;
/// Room for what is read of a stream at once, behind what is left of the frame before.
const STREAM_BYTES: usize = FRAME_BYTES_MAX + (64 << 10);
/// How long to wait for descriptors to come back when there were none for a connection.
const SHORTAGE: Duration = Duration::from_millis(100);

/// A thread's share of the relay.
pub(super) struct Worker {
    shared: Arc<Shared>,
    worker: WorkerId,
    poll: Poll,
    /// Kept open: a waker that is dropped takes the call it has just made with it.
    _waker: Arc<Waker>,
    listeners: Vec<UdpSocket>,
    /// Of each listener: whether its clients must be told apart by the address they asked.
    wildcard: Vec<bool>,
    met: Met,
    /// What the kernel relays by itself of this worker's. Above the sockets, so that it goes before their ports do.
    shortcuts: Shortcuts,
    relays: RelaySockets,
    connections: Connections,
    peers: Peers,
    server: Server,
    metrics: Arc<WorkerMetrics>,
    clock: Clock,
    version: u64,
    /// Sockets that may have more to read: the kernel reports a socket once.
    ready: Vec<Token>,
    serving: Vec<Token>,
    /// Relayed transport addresses with something in their error queues, and those of the last turn.
    failing: Vec<usize>,
    failed: Vec<usize>,
    /// Acceptors with connections there were no descriptors for.
    starved: Vec<Token>,
    /// A connection on its way to another worker, until what it has sent since is known.
    handing_over: Option<Handed>,
}

struct Clock(Instant);

impl Clock {
    fn now(&self) -> Now {
        let unix_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Now {
            monotonic: self.0.elapsed(),
            unix_s,
        }
    }
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        worker: WorkerId,
        listeners: Vec<UdpSocket>,
        acceptors: Vec<TcpListener>,
        metrics: Arc<WorkerMetrics>,
    ) -> io::Result<(Self, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), Source::Waker.token())?);
        for (index, socket) in listeners.iter().enumerate() {
            poll.registry().register(
                &mut SourceFd(&socket.as_raw_fd()),
                Source::Listener(index).token(),
                Interest::READABLE,
            )?;
        }
        let (server, started) = (server(&shared, worker)?, shared.started);
        let wildcard: io::Result<Vec<bool>> = listeners
            .iter()
            .map(|socket| socket.local_addr().map(locals::is_wildcard))
            .collect();
        let wildcard = wildcard?;
        let relays = RelaySockets::new(Arc::clone(&shared));
        let shortcuts = Shortcuts::new(shared.fast_path.clone());
        let first = u16::try_from(listeners.len()).expect("the configuration bounds listeners");
        let streams = Arc::clone(&shared.streams);
        let connections = Connections::new(streams, acceptors, first, Arc::clone(&metrics));
        connections.register(poll.registry())?;
        let worker = Self {
            shared,
            worker,
            poll,
            _waker: Arc::clone(&waker),
            wildcard,
            met: Met::default(),
            listeners,
            relays,
            shortcuts,
            connections,
            peers: Peers::default(),
            server,
            metrics,
            clock: Clock(started),
            version: 0,
            ready: Vec::new(),
            serving: Vec::new(),
            failing: Vec::new(),
            failed: Vec::new(),
            starved: Vec::new(),
            handing_over: None,
        };
        Ok((worker, waker))
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut buffers = Buffers::new();
        while !self.shared.stopping.load(Ordering::Acquire) {
            if let Err(error) = self.poll.poll(&mut events, self.patience()) {
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                tracing::error!(%error, "cannot wait for packets");
                return;
            }
            // One wait reports a socket once, so only those left over can be in the list already.
            let left_over = self.ready.len();
            for event in &events {
                let token = event.token();
                if event.is_error()
                    && let Source::Relay(number) = Source::of(token)
                {
                    self.failing.push(number);
                }
                let waker = Source::of(token) == Source::Waker;
                if !waker && !self.ready[..left_over].contains(&token) {
                    self.ready.push(token);
                }
            }
            // Panics are our bugs and nobody's input should reach one; if it does, the clients of
            // this worker lose their allocations and make new ones, and the others notice nothing.
            if catch_unwind(AssertUnwindSafe(|| self.turn(&mut buffers))).is_err() {
                tracing::error!("a relay worker panicked; its allocations are gone, it goes on");
                buffers = Buffers::new();
                if let Err(error) = self.begin_again() {
                    tracing::error!(%error, "a relay worker cannot go on");
                    return;
                }
            }
        }
    }

    /// A fresh server on the same listening sockets. The old one gives back its quotas, its
    /// sockets their ports; what was counted stays counted.
    fn begin_again(&mut self) -> io::Result<()> {
        let mut fresh = server(&self.shared, self.worker)?;
        fresh.inherit(self.server.counters());
        // Before the ports go back: what the old server said is nobody's any more.
        self.shortcuts.clear();
        self.server = fresh;
        self.relays = RelaySockets::new(Arc::clone(&self.shared));
        self.connections.clear();
        self.peers = Peers::default();
        self.version = 0;
        self.serving.clear();
        // The kernel reports a socket once, and these reports may have been lost.
        let listeners = (0..self.listeners.len()).map(Source::Listener);
        let acceptors = (0..self.connections.acceptors()).map(Source::Acceptor);
        self.ready = listeners.chain(acceptors).map(Source::token).collect();
        self.starved.clear();
        self.failing.clear();
        self.failed.clear();
        self.handing_over = None;
        self.metrics.publish(self.server.counters());
        Ok(())
    }

    /// How long there is nothing to do.
    fn patience(&self) -> Option<Duration> {
        if !self.ready.is_empty() || !self.failing.is_empty() {
            return Some(Duration::ZERO);
        }
        if !self.starved.is_empty() {
            return Some(SHORTAGE);
        }
        let server = self.server.poll_timeout().into_iter();
        let due = server.chain(self.connections.next_due()).min()?;
        Some(due.saturating_sub(self.clock.now().monotonic))
    }

    fn turn(&mut self, buffers: &mut Buffers) {
        let now = self.clock.now();
        #[cfg(test)]
        assert!(
            !self.shared.fault.swap(false, Ordering::AcqRel),
            "a fault a test asked for"
        );
        self.apply_changes();
        self.server.handle_timeout(now);
        self.execute(now);
        self.end_overdue(now);
        self.read_mail(now, buffers);
        self.ready.append(&mut self.starved);
        self.serve_errors(now);
        let busy = !self.ready.is_empty();
        std::mem::swap(&mut self.ready, &mut self.serving);
        let mut serving = std::mem::take(&mut self.serving);
        for token in serving.drain(..) {
            let more = match Source::of(token) {
                Source::Listener(index) => self.serve_listener(now, index, buffers),
                Source::Relay(number) => self.serve_relay(now, number, buffers),
                Source::Acceptor(index) => self.accept(now, index),
                Source::Connection(index) => self.serve_connection(now, index, buffers),
                Source::Peer(index) => self.serve_peer(now, index, buffers),
                Source::Waker => false,
            };
            if more {
                self.ready.push(token);
            }
        }
        self.serving = serving;
        self.flush_to_clients(buffers);
        self.flush_connections(now);
        self.metrics.publish(self.server.counters());
        self.metrics
            .set(Number::FastPathChannels, self.shortcuts.channels() as u64);
        self.metrics
            .set(Number::FastPathPeers, self.shortcuts.correspondents() as u64);
        if busy {
            let took = self.clock.now().monotonic.saturating_sub(now.monotonic);
            self.metrics.record_time(Measure::Turn, took);
        }
    }

    fn serve_errors(&mut self, now: Now) {
        std::mem::swap(&mut self.failing, &mut self.failed);
        let mut failed = std::mem::take(&mut self.failed);
        for number in failed.drain(..) {
            if self.read_errors(now, number) {
                self.failing.push(number);
            }
        }
        self.failed = failed;
    }

    fn apply_changes(&mut self) {
        let version = self.shared.version.load(Ordering::Acquire);
        if version == self.version {
            return;
        }
        self.version = version;
        self.server
            .set_secrets(self.shared.secrets.load().as_ref().clone());
        self.server
            .set_peer_policy(self.shared.policy.load().as_ref().clone());
        self.server
            .set_draining(self.shared.draining.load(Ordering::Relaxed));
    }
}

/// What one turn needs room for. Made by the thread that uses it: it holds raw pointers.
struct Buffers {
    from_clients: RecvBatch,
    from_peers: RecvBatch,
    to_peers: PeerOutbox,
    to_clients: ClientOutbox,
    send: SendBatch,
    /// What connections are read into.
    stream: Box<[u8]>,
}

impl Buffers {
    fn new() -> Self {
        Self {
            from_clients: RecvBatch::new(LISTENER_BATCH),
            from_peers: RecvBatch::new(RELAY_BATCH),
            to_peers: PeerOutbox::new(),
            to_clients: ClientOutbox::new(),
            send: SendBatch::new(),
            stream: vec![0; STREAM_BYTES].into_boxed_slice(),
        }
    }
}

fn server(shared: &Shared, worker: WorkerId) -> io::Result<Server> {
    let mut seed = [0; 8];
    aws_lc_rs::rand::fill(&mut seed).map_err(|_| io::Error::other("no randomness"))?;
    let families = shared.config.relay.iter();
    let families = families.map(|relay| {
        if relay.bind.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        }
    });
    let streams = shared.config.streams.iter();
    let streams = streams.map(|listener| {
        if listener.tls {
            Transport::Tls
        } else {
            Transport::Tcp
        }
    });
    let transports = shared.config.listen.iter().map(|_| Transport::Udp).chain(streams);
    let config = ServerConfig {
        realm: shared.config.realm.clone(),
        listeners: transports.collect(),
        tcp_relays: !shared.config.streams.is_empty(),
        dont_fragment: true,
        mobility: true,
        offload: shared.fast_path.is_some(),
        worker,
        families: families.collect(),
        limits: shared.config.limits.clone(),
        legacy_channels: shared.config.legacy_channels,
        nonce_key: shared.nonce_key,
        binding_credential: shared.config.binding_credential.clone(),
        seed: u64::from_ne_bytes(seed),
    };
    let mut server = Server::new(
        config,
        shared.secrets.load().as_ref().clone(),
        shared.policy.load().as_ref().clone(),
        Arc::clone(&shared.quotas),
    );
    server.set_alternates(shared.config.alternates.clone());
    Ok(server)
}
