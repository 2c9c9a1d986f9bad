//! Relaying allocates nothing: a counting allocator says so, of the server alone and of the
//! running relay with its sockets.
#![allow(clippy::unwrap_used, reason = "in a test a failure is an answer")]
#![allow(
    unsafe_code,
    reason = "a global allocator is unsafe to write; this one only counts and forwards"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use medmesh_turn::codec::{Builder, Class, Datagram, IntegrityKind, Method, attribute, decode};
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

#[test]
fn a_relayed_packet_costs_no_allocation() {
    let config = RelayConfig {
        listen: vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)],
        workers: 1,
        ..RelayConfig::default()
    };
    let policy = PeerPolicy::allow_list(vec!["127.0.0.1".parse().unwrap()]);
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
