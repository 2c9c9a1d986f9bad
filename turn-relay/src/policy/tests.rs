use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;

use super::special::{SPECIAL_V4, SPECIAL_V6};
use super::*;

type Encoding = (&'static str, fn(Ipv4Addr) -> Ipv6Addr);

/// Every way RFCs have found to write an IPv4 address as IPv6.
const ENCODINGS: &[Encoding] = &[
    ("mapped", |v4| v4.to_ipv6_mapped()),
    ("compatible", |v4| Ipv6Addr::from_bits(u128::from(v4.to_bits()))),
    ("translated", |v4| with_prefix([0, 0, 0, 0, 0xffff, 0], v4)),
    ("nat64", |v4| with_prefix([0x64, 0xff9b, 0, 0, 0, 0], v4)),
    ("local nat64", |v4| with_prefix([0x64, 0xff9b, 1, 0, 0, 0], v4)),
    ("isatap", |v4| with_prefix([0x2a00, 0x1450, 1, 2, 0, 0x5efe], v4)),
    ("isatap, global bit", |v4| {
        with_prefix([0x2a00, 0x1450, 1, 2, 0x200, 0x5efe], v4)
    }),
    ("6to4", |v4| {
        let [a, b, c, d] = v4.octets().map(u16::from);
        Ipv6Addr::new(0x2002, a << 8 | b, c << 8 | d, 0, 0, 0, 0, 1)
    }),
    ("teredo", |v4| {
        with_prefix(
            [0x2001, 0, 0x4136, 0xe378, 0x8000, 0x63bf],
            Ipv4Addr::from_bits(!v4.to_bits()),
        )
    }),
];

fn with_prefix(p: [u16; 6], v4: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = v4.octets().map(u16::from);
    Ipv6Addr::new(p[0], p[1], p[2], p[3], p[4], p[5], a << 8 | b, c << 8 | d)
}

fn corners_v4(net: Ipv4Addr, prefix: u8) -> [Ipv4Addr; 3] {
    let host = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
    [
        net,
        Ipv4Addr::from_bits(net.to_bits() | (host / 2)),
        Ipv4Addr::from_bits(net.to_bits() | host),
    ]
}

fn refused(policy: &PeerPolicy, ip: IpAddr, what: &str) {
    assert!(!policy.permits_ip(ip), "permission for {ip} ({what})");
    assert!(
        !policy.permits(SocketAddr::new(ip, 4000)),
        "packets to {ip} ({what})"
    );
}

#[test]
fn every_special_range_is_refused_in_every_spelling() {
    let policy = PeerPolicy::public_only();
    for &(net, prefix) in SPECIAL_V4 {
        for v4 in corners_v4(net, prefix) {
            refused(&policy, v4.into(), "plain");
            for (name, encode) in ENCODINGS {
                refused(&policy, encode(v4).into(), name);
            }
        }
    }
    for &(net, prefix) in SPECIAL_V6 {
        let last = Ipv6Addr::from_bits(net.to_bits() | u128::MAX.checked_shr(prefix.into()).unwrap_or(0));
        refused(&policy, net.into(), "first");
        refused(&policy, last.into(), "last");
    }
    for coturn_advisory in ["0.0.0.0", "::", "::1", "::ffff:127.0.0.1", "::127.0.0.1"] {
        refused(&policy, coturn_advisory.parse().unwrap(), "published advisory");
    }
}

#[test]
fn every_spelling_gives_back_the_address_it_carries() {
    let v4 = Ipv4Addr::new(169, 254, 169, 254);
    for (name, encode) in ENCODINGS {
        assert_eq!(embedded_ipv4(encode(v4).into()), Some(v4), "{name}");
    }
    for plain in ["::", "::1", "2a00:1450::1", "fe80::1", "192.0.2.1"] {
        assert_eq!(embedded_ipv4(plain.parse().unwrap()), None, "{plain}");
    }
}

#[test]
fn public_addresses_pass_unless_they_are_our_own() {
    let mut policy = PeerPolicy::public_only();
    for ip in [
        "8.8.8.8",
        "2a00:1450:4001::1",
        "100.63.255.255",
        "100.128.0.0",
        "172.32.0.1",
        "2001:200::1",
    ] {
        let ip = ip.parse().unwrap();
        assert!(policy.permits_ip(ip), "{ip}");
        policy.own = vec![ip];
        refused(&policy, ip, "own");
        policy.allow = vec![PeerRule::address(ip)];
        refused(&policy, ip, "own, and a rule without ports does not reach it");
        policy.allow = vec![PeerRule::ports(ip, 4000..=4000)];
        assert!(policy.permits_ip(ip) && policy.permits(SocketAddr::new(ip, 4000)));
        assert!(
            !policy.permits(SocketAddr::new(ip, 4001)),
            "that socket and no other"
        );
        policy.deny = vec![PeerRule::address(ip)];
        refused(&policy, ip, "deny is stronger than allow");
        policy = PeerPolicy::public_only();
    }
    assert!(!policy.permits("8.8.8.8:0".parse().unwrap()), "port 0 is no peer");
}

#[test]
fn an_allow_list_is_literal_and_knows_ports() {
    let policy = PeerPolicy::allow_list(vec!["127.0.0.1:10000-10999".parse().unwrap()]);
    assert!(policy.permits_ip(Ipv4Addr::LOCALHOST.into()));
    assert!(policy.permits("127.0.0.1:10000".parse().unwrap()));
    assert!(!policy.permits("127.0.0.1:9999".parse().unwrap()));
    assert!(!policy.permits("127.0.0.1:11000".parse().unwrap()));
    for (name, encode) in ENCODINGS {
        refused(&policy, encode(Ipv4Addr::LOCALHOST).into(), name);
    }
    refused(&policy, "8.8.8.8".parse().unwrap(), "not listed");
    refused(
        &PeerPolicy::default(),
        "8.8.8.8".parse().unwrap(),
        "the default reaches nobody",
    );
}

#[test]
fn a_denied_address_is_denied_in_every_spelling_and_port_rules_stay_narrow() {
    let v4 = Ipv4Addr::new(8, 8, 4, 4);
    let policy = PeerPolicy {
        deny: vec![PeerRule::address(v4.into()), "9.9.9.9:5432".parse().unwrap()],
        allow: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
        ..PeerPolicy::default()
    };
    refused(&policy, v4.into(), "plain");
    for (name, encode) in ENCODINGS {
        refused(&policy, encode(v4).into(), name);
    }
    assert!(policy.permits_ip("9.9.9.9".parse().unwrap()));
    assert!(policy.permits("9.9.9.9:5433".parse().unwrap()));
    assert!(!policy.permits("9.9.9.9:5432".parse().unwrap()));
}

/// Where an allow list leads that covers every address there is.
fn everything() -> Vec<PeerRule> {
    vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()]
}

