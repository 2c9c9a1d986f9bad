//! What comes from outside and is not as it should be.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use super::client::Client;
use super::sdp;
use super::world::World;
use crate::{DropReason, Event, JoinError, LeaveReason, Limits, RestartError, Source};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn malformed_offers_are_refused_with_a_reason() {
    let mut world = World::new(1);
    let (client, good) = Client::new(world.now, 1, SocketAddr::from(([10, 0, 0, 1], 5_000)));
    let bad = [
        String::new(),
        "v=0".to_owned(),
        "not sdp at all\r\n".repeat(20),
        good.replace("a=fingerprint:", "a=fingerprinted:"),
        good.replace("a=ice-ufrag:", "a=ice-u:"),
        good.lines().take(12).collect::<Vec<_>>().join("\r\n"),
        good.clone() + &"a=x\r\n".repeat(200_000),
    ];
    for (index, offer) in bad.into_iter().enumerate() {
        let join = world.join_of(&client, offer, 1);
        let refused = world.nodes[0].sfu.handle_join(world.now, join).unwrap_err();
        assert!(
            matches!(refused, JoinError::BadOffer(_)),
            "case {index}: {refused:?}"
        );
    }
    let stats = world.nodes[0].sfu.stats();
    assert_eq!((stats.rooms, stats.participants, stats.panics), (0, 0, 0));
    assert_eq!(stats.joins_refused["bad_offer"], 7);
    let join = world.join_of(&client, good, 1);
    assert!(world.nodes[0].sfu.handle_join(world.now, join).is_ok());
}

/// Found by the fuzzer: codec parameters that fit none on one line and one on another trip an
/// assertion inside str0m. The offer is at fault, and nobody else notices.
#[test]
fn an_offer_that_trips_str0m_is_refused_and_counted() {
    let mut world = World::new(1);
    let (client, good) = Client::new(world.now, 1, SocketAddr::from(([10, 0, 0, 1], 5_000)));
    let found = include_bytes!("../../../../tests/fuzz/seeds/sfu_offer/find_payload_type");
    let join = world.join_of(&client, String::from_utf8_lossy(found).into_owned(), 1);
    let refused = world.nodes[0].sfu.handle_join(world.now, join).unwrap_err();
    assert!(matches!(refused, JoinError::BadOffer(_)), "{refused:?}");
    let stats = world.nodes[0].sfu.stats();
    assert_eq!((stats.rooms, stats.participants, stats.panics), (0, 0, 1));
    let join = world.join_of(&client, good, 1);
    assert!(world.nodes[0].sfu.handle_join(world.now, join).is_ok());
}

/// Found by the fuzzer: a damaged first m-line would be answered without any candidate.
#[test]
fn an_offer_nobody_could_connect_with_is_refused() {
    let mut world = World::new(1);
    let (client, _) = Client::new(world.now, 1, SocketAddr::from(([10, 0, 0, 1], 5_000)));
    let found = include_bytes!("../../../../tests/fuzz/seeds/sfu_offer/find_no_candidates");
    let join = world.join_of(&client, String::from_utf8_lossy(found).into_owned(), 1);
    let refused = world.nodes[0].sfu.handle_join(world.now, join).unwrap_err();
    assert!(matches!(refused, JoinError::BadOffer(_)), "{refused:?}");
    assert_eq!(world.nodes[0].sfu.stats().participants, 0);
}

#[test]
fn chromiums_offer_is_answered_in_full() {
    let mut world = World::new(1);
    let (client, _) = Client::new(world.now, 1, SocketAddr::from(([10, 0, 0, 1], 5_000)));
    let join = world.join_of(&client, sdp::chromium_offer(), 1);
    let joined = world.nodes[0].sfu.handle_join(world.now, join).unwrap();
    let answer = &joined.answer_sdp;
    assert_eq!(answer.lines().filter(|l| l.starts_with("m=")).count(), 16);
    assert!(answer.contains("a=ice-lite") && answer.contains("a=setup:passive"));
    assert!(answer.contains("a=simulcast:recv q;h;f"), "{answer}");
    assert!(answer.contains("a=candidate:") && answer.contains("10.1.0.1"));
    assert!(answer.contains(&joined.etag));
    // The first video codec is what the browser will send: VP8, with its retransmissions.
    let video = answer.lines().find(|l| l.starts_with("m=video")).unwrap();
    assert!(video.starts_with("m=video 9 UDP/TLS/RTP/SAVPF 96 97"), "{video}");
    assert_eq!(
        answer.matches("a=sendonly").count(),
        12,
        "six sound and six picture slots"
    );
    assert_eq!(joined.resource.shard(), 3);
    assert_eq!(joined.resource.to_string().parse(), Ok(joined.resource));
}

