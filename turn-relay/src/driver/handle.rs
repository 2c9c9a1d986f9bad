//! Starting a relay and talking to it while it runs.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::config::{RelayConfig, RelayError};
use super::locals::Locals;
use super::metrics::{Metrics, Number};
use super::ports::PortPool;
use super::stream::places::Places;
use super::stream::tls::{self, Certificate, CertificateError};
use super::stream::{Inbox, Streams};
use super::xdp::FastPath;
use super::{socket, worker};
use crate::credential::Secrets;
use crate::policy::PeerPolicy;
use crate::server::{Quotas, WorkerId};

/// A relay; it exists as a name to start one by.
#[derive(Debug)]
pub struct Relay;

/// What all workers of a relay read.
pub(super) struct Shared {
    pub(super) config: RelayConfig,
    /// Counts changes of the fields below; a worker that sees a new number re-reads them.
    pub(super) version: AtomicU64,
    pub(super) secrets: ArcSwap<Secrets>,
    pub(super) policy: ArcSwap<PeerPolicy>,
    /// By relay address, in the order of the configuration.
    pub(super) ports: Vec<Mutex<PortPool>>,
    pub(super) quotas: Arc<Quotas>,
    pub(super) streams: Arc<Streams>,
    pub(super) locals: Locals,
    /// Where the kernel relays by itself, if it was asked to.
    pub(super) fast_path: Option<Arc<FastPath>>,
    /// What all workers count time from: allocations and connections move between them.
    pub(super) started: Instant,
    certificate: Option<Arc<Certificate>>,
    /// One key for all workers: a client that meets another one keeps its nonce.
    pub(super) nonce_key: [u8; 32],
    pub(super) draining: AtomicBool,
    pub(super) stopping: AtomicBool,
    /// Makes the next worker that takes its turn panic.
    #[cfg(test)]
    pub(super) fault: AtomicBool,
}

struct Running {
    shared: Arc<Shared>,
    wakers: Vec<Arc<mio::Waker>>,
    metrics: Arc<Metrics>,
    listeners: Vec<SocketAddr>,
    stream_listeners: Vec<SocketAddr>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// A running relay. Clones speak of the same one; it runs until [`RelayHandle::stop`] or until the
/// last clone is dropped.
#[derive(Clone)]
pub struct RelayHandle(Arc<Running>);

/// Numbers an embedding process reports onward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayStats {
    /// Allocations alive.
    pub allocations: u64,
    /// Permissions alive.
    pub permissions: u64,
    /// Channels alive.
    pub channels: u64,
    /// TCP and TLS connections open.
    pub connections: u64,
    /// Packets relayed from clients to peers.
    pub packets_to_peers: u64,
    /// Packets relayed from peers to clients.
    pub packets_to_clients: u64,
    /// Payload bytes relayed from clients to peers.
    pub bytes_to_peers: u64,
    /// Payload bytes relayed from peers to clients.
    pub bytes_to_clients: u64,
}

