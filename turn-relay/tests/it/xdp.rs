//! The kernel's own relaying, between network namespaces: what it sends is what the sockets send.

mod cable;
mod processes;

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;

use medmesh_turn::PeerPolicy;
use medmesh_turn::codec::{Method, attribute};

use crate::support::{PATIENCE, WireClient, eventually};
use cable::{CHANNEL, Fast, Frame, Outside, PEER, allowed, inside, interfaces, number_of, receive, relay};

#[test]
fn the_kernel_sends_what_the_sockets_send() {
    if inside("the_kernel_sends_what_the_sockets_send") {
        compare(Fast::Native);
    }
}

#[test]
fn after_the_driver_it_sends_the_same() {
    if inside("after_the_driver_it_sends_the_same") {
        compare(Fast::Generic);
    }
}

#[test]
fn where_it_does_not_the_sockets_send_the_same() {
    if inside("where_it_does_not_the_sockets_send_the_same") {
        compare(Fast::Refused);
    }
}

fn compare(mode: Fast) {
    if !allowed() {
        return;
    }
    let taken = (mode == Fast::Refused).then(|| medmesh_turn::pass_everything("turn0").unwrap());
    let registries = [prometheus::Registry::new(), prometheus::Registry::new()];
    let fast = relay(3478, mode, &registries[0]);
    let plain = relay(3479, Fast::No, &registries[1]);
    let mut outside = Outside::new(2, mode == Fast::Native);
    let data = |length: usize| (0..length).map(|n| (n * 5 + length) as u8).collect::<Vec<u8>>();
    let lengths = [4, 5, 20, 171, 172, 1199, 1200, 1440, 1468, 1469, 0, 1, 3];
    let mut heard = Vec::new();
    let mut ends = Vec::new();
    for relay in [&fast, &plain] {
        let server = relay.listeners()[0];
        let (client, relayed) = outside.client(server, "a");
        outside.heard();
        for length in lengths.into_iter().chain(lengths) {
            let data = data(length);
            let sent = client.send_on_channel(CHANNEL, &data);
            assert_eq!(receive(&outside.peer), data, "{length} up");
            outside.peer.send_to(&data, relayed).unwrap();
            let mut buffer = [0; 2048];
            let got = client.socket.recv(&mut buffer).expect("it is relayed");
            assert_eq!(buffer[..got], sent, "{length} down");
        }
        heard.push(outside.heard());
        ends.push((server, relayed, client.socket.local_addr().unwrap()));
    }
    // One client, one server and one relayed address take the place of the other's.
    let (theirs, ours) = (ends[1], ends[0]);
    let renamed = heard[1].iter().cloned().map(|mut frame| {
        for address in [&mut frame.from, &mut frame.to] {
            for (their, our) in [(theirs.0, ours.0), (theirs.1, ours.1), (theirs.2, ours.2)] {
                if *address == their {
                    *address = our;
                    break;
                }
            }
        }
        frame
    });
    let renamed: Vec<Frame> = renamed.collect();
    assert_eq!(heard[0], renamed);
    assert!(heard[0].iter().all(|frame| frame.sound));
    // 1,468 bytes and a channel's header fit the cable; one more is two fragments one way.
    assert_eq!(heard[0].len(), 4 * lengths.len() - 2);
    // All that fill an Ethernet frame and are not fragmented on one of their two ways; now and then one goes the
    // long way.
    let most = 2 * lengths
        .iter()
        .filter(|length| (18..=1468).contains(*length))
        .count() as u64;
    let by_kernel = |direction: &str| {
        let line = format!("medmesh_turn_fast_path_packets_total{{direction=\"{direction}\"}} ");
        number_of(&registries[0], &line)
    };
    let all = 2 * lengths.len() as u64;
    // A worker counts what it has sent, which whoever got it may know first.
    eventually("the last packets are counted", || {
        let (stats, others) = (fast.stats(), plain.stats());
        stats == others && stats.packets_to_clients == all
    });
    let channels = number_of(&registries[0], "medmesh_turn_fast_path_channels ");
    if taken.is_some() {
        assert_eq!(
            (by_kernel("to_peer"), by_kernel("to_client"), channels),
            (0, 0, 0)
        );
        assert_eq!(
            (fast.stats(), fast.stats().packets_to_peers),
            (plain.stats(), all)
        );
        return;
    }
    for direction in ["to_peer", "to_client"] {
        let packets = by_kernel(direction);
        assert!((most - 3..=most).contains(&packets), "{direction}: {packets}");
    }
    let (stats, others) = (fast.stats(), plain.stats());
    assert_eq!(stats.packets_to_peers, all);
    assert_eq!(stats, others, "whoever relays, it is counted once");
    let shown = |direction: &str| {
        let line = format!("medmesh_turn_packets_total{{direction=\"{direction}\"}} ");
        number_of(&registries[0], &line)
    };
    assert_eq!((shown("to_peer"), shown("to_client")), (all, all));
    assert_eq!(channels, 1);
    fast.stop();
    plain.stop();
}

