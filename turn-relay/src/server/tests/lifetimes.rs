//! What ends, and when, to the second.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn ready() -> (World, TestClient, SocketAddr) {
    let mut world = World::new();
    let mut client = TestClient::new("203.0.113.7:4000", "a");
    let relayed = client.allocate(&mut world);
    (world, client, relayed)
}

fn relays_in(world: &mut World, relayed: SocketAddr, peer: &str) -> bool {
    let Some(relay) = world
        .relays
        .iter()
        .find(|(_, at)| **at == relayed)
        .map(|(id, _)| *id)
    else {
        return false;
    };
    world
        .server
        .handle_relayed(world.now, relay, addr(peer), 5)
        .is_some()
}

#[test]
fn lifetimes_are_granted_between_the_default_and_the_maximum() {
    let mut world = World::new();
    for (index, (asked, granted)) in [
        (None, 600),
        (Some(0), 600),
        (Some(777), 777),
        (Some(u32::MAX), 3600),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = TestClient::new(&format!("203.0.113.7:{}", 100 + index), "a");
        let reply = client.request(&mut world, Method::ALLOCATE, |r| match asked {
            Some(s) => udp(r).attribute(attribute::LIFETIME, &u32::to_be_bytes(s)),
            None => udp(r),
        });
        assert_eq!(reply.lifetime_s(), granted, "{asked:?}");
    }
}

#[test]
fn an_allocation_lives_as_long_as_it_is_refreshed() {
    let (mut world, mut client, _) = ready();
    world.advance(599 * SECOND);
    assert_eq!(client.refresh(&mut world, 600).lifetime_s(), 600);
    world.advance(599 * SECOND);
    assert_eq!(world.relays.len(), 1);
    world.advance(SECOND);
    assert_eq!(world.relays.len(), 0);
    assert_eq!(world.count(Counter::Allocations), 0);
    assert_eq!(client.refresh(&mut world, 600).code(), 437);
    assert_eq!(world.server.poll_timeout(), None, "nothing is left to wait for");
}

#[test]
fn it_outlives_its_credentials_but_not_its_greatest_age() {
    let (mut world, mut client, _) = ready();
    let age_max = Limits::default().age_max;
    let end = world.now.monotonic + age_max;
    loop {
        let reply = client.refresh(&mut world, 600);
        if reply.code() == 438 {
            client.nonce = reply.nonce();
            continue;
        }
        let left = end.saturating_sub(world.now.monotonic);
        assert_eq!(
            reply.lifetime_s(),
            u32::try_from(left.as_secs().min(600)).unwrap()
        );
        if left <= 300 * SECOND {
            break;
        }
        world.advance(300 * SECOND);
    }
    assert!(
        world.now.unix_s > START_UNIX_S + 3600,
        "the user name has expired long since"
    );
    world.advance(300 * SECOND);
    assert_eq!(world.relays.len(), 0);
}

#[test]
fn permissions_end_after_five_minutes_unless_refreshed() {
    let (mut world, mut client, relayed) = ready();
    assert_eq!(client.permit(&mut world, &["192.0.2.1:1", "192.0.2.2:1"]), 0);
    world.advance(299 * SECOND);
    assert!(
        relays_in(&mut world, relayed, "192.0.2.1:77"),
        "any port of the peer"
    );
    assert_eq!(client.permit(&mut world, &["192.0.2.1:1"]), 0);
    world.advance(SECOND);
    assert!(relays_in(&mut world, relayed, "192.0.2.1:77"));
    assert!(!relays_in(&mut world, relayed, "192.0.2.2:77"));
    assert_eq!(world.count(Counter::Permissions), 1);
    world.advance(299 * SECOND);
    assert_eq!(world.count(Counter::Permissions), 0);
}

#[test]
fn channels_end_after_ten_minutes_and_their_permission_after_five() {
    let (mut world, mut client, relayed) = ready();
    assert_eq!(client.bind(&mut world, 0x4000, "192.0.2.1:9"), 0);
    world.advance(300 * SECOND);
    assert!(
        !relays_in(&mut world, relayed, "192.0.2.1:9"),
        "the permission is over"
    );
    assert_eq!(world.count(Counter::Channels), 1);
    assert_eq!(client.refresh(&mut world, 1200).code(), 0);
    world.advance(299 * SECOND);
    let data = [0x40, 0, 0, 1, 9];
    assert!(
        world
            .server
            .handle_input(world.now, client.address, LISTENER, &data)
            .is_some()
    );
    world.advance(SECOND);
    assert_eq!(
        world
            .server
            .handle_input(world.now, client.address, LISTENER, &data),
        None
    );
    assert_eq!(world.count(Counter::Channels), 0);
    assert_eq!(
        client.bind(&mut world, 0x4000, "192.0.2.2:9"),
        0,
        "the number is free again"
    );
}

#[test]
fn time_is_kept_even_if_nobody_calls_handle_timeout() {
    let (mut world, mut client, relayed) = ready();
    assert_eq!(client.bind(&mut world, 0x4000, "192.0.2.1:9"), 0);
    let relay = world.relay_at(relayed);
    let later = Now {
        monotonic: world.now.monotonic + 601 * SECOND,
        ..world.now
    };
    let data = [0x40, 0, 0, 1, 9];
    assert_eq!(
        world.server.handle_input(later, client.address, LISTENER, &data),
        None
    );
    assert_eq!(
        world.server.handle_relayed(later, relay, addr("192.0.2.1:9"), 1),
        None
    );
}

#[test]
fn refreshing_with_zero_ends_it_at_once_and_the_slot_is_another() {
    let (mut world, mut client, relayed) = ready();
    let old = world.relay_at(relayed);
    assert_eq!(client.permit(&mut world, &["192.0.2.1:1"]), 0);
    assert_eq!(client.refresh(&mut world, 0).lifetime_s(), 0);
    assert_eq!(client.refresh(&mut world, 0).code(), 437);
    let relayed = client.allocate(&mut world);
    let new = world.relay_at(relayed);
    assert_eq!(old.slot, new.slot);
    assert_ne!(old, new);
    assert_eq!(client.permit(&mut world, &["192.0.2.1:1"]), 0);
    assert_eq!(
        world
            .server
            .handle_relayed(world.now, old, addr("192.0.2.1:1"), 5),
        None,
        "a late packet"
    );
}

#[test]
fn making_and_ending_allocations_in_a_loop_fills_no_memory() {
    let (mut world, mut client, _) = ready();
    for _ in 0..20_000 {
        client.refresh(&mut world, 0);
        client.allocate(&mut world);
        world.sent.clear();
    }
    assert!(
        world.server.table.timers() < 2_000,
        "{} timers",
        world.server.table.timers()
    );
}
