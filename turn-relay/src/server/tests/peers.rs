//! Every special-purpose range, in every IPv6 spelling, by every way a client could reach it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;

/// One address of each special-purpose range that has ever been reached through a relay, or
/// that nobody would think of.
const PRECIOUS: [&str; 12] = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "172.31.255.1",
    "192.0.0.8",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
];

fn spellings(v4: Ipv4Addr) -> Vec<IpAddr> {
    let bits = u128::from(v4.to_bits());
    let at = |prefix: u128| IpAddr::V6(Ipv6Addr::from_bits(prefix | bits));
    vec![
        v4.into(),
        at(0xFFFF << 32),                                                         // mapped
        at(0),                                                                    // compatible
        at(0xFFFF << 48),                                                         // translated
        at(0x0064_FF9B << 96),                                                    // NAT64
        at(0x0064_FF9B_0001 << 80),                                               // local NAT64
        at(0x2A00_1450_0001_0002_0000_5EFE << 32),                                // ISATAP
        IpAddr::V6(Ipv6Addr::from_bits(0x2002 << 112 | bits << 80 | 1)),          // 6to4
        IpAddr::V6(Ipv6Addr::from_bits(0x2001 << 112 | (!v4.to_bits()) as u128)), // Teredo
    ]
}

#[test]
fn no_special_purpose_address_is_reached_by_permission_channel_or_send() {
    let mut world = World::with(Limits::default(), PeerPolicy::public_only());
    let mut client = TestClient::new("203.0.113.7:4000", "a");
    let both = |r| udp(r).attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    assert!(client.request(&mut world, Method::ALLOCATE, both).is_success());
    let precious = PRECIOUS.iter().flat_map(|text| spellings(text.parse().unwrap()));
    let v6 = [
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd12::1",
        "ff02::1",
        "2001:db8::1",
        "100::1",
    ];
    for ip in precious.chain(v6.iter().map(|text| text.parse().unwrap())) {
        let peer = SocketAddr::new(ip, 443);
        assert_eq!(
            client.permit(&mut world, &[&peer.to_string()]),
            403,
            "permission for {ip}"
        );
        assert_eq!(
            client.bind(&mut world, 0x4000, &peer.to_string()),
            403,
            "channel to {ip}"
        );
        let send = send_indication(peer, b"x");
        assert_eq!(
            world
                .server
                .handle_input(world.now, client.address, LISTENER, &send),
            None,
            "send to {ip}"
        );
    }
    assert_eq!(world.count(Counter::Permissions), 0);
    assert_eq!(
        client.permit(&mut world, &["8.8.8.8:1"]),
        0,
        "the relay does relay"
    );
}

#[test]
fn a_permission_does_not_open_the_ports_a_rule_keeps_shut() {
    let policy = PeerPolicy::allow_list(vec!["192.0.2.1:10000-10999".parse().unwrap()]);
    let mut world = World::with(Limits::default(), policy);
    let mut client = TestClient::new("203.0.113.7:4000", "a");
    client.allocate(&mut world);
    assert_eq!(
        client.permit(&mut world, &["192.0.2.1:22"]),
        0,
        "permissions know no ports (RFC 8656 §9)"
    );
    assert_eq!(client.bind(&mut world, 0x4000, "192.0.2.1:22"), 403);
    for (port, relays) in [
        (22, false),
        (0, false),
        (10_000, true),
        (10_999, true),
        (11_000, false),
    ] {
        let send = send_indication(SocketAddr::new("192.0.2.1".parse().unwrap(), port), b"x");
        let out = world
            .server
            .handle_input(world.now, client.address, LISTENER, &send);
        assert_eq!(out.is_some(), relays, "{port}");
    }
}
