//! Two and three edges, and what goes between them.

use std::time::Duration;

use serde_json::json;

use super::forwarding::assert_continuous;
use super::world::World;
use crate::{DropReason, LeaveReason, Limits, MeshMessage, Route, flow_shard};

const SECOND: Duration = Duration::from_secs(1);

/// Two linked edges with one person each, who publish everything.
fn two_edges() -> (World, usize, usize) {
    let mut world = World::new(2);
    let (a, b) = (world.join(0), world.join(1));
    assert_eq!(world.nodes[0].wanted, vec![world.nodes[1].edge]);
    world.link(0, 1);
    world.settle();
    for c in [a, b] {
        world.clients[c].mic = true;
        world.clients[c].camera = [true; 3];
    }
    (world, a, b)
}

fn told(world: &World, node: usize, which: impl Fn(&MeshMessage) -> bool) -> usize {
    world.nodes[node].told.iter().filter(|m| which(m)).count()
}

#[test]
fn people_on_two_edges_see_and_hear_each_other() {
    let (mut world, a, b) = two_edges();
    world.run(4 * SECOND);
    for (me, other) in [(a, b), (b, a)] {
        let client = &world.clients[me];
        let tag = world.clients[other].tag;
        let video = client.got(client.video_slot(0));
        assert!(
            video.len() > 90 && video.iter().all(|p| p.sender() == tag),
            "{}",
            video.len()
        );
        assert_continuous(video);
        assert!(client.got(client.audio_slot(0)).len() > 150);
        assert_eq!(
            client.said("roster").unwrap()["participants"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
    }
    for node in 0..2 {
        let stats = world.nodes[node].sfu.stats();
        assert!(
            stats.flows_in <= 3,
            "sound, and a picture layer that may be changing: {}",
            stats.flows_in
        );
        assert!(stats.mesh_datagrams_in > 200 && stats.mesh_datagrams_out > 200);
        assert_eq!(stats.dropped.get(&DropReason::MeshUnrecovered), None);
    }
}

#[test]
fn a_layer_crosses_a_link_once_however_many_watch() {
    let (mut world, a, b) = two_edges();
    world.clients[b].camera = [false; 3];
    world.clients[b].mic = false;
    for _ in 0..3 {
        world.join(1);
    }
    world.settle();
    world.run(4 * SECOND);
    assert_eq!(
        world.nodes[1].sfu.stats().flows_in,
        2,
        "one sound, one picture for four viewers"
    );
    for viewer in &world.clients[1..] {
        assert!(
            viewer
                .got(viewer.video_slot(0))
                .iter()
                .any(|p| p.sender() == world.clients[a].tag)
        );
    }
    let asked: u32 = world.clients[a].keyframe_requests.iter().sum();
    assert!(asked <= 8, "requests are coalesced at the origin: {asked}");
}

#[test]
fn nothing_is_pulled_that_nobody_watches() {
    let (mut world, a, b) = two_edges();
    world.run(2 * SECOND);
    world.clients[b].say(&json!({"type": "wish", "video": []}));
    world.clients[a].say(&json!({"type": "source", "source": "mic", "active": false}));
    world.run(SECOND);
    assert_eq!(world.nodes[1].sfu.stats().flows_in, 0);
    let before = world.nodes[1].sfu.stats().mesh_datagrams_in;
    world.run(SECOND);
    assert_eq!(world.nodes[1].sfu.stats().mesh_datagrams_in, before);
    assert!(told(&world, 1, |m| matches!(m, MeshMessage::Unsubscribe { .. })) >= 2);
}

#[test]
fn losses_between_edges_come_again_from_the_origins_cache() {
    let (mut world, _, b) = two_edges();
    world.run(3 * SECOND);
    world.loss_mesh = 0.05;
    world.run(5 * SECOND);
    world.loss_mesh = 0.0;
    world.run(SECOND);
    let stats = world.nodes[1].sfu.stats();
    assert!(
        stats.mesh_nacks_out > 20 && stats.mesh_recovered > 20,
        "{stats:?}"
    );
    let client = &world.clients[b];
    let mut sequences: Vec<u64> = client
        .got(client.video_slot(0))
        .iter()
        .map(|p| p.sequence)
        .collect();
    sequences.sort_unstable();
    sequences.dedup();
    let span = sequences.last().unwrap() - sequences[0] + 1;
    let missing = span - sequences.len() as u64;
    assert!(
        missing * 200 < span,
        "at most one in 200 missing: {missing} of {span}"
    );
    assert!(world.nodes[0].sfu.stats().mesh_resent >= stats.mesh_recovered);
}

#[test]
fn packets_too_big_for_the_path_go_in_pieces() {
    let mut world = World::new(2);
    world.datagram_max = 700;
    let (a, b) = (world.join(0), world.join(1));
    world.link(0, 1);
    world.settle();
    world.clients[a].screen = true;
    world.run(3 * SECOND);
    let client = &world.clients[b];
    let video = client.got(client.video_slot(0));
    assert!(video.len() > 100 && video.iter().all(|p| p.payload.len() == 1_100));
    assert_continuous(video);
    assert!(world.nodes[0].sfu.stats().mesh_fragmented > 100);
}

#[test]
fn a_third_edge_joins_under_a_newer_assignment() {
    let (mut world, a, b) = {
        let mut world = World::new(3);
        let (a, b) = (world.join(0), world.join(1));
        world.link(0, 1);
        world.link(0, 2);
        world.link(1, 2);
        world.settle();
        (world, a, b)
    };
    world.clients[a].camera = [true; 3];
    world.run(SECOND);
    let (c, joined) = world.try_join(2, 2, |_| {});
    joined.unwrap();
    world.settle();
    world.clients[c].camera = [true; 3];
    world.run(3 * SECOND);
    let viewer = &world.clients[c];
    assert!(
        viewer
            .got(viewer.video_slot(0))
            .iter()
            .any(|p| p.sender() == world.clients[a].tag)
    );
    for other in [a, b] {
        let roster = world.clients[other].said("roster").unwrap()["participants"]
            .as_array()
            .unwrap()
            .len();
        assert_eq!(roster, 3);
    }
    // Who knows of assignment 2 refuses tokens of assignment 1.
    let (_, refused) = world.try_join(0, 1, |_| {});
    assert_eq!(refused.unwrap_err(), crate::JoinError::StaleEpoch { current: 2 });
}

#[test]
fn a_lost_link_takes_its_people_and_brings_them_back() {
    let (mut world, a, b) = two_edges();
    world.run(2 * SECOND);
    let (edge_a, edge_b) = (world.nodes[0].edge, world.nodes[1].edge);
    let now = world.now;
    world.links.clear();
    world.nodes[0].sfu.handle_mesh_down(now, edge_b);
    world.nodes[1].sfu.handle_mesh_down(now, edge_a);
    world.run(SECOND / 2);
    let people = |w: &World, c: usize| {
        w.clients[c].said("roster").unwrap()["participants"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!((people(&world, a), people(&world, b)), (1, 1));
    let before = world.clients[a].got(world.clients[a].video_slot(0)).len();
    world.link(0, 1);
    world.run(2 * SECOND);
    assert_eq!((people(&world, a), people(&world, b)), (2, 2));
    let client = &world.clients[a];
    assert!(client.got(client.video_slot(0)).len() > before + 30);
    assert_continuous(client.got(client.video_slot(0)));
}

#[test]
fn the_last_to_leave_lets_the_link_go() {
    let (mut world, a, _) = two_edges();
    world.run(SECOND);
    let (room, who, now) = (world.room, world.clients[a].participant, world.now);
    assert!(world.nodes[0].sfu.handle_leave(now, room, who, LeaveReason::Left));
    world.run(SECOND);
    assert!(
        world.nodes[0].wanted.is_empty(),
        "the link is not wanted any more"
    );
    assert_eq!(
        world.nodes[0].sfu.stats().flows_in + world.nodes[0].sfu.stats().flows_out,
        0
    );
    assert_eq!(world.nodes[1].sfu.stats().flows_in, 0);
    assert_eq!(
        world.clients[1].said("roster").unwrap()["participants"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn the_speaker_is_known_on_every_edge() {
    let (mut world, a, b) = two_edges();
    world.clients[a].level = -30;
    world.clients[b].level = -110;
    world.run(3 * SECOND);
    for client in [a, b] {
        assert_eq!(
            world.clients[client].said("speaker").unwrap()["participant"],
            json!(world.clients[a].participant)
        );
    }
}

#[test]
fn flows_carry_their_shard_and_messages_their_route() {
    let (mut world, _, _) = two_edges();
    world.run(SECOND);
    let mut subscribes = 0;
    for message in &world.nodes[1].told {
        match message {
            MeshMessage::Subscribe { flow, room, .. } => {
                subscribes += 1;
                assert_eq!(flow_shard(*flow), 4);
                assert_eq!(message.route(), Route::Room(*room));
            }
            MeshMessage::Nack { flow, .. } | MeshMessage::KeyframeRequest { flow } => {
                assert_eq!(message.route(), Route::Subscribed(*flow));
            }
            _ => {}
        }
    }
    assert!(subscribes >= 2);
    assert_eq!(
        MeshMessage::FlowGone {
            flow: 0x0400_0001,
            reason: String::new()
        }
        .route(),
        Route::Shard(4)
    );
}

#[test]
fn a_peers_nonsense_is_counted_and_changes_nothing() {
    let (mut world, _, _) = two_edges();
    world.run(SECOND);
    let (now, peer) = (world.now, world.nodes[1].edge);
    let stranger = medmesh_base::EdgeId::generate();
    let sfu = &mut world.nodes[0].sfu;
    let before = sfu.stats().clone();
    sfu.handle_mesh_datagram(now, peer, 0x0300_ffff, &[0; 40]);
    sfu.handle_mesh_datagram(now, peer, 0x0300_0001, &[7; 3]);
    sfu.handle_mesh_datagram(now, stranger, 0x0300_0001, &[0; 40]);
    sfu.handle_mesh_message(
        now,
        peer,
        MeshMessage::Nack {
            flow: 9,
            sequences: vec![1; 100_000],
        },
    );
    sfu.handle_mesh_message(now, peer, MeshMessage::KeyframeRequest { flow: 9 });
    let unknown = medmesh_base::RoomId::generate();
    sfu.handle_mesh_message(
        now,
        peer,
        MeshMessage::RoomState {
            room: unknown,
            epoch: 9,
            participants: vec![],
            reply_wanted: true,
        },
    );
    let dropped = |reason| {
        sfu.stats().dropped.get(&reason).copied().unwrap_or(0)
            - before.dropped.get(&reason).copied().unwrap_or(0)
    };
    assert_eq!(dropped(DropReason::MeshUnknownFlow), 4);
    assert_eq!(dropped(DropReason::MeshMalformed), 1);
    assert_eq!(dropped(DropReason::MeshUnknownRoom), 1);
    assert_eq!(sfu.stats().rooms, 1);
}

#[test]
fn the_cache_is_bounded() {
    let limits = Limits {
        mesh_cache_packets: 16,
        ..Limits::default()
    };
    let mut world = World::with_limits(2, &limits);
    let a = world.join(0);
    world.join(1);
    world.link(0, 1);
    world.settle();
    world.clients[a].camera = [true; 3];
    world.run(2 * SECOND);
    let (now, peer) = (world.now, world.nodes[1].edge);
    let flow = world.nodes[1]
        .told
        .iter()
        .find_map(|m| match m {
            MeshMessage::Subscribe { flow, .. } => Some(*flow),
            _ => None,
        })
        .unwrap();
    let sequences = (0..2_000).collect();
    world.nodes[0]
        .sfu
        .handle_mesh_message(now, peer, MeshMessage::Nack { flow, sequences });
    let stats = world.nodes[0].sfu.stats();
    assert!(stats.mesh_resent <= 16);
    assert!(stats.mesh_nacks_in <= 256);
}

#[test]
fn who_comes_last_finds_who_was_there_first_although_the_token_does_not_say() {
    let mut world = World::new(2);
    world.join(1);
    world.link(0, 1);
    world.settle();
    // Quiet: nothing changes at the first edge that it would say again.
    world.run(2 * SECOND);
    let own = world.nodes[0].edge;
    let (_, joined) = world.try_join(0, 1, |join| join.mesh.retain(|edge| edge.id == own));
    joined.unwrap();
    world.run(2 * SECOND);
    for client in &world.clients {
        let roster = &client.said("roster").unwrap()["participants"];
        assert_eq!(roster.as_array().unwrap().len(), 2);
    }
}

/// Somebody here and somebody at the other edge begin to watch within `apart`; how long
/// the second of them waits for the first picture.
fn second_viewer_waits(apart: Duration) -> Duration {
    let mut world = World::new(2);
    let (a, near, far) = (world.join(0), world.join(0), world.join(1));
    world.link(0, 1);
    world.settle();
    for viewer in [near, far] {
        world.clients[viewer].say(&json!({"type": "wish", "video": []}));
    }
    world.clients[a].camera = [true, false, false];
    world.run(2 * SECOND);
    let participant = world.clients[a].participant;
    let wish =
        json!({"type": "wish", "video": [{"participant": participant, "source": "camera", "height": 180}]});
    world.clients[near].say(&wish);
    world.run(apart);
    world.clients[far].say(&wish);
    let asked_at = world.now;
    let sees = |w: &World| !w.clients[far].got(w.clients[far].video_slot(0)).is_empty();
    assert!(world.run_until(5 * SECOND, sees));
    world.now - asked_at
}

#[test]
fn a_viewer_who_comes_right_after_a_keyframe_waits_out_the_encoders_interval_and_no_longer() {
    // There and back over two accesses and a link, and a frame.
    let way = Duration::from_millis(8 + 20 + 8 + 34 + 8 + 20 + 8);
    assert!(second_viewer_waits(SECOND) <= way, "the encoder is free");
    for apart in [60, 120, 200, 280].map(Duration::from_millis) {
        let interval = Limits::default().keyframe_interval;
        let waited = second_viewer_waits(apart);
        assert!(
            waited <= interval - apart + way,
            "{waited:?} for one who came {apart:?} later"
        );
    }
}