#[test]
fn what_has_ended_is_not_relayed_by_the_kernel_either() {
    if !inside("what_has_ended_is_not_relayed_by_the_kernel_either") {
        return;
    }
    if !allowed() {
        return;
    }
    let registry = prometheus::Registry::new();
    let relay = relay(3478, Fast::Native, &registry);
    let mut outside = Outside::new(4, true);
    let short = std::time::Duration::from_millis(200);
    let carried = || {
        number_of(
            &registry,
            "medmesh_turn_fast_path_packets_total{direction=\"to_client\"} ",
        )
    };
    let channels = || number_of(&registry, "medmesh_turn_fast_path_channels ");
    // Whether data of the peer reaches a client, after the one packet that takes the long way.
    let reaches = |client: &WireClient, peer: &UdpSocket, relayed: SocketAddr| {
        client.socket.set_read_timeout(Some(short)).unwrap();
        (0..2).all(|_| {
            peer.send_to(b"as much as fills a frame", relayed).unwrap();
            client.socket.recv(&mut [0; 100]).is_ok()
        })
    };
    let (mut first, first_relayed) = outside.client(relay.listeners()[0], "a");
    assert!(reaches(&first, &outside.peer, first_relayed));
    assert_eq!((carried(), channels()), (1, 1));
    first.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let over = first.request(Method::REFRESH, |r| r.attribute(attribute::LIFETIME, &[0; 4]));
    assert_eq!(over.code(), 0);
    assert!(
        !reaches(&first, &outside.peer, first_relayed),
        "its allocation has ended"
    );
    eventually("it is gone from the table", || channels() == 0);
    // A policy that is changed while packets run.
    let (mut second, second_relayed) = outside.client(relay.listeners()[0], "b");
    assert!(reaches(&second, &outside.peer, second_relayed));
    relay.set_peer_policy(PeerPolicy::allow_list(vec!["198.51.100.9".parse().unwrap()]));
    eventually("the policy took it back", || channels() == 0);
    assert!(!reaches(&second, &outside.peer, second_relayed));
    relay.set_peer_policy(PeerPolicy::allow_list(vec![PEER.to_string().parse().unwrap()]));
    // Draining lets those live on that are there; stopping ends them.
    let peer = outside.peer.local_addr().unwrap();
    assert!(
        (0..1000).any(|_| second.bind(CHANNEL, peer) == 0),
        "the policy is back"
    );
    relay.drain();
    assert!(reaches(&second, &outside.peer, second_relayed));
    let before = carried();
    relay.stop();
    assert!(!reaches(&second, &outside.peer, second_relayed));
    assert_eq!(carried(), before);
    assert!(!shows_a_program(), "the program went with the relay");
}

fn shows_a_program() -> bool {
    let output = Command::new("ip")
        .args(["link", "show", "turn0"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().contains("xdp")
}

#[test]
fn the_program_goes_with_the_last_handle() {
    if !inside("the_program_goes_with_the_last_handle") || !allowed() {
        return;
    }
    // Which is not the registry, though that knows the numbers.
    let registry = prometheus::Registry::new();
    let relay = relay(3478, Fast::Generic, &registry);
    assert!(shows_a_program());
    drop(relay);
    assert!(!shows_a_program());
    assert_eq!(interfaces(&registry, "off"), 1);
}
