use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{Datagram, DatagramDrop, Expect, Peer, Probe, ProbeTracker, Session, media_head};

/// Two edges with a mesh stream open between them.
async fn pair() -> ([Node; 2], Session, Session) {
    let ca = new_ca("one");
    let left = Node::start(&ca, an_edge());
    let mut right = Node::start(&ca, an_edge());
    let Role::Edge(right_id) = right.endpoint.identity().role else {
        panic!("made as an edge")
    };
    let peer = Peer::new(&left.endpoint, right.address(), Expect::Edge(right_id));
    let (near, mut stream) = soon(peer.open_mesh()).await.unwrap();
    soon(stream.write_all(b"hello")).await.unwrap();
    let mut taken = soon(right.incoming.mesh.recv()).await.unwrap();
    let mut greeting = [0; 5];
    soon(taken.stream.read_exact(&mut greeting)).await.unwrap();
    assert_eq!(&greeting, b"hello");
    assert_eq!(taken.session.peer(), left.endpoint.identity());
    ([left, right], near, taken.session)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_cross_both_ways_and_probes_measure_the_path() {
    let (nodes, near, far) = pair().await;
    let media = Bytes::from([&media_head(7)[..], &[0xab; 1300]].concat());
    near.send_datagram(media.clone()).unwrap();
    assert_eq!(soon(far.recv_datagram()).await.unwrap(), media);
    let Some(Datagram::Media { flow_id: 7, body }) = Datagram::parse(&media) else {
        panic!("not the media it was")
    };
    assert_eq!(body.len(), 1300);

    let started = std::time::Instant::now();
    let clock = || u64::try_from(started.elapsed().as_micros()).unwrap();
    let mut tracker = ProbeTracker::new();
    for _ in 0..10 {
        near.send_datagram(Datagram::Probe(tracker.next_probe(clock())).to_bytes())
            .unwrap();
        let asked = soon(far.recv_datagram()).await.unwrap();
        let Some(Datagram::Probe(probe)) = Datagram::parse(&asked) else {
            panic!("not a probe")
        };
        far.send_datagram(Datagram::ProbeEcho(probe).to_bytes()).unwrap();
        let answer = soon(near.recv_datagram()).await.unwrap();
        let Some(Datagram::ProbeEcho(echo)) = Datagram::parse(&answer) else {
            panic!("not an echo")
        };
        assert!(tracker.handle_echo(echo, clock()));
    }
    let quality = tracker.quality(clock());
    assert_eq!((quality.samples, quality.loss_ppm), (10, 0));
    assert!(quality.rtt_us > 0);
    for node in nodes {
        stop(&node.drain).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_sent_is_refused_at_once_and_counted() {
    let (nodes, near, far) = pair().await;
    let metrics = nodes[0].endpoint.metrics().clone();
    let limit = near.datagram_bytes_max();
    assert!(
        limit >= 1350,
        "a 1300 B RTP packet with its head must fit, {limit} do"
    );

    let too_big = near.send_datagram(Bytes::from(vec![0; 2000])).unwrap_err();
    assert!(
        matches!(too_big, DatagramDrop::TooBig { size_bytes: 2000, max_bytes } if max_bytes >= limit),
        "{too_big:?}"
    );
    assert_eq!(metrics.datagrams_dropped_count("too_big"), 1);

    // Faster than any path: the buffer fills, and we hear of it instead of losing silently.
    let packet = Bytes::from(vec![0; 1200]);
    let full = (0..1_000_000).find_map(|_| near.send_datagram(packet.clone()).err());
    assert_eq!(full, Some(DatagramDrop::BufferFull));
    assert!(metrics.datagrams_dropped_count("buffer_full") >= 1);
    // It drains again.
    soon(far.recv_datagram()).await.unwrap();
    eventually(async || near.send_datagram(packet.clone()).ok()).await;

    far.close(crate::CloseReason::Replaced);
    soon(near.closed()).await;
    assert_eq!(near.send_datagram(packet.clone()), Err(DatagramDrop::Closed));
    for node in nodes {
        stop(&node.drain).await;
    }
}

#[test]
fn malformed_datagrams_are_nothing() {
    let probe = Datagram::Probe(Probe {
        sequence: 1,
        clock_us: 2,
    });
    let bytes = probe.to_bytes();
    assert_eq!(Datagram::parse(&bytes), Some(probe));
    for length in 0..bytes.len() {
        assert_eq!(Datagram::parse(&bytes.slice(..length)), None);
    }
    let mut other = bytes.to_vec();
    other[0] = 3;
    assert_eq!(Datagram::parse(&other.clone().into()), None, "unknown kind");
    other[0] = 1;
    other[4] = 1;
    assert_eq!(Datagram::parse(&other.into()), None, "probes have flow id 0");
}
