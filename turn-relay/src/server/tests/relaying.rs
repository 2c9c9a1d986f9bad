//! Data both ways.

use super::*;

fn ready() -> (World, TestClient, SocketAddr) {
    let mut world = World::new();
    let mut client = TestClient::new("203.0.113.7:4000", "a");
    let relayed = client.allocate(&mut world);
    (world, client, relayed)
}

fn frame(world: &mut World, relayed: SocketAddr, peer: &str, data: &[u8]) -> Option<Vec<u8>> {
    let relay = world.relay_at(relayed);
    let out = world
        .server
        .handle_relayed(world.now, relay, addr(peer), data.len())?;
    assert_eq!(out.client.address, addr("203.0.113.7:4000"));
    Some([out.prefix(), data, &[0; 3][..usize::from(out.padding)]].concat())
}

#[test]
fn send_and_data_indications() {
    let (mut world, mut client, relayed) = ready();
    let peer = addr("192.0.2.1:9000");
    let send = send_indication(peer, b"hello");
    assert_eq!(
        world
            .server
            .handle_input(world.now, client.address, LISTENER, &send),
        None,
        "no permission yet"
    );
    assert_eq!(world.count(Counter::DropNoPermission), 1);
    assert_eq!(client.permit(&mut world, &["192.0.2.1:1"]), 0);
    let out = world
        .server
        .handle_input(world.now, client.address, LISTENER, &send)
        .unwrap();
    assert_eq!((out.peer, &send[out.data]), (peer, &b"hello"[..]));
    assert_eq!(out.relay, world.relay_at(relayed));

    for length in 0..9 {
        let data = vec![7; length];
        let bytes = frame(&mut world, relayed, "192.0.2.1:9000", &data).unwrap();
        let reply = Reply(bytes);
        assert_eq!(
            (reply.message().class, reply.message().method),
            (Class::Indication, Method::DATA)
        );
        assert_eq!(reply.addresses(attribute::XOR_PEER_ADDRESS), [peer]);
        assert_eq!(reply.get(attribute::DATA), Some(&data[..]));
    }
    assert_eq!(
        frame(&mut world, relayed, "192.0.2.2:9000", b"x"),
        None,
        "a stranger"
    );
}

#[test]
fn channel_data() {
    let (mut world, mut client, relayed) = ready();
    assert_eq!(client.bind(&mut world, 0x4ABC, "192.0.2.1:9000"), 0);
    // Three bytes of data, one of padding.
    let datagram = [0x4A, 0xBC, 0, 3, 1, 2, 3, 0];
    let out = world
        .server
        .handle_input(world.now, client.address, LISTENER, &datagram)
        .unwrap();
    assert_eq!((out.peer, out.data), (addr("192.0.2.1:9000"), 4..7));
    assert_eq!(
        frame(&mut world, relayed, "192.0.2.1:9000", &[1, 2, 3]).unwrap(),
        datagram[..7]
    );
    let other_port = frame(&mut world, relayed, "192.0.2.1:9001", &[1]).unwrap();
    assert_eq!(
        Reply(other_port).message().method,
        Method::DATA,
        "the channel is one port's"
    );

    let cases: [(&[u8], Counter); 4] = [
        (&[0x4A, 0xBD, 0, 1, 1], Counter::DropUnknownChannel),
        (&[0x7F, 0xBD, 0, 1, 1], Counter::DropUnknownChannel),
        (&[0x4A, 0xBC, 0, 4, 1, 2, 3], Counter::DropMalformed),
        (&[0x80, 0xBC, 0, 1, 1], Counter::DropMalformed),
    ];
    for (datagram, reason) in cases {
        let before = world.count(reason);
        assert_eq!(
            world
                .server
                .handle_input(world.now, client.address, LISTENER, datagram),
            None
        );
        assert_eq!(world.count(reason), before + 1, "{datagram:?}");
    }
    let elsewhere = addr("203.0.113.7:4001");
    assert_eq!(
        world
            .server
            .handle_input(world.now, elsewhere, LISTENER, &datagram),
        None,
        "another 5-tuple"
    );
    assert_eq!(
        world
            .server
            .handle_input(world.now, client.address, ListenerId(1), &datagram),
        None
    );
    assert_eq!(world.count(Counter::DropNoAllocation), 2);
}

