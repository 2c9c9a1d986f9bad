//! What the driver may relay without asking, and when that ends. That it is exactly what the server would relay, after
//! every step of random histories, is the model's to say (`fuzz/model.rs`).

mod indications;

use super::*;
use crate::codec::ChannelNumber;
use crate::policy::PeerPolicy;

const CLIENT: &str = "203.0.113.7:4000";
const PEER: &str = "192.0.2.1:9000";
const SECOND: Duration = Duration::from_secs(1);

fn ready() -> (World, TestClient) {
    let mut world = World::new();
    let mut client = TestClient::new(CLIENT, "a");
    client.allocate(&mut world);
    assert_eq!(client.bind(&mut world, 0x4000, PEER), 0);
    (world, client)
}

/// The only shortcut, if there is one.
fn only(world: &World) -> Option<Shortcut> {
    assert!(world.shortcuts.len() <= 1);
    world.shortcuts.values().next().copied()
}

fn left(world: &World) -> u64 {
    only(world).map_or(0, |shortcut| (shortcut.until - world.now.monotonic).as_secs())
}

#[test]
fn a_bound_channel_is_one_until_the_first_of_three_ends() {
    let (mut world, mut client) = ready();
    let shortcut = only(&world).unwrap();
    assert_eq!(shortcut.client.address, addr(CLIENT));
    assert_eq!(shortcut.peer, addr(PEER));
    assert_eq!(shortcut.number.map(ChannelNumber::get), Some(0x4000));
    assert!(world.relays.contains_key(&shortcut.relay));
    // The permission, refreshed by its peer's address.
    assert_eq!(left(&world), 300);
    world.advance(200 * SECOND);
    assert_eq!(left(&world), 100);
    assert_eq!(client.permit(&mut world, &["192.0.2.1:1"]), 0);
    assert_eq!(left(&world), 300);
    // The channel, 600 seconds after it was bound.
    world.advance(200 * SECOND);
    assert_eq!(client.refresh(&mut world, 3000).code(), 0);
    assert_eq!(client.permit(&mut world, &["192.0.2.1:1"]), 0);
    assert_eq!(left(&world), 200);
    // The allocation, which may become shorter as well.
    assert_eq!(client.bind(&mut world, 0x4000, PEER), 0);
    assert_eq!(left(&world), 300);
    world.advance(250 * SECOND);
    assert_eq!(client.refresh(&mut world, 600).code(), 0);
    world.advance(400 * SECOND);
    assert_eq!(client.bind(&mut world, 0x4000, PEER), 0);
    assert_eq!(left(&world), 200);
    assert_eq!(client.refresh(&mut world, 600).code(), 0);
    assert_eq!(left(&world), 300, "longer again");
}

#[test]
fn it_ends_with_each_of_them() {
    let (mut world, mut client) = ready();
    world.advance(299 * SECOND);
    assert_eq!(left(&world), 1);
    world.advance(SECOND);
    assert_eq!(only(&world), None, "the permission is over, the channel is not");
    assert_eq!(world.count(Counter::Channels), 1);
    assert_eq!(client.permit(&mut world, &[PEER]), 0);
    assert_eq!(left(&world), 300, "and again");
    assert_eq!(client.refresh(&mut world, 0).code(), 0);
    assert_eq!(only(&world), None);
}

#[test]
fn a_policy_takes_back() {
    let (mut world, _client) = ready();
    let policy = |text: &str| PeerPolicy::allow_list(vec![text.parse().unwrap()]);
    world.server.set_peer_policy(policy("192.0.2.0/24"));
    world.drain();
    assert!(only(&world).is_some());
    world.server.set_peer_policy(policy("192.0.2.1:9001"));
    world.drain();
    assert_eq!(only(&world), None);
}

#[test]
fn it_moves_with_the_client() {
    let mut world = World::new();
    let mut client = TestClient::new(CLIENT, "a");
    let mobile = |r: Builder| udp(r).attribute(attribute::MOBILITY_TICKET, &[]);
    let reply = client.request(&mut world, Method::ALLOCATE, mobile);
    let ticket = reply.get(attribute::MOBILITY_TICKET).unwrap().to_vec();
    assert_eq!(client.bind(&mut world, 0x4000, PEER), 0);
    client.address = addr("203.0.113.8:5000");
    client.nonce.clear();
    let reply = client.request(&mut world, Method::REFRESH, |r| {
        r.attribute(attribute::MOBILITY_TICKET, &ticket)
    });
    assert_eq!(reply.code(), 0);
    assert_eq!(only(&world).unwrap().client.address, client.address);
    // To a stream, where there are none.
    let ticket = reply.get(attribute::MOBILITY_TICKET).unwrap().to_vec();
    world.listener = TCP_LISTENER;
    client.address = addr("203.0.113.9:5000");
    client.nonce.clear();
    let reply = client.request(&mut world, Method::REFRESH, |r| {
        r.attribute(attribute::MOBILITY_TICKET, &ticket)
    });
    assert_eq!(reply.code(), 0);
    assert_eq!(only(&world), None);
}

#[test]
fn who_is_counted_packet_by_packet_has_none() {
    let limits = Limits {
        bandwidth: Some(1 << 40),
        ..Limits::default()
    };
    let policy = PeerPolicy::allow_list(vec!["192.0.2.0/24".parse().unwrap()]);
    let mut world = World::with(limits, policy);
    let mut client = TestClient::new(CLIENT, "a");
    client.allocate(&mut world);
    assert_eq!(client.bind(&mut world, 0x4000, PEER), 0);
    assert_eq!(only(&world), None);
}
