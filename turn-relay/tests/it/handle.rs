//! What an embedding process does with a running relay.

use std::net::SocketAddr;

use medmesh_turn::codec::{Builder, Method, attribute};
use medmesh_turn::{PeerPolicy, Relay, RelayAddress, RelayConfig, RelayError, Secret, Secrets};

use crate::support::*;

fn refresh(client: &mut WireClient, lifetime_s: u32) -> u16 {
    let lifetime = |r: Builder| r.attribute(attribute::LIFETIME, &lifetime_s.to_be_bytes());
    client.request(Method::REFRESH, lifetime).code()
}

#[test]
fn many_clients_relay_at_once_over_all_workers() {
    let (relay, echo) = (spawn(config(), loopback_peers()), Echo::new());
    let server = relay.listeners()[0];
    std::thread::scope(|scope| {
        for n in 0..24 {
            let peer = echo.address;
            scope.spawn(move || {
                let mut client = WireClient::new(server, &format!("user-{n}"));
                assert_eq!(client.allocate().code(), 0);
                assert_eq!(client.bind(0x4000 + n, peer), 0);
                for length in [0, 1, 2, 3, 172, 1200, 1400, 9000] {
                    assert!(
                        client.echo_over_channel(0x4000 + n, &vec![7; length]),
                        "{length} bytes"
                    );
                }
            });
        }
    });
    // Workers publish their numbers at the end of a turn.
    eventually("24 allocations", || relay.stats().allocations == 24);
    eventually("all packets counted", || {
        relay.stats().packets_to_clients == 24 * 8
    });
    let stats = relay.stats();
    assert_eq!(
        (stats.packets_to_peers, stats.channels, stats.permissions),
        (24 * 8, 24, 24)
    );
    assert_eq!(stats.bytes_to_peers, stats.bytes_to_clients);
    relay.stop();
}

#[test]
fn a_burst_comes_through_in_order_and_whole() {
    let (relay, echo) = (spawn(config(), loopback_peers()), Echo::new());
    let mut client = WireClient::new(relay.listeners()[0], "burst");
    assert_eq!(client.allocate().code(), 0);
    assert_eq!(client.bind(0x4000, echo.address), 0);
    let count = 40_u16;
    for n in 0..count {
        let [n1, n0] = n.to_be_bytes();
        client.socket.send(&[0x40, 0, 0, 2, n1, n0]).unwrap();
    }
    let mut buffer = [0; 100];
    for n in 0..count {
        let length = client.socket.recv(&mut buffer).expect("all of them");
        let [n1, n0] = n.to_be_bytes();
        assert_eq!(buffer[..length], [0x40, 0, 0, 2, n1, n0]);
    }
}

#[test]
fn secrets_change_under_a_running_allocation() {
    let (relay, echo) = (spawn(config(), loopback_peers()), Echo::new());
    let server = relay.listeners()[0];
    let mut old = WireClient::new(server, "old");
    assert_eq!(old.allocate().code(), 0);
    assert_eq!(old.bind(0x4000, echo.address), 0);
    let next = Secret::new(2, "another secret of forty-three characters...");
    let mut new = WireClient::new(server, "new");
    new.password = next.password(&new.username);
    assert_eq!(new.allocate().code(), 401);

    relay.set_secrets(Secrets::new(next.clone(), Some(Secret::new(1, SECRET))));
    eventually("the new secret", || {
        let mut new = WireClient::new(server, "new");
        new.password = next.password(&new.username);
        new.allocate().code() == 0
    });
    assert_eq!(WireClient::new(server, "old-too").allocate().code(), 0);

    relay.set_secrets(Secrets::new(next, None));
    eventually("the end of the old secret", || {
        WireClient::new(server, "old-too").allocate().code() == 401
    });
    assert!(old.echo_over_channel(0x4000, b"still here"));
    assert_eq!(refresh(&mut old, 600), 0);
}

