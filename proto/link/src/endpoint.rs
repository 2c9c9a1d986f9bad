//! The one UDP socket of a process through which it dials and is dialled.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use medmesh_base::drain::Drain;
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use rustls_pki_types::CertificateDer;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{Semaphore, mpsc};

use crate::dispatch::{self, Sinks};
use crate::error::{LinkError, is_expiry};
use crate::identity::{Identity, PeerIdentity, Role};
use crate::metrics::LinkMetrics;
use crate::refused::Refused;
use crate::session::{CloseReason, Session};
use crate::stream::{GrpcIncoming, MeshStream};
use crate::tls::{self, ALPN_ENROL, ALPN_LINK, Expect, OwnCertificate, Trust};
use crate::transport;

/// A handshake takes two round trips; whoever needs longer has gone.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// A dial that has no answer by then has failed: with retries at 180, 540 and 1260 ms
/// three lost first packets in a row are survived.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Handshakes at once. Each costs about a millisecond of signing; beyond this, newcomers
/// wait their turn by being refused.
const HANDSHAKES_MAX: usize = 256;

/// From this many handshakes on, newcomers must prove their address first (RFC 9000
/// section 8.1.2), so that a flood with forged sources costs us one packet each.
const HANDSHAKES_UNPROVEN_MAX: usize = 64;

/// Sessions at once: a fleet of a thousand edges, each attached once and dialled once, and room to reconnect.
const SESSIONS_MAX: usize = 4096;

/// Streams waiting for their server; a server that is this far behind is refused more.
const STREAMS_WAITING_MAX: usize = 256;

/// Enrolments waiting: a rack that is switched on at once.
const ENROLMENTS_WAITING_MAX: usize = 32;

/// Socket buffers asked for; the default of 208 kB drops bursts of media (the kernel may grant less).
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// What a removed machine is told.
const REMOVED: &[u8] = b"this machine was removed from the cluster";

/// What an endpoint needs to know.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// UDP address to listen on.
    pub listen: SocketAddr,
    /// Whose certificates count.
    pub trust: Trust,
    /// The own certificate.
    pub identity: Identity,
    /// Whether machines without a certificate may reach `Enrolment` (control nodes only).
    pub enrolment: bool,
}

/// Streams that peers opened. What is dropped is refused: an edge drops `grpc`.
#[derive(Debug)]
pub struct Incoming {
    /// gRPC of peers with a certificate.
    pub grpc: GrpcIncoming,
    /// gRPC of peers without one: serve `Enrolment` here and nothing else.
    pub enrol: GrpcIncoming,
    /// Mesh streams of other edges.
    pub mesh: mpsc::Receiver<MeshStream>,
}

/// The endpoint; clones share it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    quinn: quinn::Endpoint,
    trust: Trust,
    identity: PeerIdentity,
    own: Arc<OwnCertificate>,
    metrics: LinkMetrics,
    refused: Refused,
}

impl Endpoint {
    /// Opens the socket and starts taking sessions. Everything it starts hangs on `drain`.
    ///
    /// # Errors
    /// When the socket cannot be bound or the identity cannot be used. Must be called inside a tokio runtime.
    pub fn bind(
        config: EndpointConfig,
        metrics: LinkMetrics,
        drain: &Drain,
    ) -> Result<(Self, Incoming), LinkError> {
        let own = OwnCertificate::new(&config.identity)?;
        metrics.certificate_expires(config.identity.not_after().unix_timestamp());
        let tls = tls::server_config(&config.trust, &own, config.enrolment)?;
        let crypto = QuicServerConfig::try_from(tls)
            .map_err(|_| rustls::Error::General("no TLS 1.3 suite for QUIC".to_owned()))?;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        server.transport_config(transport::accepting());
        // Machines do not roam; a session that changes its address is not ours.
        server.migration(false);
        let bind_error = |source| LinkError::Bind {
            address: config.listen,
            source,
        };
        let quinn = quinn::Endpoint::new(
            quinn_config(&config.identity),
            Some(server),
            udp_socket(config.listen).map_err(bind_error)?,
            Arc::new(quinn::TokioRuntime),
        )
        .map_err(bind_error)?;
        let (grpc, grpc_incoming) = mpsc::channel(STREAMS_WAITING_MAX);
        let (enrol, enrol_incoming) = mpsc::channel(ENROLMENTS_WAITING_MAX);
        let (mesh, mesh_incoming) = mpsc::channel(STREAMS_WAITING_MAX);
        let endpoint = Self {
            inner: Arc::new(Inner {
                quinn,
                trust: config.trust,
                identity: config.identity.peer().clone(),
                own,
                metrics,
                refused: Refused::default(),
            }),
        };
        let accepting = endpoint.clone();
        let tasks = drain.clone();
        drain.spawn(async move {
            accepting.accept(Sinks { grpc, enrol, mesh }, tasks).await;
        });
        let incoming = Incoming {
            grpc: GrpcIncoming(grpc_incoming),
            enrol: GrpcIncoming(enrol_incoming),
            mesh: mesh_incoming,
        };
        Ok((endpoint, incoming))
    }

