//! Which layer whom: bandwidth, layout, keyframes, repairs.

use std::time::Duration;

use serde_json::json;

use super::forwarding::assert_continuous;
use super::world::World;

const SECOND: Duration = Duration::from_secs(1);

/// A publisher with a camera in three layers and a microphone, and a subscriber.
fn pair() -> (World, usize, usize) {
    let mut world = World::new(1);
    let (a, b) = (world.join(0), world.join(0));
    world.settle();
    world.clients[a].mic = true;
    world.clients[a].camera = [true; 3];
    (world, a, b)
}

fn wish(world: &mut World, subscriber: usize, publisher: usize, height: u32) {
    let participant = world.clients[publisher].participant;
    world.clients[subscriber].say(
        &json!({"type": "wish", "video": [{"participant": participant, "source": "camera", "height": height}]}),
    );
}

fn newest_layer(world: &World, client: usize) -> Option<u8> {
    let client = &world.clients[client];
    client
        .got(client.video_slot(0))
        .last()
        .map(super::client::Got::layer)
}

#[test]
fn the_tile_decides_the_layer_both_ways() {
    let (mut world, a, b) = pair();
    wish(&mut world, b, a, 720);
    assert!(
        world.run_until(10 * SECOND, |w| newest_layer(w, b) == Some(2)),
        "full size for a large tile"
    );
    wish(&mut world, b, a, 90);
    assert!(
        world.run_until(2 * SECOND, |w| newest_layer(w, b) == Some(0)),
        "small for a small one"
    );
    wish(&mut world, b, a, 360);
    assert!(
        world.run_until(5 * SECOND, |w| newest_layer(w, b) == Some(1)),
        "and between"
    );
    world.run(SECOND);
    let client = &world.clients[b];
    assert_continuous(client.got(client.video_slot(0)));
    assert_eq!(client.said("layer").unwrap()["rid"], "h");
    assert_eq!(client.said("layer").unwrap()["reason"], "layout");
}

#[test]
fn what_is_not_wished_is_not_sent() {
    let (mut world, _, b) = pair();
    world.run(2 * SECOND);
    world.clients[b].say(&json!({"type": "wish", "video": []}));
    world.run(SECOND / 5);
    let before = world.clients[b].got(world.clients[b].video_slot(0)).len();
    assert!(before > 0);
    world.run(SECOND);
    let client = &world.clients[b];
    assert_eq!(client.got(client.video_slot(0)).len(), before);
    assert!(client.got(client.audio_slot(0)).len() > 100, "sound goes on");
}

#[test]
fn a_thin_link_steps_down_pauses_and_comes_back() {
    let (mut world, a, b) = pair();
    wish(&mut world, b, a, 720);
    assert!(world.run_until(10 * SECOND, |w| newest_layer(w, b) == Some(2)));
    world.down_bps = Some(450_000);
    assert!(
        world.run_until(15 * SECOND, |w| newest_layer(w, b) == Some(0)),
        "the small layer fits"
    );
    world.down_bps = Some(90_000);
    let audio_only = |w: &World| {
        w.clients[b]
            .said("quality")
            .is_some_and(|q| q["state"] == "audio_only")
    };
    assert!(
        world.run_until(20 * SECOND, audio_only),
        "below the floor the picture pauses"
    );
    world.run(SECOND);
    let client = &world.clients[b];
    let (video, audio) = (
        client.got(client.video_slot(0)).len(),
        client.got(client.audio_slot(0)).len(),
    );
    assert_eq!(client.said("layer").unwrap()["rid"], json!(null));
    world.run(2 * SECOND);
    let client = &world.clients[b];
    let more = client.got(client.video_slot(0)).len() - video;
    assert!(more < 10, "hardly a try meanwhile: {more}");
    assert!(client.got(client.audio_slot(0)).len() > audio + 80, "but sound");
    world.down_bps = None;
    let back = |w: &World| w.clients[b].got(w.clients[b].video_slot(0)).len() > video + 30;
    assert!(
        world.run_until(30 * SECOND, back),
        "the picture comes back by itself"
    );
    let full = |w: &World| newest_layer(w, b) == Some(2);
    assert!(world.run_until(60 * SECOND, full), "and grows");
}

