//! How a participant's packets go: from a socket of their own, or through a relay.

use std::net::SocketAddr;

use str0m::Candidate;
use tokio::net::UdpSocket;

use crate::relayed::{Received, Relayed};

/// How a participant's packets go.
pub(super) enum Way {
    Direct(UdpSocket),
    Relayed(Relayed),
}

impl Way {
    /// The candidate it is told of, and the address packets are for that come back.
    pub(super) fn candidate(&self) -> (Candidate, SocketAddr) {
        match self {
            Self::Direct(socket) => {
                let local = socket.local_addr().expect("a bound socket has an address");
                let host = Candidate::host(local, "udp");
                (host.expect("an address is a candidate"), local)
            }
            Self::Relayed(relayed) => {
                let candidate = Candidate::relayed(relayed.address(), relayed.local(), "udp");
                (candidate.expect("an address is a candidate"), relayed.address())
            }
        }
    }

    /// An edge that has gone answers with ICMP; that is not the participant's fault.
    pub(super) async fn send(&self, bytes: &[u8], to: SocketAddr) {
        match self {
            Self::Direct(socket) => drop(socket.send_to(bytes, to).await),
            Self::Relayed(relayed) => relayed.send(to, bytes).await,
        }
    }

    pub(super) async fn receive(&self, buffer: &mut [u8]) -> std::io::Result<Received> {
        match self {
            Self::Direct(socket) => {
                let (size, source) = socket.recv_from(buffer).await?;
                Ok(Received::Packet(size, source))
            }
            Self::Relayed(relayed) => relayed.receive(buffer).await,
        }
    }
}
