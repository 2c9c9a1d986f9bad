//! What runs: the services on the link, and the tasks that follow the ledger.

use medmesh_base::drain::Drain;
use medmesh_link::Incoming;
use medmesh_wire::fleet::enrolment_server::EnrolmentServer;
use medmesh_wire::fleet::fleet_server::FleetServer;
use tonic::transport::Server;

use super::attach::{FleetService, REPORT_BYTES_MAX};
use super::enrolment::EnrolmentService;
use super::handle::Fleet;

/// Serves the link's streams and starts the fleet's tasks; all of them end with `drain`.
///
/// Peers with a certificate reach `Raft`, `Leader` and `Fleet`, each of which looks at the
/// caller's role; peers without one reach `Enrolment` and nothing else.
pub fn spawn(fleet: &Fleet, incoming: Incoming, drain: &Drain) {
    // Control nodes have no business with mesh streams: dropping the receiver refuses them.
    let Incoming { grpc, enrol, mesh: _ } = incoming;
    let consensus = &fleet.inner.consensus;
    let service = FleetService {
        fleet: fleet.clone(),
        drain: drain.clone(),
    };
    let machines = Server::builder()
        .add_service(consensus.raft_service())
        .add_service(consensus.leader_service(fleet.clone()))
        .add_service(FleetServer::new(service).max_decoding_message_size(REPORT_BYTES_MAX))
        .serve_with_incoming_shutdown(grpc, drain.token().cancelled_owned());
    let strangers = Server::builder()
        .add_service(EnrolmentServer::new(EnrolmentService { fleet: fleet.clone() }))
        .serve_with_incoming_shutdown(enrol, drain.token().cancelled_owned());
    drain.spawn(async move {
        if let Err(error) = machines.await {
            tracing::error!(%error, "the link's services have stopped");
        }
    });
    drain.spawn(async move {
        if let Err(error) = strangers.await {
            tracing::error!(%error, "enrolment has stopped");
        }
    });
    let (publisher, changes) = (fleet.clone(), consensus.changes());
    let stop = drain.clone();
    drain.spawn(async move { publisher.publish(changes, stop).await });
    drain.spawn(fleet.inner.clock.clone().keep(drain.clone()));
    let (steward, stop) = (fleet.clone(), drain.clone());
    drain.spawn(async move { steward.steward(stop).await });
}
