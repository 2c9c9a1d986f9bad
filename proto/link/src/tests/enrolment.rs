use medmesh_base::EdgeId;
use medmesh_wire::fleet::enrolment_server::{Enrolment, EnrolmentServer};
use medmesh_wire::fleet::{EdgeDescriptor, EnrolRequest};
use std::sync::Arc;
use tonic::Code;

use super::*;
use crate::{EnrolError, Expect, JoinToken, StreamClass, enrol, enrol_channel};

/// Signs whoever knows the one secret: enough of an enrolment to test the way to it.
struct OneSecret {
    ca: Arc<ClusterCa>,
    token: JoinToken,
}

#[tonic::async_trait]
impl Enrolment for OneSecret {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        assert!(PeerInfo::of(&request).unwrap().identity.is_none());
        let request = request.into_inner();
        let token: JoinToken = request
            .join_token
            .parse()
            .map_err(|_| Status::invalid_argument("token"))?;
        if token.secret_hash() != self.token.secret_hash() {
            return Err(Status::permission_denied("unknown token"));
        }
        let edge = EdgeId::generate();
        let signed = self
            .ca
            .sign(
                &request.csr_der,
                Role::Edge(edge),
                OffsetDateTime::now_utc(),
                LEAF_LIFE,
            )
            .map_err(|_| Status::invalid_argument("request"))?;
        Ok(Response::new(EnrolResponse {
            edge_id: edge.to_vec(),
            chain_der: signed.chain.iter().map(|der| der.to_vec()).collect(),
            ca_der: self.ca.certificate().to_vec(),
            renew_after_unix_ms: 0,
        }))
    }
}

async fn control_with_enrolment() -> (Arc<ClusterCa>, Node, JoinToken) {
    let ca = Arc::new(new_ca("one"));
    let mut server = Node::start(&ca, control(1));
    let token = JoinToken::generate(cluster_name("one"), ca.fingerprint(), vec![server.address()]);
    let (_, empty) = tokio::sync::mpsc::channel(1);
    let enrolment = std::mem::replace(&mut server.incoming.enrol, GrpcIncoming(empty));
    let service = OneSecret {
        ca: ca.clone(),
        token: token.clone(),
    };
    server.drain.spawn(
        Server::builder()
            .add_service(EnrolmentServer::new(service))
            .serve_with_incoming_shutdown(enrolment, server.drain.token().cancelled_owned()),
    );
    (ca, server, token)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_token_leads_to_a_working_certificate() {
    let (ca, mut server, token) = control_with_enrolment().await;
    let enrolled = soon(enrol(&token.to_text(), EdgeDescriptor::default()))
        .await
        .unwrap();
    assert_eq!(enrolled.identity.peer().role, Role::Edge(enrolled.edge));
    assert_eq!(&enrolled.ca, ca.certificate());

    let edge = Node::start_with(
        Trust::new(cluster_name("one"), &enrolled.ca).unwrap(),
        enrolled.identity,
        0,
    );
    let (_, empty) = tokio::sync::mpsc::channel(1);
    serve_who_am_i(
        &server.drain,
        std::mem::replace(&mut server.incoming.grpc, GrpcIncoming(empty)),
    );
    let peer = crate::Peer::new(&edge.endpoint, server.address(), Expect::AnyControl);
    let name = soon(who_am_i(&peer.channel(crate::TrafficClass::Fleet)))
        .await
        .unwrap();
    assert_eq!(name, format!("medmesh://one/edge/{}", enrolled.edge));
    stop(&edge.drain).await;
    stop(&server.drain).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_secret_or_a_wrong_ca_gets_nothing() {
    let (ca, server, token) = control_with_enrolment().await;
    let stranger = JoinToken::generate(cluster_name("one"), ca.fingerprint(), token.control.clone());
    let refused = soon(enrol(&stranger.to_text(), EdgeDescriptor::default())).await;
    assert!(matches!(refused, Err(EnrolError::Refused { .. })), "{refused:?}");

    // The token of another cluster's operator, pointed here: we refuse the control node.
    let misled = JoinToken::generate(
        cluster_name("one"),
        new_ca("one").fingerprint(),
        token.control.clone(),
    );
    let refused = soon(enrol(&misled.to_text(), EdgeDescriptor::default())).await;
    assert!(matches!(refused, Err(EnrolError::Unavailable)), "{refused:?}");
    stop(&server.drain).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_certificate_nothing_but_enrolment_is_reached() {
    let (_, mut server, token) = control_with_enrolment().await;
    let metrics = server.endpoint.metrics().clone();
    let (_, empty) = tokio::sync::mpsc::channel(1);
    serve_who_am_i(
        &server.drain,
        std::mem::replace(&mut server.incoming.grpc, GrpcIncoming(empty)),
    );
    let (endpoint, channel) = soon(enrol_channel(&token, &server.address())).await.unwrap();
    let refused = soon(FleetClient::new(channel).renew(RenewRequest::default()))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    endpoint.close(quinn::VarInt::from_u32(0), b"");

    let client = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let tls = crate::tls::enrol_config(cluster_name("one"), token.ca).unwrap();
    let connection = soon(
        client
            .connect_with(
                crate::endpoint::quinn_client(tls).unwrap(),
                server.endpoint.local_address(),
                crate::tls::SERVER_NAME,
            )
            .unwrap(),
    )
    .await
    .unwrap();
    let (mut send, mut recv) = soon(connection.open_bi()).await.unwrap();
    soon(send.write_all(&[StreamClass::Mesh.byte()])).await.unwrap();
    soon(recv.read(&mut [0; 1]))
        .await
        .expect_err("mesh streams need a certificate");
    eventually(async || (metrics.streams_refused_count("not_served") == 1).then_some(())).await;
    stop(&server.drain).await;
}
