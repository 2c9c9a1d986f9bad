//! TCP allocations (RFC 6062): connections with peers, made and accepted.

use super::*;

const PEER: &str = "192.0.2.1:443";
const CONTROL: &str = "203.0.113.7:1000";
const DATA: &str = "203.0.113.7:1001";

fn tcp(request: Builder) -> Builder {
    request.attribute(attribute::REQUESTED_TRANSPORT, &[6, 0, 0, 0])
}

fn client_at(address: &str) -> Client {
    Client {
        listener: TCP_LISTENER,
        address: addr(address),
    }
}

fn id(connection: ConnectionId) -> [u8; 4] {
    connection.0.to_be_bytes()
}

/// A client with a TCP allocation, and its relay.
struct Scene {
    world: World,
    client: TestClient,
    relay: RelayId,
}

fn scene_with(config: ServerConfig) -> Scene {
    let policy = PeerPolicy::allow_list(vec!["192.0.2.0/24".parse().unwrap()]);
    let mut world = World {
        listener: TCP_LISTENER,
        ..World::of(config, policy)
    };
    assert!(
        world
            .server
            .handle_client_connected(world.now, client_at(CONTROL))
    );
    let mut client = TestClient::new(CONTROL, "a");
    let reply = client.request(&mut world, Method::ALLOCATE, tcp);
    assert_eq!(reply.code(), 0, "{reply:?}");
    let relay = world.relay_at(reply.relayed());
    Scene { world, client, relay }
}

fn scene() -> Scene {
    scene_with(config())
}

impl Scene {
    /// Sends a Connect request, which is answered later unless it is refused at once.
    fn connect(&mut self, peer: &str) -> Option<Reply> {
        let request = Builder::new(Class::Request, Method::CONNECT, self.world.transaction());
        let request = self.client.seal(address_attribute(request, addr(peer)));
        self.world.input(self.client.address, &request)
    }

    fn refused(&mut self, peer: &str) -> u16 {
        self.connect(peer).expect("an answer").code()
    }

    /// Connects to a peer that accepts.
    fn connected(&mut self, peer: &str) -> ConnectionId {
        assert_eq!(self.connect(peer), None);
        let &(connection, to) = self.world.connecting.last().unwrap();
        assert_eq!(to, addr(peer));
        self.world
            .server
            .handle_peer_connected(self.world.now, connection, Ok(()));
        self.world.drain();
        let reply = self.last();
        assert!(reply.is_success());
        self.client.verify(&reply);
        assert_eq!(reply.get(attribute::CONNECTION_ID), Some(&id(connection)[..]));
        connection
    }

    /// What the control connection was sent last.
    fn last(&self) -> Reply {
        let (to, bytes) = self.world.sent.last().unwrap();
        assert_eq!(*to, client_at(CONTROL));
        Reply(bytes.clone())
    }

    fn accept(&mut self, peer: &str) -> Option<ConnectionId> {
        let accepted = self
            .world
            .server
            .handle_peer_accepted(self.world.now, self.relay, addr(peer));
        self.world.drain();
        accepted
    }

    fn permit(&mut self, peer: &str) {
        assert_eq!(self.client.permit(&mut self.world, &[peer]), 0);
    }

    /// A ConnectionBind of `user` over a connection of its own.
    fn bind_as(&mut self, user: &str, connection: &[u8]) -> u16 {
        let arrived = self
            .world
            .server
            .handle_client_connected(self.world.now, client_at(DATA));
        assert!(arrived);
        let mut data = TestClient::new(DATA, user);
        let with_id = |r: Builder| r.attribute(attribute::CONNECTION_ID, connection);
        data.request(&mut self.world, Method::CONNECTION_BIND, with_id)
            .code()
    }

    fn bind(&mut self, connection: ConnectionId) -> u16 {
        self.bind_as("a", &id(connection))
    }

    fn connections(&self) -> u64 {
        assert_eq!(
            self.world.count(Counter::Connections),
            self.world.server.connections.len() as u64
        );
        self.world.count(Counter::Connections)
    }
}

