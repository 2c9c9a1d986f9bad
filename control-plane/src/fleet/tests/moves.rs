//! People who move by themselves, and what is learned from where they are.

use std::time::Duration;

use medmesh_base::ClientPrefix;
use medmesh_wire::fleet::edge_command::Command as Down;

use super::node::{Attached, Control, Edge, eventually, soon};
use super::service::{home, wish};
use super::*;
use crate::fleet::transition::GRACE_MS;
use crate::media::Placer as _;

/// A report in which person 1 has been in room 1 for this long.
fn with_person(edge: &Edge, connected_ms: u32) -> wire::EdgeReport {
    let mut report = edge.report();
    report.rooms = vec![wire::RoomPresence {
        room_id: room(1).to_vec(),
        epoch: 1,
        participant_ids: vec![person(1).to_vec()],
        connected_ms: vec![connected_ms],
    }];
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_left_behind_is_let_go_of_and_the_ledger_follows_them() {
    let control = Control::start().await;
    let fleet = &control.fleet;
    let [fra, nyc] = [
        control.enrol("fra-1", "eu").await,
        control.enrol("nyc-1", "us").await,
    ];
    let (mut fra_side, mut nyc_side) = (fra.attach().await.unwrap(), nyc.attach().await.unwrap());
    fra_side.up.send(fra.report()).await.unwrap();
    nyc_side.up.send(nyc.report()).await.unwrap();
    eventually(async || (fleet.candidates(&[]).await.ok()?.len() == 2).then_some(())).await;
    let placed = fleet.place(&wish(1, 1, &[(&fra, 10), (&nyc, 90)])).await.unwrap();
    assert_eq!(home(&placed), fra.id);

    // The leader has led for a while; then both edges say that they have the person.
    fra_side.up.send(with_person(&fra, 60_000)).await.unwrap();
    eventually(async || (fleet.sessions(1).participants_connected == 1).then_some(())).await;
    control.clock.advance(GRACE_MS);
    nyc_side.up.send(with_person(&nyc, 9_000)).await.unwrap();
    fra_side.up.send(with_person(&fra, 60_000)).await.unwrap();
    let evicted = soon(async {
        loop {
            if let Some(Down::Evict(evict)) = fra_side.next().await {
                return evict;
            }
        }
    })
    .await;
    assert_eq!(evicted.participant_id, person(1).to_vec());
    assert_eq!((evicted.reason.as_str(), evicted.connected_ms), ("moved", 60_000));

    fra_side.up.send(fra.report()).await.unwrap();
    eventually(async || {
        let state = fleet.state();
        (state.rooms[&room(1)].placements[&person(1)].edge == nyc.id).then_some(())
    })
    .await;
    let again = fleet.place(&wish(1, 1, &[(&fra, 10), (&nyc, 90)])).await.unwrap();
    assert_eq!(home(&again), nyc.id, "who settled elsewhere is not sent back");

    // A room that has ended while the edge was out of reach ends when it is heard of again.
    fleet.room_close(room(1)).await.unwrap();
    let closes = async |side: &mut Attached| {
        soon(async {
            loop {
                if let Some(Down::CloseRoom(close)) = side.next().await {
                    return close.room_id;
                }
            }
        })
        .await
    };
    assert_eq!(closes(&mut nyc_side).await, room(1).to_vec());
    nyc_side.up.send(with_person(&nyc, 20_000)).await.unwrap();
    assert_eq!(
        closes(&mut nyc_side).await,
        room(1).to_vec(),
        "said again to whom did not listen"
    );
    for edge in [fra, nyc] {
        edge.stop().await;
    }
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_whose_people_are_near_an_edge_is_sent_there_without_probes() {
    let control = Control::start().await;
    let fleet = &control.fleet;
    let [fra, nyc] = [
        control.enrol("fra-1", "eu").await,
        control.enrol("nyc-1", "us").await,
    ];
    let way = |prefix: &[u8], rtt_us| wire::PrefixRtt {
        prefix: prefix.to_vec(),
        rtt_us,
        samples: 3,
    };
    let (fra_side, nyc_side) = (fra.attach().await.unwrap(), nyc.attach().await.unwrap());
    let mut report = fra.report();
    report.prefix_rtts = vec![way(&[192, 0, 2], 12_000), way(&[198, 51, 100], 95_000)];
    fra_side.up.send(report).await.unwrap();
    let mut report = nyc.report();
    report.prefix_rtts = vec![way(&[192, 0, 2], 95_000), way(&[198, 51, 100], 12_000)];
    nyc_side.up.send(report).await.unwrap();
    eventually(async || (fleet.candidates(&[]).await.ok()?.len() == 2).then_some(())).await;
    for (who, address, expected) in [(1, "192.0.2.40", fra.id), (2, "198.51.100.7", nyc.id)] {
        let mut unmeasured = wish(who, who, &[]);
        unmeasured.network = Some(ClientPrefix::of(address.parse().unwrap()));
        assert_eq!(
            home(&fleet.place(&unmeasured).await.unwrap()),
            expected,
            "{address}"
        );
    }
    // What the client measured itself counts more.
    let mut measured = wish(3, 3, &[(&fra, 10), (&nyc, 90)]);
    measured.network = Some(ClientPrefix::of("198.51.100.7".parse().unwrap()));
    assert_eq!(home(&fleet.place(&measured).await.unwrap()), fra.id);

    let mut malformed = fra.report();
    malformed.prefix_rtts = vec![way(&[192, 0, 2, 1], 1)];
    fra_side.up.send(malformed).await.unwrap();
    let mut fra_side = fra_side;
    tokio::time::timeout(Duration::from_secs(20), async {
        while fra_side.next().await.is_some() {}
    })
    .await
    .expect("a whole address is no prefix: the stream ends");
    for edge in [fra, nyc] {
        edge.stop().await;
    }
    control.stop().await;
}
