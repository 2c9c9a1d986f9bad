//! Relaying allocates nothing: a counting allocator says so, of the server alone and of the
//! running relay with its sockets.
#![allow(clippy::unwrap_used, reason = "in a test a failure is an answer")]
#![allow(
    unsafe_code,
    reason = "a global allocator is unsafe to write; this one only counts and forwards"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use medmesh_turn::codec::{
    Builder, Class, Datagram, FRAME_BYTES_MAX, Family, Fields, Framer, Frames, IntegrityKind, Method,
    attribute, decode,
};
use medmesh_turn::server::{
    self, Command, Limits, ListenerId, Now, Quotas, Server, ServerConfig, Transport, WorkerId,
};
use medmesh_turn::{PeerPolicy, Relay, RelayConfig, Secret, Secrets, long_term_key};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is forwarded unchanged to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's obligations are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789a";

struct Client {
    socket: UdpSocket,
    username: String,
    nonce: Vec<u8>,
}

impl Client {
    fn new(server: SocketAddr) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.connect(server).unwrap();
        let mut client = Self {
            socket,
            username: format!("{}:a", now + 600),
            nonce: vec![0],
        };
        client.nonce = client.call(Method::ALLOCATE, |r| r, attribute::NONCE);
        client
    }

    /// Makes a request; returns the value of an attribute of the answer.
    fn call(&self, method: Method, attributes: impl FnOnce(Builder) -> Builder, wanted: u16) -> Vec<u8> {
        let password = Secret::new(1, SECRET).password(&self.username);
        let request = attributes(Builder::new(Class::Request, method, [7; 12]))
            .attribute(attribute::USERNAME, self.username.as_bytes())
            .attribute(attribute::REALM, b"medmesh")
            .attribute(attribute::NONCE, &self.nonce)
            .integrity(
                IntegrityKind::Sha1,
                &long_term_key(&self.username, "medmesh", &password),
            )
            .finish();
        self.socket.send(&request).unwrap();
        let mut buffer = [0; 1000];
        let length = self.socket.recv(&mut buffer).unwrap();
        let Ok(Datagram::Message(message)) = decode(&buffer[..length]) else {
            panic!("no message")
        };
        let found = message.attributes().find(|attribute| attribute.kind == wanted);
        found
            .unwrap_or_else(|| panic!("no {wanted:#06x} in {message:?}"))
            .value
            .to_vec()
    }
}

/// Sends `datagram` back and forth in bursts; the peer echoes.
fn relay(client: &Client, peer: &UdpSocket, datagram: &[u8], bursts: usize, buffer: &mut [u8]) {
    for burst in 0..bursts {
        let count = 1 + burst % 10;
        for _ in 0..count {
            client.socket.send(datagram).unwrap();
        }
        for _ in 0..count {
            let (length, from) = peer.recv_from(buffer).unwrap();
            peer.send_to(&buffer[..length], from).unwrap();
        }
        for _ in 0..count {
            client.socket.recv(buffer).unwrap();
        }
    }
}

/// Reads `stream` in pieces as a driver does; how much of it the server relays.
fn read_stream(
    server: &mut Server,
    (client, now): (server::Client, Now),
    framer: &mut Framer,
    buffer: &mut [u8],
    stream: &[u8],
) -> usize {
    let mut relayed = 0;
    // Pieces that fit no frame: something is left over after most of them.
    for piece in stream.chunks(777) {
        let kept = framer.resume(buffer);
        buffer[kept..kept + piece.len()].copy_from_slice(piece);
        let read = &buffer[..kept + piece.len()];
        let mut frames = Frames::new(read, server.frame_bytes_max(client));
        while let Some(range) = frames.next().unwrap() {
            let out = server.handle_input(now, client.address, client.listener, &read[range]);
            relayed += out.map_or(0, |out| out.data.len());
        }
        framer.suspend(frames.rest());
    }
    relayed
}

