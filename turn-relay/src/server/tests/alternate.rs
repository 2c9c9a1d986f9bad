//! Sending clients elsewhere (RFC 8489 §10).

use super::*;

fn alternate(address: &str, transport: Transport) -> Alternate {
    Alternate {
        address: addr(address),
        transport,
        domain: Some("turn2.example".to_owned()),
    }
}

fn world(limits: Limits) -> World {
    let mut world = World::with(limits, PeerPolicy::default());
    world.server.set_alternates(vec![
        alternate("198.51.100.2:3478", Transport::Udp),
        alternate("[2001:db8::2]:3478", Transport::Udp),
        alternate("198.51.100.2:443", Transport::Tls),
        alternate("198.51.100.3:443", Transport::Tls),
    ]);
    world
}

fn allocate(world: &mut World, address: &str) -> Reply {
    TestClient::new(address, "a").request(world, Method::ALLOCATE, udp)
}

#[test]
fn a_draining_server_says_where_to_go_by_family_and_transport() {
    let mut world = world(Limits::default());
    let mut before = TestClient::new("203.0.113.7:1", "a");
    before.allocate(&mut world);
    world.server.set_draining(true);
    assert_eq!(before.refresh(&mut world, 600).code(), 0);

    let v4 = allocate(&mut world, "203.0.113.7:2");
    assert_eq!(v4.code(), 300);
    let there = [0, 1, 0x0D, 0x96, 198, 51, 100, 2];
    assert_eq!(v4.get(attribute::ALTERNATE_SERVER), Some(&there[..]));
    assert_eq!(
        v4.get(attribute::ALTERNATE_DOMAIN),
        None,
        "no certificate to name"
    );
    let v6 = allocate(&mut world, "[2001:db8::7]:2");
    let value = v6.get(attribute::ALTERNATE_SERVER).unwrap();
    assert_eq!((value.len(), &value[..4]), (20, &[0, 2, 0x0D, 0x96][..]));

    world.listener = TLS_LISTENER;
    let mut seen: Vec<_> = (10..14)
        .map(|port| {
            let reply = allocate(&mut world, &format!("203.0.113.7:{port}"));
            assert_eq!(
                reply.get(attribute::ALTERNATE_DOMAIN),
                Some(&b"turn2.example"[..])
            );
            reply.get(attribute::ALTERNATE_SERVER).unwrap()[7]
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [2, 2, 3, 3], "they share what comes");

    world.listener = TCP_LISTENER;
    assert_eq!(
        allocate(&mut world, "203.0.113.7:20").code(),
        508,
        "nobody for TCP"
    );
    world.server.set_alternates(Vec::new());
    world.listener = LISTENER;
    assert_eq!(allocate(&mut world, "203.0.113.7:21").code(), 508);
}

#[test]
fn strangers_are_not_told() {
    let mut world = world(Limits::default());
    world.server.set_draining(true);
    let bare = udp(Builder::new(Class::Request, Method::ALLOCATE, [1; 12])).finish();
    let reply = world.input(addr("203.0.113.7:1"), &bare).unwrap();
    assert_eq!(reply.code(), 401);
    assert_eq!(reply.get(attribute::ALTERNATE_SERVER), None);
}

#[test]
fn a_full_server_sends_on_but_a_full_user_stays() {
    let limits = Limits {
        allocations: 2,
        allocations_per_user: 1,
        ..Limits::default()
    };
    let mut world = world(limits);
    let allocate = |world: &mut World, port: u16, user: &str| {
        let mut client = TestClient::new(&format!("203.0.113.7:{port}"), user);
        client.request(world, Method::ALLOCATE, udp).code()
    };
    assert_eq!(allocate(&mut world, 1, "a"), 0);
    assert_eq!(allocate(&mut world, 2, "a"), 486);
    world.closed = vec![Family::V4];
    assert_eq!(allocate(&mut world, 3, "b"), 300, "no port");
    world.closed.clear();
    assert_eq!(allocate(&mut world, 4, "b"), 0);
    assert_eq!(allocate(&mut world, 5, "c"), 300);
}
