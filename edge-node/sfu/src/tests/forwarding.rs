//! One shard: who gets what of whom.

use std::time::Duration;

use serde_json::json;

use super::client::Got;
use super::world::World;
use crate::Event;

const SECOND: Duration = Duration::from_secs(1);

/// One continuous stream: no gap, time moving on, pictures counted one by one.
pub(super) fn assert_continuous(got: &[Got]) {
    for pair in got.windows(2) {
        assert_eq!(
            pair[1].sequence,
            pair[0].sequence + 1,
            "sequence numbers have no gap"
        );
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp).cast_signed();
        if pair[0].marker {
            assert!((1..90_000).contains(&step), "timestamps move on: {step}");
            assert_eq!(
                pair[1].picture_id(),
                (pair[0].picture_id() + 1) & 0x7fff,
                "pictures follow"
            );
        } else if pair[1].layer() == pair[0].layer() {
            assert_eq!(step, 0, "one picture, one timestamp");
        } else {
            // A keyframe of another layer may cut a picture short.
            assert!((1..90_000).contains(&step), "timestamps move on: {step}");
        }
    }
}

#[test]
fn two_people_see_and_hear_each_other() {
    let mut world = World::new(1);
    let (a, b) = (world.join(0), world.join(0));
    world.settle();
    for c in [a, b] {
        world.clients[c].mic = true;
        world.clients[c].camera = [true; 3];
    }
    world.run(3 * SECOND);
    for (me, other) in [(a, b), (b, a)] {
        let client = &world.clients[me];
        let tag = world.clients[other].tag;
        let audio = client.got(client.audio_slot(0));
        assert!(audio.len() > 140, "50 packets a second: {}", audio.len());
        assert!(audio.iter().all(|p| p.sender() == tag && p.level == Some(-127)));
        let video = client.got(client.video_slot(0));
        assert!(video.len() > 80, "at least 30 packets a second: {}", video.len());
        assert!(video.iter().all(|p| p.sender() == tag));
        assert_continuous(video);
        assert_eq!(client.got.len(), 2, "nothing of oneself, nothing on other slots");
        assert_eq!(
            client.said("slots").unwrap()["video"][0]["participant"],
            world.clients[other].participant.to_string()
        );
    }
    assert_eq!(world.nodes[0].sfu.stats().panics, 0);
    assert_eq!(
        world.nodes[0]
            .events
            .iter()
            .filter(|e| matches!(e, Event::Connected { .. }))
            .count(),
        2
    );
}

#[test]
fn a_third_joins_without_renegotiation() {
    let mut world = World::new(1);
    let (a, b) = (world.join(0), world.join(0));
    world.settle();
    for c in [a, b] {
        world.clients[c].mic = true;
        world.clients[c].camera = [true; 3];
    }
    world.run(2 * SECOND);
    let c = world.join(0);
    world.settle();
    world.clients[c].mic = true;
    world.clients[c].camera = [true; 3];
    world.run(2 * SECOND);
    // Joining takes one answer; nothing else was negotiated, and old slots stayed.
    for me in [a, b] {
        let client = &world.clients[me];
        let tag = world.clients[c].tag;
        assert!(client.got(client.video_slot(1)).iter().any(|p| p.sender() == tag));
        assert!(client.got(client.audio_slot(1)).iter().all(|p| p.sender() == tag));
        assert_continuous(client.got(client.video_slot(0)));
        let roster = client.said("roster").unwrap()["participants"].as_array().unwrap();
        assert_eq!(roster.len(), 3);
    }
    let third = &world.clients[c];
    assert!(third.got(third.video_slot(0)).len() > 30 && third.got(third.video_slot(1)).len() > 30);
}

#[test]
fn mute_and_screen_are_told_and_obeyed() {
    let mut world = World::new(1);
    let (a, b) = (world.join(0), world.join(0));
    world.settle();
    world.clients[a].mic = true;
    world.run(SECOND);
    assert!(!world.clients[b].got(world.clients[b].audio_slot(0)).is_empty());
    world.clients[a].say(&json!({"type": "source", "source": "mic", "active": false}));
    world.run(SECOND / 5);
    let before = world.clients[b].got(world.clients[b].audio_slot(0)).len();
    // A muted track sends silence; nobody gets it.
    world.run(SECOND);
    assert_eq!(world.clients[b].got(world.clients[b].audio_slot(0)).len(), before);
    assert!(world.clients[b].said("slots").unwrap()["audio"][0].is_null());
    world.clients[a].say(&json!({"type": "source", "source": "mic", "active": true}));
    world.clients[a].say(&json!({"type": "source", "source": "screen", "active": true}));
    world.clients[a].screen = true;
    world.run(SECOND);
    let client = &world.clients[b];
    assert!(client.got(client.audio_slot(0)).len() > before + 30);
    assert_eq!(client.said("slots").unwrap()["video"][0]["source"], "screen");
    assert!(client.got(client.video_slot(0)).len() > 60);
    assert_continuous(client.got(client.video_slot(0)));
}
