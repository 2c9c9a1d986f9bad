//! Everything an operator changes while people talk: no packet of theirs is lost to it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use medmesh_turn::codec::{Builder, Method, attribute};
use medmesh_turn::{RelayConfig, Secret, Secrets, StreamListener};
use tempfile::TempDir;

use crate::support::*;

/// Changes of everything while the load runs.
const CHANGES: u64 = 20;
/// Round trips each client makes between two changes, at least.
const ROUND_TRIPS: u64 = 20;

#[test]
fn certificates_secrets_and_draining_under_load_lose_nothing() {
    let directory = TempDir::new().unwrap();
    let (files, root) = write_pair(directory.path());
    let any = SocketAddr::new(loopback(), 0);
    let config = RelayConfig {
        streams: vec![StreamListener::new(any, false), StreamListener::new(any, true)],
        tls: Some(files),
        ..config()
    };
    let (relay, echo) = (spawn(config, loopback_peers()), Echo::new());
    let stop = AtomicBool::new(false);
    let done: Vec<AtomicU64> = (0..12).map(|_| AtomicU64::new(0)).collect();
    let secret = |epoch: u64| Secret::new(epoch, &format!("{epoch}-{SECRET}"));
    std::thread::scope(|scope| {
        let _end = StopAtEnd(&stop);
        for (n, done) in (0..).zip(&done) {
            let (relay, root, stop, peer) = (&relay, &root, &stop, echo.address);
            scope.spawn(move || {
                let user = format!("user-{n}");
                let mut client = match n % 3 {
                    0 => WireClient::new(relay.listeners()[0], &user),
                    1 => WireClient::tcp(relay.stream_listeners()[0], &user),
                    _ => WireClient::tls(relay.stream_listeners()[1], root, &user),
                };
                assert_eq!(client.allocate().code(), 0);
                assert_eq!(client.bind(0x4000, peer), 0);
                while !stop.load(Ordering::Relaxed) {
                    let number = done.load(Ordering::Relaxed);
                    let data = number.to_be_bytes();
                    assert!(
                        client.echo_over_channel(0x4000, &data),
                        "client {n}, packet {number}"
                    );
                    done.fetch_add(1, Ordering::Release);
                }
                // Its secret is long gone, and its allocation goes on.
                let lifetime = |r: Builder| r.attribute(attribute::LIFETIME, &600_u32.to_be_bytes());
                assert_eq!(client.request(Method::REFRESH, lifetime).code(), 0);
                assert!(client.echo_over_channel(0x4000, b"the last"));
            });
        }
        let all_have = |more: u64| {
            let goals: Vec<u64> = done
                .iter()
                .map(|done| done.load(Ordering::Acquire) + more)
                .collect();
            eventually("traffic", || {
                let mut pairs = done.iter().zip(&goals);
                pairs.all(|(done, goal)| done.load(Ordering::Acquire) >= *goal)
            });
        };
        all_have(1);
        for change in 0..CHANGES {
            all_have(ROUND_TRIPS);
            write_pair(directory.path());
            relay.reload_certificate().unwrap();
            let previous = (change > 0).then(|| secret(change));
            relay.set_secrets(Secrets::new(secret(change + 1), previous));
            if change == CHANGES / 2 {
                relay.drain();
            }
        }
        all_have(ROUND_TRIPS);
        assert_eq!(
            WireClient::new(relay.listeners()[0], "late").allocate().code(),
            401
        );
        let stats = relay.stats();
        assert_eq!((stats.allocations, stats.channels), (12, 12));
        stop.store(true, Ordering::Relaxed);
    });
    let sent: u64 = done.iter().map(|done| done.load(Ordering::Relaxed)).sum();
    // Each heard every one of its packets again; the relay's numbers follow at the end of a turn.
    eventually("as many packets as were sent", || {
        let stats = relay.stats();
        (stats.packets_to_peers, stats.packets_to_clients) == (sent + 12, sent + 12)
    });
}
