//! TCP allocations (RFC 6062) over real sockets.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use medmesh_turn::codec::{Builder, Datagram, Method, attribute, decode, decode_xor_address};
use medmesh_turn::{RelayConfig, RelayHandle, StreamListener};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use crate::support::*;
use crate::wire::Wire;

/// As many connections as make it certain that some are handed to another worker.
const ROUNDS: u8 = 12;
/// More than all buffers on the way hold, and no multiple of anything.
const BYTES: usize = (8 << 20) + 13;

struct World {
    relay: RelayHandle,
    root: CertificateDer<'static>,
    peer: TcpListener,
    _directory: TempDir,
}

impl World {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let (files, root) = write_pair(directory.path());
        let any = SocketAddr::new(loopback(), 0);
        let config = RelayConfig {
            streams: vec![StreamListener::new(any, false), StreamListener::new(any, true)],
            tls: Some(files),
            ..config()
        };
        Self {
            relay: spawn(config, loopback_peers()),
            root,
            peer: TcpListener::bind((loopback(), 0)).unwrap(),
            _directory: directory,
        }
    }

    fn client(&self, tls: bool) -> WireClient {
        let [tcp, secure] = self.relay.stream_listeners() else {
            panic!("two listeners")
        };
        if tls {
            WireClient::tls(*secure, &self.root, "a")
        } else {
            WireClient::tcp(*tcp, "a")
        }
    }

    fn peer(&self) -> SocketAddr {
        self.peer.local_addr().unwrap()
    }

    /// A control connection with a TCP allocation, and its relayed address.
    fn allocate(&self, tls: bool) -> (WireClient, SocketAddr) {
        let mut client = self.client(tls);
        let tcp = |request: Builder| request.attribute(attribute::REQUESTED_TRANSPORT, &[6, 0, 0, 0]);
        let reply = client.request(Method::ALLOCATE, tcp);
        assert_eq!(reply.code(), 0);
        let relayed = reply.relayed();
        (client, relayed)
    }

    /// A data connection for connection `id`.
    fn bind(&self, tls: bool, id: &[u8]) -> WireClient {
        let mut data = self.client(tls);
        let reply = data.request(Method::CONNECTION_BIND, |request| {
            request.attribute(attribute::CONNECTION_ID, id)
        });
        assert_eq!(reply.code(), 0);
        data
    }
}

fn connect(client: &mut WireClient, peer: SocketAddr) -> Result<Vec<u8>, u16> {
    let reply = client.request(Method::CONNECT, |request| {
        request.address(attribute::XOR_PEER_ADDRESS, peer)
    });
    match reply.get(attribute::CONNECTION_ID) {
        Some(id) => Ok(id.to_vec()),
        None => Err(reply.code()),
    }
}

fn write_all(wire: &Wire, bytes: &[u8]) {
    match wire {
        Wire::Tcp(stream) => (&mut &*stream).write_all(bytes).unwrap(),
        Wire::Tls(stream) => {
            let mut stream = stream.borrow_mut();
            stream.write_all(bytes).unwrap();
            stream.flush().unwrap();
        }
        Wire::Udp(_) => panic!("a stream"),
    }
}

fn read_exact(wire: &Wire, bytes: &mut [u8]) {
    match wire {
        Wire::Tcp(stream) => (&mut &*stream).read_exact(bytes).unwrap(),
        Wire::Tls(stream) => stream.borrow_mut().read_exact(bytes).unwrap(),
        Wire::Udp(_) => panic!("a stream"),
    }
}

#[test]
fn clients_connect_to_peers_whichever_worker_they_meet() {
    let world = World::new();
    for round in 0..ROUNDS {
        let tls = round % 2 == 0;
        let (mut client, relayed) = world.allocate(tls);
        let id = connect(&mut client, world.peer()).unwrap();
        let (mut peer, from) = world.peer.accept().unwrap();
        assert_eq!(from, relayed, "the peer sees the relayed address");
        let data = world.bind(tls, &id);
        write_all(&data.socket, b"hello");
        let mut buffer = [0; 5];
        peer.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"hello");
        peer.write_all(b"world").unwrap();
        read_exact(&data.socket, &mut buffer);
        assert_eq!(&buffer, b"world");
        drop(data);
        assert_eq!(peer.read(&mut buffer).unwrap(), 0, "the end is the end for both");
    }
    eventually("nothing is left", || {
        let stats = world.relay.stats();
        (stats.allocations, stats.connections) == (0, 0)
    });
}

