//! From configuration to a running part in the cluster: certificate, link, Raft, fleet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use medmesh_base::ControlId;
use medmesh_base::drain::Drain;
use medmesh_consensus::Consensus;
use medmesh_ledger::{ControlDescriptor, LEDGER_VERSION};
use medmesh_link::{
    ClusterCa, ClusterName, Endpoint, EndpointConfig, IdentityError, LinkError, LinkMetrics, Role, Trust,
};
use medmesh_vault::{ClusterSecret, TokenSigner};
use prometheus::Registry;
use time::OffsetDateTime;

use super::clock::Clock;
use super::handle::{Fleet, Parts};
use super::metrics::FleetMetrics;
use super::serve::spawn;
use crate::config::Config;

/// Directory of the Raft log and snapshots, in the data directory.
const RAFT_DIR: &str = "raft";

/// Pause before a renewal that failed is tried again; a third of a day is left then.
const RENEW_PAUSE: Duration = Duration::from_secs(60);

/// This node cannot take its part in the cluster.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The CA or the certificate made from it cannot be used.
    #[error("cluster.ca_cert_file and cluster.ca_key_file")]
    Identity(#[from] IdentityError),
    /// The link's socket cannot be opened.
    #[error("link.listen")]
    Link(#[from] LinkError),
    /// The Raft log cannot be used.
    #[error("this node's log")]
    Consensus(#[from] medmesh_consensus::StartError),
    /// Metrics are registered twice.
    #[error("metrics")]
    Metrics(#[from] prometheus::Error),
}

/// Takes this node's part: binds the link, opens the log, serves, founds the group if there is
/// none yet. Everything ends with `drain`; call [`Fleet::shutdown`] before it.
///
/// # Errors
/// When a file or address of the configuration cannot be used.
pub async fn start(
    config: &Config,
    secret: ClusterSecret,
    signer: TokenSigner,
    registry: &Registry,
    drain: &Drain,
) -> Result<Fleet, StartError> {
    let cluster: ClusterName = config.node.cluster.parse()?;
    let ca = Arc::new(ClusterCa::load(
        cluster.clone(),
        &config.cluster.ca_cert_file,
        &config.cluster.ca_key_file,
    )?);
    let role = Role::Control(config.node.id);
    let life = config.cluster.certificate_life();
    let identity = ca.issue(role, OffsetDateTime::now_utc(), life)?;
    let renew_at = identity.renew_at();
    let endpoint_config = EndpointConfig {
        listen: config.link.listen,
        trust: Trust::new(cluster, ca.certificate())?,
        identity,
        enrolment: true,
    };
    let (endpoint, incoming) = Endpoint::bind(endpoint_config, LinkMetrics::register(registry)?, drain)?;
    let raft_dir = config.node.data_dir.join(RAFT_DIR);
    let raft = medmesh_consensus::Config::new(config.node.id, config.node.cluster.clone(), raft_dir);
    let consensus = Consensus::start(raft, endpoint.clone(), registry).await?;
    let fleet = Fleet::new(Parts {
        consensus: consensus.clone(),
        endpoint: endpoint.clone(),
        ca: ca.clone(),
        certificate_life: life,
        secret,
        signer,
        descriptor: ControlDescriptor {
            link_address: config.link.advertise.clone(),
            http_url: config.http.public_url.clone(),
            ledger_version: LEDGER_VERSION,
        },
        origins: config.origins(),
        metrics: FleetMetrics::register(registry)?,
        clock: Clock::awake(),
    });
    spawn(&fleet, incoming, drain);
    let voters: BTreeMap<ControlId, String> = config
        .control_nodes()
        .into_iter()
        .map(|peer| (peer.id, peer.link))
        .collect();
    // Who joins waits to be added as a learner.
    if !config.cluster.join && consensus.bootstrap(&voters).await? {
        tracing::info!("founded the control plane");
    }
    let stop = drain.clone();
    drain.spawn(async move {
        tokio::select! {
            () = stop.stopping() => {}
            () = renew(&ca, role, life, renew_at, &endpoint) => {}
        }
    });
    Ok(fleet)
}

/// Makes the next certificate when two thirds of the present one's life are over.
async fn renew(
    ca: &ClusterCa,
    role: Role,
    life: Duration,
    mut renew_at: OffsetDateTime,
    endpoint: &Endpoint,
) {
    loop {
        let wait = (renew_at - OffsetDateTime::now_utc()).max(time::Duration::ZERO);
        tokio::time::sleep(wait.unsigned_abs()).await;
        let renewed = ca
            .issue(role, OffsetDateTime::now_utc(), life)
            .map_err(LinkError::from)
            .and_then(|identity| endpoint.swap_identity(&identity).map(|()| identity));
        match renewed {
            Ok(identity) => {
                tracing::info!("renewed this node's certificate");
                renew_at = identity.renew_at();
            }
            Err(error) => {
                tracing::error!(%error, "cannot renew this node's certificate");
                renew_at = OffsetDateTime::now_utc() + RENEW_PAUSE;
            }
        }
    }
}

impl Fleet {
    /// Resolves when this node's part in Raft has stopped by itself, with the reason: the
    /// process should end, since what it knows no longer moves.
    pub async fn failed(&self) -> String {
        self.inner.consensus.failed().await
    }

    /// Whether this node has found its way into the cluster: the ledger it holds names it.
    #[must_use]
    pub fn has_joined(&self) -> bool {
        self.state().controls.contains_key(&self.node())
    }

    /// Whether the control plane can decide anything at this moment, as far as this node knows.
    #[must_use]
    pub fn has_leader(&self) -> bool {
        self.inner.consensus.leader().is_some()
    }

    /// Hands leadership over, stops taking part in Raft, and waits until all is on disk. Call it
    /// before the drain ends the link.
    pub async fn shutdown(&self) {
        if !self.inner.consensus.shutdown().await {
            tracing::warn!("the log did not come to rest in time");
        }
    }
}
