//! Even ports, held ports, packets that must not be fragmented, and ICMP errors.

use super::*;

fn even(reserve: bool) -> impl Fn(Builder) -> Builder {
    move |r| udp(r).attribute(attribute::EVEN_PORT, &[u8::from(reserve) << 7])
}

fn with_token(token: &[u8]) -> impl Fn(Builder) -> Builder {
    move |r| udp(r).attribute(attribute::RESERVATION_TOKEN, token)
}

fn token(reply: &Reply) -> Vec<u8> {
    reply.get(attribute::RESERVATION_TOKEN).expect("a token").to_vec()
}

fn client(port: u16, user: &str) -> TestClient {
    TestClient::new(&format!("203.0.113.7:{port}"), user)
}

#[test]
fn two_allocations_get_neighbouring_ports() {
    let mut world = World::new();
    let first = client(1, "a").request(&mut world, Method::ALLOCATE, even(true));
    let rtp = first.relayed();
    assert_eq!(rtp.port() % 2, 0);
    assert_eq!(world.held.len(), 1);
    let mut second = client(2, "a");
    let reply = second.request(&mut world, Method::ALLOCATE, with_token(&token(&first)));
    assert_eq!(reply.relayed(), SocketAddr::new(rtp.ip(), rtp.port() + 1));
    assert!(world.held.is_empty());
    // Once.
    let again = client(3, "a").request(&mut world, Method::ALLOCATE, with_token(&token(&first)));
    assert_eq!(again.code(), 508);
    assert_eq!(
        client(4, "a")
            .request(&mut world, Method::ALLOCATE, even(false))
            .code(),
        0
    );
    assert!(world.held.is_empty());
}

#[test]
fn a_held_port_goes_back_after_thirty_seconds() {
    let mut world = World::new();
    let mut first = client(1, "a");
    let reply = first.request(&mut world, Method::ALLOCATE, even(true));
    // The end of the first allocation is not the end of the reservation.
    assert_eq!(first.refresh(&mut world, 0).code(), 0);
    world.advance(Duration::from_millis(29_999));
    assert_eq!(world.held.len(), 1);
    assert_eq!(
        world.server.poll_timeout(),
        Some(world.now.monotonic + Duration::from_millis(1))
    );
    world.advance(Duration::from_millis(1));
    assert!(world.held.is_empty());
    let late = client(2, "a").request(&mut world, Method::ALLOCATE, with_token(&token(&reply)));
    assert_eq!(late.code(), 508);
    assert_eq!(world.count(Counter::ReservationUnused), 1);
}

#[test]
fn a_token_is_its_users_and_cannot_be_guessed() {
    let mut world = World::new();
    let reply = client(1, "a").request(&mut world, Method::ALLOCATE, even(true));
    let stolen = client(2, "b").request(&mut world, Method::ALLOCATE, with_token(&token(&reply)));
    assert_eq!(stolen.code(), 508);
    let other = client(3, "c").request(&mut world, Method::ALLOCATE, even(true));
    assert_ne!(token(&reply)[..4], token(&other)[..4]);
    let mut guess = token(&reply);
    guess[7] ^= 1;
    assert_eq!(
        client(4, "a")
            .request(&mut world, Method::ALLOCATE, with_token(&guess))
            .code(),
        508
    );
    let own = client(5, "a").request(&mut world, Method::ALLOCATE, with_token(&token(&reply)));
    assert_eq!(own.code(), 0, "a wrong user has not spoilt it");
}

#[test]
fn holding_counts_against_quotas() {
    let limits = Limits {
        allocations_per_user: 3,
        allocations: 4,
        ..Limits::default()
    };
    let mut world = World::with(limits, PeerPolicy::default());
    let first = client(1, "a").request(&mut world, Method::ALLOCATE, even(true));
    assert_eq!(
        client(2, "a")
            .request(&mut world, Method::ALLOCATE, even(true))
            .code(),
        486
    );
    client(3, "a").allocate(&mut world);
    assert_eq!(
        client(4, "a").request(&mut world, Method::ALLOCATE, udp).code(),
        486
    );
    // The reservation's place is the second allocation's.
    let second = client(5, "a").request(&mut world, Method::ALLOCATE, with_token(&token(&first)));
    assert_eq!(second.code(), 0);
    assert_eq!(
        client(6, "b")
            .request(&mut world, Method::ALLOCATE, even(true))
            .code(),
        508
    );
    client(6, "b").allocate(&mut world);
    world.advance(Duration::from_secs(600));
    assert_eq!(world.server.poll_timeout(), None);
    assert!(world.held.is_empty());
    for port in 10..13 {
        client(port, "a").allocate(&mut world);
    }
}

#[test]
fn no_pair_of_ports_is_508_and_leaves_nothing() {
    let mut world = World::new();
    world.closed = vec![Family::V4];
    for port in 0..40 {
        assert_eq!(
            client(port, "a")
                .request(&mut world, Method::ALLOCATE, even(true))
                .code(),
            508
        );
    }
    world.closed.clear();
    assert_eq!(
        client(1, "a")
            .request(&mut world, Method::ALLOCATE, even(true))
            .code(),
        0
    );
}

