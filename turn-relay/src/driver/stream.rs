//! Clients over TCP and TLS: accepting them, bounding them, and the way of their bytes.
//!
//! A connection keeps what an unfinished frame and its unwritten answers need and nothing
//! else: reading goes through one buffer of the worker. Media for a client that does not
//! keep up is dropped and counted; answers are never dropped, a client that does not
//! read them is hung up on.

pub(super) mod connection;
pub(super) mod peers;
pub(super) mod places;
mod proxy;
pub(super) mod tls;

#[cfg(fuzzing)]
pub use proxy::fuzz_proxy_header;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use parking_lot::Mutex;
use rustls::ServerConnection;

use super::config::StreamListener;
use super::metrics::{Number, WorkerMetrics};
use super::relays::RelaySocket;
use super::socket;
use super::token::Source;
use crate::server::{Client, ListenerId, Moving};
use connection::{Connection, Layer, MEDIA_WAITING_MAX, SEALED_BYTES_MAX, Stage, WAITING_MAX};
use places::Places;

/// What the kernel may hold of a connection without having sent it: the rest of the queue
/// stays here, where old media can still be dropped.
pub(super) const UNSENT_BYTES_MAX: u32 = 32 << 10;
/// How long a balancer may take for its header, and a client to take its last answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// What all workers' connections are made from.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) listeners: Vec<StreamListener>,
    pub(super) places: Arc<Places>,
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
    /// By worker.
    pub(super) inboxes: Vec<Inbox>,
    /// By worker, once all are there.
    pub(super) wakers: OnceLock<Vec<Arc<mio::Waker>>>,
}

/// A connection on its way to another worker, with the request that belongs there.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) worker: u16,
    pub(super) connection: Box<Connection>,
    pub(super) request: Vec<u8>,
    /// What followed it.
    pub(super) rest: Vec<u8>,
}

/// What workers send each other: clients that belong elsewhere.
#[derive(Debug)]
pub(super) enum Mail {
    /// A connection that goes on there.
    Handed(Handed),
    /// A client has come from another address; its allocation is wanted.
    Fetch {
        /// Who.
        client: Client,
        /// The message that asks for it.
        request: Vec<u8>,
        /// Which worker wants it.
        back_to: u16,
    },
    /// The allocation, or that there is none, and its relayed transport addresses.
    Fetched {
        /// Who.
        client: Client,
        /// The message that asked for it.
        request: Vec<u8>,
        /// The allocation.
        moving: Option<Moving>,
        /// Its sockets.
        sockets: Vec<RelaySocket>,
    },
}

/// Where a worker finds what others send it.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    mail: Mutex<Vec<Mail>>,
    /// Spares a look into it.
    filled: AtomicBool,
}

impl Inbox {
    pub(super) fn put(&self, mail: Mail) {
        let mut inbox = self.mail.lock();
        inbox.push(mail);
        self.filled.store(true, Ordering::Release);
    }

    pub(super) fn take(&self) -> Vec<Mail> {
        if !self.filled.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut inbox = self.mail.lock();
        self.filled.store(false, Ordering::Release);
        std::mem::take(&mut *inbox)
    }
}

#[derive(Debug)]
struct Acceptor {
    socket: TcpListener,
    id: ListenerId,
    listener: StreamListener,
}

/// The connections of one worker.
pub(super) struct Connections {
    streams: Arc<Streams>,
    metrics: Arc<WorkerMetrics>,
    acceptors: Vec<Acceptor>,
    slots: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
    by_client: HashMap<Client, usize>,
    generations: u32,
    /// Those with something to write at the end of this turn.
    queued: Vec<usize>,
    /// Balancers and goodbyes that must not take for ever, oldest first.
    deadlines: VecDeque<(Duration, usize, u32)>,
}

/// Why a connection could not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    Untrusted,
}

impl Connections {
    /// `sockets` are this worker's, in the order of the listeners; `first` is the id of the first.
    pub(super) fn new(
        streams: Arc<Streams>,
        sockets: Vec<TcpListener>,
        first: u16,
        metrics: Arc<WorkerMetrics>,
    ) -> Self {
        let acceptors =
            sockets
                .into_iter()
                .zip(&streams.listeners)
                .zip(first..)
                .map(|((socket, listener), id)| Acceptor {
                    socket,
                    id: ListenerId(id),
                    listener: listener.clone(),
                });
        Self {
            acceptors: acceptors.collect(),
            streams,
            metrics,
            slots: Vec::new(),
            free: Vec::new(),
            by_client: HashMap::new(),
            generations: 0,
            queued: Vec::new(),
            deadlines: VecDeque::new(),
        }
    }

