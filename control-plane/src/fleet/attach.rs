//! `fleet.v1.Fleet`: reports come up, configurations and commands go down.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use medmesh_base::EdgeId;
use medmesh_base::drain::Drain;
use medmesh_link::{PeerInfo, Role};
use medmesh_wire::fleet::edge_command::Command as Down;
use medmesh_wire::fleet::fleet_server::Fleet as FleetRpc;
use medmesh_wire::fleet::{EdgeCommand, EdgeConfig, EdgeReport, EnrolResponse, RenewRequest};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::edge_config::differs;
use super::enrolment::unix_ms;
use super::handle::{Attachment, Fleet};

/// Commands waiting for one edge. They are few and small; an edge that does not take
/// this many is stuck and is let go, to attach anew.
const COMMANDS_WAITING_MAX: usize = 64;

/// Largest report: 16,384 rooms with 16 participants each would be 7 MB; four edges' worth of the plan fits.
pub(super) const REPORT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Longest an edge may take to accept a command.
const COMMAND_PATIENCE: Duration = Duration::from_secs(5);

/// Serve it to peers with a certificate.
#[derive(Clone)]
pub struct FleetService {
    pub(super) fleet: Fleet,
    pub(super) drain: Drain,
}

#[tonic::async_trait]
impl FleetRpc for FleetService {
    type AttachStream = ReceiverStream<Result<EdgeCommand, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<EdgeReport>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let edge = PeerInfo::require_edge(&request)?;
        self.fleet.check_member(edge)?;
        let (out, stream) = mpsc::channel(1);
        let (commands, waiting) = mpsc::channel(COMMANDS_WAITING_MAX);
        let (generation, cancel) = self.fleet.attached(edge, commands);
        let fleet = self.fleet.clone();
        let drain = self.drain.clone();
        let reports = request.into_inner();
        self.drain.spawn(async move {
            let mut conversation = Conversation {
                fleet: fleet.clone(),
                edge,
                out,
                told: None,
            };
            tokio::select! {
                () = cancel.cancelled() => {}
                () = drain.stopping() => {}
                () = conversation.run(reports, waiting) => {}
            }
            fleet.detached(edge, generation);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<EnrolResponse>, Status> {
        let edge = PeerInfo::require_edge(&request)?;
        let result = self.fleet.renew(edge, &request.get_ref().csr_der);
        let word = if result.is_ok() { "ok" } else { "refused" };
        self.fleet.inner.metrics.renewals.with_label_values(&[word]).inc();
        result.map(Response::new)
    }
}

impl Fleet {
    /// An edge that was removed from the fleet has a certificate for some hours still.
    fn check_member(&self, edge: EdgeId) -> Result<(), Status> {
        let state = self.state();
        if state.edges.contains_key(&edge) {
            Ok(())
        } else if state.removed.contains_key(&edge) {
            Err(Status::permission_denied(
                "the edge was removed from the fleet: enrol it anew",
            ))
        } else {
            // Or this node has not applied its enrolment yet; the edge tries again.
            Err(Status::failed_precondition("this node does not know the edge"))
        }
    }

    fn renew(&self, edge: EdgeId, csr_der: &[u8]) -> Result<EnrolResponse, Status> {
        self.check_member(edge)?;
        let signed = self
            .inner
            .ca
            .sign(
                csr_der,
                Role::Edge(edge),
                OffsetDateTime::now_utc(),
                self.inner.certificate_life,
            )
            .map_err(|_| Status::invalid_argument("the certificate request is not valid"))?;
        Ok(EnrolResponse {
            edge_id: edge.to_vec(),
            chain_der: signed.chain.iter().map(|der| der.to_vec()).collect(),
            ca_der: self.inner.ca.certificate().to_vec(),
            renew_after_unix_ms: unix_ms(signed.renew_at),
        })
    }

    fn attached(&self, edge: EdgeId, commands: mpsc::Sender<EdgeCommand>) -> (u64, CancellationToken) {
        static GENERATIONS: AtomicU64 = AtomicU64::new(0);
        let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
        let cancel = CancellationToken::new();
        let attachment = Attachment {
            generation,
            cancel: cancel.clone(),
            commands,
        };
        let mut attachments = self.inner.attachments.lock();
        if let Some(older) = attachments.insert(edge, attachment) {
            older.cancel.cancel();
        }
        self.inner.metrics.attached.set(count(attachments.len()));
        tracing::info!(%edge, "an edge attached");
        (generation, cancel)
    }

    fn detached(&self, edge: EdgeId, generation: u64) {
        let mut attachments = self.inner.attachments.lock();
        if attachments
            .get(&edge)
            .is_some_and(|held| held.generation == generation)
        {
            attachments.remove(&edge);
            tracing::info!(%edge, "an edge detached");
        }
        self.inner.metrics.attached.set(count(attachments.len()));
    }

    /// Sends a command to an edge if it is attached here. A full queue ends the attachment:
    /// the edge attaches anew and starts from a full configuration.
    pub(super) fn command(&self, edge: EdgeId, command: Down) {
        let attachments = self.inner.attachments.lock();
        let Some(attachment) = attachments.get(&edge) else {
            return;
        };
        let command = EdgeCommand {
            command: Some(command),
        };
        if attachment.commands.try_send(command).is_err() {
            attachment.cancel.cancel();
        }
    }
}

fn count(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// One edge's stream pair, for as long as it lasts.
struct Conversation {
    fleet: Fleet,
    edge: EdgeId,
    out: mpsc::Sender<Result<EdgeCommand, Status>>,
    told: Option<EdgeConfig>,
}

impl Conversation {
    async fn run(&mut self, mut reports: Streaming<EdgeReport>, mut waiting: mpsc::Receiver<EdgeCommand>) {
        let mut published = self.fleet.inner.config.subscribe();
        published.mark_changed();
        loop {
            let going_on = tokio::select! {
                report = reports.message() => match report {
                    Ok(Some(report)) => self.hear(report).await,
                    // The edge ended it, or its session did.
                    Ok(None) | Err(_) => false,
                },
                Ok(()) = published.changed() => {
                    let shared = Arc::clone(&published.borrow_and_update());
                    let config = shared.for_edge(self.edge);
                    // Before the ledger has a first TURN secret there is nothing to work with.
                    config.turn_secrets.is_empty() || self.configure(config).await
                }
                Some(command) = waiting.recv() => self.say(Ok(command)).await,
            };
            if !going_on {
                return;
            }
        }
    }

    async fn hear(&self, report: EdgeReport) -> bool {
        let inner = &self.fleet.inner;
        let now_ms = self.fleet.now_ms();
        let result = {
            let mut telemetry = inner.telemetry.write();
            let result = telemetry.handle_report(self.edge, report, now_ms);
            let ways = telemetry.get(self.edge).map(|known| known.ways.as_slice());
            if let (Ok(()), Some(ways @ [_, ..])) = (&result, ways) {
                let mut learned = inner.learned.lock();
                for (prefix, rtt_us) in ways {
                    learned.learn(*prefix, self.edge, *rtt_us, now_ms);
                }
            }
            result
        };
        let word = if result.is_ok() { "ok" } else { "malformed" };
        inner.metrics.reports.with_label_values(&[word]).inc();
        match result {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(edge = %self.edge, %error, "refused a report");
                self.say(Err(Status::invalid_argument(error.to_string()))).await;
                false
            }
        }
    }

    async fn configure(&mut self, config: EdgeConfig) -> bool {
        if self.told.as_ref().is_some_and(|told| !differs(told, &config)) {
            return true;
        }
        self.told = Some(config.clone());
        self.fleet.inner.metrics.configs_sent.inc();
        let command = EdgeCommand {
            command: Some(Down::Config(config)),
        };
        self.say(Ok(command)).await
    }

    async fn say(&self, command: Result<EdgeCommand, Status>) -> bool {
        matches!(
            tokio::time::timeout(COMMAND_PATIENCE, self.out.send(command)).await,
            Ok(Ok(()))
        )
    }
}
