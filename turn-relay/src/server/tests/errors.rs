//! Every error the RFC asks for, and that nothing changes with it.

use super::*;

/// Puts attributes into a request.
type Attributes = Box<dyn Fn(Builder) -> Builder>;

fn client() -> TestClient {
    TestClient::new("203.0.113.7:4000", "a")
}

#[test]
fn allocate_wants_a_transport_there_is() {
    let (mut world, mut client) = (World::new(), client());
    assert_eq!(client.request(&mut world, Method::ALLOCATE, |r| r).code(), 400);
    let dccp = |r: Builder| r.attribute(attribute::REQUESTED_TRANSPORT, &[33, 0, 0, 0]);
    assert_eq!(client.request(&mut world, Method::ALLOCATE, dccp).code(), 442);
    let short = |r: Builder| r.attribute(attribute::REQUESTED_TRANSPORT, &[17]);
    assert_eq!(client.request(&mut world, Method::ALLOCATE, short).code(), 400);
    assert_eq!(world.count(Counter::Allocations), 0);
}

#[test]
fn unknown_attributes_are_named() {
    let (mut world, mut client) = (World::new(), client());
    // Two from nowhere; 0xC001 needs no comprehension.
    let odd = |r| {
        udp(r)
            .attribute(0x7776, &[])
            .attribute(0x7777, &[1])
            .attribute(0xC001, &[])
    };
    let reply = client.request(&mut world, Method::ALLOCATE, odd);
    assert_eq!(reply.code(), 420);
    assert_eq!(
        reply.get(attribute::UNKNOWN_ATTRIBUTES),
        Some(&[0x77, 0x76, 0x77, 0x77][..])
    );
}

#[test]
fn a_second_allocation_of_a_5_tuple_is_437_but_a_retransmission_is_not() {
    let (mut world, mut client) = (World::new(), client());
    client.request(&mut world, Method::REFRESH, |r| r);
    let request = client.seal(udp(Builder::new(Class::Request, Method::ALLOCATE, [1; 12])));
    let first = world.input(client.address, &request).unwrap();
    assert!(first.is_success());
    world.advance(Duration::from_secs(3));
    assert_eq!(
        world.input(client.address, &request).unwrap(),
        first,
        "the lost answer again"
    );
    assert_eq!(world.relays.len(), 1);

    let mut other = client.clone();
    assert_eq!(other.request(&mut world, Method::ALLOCATE, udp).code(), 437);
    assert_eq!(world.relays.len(), 1);
}

#[test]
fn nothing_works_without_an_allocation() {
    let (mut world, mut client) = (World::new(), client());
    assert_eq!(client.refresh(&mut world, 600).code(), 437);
    assert_eq!(client.permit(&mut world, &["192.0.2.1:1"]), 437);
    assert_eq!(client.bind(&mut world, 0x4000, "192.0.2.1:1"), 437);
}

#[test]
fn somebody_elses_allocation_is_441() {
    let (mut world, mut owner) = (World::new(), client());
    owner.allocate(&mut world);
    let mut thief = TestClient {
        nonce: owner.nonce.clone(),
        ..TestClient::new("203.0.113.7:4000", "b")
    };
    assert_eq!(thief.refresh(&mut world, 0).code(), 441);
    assert_eq!(thief.permit(&mut world, &["192.0.2.1:1"]), 441);
    assert_eq!(thief.bind(&mut world, 0x4000, "192.0.2.1:1"), 441);
    assert_eq!(world.count(Counter::Allocations), 1);
    assert_eq!(world.count(Counter::Permissions), 0);
    assert_eq!(owner.refresh(&mut world, 600).code(), 0);
}

#[test]
fn address_families() {
    let mut world = World::new();
    let family = |code: u8| move |r| udp(r).attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[code, 0, 0, 0]);
    let mut six = TestClient::new("203.0.113.7:6", "a");
    assert!(
        six.request(&mut world, Method::ALLOCATE, family(2))
            .relayed()
            .is_ipv6()
    );
    assert_eq!(
        six.permit(&mut world, &["192.0.2.1:1"]),
        443,
        "IPv4 peer, IPv6 relay"
    );
    assert_eq!(six.bind(&mut world, 0x4000, "192.0.2.1:1"), 443);
    let of_v4 = |r: Builder| r.attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[1, 0, 0, 0]);
    assert_eq!(six.request(&mut world, Method::REFRESH, of_v4).code(), 443);

    let mut odd = TestClient::new("203.0.113.7:7", "a");
    assert_eq!(odd.request(&mut world, Method::ALLOCATE, family(3)).code(), 440);
    world.server.families = vec![Family::V4];
    assert_eq!(odd.request(&mut world, Method::ALLOCATE, family(2)).code(), 440);
}

