//! Indications to peers without a channel.

use super::*;

const OTHER_PORT: &str = "192.0.2.1:9001";
const OTHER: &str = "192.0.2.2:9000";

fn permitted() -> (World, TestClient) {
    let mut world = World::new();
    let mut client = TestClient::new(CLIENT, "a");
    client.allocate(&mut world);
    assert_eq!(client.refresh(&mut world, 3000).code(), 0);
    assert_eq!(client.permit(&mut world, &[PEER]), 0);
    assert_eq!(only(&world), None, "nothing was sent yet");
    (world, client)
}

/// Sends an indication; whether it is relayed.
fn send(world: &mut World, client: &TestClient, peer: &str) -> bool {
    let indication = Builder::new(Class::Indication, Method::SEND, [9; 12])
        .address(attribute::XOR_PEER_ADDRESS, addr(peer))
        .attribute(attribute::DATA, b"data")
        .finish();
    let listener = world.listener;
    let out = world
        .server
        .handle_input(world.now, client.address, listener, &indication);
    world.drain();
    out.is_some()
}

#[test]
fn whom_the_client_has_sent_to_needs_no_asking_while_the_permission_lasts() {
    let (mut world, mut client) = permitted();
    assert!(!send(&mut world, &client, OTHER));
    assert_eq!(only(&world), None, "not permitted");
    assert!(send(&mut world, &client, PEER));
    let shortcut = only(&world).unwrap();
    assert_eq!((shortcut.number, shortcut.peer), (None, addr(PEER)));
    assert_eq!(shortcut.client.address, addr(CLIENT));
    assert_eq!(left(&world), 300);
    // What is sent refreshes nothing.
    world.advance(200 * SECOND);
    assert!(send(&mut world, &client, PEER));
    assert_eq!(left(&world), 100);
    assert_eq!(client.permit(&mut world, &[OTHER_PORT]), 0);
    assert_eq!(left(&world), 300, "a permission is of an address");
    world.advance(299 * SECOND);
    assert_eq!(left(&world), 1);
    world.advance(SECOND);
    assert_eq!(only(&world), None);
    // A new permission is one; what was sent under the old one does not count.
    assert_eq!(client.permit(&mut world, &[PEER]), 0);
    assert_eq!(only(&world), None);
    assert!(send(&mut world, &client, PEER));
    assert_eq!(left(&world), 300);
    assert_eq!(client.refresh(&mut world, 0).code(), 0);
    assert_eq!(only(&world), None);
}

#[test]
fn a_channel_takes_the_place_of_indications_and_gives_it_back() {
    let (mut world, mut client) = permitted();
    assert!(send(&mut world, &client, PEER));
    assert_eq!(client.bind(&mut world, 0x4000, PEER), 0);
    let number = |world: &World| only(world).map(|shortcut| shortcut.number.map(ChannelNumber::get));
    assert_eq!(number(&world), Some(Some(0x4000)));
    for _ in 0..2 {
        world.advance(299 * SECOND);
        assert_eq!(client.permit(&mut world, &[PEER]), 0);
    }
    assert_eq!(number(&world), Some(Some(0x4000)));
    world.advance(2 * SECOND);
    assert_eq!(
        number(&world),
        Some(None),
        "the channel is over, the permission is not"
    );
}

#[test]
fn nobody_but_the_client_makes_the_server_remember_a_peer() {
    let (mut world, _client) = permitted();
    let relay = *world.relays.keys().next().unwrap();
    assert!(
        world
            .server
            .handle_relayed(world.now, relay, addr(PEER), 100)
            .is_some()
    );
    world.drain();
    assert_eq!(only(&world), None);
}

#[test]
fn no_more_peers_than_the_bound_are_remembered() {
    let (mut world, client) = permitted();
    for port in 0..Limits::CORRESPONDENTS + 5 {
        assert!(
            send(&mut world, &client, &format!("192.0.2.1:{}", 5000 + port)),
            "relayed all the same"
        );
    }
    assert_eq!(world.shortcuts.len(), Limits::CORRESPONDENTS);
}

#[test]
fn a_policy_takes_ports_back() {
    let (mut world, client) = permitted();
    assert!(send(&mut world, &client, PEER));
    assert!(send(&mut world, &client, OTHER_PORT));
    assert_eq!(world.shortcuts.len(), 2);
    world
        .server
        .set_peer_policy(PeerPolicy::allow_list(vec!["192.0.2.1:9001".parse().unwrap()]));
    world.drain();
    assert_eq!(only(&world).unwrap().peer, addr(OTHER_PORT));
    assert!(!send(&mut world, &client, PEER));
}

#[test]
fn they_move_with_the_client() {
    let mut world = World::new();
    let mut client = TestClient::new(CLIENT, "a");
    let mobile = |r: Builder| udp(r).attribute(attribute::MOBILITY_TICKET, &[]);
    let reply = client.request(&mut world, Method::ALLOCATE, mobile);
    let ticket = reply.get(attribute::MOBILITY_TICKET).unwrap().to_vec();
    assert_eq!(client.permit(&mut world, &[PEER]), 0);
    assert!(send(&mut world, &client, PEER));
    client.address = addr("203.0.113.8:5000");
    client.nonce.clear();
    let reply = client.request(&mut world, Method::REFRESH, |r| {
        r.attribute(attribute::MOBILITY_TICKET, &ticket)
    });
    assert_eq!(reply.code(), 0);
    assert_eq!(only(&world).unwrap().client.address, client.address);
}
