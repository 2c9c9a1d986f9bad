//! The end of what the kernel may relay.

use std::net::{SocketAddr, UdpSocket};

use medmesh_turn::PeerPolicy;
use medmesh_turn::codec::{Method, attribute};

use super::cable::{Fast, Outside, Over, PEER, allowed, carried, inside, relay};
use super::shows_a_program;
use crate::support::{PATIENCE, WireClient, eventually};

#[test]
fn what_has_ended_is_not_relayed_by_the_kernel_either() {
    if inside("ends::what_has_ended_is_not_relayed_by_the_kernel_either") && allowed() {
        end(Over::Channel);
    }
}

#[test]
fn indications_end_with_what_allowed_them() {
    if inside("ends::indications_end_with_what_allowed_them") && allowed() {
        end(Over::Indications);
    }
}

fn end(over: Over) {
    let registry = prometheus::Registry::new();
    let relay = relay(3478, Fast::Native, &registry);
    let mut outside = Outside::new(4, true);
    let short = std::time::Duration::from_millis(200);
    let carried = || carried(&registry, "to_client");
    let held = || over.held(&registry);
    let join = |outside: &mut Outside, user: &str| {
        let mut client = outside.stranger(relay.listeners()[0], user);
        let relayed = client.allocate().relayed();
        over.open(&mut client, outside);
        eventually("the kernel knows", || held() == 1);
        (client, relayed)
    };
    // Whether data of the peer reaches a client, after the one packet that takes the long way.
    let reaches = |client: &WireClient, peer: &UdpSocket, relayed: SocketAddr| {
        client.socket.set_read_timeout(Some(short)).unwrap();
        (0..2).all(|_| {
            peer.send_to(b"as much as fills a frame", relayed).unwrap();
            client.socket.recv(&mut [0; 100]).is_ok()
        })
    };
    let (mut first, first_relayed) = join(&mut outside, "a");
    assert!(reaches(&first, &outside.peer, first_relayed));
    assert_eq!((carried(), held()), (1, 1));
    first.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let gone = first.request(Method::REFRESH, |r| r.attribute(attribute::LIFETIME, &[0; 4]));
    assert_eq!(gone.code(), 0);
    assert!(
        !reaches(&first, &outside.peer, first_relayed),
        "its allocation has ended"
    );
    eventually("it is gone from the table", || held() == 0);
    // A policy that is changed while packets run.
    let (mut second, second_relayed) = join(&mut outside, "b");
    assert!(reaches(&second, &outside.peer, second_relayed));
    relay.set_peer_policy(PeerPolicy::allow_list(vec!["198.51.100.9".parse().unwrap()]));
    eventually("the policy took it back", || held() == 0);
    assert!(!reaches(&second, &outside.peer, second_relayed));
    relay.set_peer_policy(PeerPolicy::allow_list(vec![PEER.to_string().parse().unwrap()]));
    // Draining lets those live on that are there; stopping ends them.
    let peer = outside.peer.local_addr().unwrap();
    assert!(
        (0..1000).any(|_| second.permit(&[peer]) == 0),
        "the policy is back"
    );
    over.open(&mut second, &outside);
    eventually("the kernel knows again", || held() == 1);
    relay.drain();
    assert!(reaches(&second, &outside.peer, second_relayed));
    let before = carried();
    relay.stop();
    assert!(!reaches(&second, &outside.peer, second_relayed));
    assert_eq!(carried(), before);
    assert!(!shows_a_program(), "the program went with the relay");
}