#[test]
fn attributes_that_exclude_each_other() {
    let (mut world, mut client) = (World::new(), client());
    let token = |r: Builder| udp(r).attribute(attribute::RESERVATION_TOKEN, &[1; 8]);
    let cases: [(&str, u16, Attributes); 6] = [
        ("unknown token", 508, Box::new(token)),
        (
            "token and even port",
            400,
            Box::new(move |r| token(r).attribute(attribute::EVEN_PORT, &[0])),
        ),
        (
            "token and family",
            400,
            Box::new(move |r| token(r).attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[1, 0, 0, 0])),
        ),
        (
            "next port too and both families",
            400,
            Box::new(|r| {
                udp(r)
                    .attribute(attribute::EVEN_PORT, &[0x80])
                    .attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0])
            }),
        ),
        (
            "additional IPv4",
            400,
            Box::new(|r| udp(r).attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[1, 0, 0, 0])),
        ),
        (
            "both family attributes",
            400,
            Box::new(|r| {
                udp(r)
                    .attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0])
                    .attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[1, 0, 0, 0])
            }),
        ),
    ];
    for (name, code, attributes) in cases {
        assert_eq!(
            client.request(&mut world, Method::ALLOCATE, attributes).code(),
            code,
            "{name}"
        );
    }
    assert_eq!(world.relays.len(), 0);
}

#[test]
fn permissions_come_all_or_none() {
    let (mut world, mut client) = (World::new(), client());
    client.allocate(&mut world);
    assert_eq!(client.permit(&mut world, &[]), 400);
    assert_eq!(client.permit(&mut world, &["192.0.2.1:1", "8.8.8.8:1"]), 403);
    assert_eq!(
        client.permit(&mut world, &["192.0.2.1:1", "[2001:db8::9]:1"]),
        443
    );
    let bad =
        |r| address_attribute(r, addr("192.0.2.1:1")).attribute(attribute::XOR_PEER_ADDRESS, &[0, 1, 0]);
    assert_eq!(
        client.request(&mut world, Method::CREATE_PERMISSION, bad).code(),
        400
    );
    assert_eq!(world.count(Counter::Permissions), 0);
    assert_eq!(
        client.permit(&mut world, &["192.0.2.1:1", "192.0.2.2:1", "192.0.2.1:9"]),
        0
    );
    assert_eq!(
        world.count(Counter::Permissions),
        2,
        "a peer named twice is one permission"
    );
}

#[test]
fn channels_conflict_as_the_rfc_says() {
    let (mut world, mut client) = (World::new(), client());
    client.allocate(&mut world);
    for number in [0x0000, 0x3FFF, 0x5000, 0x7FFF, 0xFFFF] {
        assert_eq!(client.bind(&mut world, number, "192.0.2.1:1"), 400, "{number:#x}");
    }
    assert_eq!(client.bind(&mut world, 0x4000, "8.8.8.8:1"), 403);
    assert_eq!(client.bind(&mut world, 0x4000, "192.0.2.1:1"), 0);
    assert_eq!(client.bind(&mut world, 0x4000, "192.0.2.1:1"), 0, "refresh");
    assert_eq!(
        client.bind(&mut world, 0x4000, "192.0.2.1:2"),
        400,
        "number is bound"
    );
    assert_eq!(
        client.bind(&mut world, 0x4001, "192.0.2.1:1"),
        400,
        "peer is bound"
    );
    assert_eq!(client.bind(&mut world, 0x4FFF, "192.0.2.1:2"), 0);
    let no_peer = |r: Builder| r.attribute(attribute::CHANNEL_NUMBER, &[0x40, 9, 0, 0]);
    assert_eq!(
        client.request(&mut world, Method::CHANNEL_BIND, no_peer).code(),
        400
    );
    assert_eq!(world.count(Counter::Channels), 2);
    assert_eq!(world.count(Counter::Permissions), 1);
}

