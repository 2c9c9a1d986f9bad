//! People who talk through a relay while everything is changed under them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use medmesh_turn::codec::{Builder, Method, attribute};

use crate::support::*;

/// What they have said, each of them, and whether they should go on.
pub(crate) struct Load {
    stop: AtomicBool,
    done: Vec<AtomicU64>,
}

impl Load {
    pub(crate) fn new(clients: usize) -> Self {
        Self {
            stop: AtomicBool::new(false),
            done: (0..clients).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Lets everybody go when this is dropped, whatever became of the test.
    pub(crate) fn stop_at_end(&self) -> StopAtEnd<'_> {
        StopAtEnd(&self.stop)
    }

    /// The n-th client by its transport: UDP, TCP and TLS by turns.
    pub(crate) fn client(
        n: usize,
        [udp, tcp, tls]: [SocketAddr; 3],
        root: &rustls::pki_types::CertificateDer<'static>,
    ) -> WireClient {
        let user = format!("user-{n}");
        match n % 3 {
            0 => WireClient::new(udp, &user),
            1 => WireClient::tcp(tcp, &user),
            _ => WireClient::tls(tls, root, &user),
        }
    }

    /// Talks until the end, lock-step: each packet is back before the next is sent, so that a lost one ends
    /// the test.
    pub(crate) fn talk(&self, n: usize, mut client: WireClient, peer: SocketAddr) -> WireClient {
        let done = &self.done[n];
        assert_eq!(client.allocate().code(), 0);
        assert_eq!(client.bind(0x4000, peer), 0);
        while !self.stop.load(Ordering::Relaxed) {
            let number = done.load(Ordering::Relaxed);
            let data = number.to_be_bytes();
            assert!(
                client.echo_over_channel(0x4000, &data),
                "client {n}, packet {number}"
            );
            done.fetch_add(1, Ordering::Release);
        }
        // Its secret is long gone, the relay drains, and its allocation goes on.
        let lifetime = |r: Builder| r.attribute(attribute::LIFETIME, &600_u32.to_be_bytes());
        assert_eq!(client.request(Method::REFRESH, lifetime).code(), 0);
        assert!(client.echo_over_channel(0x4000, b"the last"));
        done.fetch_add(1, Ordering::Release);
        client
    }

    /// Waits until each has made so many round trips more.
    pub(crate) fn all_have(&self, more: u64) {
        let now = self.done.iter().map(|done| done.load(Ordering::Acquire));
        let goals: Vec<u64> = now.map(|done| done + more).collect();
        eventually("traffic", || {
            let mut pairs = self.done.iter().zip(&goals);
            pairs.all(|(done, goal)| done.load(Ordering::Acquire) >= *goal)
        });
    }

    /// Tells everybody to come to an end.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Round trips of all.
    pub(crate) fn sent(&self) -> u64 {
        self.done.iter().map(|done| done.load(Ordering::Acquire)).sum()
    }
}