#[test]
fn a_narrower_policy_cuts_what_runs() {
    let (relay, echo) = (spawn(config(), loopback_peers()), Echo::new());
    let mut client = WireClient::new(relay.listeners()[0], "a");
    assert_eq!(client.allocate().code(), 0);
    assert_eq!(client.bind(0x4000, echo.address), 0);
    assert!(client.echo_over_channel(0x4000, b"hello"));
    relay.set_peer_policy(PeerPolicy::public_only());
    eventually("the channel's end", || {
        relay.stats().channels == 0 && relay.stats().permissions == 0
    });
    assert_eq!(client.bind(0x4000, echo.address), 403);
}

#[test]
fn drained_means_empty() {
    let relay = spawn(config(), loopback_peers());
    let server = relay.listeners()[0];
    let mut client = WireClient::new(server, "a");
    assert_eq!(client.allocate().code(), 0);
    relay.drain();
    eventually("refusal", || {
        WireClient::new(server, "late").allocate().code() == 508
    });
    eventually("late-comers are gone", || relay.stats().allocations >= 1);
    assert_eq!(refresh(&mut client, 0), 0);
    eventually("empty", || relay.stats().allocations == 0);
}

#[test]
fn a_stopped_relay_leaves_no_socket_behind() {
    let relay = spawn(config(), loopback_peers());
    let server = relay.listeners()[0];
    let relayed = WireClient::new(server, "a").allocate().relayed();
    assert!(std::net::UdpSocket::bind(relayed).is_err(), "the port is in use");
    relay.stop();
    std::net::UdpSocket::bind(relayed).expect("the relayed port is free");
    std::net::UdpSocket::bind(server).expect("the listening port is free");
    let relay = spawn(config(), loopback_peers());
    let server = relay.listeners()[0];
    drop(relay);
    eventually("the last handle stops it", || {
        std::net::UdpSocket::bind(server).is_ok()
    });
}

#[test]
fn ports_come_from_the_range_and_go_back_to_it() {
    let config = RelayConfig {
        ports: 42_000..=42_003,
        ..config()
    };
    let relay = spawn(config, loopback_peers());
    let server = relay.listeners()[0];
    let mut clients: Vec<_> = (0..4)
        .map(|n| WireClient::new(server, &format!("u{n}")))
        .collect();
    let mut ports: Vec<u16> = clients
        .iter_mut()
        .map(|client| client.allocate().relayed().port())
        .collect();
    ports.sort_unstable();
    assert_eq!(ports, [42_000, 42_001, 42_002, 42_003]);
    assert_eq!(WireClient::new(server, "late").allocate().code(), 508);
    assert_eq!(refresh(&mut clients[2], 0), 0);
    assert_eq!(WireClient::new(server, "late").allocate().code(), 0);
}

#[test]
fn the_advertised_address_is_told_and_the_bound_one_used() {
    let advertise = "203.0.113.80".parse().unwrap();
    let config = RelayConfig {
        relay: vec![RelayAddress {
            bind: loopback(),
            advertise,
        }],
        ..config()
    };
    let (relay, echo) = (spawn(config, loopback_peers()), Echo::new());
    let mut client = WireClient::new(relay.listeners()[0], "a");
    assert_eq!(client.allocate().relayed().ip(), advertise);
    assert_eq!(client.bind(0x4000, echo.address), 0);
    assert!(client.echo_over_channel(0x4000, b"there and back"));
}

#[test]
fn a_relay_that_cannot_work_does_not_start() {
    let spawn = |config| Relay::spawn(config, secrets(), loopback_peers(), &prometheus::Registry::new());
    let foreign: SocketAddr = "203.0.113.1:3478".parse().unwrap();
    let error = spawn(RelayConfig {
        listen: vec![foreign],
        ..config()
    })
    .unwrap_err();
    assert!(matches!(error, RelayError::Listen { address, .. } if address == foreign));
    let error = spawn(RelayConfig {
        relay: vec![RelayAddress::same(foreign.ip())],
        ..config()
    })
    .unwrap_err();
    assert!(matches!(error, RelayError::RelayAddress { .. }));
    let error = spawn(RelayConfig {
        workers: 0,
        ..config()
    })
    .unwrap_err();
    assert!(matches!(error, RelayError::Config(_)));
    let registry = prometheus::Registry::new();
    let first = Relay::spawn(config(), secrets(), loopback_peers(), &registry).unwrap();
    let second = Relay::spawn(config(), secrets(), loopback_peers(), &registry);
    assert!(matches!(second.unwrap_err(), RelayError::Metrics(_)));
    drop(first);
}

