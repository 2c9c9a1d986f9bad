//! Links between machines: QUIC sessions with mutual TLS 1.3.
//!
//! Who a peer is comes from its certificate and from nothing else ([`PeerIdentity`]).
//! On a session travel gRPC streams, one per [`TrafficClass`] so that a snapshot never
//! stands before a heartbeat, mesh streams between edges, and datagrams.
//!
//! Invariants:
//! - Streams are opened by the side that dialled; the other side opens none.
//! - A peer without a certificate reaches [`Incoming::enrol`] and nothing else, for seconds.
//! - There are no session tickets and no early data: every session is a full handshake.
//! - What arrives broken is counted, refused, and changes nothing else.
//!
//! # Driving it
//!
//! A control node:
//!
//! ```ignore
//! let ca = ClusterCa::load(cluster.clone(), &cert_file, &key_file)?;
//! let identity = ca.issue(Role::Control(id), OffsetDateTime::now_utc(), LEAF_LIFE)?;
//! let config = EndpointConfig {
//!     listen, identity, enrolment: true,
//!     trust: Trust::new(cluster, ca.certificate())?,
//! };
//! let (endpoint, incoming) = Endpoint::bind(config, LinkMetrics::register(&registry)?, &drain)?;
//! // gRPC of machines with a certificate; handlers ask PeerInfo::require_edge / require_control.
//! drain.spawn(Server::builder().add_service(FleetServer::new(fleet)).add_service(RaftServer::new(raft))
//!     .serve_with_incoming_shutdown(incoming.grpc, drain.token().cancelled_owned()));
//! // gRPC of machines without one: Enrolment only.
//! drain.spawn(Server::builder().add_service(EnrolmentServer::new(enrolment))
//!     .serve_with_incoming_shutdown(incoming.enrol, drain.token().cancelled_owned()));
//! // Towards another control node: one session, a stream per class.
//! let peer = Peer::new(&endpoint, "10.0.0.2:4400", Expect::Control(ControlId(2)));
//! let raft = RaftClient::new(peer.channel(TrafficClass::Raft));
//! let bulk = RaftClient::new(peer.channel(TrafficClass::Bulk));
//! ```
//!
//! An edge enrols once ([`enrol`]), keeps [`Identity`] and CA on disk, binds with
//! `enrolment: false`, attaches to every control node through `Peer::channel(TrafficClass::Fleet)`,
//! renews ([`renew`], [`Endpoint::swap_identity`]) at [`Identity::renew_at`], dials other
//! edges with [`Peer::open_mesh`] and takes their streams from [`Incoming::mesh`]. Datagrams:
//! [`Session::send_datagram`], [`Session::recv_datagram`], [`Datagram`]; path quality: [`ProbeTracker`].

mod backoff;
mod ca;
mod channel;
mod congestion;
mod datagram;
mod dispatch;
mod endpoint;
mod enrol;
mod error;
mod files;
mod identity;
mod join;
mod metrics;
mod probe;
mod refused;
mod session;
mod stream;
mod tls;
mod transport;

pub use backoff::Backoff;
pub use ca::{
    CaFingerprint, ClusterCa, KeyRequest, LEAF_LIFE, LEAF_LIFE_MAX, LEAF_LIFE_MIN, SignedChain,
    load_certificate,
};
pub use channel::{Peer, TrafficClass};
pub use datagram::{Datagram, HEAD_BYTES, Probe, media_head};
pub use endpoint::{Endpoint, EndpointConfig, Incoming};
pub use enrol::{EnrolError, Enrolled, enrol, enrol_channel, renew};
pub use error::{IdentityError, LinkError};
pub use identity::{ClusterName, Identity, PeerIdentity, Role};
pub use join::{JoinToken, JoinTokenError};
pub use metrics::LinkMetrics;
pub use probe::{PathQuality, ProbeTracker};
pub use session::{CloseReason, DatagramDrop, PathStats, Session};
pub use stream::{GrpcIncoming, MeshStream, PeerInfo, QuicStream, StreamClass};
pub use tls::{ALPN_ENROL, ALPN_LINK, Expect, Trust};
pub use transport::{IDLE_TIMEOUT, KEEP_ALIVE};

#[cfg(test)]
mod tests;
