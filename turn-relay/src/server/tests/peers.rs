//! Every special-purpose range, in every IPv6 spelling, by every way a client could reach it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;

/// The IANA IPv4 Special-Purpose Address Registry with multicast, copied from the registry and
/// not from the policy's own table: what that forgets is found here.
const SPECIAL_V4: [&str; 27] = [
    "0.0.0.0/8",
    "0.0.0.0/32",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.0.0/29",
    "192.0.0.8/32",
    "192.0.0.9/32",
    "192.0.0.10/32",
    "192.0.0.170/32",
    "192.0.0.171/32",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.88.99.2/32",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
];

/// The IANA IPv6 Special-Purpose Address Registry with multicast and site local addresses.
const SPECIAL_V6: [&str; 28] = [
    "::1/128",
    "::/128",
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "100:0:0:1::/64",
    "2001::/23",
    "2001::/32",
    "2001:1::1/128",
    "2001:1::2/128",
    "2001:1::3/128",
    "2001:2::/48",
    "2001:3::/32",
    "2001:4:112::/48",
    "2001:10::/28",
    "2001:20::/28",
    "2001:30::/28",
    "2001:db8::/32",
    "2002::/16",
    "2620:4f:8000::/48",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    "ff02::1/128",
];

/// The first, a middle and the last address of a network.
fn corners(network: &str) -> [IpAddr; 3] {
    let (ip, prefix) = network.split_once('/').unwrap();
    let prefix: u32 = prefix.parse().unwrap();
    match ip.parse().unwrap() {
        IpAddr::V4(ip) => {
            let host = u32::MAX.checked_shr(prefix).unwrap_or(0);
            [0, host / 2, host].map(|n| Ipv4Addr::from_bits(ip.to_bits() | n).into())
        }
        IpAddr::V6(ip) => {
            let host = u128::MAX.checked_shr(prefix).unwrap_or(0);
            [0, host / 2, host].map(|n| Ipv6Addr::from_bits(ip.to_bits() | n).into())
        }
    }
}

/// An IPv4 address in every way RFCs have found to write it.
fn spellings(v4: IpAddr) -> Vec<IpAddr> {
    let IpAddr::V4(v4) = v4 else { return vec![v4] };
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
        at(0x2A00_1450_0001_0002_0200_5EFE << 32),                                // ISATAP, global
        IpAddr::V6(Ipv6Addr::from_bits(0x2002 << 112 | bits << 80 | 1)),          // 6to4
        IpAddr::V6(Ipv6Addr::from_bits(0x2001 << 112 | (!v4.to_bits()) as u128)), // Teredo
    ]
}

#[test]
fn no_special_purpose_address_is_reached_by_permission_channel_send_or_connect() {
    let mut world = World::with(Limits::default(), PeerPolicy::public_only());
    let mut client = TestClient::new("203.0.113.7:4000", "a");
    let both = |r: Builder| r.attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    let allocated = client.request(&mut world, Method::ALLOCATE, |r| both(udp(r)));
    assert!(allocated.is_success());
    let mut streaming = TestClient::new("203.0.113.7:4001", "a");
    world.listener = TCP_LISTENER;
    let tcp = |r: Builder| both(r.attribute(attribute::REQUESTED_TRANSPORT, &[6, 0, 0, 0]));
    let allocated = streaming.request(&mut world, Method::ALLOCATE, tcp);
    assert!(allocated.is_success());
    let listening = world.relay_at(allocated.relayed());

    let networks = SPECIAL_V4
        .iter()
        .chain(&SPECIAL_V6)
        .flat_map(|network| corners(network));
    let mut refused = 0;
    for ip in networks.flat_map(spellings) {
        let peer = SocketAddr::new(ip, 443);
        world.listener = LISTENER;
        assert_eq!(
            client.permit(&mut world, &[&peer.to_string()]),
            403,
            "permission for {ip}"
        );
        let good_and_bad = ["8.8.8.8:1".to_owned(), peer.to_string()];
        let good_and_bad = good_and_bad.each_ref().map(String::as_str);
        assert_eq!(
            client.permit(&mut world, &good_and_bad),
            403,
            "among others: {ip}"
        );
        assert_eq!(
            client.bind(&mut world, 0x4000, &peer.to_string()),
            403,
            "channel to {ip}"
        );
        let send = send_indication(peer, b"x");
        let sent = world
            .server
            .handle_input(world.now, client.address, LISTENER, &send);
        assert_eq!(sent, None, "send to {ip}");
        world.listener = TCP_LISTENER;
        let connect = |r| address_attribute(r, peer);
        let reply = streaming.request(&mut world, Method::CONNECT, connect);
        assert_eq!(reply.code(), 403, "connection to {ip}");
        assert_eq!(
            world.server.handle_peer_accepted(world.now, listening, peer),
            None,
            "from {ip}"
        );
        refused += 1;
    }
    assert!(refused > 27 * 3 * 10, "{refused}");
    assert_eq!(world.count(Counter::Permissions), 0);
    assert!(world.connecting.is_empty());
    world.listener = LISTENER;
    assert_eq!(
        client.permit(&mut world, &["8.8.8.8:1"]),
        0,
        "the relay does relay"
    );
    let send = send_indication(addr("8.8.8.8:1"), b"x");
    let sent = world
        .server
        .handle_input(world.now, client.address, LISTENER, &send);
    assert!(sent.is_some());
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
