//! Clients that come back from another address (RFC 8016).

use super::*;

const HOME: &str = "203.0.113.7:1000";
const AWAY: &str = "198.18.0.9:2000";

fn mobile(request: Builder) -> Builder {
    udp(request).attribute(attribute::MOBILITY_TICKET, &[])
}

fn ticket(reply: &Reply) -> Vec<u8> {
    reply.get(attribute::MOBILITY_TICKET).expect("a ticket").to_vec()
}

/// A client with an allocation that may move, its relay and its ticket.
fn scene(world: &mut World) -> (TestClient, RelayId, Vec<u8>) {
    let mut client = TestClient::new(HOME, "a");
    let reply = client.request(world, Method::ALLOCATE, mobile);
    assert_eq!(reply.code(), 0, "{reply:?}");
    let relay = world.relay_at(reply.relayed());
    assert_eq!(client.bind(world, 0x4000, "192.0.2.1:9"), 0);
    (client, relay, ticket(&reply))
}

fn moved(client: &TestClient, to: &str) -> TestClient {
    TestClient {
        address: addr(to),
        nonce: Vec::new(),
        ..client.clone()
    }
}

fn refresh_with(world: &mut World, client: &mut TestClient, ticket: &[u8]) -> Reply {
    client.request(world, Method::REFRESH, |r| {
        r.attribute(attribute::MOBILITY_TICKET, ticket)
    })
}

fn receiver(world: &mut World, relay: RelayId) -> Option<SocketAddr> {
    let out = world
        .server
        .handle_relayed(world.now, relay, addr("192.0.2.1:9"), 1);
    out.map(|out| out.client.address)
}

fn sends(world: &mut World, from: &str) -> bool {
    let data = [0x40, 0, 0, 1, 5];
    let out = world
        .server
        .handle_input(world.now, addr(from), world.listener, &data);
    out.is_some()
}

#[test]
fn an_allocation_follows_its_client() {
    let mut world = World::new();
    let (client, relay, first) = scene(&mut world);
    let mut there = moved(&client, AWAY);
    let reply = refresh_with(&mut world, &mut there, &first);
    assert_eq!(reply.code(), 0, "{reply:?}");
    assert_ne!(ticket(&reply), first);
    assert_eq!(receiver(&mut world, relay), Some(addr(AWAY)));
    assert!(sends(&mut world, AWAY) && !sends(&mut world, HOME));
    assert_eq!(world.count(Counter::Moves), 1);
    assert_eq!(world.count(Counter::Allocations), 1);
    // The answer was lost: the same request again.
    assert_eq!(refresh_with(&mut world, &mut there, &first).code(), 0);
    assert_eq!(world.count(Counter::Moves), 1);
    // And on, with the newest ticket; and back, with the one before, its answer being lost.
    let mut further = moved(&client, "198.18.0.9:3000");
    let newest = refresh_with(&mut world, &mut further, &ticket(&reply));
    assert_eq!(newest.code(), 0);
    let mut home = moved(&client, HOME);
    assert_eq!(refresh_with(&mut world, &mut home, &ticket(&reply)).code(), 0);
    assert_eq!(receiver(&mut world, relay), Some(addr(HOME)));
    // One that is older is worth nothing.
    let mut late = moved(&client, AWAY);
    assert_eq!(refresh_with(&mut world, &mut late, &first).code(), 400);
    assert_eq!(receiver(&mut world, relay), Some(addr(HOME)));
}

#[test]
fn a_ticket_alone_moves_nothing() {
    let mut world = World::new();
    let (client, relay, first) = scene(&mut world);
    // Without credentials, with a wrong password, with a nonce of the old address.
    let bare = Builder::new(Class::Request, Method::REFRESH, [1; 12]);
    let bare = bare.attribute(attribute::MOBILITY_TICKET, &first).finish();
    assert_eq!(world.input(addr(AWAY), &bare).unwrap().code(), 401);
    let mut liar = moved(&client, AWAY);
    liar.password.push('x');
    assert_eq!(refresh_with(&mut world, &mut liar, &first).code(), 401);
    let mut echo = TestClient {
        address: addr(AWAY),
        ..client.clone()
    };
    assert_eq!(refresh_with(&mut world, &mut echo, &first).code(), 438);
    // Somebody else's credentials: the ticket was sealed for another name.
    let mut thief = TestClient::new(AWAY, "b");
    assert_eq!(refresh_with(&mut world, &mut thief, &first).code(), 400);
    // A ticket that was made up, or changed anywhere.
    let mut there = moved(&client, AWAY);
    for at in 0..first.len() {
        let mut forged = first.clone();
        forged[at] ^= 1;
        assert_eq!(
            refresh_with(&mut world, &mut there, &forged).code(),
            400,
            "byte {at}"
        );
    }
    assert_eq!(refresh_with(&mut world, &mut there, &first[1..]).code(), 400);
    assert_eq!(refresh_with(&mut world, &mut there, &[]).code(), 437);
    assert_eq!(receiver(&mut world, relay), Some(addr(HOME)));
    assert_eq!(world.count(Counter::Moves), 0);
}

