//! The host a relay stands on, through the relay: out of reach, but for the sockets that are named.

use std::net::{IpAddr, SocketAddr};

use medmesh_turn::codec::{Builder, Method, attribute};
use medmesh_turn::{PeerPolicy, PeerRule};
use nix::ifaddrs::getifaddrs;

use crate::support::*;

/// Every address of this machine, loopback and the wildcard, IPv4 also as IPv6 carries it.
fn own() -> Vec<IpAddr> {
    let here = getifaddrs().unwrap().filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().into()))
    });
    let mut found: Vec<IpAddr> = here.collect();
    found.extend(["127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::"].map(|ip| ip.parse::<IpAddr>().unwrap()));
    let disguised = |ip: &IpAddr| match ip {
        IpAddr::V4(v4) => vec![
            v4.to_ipv6_mapped().into(),
            format!("64:ff9b::{v4}").parse().unwrap(),
        ],
        IpAddr::V6(_) => Vec::new(),
    };
    let disguised: Vec<IpAddr> = found.iter().flat_map(disguised).collect();
    found.extend(disguised);
    found
}

fn everywhere() -> Vec<PeerRule> {
    vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()]
}

fn connect(client: &mut WireClient, peer: SocketAddr) -> u16 {
    let reply = client.request(Method::CONNECT, |request| {
        request.address(attribute::XOR_PEER_ADDRESS, peer)
    });
    reply.code()
}

#[test]
fn an_allow_list_that_covers_every_network_does_not_cover_the_own_host() {
    let relay = spawn(config(), PeerPolicy::allow_list(everywhere()));
    let server = relay.listeners()[0];
    let mut udp = WireClient::new(server, "a");
    assert_eq!(udp.allocate().code(), 0);
    assert_eq!(
        udp.permit(&["8.8.8.8:1".parse().unwrap()]),
        0,
        "it does cover others"
    );
    let echo = Echo::new();
    for ip in own() {
        let peer = SocketAddr::new(ip, echo.address.port());
        // Another family than the allocation's is refused for that (443), wherever it leads.
        let refused = if ip.is_ipv4() { 403 } else { 443 };
        assert_eq!(udp.permit(&[peer]), refused, "permission for {peer}");
        assert_eq!(udp.bind(0x4000, peer), refused, "channel to {peer}");
        let indication = Builder::new(medmesh_turn::codec::Class::Indication, Method::SEND, [3; 12])
            .address(attribute::XOR_PEER_ADDRESS, peer)
            .attribute(attribute::DATA, b"hello");
        udp.socket.send(&indication.finish()).unwrap();
    }
    // Answered after everything that was sent before it.
    assert_eq!(udp.permit(&["8.8.4.4:1".parse().unwrap()]), 0);
    assert_eq!(relay.stats().packets_to_peers, 0, "and nothing was sent there");
}

#[test]
fn tcp_connects_to_no_socket_of_the_own_host() {
    let relay = spawn(
        medmesh_turn::RelayConfig {
            streams: vec![medmesh_turn::StreamListener::new(
                SocketAddr::new(loopback(), 0),
                false,
            )],
            ..config()
        },
        PeerPolicy::allow_list(everywhere()),
    );
    let listener = std::net::TcpListener::bind((loopback(), 0)).unwrap();
    let mut client = WireClient::tcp(relay.stream_listeners()[0], "a");
    let tcp = |request: Builder| request.attribute(attribute::REQUESTED_TRANSPORT, &[6, 0, 0, 0]);
    assert_eq!(client.request(Method::ALLOCATE, tcp).code(), 0);
    for ip in own().into_iter().filter(IpAddr::is_ipv4) {
        let peer = SocketAddr::new(ip, listener.local_addr().unwrap().port());
        assert_eq!(connect(&mut client, peer), 403, "{peer}");
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody came");
}

#[test]
fn named_sockets_of_the_own_host_are_reached_and_the_relays_own_are_not() {
    let echo = Echo::new();
    let mut allow = everywhere();
    let port = echo.address.port();
    allow.push(PeerRule::ports(loopback(), port..=port));
    let relay = spawn(config(), PeerPolicy::allow_list(allow));
    let server = relay.listeners()[0];
    let mut client = WireClient::new(server, "a");
    assert_eq!(client.allocate().code(), 0);
    assert_eq!(client.bind(0x4000, echo.address), 0);
    assert!(client.echo_over_channel(0x4000, b"media"));
    let beside = SocketAddr::new(loopback(), port ^ 1);
    assert_eq!(client.bind(0x4001, beside), 403, "one port further");
    assert_eq!(client.bind(0x4001, server), 403, "the relay itself");

    let wide = PeerPolicy::allow_list(vec![PeerRule::ports(loopback(), 1..=u16::MAX)]);
    relay.set_peer_policy(wide);
    eventually("the wider policy", || {
        let mut other = WireClient::new(server, "b");
        other.allocate().code() == 0 && other.bind(0x4000, beside) == 0
    });
    assert_eq!(
        client.bind(0x4001, server),
        403,
        "named by its port, and still not"
    );
}
