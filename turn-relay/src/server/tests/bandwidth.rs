//! Bandwidth per allocation, per user, and of the relay.

use super::*;

const PEER: &str = "192.0.2.1:9";

fn limits() -> Limits {
    Limits {
        bandwidth_per_allocation: Some(10_000),
        bandwidth_per_user: Some(15_000),
        bandwidth: Some(20_000),
        ..Limits::default()
    }
}

fn world(limits: Limits) -> World {
    World::with(
        limits,
        PeerPolicy::allow_list(vec!["192.0.2.0/24".parse().unwrap()]),
    )
}

fn client(world: &mut World, port: u16, user: &str) -> (TestClient, RelayId) {
    let mut client = TestClient::new(&format!("203.0.113.7:{port}"), user);
    let relayed = client.allocate(world);
    assert_eq!(client.bind(world, 0x4000, PEER), 0);
    (client, world.relay_at(relayed))
}

/// Sends packets of 100 bytes; how many bytes get through.
fn send(world: &mut World, client: &TestClient, packets: usize) -> usize {
    let data = [&[0x40, 0, 0, 100][..], &[7; 100]].concat();
    let through = (0..packets).filter(|_| {
        let out = world
            .server
            .handle_input(world.now, client.address, LISTENER, &data);
        out.is_some()
    });
    through.count() * 100
}

fn receive(world: &mut World, relay: RelayId, packets: usize) -> usize {
    let through = (0..packets).filter(|_| {
        world
            .server
            .handle_relayed(world.now, relay, addr(PEER), 100)
            .is_some()
    });
    through.count() * 100
}

#[test]
fn an_allocation_gets_a_seconds_worth_at_once_and_its_rate_after() {
    let mut world = world(limits());
    let (client, relay) = client(&mut world, 1, "a");
    assert_eq!(
        send(&mut world, &client, 60) + receive(&mut world, relay, 60),
        10_000
    );
    assert_eq!(world.count(Counter::DropBandwidthAllocation), 20);
    assert_eq!(
        world.count(Counter::BytesToPeers) + world.count(Counter::BytesToClients),
        10_000
    );
    let mut through = 0;
    for _ in 0..100 {
        world.advance(Duration::from_millis(50));
        through += send(&mut world, &client, 10);
    }
    assert_eq!(through, 50_000, "five seconds");
}

#[test]
fn a_user_and_the_relay_have_their_own() {
    let mut world = world(limits());
    let (one, _) = client(&mut world, 1, "a");
    let (two, _) = client(&mut world, 2, "a");
    let (other, _) = client(&mut world, 3, "b");
    assert_eq!(send(&mut world, &one, 200), 10_000);
    assert_eq!(send(&mut world, &two, 200), 5_000);
    assert!(world.count(Counter::DropBandwidthUser) > 0);
    assert_eq!(send(&mut world, &other, 200), 5_000);
    assert!(world.count(Counter::DropBandwidthRelay) > 0);
    world.advance(Duration::from_secs(10));
    assert_eq!(send(&mut world, &other, 200), 10_000);
}

#[test]
fn nobody_starts_over_with_a_new_allocation() {
    let mut world = world(limits());
    let mut through = 0;
    for port in 1..20 {
        let (mut client, _) = client(&mut world, port, "a");
        through += send(&mut world, &client, 100);
        assert_eq!(client.refresh(&mut world, 0).code(), 0);
        world.advance(Duration::from_millis(200));
    }
    assert!(through <= 15_000 + 19 * 3_000, "{through}");
}

#[test]
fn who_is_out_of_bandwidth_gets_no_allocation() {
    let mut world = world(limits());
    let (one, _) = client(&mut world, 1, "a");
    let (two, _) = client(&mut world, 2, "a");
    send(&mut world, &one, 100);
    send(&mut world, &two, 100);
    let allocate = |world: &mut World, port: u16, user: &str| {
        let mut client = TestClient::new(&format!("203.0.113.7:{port}"), user);
        client.request(world, Method::ALLOCATE, udp).code()
    };
    assert_eq!(allocate(&mut world, 3, "a"), 486);
    let (other, _) = client(&mut world, 4, "b");
    send(&mut world, &other, 100);
    assert_eq!(allocate(&mut world, 5, "c"), 508);
    assert_eq!(
        world.count(Counter::Allocations),
        3,
        "what was refused is given back"
    );
    world.advance(Duration::from_millis(200));
    assert_eq!(allocate(&mut world, 6, "c"), 0);
    assert_eq!(allocate(&mut world, 7, "a"), 0);
}

#[test]
fn streams_are_held_back_and_nothing_of_them_is_lost() {
    let mut world = World {
        listener: TCP_LISTENER,
        ..world(limits())
    };
    let mut client = TestClient::new("203.0.113.7:1", "a");
    let tcp = |r: Builder| r.attribute(attribute::REQUESTED_TRANSPORT, &[6, 0, 0, 0]);
    assert_eq!(client.request(&mut world, Method::ALLOCATE, tcp).code(), 0);
    let connect = Builder::new(Class::Request, Method::CONNECT, [4; 12]);
    let connect = client.seal(address_attribute(connect, addr(PEER)));
    assert_eq!(world.input(client.address, &connect), None);
    let (connection, _) = world.connecting[0];
    let mut carry = |now, bytes| {
        world
            .server
            .handle_spliced(now, connection, Direction::ToPeer, bytes)
    };
    let start = world.now;
    assert_eq!(carry(start, 10_000), Duration::ZERO);
    assert_eq!(carry(start, 5_000), Duration::from_millis(500));
    assert_eq!(carry(start, 5_000), Duration::from_millis(1000));
    let later = Now {
        monotonic: start.monotonic + Duration::from_secs(3),
        ..start
    };
    assert_eq!(carry(later, 1_000), Duration::ZERO);
    assert_eq!(world.count(Counter::BytesToPeers), 21_000);
    world.server.handle_connection_closed(connection);
    assert_eq!(
        world
            .server
            .handle_spliced(later, connection, Direction::ToClient, 1),
        Duration::ZERO
    );
}
