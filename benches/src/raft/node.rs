//! One control node that does nothing but agree: a process of the `raft` bench.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use medmesh_base::ControlId;
use medmesh_base::drain::{Drain, terminate_signal};
use medmesh_consensus::{Config, Consensus, Placer};
use medmesh_link::{ClusterCa, Endpoint, EndpointConfig, LEAF_LIFE, LinkMetrics, Role, Trust};
use medmesh_wire::consensus::{ExplainRequest, ExplainResponse, PlaceRequest, PlaceResponse};
use tonic::Status;
use tonic::transport::Server;

/// The cluster's name in certificates.
pub(crate) const CLUSTER: &str = "bench";

/// Which node.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Its id
    #[arg(long)]
    pub id: u64,
    /// Directory of ca.pem, ca.key and the nodes' data
    #[arg(long)]
    pub directory: PathBuf,
    /// ID=ADDRESS of every node, itself included
    #[arg(long, required = true)]
    pub peer: Vec<String>,
}

struct NoPlacer;

#[tonic::async_trait]
impl Placer for NoPlacer {
    async fn place(&self, _: PlaceRequest) -> Result<PlaceResponse, Status> {
        Err(Status::unimplemented("this node only agrees"))
    }

    async fn explain(&self, _: ExplainRequest) -> Result<ExplainResponse, Status> {
        Err(Status::unimplemented("this node only agrees"))
    }
}

/// Loads the CA that the bench made.
pub(crate) fn load_ca(directory: &std::path::Path) -> anyhow::Result<ClusterCa> {
    Ok(ClusterCa::load(
        CLUSTER.parse()?,
        &directory.join("ca.pem"),
        &directory.join("ca.key"),
    )?)
}

/// An endpoint of control node `id`.
pub(crate) fn endpoint(
    ca: &ClusterCa,
    id: u64,
    listen: SocketAddr,
    registry: &prometheus::Registry,
    drain: &Drain,
) -> anyhow::Result<(Endpoint, medmesh_link::Incoming)> {
    let identity = ca.issue(
        Role::Control(ControlId(id)),
        time::OffsetDateTime::now_utc(),
        LEAF_LIFE,
    )?;
    let trust = Trust::new(CLUSTER.parse()?, ca.certificate())?;
    let config = EndpointConfig {
        listen,
        trust,
        identity,
        enrolment: false,
    };
    Ok(Endpoint::bind(config, LinkMetrics::register(registry)?, drain)?)
}

/// Runs until terminated.
///
/// # Errors
/// When the node cannot start.
pub fn run(options: &Options) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(options))
}

async fn serve(options: &Options) -> anyhow::Result<()> {
    medmesh_base::telemetry::init("warn", medmesh_base::telemetry::LogFormat::Text);
    let mut voters = BTreeMap::new();
    for peer in &options.peer {
        let (id, address) = peer
            .split_once('=')
            .ok_or_else(|| anyhow::anyhow!("--peer ID=ADDRESS"))?;
        voters.insert(id.parse::<ControlId>()?, address.to_owned());
    }
    let own = ControlId(options.id);
    let listen = voters
        .get(&own)
        .ok_or_else(|| anyhow::anyhow!("no --peer for itself"))?
        .parse()?;
    let (drain, registry) = (Drain::new(), prometheus::Registry::new());
    let (endpoint, incoming) = endpoint(
        &load_ca(&options.directory)?,
        options.id,
        listen,
        &registry,
        &drain,
    )?;
    let config = Config::new(own, CLUSTER, options.directory.join(format!("node-{own}")));
    let consensus = Consensus::start(config, endpoint, &registry).await?;
    let server = Server::builder()
        .add_service(consensus.raft_service())
        .add_service(consensus.leader_service(NoPlacer))
        .serve_with_incoming_shutdown(incoming.grpc, drain.token().cancelled_owned());
    drain.spawn(server);
    consensus.bootstrap(&voters).await?;
    terminate_signal().await?;
    Ok(())
}
