use std::sync::Arc;

use medmesh_base::{ControlId, EdgeId};
use quinn::ConnectionError;

use super::*;
use crate::tls::{self, OwnCertificate, SERVER_NAME};
use crate::{Expect, LinkError, Peer, TrafficClass};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dialer_refuses_a_server_of_another_ca_cluster_or_role() {
    let ours = new_ca("one");
    let server = Node::start(&ours, control(1));

    let foreign = Node::start(&new_ca("one"), an_edge());
    let other_cluster = Trust::new(cluster_name("two"), ours.certificate()).unwrap();
    let elsewhere = Node::start_with(other_cluster, issue(&ours, an_edge()), 0);
    let edge = Node::start(&ours, an_edge());
    let attempts = [
        (&foreign, Expect::Control(ControlId(1))),
        (&elsewhere, Expect::Control(ControlId(1))),
        (&edge, Expect::Control(ControlId(2))),
        (&edge, Expect::Edge(EdgeId::generate())),
    ];
    for (node, expect) in attempts {
        let refused = soon(node.endpoint.dial(&server.address(), expect)).await;
        let error = refused.expect_err("a stranger was accepted");
        assert!(
            matches!(&error, LinkError::Session(ConnectionError::TransportError(_))),
            "{expect:?}: {error:?}"
        );
    }
    soon(
        edge.endpoint
            .dial(&server.address(), Expect::Control(ControlId(1))),
    )
    .await
    .unwrap();
    for node in [foreign, elsewhere, edge, server] {
        stop(&node.drain).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_refuses_callers_of_another_ca_cluster_or_time() {
    let ours = new_ca("one");
    let server = Node::start(&ours, control(1));
    let metrics = server.endpoint.metrics().clone();
    let address = server.address();
    serve_who_am_i(&server.drain, server.incoming.grpc);

    let day = time::Duration::days(1);
    let expired = ours
        .issue(an_edge(), OffsetDateTime::now_utc() - day - day, LEAF_LIFE)
        .unwrap();
    // Knowing the CA's certificate is not being signed by it.
    let callers = [
        (issue(&new_ca("one"), an_edge()), "handshake"),
        (expired, "expired"),
    ];
    for (identity, reason) in callers {
        let caller = Node::start_with(trust(&ours), identity, 0);
        let peer = Peer::new(&caller.endpoint, address.clone(), Expect::AnyControl);
        let refused = soon(who_am_i(&peer.channel(TrafficClass::Fleet))).await;
        assert!(refused.is_err(), "a caller was served: {reason}");
        eventually(async || (metrics.sessions_refused_count(reason) == 1).then_some(())).await;
        stop(&caller.drain).await;
    }
    stop(&server.drain).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_certificate_the_link_protocol_is_closed() {
    let ours = new_ca("one");
    let server = Node::start(&ours, control(1));
    let metrics = server.endpoint.metrics().clone();

    // A client that pins the right CA, has no certificate, and asks for the link protocol.
    let mut tls = tls::enrol_config(cluster_name("one"), ours.fingerprint()).unwrap();
    tls.alpn_protocols = vec![crate::ALPN_LINK.to_vec()];
    let client = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = crate::endpoint::quinn_client(tls).unwrap();
    let connection = client
        .connect_with(config, server.endpoint.local_address(), SERVER_NAME)
        .unwrap();
    // The handshake may look complete to us; the next thing heard is the refusal.
    if let Ok(connection) = soon(connection).await {
        assert!(matches!(
            soon(connection.closed()).await,
            ConnectionError::ApplicationClosed(_) | ConnectionError::ConnectionClosed(_)
        ));
    }
    eventually(async || (metrics.sessions_refused_count("no_identity") == 1).then_some(())).await;
    stop(&server.drain).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_protocol_is_refused() {
    let ours = new_ca("one");
    let server = Node::start(&ours, control(1));
    let own = OwnCertificate::new(&issue(&ours, an_edge())).unwrap();
    let mut tls = tls::client_config(&trust(&ours), &own, Expect::AnyControl).unwrap();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let client = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(
        quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap(),
    ));
    let connecting = client
        .connect_with(config, server.endpoint.local_address(), SERVER_NAME)
        .unwrap();
    soon(connecting).await.expect_err("h3 is not spoken here");
    stop(&server.drain).await;
}