#[test]
fn peers_connect_to_clients() {
    let world = World::new();
    for round in 0..ROUNDS {
        let tls = round % 2 == 0;
        let (mut client, relayed) = world.allocate(tls);
        assert_eq!(client.permit(&[world.peer()]), 0);
        let mut peer = TcpStream::connect(relayed).unwrap();
        peer.write_all(b"early").unwrap();
        let mut buffer = [0; 1000];
        let length = client.socket.recv(&mut buffer).unwrap();
        let Ok(Datagram::Message(attempt)) = decode(&buffer[..length]) else {
            panic!("no message")
        };
        assert_eq!(attempt.method, Method::CONNECTION_ATTEMPT);
        let find = |kind| {
            let mut attributes = attempt.attributes();
            attributes.find(|a| a.kind == kind).unwrap().value.to_vec()
        };
        let from = decode_xor_address(&find(attribute::XOR_PEER_ADDRESS), &attempt.transaction());
        assert_eq!(from, Some(peer.local_addr().unwrap()));
        let data = world.bind(tls, &find(attribute::CONNECTION_ID));
        let mut buffer = [0; 5];
        read_exact(&data.socket, &mut buffer);
        assert_eq!(&buffer, b"early", "what was sent before anybody listened");
        drop(client);
        assert_eq!(
            peer.read(&mut buffer).unwrap(),
            0,
            "the allocation's end is its end"
        );
    }
}

#[test]
fn who_is_not_permitted_is_hung_up_on() {
    let world = World::new();
    let (_client, relayed) = world.allocate(false);
    let mut peer = TcpStream::connect(relayed).unwrap();
    let ended = peer.read(&mut [0; 10]);
    assert!(!matches!(ended, Ok(1..)), "{ended:?}");
}

#[test]
fn an_unreachable_peer_is_told() {
    let world = World::new();
    let (mut client, _) = world.allocate(false);
    let nobody = TcpListener::bind((loopback(), 0)).unwrap().local_addr().unwrap();
    assert_eq!(connect(&mut client, nobody), Err(447));
    let denied = "198.51.100.1:9".parse().unwrap();
    assert_eq!(connect(&mut client, denied), Err(403));
    let id = connect(&mut client, world.peer()).unwrap();
    assert_eq!(
        connect(&mut client, world.peer()),
        Err(446),
        "it is there already"
    );
    drop(world.peer.accept().unwrap());
    let _ = id;
}

#[test]
fn much_goes_both_ways_and_each_may_end_first() {
    let world = World::new();
    let (mut client, _) = world.allocate(false);
    let id = connect(&mut client, world.peer()).unwrap();
    let (peer, _) = world.peer.accept().unwrap();
    let data = world.bind(false, &id);
    let Wire::Tcp(data) = data.socket else {
        panic!("it is TCP")
    };
    let pattern = |salt: usize| (0..BYTES).map(|n| (n / 7 + salt) as u8).collect::<Vec<_>>();
    let (up, down) = (pattern(1), pattern(2));
    std::thread::scope(|scope| {
        // The client says everything and ends; the peer answers only when it has heard it all.
        scope.spawn(|| {
            (&data).write_all(&up).unwrap();
            data.shutdown(Shutdown::Write).unwrap();
        });
        let mut heard = Vec::new();
        (&peer).read_to_end(&mut heard).unwrap();
        assert!(heard == up, "{} of {BYTES} bytes", heard.len());
        scope.spawn(|| {
            (&peer).write_all(&down).unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
        });
        let mut heard = Vec::new();
        (&data).read_to_end(&mut heard).unwrap();
        assert!(heard == down, "{} of {BYTES} bytes", heard.len());
    });
    eventually("only the control connection is left", || {
        world.relay.stats().connections == 1
    });
}