impl Relay {
    /// Opens the sockets, starts the workers and registers `medmesh_turn_…` metrics.
    ///
    /// Returns when the relay answers. Needs no async runtime.
    ///
    /// # Errors
    /// See [`RelayError`]; nothing is left running then.
    pub fn spawn(
        config: RelayConfig,
        secrets: Secrets,
        policy: PeerPolicy,
        registry: &prometheus::Registry,
    ) -> Result<RelayHandle, RelayError> {
        config.validate()?;
        let (listeners, mut sockets) = open_listeners(&config)?;
        let (stream_listeners, mut acceptors) = open_stream_listeners(&config)?;
        let certificate = config.tls.as_ref().map(Certificate::load).transpose()?;
        let streams = Arc::new(Streams {
            listeners: config.streams.clone(),
            places: Places::new(config.connections.clone()),
            tls: certificate
                .as_ref()
                .map(|certificate| tls::server_config(certificate).map(Arc::new))
                .transpose()?,
            inboxes: (0..config.workers).map(|_| Inbox::default()).collect(),
            wakers: OnceLock::new(),
        });
        let started = Instant::now();
        let fast_path = fast_path(&config, started)?;
        let bound = || listeners.iter().chain(&stream_listeners).copied();
        let policy = with_own_addresses(policy, &config, bound());
        let workers = config.workers;
        let mut nonce_key = [0; 32];
        aws_lc_rs::rand::fill(&mut nonce_key)
            .map_err(|_| RelayError::Start(std::io::Error::other("no randomness")))?;
        let ports = config
            .relay
            .iter()
            .map(|_| Mutex::new(PortPool::new(&config.ports)))
            .collect();
        let shared = Arc::new(Shared {
            config,
            version: AtomicU64::new(0),
            secrets: ArcSwap::from_pointee(secrets),
            policy: ArcSwap::from_pointee(policy),
            ports,
            quotas: Arc::new(Quotas::new()),
            streams,
            started,
            fast_path,
            locals: Locals::new(listeners.len() + stream_listeners.len()),
            certificate,
            nonce_key,
            draining: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            #[cfg(test)]
            fault: AtomicBool::new(false),
        });
        let asked = shared.config.fast_path.len() as u64;
        let metrics = Arc::new(Metrics::new(workers, shared.fast_path.clone(), asked));
        metrics
            .worker(0)
            .set(Number::AllocationsMax, shared.config.allocations_max());
        let mut ready = Vec::with_capacity(workers);
        let mut wakers = Vec::with_capacity(workers);
        for index in 0..workers {
            let sockets: Vec<UdpSocket> = sockets
                .iter_mut()
                .map(|per_worker| per_worker.remove(0))
                .collect();
            let acceptors: Vec<TcpListener> = acceptors
                .iter_mut()
                .map(|per_worker| per_worker.remove(0))
                .collect();
            let metrics = metrics.worker(index);
            let id = WorkerId {
                index: u16::try_from(index).expect("the configuration bounds workers"),
                count: u16::try_from(workers).expect("the configuration bounds workers"),
            };
            let (worker, waker) = worker::Worker::new(Arc::clone(&shared), id, sockets, acceptors, metrics)
                .map_err(RelayError::Start)?;
            ready.push(worker);
            wakers.push(waker);
        }
        shared.streams.wakers.set(wakers.clone()).expect("set once, here");
        metrics.register(registry).map_err(RelayError::Metrics)?;
        let running = Running {
            shared,
            wakers,
            metrics,
            listeners,
            stream_listeners,
            threads: Mutex::default(),
        };
        for (index, worker) in ready.into_iter().enumerate() {
            let thread = std::thread::Builder::new()
                .name(format!("turn-{index}"))
                .spawn(move || worker.run())
                .map_err(RelayError::Start)?;
            running.threads.lock().push(thread);
        }
        Ok(RelayHandle(Arc::new(running)))
    }
}