#[test]
fn a_client_reaches_a_peer() {
    let mut scene = scene();
    let connection = scene.connected(PEER);
    assert_eq!(scene.bind(connection), 0);
    assert_eq!(scene.world.spliced, [(connection, client_at(DATA))]);
    assert_eq!(scene.world.count(Counter::Strangers), 0);
    // Neither patience nor the end of permissions touches what is bound.
    scene.world.advance(Duration::from_secs(599));
    assert_eq!(scene.world.closed_connections, []);
    scene.world.server.handle_connection_closed(connection);
    assert_eq!(scene.connections(), 0);
    scene.connected(PEER);
}

#[test]
fn a_peer_reaches_a_client() {
    let mut scene = scene();
    assert_eq!(scene.accept("192.0.2.1:5000"), None, "without a permission");
    scene.permit("192.0.2.1:0");
    let connection = scene.accept("192.0.2.1:5000").unwrap();
    let attempt = scene.last();
    assert_eq!(attempt.message().method, Method::CONNECTION_ATTEMPT);
    assert_eq!(attempt.message().class, Class::Indication);
    assert_eq!(attempt.get(attribute::CONNECTION_ID), Some(&id(connection)[..]));
    assert_eq!(
        attempt.addresses(attribute::XOR_PEER_ADDRESS),
        [addr("192.0.2.1:5000")]
    );
    assert_eq!(scene.bind(connection), 0);
    assert_eq!(scene.world.spliced, [(connection, client_at(DATA))]);
    assert_eq!(scene.accept("192.0.2.2:5000"), None);
    assert_eq!(scene.world.count(Counter::ConnectionRefused), 2);
    scene.world.advance(Duration::from_secs(300));
    assert_eq!(scene.accept("192.0.2.1:5001"), None, "the permission has ended");
}

#[test]
fn tcp_relays_need_a_stream_and_the_configuration() {
    let mut world = World::new();
    let mut client = TestClient::new(CONTROL, "a");
    assert_eq!(
        client.request(&mut world, Method::ALLOCATE, tcp).code(),
        400,
        "over UDP"
    );
    world.listener = TCP_LISTENER;
    for (kind, value) in [
        (attribute::EVEN_PORT, &[0][..]),
        (attribute::RESERVATION_TOKEN, &[0; 8]),
    ] {
        let mut client = TestClient::new(CONTROL, "a");
        let odd = |r| tcp(r).attribute(kind, value);
        assert_eq!(
            client.request(&mut world, Method::ALLOCATE, odd).code(),
            400,
            "{kind}"
        );
    }
    world.server.tcp_relays = false;
    let mut client = TestClient::new(CONTROL, "a");
    assert_eq!(client.request(&mut world, Method::ALLOCATE, tcp).code(), 442);
}

#[test]
fn datagrams_and_connections_do_not_mix() {
    let mut scene = scene();
    scene.permit(PEER);
    let Scene { world, client, .. } = &mut scene;
    assert_eq!(client.bind(world, 0x4000, PEER), 403);
    assert_eq!(
        world.input(client.address, &send_indication(addr(PEER), b"x")),
        None
    );
    assert_eq!(world.count(Counter::DropNoPermission), 1);

    let mut over_udp = TestClient::new("203.0.113.7:2000", "a");
    over_udp.allocate(world);
    let connect = |r| address_attribute(r, addr(PEER));
    assert_eq!(over_udp.request(world, Method::CONNECT, connect).code(), 403);
    let mut nobody = TestClient::new("203.0.113.7:2001", "a");
    assert_eq!(nobody.request(world, Method::CONNECT, connect).code(), 437);
}

