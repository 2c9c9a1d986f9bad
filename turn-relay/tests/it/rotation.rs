//! Everything an operator changes while people talk: no packet of theirs is lost to it.

use std::net::SocketAddr;

use medmesh_turn::{RelayConfig, Secret, Secrets, StreamListener};
use tempfile::TempDir;

use crate::load::Load;
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
    let load = Load::new(12);
    let secret = |epoch: u64| Secret::new(epoch, &format!("{epoch}-{SECRET}"));
    std::thread::scope(|scope| {
        let _end = load.stop_at_end();
        for n in 0..12 {
            let (relay, load, root, peer) = (&relay, &load, &root, echo.address);
            scope.spawn(move || {
                let [tcp, tls] = [0, 1].map(|index| relay.stream_listeners()[index]);
                let client = Load::client(n, [relay.listeners()[0], tcp, tls], root);
                load.talk(n, client, peer);
            });
        }
        load.all_have(1);
        for change in 0..CHANGES {
            load.all_have(ROUND_TRIPS);
            write_pair(directory.path());
            relay.reload_certificate().unwrap();
            let previous = (change > 0).then(|| secret(change));
            relay.set_secrets(Secrets::new(secret(change + 1), previous));
            if change == CHANGES / 2 {
                relay.drain();
            }
        }
        load.all_have(ROUND_TRIPS);
        assert_eq!(
            WireClient::new(relay.listeners()[0], "late").allocate().code(),
            401
        );
        let stats = relay.stats();
        assert_eq!((stats.allocations, stats.channels), (12, 12));
        load.stop();
    });
    // Each heard every one of its packets again; the relay's numbers follow at the end of a turn.
    let sent = load.sent();
    eventually("as many packets as were sent", || {
        let stats = relay.stats();
        (stats.packets_to_peers, stats.packets_to_clients) == (sent, sent)
    });
}