/// Where the kernel does not want to, the sockets do everything, as they would without having asked.
fn fast_path(config: &RelayConfig, started: Instant) -> Result<Option<Arc<FastPath>>, RelayError> {
    if config.fast_path.is_empty() {
        return Ok(None);
    }
    match FastPath::start(&config.fast_path, config.fast_path_native, started) {
        Ok(path) => Ok(Some(Arc::new(path))),
        Err(error) if error.is_of_the_host() => {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(
                error,
                "the kernel relays nothing by itself; the sockets relay everything"
            );
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Sockets by listener, then by worker, and the addresses they got.
type Listeners = (Vec<SocketAddr>, Vec<Vec<UdpSocket>>);

fn open_listeners(config: &RelayConfig) -> Result<Listeners, RelayError> {
    let mut addresses = Vec::new();
    let mut sockets = Vec::new();
    for &asked in &config.listen {
        let error = |source| RelayError::Listen {
            address: asked,
            source,
        };
        let first = socket::listener(asked, config.socket_buffer_bytes).map_err(error)?;
        let address = first.local_addr().map_err(error)?;
        let mut per_worker = vec![first];
        for _ in 1..config.workers {
            per_worker.push(socket::listener(address, config.socket_buffer_bytes).map_err(error)?);
        }
        addresses.push(address);
        sockets.push(per_worker);
    }
    for relay in &config.relay {
        let probe = SocketAddr::new(relay.bind, 0);
        socket::relay(probe).map_err(|source| RelayError::RelayAddress {
            address: relay.bind,
            source,
        })?;
    }
    Ok((addresses, sockets))
}

fn open_stream_listeners(
    config: &RelayConfig,
) -> Result<(Vec<SocketAddr>, Vec<Vec<TcpListener>>), RelayError> {
    let mut addresses = Vec::new();
    let mut sockets = Vec::new();
    for listener in &config.streams {
        let error = |source| RelayError::Listen {
            address: listener.address,
            source,
        };
        let first = socket::stream_listener(listener.address).map_err(error)?;
        let address = first.local_addr().map_err(error)?;
        let mut per_worker = vec![first];
        for _ in 1..config.workers {
            per_worker.push(socket::stream_listener(address).map_err(error)?);
        }
        addresses.push(address);
        sockets.push(per_worker);
    }
    Ok((addresses, sockets))
}

/// A peer policy that knows which addresses and sockets are the relay's own: what it listens on, relays
/// on and advertises, and every address of the host, which a wildcard listener answers on too.
fn with_own_addresses(
    mut policy: PeerPolicy,
    config: &RelayConfig,
    listeners: impl Iterator<Item = SocketAddr>,
) -> PeerPolicy {
    policy.own_sockets.extend(listeners);
    let listeners = policy.own_sockets.iter().map(SocketAddr::ip);
    policy.own.extend(listeners);
    policy.own.extend(
        config
            .relay
            .iter()
            .flat_map(|relay| [relay.bind, relay.advertise]),
    );
    policy.own.extend(socket::host_addresses());
    policy.own.sort_unstable();
    policy.own.dedup();
    policy
}

impl RelayHandle {
    /// The UDP addresses it listens on, in the order of [`RelayConfig::listen`].
    #[must_use]
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.0.listeners
    }

    /// The TCP addresses it listens on, in the order of [`RelayConfig::streams`].
    #[must_use]
    pub fn stream_listeners(&self) -> &[SocketAddr] {
        &self.0.stream_listeners
    }

    /// Takes the certificate files again if they were written since. New connections get
    /// the new certificate, those that stand do not notice. `true`: there is a new one.
    ///
    /// # Errors
    /// The files cannot be used; the old certificate stays in force.
    pub fn reload_certificate(&self) -> Result<bool, CertificateError> {
        match &self.0.shared.certificate {
            Some(certificate) => certificate.reload(),
            None => Ok(false),
        }
    }

    /// Puts other secrets in force. Allocations that exist live on.
    pub fn set_secrets(&self, secrets: Secrets) {
        self.0.shared.secrets.store(Arc::new(secrets));
        self.0.changed();
    }

    /// Puts another peer policy in force. Permissions and channels it does not allow end.
    pub fn set_peer_policy(&self, policy: PeerPolicy) {
        let bound = self.0.listeners.iter().chain(&self.0.stream_listeners).copied();
        let policy = with_own_addresses(policy, &self.0.shared.config, bound);
        self.0.shared.policy.store(Arc::new(policy));
        self.0.changed();
    }

    /// Makes no more allocations; those that exist live on. Drained when
    /// [`RelayStats::allocations`] is 0.
    pub fn drain(&self) {
        self.0.shared.draining.store(true, Ordering::Relaxed);
        self.0.changed();
    }

    /// What the relay holds and has done.
    #[must_use]
    pub fn stats(&self) -> RelayStats {
        self.0.metrics.stats()
    }

    /// Most allocations there can be: what the limits allow and the ports suffice for.
    #[must_use]
    pub fn allocations_max(&self) -> u64 {
        self.0.shared.config.allocations_max()
    }

    /// Ends the workers and closes every socket; returns when they are gone (milliseconds).
    pub fn stop(&self) {
        self.0.stop();
        for thread in self.0.threads.lock().drain(..) {
            // A panicked worker has already said so through the panic hook.
            let _ = thread.join();
        }
    }
}

impl Running {
    fn changed(&self) {
        self.shared.version.fetch_add(1, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        for waker in &self.wakers {
            if let Err(error) = waker.wake() {
                tracing::error!(%error, "cannot wake a relay worker");
            }
        }
    }

    fn stop(&self) {
        // Whoever has the metrics has the program too: it does not wait for the last of them.
        if let Some(path) = &self.shared.fast_path {
            path.detach();
        }
        self.shared.stopping.store(true, Ordering::Release);
        self.wake();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Debug for RelayHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayHandle")
            .field("listeners", &self.0.listeners)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