    /// Where it listens, with the port the system chose.
    ///
    /// # Panics
    /// Never: a bound socket has an address.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.inner
            .quinn
            .local_addr()
            .expect("a bound socket has an address")
    }

    /// Who this process is.
    #[must_use]
    pub fn identity(&self) -> &PeerIdentity {
        &self.inner.identity
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> &LinkMetrics {
        &self.inner.metrics
    }

    /// Uses another certificate for sessions from now on. Those that are open stay open.
    ///
    /// # Errors
    /// When it is for another machine, or key and certificate do not match.
    pub fn swap_identity(&self, identity: &Identity) -> Result<(), LinkError> {
        if identity.peer() != &self.inner.identity {
            return Err(LinkError::OtherIdentity {
                expected: self.inner.identity.clone(),
            });
        }
        self.inner.own.swap(identity)?;
        self.inner
            .metrics
            .certificate_expires(identity.not_after().unix_timestamp());
        Ok(())
    }

    /// Refuses these machines from now on, whatever their certificates say, and ends the
    /// sessions they opened. Sessions opened to them are their holders' to close. Replaces the
    /// list of the call before.
    pub fn refuse(&self, roles: impl IntoIterator<Item = Role>) {
        self.inner.refused.set(roles.into_iter().collect());
    }

    /// Dials `address` (`host:port`) once, expecting `expect` there. A peer that does
    /// not like *us* says so only after this returned: the session is then closed.
    ///
    /// # Errors
    /// When there is no answer, or someone else answers.
    pub async fn dial(&self, address: &str, expect: Expect) -> Result<Session, LinkError> {
        let result = self.dial_quietly(address, expect).await;
        self.inner.metrics.dialled(match &result {
            Ok(_) => "ok",
            Err(LinkError::DialTimeout | LinkError::Session(quinn::ConnectionError::TimedOut)) => "timeout",
            Err(LinkError::Resolve { .. }) => "unresolved",
            Err(LinkError::Session(error)) if is_expiry(error) => {
                tracing::warn!(%address, "the certificate of the machine there has ended");
                "expired"
            }
            Err(_) => "refused",
        });
        result
    }

    async fn dial_quietly(&self, address: &str, expect: Expect) -> Result<Session, LinkError> {
        let remote = resolve(address, self.local_address()).await?;
        let tls = tls::client_config(&self.inner.trust, &self.inner.own, expect)?;
        let connecting = self
            .inner
            .quinn
            .connect_with(quinn_client(tls)?, remote, tls::SERVER_NAME)?;
        let connection = tokio::time::timeout(DIAL_TIMEOUT, connecting)
            .await
            .map_err(|_| LinkError::DialTimeout)??;
        let peer = peer_of(&connection).ok_or(crate::IdentityError::Uri)?;
        if self.inner.refused.has(peer.role) {
            connection.close(CloseReason::Removed.code(), REMOVED);
            return Err(LinkError::Removed);
        }
        Ok(Session::new(connection, peer, self.inner.metrics.clone(), "out"))
    }

    async fn accept(&self, sinks: Sinks, drain: Drain) {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        loop {
            let incoming = tokio::select! {
                () = drain.stopping() => break,
                incoming = self.inner.quinn.accept() => match incoming {
                    Some(incoming) => incoming,
                    None => break,
                },
            };
            let Ok(permit) = handshakes.clone().try_acquire_owned() else {
                self.inner.metrics.refused("handshakes");
                incoming.refuse();
                continue;
            };
            if self.inner.quinn.open_connections() >= SESSIONS_MAX {
                self.inner.metrics.refused("sessions");
                incoming.refuse();
                continue;
            }
            let busy = HANDSHAKES_MAX - handshakes.available_permits() > HANDSHAKES_UNPROVEN_MAX;
            if busy && incoming.may_retry() {
                // Fails only where may_retry() is false.
                let _ = incoming.retry();
                continue;
            }
            let endpoint = self.clone();
            let sinks = sinks.clone();
            drain.spawn(async move {
                let connection = endpoint.handshake(incoming).await;
                drop(permit);
                if let Some(connection) = connection {
                    endpoint.serve(connection, sinks).await;
                }
            });
        }
        self.inner.quinn.close(CloseReason::Stopping.code(), b"");
        self.inner.quinn.wait_idle().await;
    }

    async fn handshake(&self, incoming: quinn::Incoming) -> Option<quinn::Connection> {
        let connecting = incoming.accept().ok()?;
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, connecting).await {
            Ok(Ok(connection)) => Some(connection),
            Ok(Err(error)) => {
                let expired = is_expiry(&error);
                let reason = if expired { "expired" } else { "handshake" };
                self.inner.metrics.refused(reason);
                tracing::debug!(%error, "refused a session");
                None
            }
            Err(_) => {
                self.inner.metrics.refused("timeout");
                None
            }
        }
    }

    async fn serve(&self, connection: quinn::Connection, sinks: Sinks) {
        let metrics = self.inner.metrics.clone();
        match (alpn_of(&connection).as_deref(), peer_of(&connection)) {
            (Some(ALPN_LINK), Some(peer)) => {
                let role = peer.role;
                let session = Session::new(connection.clone(), peer, metrics.clone(), "in");
                // The list first: who is on it already is not served at all.
                tokio::select! {
                    biased;
                    () = self.inner.refused.comes_to(role) => {
                        self.inner.metrics.refused("removed");
                        connection.close(CloseReason::Removed.code(), REMOVED);
                    }
                    () = dispatch::serve(session, sinks, metrics) => {}
                }
            }
            (Some(ALPN_ENROL), _) => {
                connection.set_max_concurrent_bi_streams(quinn::VarInt::from_u32(1));
                dispatch::serve_enrolment(connection, sinks, metrics).await;
            }
            _ => {
                metrics.refused("no_identity");
                connection.close(CloseReason::NoIdentity.code(), b"a certificate is required");
            }
        }
    }
}

