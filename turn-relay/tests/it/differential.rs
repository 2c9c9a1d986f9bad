//! Where the server of the `turn` crate is wrong, ours is right: the same bytes to both.
//!
//! Each case asserts the fault of theirs as well: when a release mends it, the case says so
//! and the reason for a server of our own is one shorter.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use medmesh_turn::codec::{Builder, Class, Method};
use medmesh_turn::{PeerPolicy, long_term_key};
use turn::auth::AuthHandler;
use turn::relay::relay_static::RelayAddressGeneratorStatic;
use turn::server::Server;
use turn::server::config::{ConnConfig, ServerConfig};
use webrtc_util::vnet::net::Net;

use crate::support::*;

/// How long silence has to last to be taken for an answer.
const SILENCE: Duration = Duration::from_millis(300);

struct Passwords;

impl AuthHandler for Passwords {
    fn auth_handle(&self, username: &str, realm: &str, _: SocketAddr) -> Result<Vec<u8>, turn::Error> {
        let password = medmesh_turn::Secret::new(1, SECRET).password(username);
        Ok(long_term_key(username, realm, &password).to_vec())
    }
}

struct Theirs {
    address: SocketAddr,
    _server: Server,
    _runtime: tokio::runtime::Runtime,
}

fn theirs() -> Theirs {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (address, server) = runtime.block_on(async {
        let socket = tokio::net::UdpSocket::bind((loopback(), 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let relay_addr_generator = Box::new(RelayAddressGeneratorStatic {
            relay_address: loopback(),
            address: "127.0.0.1".to_owned(),
            net: Arc::new(Net::new(None)),
        });
        let config = ServerConfig {
            conn_configs: vec![ConnConfig {
                conn: Arc::new(socket),
                relay_addr_generator,
            }],
            realm: REALM.to_owned(),
            auth_handler: Arc::new(Passwords),
            channel_bind_timeout: Duration::ZERO,
            alloc_close_notify: None,
        };
        (address, Server::new(config).await.unwrap())
    });
    Theirs {
        address,
        _server: server,
        _runtime: runtime,
    }
}

#[test]
fn a_retransmitted_allocate_keeps_its_allocation() {
    let answers = |server| {
        let mut client = WireClient::new(server, "a");
        client.challenge();
        let request = client.seal(udp(Builder::new(Class::Request, Method::ALLOCATE, [42; 12])));
        let first = client.exchange(&request, PATIENCE).unwrap();
        let again = client.exchange(&request, PATIENCE).unwrap();
        assert_eq!(first.code(), 0);
        (
            again.code(),
            again.code() == 0 && again.relayed() == first.relayed(),
        )
    };
    let ours = spawn(config(), loopback_peers());
    assert_eq!(answers(ours.listeners()[0]), (0, true));
    assert_eq!(answers(theirs().address), (437, false));
}

#[test]
fn every_peer_of_a_permission_request_is_permitted() {
    let reached = |server| {
        let mut client = WireClient::new(server, "a");
        let relayed = client.allocate().relayed();
        let peers = ["127.0.0.1:9", "127.0.0.2:9"].map(|text| text.parse().unwrap());
        assert_eq!(client.permit(&peers), 0);
        let second = std::net::UdpSocket::bind("127.0.0.2:0").unwrap();
        second.send_to(b"hello", relayed).unwrap();
        client.socket.set_read_timeout(Some(SILENCE)).unwrap();
        client.socket.recv(&mut [0; 100]).is_ok()
    };
    let both = PeerPolicy::allow_list(
        ["127.0.0.1:1-65535", "127.0.0.2:1-65535"]
            .map(|rule| rule.parse().unwrap())
            .into(),
    );
    assert!(reached(spawn(config(), both).listeners()[0]));
    assert!(!reached(theirs().address));
}

#[test]
fn only_the_owner_changes_an_allocation() {
    let code = |server| {
        let mut owner = WireClient::new(server, "owner");
        assert_eq!(owner.allocate().code(), 0);
        let mut thief = owner.impostor("thief");
        thief.permit(&["127.0.0.1:9".parse().unwrap()])
    };
    assert_eq!(code(spawn(config(), loopback_peers()).listeners()[0]), 441);
    assert_eq!(code(theirs().address), 0);
}

#[test]
fn requests_without_an_allocation_are_answered_437() {
    let codes = |server| {
        let peer: SocketAddr = "127.0.0.1:9".parse().unwrap();
        [Method::REFRESH, Method::CREATE_PERMISSION, Method::CHANNEL_BIND].map(|method| {
            let mut client = WireClient::new(server, "a");
            let reply = client.try_request(method, SILENCE, |request| {
                request
                    .attribute(medmesh_turn::codec::attribute::CHANNEL_NUMBER, &[0x40, 0, 0, 0])
                    .address(medmesh_turn::codec::attribute::XOR_PEER_ADDRESS, peer)
            });
            reply.map(|reply| reply.code())
        })
    };
    assert_eq!(
        codes(spawn(config(), loopback_peers()).listeners()[0]),
        [Some(437); 3]
    );
    let theirs = codes(theirs().address);
    assert!(theirs.iter().all(|code| *code != Some(437)), "{theirs:?}");
}

#[test]
fn a_wrong_password_is_answered_401() {
    let code = |server| {
        let mut client = WireClient::new(server, "a");
        client.password.push('x');
        client
            .try_request(Method::ALLOCATE, SILENCE, udp)
            .map(|reply| reply.code())
    };
    assert_eq!(code(spawn(config(), loopback_peers()).listeners()[0]), Some(401));
    assert_ne!(code(theirs().address), Some(401));
}

#[test]
fn loopback_is_out_of_reach_unless_listed() {
    let code = |server| {
        let mut client = WireClient::new(server, "a");
        assert_eq!(client.allocate().code(), 0);
        client.permit(&["127.0.0.1:5432".parse().unwrap()])
    };
    assert_eq!(
        code(spawn(config(), PeerPolicy::public_only()).listeners()[0]),
        403
    );
    assert_eq!(code(spawn(config(), PeerPolicy::default()).listeners()[0]), 403);
    assert_eq!(code(theirs().address), 0);
}

#[test]
fn reserved_channel_numbers_are_refused() {
    let code = |server| {
        let mut client = WireClient::new(server, "a");
        assert_eq!(client.allocate().code(), 0);
        client.bind(0x5000, "127.0.0.1:9".parse().unwrap())
    };
    assert_eq!(code(spawn(config(), loopback_peers()).listeners()[0]), 400);
    assert_eq!(code(theirs().address), 0);
}

#[test]
fn one_user_cannot_take_everything() {
    let granted = |server| {
        (0..20)
            .filter(|_| WireClient::new(server, "greedy").allocate().code() == 0)
            .count()
    };
    let ours = spawn(config(), loopback_peers());
    assert_eq!(granted(ours.listeners()[0]), 16);
    assert_eq!(granted(theirs().address), 20);
}