#[test]
fn keyframe_requests_are_coalesced() {
    let mut world = World::new(1);
    let publisher = world.join(0);
    world.settle();
    world.clients[publisher].camera = [true; 3];
    world.run(SECOND);
    let before: u32 = world.clients[publisher].keyframe_requests.iter().sum();
    for _ in 0..5 {
        world.join(0);
    }
    world.settle();
    world.run(2 * SECOND);
    for viewer in &world.clients[1..] {
        assert!(viewer.got(viewer.video_slot(0)).len() > 30, "everyone sees");
    }
    let asked: u32 = world.clients[publisher].keyframe_requests.iter().sum::<u32>() - before;
    // Five viewers start on one layer and may all step up once.
    assert!((1..=6).contains(&asked), "few requests for five viewers: {asked}");
    assert!(world.nodes[0].sfu.stats().keyframes_coalesced > 0);
}

#[test]
fn losses_are_repaired_on_each_hop() {
    let (mut world, _, b) = pair();
    world.run(3 * SECOND);
    world.loss_up = 0.05;
    world.loss_down = 0.05;
    world.run(6 * SECOND);
    world.loss_up = 0.0;
    world.loss_down = 0.0;
    world.run(SECOND);
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
    // Ten percent were lost on the way; what is left is what came too late for the layer.
    assert!(
        missing * 100 < span,
        "nearly all repaired: {missing} of {span} missing"
    );
}

#[test]
fn the_speaker_is_told() {
    let mut world = World::new(1);
    let (a, b, c) = (world.join(0), world.join(0), world.join(0));
    world.settle();
    for (client, level) in [(a, -30), (b, -100), (c, -110)] {
        world.clients[client].mic = true;
        world.clients[client].level = level;
    }
    world.run(2 * SECOND);
    for client in [a, b, c] {
        assert_eq!(
            world.clients[client].said("speaker").unwrap()["participant"],
            json!(world.clients[a].participant)
        );
    }
    world.clients[a].level = -120;
    world.clients[c].level = -25;
    world.run(2 * SECOND);
    assert_eq!(
        world.clients[b].said("speaker").unwrap()["participant"],
        json!(world.clients[c].participant)
    );
}

#[test]
fn a_wish_that_changes_before_the_first_picture_does_not_put_it_off() {
    let (mut world, a, b) = pair();
    wish(&mut world, b, a, 90);
    world.run(2 * SECOND);
    world.clients[b].say(&json!({"type": "wish", "video": []}));
    world.run(SECOND);
    let before = world.clients[b].got(world.clients[b].video_slot(0)).len();
    wish(&mut world, b, a, 360);
    let began = world.now;
    // The request is on its way to the publisher when the tile changes its size.
    world.run(Duration::from_millis(12));
    wish(&mut world, b, a, 720);
    let sees = |w: &World| w.clients[b].got(w.clients[b].video_slot(0)).len() > before;
    assert!(world.run_until(SECOND, sees));
    let waited = world.now - began;
    assert!(waited <= Duration::from_millis(4 * 8 + 34), "{waited:?}");
    assert_eq!(newest_layer(&world, b), Some(1), "the first that could be shown");
    assert!(
        world.run_until(5 * SECOND, |w| newest_layer(w, b) == Some(2)),
        "and then what is wanted"
    );
}

#[test]
fn a_picture_leaves_as_one_run_although_it_is_paced() {
    let (mut world, a, b) = pair();
    wish(&mut world, b, a, 720);
    assert!(world.run_until(10 * SECOND, |w| newest_layer(w, b) == Some(2)));
    world.run(SECOND);
    world.runs.clear();
    world.run(4 * SECOND);
    // Thirty pictures a second, of five packets each.
    let whole: usize = world.runs.range(5..).map(|(_, count)| count).sum();
    assert!(whole > 110, "{:?}", world.runs);
}
