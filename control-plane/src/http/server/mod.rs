//! Listeners: one router behind HTTP/1.1, 2 and 3.

mod certificate;
mod quic;
mod tcp;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use certificate::CertificateError;
pub(crate) use certificate::Certificates;
pub(crate) use quic::Quic;
pub(crate) use tcp::Tcp;

/// Connections a listener holds at once: a full clinic's browsers, at some 50 kB each.
const CONNECTIONS_MAX: usize = 4096;
/// Longest TLS handshake, or wait for the first byte or head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests one connection may have open at once (RFC 9113 advises 100 or more).
const STREAMS_MAX: u32 = 128;
/// Largest head of a request; ours stay under 2 kB.
const HEAD_BYTES_MAX: u32 = 16 * 1024;
/// How long open requests may take when the process stops.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// The socket address a request came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Peer {
    pub(crate) fn ip(self) -> IpAddr {
        self.0.ip()
    }
}