#[test]
fn mobility_is_for_those_who_asked_where_it_is_allowed() {
    let mut world = World::new();
    let mut client = TestClient::new(HOME, "a");
    client.allocate(&mut world);
    assert_eq!(
        refresh_with(&mut world, &mut client, &[1]).get(attribute::MOBILITY_TICKET),
        None
    );
    let mut odd = TestClient::new("203.0.113.7:1001", "a");
    let guess = |r| udp(r).attribute(attribute::MOBILITY_TICKET, &[1, 2, 3]);
    assert_eq!(odd.request(&mut world, Method::ALLOCATE, guess).code(), 400);

    world.server.mobility = false;
    assert_eq!(odd.request(&mut world, Method::ALLOCATE, mobile).code(), 405);
    assert_eq!(refresh_with(&mut world, &mut client, &[1]).code(), 405);
    world.server.mobility = true;
    world.listener = TCP_LISTENER;
    let mut tcp = TestClient::new("203.0.113.7:1002", "a");
    let tcp_peers = |r: Builder| {
        r.attribute(attribute::REQUESTED_TRANSPORT, &[6, 0, 0, 0])
            .attribute(attribute::MOBILITY_TICKET, &[])
    };
    assert_eq!(tcp.request(&mut world, Method::ALLOCATE, tcp_peers).code(), 405);
}

/// coturn's quota bypass (fixed in 4.9): an allocation that had been resumed counted for nobody.
#[test]
fn moving_is_no_way_around_quotas() {
    let limits = Limits {
        allocations_per_user: 2,
        ..Limits::default()
    };
    let mut world = World::with(
        limits,
        PeerPolicy::allow_list(vec!["192.0.2.0/24".parse().unwrap()]),
    );
    let (client, _, mut newest) = scene(&mut world);
    for port in 0..50 {
        let mut there = moved(&client, &format!("198.18.0.9:{}", 2000 + port));
        newest = ticket(&refresh_with(&mut world, &mut there, &newest));
    }
    assert_eq!(world.count(Counter::Allocations), 1);
    moved(&client, HOME).allocate(&mut world);
    let mut third = moved(&client, "203.0.113.7:1001");
    assert_eq!(third.request(&mut world, Method::ALLOCATE, udp).code(), 486);
    let mut last = moved(&client, "198.18.0.9:2049");
    assert_eq!(last.refresh(&mut world, 0).code(), 0);
    third.allocate(&mut world);
}

#[test]
fn a_lost_connection_leaves_the_allocation_waiting_until_its_lifetime_ends() {
    let mut world = World {
        listener: TCP_LISTENER,
        ..World::new()
    };
    let home = Client {
        listener: TCP_LISTENER,
        address: addr(HOME),
    };
    assert!(world.server.handle_client_connected(world.now, home));
    let (client, relay, first) = scene(&mut world);
    world.server.handle_client_disconnected(home);
    world.drain();
    assert_eq!(receiver(&mut world, relay), None);
    assert_eq!(world.count(Counter::DropAway), 1);
    // Another client gets the same address and has an allocation of its own there.
    assert!(world.server.handle_client_connected(world.now, home));
    let mut other = TestClient::new(HOME, "b");
    other.allocate(&mut world);

    world.listener = LISTENER;
    let mut there = moved(&client, AWAY);
    let second = refresh_with(&mut world, &mut there, &first);
    assert_eq!(second.code(), 0, "from TCP to UDP");
    assert_eq!(receiver(&mut world, relay), Some(addr(AWAY)));
    world.listener = TCP_LISTENER;
    assert_eq!(other.refresh(&mut world, 600).code(), 0);

    world.server.handle_client_disconnected(home);
    world.listener = LISTENER;
    world.advance(Duration::from_secs(600));
    assert_eq!(world.count(Counter::Allocations), 0);
    assert_eq!(world.closed_clients, []);
    assert_eq!(refresh_with(&mut world, &mut there, &ticket(&second)).code(), 437);
}

#[test]
fn a_connection_left_behind_is_a_stranger() {
    let mut world = World {
        listener: TCP_LISTENER,
        ..World::new()
    };
    let (client, _, first) = scene(&mut world);
    let mut there = moved(&client, AWAY);
    assert_eq!(refresh_with(&mut world, &mut there, &first).code(), 0);
    world.advance(Limits::default().stranger_max);
    assert_eq!(world.closed_clients.len(), 1);
    assert_eq!(world.closed_clients[0].address, addr(HOME));
}

/// Two workers that share a listening address; the client's new address reaches the other one.
fn workers() -> (World, World) {
    let quotas = Arc::new(Quotas::new());
    let policy = PeerPolicy::allow_list(vec!["192.0.2.0/24".parse().unwrap()]);
    let worker = |index| {
        let config = ServerConfig {
            worker: WorkerId { index, count: 2 },
            seed: u64::from(index),
            ..config()
        };
        let mut world = World::of(config.clone(), policy.clone());
        world.server = Server::new(
            config,
            Secrets::new(secret(), None),
            policy.clone(),
            Arc::clone(&quotas),
        );
        world
    };
    (worker(0), worker(1))
}