/// The pure server alone: frames out of a stream, padding, and all the limits of bandwidth.
fn framing_and_limits_cost_no_allocation() {
    let peer: SocketAddr = "192.0.2.1:9".parse().unwrap();
    let limits = Limits {
        bandwidth_per_allocation: Some(1 << 30),
        bandwidth_per_user: Some(1 << 30),
        bandwidth: Some(1 << 30),
        ..Limits::default()
    };
    let config = ServerConfig {
        realm: "medmesh".to_owned(),
        listeners: vec![Transport::Tcp],
        families: vec![Family::V4],
        tcp_relays: false,
        dont_fragment: false,
        mobility: true,
        offload: false,
        worker: WorkerId::default(),
        limits,
        legacy_channels: false,
        nonce_key: [7; 32],
        binding_credential: None,
        seed: 7,
    };
    let policy = PeerPolicy::allow_list(vec!["192.0.2.1".parse().unwrap()]);
    let secrets = Secrets::new(Secret::new(1, SECRET), None);
    let mut server = Server::new(config, secrets, policy, Arc::new(Quotas::new()));
    let (username, now) = ("2000000000:a", Now::default());
    let client = server::Client {
        listener: ListenerId(0),
        address: "203.0.113.7:4000".parse().unwrap(),
    };
    assert!(server.handle_client_connected(now, client));
    let key = long_term_key(username, "medmesh", &Secret::new(1, SECRET).password(username));
    let mut nonce = vec![0];
    let mut relay = None;
    let udp = |r: Builder| r.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    let bind = |r: Builder| {
        r.attribute(attribute::CHANNEL_NUMBER, &[0x40, 0, 0, 0])
            .address(attribute::XOR_PEER_ADDRESS, peer)
    };
    let steps: [(Method, &dyn Fn(Builder) -> Builder); 3] = [
        (Method::ALLOCATE, &udp),
        (Method::ALLOCATE, &udp),
        (Method::CHANNEL_BIND, &bind),
    ];
    for (method, attributes) in steps {
        let request = attributes(Builder::new(Class::Request, method, [7; 12]))
            .attribute(attribute::USERNAME, username.as_bytes())
            .attribute(attribute::REALM, b"medmesh")
            .attribute(attribute::NONCE, &nonce)
            .integrity(IntegrityKind::Sha1, &key)
            .finish();
        server.handle_input(now, client.address, client.listener, &request);
        while let Some(command) = server.poll_command() {
            match command {
                Command::OpenRelay { relay: opened, .. } => {
                    relay = Some(opened);
                    server.handle_relay_opened(now, opened, Ok("198.51.100.1:50000".parse().unwrap()));
                }
                Command::Send { bytes, .. } => {
                    let Ok(Datagram::Message(message)) = decode(&bytes) else {
                        panic!("no message")
                    };
                    if let Some(fresh) = Fields::read(&message).nonce {
                        nonce = fresh.to_vec();
                    }
                }
                _ => {}
            }
        }
    }
    let relay = relay.expect("an allocation");
    let frame = [&[0x40, 0, 0, 251][..], &[5; 252]].concat();
    let stream = frame.repeat(100);
    let (mut framer, mut buffer) = (Framer::new(), vec![0; FRAME_BYTES_MAX + 1000]);
    let from = (client, now);
    assert_eq!(
        read_stream(&mut server, from, &mut framer, &mut buffer, &stream),
        25_100
    );
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..100 {
        assert_eq!(
            read_stream(&mut server, from, &mut framer, &mut buffer, &stream),
            25_100
        );
        let out = server.handle_relayed(now, relay, peer, 251);
        assert_eq!(out.expect("a channel").padding, 1);
    }
    assert_eq!(
        ALLOCATIONS.load(Ordering::Relaxed) - before,
        0,
        "allocations for 10,000 frames out of a stream"
    );
}

#[test]
fn a_relayed_packet_costs_no_allocation() {
    framing_and_limits_cost_no_allocation();
    let config = RelayConfig {
        listen: vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)],
        workers: 1,
        ..RelayConfig::default()
    };
    let policy = PeerPolicy::allow_list(vec!["127.0.0.1:1024-65535".parse().unwrap()]);
    let secrets = Secrets::new(Secret::new(1, SECRET), None);
    let server = Relay::spawn(config, secrets, policy, &prometheus::Registry::new()).unwrap();
    let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let peer_address = peer.local_addr().unwrap();

    let client = Client::new(server.listeners()[0]);
    let udp = |r: Builder| r.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    client.call(Method::ALLOCATE, udp, attribute::XOR_RELAYED_ADDRESS);
    let mut buffer = vec![0; 4000];

    // Send and Data indications first: a bound channel would take over.
    let permit = |r: Builder| r.address(attribute::XOR_PEER_ADDRESS, peer_address);
    client.call(Method::CREATE_PERMISSION, permit, attribute::MESSAGE_INTEGRITY);
    let indication = Builder::new(Class::Indication, Method::SEND, [9; 12])
        .address(attribute::XOR_PEER_ADDRESS, peer_address)
        .attribute(attribute::DATA, &[5; 1001])
        .finish();
    relay(&client, &peer, &indication, 20, &mut buffer);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    relay(&client, &peer, &indication, 200, &mut buffer);
    assert_eq!(
        ALLOCATIONS.load(Ordering::Relaxed) - before,
        0,
        "allocations for 1,100 indications each way"
    );

    let bind = |r: Builder| permit(r.attribute(attribute::CHANNEL_NUMBER, &[0x40, 0, 0, 0]));
    client.call(Method::CHANNEL_BIND, bind, attribute::MESSAGE_INTEGRITY);
    let mut data = vec![0x40, 0, 3, 232];
    data.resize(4 + 1000, 5);
    relay(&client, &peer, &data, 20, &mut buffer);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    relay(&client, &peer, &data, 2_000, &mut buffer);
    assert_eq!(
        ALLOCATIONS.load(Ordering::Relaxed) - before,
        0,
        "allocations for 11,000 packets each way"
    );
    server.stop();
}
