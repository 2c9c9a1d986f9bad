//! Clients that come from elsewhere, and so to other workers, while the kernel relays for them.

use std::net::SocketAddr;
use std::time::Duration;

use medmesh_turn::codec::{Builder, Method, attribute};
use prometheus::Registry;

use super::cable::{Fast, Outside, Over, allowed, carried, inside, receive, relay_of, without_id};
use crate::support::{PATIENCE, WireClient, eventually, udp};

/// The kernel gives clients to workers by a hash of their addresses; with so many moves among so many
/// workers all to one worker is less likely than one in ten million.
const WORKERS: usize = 4;
const MOVES: usize = 12;
/// Long enough for anything to arrive that is going to.
const QUIET: Duration = Duration::from_millis(100);
const DATA: &[u8] = b"as much as fills a frame";

#[test]
fn a_channel_goes_with_its_client() {
    if inside("moves::a_channel_goes_with_its_client") && allowed() {
        moves(Over::Channel);
    }
}

#[test]
fn indications_go_with_their_client() {
    if inside("moves::indications_go_with_their_client") && allowed() {
        moves(Over::Indications);
    }
}

/// A relayed conversation, both ways, of which the kernel carries the last packets.
fn talks(over: Over, client: &WireClient, outside: &Outside, relayed: SocketAddr, registry: &Registry) {
    let peer = outside.peer.local_addr().unwrap();
    let before = [carried(registry, "to_peer"), carried(registry, "to_client")];
    let mut rounds = 0;
    // The first of each direction goes the long way.
    while [carried(registry, "to_peer"), carried(registry, "to_client")]
        .iter()
        .zip(before)
        .any(|(now, before)| *now < before + 2)
    {
        rounds += 1;
        assert!(rounds < 1000, "{over:?}: the kernel does not relay for it");
        over.send(client, peer, DATA);
        assert_eq!(receive(&outside.peer), DATA);
        outside.peer.send_to(DATA, relayed).unwrap();
        client.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = [0; 200];
        let length = client.socket.recv(&mut buffer).expect("it is relayed");
        assert_eq!(without_id(&buffer[..length]), over.data(peer, DATA));
    }
}

/// What comes from there goes nowhere.
fn is_nobody(over: Over, client: &WireClient, outside: &Outside) {
    over.send(client, outside.peer.local_addr().unwrap(), DATA);
    outside.peer.set_read_timeout(Some(QUIET)).unwrap();
    assert!(outside.peer.recv(&mut [0; 200]).is_err());
    outside.peer.set_read_timeout(Some(PATIENCE)).unwrap();
}

fn moves(over: Over) {
    let registry = Registry::new();
    let relay = relay_of(WORKERS, 3478, Fast::Native, &registry);
    let server = relay.listeners()[0];
    let mut outside = Outside::new(MOVES + 2, true);
    let mut client = outside.stranger(server, "a");
    let mobile = |r: Builder| udp(r).attribute(attribute::MOBILITY_TICKET, &[]);
    let reply = client.request(Method::ALLOCATE, mobile);
    let relayed = reply.relayed();
    let mut ticket = reply.get(attribute::MOBILITY_TICKET).unwrap().to_vec();
    over.open(&mut client, &outside);
    talks(over, &client, &outside, relayed, &registry);
    for _ in 0..MOVES {
        let mut next = outside.stranger(server, "");
        next.username.clone_from(&client.username);
        next.password.clone_from(&client.password);
        // From another port without a word: nobody that is known, to no worker and not to the kernel.
        is_nobody(over, &next, &outside);
        let reply = next.request(Method::REFRESH, |r| {
            r.attribute(attribute::MOBILITY_TICKET, &ticket)
        });
        assert_eq!(reply.code(), 0);
        ticket = reply.get(attribute::MOBILITY_TICKET).unwrap().to_vec();
        talks(over, &next, &outside, relayed, &registry);
        is_nobody(over, &client, &outside);
        client.socket.set_read_timeout(Some(QUIET)).unwrap();
        assert!(
            client.socket.recv(&mut [0; 200]).is_err(),
            "nothing goes where it was"
        );
        assert_eq!(over.held(&registry), 1, "whichever worker has it");
        client = next;
    }
    // Who cannot move makes another allocation from where it is, beside the one that is left to expire.
    let mut other = outside.stranger(server, "b");
    let other_relayed = other.allocate().relayed();
    over.open(&mut other, &outside);
    talks(over, &other, &outside, other_relayed, &registry);
    talks(over, &client, &outside, relayed, &registry);
    assert_eq!(over.held(&registry), 2);
    let over_now = client.request(Method::REFRESH, |r| r.attribute(attribute::LIFETIME, &[0; 4]));
    assert_eq!(over_now.code(), 0);
    eventually("one of two is left", || over.held(&registry) == 1);
    is_nobody(over, &client, &outside);
    talks(over, &other, &outside, other_relayed, &registry);
    relay.stop();
}
