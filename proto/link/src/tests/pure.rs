use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{Backoff, CaFingerprint, Datagram, JoinToken, PeerIdentity, Probe, ProbeTracker};

#[test]
fn only_one_spelling_of_an_identity_is_accepted() {
    let edge = "medmesh://one/edge/01920000-0000-7000-8000-0000000000ab";
    for good in [edge, "medmesh://one/control/7"] {
        assert_eq!(PeerIdentity::from_uri(good).unwrap().to_uri(), good);
    }
    for bad in [
        "",
        "medmesh://one/control/07",
        "medmesh://one/control/+7",
        "medmesh://one/control/",
        "medmesh://one/control/7/",
        "medmesh://one/control/7?",
        "medmesh:///control/7",
        "medmesh://One/control/7",
        "medmesh://one/admin/7",
        "https://one/control/7",
        "medmesh://one/edge/01920000-0000-7000-8000-0000000000AB",
        "medmesh://one/edge/0192000000007000800000000000000ab",
    ] {
        assert!(PeerIdentity::from_uri(bad).is_err(), "{bad}");
    }
}

#[test]
fn join_tokens_round_trip_and_hide_their_secret() {
    let ca = CaFingerprint::from_hex(&"ab".repeat(32)).unwrap();
    let token = JoinToken::generate(cluster_name("one"), ca, vec!["127.0.0.1:4400".to_owned()]);
    let text = token.to_text();
    assert!(text.starts_with("mmj1."));
    let again: JoinToken = format!(" {text}\n").parse().unwrap();
    assert_eq!(again, token);
    assert_eq!(again.secret_hash(), token.secret_hash());
    let other = JoinToken::generate(cluster_name("one"), ca, Vec::new());
    assert_ne!(other.secret_hash(), token.secret_hash());
    assert!(!format!("{token:?}").contains("secret"));
    for bad in ["", "mmj1.", "mmj2.e30", "mmj1.e30", &text[..text.len() - 3]] {
        assert!(bad.parse::<JoinToken>().is_err(), "{bad}");
    }
}

#[test]
fn pauses_grow_to_their_ceiling_and_are_drawn_from_all_of_it() {
    let [first, ceiling] = [Duration::from_millis(50), Duration::from_secs(1)];
    let mut backoff = Backoff::new(first, ceiling, 1);
    let mut again = Backoff::new(first, ceiling, 1);
    for attempt in 0..6_u32 {
        let pause = backoff.next_pause();
        assert!(
            pause <= (first * (1 << attempt)).min(ceiling),
            "attempt {attempt}: {pause:?}"
        );
        assert_eq!(pause, again.next_pause(), "the same seed gives the same pauses");
    }
    let late: Vec<_> = (0..1000).map(|_| backoff.next_pause()).collect();
    assert!(late.iter().all(|pause| *pause <= ceiling));
    assert!(
        late.iter().any(|pause| *pause < ceiling / 10),
        "full jitter starts at zero"
    );
    assert!(late.iter().any(|pause| *pause > ceiling * 9 / 10));
    backoff.reset();
    assert_eq!(backoff.attempts(), 0);
    assert!(backoff.next_pause() <= first);
}

#[test]
fn probes_tell_loss_from_delay() {
    let mut tracker = ProbeTracker::new();
    let mut echoes = Vec::new();
    for nth in 0..100_u64 {
        let probe = tracker.next_probe(nth * 100_000);
        // Every tenth is lost; the round trip alternates between 20 and 22 ms.
        if nth % 10 != 0 {
            echoes.push((probe, nth * 100_000 + 20_000 + (nth % 2) * 2_000));
        }
    }
    for (echo, at) in &echoes {
        assert!(tracker.handle_echo(*echo, *at));
    }
    assert!(
        !tracker.handle_echo(echoes[0].0, echoes[0].1),
        "an echo counts once"
    );
    let forged = Probe {
        sequence: 5,
        clock_us: 1,
    };
    assert!(
        !tracker.handle_echo(forged, 1),
        "an echo must be of a probe we sent"
    );

    let quality = tracker.quality(20_000_000);
    assert_eq!((quality.samples, quality.loss_ppm), (100, 100_000));
    assert!((20_000..22_000).contains(&quality.rtt_us), "{quality:?}");
    assert!((1_000..2_000).contains(&quality.jitter_us), "{quality:?}");

    let late = tracker.next_probe(30_000_000);
    assert_eq!(
        tracker.quality(30_500_000).samples,
        99,
        "a probe on its way is not yet due"
    );
    assert!(!tracker.handle_echo(late, 31_500_000), "too late is lost");
    assert_eq!(tracker.quality(31_500_000).samples, 100);
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), text in ".{0,64}") {
        let _ = Datagram::parse(&Bytes::from(bytes.clone()));
        let _ = PeerIdentity::from_uri(&text);
        let _ = PeerIdentity::from_certificate(&bytes.into());
        let _ = text.parse::<JoinToken>();
        let _ = format!("mmj1.{text}").parse::<JoinToken>();
        let _ = CaFingerprint::from_hex(&text);
    }

    #[test]
    fn datagrams_round_trip(flow_id: u32, body in proptest::collection::vec(any::<u8>(), 0..64), sequence: u32, clock_us: u64) {
        let probe = Probe { sequence, clock_us };
        for datagram in [
            Datagram::Media { flow_id, body: body.clone().into() },
            Datagram::Probe(probe),
            Datagram::ProbeEcho(probe),
        ] {
            prop_assert_eq!(Datagram::parse(&datagram.to_bytes()), Some(datagram));
        }
    }
}