#[test]
fn workers_share_what_is_held() {
    let mut one = World::new();
    let mut other = World::new();
    let quotas = Arc::clone(&one.server.quotas);
    let config = ServerConfig { seed: 99, ..config() };
    other.server = Server::new(
        config,
        Secrets::new(secret(), None),
        PeerPolicy::default(),
        quotas,
    );
    let first = client(1, "a").request(&mut one, Method::ALLOCATE, even(true));
    other.held = std::mem::take(&mut one.held);
    let second = client(2, "a").request(&mut other, Method::ALLOCATE, with_token(&token(&first)));
    assert_eq!(second.relayed().port(), first.relayed().port() + 1);
}

#[test]
fn dont_fragment_is_served_or_refused() {
    let mut world = World::new();
    let with = |r| udp(r).attribute(attribute::DONT_FRAGMENT, &[]);
    let mut asking = client(1, "a");
    assert_eq!(asking.request(&mut world, Method::ALLOCATE, with).code(), 0);
    assert_eq!(asking.permit(&mut world, &["192.0.2.1:9"]), 0);
    let send = |flag: bool| {
        let r = Builder::new(Class::Indication, Method::SEND, [9; 12]);
        let r = if flag {
            r.attribute(attribute::DONT_FRAGMENT, &[])
        } else {
            r
        };
        let r = address_attribute(r, addr("192.0.2.1:9"));
        r.attribute(attribute::DATA, b"x").finish()
    };
    let relayed = |flag, world: &mut World| {
        let out = world
            .server
            .handle_input(world.now, asking.address, LISTENER, &send(flag));
        out.map(|out| out.dont_fragment)
    };
    assert_eq!(relayed(true, &mut world), Some(true));
    assert_eq!(relayed(false, &mut world), Some(false));
    world.server.dont_fragment = false;
    assert_eq!(relayed(true, &mut world), None);
    assert_eq!(relayed(false, &mut world), Some(false));
    let reply = client(2, "a").request(&mut world, Method::ALLOCATE, with);
    assert_eq!(reply.code(), 420);
    assert_eq!(reply.get(attribute::UNKNOWN_ATTRIBUTES), Some(&[0x00, 0x1A][..]));
    world.listener = TCP_LISTENER;
    world.server.dont_fragment = true;
    let tcp = |r: Builder| {
        r.attribute(attribute::REQUESTED_TRANSPORT, &[6, 0, 0, 0])
            .attribute(attribute::DONT_FRAGMENT, &[])
    };
    assert_eq!(
        client(3, "a").request(&mut world, Method::ALLOCATE, tcp).code(),
        400
    );
}

#[test]
fn icmp_errors_reach_the_client_of_the_peer_and_not_too_many() {
    let mut world = World::new();
    let mut client = client(1, "a");
    let relay = client.allocate(&mut world);
    let relay = world.relay_at(relay);
    let peer = addr("192.0.2.1:9");
    let too_big = IcmpError {
        kind: 3,
        code: 4,
        data: 1400,
    };
    let report = |world: &mut World, relay, peer, error| {
        let before = world.sent.len();
        world.server.handle_icmp(world.now, relay, peer, error);
        world.drain();
        world.sent.get(before).map(|(_, bytes)| Reply(bytes.clone()))
    };
    assert_eq!(
        report(&mut world, relay, peer, too_big),
        None,
        "without a permission"
    );
    assert_eq!(client.permit(&mut world, &["192.0.2.1:9"]), 0);
    let told = report(&mut world, relay, peer, too_big).unwrap();
    assert_eq!(
        (told.message().class, told.message().method),
        (Class::Indication, Method::DATA)
    );
    assert_eq!(told.addresses(attribute::XOR_PEER_ADDRESS), [peer]);
    assert_eq!(
        told.get(attribute::ICMP),
        Some(&[0, 0, 3, 4, 0, 0, 0x05, 0x78][..])
    );
    assert_eq!(told.get(attribute::DATA), None);
    assert_eq!(report(&mut world, relay, peer, too_big), None, "too soon");
    world.advance(Duration::from_millis(50));
    // Only a packet that was too big says how big it may be.
    let unreachable = IcmpError {
        code: 3,
        data: 77,
        ..too_big
    };
    let told = report(&mut world, relay, peer, unreachable).unwrap();
    assert_eq!(told.get(attribute::ICMP), Some(&[0, 0, 3, 3, 0, 0, 0, 0][..]));
    world.advance(Duration::from_secs(1));
    let echo = IcmpError { kind: 0, ..too_big };
    assert_eq!(report(&mut world, relay, peer, echo), None, "no error");
    let gone = RelayId {
        generation: relay.generation + 1,
        ..relay
    };
    assert_eq!(report(&mut world, gone, peer, too_big), None);
}