#[test]
fn metrics_have_conventional_names_and_nobodys_name() {
    let registry = prometheus::Registry::new();
    let relay = Relay::spawn(config(), secrets(), loopback_peers(), &registry).unwrap();
    let mut client = WireClient::new(relay.listeners()[0], "someone-in-particular");
    assert_eq!(client.allocate().code(), 0);
    eventually("the allocation", || relay.stats().allocations == 1);
    let (text, _) = medmesh_base::telemetry::render(&registry);
    for line in [
        "medmesh_turn_allocations 1",
        "medmesh_turn_requests_total{method=\"allocate\"} 2",
        "medmesh_turn_errors_total{code=\"401\"} 1",
        "medmesh_turn_packets_total{direction=\"to_peer\"} 0",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
    }
    assert!(!text.contains("someone"));
}

#[test]
fn on_the_wildcard_answers_and_media_leave_from_the_address_that_was_asked() {
    let config = RelayConfig {
        listen: vec!["0.0.0.0:0".parse().unwrap()],
        ..config()
    };
    let (relay, echo) = (spawn(config, loopback_peers()), Echo::new());
    let port = relay.listeners()[0].port();
    let mut clients: Vec<WireClient> = ["127.0.0.1", "127.0.0.2", "127.9.9.9"]
        .iter()
        .map(|ip| WireClient::new(SocketAddr::new(ip.parse().unwrap(), port), "a"))
        .collect();
    // The sockets are connected: what comes from another address does not reach them.
    for (n, client) in (0..).zip(&mut clients) {
        assert_eq!(client.allocate().code(), 0);
        assert_eq!(client.bind(0x4000 + n, echo.address), 0);
    }
    for (n, client) in (0..).zip(&clients) {
        assert!(client.echo_over_channel(0x4000 + n, b"hello"));
    }
}

#[test]
fn allocations_follow_their_clients_to_other_workers() {
    let config = RelayConfig {
        workers: 3,
        ..config()
    };
    let (relay, echo) = (spawn(config, loopback_peers()), Echo::new());
    let server = relay.listeners()[0];
    for round in 0..12 {
        let mut old = WireClient::new(server, "mover");
        let mobile = |r: Builder| udp(r).attribute(attribute::MOBILITY_TICKET, &[]);
        let reply = old.request(Method::ALLOCATE, mobile);
        let relayed = reply.relayed();
        assert_eq!(old.bind(0x4000, echo.address), 0);
        let ticket = reply.get(attribute::MOBILITY_TICKET).unwrap().to_vec();
        // The same user from another port, and so perhaps another worker.
        let mut new = WireClient::new(server, "mover");
        (new.username, new.password) = (old.username.clone(), old.password.clone());
        let reply = new.request(Method::REFRESH, |r| {
            r.attribute(attribute::MOBILITY_TICKET, &ticket)
        });
        assert_eq!(reply.code(), 0, "round {round}");
        // Data from the new address settles it (RFC 8016 §3.3).
        assert!(new.echo_over_channel(0x4000, b"moved"), "round {round}");
        let peer = std::net::UdpSocket::bind((loopback(), 0)).unwrap();
        peer.send_to(b"to the same relayed address", relayed).unwrap();
        let mut buffer = [0; 100];
        new.socket.recv(&mut buffer).unwrap();
        assert_eq!(refresh(&mut new, 0), 0);
        eventually("its end", || relay.stats().allocations == 0);
    }
}