    pub(super) fn register(&self, registry: &Registry) -> io::Result<()> {
        for (index, acceptor) in self.acceptors.iter().enumerate() {
            registry.register(
                &mut SourceFd(&acceptor.socket.as_raw_fd()),
                Source::Acceptor(index).token(),
                Interest::READABLE,
            )?;
        }
        Ok(())
    }

    pub(super) fn acceptors(&self) -> usize {
        self.acceptors.len()
    }

    /// Ends every connection; the listeners stay.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.free.clear();
        self.by_client.clear();
        self.queued.clear();
        self.deadlines.clear();
        self.metrics.set(Number::Connections, 0);
    }

    /// Takes the next connection of an acceptor. `Ok(Err(…))`: there was one, and it is closed.
    pub(super) fn accept(
        &mut self,
        registry: &Registry,
        index: usize,
        now: Duration,
    ) -> io::Result<Result<usize, Refused>> {
        let acceptor = &self.acceptors[index];
        let (socket, from) = acceptor.socket.accept()?;
        let from = canonical(from);
        let client = Client {
            listener: acceptor.id,
            address: from,
        };
        let behind_proxy = !acceptor.listener.proxies.is_empty();
        if behind_proxy && !acceptor.listener.trusts(from.ip()) {
            self.metrics.increment(Number::RefusedUntrusted);
            return Ok(Err(Refused::Untrusted));
        }
        let place = self.streams.places.take().and_then(|mut place| {
            if !behind_proxy {
                place.belongs_to(from.ip())?;
            }
            Ok(place)
        });
        let Ok(place) = place else {
            self.metrics.increment(Number::RefusedFull);
            return Ok(Err(Refused::Full));
        };
        socket::prepare_stream(&socket, UNSENT_BYTES_MAX)?;
        let layer = match self.streams.tls.as_ref().filter(|_| acceptor.listener.tls) {
            None => Layer::Plain,
            Some(config) => {
                let mut connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
                connection.set_buffer_limit(Some(SEALED_BYTES_MAX));
                Layer::Tls(Box::new(connection))
            }
        };
        let stage = if behind_proxy {
            Stage::Proxy(Vec::new())
        } else {
            first_stage(&layer, now)
        };
        self.generations = self.generations.wrapping_add(1);
        let generation = self.generations;
        let connection = Connection::new(socket, client, stage, layer, generation, place);
        let index = self.insert(registry, Box::new(connection))?;
        self.metrics.increment(Number::Accepted);
        if behind_proxy {
            self.deadlines.push_back((now + PATIENCE, index, generation));
        }
        Ok(Ok(index))
    }

    /// Takes a connection out that goes on at another worker.
    pub(super) fn hand_over(&mut self, registry: &Registry, client: Client) -> Option<Box<Connection>> {
        let index = self.by_client.remove(&client)?;
        let connection = self.slots[index].take()?;
        self.free.push(index);
        self.count();
        if let Err(error) = registry.deregister(&mut SourceFd(&connection.socket.as_raw_fd())) {
            tracing::warn!(%error, "cannot let go of a connection");
            return None;
        }
        Some(connection)
    }

    /// Takes up a connection that another worker accepted.
    pub(super) fn take_over(
        &mut self,
        registry: &Registry,
        mut connection: Box<Connection>,
    ) -> io::Result<usize> {
        self.generations = self.generations.wrapping_add(1);
        connection.generation = self.generations;
        connection.queued = false;
        self.insert(registry, connection)
    }

    fn count(&self) {
        self.metrics
            .set(Number::Connections, (self.slots.len() - self.free.len()) as u64);
    }

    fn insert(&mut self, registry: &Registry, connection: Box<Connection>) -> io::Result<usize> {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let fd = connection.socket.as_raw_fd();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = registry.register(&mut SourceFd(&fd), Source::Connection(index).token(), interest);
        if let Err(error) = registered {
            self.free.push(index);
            return Err(error);
        }
        self.slots[index] = Some(connection);
        self.count();
        Ok(index)
    }

    pub(super) fn get(&mut self, index: usize) -> Option<&mut Connection> {
        self.slots.get_mut(index)?.as_deref_mut()
    }

    /// The balancer's header of a connection that waits for it: whose connection it is, once
    /// that is known.
    pub(super) fn behind_proxy(&mut self, index: usize, now: Duration) -> io::Result<Option<Client>> {
        let Some(connection) = self.slots[index].as_deref_mut() else {
            return Ok(None);
        };
        let Some(header) = connection.read_proxy_header()? else {
            return Ok(None);
        };
        let told = proxy::client(&header).map_err(|proxy::NoHeader| connection::invalid())?;
        if let Some(address) = told {
            connection.client.address = address;
        }
        // A health check counts for the balancer itself.
        let source = connection.client.address.ip();
        if connection.place.belongs_to(source).is_err() {
            self.metrics.increment(Number::RefusedFull);
            return Err(connection::invalid());
        }
        connection.stage = first_stage(&connection.layer, now);
        Ok(Some(connection.client))
    }

    /// Makes a connection the one its client is reached by; returns one it replaces.
    pub(super) fn introduce(&mut self, index: usize) -> Option<usize> {
        let client = self.slots[index].as_deref()?.client;
        self.by_client.insert(client, index).filter(|old| *old != index)
    }

    /// Takes a connection out and closes it. Returns its client, if that is reached by it.
    pub(super) fn remove(&mut self, index: usize) -> Option<Client> {
        let connection = self.slots.get_mut(index)?.take()?;
        self.free.push(index);
        self.count();
        let client = connection.client;
        (self.by_client.get(&client) == Some(&index)).then(|| {
            self.by_client.remove(&client);
            client
        })
    }

    /// Queues an answer. `false`: there is no such connection, or its client does not read.
    pub(super) fn answer(&mut self, to: Client, bytes: &[u8]) -> bool {
        self.queue(to, [bytes, &[], &[]], WAITING_MAX)
    }

    /// Queues media. `false`: there is no such connection, or it is too slow for it.
    pub(super) fn media(&mut self, to: Client, parts: [&[u8]; 3]) -> bool {
        self.queue(to, parts, MEDIA_WAITING_MAX)
    }

    fn queue(&mut self, to: Client, parts: [&[u8]; 3], limit: usize) -> bool {
        let Some(&index) = self.by_client.get(&to) else {
            return false;
        };
        let Some(connection) = self.slots[index].as_deref_mut() else {
            return false;
        };
        let queued = connection.queue(parts, limit);
        self.flush_later(index);
        queued
    }

    /// Has a connection written to at the end of the turn.
    pub(super) fn flush_later(&mut self, index: usize) {
        if let Some(connection) = self.slots[index].as_deref_mut()
            && !connection.queued
        {
            connection.queued = true;
            self.queued.push(index);
        }
    }

    /// The connection of a client.
    pub(super) fn of(&self, client: Client) -> Option<usize> {
        self.by_client.get(&client).copied()
    }

    /// Makes a client's connection one of a peer's; the server knows nothing of it any more.
    pub(super) fn splice(&mut self, client: Client, peer: usize) -> Option<usize> {
        let index = self.by_client.remove(&client)?;
        let connection = self.slots[index].as_deref_mut()?;
        // The answer to the request that brought this goes as a message.
        let _ = connection.flush();
        connection.stage = Stage::Spliced(peer);
        Some(index)
    }

    /// Lets a connection end once what waits for it is written.
    pub(super) fn close(&mut self, client: Client, now: Duration) {
        let Some(index) = self.by_client.remove(&client) else {
            return;
        };
        if let Some(connection) = self.slots[index].as_deref_mut() {
            connection.stage = Stage::Closing;
            self.deadlines
                .push_back((now + PATIENCE, index, connection.generation));
            self.flush_later(index);
        }
    }

    /// Writes what this turn has queued. Returns connections that are at their end.
    pub(super) fn flush(&mut self) -> Vec<usize> {
        let mut ended = Vec::new();
        for index in std::mem::take(&mut self.queued) {
            let Some(connection) = self.slots[index].as_deref_mut() else {
                continue;
            };
            connection.queued = false;
            let closing = matches!(connection.stage, Stage::Closing);
            let failed = connection.flush().is_err();
            if failed || closing && connection.is_flushed() {
                if !failed {
                    connection.close_notify();
                    let _ = connection.flush();
                }
                ended.push(index);
            }
        }
        ended
    }

    /// Connections whose time for a header or a goodbye is up.
    pub(super) fn overdue(&mut self, now: Duration) -> Vec<usize> {
        let mut overdue = Vec::new();
        while let Some(&(due, index, generation)) = self.deadlines.front()
            && due <= now
        {
            self.deadlines.pop_front();
            if self.get(index).is_some_and(|connection| {
                connection.generation == generation
                    && matches!(connection.stage, Stage::Proxy(_) | Stage::Closing)
            }) {
                overdue.push(index);
            }
        }
        overdue
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        self.deadlines.front().map(|(due, ..)| *due)
    }
}

fn first_stage(layer: &Layer, now: Duration) -> Stage {
    match layer {
        Layer::Plain => Stage::Open,
        Layer::Tls(_) => Stage::Handshake(now),
    }
}

/// An IPv4 client of a dual-stack socket is an IPv4 client.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => {
            SocketAddr::new(address.ip().to_canonical(), address.port())
        }
        _ => address,
    }
}

/// The kernel is out of descriptors or memory: a moment later there may be some.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(nix::libc::EMFILE | nix::libc::ENFILE | nix::libc::ENOBUFS | nix::libc::ENOMEM)
    )
}