/// The host of a relay at 203.0.114.7 and 2a00:1450::7, in every spelling: with what a wildcard
/// socket of it answers on.
fn own_spellings() -> Vec<(&'static str, IpAddr)> {
    let v4 = Ipv4Addr::new(203, 0, 114, 7);
    let mut found = vec![
        ("own IPv4", IpAddr::V4(v4)),
        ("own IPv6", "2a00:1450::7".parse().unwrap()),
        ("loopback", Ipv4Addr::LOCALHOST.into()),
        ("loopback, another", Ipv4Addr::new(127, 200, 0, 9).into()),
        ("IPv6 loopback", Ipv6Addr::LOCALHOST.into()),
        ("wildcard", Ipv4Addr::UNSPECIFIED.into()),
        ("IPv6 wildcard", Ipv6Addr::UNSPECIFIED.into()),
    ];
    for inside in [v4, Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 200, 0, 9)] {
        found.extend(
            ENCODINGS
                .iter()
                .map(|(name, encode)| (*name, encode(inside).into())),
        );
    }
    // `::` and `::0.0.0.0` are the same address; the others carry the wildcard.
    found.extend(
        ENCODINGS
            .iter()
            .map(|(name, encode)| (*name, encode(Ipv4Addr::UNSPECIFIED).into())),
    );
    found
}

fn of_this_host(mode: PeerMode, allow: Vec<PeerRule>) -> PeerPolicy {
    PeerPolicy {
        mode,
        allow,
        own: vec![
            Ipv4Addr::new(203, 0, 114, 7).into(),
            "2a00:1450::7".parse().unwrap(),
        ],
        ..PeerPolicy::default()
    }
}