fn alpn_of(connection: &quinn::Connection) -> Option<Vec<u8>> {
    let data = connection.handshake_data()?.downcast::<HandshakeData>().ok()?;
    data.protocol
}

fn peer_of(connection: &quinn::Connection) -> Option<PeerIdentity> {
    let chain = connection
        .peer_identity()?
        .downcast::<Vec<CertificateDer<'static>>>()
        .ok()?;
    PeerIdentity::from_certificate(chain.first()?).ok()
}

pub(crate) fn quinn_client(tls: rustls::ClientConfig) -> Result<quinn::ClientConfig, LinkError> {
    let crypto = QuicClientConfig::try_from(tls)
        .map_err(|_| rustls::Error::General("no TLS 1.3 suite for QUIC".to_owned()))?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport::dialing());
    Ok(config)
}

/// Connection ids and stateless resets (RFC 9000 section 10.3) keyed by the private key:
/// a process that crashed and came back with the same key can tell its peers in one round
/// trip that their old sessions are gone.
fn quinn_config(identity: &Identity) -> quinn::EndpointConfig {
    let secret = hmac::Key::new(hmac::HMAC_SHA256, identity.key().secret_der());
    let reset = hmac::sign(&secret, b"medmesh link stateless reset");
    let mut config = quinn::EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, reset.as_ref())));
    let ids = hmac::sign(&secret, b"medmesh link connection id");
    let hash = digest::digest(&digest::SHA256, ids.as_ref());
    let seed = u64::from_be_bytes(hash.as_ref()[..8].try_into().expect("SHA-256 has 32 bytes"));
    config.cid_generator(move || Box::new(quinn_proto::HashedConnectionIdGenerator::from_key(seed)));
    config
}

fn udp_socket(listen: SocketAddr) -> std::io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
    // The kernel grants what it may; less than asked for is not an error.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.bind(&listen.into())?;
    Ok(socket.into())
}

pub(crate) async fn resolve(address: &str, local: SocketAddr) -> Result<SocketAddr, LinkError> {
    let unresolved = || LinkError::Resolve {
        address: address.to_owned(),
    };
    tokio::net::lookup_host(address)
        .await
        .map_err(|_| unresolved())?
        .find(|candidate| candidate.is_ipv4() == local.is_ipv4())
        .ok_or_else(unresolved)
}
