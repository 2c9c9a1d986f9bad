//! The choices and the rewriting, on their own.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::allocate::{AUDIO_BPS, Demand, LayerOffer, allocate, assign};
use crate::codec::{CodecTag, starts_keyframe, vp8_keyframe_height};
use crate::forward::{Forwarder, Verdict};
use crate::keyframe::{Ask, Keyframes};
use crate::packet::MediaPacket;

fn layers(rates: [u64; 3]) -> Vec<LayerOffer> {
    let heights = [180, 360, 720];
    let offer = |(bitrate_bps, height)| LayerOffer {
        bitrate_bps,
        height,
        live: bitrate_bps > 0,
    };
    rates.into_iter().zip(heights).map(offer).collect()
}

fn demand(height: u32, current: Option<u8>) -> Demand {
    Demand {
        layers: layers([150_000, 500_000, 1_500_000]),
        height,
        current,
        paused: false,
    }
}

#[test]
fn everyone_gets_a_small_picture_before_anyone_a_large_one() {
    let demands = [demand(720, None), demand(720, None), demand(720, None)];
    let chosen = allocate(700_000, 1, &demands, false);
    assert_eq!(chosen.layers, vec![Some(0); 3]);
    assert!(chosen.limited && chosen.desired_bps > 4_500_000);
    let chosen = allocate(1_200_000, 1, &demands, false);
    assert_eq!(
        chosen.layers,
        vec![Some(1), Some(0), Some(0)],
        "the most important grows first"
    );
    let chosen = allocate(10_000_000, 1, &demands, false);
    assert_eq!(chosen.layers, vec![Some(2); 3]);
    assert!(!chosen.limited);
}

#[test]
fn sound_comes_first() {
    let chosen = allocate(6 * AUDIO_BPS, 6, &[demand(360, Some(0))], false);
    assert_eq!(chosen.layers, vec![None]);
}

#[test]
fn a_layer_that_fits_is_kept_and_one_that_just_fits_is_not_taken() {
    let keeps = demand(720, Some(2));
    let takes = demand(720, Some(1));
    let estimate = 1_600_000 + AUDIO_BPS;
    assert_eq!(allocate(estimate, 1, &[keeps], false).layers, vec![Some(2)]);
    assert_eq!(allocate(estimate, 1, &[takes], false).layers, vec![Some(1)]);
    assert_eq!(
        allocate(9_000_000, 1, &[demand(720, Some(1))], true).layers,
        vec![Some(1)],
        "held"
    );
}

#[test]
fn what_is_not_sent_is_not_chosen() {
    let mut no_large = demand(720, None);
    no_large.layers[2].live = false;
    assert_eq!(allocate(9_000_000, 0, &[no_large], false).layers, vec![Some(1)]);
    let nothing = Demand {
        layers: layers([0; 3]),
        height: 360,
        current: Some(1),
        paused: false,
    };
    let chosen = allocate(9_000_000, 0, &[nothing], false);
    assert_eq!((chosen.layers, chosen.limited), (vec![None], false));
}

proptest! {
    #[test]
    fn the_estimate_is_never_overspent(
        estimate in 0u64..10_000_000,
        audio in 0u64..7,
        wants in proptest::collection::vec((90u32..1_100, proptest::option::of(0u8..3)), 0..7),
        hold: bool,
    ) {
        let demands: Vec<Demand> = wants.into_iter().map(|(h, c)| demand(h, c)).collect();
        let chosen = allocate(estimate, audio, &demands, hold);
        let spent: u64 = demands
            .iter()
            .zip(&chosen.layers)
            .filter_map(|(d, l)| Some(d.layers[usize::from((*l)?)].bitrate_bps))
            .sum();
        prop_assert!(spent == 0 || spent + audio * AUDIO_BPS <= estimate);
        for (demand, layer) in demands.iter().zip(&chosen.layers) {
            prop_assert!(*layer <= demand.ideal(), "never larger than the tile");
        }
    }

    #[test]
    fn slots_are_kept(shown in proptest::collection::vec(proptest::option::of(0u8..9), 1..7), wanted in Just(()).prop_flat_map(|()| proptest::sample::subsequence((0u8..9).collect::<Vec<_>>(), 0..9))) {
        let mut shown = shown;
        for index in 0..shown.len() {
            if shown[..index].contains(&shown[index]) {
                shown[index] = None;
            }
        }
        let slots = assign(&shown, &wanted);
        let first = &wanted[..wanted.len().min(shown.len())];
        for (index, key) in slots.iter().enumerate() {
            if let Some(key) = key {
                prop_assert!(first.contains(key));
                prop_assert_eq!(slots.iter().filter(|s| *s == &Some(*key)).count(), 1);
            }
            if shown[index].is_some_and(|k| first.contains(&k)) {
                prop_assert_eq!(*key, shown[index]);
            }
        }
        prop_assert_eq!(slots.iter().flatten().count(), first.len());
    }
}

