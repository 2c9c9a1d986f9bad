//! One thread: its own sockets, its own server, no locks shared with the others on the way
//! of a packet.
//!
//! Each turn of the loop takes what the kernel has ready in batches, lets the server judge
//! every datagram, and sends what comes of it in batches before the next one is taken.
//! Nothing waits for a timer: a batch is what has arrived while the last one was handled.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use super::handle::Shared;
use super::metrics::WorkerMetrics;
use super::mmsg::{RecvBatch, SendBatch, Unsent};
use super::outbox::{ClientOutbox, PeerOutbox};
use super::relays::RelaySockets;
use crate::codec::Family;
use crate::server::{
    Client, Command, Counter, ListenerId, NoRelayAddress, Now, Port, Server, ServerConfig, WorkerId,
};

/// Events taken from the kernel in one turn.
const EVENTS_MAX: usize = 256;
/// Messages taken from a listening socket before they are sent on.
const LISTENER_BATCH: usize = 32;
/// Messages taken from relayed transport addresses before they are sent on.
const RELAY_BATCH: usize = 32;
/// Messages taken from one of those at a time, so that a busy one leaves room for the others.
const RELAY_SHARE: usize = 16;
const WAKE: Token = Token(usize::MAX);

/// A thread's share of the relay.
pub(super) struct Worker {
    shared: Arc<Shared>,
    poll: Poll,
    /// Kept open: a waker that is dropped takes the call it has just made with it.
    _waker: Arc<Waker>,
    listeners: Vec<UdpSocket>,
    relays: RelaySockets,
    server: Server,
    metrics: Arc<WorkerMetrics>,
    clock: Clock,
    version: u64,
    /// Tokens of sockets that may have more to read: the kernel reports a socket once.
    ready: Vec<usize>,
    serving: Vec<usize>,
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
        listeners: Vec<UdpSocket>,
        metrics: Arc<WorkerMetrics>,
    ) -> io::Result<(Self, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        for (index, socket) in listeners.iter().enumerate() {
            poll.registry().register(
                &mut SourceFd(&socket.as_raw_fd()),
                Token(index),
                Interest::READABLE,
            )?;
        }
        let server = server(&shared)?;
        let relays = RelaySockets::new(Arc::clone(&shared), listeners.len());
        let worker = Self {
            shared,
            poll,
            _waker: Arc::clone(&waker),
            listeners,
            relays,
            server,
            metrics,
            clock: Clock(Instant::now()),
            version: 0,
            ready: Vec::new(),
            serving: Vec::new(),
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
                let Token(token) = event.token();
                if token != WAKE.0 && !self.ready[..left_over].contains(&token) {
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
        let mut fresh = server(&self.shared)?;
        fresh.inherit(self.server.counters());
        self.server = fresh;
        self.relays = RelaySockets::new(Arc::clone(&self.shared), self.listeners.len());
        self.version = 0;
        self.serving.clear();
        // The kernel reports a socket once, and these reports may have been lost.
        self.ready = (0..self.listeners.len()).collect();
        self.metrics.publish(self.server.counters());
        Ok(())
    }

    /// How long there is nothing to do.
    fn patience(&self) -> Option<Duration> {
        if !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        let due = self.server.poll_timeout()?;
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
        std::mem::swap(&mut self.ready, &mut self.serving);
        let mut serving = std::mem::take(&mut self.serving);
        for token in serving.drain(..) {
            let more = if token < self.listeners.len() {
                self.serve_listener(now, token, buffers)
            } else {
                self.serve_relay(now, token, buffers)
            };
            if more {
                self.ready.push(token);
            }
        }
        self.serving = serving;
        self.flush_to_clients(buffers);
        self.metrics.publish(self.server.counters());
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

    /// Reads one batch of a listening socket and sends on what it holds. `true`: there may be more.
    fn serve_listener(&mut self, now: Now, index: usize, buffers: &mut Buffers) -> bool {
        let batch = &mut buffers.from_clients;
        batch.clear();
        let count = match batch.receive(self.listeners[index].as_fd(), LISTENER_BATCH) {
            Ok(count) => count,
            Err(error) => return !report(&error),
        };
        let listener = ListenerId(u16::try_from(index).expect("the configuration bounds listeners"));
        for message in 0..count {
            let Some(received) = batch.get(message) else {
                continue;
            };
            for (start, datagram) in received.datagrams() {
                if let Some(out) = self.server.handle_input(now, received.source, listener, datagram) {
                    buffers.to_peers.push(&out, message, start);
                } else {
                    self.execute(now);
                }
            }
        }
        let unsent = buffers
            .to_peers
            .flush(&self.relays, &buffers.from_clients, &mut buffers.send);
        self.count_unsent(unsent);
        count == LISTENER_BATCH
    }

    /// Reads some messages of a relayed transport address; they are sent on when the batch is
    /// full or the turn ends. `true`: there may be more.
    fn serve_relay(&mut self, now: Now, token: usize, buffers: &mut Buffers) -> bool {
        if buffers.from_peers.room() == 0 {
            self.flush_to_clients(buffers);
        }
        let Some(relay) = self.relays.by_token(token) else {
            return false;
        };
        let batch = &mut buffers.from_peers;
        let first = batch.len();
        let wanted = RELAY_SHARE.min(batch.room());
        let count = match batch.receive(relay.fd(), wanted) {
            Ok(count) => count,
            Err(error) => return !report(&error),
        };
        for message in first..first + count {
            let Some(received) = batch.get(message) else {
                continue;
            };
            for (start, datagram) in received.datagrams() {
                if let Some(out) = self
                    .server
                    .handle_relayed(now, relay.id, received.source, datagram.len())
                {
                    buffers
                        .to_clients
                        .push(out, message, start..start + datagram.len());
                }
            }
        }
        count == wanted
    }

    fn flush_to_clients(&mut self, buffers: &mut Buffers) {
        let unsent = buffers
            .to_clients
            .flush(&self.listeners, &buffers.from_peers, &mut buffers.send);
        buffers.from_peers.clear();
        self.count_unsent(unsent);
    }

    fn count_unsent(&mut self, unsent: Unsent) {
        self.server.count(Counter::DropSendBufferFull, unsent.buffer_full);
        self.server.count(Counter::DropSendFailed, unsent.failed);
    }

    fn execute(&mut self, now: Now) {
        while let Some(command) = self.server.poll_command() {
            match command {
                Command::Send { to, bytes } => self.send(to, &bytes),
                Command::OpenRelay {
                    relay,
                    port: Port::EvenAndHoldNext,
                    ..
                } => {
                    // Not held here yet: the client is told so.
                    self.server.handle_relay_opened(now, relay, Err(NoRelayAddress));
                }
                Command::OpenRelay { relay, port, .. } => {
                    let even_port = port == Port::Even;
                    let opened = self
                        .relays
                        .open(self.poll.registry(), relay, even_port)
                        .map_err(|error| {
                            tracing::debug!(%error, "cannot open a relayed transport address");
                            NoRelayAddress
                        });
                    self.server.handle_relay_opened(now, relay, opened);
                }
                Command::CloseRelay { relay } => self.relays.close(relay),
                Command::Disconnect { .. }
                | Command::Connect { .. }
                | Command::Splice { .. }
                | Command::CloseConnection { .. }
                | Command::ReleasePort { .. }
                | Command::Fetch { .. }
                | Command::AdoptRelay { .. }
                | Command::HandOver { .. } => unreachable!("there are only datagram listeners"),
            }
        }
    }

    fn send(&mut self, to: Client, bytes: &[u8]) {
        let socket = &self.listeners[usize::from(to.listener.0)];
        match socket.send_to(bytes, to.address) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.server.count(Counter::DropSendBufferFull, 1);
            }
            Err(_) => self.server.count(Counter::DropSendFailed, 1),
        }
    }
}

