use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::{Expect, Peer, TrafficClass};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_packets_change_nothing_and_get_no_answer() {
    let ca = new_ca("one");
    let server = Node::start(&ca, control(1));
    let address = server.endpoint.local_address();
    serve_who_am_i(&server.drain, server.incoming.grpc);
    let edge = Node::start(&ca, an_edge());
    let peer = Peer::new(&edge.endpoint, address.to_string(), Expect::AnyControl);
    let channel = peer.channel(TrafficClass::Fleet);
    soon(who_am_i(&channel)).await.unwrap();

    let mut random = SmallRng::seed_from_u64(7);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    for round in 0..2000 {
        let mut packet = vec![0_u8; random.random_range(0..1500)];
        random.fill(packet.as_mut_slice());
        if let Some(first) = packet.first_mut().filter(|_| round % 2 == 0) {
            // Looks like a QUIC version 1 Initial for longer.
            *first = 0xc0;
            if let Some(version) = packet.get_mut(1..5) {
                version.copy_from_slice(&[0, 0, 0, 1]);
            }
        }
        // A full socket buffer is the kernel dropping garbage for us.
        let _ = socket.send_to(&packet, address);
    }
    soon(who_am_i(&channel)).await.unwrap();
    let fresh = Peer::new(&edge.endpoint, address.to_string(), Expect::AnyControl);
    soon(who_am_i(&fresh.channel(TrafficClass::Fleet))).await.unwrap();
    for drain in [&edge.drain, &server.drain] {
        stop(drain).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_streams_are_refused_and_counted() {
    let ca = new_ca("one");
    let server = Node::start(&ca, control(1));
    let metrics = server.endpoint.metrics().clone();
    serve_who_am_i(&server.drain, server.incoming.grpc);
    drop(server.incoming.mesh);
    let edge = Node::start(&ca, an_edge());
    let peer = Peer::new(
        &edge.endpoint,
        server.endpoint.local_address().to_string(),
        Expect::AnyControl,
    );
    let channel = peer.channel(TrafficClass::Fleet);
    soon(who_am_i(&channel)).await.unwrap();
    let session = soon(peer.session()).await.unwrap();

    let refused = async |bytes: &'static [u8]| {
        let (mut send, mut recv) = soon(session.connection().open_bi()).await.unwrap();
        soon(send.write_all(bytes)).await.unwrap();
        // The refusal may have arrived already.
        let _ = send.finish();
        soon(recv.read(&mut [0; 1]))
            .await
            .expect_err("garbage was served");
    };
    refused(&[0]).await;
    refused(&[3, 1, 2, 3]).await;
    refused(&[255; 4000]).await;
    refused(&[]).await;
    refused(&[2]).await;
    eventually(async || (metrics.streams_refused_count("unknown_class") == 3).then_some(())).await;
    assert_eq!(metrics.streams_refused_count("no_class"), 1);
    assert_eq!(metrics.streams_refused_count("not_served"), 1);

    // The right class and then not HTTP/2: tonic ends the stream, the session lives.
    let (mut send, mut recv) = soon(session.connection().open_bi()).await.unwrap();
    soon(send.write_all(&[&[1_u8][..], &[0x5a; 300]].concat()))
        .await
        .unwrap();
    let mut answer = [0; 1024];
    while let Ok(Some(_)) = soon(recv.read(&mut answer)).await {}
    // Unidirectional streams are not offered at all.
    assert!(
        tokio::time::timeout(Duration::from_millis(50), session.connection().open_uni())
            .await
            .is_err()
    );
    session.send_datagram(Bytes::from_static(b"?")).unwrap();
    soon(who_am_i(&channel)).await.unwrap();
    assert!(session.is_open());
    for drain in [&edge.drain, &server.drain] {
        stop(drain).await;
    }
}