#[test]
fn connect_is_refused_by_kind() {
    let mut scene = scene();
    let Scene { world, client, .. } = &mut scene;
    assert_eq!(client.request(world, Method::CONNECT, |r| r).code(), 400);
    assert_eq!(scene.refused("127.0.0.1:80"), 403);
    assert_eq!(scene.refused("192.0.2.1:0"), 403);
    assert_eq!(scene.refused("[2001:db8::1]:80"), 443);
    assert_eq!(scene.connect(PEER), None);
    assert_eq!(scene.refused(PEER), 446, "being made");
    let (connection, _) = scene.world.connecting[0];
    scene
        .world
        .server
        .handle_peer_connected(scene.world.now, connection, Ok(()));
    scene.world.drain();
    assert_eq!(scene.refused(PEER), 446, "pending");
    assert_eq!(scene.bind(connection), 0);
    assert_eq!(scene.refused(PEER), 446, "active");
    scene.world.server.handle_connection_closed(connection);
    assert_eq!(scene.connect(PEER), None);
    let (connection, _) = scene.world.connecting[1];
    scene
        .world
        .server
        .handle_peer_connected(scene.world.now, connection, Err(ConnectFailed));
    scene.world.drain();
    assert_eq!(scene.last().code(), 447);
    scene.client.verify(&scene.last());
    assert_eq!(scene.connections(), 0);
    scene
        .world
        .server
        .handle_peer_connected(scene.world.now, connection, Ok(()));
    assert_eq!(scene.connections(), 0, "an answer that comes too late");
}

#[test]
fn patience_ends_after_thirty_seconds_and_not_before() {
    let mut scene = scene();
    let patience = Limits::CONNECTION_PATIENCE;
    assert_eq!(scene.connect(PEER), None);
    let (connecting, _) = scene.world.connecting[0];
    scene.world.advance(patience - Duration::from_millis(1));
    assert_eq!(scene.connections(), 1);
    assert_eq!(
        scene.world.server.poll_timeout(),
        Some(scene.world.now.monotonic + Duration::from_millis(1))
    );
    scene.world.advance(Duration::from_millis(1));
    assert_eq!(scene.last().code(), 447);
    assert_eq!(scene.world.closed_connections, [connecting]);

    let pending = scene.connected(PEER);
    scene.world.advance(patience - Duration::from_millis(1));
    assert_eq!(scene.connections(), 1);
    scene.world.advance(Duration::from_millis(1));
    assert_eq!(scene.world.closed_connections, [connecting, pending]);
    assert_eq!(scene.world.count(Counter::ConnectionUnclaimed), 1);
    assert_eq!(scene.bind(pending), 400);
}

#[test]
fn only_the_owner_binds_once_and_over_a_fresh_stream() {
    let mut scene = scene();
    let connection = scene.connected(PEER);
    assert_eq!(scene.bind_as("b", &id(connection)), 441);
    assert_eq!(scene.bind_as("a", &(connection.0 ^ 1).to_be_bytes()), 400);
    assert_eq!(scene.bind_as("a", &[1, 2]), 400);
    let with_id = |r: Builder| r.attribute(attribute::CONNECTION_ID, &id(connection));
    let Scene { world, client, .. } = &mut scene;
    assert_eq!(client.request(world, Method::CONNECTION_BIND, |r| r).code(), 400);
    assert_eq!(
        client.request(world, Method::CONNECTION_BIND, with_id).code(),
        400,
        "the control connection itself"
    );
    world.listener = LISTENER;
    let mut over_udp = TestClient::new(DATA, "a");
    assert_eq!(
        over_udp.request(world, Method::CONNECTION_BIND, with_id).code(),
        400
    );
    world.listener = TCP_LISTENER;
    assert_eq!(world.spliced, []);
    assert_eq!(scene.bind(connection), 0);
    assert_eq!(scene.bind(connection), 400, "bound already");
}

#[test]
fn a_connection_can_be_bound_after_the_credentials_have_expired() {
    let mut scene = scene();
    for _ in 0..8 {
        scene.world.advance(Duration::from_secs(500));
        let again = scene.client.refresh(&mut scene.world, 600);
        if again.code() == 438 {
            scene.client.nonce = again.nonce();
            assert_eq!(scene.client.refresh(&mut scene.world, 600).code(), 0);
        }
    }
    let connection = scene.connected(PEER);
    assert_eq!(scene.bind_as("b", &id(connection)), 401, "another's has expired");
    assert_eq!(scene.bind(connection), 0);
}

