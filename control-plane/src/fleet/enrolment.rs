//! `fleet.v1.Enrolment`: the one service a machine without a certificate reaches.

use std::time::{Duration, Instant};

use medmesh_base::EdgeId;
use medmesh_consensus::ProposeError;
use medmesh_ledger::{Command, EdgeStatus, Refused, State, TokenHash};
use medmesh_link::{JoinToken, Role};
use medmesh_wire::fleet::enrolment_server::Enrolment;
use medmesh_wire::fleet::{EnrolRequest, EnrolResponse};
use time::OffsetDateTime;
use tonic::{Request, Response, Status};

use super::handle::{Fleet, now_unix_ms};
use super::telemetry::descriptor_from_wire;

/// How long a command whose outcome is unclear is proposed again: an election, and a slow disk.
const DECIDE_TIMEOUT: Duration = Duration::from_secs(4);
/// Between tries.
const DECIDE_PAUSE: Duration = Duration::from_millis(100);

/// Serve it on the enrolment protocol's streams and nowhere else.
#[derive(Clone)]
pub struct EnrolmentService {
    pub(super) fleet: Fleet,
}

#[tonic::async_trait]
impl Enrolment for EnrolmentService {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        let result = self.fleet.enrol(request.into_inner()).await;
        let word = match &result {
            Ok(_) => "ok",
            Err(status) if status.code() == tonic::Code::Unavailable => "unavailable",
            Err(_) => "refused",
        };
        self.fleet
            .inner
            .metrics
            .enrolments
            .with_label_values(&[word])
            .inc();
        if let Err(status) = &result {
            tracing::info!(reason = status.message(), "refused an enrolment");
        }
        result.map(Response::new)
    }
}

impl Fleet {
    async fn enrol(&self, request: EnrolRequest) -> Result<EnrolResponse, Status> {
        let refused = |why: &'static str| Status::permission_denied(why);
        let token: JoinToken = request
            .join_token
            .parse()
            .map_err(|_| Status::invalid_argument("not a join token"))?;
        let ca = &self.inner.ca;
        if token.cluster != *ca.cluster() || token.ca != ca.fingerprint() {
            return Err(refused("the token is for another cluster"));
        }
        let descriptor = request
            .edge
            .and_then(descriptor_from_wire)
            .ok_or_else(|| Status::invalid_argument("the edge's descriptor is not valid"))?;
        let hash = token.secret_hash();
        self.check_token(&hash).await?;

        // The request is checked before the token is spent on it.
        let edge = self
            .edge_returning(&descriptor.name)
            .unwrap_or_else(EdgeId::generate);
        let now = OffsetDateTime::now_utc();
        let signed = ca
            .sign(
                &request.csr_der,
                Role::Edge(edge),
                now,
                self.inner.certificate_life,
            )
            .map_err(|_| Status::invalid_argument("the certificate request is not valid"))?;
        let command = Command::EdgeEnrol {
            token: hash,
            edge,
            descriptor,
            now: now_unix_ms(),
        };
        let decided = self.propose_surely(command).await;
        let decided = decided.map_err(|error| Status::unavailable(error.to_string()))?;
        decided.map_err(|refusal| match refusal {
            Refused::TokenUnknown | Refused::TokenExpired | Refused::TokenUsed => {
                refused("the token is spent or unknown")
            }
            Refused::LimitReached(_) => Status::resource_exhausted("the fleet is full"),
            other => Status::invalid_argument(other.to_string()),
        })?;
        tracing::info!(%edge, "enrolled an edge");
        Ok(EnrolResponse {
            edge_id: edge.to_vec(),
            chain_der: signed.chain.iter().map(|der| der.to_vec()).collect(),
            ca_der: ca.certificate().to_vec(),
            renew_after_unix_ms: unix_ms(signed.renew_at),
        })
    }

    /// The edge of that name, if it is down: it was away longer than its certificate lives, or
    /// its disk is new, and an operator has given it a token. A live edge keeps its name to itself.
    fn edge_returning(&self, name: &str) -> Option<EdgeId> {
        let state = self.state();
        let (edge, known) = state.edge_by_name(name)?;
        (known.status == EdgeStatus::Down).then_some(edge)
    }

    /// Only tokens that may work lead to a proposal, so that a stranger cannot fill the log.
    async fn check_token(&self, hash: &TokenHash) -> Result<(), Status> {
        let usable = |state: &State| {
            let now = now_unix_ms();
            state
                .join_token(hash)
                .is_some_and(|token| token.used_by.is_none() && token.expires_at > now)
        };
        if usable(&self.state()) {
            return Ok(());
        }
        // The token may have been made a moment ago on another node.
        let fresh = self
            .inner
            .consensus
            .read_linearizable()
            .await
            .map_err(|_| Status::unavailable("no leader"))?;
        if usable(&fresh) {
            Ok(())
        } else {
            Err(Status::permission_denied("the token is spent or unknown"))
        }
    }

    /// Proposes until there is an answer. For commands that change nothing the second time.
    pub(super) async fn propose_surely(
        &self,
        command: Command,
    ) -> Result<Result<medmesh_ledger::Response, Refused>, ProposeError> {
        let deadline = Instant::now() + DECIDE_TIMEOUT;
        loop {
            match self.inner.consensus.propose(command.clone()).await {
                Ok(answer) => return Ok(answer.response.accepted()),
                Err(ProposeError::NoLeader { .. } | ProposeError::Ambiguous { .. })
                    if Instant::now() < deadline =>
                {
                    tokio::time::sleep(DECIDE_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Unix milliseconds of an instant.
pub(super) fn unix_ms(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}
