//! What only a test inside can do to a running relay.

use std::time::{Duration, Instant};

use super::*;
use crate::codec::{Builder, Class, Datagram, Fields, IntegrityKind, Method, attribute, decode};
use crate::credential::{Secret, long_term_key};
use crate::server::Limits;

const PATIENCE: Duration = Duration::from_secs(20);
const USERNAME: &str = "4000000000:somebody";

/// Sends a request; returns the nonce of a challenge, or whether it succeeded.
fn ask(socket: &UdpSocket, request: &[u8]) -> Result<bool, Vec<u8>> {
    let mut buffer = [0; 1000];
    socket.send(request).unwrap();
    let length = socket.recv(&mut buffer).unwrap();
    let Ok(Datagram::Message(message)) = decode(&buffer[..length]) else {
        panic!("no message")
    };
    match Fields::read(&message).nonce {
        Some(nonce) => Err(nonce.to_vec()),
        None => Ok(message.class == Class::Success),
    }
}

fn allocates(server: SocketAddr) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(server).unwrap();
    let allocate = |id| {
        let request = Builder::new(Class::Request, Method::ALLOCATE, [id; 12]);
        request.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
    };
    let nonce = ask(&socket, &allocate(1).finish()).unwrap_err();
    let key = long_term_key(USERNAME, "medmesh", &Secret::new(1, "text").password(USERNAME));
    let request = allocate(2)
        .attribute(attribute::USERNAME, USERNAME.as_bytes())
        .attribute(attribute::REALM, b"medmesh")
        .attribute(attribute::NONCE, &nonce)
        .integrity(IntegrityKind::Sha1, &key);
    ask(&socket, &request.finish()).unwrap()
}

#[test]
fn a_worker_that_panics_goes_on_and_gives_back_what_it_held() {
    let config = RelayConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        workers: 1,
        ports: 41_100..=41_101,
        limits: Limits {
            allocations_per_user: 2,
            allocations: 2,
            ..Limits::default()
        },
        ..RelayConfig::default()
    };
    let secrets = Secrets::new(Secret::new(1, "text"), None);
    let relay = Relay::spawn(
        config,
        secrets,
        PeerPolicy::default(),
        &prometheus::Registry::new(),
    )
    .unwrap();
    let server = relay.listeners()[0];
    for round in 1..=3 {
        assert!(allocates(server) && allocates(server), "round {round}");
        assert!(!allocates(server), "user, relay and ports are exhausted");
        relay.0.shared.fault.store(true, Ordering::Release);
        relay.0.wake();
        let deadline = Instant::now() + PATIENCE;
        while relay.stats().allocations > 0 {
            assert!(Instant::now() < deadline, "the fault has not happened");
            std::thread::yield_now();
        }
    }
    relay.stop();
}