#[test]
fn plain_whip_and_whep_offers_are_answered() {
    let mut world = World::new(1);
    for offer in [sdp::whip_offer(), sdp::whep_offer()] {
        let (client, _) = Client::new(world.now, 1, SocketAddr::from(([10, 0, 0, 1], 5_000)));
        let join = world.join_of(&client, offer, 1);
        let joined = world.nodes[0].sfu.handle_join(world.now, join).unwrap();
        assert_eq!(
            joined.answer_sdp.lines().filter(|l| l.starts_with("m=")).count(),
            2
        );
    }
}

#[test]
fn garbage_datagrams_are_counted_and_ignored() {
    let mut world = World::new(1);
    let (a, b) = (world.join(0), world.join(0));
    world.settle();
    let known = world.clients[a].address;
    let unknown = SocketAddr::from(([203, 0, 113, 9], 9));
    let local = world.nodes[0].address;
    let now = world.now;
    let sfu = &mut world.nodes[0].sfu;
    let mut stun = vec![0, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42];
    stun.extend([1; 12]);
    stun.extend([0, 6, 0, 7]);
    stun.extend(b"abcd:ef\0");
    for source in [known, unknown] {
        for bytes in [
            &[][..],
            &[0xff; 60],
            &[0x80; 30],
            &[0x16, 0xfe, 0xfd, 0, 0],
            &stun,
            &stun[..22],
            &[0; 20],
        ] {
            sfu.handle_datagram(now, source, local, bytes);
        }
    }
    let dropped = &sfu.stats().dropped;
    assert!(dropped[&DropReason::UnknownSource] >= 4);
    assert_eq!(dropped[&DropReason::UnknownUfrag], 4);
    assert!(dropped[&DropReason::Unparseable] >= 4);
    world.clients[a].mic = true;
    world.run(SECOND);
    assert!(
        world.clients[b].got(world.clients[b].audio_slot(0)).len() > 40,
        "nothing else changed"
    );
    assert_eq!(world.nodes[0].sfu.stats().participants, 2);
}

#[test]
fn a_forged_check_does_not_take_an_address() {
    let mut world = World::new(1);
    let a = world.join(0);
    world.settle();
    // A real user name with a wrong integrity, from the attacker's address.
    let ufrag = world.nodes[0]
        .sfu
        .connections
        .values()
        .next()
        .unwrap()
        .ufrag
        .clone();
    let mut stun = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    stun.extend([7; 12]);
    let name = format!("{ufrag}:abcdefg");
    stun.extend([0, 6, 0, name.len() as u8]);
    stun.extend(name.as_bytes());
    stun.extend([0, 0x24, 0, 4, 0, 0, 0, 1]);
    stun.extend([0, 8, 0, 20]);
    stun.extend([9; 20]);
    let length = (stun.len() - 20) as u16;
    stun[2..4].copy_from_slice(&length.to_be_bytes());
    let attacker = SocketAddr::from(([203, 0, 113, 9], 9));
    let (now, local) = (world.now, world.nodes[0].address);
    world.nodes[0].sfu.handle_datagram(now, attacker, local, &stun);
    assert_eq!(world.nodes[0].sfu.stats().dropped[&DropReason::BadIntegrity], 1);
    assert!(!world.nodes[0].sfu.by_address.contains_key(&attacker));
    assert!(
        world.nodes[0]
            .sfu
            .by_address
            .contains_key(&world.clients[a].address)
    );
}

