//! A browser that reaches its edge through the edge's own relay only.

use std::net::SocketAddr;

/// An allocation on an edge's relay.
pub(crate) struct Relayed {
    local: SocketAddr,
    relayed: SocketAddr,
}

impl Relayed {
    pub(crate) fn relayed_address(&self) -> SocketAddr {
        self.relayed
    }
    pub(crate) fn local_address(&self) -> SocketAddr {
        self.local
    }
    pub(crate) async fn send(&mut self, _to: SocketAddr, _bytes: &[u8]) {}
    pub(crate) async fn receive(&mut self, _buffer: &mut [u8]) -> (usize, SocketAddr) {
        std::future::pending().await
    }
}
