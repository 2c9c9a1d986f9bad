//! What the kernel sends is what the sockets send.

use super::cable::{
    Fast, Frame, Outside, Over, allowed, carried, inside, number_of, receive, relay, without_id,
};
use crate::support::eventually;

fn run(test: &str, mode: Fast, over: Over) {
    if inside(&format!("compare::{test}")) && allowed() {
        compare(mode, over);
    }
}

#[test]
fn the_kernel_sends_what_the_sockets_send() {
    run(
        "the_kernel_sends_what_the_sockets_send",
        Fast::Native,
        Over::Channel,
    );
}

#[test]
fn after_the_driver_it_sends_the_same() {
    run("after_the_driver_it_sends_the_same", Fast::Generic, Over::Channel);
}

#[test]
fn where_it_does_not_the_sockets_send_the_same() {
    run(
        "where_it_does_not_the_sockets_send_the_same",
        Fast::Refused,
        Over::Channel,
    );
}

#[test]
fn indications_are_the_same_as_well() {
    run(
        "indications_are_the_same_as_well",
        Fast::Native,
        Over::Indications,
    );
}

#[test]
fn indications_are_the_same_after_the_driver() {
    run(
        "indications_are_the_same_after_the_driver",
        Fast::Generic,
        Over::Indications,
    );
}

#[test]
fn indications_are_the_sockets_where_it_does_not() {
    run(
        "indications_are_the_sockets_where_it_does_not",
        Fast::Refused,
        Over::Indications,
    );
}

/// Lengths of data: the last but three are one that just fits the cable with what goes around it and one that does not.
fn lengths(over: Over) -> [usize; 13] {
    let most = most(over);
    [4, 5, 20, 171, 172, 1199, 1200, 1400, most, most + 1, 0, 1, 3]
}

fn most(over: Over) -> usize {
    match over {
        Over::Channel => 1468,
        Over::Indications => 1436,
    }
}

fn compare(mode: Fast, over: Over) {
    let taken = (mode == Fast::Refused).then(|| medmesh_turn::pass_everything("turn0").unwrap());
    let registries = [prometheus::Registry::new(), prometheus::Registry::new()];
    let fast = relay(3478, mode, &registries[0]);
    let plain = relay(3479, Fast::No, &registries[1]);
    let mut outside = Outside::new(2, mode == Fast::Native);
    let data = |length: usize| (0..length).map(|n| (n * 5 + length) as u8).collect::<Vec<u8>>();
    let lengths = lengths(over);
    let mut heard = Vec::new();
    let mut ends = Vec::new();
    for relay in [&fast, &plain] {
        let server = relay.listeners()[0];
        let mut client = outside.stranger(server, "a");
        let relayed = client.allocate().relayed();
        over.open(&mut client, &outside);
        let peer = outside.peer.local_addr().unwrap();
        outside.heard();
        for length in lengths.into_iter().chain(lengths) {
            let data = data(length);
            over.send(&client, peer, &data);
            assert_eq!(receive(&outside.peer), data, "{length} up");
            outside.peer.send_to(&data, relayed).unwrap();
            let mut buffer = [0; 2048];
            let got = client.socket.recv(&mut buffer).expect("it is relayed");
            assert_eq!(
                without_id(&buffer[..got]),
                over.data(peer, &data),
                "{length} down"
            );
        }
        heard.push(outside.heard());
        ends.push((server, relayed, client.socket.local_addr().unwrap()));
    }
    // One client, one server and one relayed address take the place of the other's.
    let (theirs, ours) = (ends[1], ends[0]);
    let renamed = heard[1].iter().cloned().map(|mut frame| {
        for address in [&mut frame.from, &mut frame.to] {
            for (their, our) in [(theirs.0, ours.0), (theirs.1, ours.1), (theirs.2, ours.2)] {
                if *address == their {
                    *address = our;
                    break;
                }
            }
        }
        frame
    });
    let renamed: Vec<Frame> = renamed.collect();
    assert_eq!(heard[0], renamed);
    assert!(heard[0].iter().all(|frame| frame.sound));
    // What is one byte too long is two fragments one way.
    assert_eq!(heard[0].len(), 4 * lengths.len() - 2);
    // All that fill an Ethernet frame and are not fragmented on one of their two ways; now and then one goes the
    // long way.
    let up = 18..=most(over);
    let down = match over {
        Over::Channel => up.clone(),
        // With what goes around them the shortest fill a frame; shorter ones the program does not look at.
        Over::Indications => 4..=most(over),
    };
    let of = |range: &std::ops::RangeInclusive<usize>| {
        2 * lengths.iter().filter(|length| range.contains(*length)).count() as u64
    };
    let by_kernel = |direction: &str| carried(&registries[0], direction);
    // One more has opened the way for indications.
    let first = u64::from(over == Over::Indications);
    let all = 2 * lengths.len() as u64;
    // A worker counts what it has sent, which whoever got it may know first.
    eventually("the last packets are counted", || {
        let (stats, others) = (fast.stats(), plain.stats());
        stats == others && stats.packets_to_clients == all
    });
    let held = over.held(&registries[0]);
    if taken.is_some() {
        assert_eq!((by_kernel("to_peer"), by_kernel("to_client"), held), (0, 0, 0));
        assert_eq!(
            (fast.stats(), fast.stats().packets_to_peers),
            (plain.stats(), all + first)
        );
        return;
    }
    for (direction, range) in [("to_peer", &up), ("to_client", &down)] {
        let (packets, most) = (by_kernel(direction), of(range));
        assert!((most - 3..=most).contains(&packets), "{direction}: {packets}");
    }
    let (stats, others) = (fast.stats(), plain.stats());
    assert_eq!(stats.packets_to_peers, all + first);
    assert_eq!(stats, others, "whoever relays, it is counted once");
    let shown = |direction: &str| {
        let line = format!("medmesh_turn_packets_total{{direction=\"{direction}\"}} ");
        number_of(&registries[0], &line)
    };
    assert_eq!((shown("to_peer"), shown("to_client")), (all + first, all));
    assert_eq!(held, 1);
    fast.stop();
    plain.stop();
}
