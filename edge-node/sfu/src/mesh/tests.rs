//! The datagram codec and the two ends of a flow.

use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use str0m::rtp::VideoOrientation;

use super::feed::Feed;
use super::inflow::{Arrival, Gaps};
use super::packet::{Body, HEADER_MAX, Malformed, Reassembly, SEQUENCE_MAX};
use crate::codec::CodecTag;

fn codecs() -> impl Strategy<Value = CodecTag> {
    any::<u8>().prop_filter_map("a codec", CodecTag::from_wire)
}

prop_compose! {
    fn bodies()(
        marker: bool,
        resent: bool,
        codec in codecs(),
        sequence in 0..=SEQUENCE_MAX,
        timestamp: u32,
        level in proptest::option::of((0u8..128, any::<bool>())),
        orientation in proptest::option::of((0u8..4).prop_map(VideoOrientation::from)),
        payload in proptest::collection::vec(any::<u8>(), 0..1_500),
    ) -> (Body<'static>, Vec<u8>) {
        let body = Body {
            marker, resent, codec, sequence, timestamp, level, orientation, fragment: None, payload: &[],
        };
        (body, payload)
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read((body, payload) in bodies()) {
        let body = Body { payload: &payload, ..body };
        let bytes = body.write();
        prop_assert!(bytes.len() <= HEADER_MAX + payload.len());
        prop_assert_eq!(Body::parse(&bytes), Ok(body));
    }

    #[test]
    fn anything_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(body) = Body::parse(&bytes) {
            let again = body.write();
            prop_assert_eq!(Body::parse(&again), Ok(body));
        }
    }

    #[test]
    fn pieces_come_together_in_any_order(
        (body, payload) in bodies(),
        datagram_max in 400usize..1_400,
        seed: u64,
    ) {
        let body = Body { payload: &payload, ..body };
        let mut pieces = body.split(datagram_max);
        prop_assert!(!pieces.is_empty() && pieces.iter().all(|p| p.len() <= datagram_max));
        let turn = seed as usize % pieces.len();
        pieces.rotate_left(turn);
        let mut reassembly = Reassembly::default();
        let mut dropped = 0;
        let mut whole = None;
        for piece in &pieces {
            let parsed = Body::parse(piece).unwrap();
            prop_assert_eq!((parsed.sequence, parsed.timestamp, parsed.codec), (body.sequence, body.timestamp, body.codec));
            whole = match parsed.fragment {
                Some(_) => reassembly.add(&parsed, &mut dropped),
                None => Some(parsed.payload.into()),
            };
        }
        prop_assert_eq!(whole.as_deref(), Some(payload.as_slice()));
        prop_assert_eq!(dropped, 0);
    }

    #[test]
    fn every_missing_packet_is_asked_for_and_counted_once(lost in proptest::collection::btree_set(1u64..200, 0..60)) {
        let start = Instant::now();
        let mut gaps = Gaps::default();
        let mut now = start;
        for sequence in (0..=200u64).filter(|s| !lost.contains(s)) {
            prop_assert_eq!(gaps.note(now, sequence), Arrival::New);
        }
        now += Duration::from_millis(10);
        let (wanted, given_up) = gaps.poll(now);
        prop_assert_eq!((wanted, given_up), (lost.iter().copied().collect::<Vec<_>>(), 0));
        for sequence in &lost {
            prop_assert_eq!(gaps.note(now, *sequence), Arrival::Filled(true));
            prop_assert_eq!(gaps.note(now, *sequence), Arrival::Known);
        }
        prop_assert_eq!(gaps.due(), None);
    }
}

#[test]
fn a_body_of_another_version_is_refused() {
    let body = Body {
        marker: true,
        resent: false,
        codec: CodecTag::VP8,
        sequence: 5,
        timestamp: 6,
        level: None,
        orientation: None,
        fragment: None,
        payload: &[1, 2, 3],
    };
    let mut bytes = body.write().to_vec();
    bytes[0] |= 1;
    assert_eq!(Body::parse(&bytes), Err(Malformed));
    assert_eq!(body.split(HEADER_MAX).len(), 0, "no room for payload at all");
}

#[test]
fn a_packet_is_given_up_after_the_last_try() {
    let mut now = Instant::now();
    let mut gaps = Gaps::default();
    gaps.note(now, 1);
    gaps.note(now, 3);
    let (mut asked, mut given_up) = (0, 0);
    while let Some(due) = gaps.due() {
        now = due;
        let (wanted, lost) = gaps.poll(now);
        asked += wanted.len();
        given_up += lost;
        assert!(asked <= 6, "tries are bounded");
    }
    assert_eq!((asked, given_up), (6, 1));
    assert_eq!(gaps.note(now, 2), Arrival::Known, "too late");
}

#[test]
fn an_outage_is_not_asked_for_packet_by_packet() {
    let now = Instant::now();
    let mut gaps = Gaps::default();
    gaps.note(now, 1);
    gaps.note(now, 10_000);
    assert_eq!(gaps.due(), None);
}

#[test]
fn a_feed_keeps_the_newest() {
    let mut feed = Feed::default();
    for sequence in 0..100 {
        feed.keep(sequence, Bytes::from_static(b"x"), 10);
    }
    assert!(feed.cached(89).is_none() && feed.cached(90).is_some() && feed.cached(99).is_some());
}