#[test]
fn ipv6_peers() {
    let mut world = World::with(
        Limits::default(),
        PeerPolicy::allow_list(vec!["2001:db8::/32".parse().unwrap()]),
    );
    let mut client = TestClient::new("203.0.113.7:4000", "a");
    let six = |r| udp(r).attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    let relayed = client.request(&mut world, Method::ALLOCATE, six).relayed();
    assert_eq!(client.permit(&mut world, &["[2001:db8::9]:1"]), 0);
    let send = send_indication(addr("[2001:db8::9]:77"), b"hi");
    let out = world
        .server
        .handle_input(world.now, client.address, LISTENER, &send)
        .unwrap();
    assert_eq!(out.relay.family, Family::V6);
    let bytes = frame(&mut world, relayed, "[2001:db8::9]:77", b"hi").unwrap();
    assert_eq!(
        Reply(bytes).addresses(attribute::XOR_PEER_ADDRESS),
        [addr("[2001:db8::9]:77")]
    );
}

#[test]
fn what_does_not_fit_a_datagram_is_dropped() {
    let (mut world, mut client, relayed) = ready();
    assert_eq!(client.permit(&mut world, &["192.0.2.1:1"]), 0);
    let relay = world.relay_at(relayed);
    let peer = addr("192.0.2.1:1");
    assert!(
        world
            .server
            .handle_relayed(world.now, relay, peer, 65_400)
            .is_some()
    );
    for length in [65_507, 65_535, usize::MAX / 2] {
        assert_eq!(world.server.handle_relayed(world.now, relay, peer, length), None);
    }
    assert_eq!(world.count(Counter::DropTooLarge), 3);
}

#[test]
fn a_narrower_policy_ends_what_it_does_not_allow() {
    let (mut world, mut client, relayed) = ready();
    assert_eq!(client.permit(&mut world, &["192.0.2.1:1", "192.0.2.2:1"]), 0);
    assert_eq!(client.bind(&mut world, 0x4000, "192.0.2.1:9"), 0);
    assert_eq!(client.bind(&mut world, 0x4001, "192.0.2.2:9"), 0);
    assert_eq!(client.bind(&mut world, 0x4002, "192.0.2.2:10"), 0);
    world
        .server
        .set_peer_policy(PeerPolicy::allow_list(vec!["192.0.2.2:10-20".parse().unwrap()]));
    assert_eq!(world.count(Counter::Permissions), 1);
    assert_eq!(world.count(Counter::Channels), 1);
    assert_eq!(frame(&mut world, relayed, "192.0.2.1:9", b"x"), None);
    assert!(frame(&mut world, relayed, "192.0.2.2:10", b"x").is_some());
    for (number, relays) in [(0u8, false), (1, false), (2, true)] {
        let data = [0x40, number, 0, 1, 1];
        assert_eq!(
            world
                .server
                .handle_input(world.now, client.address, LISTENER, &data)
                .is_some(),
            relays
        );
    }
    let denied = send_indication(addr("192.0.2.2:9"), b"x");
    assert_eq!(
        world
            .server
            .handle_input(world.now, client.address, LISTENER, &denied),
        None
    );
    assert_eq!(world.count(Counter::DropPeerDenied), 1);
}

#[test]
fn messages_nobody_asked_for_are_dropped_in_silence() {
    let mut world = World::new();
    let source = addr("203.0.113.7:4000");
    let cases = [
        (Class::Success, Method::ALLOCATE),
        (Class::Error, Method::BINDING),
        (Class::Indication, Method::DATA),
        (Class::Indication, Method::BINDING),
        (Class::Request, Method::SEND),
        (Class::Request, Method::CONNECTION_ATTEMPT),
        (Class::Request, Method::from_code(0xFFF)),
    ];
    for (class, method) in cases {
        let message = Builder::new(class, method, [1; 12]).finish();
        assert_eq!(world.input(source, &message), None, "{class:?} {method:?}");
    }
    for noise in [
        &[][..],
        &[0],
        &[0; 20],
        &[0xFF; 100],
        b"GET / HTTP/1.1\r\n\r\n",
        &[22, 254, 253, 0],
    ] {
        assert_eq!(world.input(source, noise), None, "{noise:?}");
    }
}