#[test]
fn an_allocation_goes_to_the_worker_its_client_reaches() {
    let (mut a, mut b) = workers();
    let (client, relay, first) = scene(&mut a);
    let mut there = moved(&client, AWAY);
    // The first attempt is challenged at the new address, by the worker that got it.
    there.refresh(&mut b, 600);
    let with_ticket = |r: Builder| r.attribute(attribute::MOBILITY_TICKET, &first);
    let request = there.seal(with_ticket(Builder::new(
        Class::Request,
        Method::REFRESH,
        [8; 12],
    )));
    assert_eq!(b.input(there.address, &request), None);
    let (from, worker, asked) = b.fetched.pop().unwrap();
    assert_eq!((from.address, worker, &asked), (there.address, 0, &request));

    let moving = a.server.handle_fetch(a.now, from, &asked);
    let moving = moving.expect("a good request");
    assert_eq!(moving.relays().collect::<Vec<_>>(), [relay]);
    a.drain();
    assert_eq!(a.count(Counter::Allocations) + a.count(Counter::Channels), 0);
    assert!(
        a.relays.contains_key(&relay),
        "its socket is not closed but goes along"
    );

    let at = a.relays.remove(&relay).unwrap();
    b.server.handle_moved(b.now, from, &asked, Some(moving));
    b.drain();
    let (was, now) = b.adopted.pop().unwrap();
    assert_eq!(was, relay);
    b.relays.insert(now, at);
    let reply = Reply(b.sent.last().unwrap().1.clone());
    assert_eq!(reply.code(), 0);
    there.verify(&reply);
    assert_eq!(receiver(&mut b, now), Some(addr(AWAY)));
    assert!(sends(&mut b, AWAY));
    assert_eq!(
        (b.count(Counter::Allocations), b.count(Counter::Channels)),
        (1, 1)
    );

    // It ends there, and all of it comes back.
    assert_eq!(there.refresh(&mut b, 0).code(), 0);
    for number in 0..Limits::default().allocations_per_user {
        moved(&client, &format!("203.0.113.7:{}", 3000 + number)).allocate(&mut a);
    }
    // The old ticket is answered as what it is.
    let mut late = moved(&client, "198.18.0.9:7");
    late.refresh(&mut b, 600);
    let request = late.seal(with_ticket(Builder::new(
        Class::Request,
        Method::REFRESH,
        [9; 12],
    )));
    assert_eq!(b.input(late.address, &request), None);
    let (from, _, asked) = b.fetched.pop().unwrap();
    let none = a.server.handle_fetch(a.now, from, &asked);
    assert!(none.is_none());
    b.server.handle_moved(b.now, from, &asked, none);
    b.drain();
    assert_eq!(Reply(b.sent.last().unwrap().1.clone()).code(), 437);
}

#[test]
fn what_is_lost_between_workers_gives_its_quotas_back() {
    let (mut a, mut b) = workers();
    let (client, _, first) = scene(&mut a);
    let mut there = moved(&client, AWAY);
    there.refresh(&mut b, 600);
    let request = Builder::new(Class::Request, Method::REFRESH, [8; 12]);
    let request = there.seal(request.attribute(attribute::MOBILITY_TICKET, &first));
    b.input(there.address, &request);
    let (from, _, asked) = b.fetched.pop().unwrap();
    drop(a.server.handle_fetch(a.now, from, &asked).unwrap());
    for number in 0..Limits::default().allocations_per_user {
        moved(&client, &format!("203.0.113.7:{}", 3000 + number)).allocate(&mut b);
    }
}

#[test]
fn only_the_challenged_can_make_workers_talk() {
    let (mut a, mut b) = workers();
    let (client, _, first) = scene(&mut a);
    let request = Builder::new(Class::Request, Method::REFRESH, [8; 12]);
    let request = request.attribute(attribute::MOBILITY_TICKET, &first);
    let mut echo = TestClient {
        address: addr(AWAY),
        ..client.clone()
    };
    assert_eq!(
        b.input(addr(AWAY), &echo.seal(request.clone())).unwrap().code(),
        438
    );
    assert_eq!(
        b.input(addr(AWAY), &request.clone().finish()).unwrap().code(),
        401
    );
    assert!(b.fetched.is_empty());
    // A wrong password gets past the worker that cannot know, and no further.
    echo.nonce.clear();
    echo.refresh(&mut b, 600);
    echo.password.push('x');
    let forged = echo.seal(request);
    assert_eq!(b.input(addr(AWAY), &forged), None);
    let (from, _, asked) = b.fetched.pop().unwrap();
    assert!(a.server.handle_fetch(a.now, from, &asked).is_none());
    b.server.handle_moved(b.now, from, &asked, None);
    b.drain();
    assert_eq!(Reply(b.sent.last().unwrap().1.clone()).code(), 401);
    // A flood of such is bounded like any that comes before authentication.
    let burst = Limits::default().unauthenticated_burst as usize;
    for _ in 0..3 * burst {
        b.server.handle_input(b.now, addr(AWAY), LISTENER, &forged);
    }
    b.drain();
    assert!(b.fetched.len() < burst);
}
