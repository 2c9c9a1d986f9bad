use std::time::Duration;

use medmesh_base::ControlId;
use tonic::Code;

use super::*;
use crate::{Expect, Peer, TrafficClass};

async fn attach(peer: &Peer) -> Result<(), Status> {
    let nothing = futures::stream::empty::<EdgeReport>();
    FleetClient::new(peer.channel(TrafficClass::Fleet))
        .attach(nothing)
        .await
        .map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_carry_the_callers_certificate() {
    let ca = new_ca("one");
    let server = Node::start(&ca, control(1));
    let edge = Node::start(&ca, an_edge());
    serve_who_am_i(&server.drain, server.incoming.grpc);

    let peer = Peer::new(
        &edge.endpoint,
        server.endpoint.local_address().to_string(),
        Expect::AnyControl,
    );
    for class in [TrafficClass::Raft, TrafficClass::Fleet, TrafficClass::Bulk] {
        let name = soon(who_am_i(&peer.channel(class))).await.unwrap();
        assert_eq!(name, edge.endpoint.identity().to_uri());
    }
    let refused = soon(attach(&peer)).await.unwrap_err();
    assert_eq!(
        refused.code(),
        Code::PermissionDenied,
        "an edge is not a control node"
    );

    let other = Node::start(&ca, control(2));
    let peer = Peer::new(
        &other.endpoint,
        server.endpoint.local_address().to_string(),
        Expect::Control(ControlId(1)),
    );
    soon(attach(&peer)).await.unwrap();
    for drain in [&edge.drain, &other.drain, &server.drain] {
        stop(drain).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_comes_back_when_its_server_does() {
    let ca = new_ca("one");
    let identity = issue(&ca, control(1));
    let server = Node::start_with(trust(&ca), identity.clone(), 0);
    let port = server.endpoint.local_address().port();
    serve_who_am_i(&server.drain, server.incoming.grpc);
    let edge = Node::start(&ca, an_edge());
    let peer = Peer::new(
        &edge.endpoint,
        format!("127.0.0.1:{port}"),
        Expect::Control(ControlId(1)),
    );
    let channel = peer.channel(TrafficClass::Fleet);
    soon(who_am_i(&channel)).await.unwrap();

    stop(&server.drain).await;
    drop(server.endpoint);
    eventually(async || who_am_i(&channel).await.err()).await;

    let server = eventually(async || {
        std::net::UdpSocket::bind(("127.0.0.1", port)).ok()?;
        Some(Node::start_with(trust(&ca), identity.clone(), port))
    })
    .await;
    serve_who_am_i(&server.drain, server.incoming.grpc);
    eventually(async || who_am_i(&channel).await.ok()).await;
    for drain in [&edge.drain, &server.drain] {
        stop(drain).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_given_up_while_dialling_blocks_no_other_channel() {
    let ca = new_ca("one");
    let edge = Node::start(&ca, an_edge());
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let peer = Peer::new(&edge.endpoint, address, Expect::Control(ControlId(1)));
    let (raft, fleet) = (
        peer.channel(TrafficClass::Raft),
        peer.channel(TrafficClass::Fleet),
    );
    // Nobody polls the dial of this channel any more once its only call is gone.
    tokio::time::timeout(Duration::from_millis(50), who_am_i(&raft))
        .await
        .unwrap_err();
    assert_eq!(
        soon(who_am_i(&fleet)).await.unwrap_err().code(),
        Code::Unavailable
    );
    stop(&edge.drain).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_falls_silent_is_noticed_in_two_seconds() {
    let ca = new_ca("one");
    let server = Node::start(&ca, control(1));
    let edge = Node::start(&ca, an_edge());
    let path = CuttablePath::to(server.endpoint.local_address()).await;
    let session = soon(edge.endpoint.dial(&path.address, Expect::AnyControl))
        .await
        .unwrap();
    // Quiet for longer than the idle timeout, and alive.
    let quiet =
        tokio::time::timeout(crate::IDLE_TIMEOUT + Duration::from_millis(500), session.closed()).await;
    assert!(quiet.is_err(), "keep-alives must carry a quiet session");

    path.cut();
    let since = std::time::Instant::now();
    soon(session.closed()).await;
    let took = since.elapsed();
    assert!(took < Duration::from_secs(4), "noticed only after {took:?}");
    for drain in [&edge.drain, &server.drain] {
        stop(drain).await;
    }
}

/// A UDP relay that can be stopped: a cable to pull.
struct CuttablePath {
    address: String,
    task: tokio::task::JoinHandle<()>,
}

impl CuttablePath {
    async fn to(server: SocketAddr) -> Self {
        let near = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let far = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        far.connect(server).await.unwrap();
        let address = near.local_addr().unwrap().to_string();
        let task = tokio::spawn(async move {
            let (mut there, mut back) = ([0; 2048], [0; 2048]);
            let mut client = None;
            loop {
                tokio::select! {
                    Ok((size, from)) = near.recv_from(&mut there) => {
                        client = Some(from);
                        far.send(&there[..size]).await.unwrap();
                    }
                    Ok(size) = far.recv(&mut back) => {
                        near.send_to(&back[..size], client.unwrap()).await.unwrap();
                    }
                }
            }
        });
        Self { address, task }
    }

    fn cut(&self) {
        self.task.abort();
    }
}
