//! Endpoints of one process talking to each other over loopback.

mod certificates;
mod datagrams;
mod enrolment;
mod garbage;
mod grpc;
mod pure;
mod trust;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use medmesh_base::drain::Drain;
use medmesh_base::{ControlId, EdgeId};
use medmesh_wire::fleet::fleet_client::FleetClient;
use medmesh_wire::fleet::fleet_server::{Fleet, FleetServer};
use medmesh_wire::fleet::{EdgeCommand, EdgeReport, EnrolResponse, RenewRequest};
use prometheus::Registry;
use time::OffsetDateTime;
use tonic::codegen::BoxStream;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    ClusterCa, ClusterName, Endpoint, EndpointConfig, GrpcIncoming, Identity, Incoming, LEAF_LIFE,
    LinkMetrics, PeerInfo, Role, Trust,
};

/// Nothing on loopback takes this long; what is reached later is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("nothing on loopback takes this long")
}

/// Tries until the condition gives a value.
pub(crate) async fn eventually<T, F: AsyncFnMut() -> Option<T>>(mut condition: F) -> T {
    soon(async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

pub(crate) fn cluster_name(text: &str) -> ClusterName {
    text.parse().unwrap()
}

pub(crate) fn new_ca(cluster: &str) -> ClusterCa {
    ClusterCa::create(cluster_name(cluster), OffsetDateTime::now_utc()).unwrap()
}

pub(crate) fn issue(ca: &ClusterCa, role: Role) -> Identity {
    ca.issue(role, OffsetDateTime::now_utc(), LEAF_LIFE).unwrap()
}

pub(crate) fn trust(ca: &ClusterCa) -> Trust {
    Trust::new(ca.cluster().clone(), ca.certificate()).unwrap()
}

pub(crate) fn control(id: u64) -> Role {
    Role::Control(ControlId(id))
}

pub(crate) fn an_edge() -> Role {
    Role::Edge(EdgeId::generate())
}

/// An endpoint with its own drain, so that it can be stopped alone.
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) incoming: Incoming,
    pub(crate) drain: Drain,
}

impl Node {
    pub(crate) fn start(ca: &ClusterCa, role: Role) -> Self {
        Self::start_with(trust(ca), issue(ca, role), 0)
    }

    pub(crate) fn start_with(trust: Trust, identity: Identity, port: u16) -> Self {
        let drain = Drain::new();
        let config = EndpointConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            trust,
            enrolment: matches!(identity.peer().role, Role::Control(_)),
            identity,
        };
        let metrics = LinkMetrics::register(&Registry::new()).unwrap();
        let (endpoint, incoming) = Endpoint::bind(config, metrics, &drain).unwrap();
        Self {
            endpoint,
            incoming,
            drain,
        }
    }

    pub(crate) fn address(&self) -> String {
        self.endpoint.local_address().to_string()
    }
}

/// Stops and proves that nothing is left running.
pub(crate) async fn stop(drain: &Drain) {
    assert_eq!(drain.finish(PATIENCE).await, 0, "a task outlived its drain");
}

/// A service that says who called: the transport is under test, not the fleet.
pub(crate) struct WhoAmI;

#[tonic::async_trait]
impl Fleet for WhoAmI {
    type AttachStream = BoxStream<EdgeCommand>;

    /// Open to control nodes only, the other way round from the real one, to test the question.
    async fn attach(
        &self,
        request: Request<Streaming<EdgeReport>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        PeerInfo::require_control(&request)?;
        Ok(Response::new(Box::pin(futures::stream::empty())))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<EnrolResponse>, Status> {
        let caller = PeerInfo::of(&request).unwrap().identity.clone();
        let name = caller.map(|peer| peer.to_uri()).unwrap_or_default();
        Ok(Response::new(EnrolResponse {
            edge_id: name.into_bytes(),
            renew_after_unix_ms: request.get_ref().csr_der.len() as i64,
            ..EnrolResponse::default()
        }))
    }
}

pub(crate) fn serve_who_am_i(drain: &Drain, incoming: GrpcIncoming) {
    let stop = drain.token().cancelled_owned();
    drain.spawn(
        Server::builder()
            .add_service(FleetServer::new(WhoAmI))
            .serve_with_incoming_shutdown(incoming, stop),
    );
}

pub(crate) async fn who_am_i(channel: &Channel) -> Result<String, Status> {
    let answer = FleetClient::new(channel.clone())
        .renew(RenewRequest {
            csr_der: vec![0; 3000],
        })
        .await?
        .into_inner();
    assert_eq!(answer.renew_after_unix_ms, 3000);
    Ok(String::from_utf8(answer.edge_id).unwrap())
}