fn packet(at: Instant, sequence: u64, timestamp: u32, key: bool, picture: u16) -> MediaPacket {
    let mut payload = vec![0; 20];
    payload[..7].copy_from_slice(&[
        0x90,
        0xe0,
        0x80 | (picture >> 8) as u8,
        picture as u8,
        9,
        0,
        u8::from(!key),
    ]);
    MediaPacket {
        sequence,
        timestamp,
        marker: true,
        codec: CodecTag::VP8,
        payload: payload.into(),
        audio_level: None,
        voice: false,
        orientation: None,
        arrived: at,
        keyframe: false,
        vp8: None,
    }
    .inspect()
}

#[test]
fn a_switch_leaves_no_seam() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut forwarder = Forwarder::new(true, 40_000);
    forwarder.set_target(Some(0));
    assert_eq!(
        forwarder.route(0, &packet(at(0), 70_000, 5, false, 3)),
        Verdict::BeforeSwitch
    );
    let Verdict::Switched(first) = forwarder.route(0, &packet(at(10), 70_001, 1_000, true, 4)) else {
        panic!("starts at the keyframe");
    };
    assert_eq!(
        (first.sequence, first.timestamp),
        (40_000 & 0x7fff, 1_000),
        "rollover count starts at 0"
    );
    forwarder.set_target(Some(2));
    assert!(forwarder.waiting());
    assert!(matches!(
        forwarder.route(0, &packet(at(43), 70_002, 4_000, false, 5)),
        Verdict::Forward(_)
    ));
    assert_eq!(
        forwarder.route(2, &packet(at(44), 9, 77, false, 900)),
        Verdict::OtherLayer
    );
    let Verdict::Switched(switched) = forwarder.route(2, &packet(at(143), 10, 9_077, true, 901)) else {
        panic!("switches at the keyframe");
    };
    assert_eq!(switched.sequence, first.sequence + 2);
    assert_eq!(switched.timestamp, 4_000 + 9_000, "100 ms later");
    assert_eq!(
        forwarder.route(0, &packet(at(144), 70_003, 7_000, false, 6)),
        Verdict::OtherLayer
    );
    assert_eq!(
        forwarder.route(2, &packet(at(145), 8, 6_077, false, 899)),
        Verdict::BeforeSwitch
    );
    // A hole upstream stays a hole, and is filled when the repair comes.
    let Verdict::Forward(later) = forwarder.route(2, &packet(at(176), 12, 12_077, false, 903)) else {
        panic!()
    };
    let Verdict::Forward(repair) = forwarder.route(2, &packet(at(180), 11, 12_077, false, 902)) else {
        panic!()
    };
    assert_eq!(
        (later.sequence, repair.sequence),
        (switched.sequence + 2, switched.sequence + 1)
    );
    forwarder.set_target(None);
    assert_eq!(
        forwarder.route(2, &packet(at(200), 13, 15_077, true, 904)),
        Verdict::OtherLayer
    );
}

#[test]
fn keyframes_are_seen_in_every_codec() {
    let key = |codec, payload: &[u8]| starts_keyframe(codec, payload, None);
    assert!(key(CodecTag::VP9_PROFILE_0, &[0x08]) && key(CodecTag::VP9_PROFILE_0, &[0xa8, 0x81, 0x01, 0x00]));
    assert!(!key(CodecTag::VP9_PROFILE_0, &[0x48]) && !key(CodecTag::VP9_PROFILE_0, &[0x00]));
    assert!(
        !key(CodecTag::VP9_PROFILE_0, &[0x28, 0x02]),
        "not a higher spatial layer"
    );
    assert!(key(CodecTag::AV1, &[0x18]) && !key(CodecTag::AV1, &[0x10]));
    let h264 = CodecTag::from_wire(21).unwrap();
    assert!(
        key(h264, &[0x67])
            && key(h264, &[0x65])
            && key(h264, &[0x78, 0, 4, 0x67])
            && key(h264, &[0x7c, 0x85])
    );
    assert!(!key(h264, &[0x61]) && !key(h264, &[0x7c, 0x05]) && !key(h264, &[]));
    assert_eq!(
        vp8_keyframe_height(&[0x90, 0x80, 1, 0x10, 2, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1]),
        Some(360)
    );
    assert_eq!(vp8_keyframe_height(&[0x90; 30]), None);
}

#[test]
fn a_keyframe_asked_for_too_early_is_owed_until_one_comes() {
    const INTERVAL: Duration = Duration::from_millis(300);
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut owed = Keyframes::default();
    assert_eq!(owed.ask(at(0), INTERVAL), Ask::Now);
    assert_eq!(owed.ask(at(100), INTERVAL), Ask::Later(at(300)));
    assert_eq!(owed.ask(at(200), INTERVAL), Ask::Noted);
    assert!(!owed.poll(at(299), INTERVAL));
    assert!(owed.poll(at(300), INTERVAL), "sent after all");
    assert!(!owed.poll(at(600), INTERVAL), "once");
    assert_eq!(owed.ask(at(700), INTERVAL), Ask::Now);
    assert_eq!(owed.ask(at(710), INTERVAL), Ask::Later(at(1_000)));
    owed.note_keyframe();
    assert!(!owed.poll(at(1_000), INTERVAL), "a keyframe came meanwhile");
}