#[test]
fn connections_end_with_their_allocation() {
    type End = fn(&mut Scene);
    let ends: [(&str, End); 4] = [
        ("refresh 0", |s| {
            assert_eq!(s.client.refresh(&mut s.world, 0).code(), 0);
        }),
        ("lost", |s| {
            s.world.server.handle_client_disconnected(client_at(CONTROL));
        }),
        ("expired", |s| s.world.advance(Duration::from_secs(600))),
        ("policy", |s| {
            s.world.server.set_peer_policy(PeerPolicy::default());
        }),
    ];
    for (name, end) in ends {
        let mut scene = scene();
        scene.permit("192.0.2.0:0");
        let made = scene.connected(PEER);
        assert_eq!(scene.bind(made), 0);
        assert_eq!(scene.connect("192.0.2.9:1"), None);
        scene.accept("192.0.2.0:5000").unwrap();
        assert_eq!(scene.connections(), 3);
        end(&mut scene);
        scene.world.drain();
        assert_eq!(scene.world.closed_connections.len(), 3, "{name}");
        assert_eq!(scene.connections(), 0, "{name}");
        scene.world.server.handle_connection_closed(made);
    }
}

#[test]
fn connections_are_counted_per_allocation_and_in_total() {
    let limits = Limits {
        connections_per_allocation: 2,
        connections: 3,
        ..Limits::default()
    };
    let mut scene = scene_with(ServerConfig { limits, ..config() });
    scene.permit("192.0.2.9:0");
    let first = scene.connected("192.0.2.1:1");
    assert_eq!(scene.connect("192.0.2.1:2"), None);
    assert_eq!(scene.refused("192.0.2.1:3"), 508);
    assert_eq!(scene.accept("192.0.2.9:1"), None);
    scene.world.server.handle_connection_closed(first);
    assert!(scene.accept("192.0.2.9:1").is_some());

    let mut other = TestClient::new("203.0.113.7:3000", "b");
    assert_eq!(other.request(&mut scene.world, Method::ALLOCATE, tcp).code(), 0);
    scene.client = other;
    let connect = |peer: &str, scene: &mut Scene| {
        let request = Builder::new(Class::Request, Method::CONNECT, scene.world.transaction());
        let request = scene.client.seal(address_attribute(request, addr(peer)));
        scene
            .world
            .input(scene.client.address, &request)
            .map(|reply| reply.code())
    };
    assert_eq!(connect("192.0.2.1:4", &mut scene), None);
    assert_eq!(connect("192.0.2.1:5", &mut scene), Some(508));
    assert_eq!(scene.connections(), 3);
}

#[test]
fn ids_are_unguessable_and_tell_the_worker() {
    let config = ServerConfig {
        worker: WorkerId { index: 2, count: 3 },
        limits: Limits {
            connections_per_allocation: 1000,
            ..Limits::default()
        },
        ..config()
    };
    let mut scene = scene_with(config);
    let ids: Vec<u32> = (1..1000)
        .map(|port| scene.connected(&format!("192.0.2.1:{port}")).0)
        .collect();
    assert!(ids.iter().all(|id| id % 3 == 2));
    let distance = |pair: &[u32]| pair[0].abs_diff(pair[1]);
    assert!(
        ids.windows(2).filter(|pair| distance(pair) < 1 << 16).count() < 5,
        "no order in them"
    );
}

#[test]
fn another_workers_connection_is_handed_over_after_authentication() {
    let mut scene = scene_with(ServerConfig {
        worker: WorkerId { index: 0, count: 2 },
        ..config()
    });
    let theirs = 7_u32.to_be_bytes();
    assert!(
        scene
            .world
            .server
            .handle_client_connected(scene.world.now, client_at(DATA))
    );
    let bind = Builder::new(Class::Request, Method::CONNECTION_BIND, [1; 12]);
    let bind = bind.attribute(attribute::CONNECTION_ID, &theirs);
    let mut liar = TestClient::new(DATA, "a");
    liar.nonce = scene
        .world
        .input(addr(DATA), &bind.clone().finish())
        .unwrap()
        .nonce();
    liar.password.push('x');
    let forged = liar.seal(bind.clone());
    assert_eq!(scene.world.input(addr(DATA), &forged).unwrap().code(), 401);
    assert!(scene.world.handed_over.is_empty());
    liar.password.pop();
    let request = liar.seal(bind);
    assert_eq!(scene.world.input(addr(DATA), &request), None);
    assert_eq!(scene.world.handed_over, [(client_at(DATA), 1, request)]);
    assert_eq!(
        scene.world.count(Counter::Strangers),
        0,
        "it is the other worker's now"
    );
}