#[test]
fn quotas_are_486_for_a_user_and_508_for_the_relay() {
    let limits = Limits {
        allocations_per_user: 2,
        allocations: 3,
        permissions_per_allocation: 2,
        channels_per_allocation: 1,
        permissions: 3,
        ..Limits::default()
    };
    let policy = PeerPolicy::allow_list(vec!["192.0.2.0/24".parse().unwrap()]);
    let mut world = World::with(limits, policy);
    let mut clients: Vec<_> = (1..=4)
        .map(|n| TestClient::new(&format!("203.0.113.7:{n}"), "a"))
        .collect();
    clients[3] = TestClient::new("203.0.113.7:4", "b");
    // Renewed credentials are the same user.
    clients[1].username = format!("{}:a", START_UNIX_S + 7200);
    clients[1].password = secret().password(&clients[1].username);
    let allocate =
        |world: &mut World, client: &mut TestClient| client.request(world, Method::ALLOCATE, udp).code();
    assert_eq!(
        clients
            .iter_mut()
            .map(|c| allocate(&mut world, c))
            .collect::<Vec<_>>(),
        [0, 0, 486, 0]
    );
    let mut late = TestClient::new("203.0.113.7:5", "c");
    assert_eq!(allocate(&mut world, &mut late), 508);

    let [first, .., last] = &mut clients[..] else {
        unreachable!()
    };
    assert_eq!(
        first.permit(&mut world, &["192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"]),
        508
    );
    assert_eq!(first.permit(&mut world, &["192.0.2.1:1", "192.0.2.2:1"]), 0);
    assert_eq!(first.bind(&mut world, 0x4000, "192.0.2.1:1"), 0);
    assert_eq!(first.bind(&mut world, 0x4001, "192.0.2.2:1"), 508);
    assert_eq!(
        last.permit(&mut world, &["192.0.2.1:1", "192.0.2.2:1"]),
        508,
        "three in total"
    );
    assert_eq!(last.permit(&mut world, &["192.0.2.1:1"]), 0);

    // What ends comes back.
    assert_eq!(first.refresh(&mut world, 0).code(), 0);
    assert_eq!(allocate(&mut world, &mut late), 0);
    assert_eq!(last.permit(&mut world, &["192.0.2.7:1"]), 0);
}

#[test]
fn what_a_request_reserves_and_does_not_use_goes_back() {
    let policy = PeerPolicy::allow_list(vec!["192.0.2.0/24".parse().unwrap()]);
    let mut world = World::with(
        Limits {
            permissions: 3,
            ..Limits::default()
        },
        policy,
    );
    let mut client = client();
    client.allocate(&mut world);
    // Three asked for, one granted: two are left.
    assert_eq!(
        client.permit(&mut world, &["192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3"]),
        0
    );
    assert_eq!(client.permit(&mut world, &["192.0.2.2:1", "192.0.2.3:1"]), 0);
    assert_eq!(client.permit(&mut world, &["192.0.2.4:1"]), 508);
}

#[test]
fn no_port_is_508_and_leaves_nothing() {
    let (mut world, mut client) = (World::new(), client());
    world.closed = vec![Family::V4];
    assert_eq!(client.request(&mut world, Method::ALLOCATE, udp).code(), 508);
    assert_eq!(world.count(Counter::Allocations), 0);
    world.closed.clear();
    client.allocate(&mut world);
}

#[test]
fn a_draining_server_takes_nobody_new() {
    let (mut world, mut client) = (World::new(), client());
    client.allocate(&mut world);
    world.server.set_draining(true);
    let mut late = TestClient::new("203.0.113.7:5", "b");
    assert_eq!(late.request(&mut world, Method::ALLOCATE, udp).code(), 508);
    assert_eq!(client.refresh(&mut world, 600).code(), 0);
    assert_eq!(client.permit(&mut world, &["192.0.2.1:1"]), 0);
}

#[test]
fn both_families_at_once() {
    let (mut world, mut client) = (World::new(), client());
    let both = |r| udp(r).attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    let reply = client.request(&mut world, Method::ALLOCATE, both);
    let relayed = reply.addresses(attribute::XOR_RELAYED_ADDRESS);
    assert!(relayed[0].is_ipv4() && relayed[1].is_ipv6());

    let of_v6 = |r: Builder| {
        r.attribute(attribute::LIFETIME, &[0; 4])
            .attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0])
    };
    assert_eq!(client.request(&mut world, Method::REFRESH, of_v6).lifetime_s(), 0);
    assert_eq!(world.relays.len(), 1, "one family is given back");
    assert_eq!(client.permit(&mut world, &["[2001:db8::9]:1"]), 443);
    assert_eq!(client.permit(&mut world, &["192.0.2.1:1"]), 0);

    let mut half = TestClient::new("203.0.113.7:5", "b");
    world.closed = vec![Family::V6];
    let reply = half.request(&mut world, Method::ALLOCATE, both);
    assert_eq!(reply.addresses(attribute::XOR_RELAYED_ADDRESS).len(), 1);
    assert_eq!(reply.get(attribute::ADDRESS_ERROR_CODE), Some(&[2, 0, 5, 8][..]));
}