#[test]
fn the_own_host_is_refused_in_every_spelling_whatever_network_is_allowed() {
    for mode in [PeerMode::AllowListed, PeerMode::PublicOnly] {
        let policy = of_this_host(mode, everything());
        assert!(
            policy.permits("8.8.8.8:4000".parse().unwrap()),
            "the list does cover others"
        );
        for (name, ip) in own_spellings() {
            refused(&policy, ip, name);
            // Named without ports it is a network of one address.
            let named = of_this_host(mode, vec![PeerRule::address(ip)]);
            refused(&named, ip, name);
        }
    }
}

#[test]
fn media_sockets_beside_the_relay_are_reached_by_address_and_port_and_nothing_else_is() {
    for (name, ip) in own_spellings() {
        let mut allow = everything();
        allow.push(PeerRule::ports(ip, 10_000..=10_007));
        let policy = of_this_host(PeerMode::AllowListed, allow);
        let plain = embedded_ipv4(ip).is_none();
        assert_eq!(policy.permits_ip(ip), plain, "{name} {ip}");
        for (port, there) in [(9_999, false), (10_000, true), (10_007, true), (10_008, false)] {
            let peer = SocketAddr::new(ip, port);
            assert_eq!(policy.permits(peer), there && plain, "{name} {peer}");
        }
        for (other, ip) in own_spellings().into_iter().filter(|(_, other)| *other != ip) {
            let peer = SocketAddr::new(ip, 10_000);
            assert!(!policy.permits(peer), "{other} {peer} where {name} is named");
        }
    }
}

#[test]
fn the_relays_own_sockets_are_reached_by_no_rule() {
    let ip = IpAddr::V4(Ipv4Addr::new(203, 0, 114, 7));
    let mut policy = of_this_host(
        PeerMode::AllowListed,
        vec![
            PeerRule::ports(ip, 1..=u16::MAX),
            "127.0.0.1:1-65535".parse().unwrap(),
        ],
    );
    policy.own_sockets = vec![SocketAddr::new(ip, 3478), "0.0.0.0:9478".parse().unwrap()];
    for (peer, reached) in [
        ("203.0.114.7:3478", false),
        ("203.0.114.7:9478", false),
        ("127.0.0.1:9478", false),
        ("203.0.114.7:10000", true),
        ("127.0.0.1:3478", true),
    ] {
        assert_eq!(policy.permits(peer.parse().unwrap()), reached, "{peer}");
    }
}

#[test]
fn what_stands_for_many_hosts_is_no_peer() {
    let policy = PeerPolicy::allow_list(everything());
    for group in [
        "224.0.0.1",
        "239.255.255.250",
        "255.255.255.255",
        "ff02::1",
        "::ffff:224.0.0.1",
        "64:ff9b::ffff:ffff",
    ] {
        refused(&policy, group.parse().unwrap(), "a group");
    }
}

#[test]
fn rules_read_back_what_they_print() {
    for text in [
        "10.0.0.0/8",
        "192.0.2.7",
        "192.0.2.7:1-9",
        "[2001:db8::1]:4000-4001",
        "2001:db8::/64",
        "::/0",
    ] {
        let rule: PeerRule = text.parse().unwrap();
        assert_eq!(rule.to_string(), text);
    }
    for text in [
        "",
        "x",
        "10.0.0.0/33",
        "2001:db8::/129",
        "1.2.3.4:9-1",
        "1.2.3.4:",
        "1.2.3.4:70000",
        "/8",
    ] {
        assert!(text.parse::<PeerRule>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn no_ipv6_spelling_passes_where_its_ipv4_address_would_not(bits: u32, which in 0..ENCODINGS.len()) {
        let v4 = Ipv4Addr::from_bits(bits);
        let policy = PeerPolicy::public_only();
        if !policy.permits_ip(v4.into()) {
            prop_assert!(!policy.permits_ip(ENCODINGS[which].1(v4).into()));
        }
    }

    #[test]
    fn any_text_parses_or_fails_without_a_panic(text in ".{0,40}") {
        let _ = text.parse::<PeerRule>();
    }
}