/// What one turn needs room for. Made by the thread that uses it: it holds raw pointers.
struct Buffers {
    from_clients: RecvBatch,
    from_peers: RecvBatch,
    to_peers: PeerOutbox,
    to_clients: ClientOutbox,
    send: SendBatch,
}

impl Buffers {
    fn new() -> Self {
        Self {
            from_clients: RecvBatch::new(LISTENER_BATCH),
            from_peers: RecvBatch::new(RELAY_BATCH),
            to_peers: PeerOutbox::new(),
            to_clients: ClientOutbox::new(),
            send: SendBatch::new(),
        }
    }
}

fn server(shared: &Shared) -> io::Result<Server> {
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
    let config = ServerConfig {
        realm: shared.config.realm.clone(),
        listeners: Vec::new(),
        tcp_relays: false,
        dont_fragment: false,
        mobility: false,
        worker: WorkerId::default(),
        families: families.collect(),
        limits: shared.config.limits.clone(),
        legacy_channels: shared.config.legacy_channels,
        nonce_key: shared.nonce_key,
        binding_credential: None,
        seed: u64::from_ne_bytes(seed),
    };
    Ok(Server::new(
        config,
        shared.secrets.load().as_ref().clone(),
        shared.policy.load().as_ref().clone(),
        Arc::clone(&shared.quotas),
    ))
}

/// Whether a failed receive means that the socket is empty. Anything else is reported and
/// tried again: one bad moment must not end a listener.
fn report(error: &io::Error) -> bool {
    match error.kind() {
        io::ErrorKind::WouldBlock => true,
        io::ErrorKind::Interrupted => false,
        _ => {
            tracing::debug!(%error, "cannot receive");
            false
        }
    }
}