#[test]
fn a_panic_ends_its_participant_alone() {
    let mut world = World::new(1);
    let (a, b, c) = (world.join(0), world.join(0), world.join(0));
    world.settle();
    for client in [a, b, c] {
        world.clients[client].mic = true;
    }
    world.run(SECOND);
    let who = world.clients[a].participant;
    let connection = world.nodes[0]
        .sfu
        .connections
        .values_mut()
        .find(|x| x.participant == who)
        .unwrap();
    connection.panic_next = true;
    world.run(SECOND);
    let stats = world.nodes[0].sfu.stats();
    assert_eq!((stats.panics, stats.participants), (1, 2));
    assert_eq!(stats.left[&LeaveReason::Failed], 1);
    let before = world.clients[b].got(world.clients[b].audio_slot(1)).len();
    world.run(SECOND);
    assert!(
        world.clients[b].got(world.clients[b].audio_slot(1)).len() > before + 40,
        "the others go on"
    );
    assert_eq!(
        world.clients[c].said("roster").unwrap()["participants"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn a_new_connection_replaces_the_participants_older_one() {
    let mut world = World::new(1);
    let (a, b) = (world.join(0), world.join(0));
    world.settle();
    let who = world.clients[a].participant;
    let (again, joined) = world.try_join(0, 1, |join| join.participant = who);
    let resource = joined.unwrap().resource;
    assert!(world.run_until(5 * SECOND, |w| w.clients[again].said("welcome").is_some()));
    world.clients[again].mic = true;
    world.run(SECOND);
    assert_eq!(world.clients[a].said("ended").unwrap()["reason"], "replaced");
    assert!(world.clients[b].got(world.clients[b].audio_slot(0)).len() > 40);
    assert_eq!(world.nodes[0].sfu.stats().participants, 2);
    assert_eq!(world.nodes[0].sfu.resource(resource), Some((world.room, who)));
    let replaced = |e: &&Event| {
        matches!(
            e,
            Event::Left {
                reason: LeaveReason::Replaced,
                ..
            }
        )
    };
    assert_eq!(world.nodes[0].events.iter().filter(replaced).count(), 1);
}

#[test]
fn an_older_assignment_is_refused() {
    let mut world = World::new(1);
    world.try_join(0, 5, |_| {}).1.unwrap();
    let (_, refused) = world.try_join(0, 4, |_| {});
    assert_eq!(refused.unwrap_err(), JoinError::StaleEpoch { current: 5 });
    assert_eq!(world.nodes[0].sfu.stats().joins_refused["stale_epoch"], 1);
    world.try_join(0, 6, |_| {}).1.unwrap();
}

#[test]
fn a_full_room_is_refused() {
    let mut world = World::with_limits(
        1,
        &Limits {
            participants_per_room_max: 2,
            ..Limits::default()
        },
    );
    world.join(0);
    world.join(0);
    let (_, refused) = world.try_join(0, 1, |_| {});
    assert_eq!(refused.unwrap_err(), JoinError::RoomFull);
    assert_eq!(world.nodes[0].sfu.stats().joins_refused["room_full"], 1);
}

/// Two may come: one is here, one on the other edge; a third at neither.
#[test]
fn people_on_other_edges_count() {
    let limits = Limits {
        participants_per_room_max: 2,
        ..Limits::default()
    };
    let mut world = World::with_limits(2, &limits);
    let (a, b) = (world.join(0), world.join(1));
    world.link(0, 1);
    world.run(SECOND);
    for node in 0..2 {
        let (_, refused) = world.try_join(node, 1, |_| {});
        assert_eq!(refused.unwrap_err(), JoinError::RoomFull);
        assert_eq!(world.nodes[node].sfu.stats().participants, 1, "nothing changed");
    }
    // Whoever moves to the other edge is no third.
    let mover = world.clients[b].participant;
    world.try_join(0, 1, |join| join.participant = mover).1.unwrap();
    world.run(SECOND);
    let roster = world.clients[a].said("roster").unwrap()["participants"].as_array();
    assert_eq!(roster.unwrap().len(), 2);
}

#[test]
fn what_the_token_does_not_grant_is_not_forwarded() {
    let mut world = World::new(1);
    let b = world.join(0);
    let (a, joined) = world.try_join(0, 1, |join| join.grants.publish = vec![Source::Mic]);
    joined.unwrap();
    let (c, joined) = world.try_join(0, 1, |join| join.grants.subscribe = false);
    joined.unwrap();
    world.settle();
    world.clients[a].mic = true;
    world.clients[a].camera = [true; 3];
    world.run(2 * SECOND);
    let viewer = &world.clients[b];
    assert!(viewer.got(viewer.audio_slot(0)).len() > 80);
    assert!(viewer.got(viewer.video_slot(0)).is_empty());
    assert!(
        world.clients[c].got.is_empty(),
        "who may not receive gets nothing"
    );
    assert!(world.nodes[0].sfu.stats().dropped[&DropReason::NotGranted] > 30);
}

#[test]
fn the_silent_are_removed_and_the_never_connected_too() {
    let mut world = World::new(1);
    let (a, b) = (world.join(0), world.join(0));
    world.settle();
    world.loss_up = 1.0;
    world.run(11 * SECOND);
    assert_eq!(world.nodes[0].sfu.stats().left[&LeaveReason::Silent], 2);
    assert!(
        world.nodes[0]
            .events
            .contains(&Event::RoomClosed { room: world.room })
    );
    let _ = (a, b);
    world.join(0);
    world.run(31 * SECOND);
    assert_eq!(world.nodes[0].sfu.stats().left[&LeaveReason::NeverConnected], 1);
    assert_eq!(world.nodes[0].sfu.stats().rooms, 0);
}

#[test]
fn bad_control_messages_are_answered_with_an_error() {
    let mut world = World::new(1);
    let a = world.join(0);
    world.settle();
    world.clients[a].say(&json!({"type": "source", "source": "kitchen", "active": true}));
    world.clients[a].say(&json!("nonsense"));
    world.clients[a].say(&json!({"type": "of_the_future", "x": 1}));
    world.clients[a].say(&json!({"type": "ping", "t": 42}));
    world.run(SECOND / 5);
    assert_eq!(world.clients[a].said("error").unwrap()["code"], "invalid_request");
    assert_eq!(world.clients[a].said("pong").unwrap()["t"], 42);
    assert_eq!(world.nodes[0].sfu.stats().dropped[&DropReason::BadControl], 2);
    for _ in 0..100 {
        world.clients[a].say(&json!({"type": "ping", "t": 1}));
    }
    world.run(SECOND / 5);
    assert!(world.nodes[0].sfu.stats().dropped[&DropReason::ControlRate] > 20);
    world.run(3 * SECOND);
    world.clients[a].say(&json!({"type": "leave"}));
    world.run(SECOND);
    assert_eq!(world.nodes[0].sfu.stats().left[&LeaveReason::Left], 1);
}

#[test]
fn ice_restarts_on_a_new_network() {
    let mut world = World::new(1);
    let (a, b) = (world.join(0), world.join(0));
    world.settle();
    let who = world.clients[a].participant;
    let resource = world.nodes[0]
        .sfu
        .connections
        .values()
        .find(|c| c.participant == who)
        .unwrap()
        .resource;
    let now = world.now;
    let bad = world.nodes[0]
        .sfu
        .handle_ice_restart(now, resource, "a=ice-ufrag:x\r\n");
    assert!(matches!(bad, Err(RestartError::BadFragment(_))));
    // The browser changes its address and credentials; everything else stays.
    let fresh = SocketAddr::from(([10, 9, 9, 9], 5_001));
    world.restart_ice(a, 0, resource, fresh);
    world.clients[a].mic = true;
    let before = world.clients[b].got(world.clients[b].audio_slot(0)).len();
    world.run(3 * SECOND);
    assert!(world.clients[b].got(world.clients[b].audio_slot(0)).len() > before + 80);
    assert!(world.nodes[0].sfu.by_address.contains_key(&fresh));
    assert!(world.nodes[0].sfu.sessions().any(|s| s.remote == Some(fresh)));
}

#[test]
fn migrate_and_end_are_told() {
    let mut world = World::new(1);
    let a = world.join(0);
    world.settle();
    let (now, room) = (world.now, world.room);
    world.nodes[0].sfu.handle_migrate(now, None, "drain");
    world.run(SECOND / 10);
    assert_eq!(world.clients[a].said("migrate").unwrap()["reason"], "drain");
    let now = world.now;
    assert!(world.nodes[0].sfu.handle_room_end(now, room, LeaveReason::Ended));
    world.run(SECOND / 5);
    assert_eq!(world.clients[a].said("ended").unwrap()["reason"], "ended");
    assert_eq!(world.nodes[0].sfu.stats().rooms, 0);
    assert!(world.nodes[0].sfu.by_address.is_empty() && world.nodes[0].sfu.by_ufrag.is_empty());
}
