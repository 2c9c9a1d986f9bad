//! Clients over TCP and TLS: strangers are bounded, and a connection takes its allocation along.

use super::*;

fn world(limits: Limits) -> World {
    let policy = PeerPolicy::allow_list(vec!["192.0.2.0/24".parse().unwrap()]);
    World {
        listener: TCP_LISTENER,
        ..World::with(limits, policy)
    }
}

fn client_at(address: &str) -> Client {
    Client {
        listener: TCP_LISTENER,
        address: addr(address),
    }
}

fn connect(world: &mut World, address: &str) -> bool {
    let connected = world
        .server
        .handle_client_connected(world.now, client_at(address));
    world.drain();
    connected
}

#[test]
fn a_connection_that_comes_to_nothing_is_closed_in_time() {
    let mut world = world(Limits::default());
    assert!(connect(&mut world, "203.0.113.7:1"));
    let mut client = TestClient::new("203.0.113.7:2", "a");
    assert!(connect(&mut world, "203.0.113.7:2"));
    client.allocate(&mut world);
    assert_eq!(world.count(Counter::Strangers), 1);
    let patience = Limits::default().stranger_max;
    assert_eq!(world.server.poll_timeout(), Some(world.now.monotonic + patience));
    world.advance(patience - Duration::from_millis(1));
    assert_eq!(world.closed_clients, []);
    world.advance(Duration::from_millis(1));
    assert_eq!(world.closed_clients, [client_at("203.0.113.7:1")]);
    assert_eq!(world.count(Counter::StrangerTooSlow), 1);
    assert_eq!(world.count(Counter::Strangers), 0);
    assert_eq!(client.refresh(&mut world, 600).code(), 0);
}

#[test]
fn requests_alone_do_not_buy_time() {
    let mut world = world(Limits::default());
    let mut client = TestClient::new("203.0.113.7:2", "a");
    assert!(connect(&mut world, "203.0.113.7:2"));
    for _ in 0..19 {
        world.advance(Duration::from_secs(1));
        assert_eq!(client.refresh(&mut world, 600).code(), 437);
    }
    world.advance(Duration::from_secs(1));
    assert_eq!(world.closed_clients, [client_at("203.0.113.7:2")]);
}

#[test]
fn a_flood_of_connections_neither_grows_nor_shuts_out_who_means_it() {
    let limits = Limits {
        strangers: 100,
        strangers_per_source: 10,
        ..Limits::default()
    };
    let mut world = world(limits);
    let mut client = TestClient::new("203.0.113.7:9", "a");
    let mut refused = 0;
    for source in 0..2000_u32 {
        let [.., high, low] = source.to_be_bytes();
        for port in 0..12 {
            refused += usize::from(!connect(
                &mut world,
                &format!("198.51.{high}.{low}:{}", 1000 + port),
            ));
        }
        assert!(world.count(Counter::Strangers) <= 100);
    }
    assert_eq!(refused, 2 * 2000, "ten of a source, not twelve");
    assert_eq!(world.count(Counter::StrangerSource), 2 * 2000);
    assert_eq!(world.closed_clients.len(), 10 * 2000 - 100, "the oldest go");
    assert!(connect(&mut world, "203.0.113.7:9"));
    assert!(connect(&mut world, "198.51.100.200:1"));
    client.allocate(&mut world);
    for port in 0..300 {
        connect(&mut world, &format!("192.0.2.{}:{port}", port % 250));
    }
    assert_eq!(
        client.refresh(&mut world, 600).code(),
        0,
        "an allocation is not in the queue"
    );
}

#[test]
fn connections_of_one_ipv6_network_are_one_source() {
    let limits = Limits {
        strangers_per_source: 3,
        ..Limits::default()
    };
    let mut world = world(limits);
    let connected = (0..10).filter(|host| connect(&mut world, &format!("[2001:db8:1:2::{host:x}]:1")));
    assert_eq!(connected.count(), 3);
    world
        .server
        .handle_client_disconnected(client_at("[2001:db8:1:2::1]:1"));
    assert!(connect(&mut world, "[2001:db8:1:2::77]:1"));
    assert!(!connect(&mut world, "[2001:db8:1:2::78]:1"));
}

#[test]
fn a_lost_connection_ends_its_allocation() {
    let mut world = world(Limits::default());
    let mut client = TestClient::new("203.0.113.7:2", "a");
    assert!(connect(&mut world, "203.0.113.7:2"));
    client.allocate(&mut world);
    assert_eq!(client.permit(&mut world, &["192.0.2.1:1"]), 0);
    world
        .server
        .handle_client_disconnected(client_at("203.0.113.7:2"));
    world.drain();
    assert_eq!(world.relays.len(), 0);
    assert_eq!(world.count(Counter::Permissions), 0);
    assert_eq!(world.closed_clients, [], "it is closed already");

    // The same address again is another connection, even if the end of the first was missed.
    assert!(connect(&mut world, "203.0.113.7:2"));
    client.allocate(&mut world);
    assert!(connect(&mut world, "203.0.113.7:2"));
    world.drain();
    assert_eq!(client.refresh(&mut world, 600).code(), 437);
}

#[test]
fn a_connection_whose_allocation_ended_is_a_stranger_again() {
    let mut world = world(Limits::default());
    let mut client = TestClient::new("203.0.113.7:2", "a");
    assert!(connect(&mut world, "203.0.113.7:2"));
    client.allocate(&mut world);
    assert_eq!(client.refresh(&mut world, 0).code(), 0);
    assert_eq!(world.count(Counter::Strangers), 1);
    client.allocate(&mut world);
    assert_eq!(world.count(Counter::Strangers), 0);
    world.advance(Duration::from_secs(600));
    assert_eq!(
        (world.count(Counter::Allocations), world.count(Counter::Strangers)),
        (0, 1)
    );
    world.advance(Limits::default().stranger_max);
    assert_eq!(world.closed_clients, [client_at("203.0.113.7:2")]);
}

#[test]
fn strangers_may_send_short_frames_only() {
    let mut world = world(Limits::default());
    let mut client = TestClient::new("203.0.113.7:2", "a");
    assert!(connect(&mut world, "203.0.113.7:2"));
    let here = client_at("203.0.113.7:2");
    assert_eq!(
        world.server.frame_bytes_max(here),
        Server::STRANGER_FRAME_BYTES_MAX
    );
    client.allocate(&mut world);
    assert_eq!(world.server.frame_bytes_max(here), codec::FRAME_BYTES_MAX);
}

#[test]
fn channel_data_is_padded_on_streams_and_only_there() {
    for (listener, padding) in [(TCP_LISTENER, 3), (LISTENER, 0)] {
        let mut world = world(Limits::default());
        world.listener = listener;
        let mut client = TestClient::new("203.0.113.7:2", "a");
        let relayed = client.allocate(&mut world);
        let relay = world.relay_at(relayed);
        assert_eq!(client.bind(&mut world, 0x4000, "192.0.2.1:9"), 0);
        let out = world
            .server
            .handle_relayed(world.now, relay, addr("192.0.2.1:9"), 5);
        let out = out.unwrap();
        assert_eq!((out.prefix(), out.padding), (&[0x40, 0, 0, 5][..], padding));
    }
}
