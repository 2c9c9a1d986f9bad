//! Build, spawn, drain: the edge as a whole.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use medmesh_base::EdgeId;
use medmesh_base::drain::Drain;
use medmesh_link::{Endpoint, EndpointConfig, Expect, LinkError, LinkMetrics, Peer};
use medmesh_sfu::{LeaveReason, Limits};
use medmesh_turn::{RelayError, RelayHandle};
use medmesh_wire::fleet::{EdgeDescriptor, EdgeReport};
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::admin::{self, Admin};
use crate::admission::Admission;
use crate::config::Config;
use crate::control::{self, EnrolledEdge, IdentityFiles, ObtainError, Orders, Reporter};
use crate::mesh::{Mesh, PeerTable};
use crate::metrics::{EdgeCollector, Metrics};
use crate::settings::{SettingsError, SettingsStore};
use crate::shard::{Command, Shards, Sockets, Threads};
use crate::signalling::{self, ListenError, Listener, Signalling};
use crate::{files, relay};

/// How long the last words to those still here may take.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(2);
/// How long tasks may take to end.
const TASKS_PATIENCE: Duration = Duration::from_secs(8);
/// How often a drain looks whether everybody has gone.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Notices of all shards waiting for the mesh task.
const NOTICES_MAX: usize = 4096;

/// Why an edge does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("cannot use the data directory {path}")]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The system lets this process hold too few open files.
    #[error(
        "{limit} open files are too few for an edge, {least} are the least: \
         raise the limit (LimitNOFILE=, ulimit -n)"
    )]
    Files {
        /// How many it may hold.
        limit: u64,
        /// How many it needs.
        least: u64,
    },
    /// The media sockets or shard threads.
    #[error("cannot open the media sockets")]
    Media(#[source] std::io::Error),
    /// The signalling listener.
    #[error("signalling")]
    Signalling(#[from] ListenError),
    /// The admin listener.
    #[error("cannot listen for the operator on {address}")]
    Admin {
        /// Which address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The stored configuration.
    #[error("stored configuration")]
    Settings(#[from] SettingsError),
    /// The identity.
    #[error("identity")]
    Identity(#[from] ObtainError),
    /// The QUIC endpoint.
    #[error("link")]
    Link(#[from] LinkError),
    /// The embedded relay.
    #[error("relay")]
    Relay(#[from] RelayError),
    /// Two parts register the same metric.
    #[error("metrics")]
    Metrics(#[from] prometheus::Error),
}

/// Where a running edge is reached, with the ports the system chose.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Base URL of signalling.
    pub signalling_url: String,
    /// Base URL of the admin listener.
    pub admin_url: String,
    /// QUIC.
    pub link: SocketAddr,
    /// Media, one per shard.
    pub media: Vec<SocketAddr>,
    /// The relay, where it is enabled.
    pub turn: Option<SocketAddr>,
}

/// A running edge.
pub struct Edge {
    id: EdgeId,
    addresses: Addresses,
    drain: Drain,
    shards: Shards,
    threads: Threads,
    relay: Option<RelayHandle>,
    draining: watch::Sender<bool>,
    drain_asked: watch::Receiver<bool>,
    migrate_patience: Duration,
}

/// What is bound before the edge knows who it is.
struct Bound {
    sockets: Sockets,
    listener: Listener,
    public_url: String,
    settings: Arc<SettingsStore>,
    relay: Option<RelayHandle>,
    descriptor: EdgeDescriptor,
}

/// The switches of a drain: asked for by the operator, under way.
struct Switches {
    ready: watch::Sender<bool>,
    draining: watch::Sender<bool>,
    asked: watch::Receiver<bool>,
}

impl Edge {
    /// Builds and spawns everything. Where the edge has no identity yet, this waits for the
    /// control plane to give one; health answers meanwhile.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let drain = Drain::new();
        match Self::build(config, &drain).await {
            Ok(edge) => Ok(edge),
            Err(error) => {
                drain.finish(TASKS_PATIENCE).await;
                Err(error)
            }
        }
    }

    async fn build(config: Config, drain: &Drain) -> Result<Self, StartError> {
        files::check_open_files()?;
        let registry = Registry::new();
        let data_dir = config.edge.data_dir.clone();
        files::create_private_dir(&data_dir).map_err(|source| StartError::DataDir {
            path: data_dir.clone(),
            source,
        })?;
        let (switches, admin_address) = serve_admin(&config, &registry, drain).await?;
        let bound = bind(&config, &registry).await?;
        let enrolled = control::obtain(
            &data_dir,
            config.control.join_token_file.as_deref(),
            &config.control.nodes,
            &bound.descriptor,
        )
        .await?;
        Self::spawn(
            &config,
            &registry,
            drain,
            bound,
            &enrolled,
            switches,
            admin_address,
        )
    }

    fn spawn(
        config: &Config,
        registry: &Registry,
        drain: &Drain,
        bound: Bound,
        enrolled: &EnrolledEdge,
        switches: Switches,
        admin_address: SocketAddr,
    ) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::register(registry)?);
        let id = enrolled.edge;
        let endpoint_config = EndpointConfig {
            listen: config.link.listen,
            trust: enrolled.trust.clone(),
            identity: enrolled.identity.clone(),
            enrolment: false,
        };
        let (endpoint, incoming) = Endpoint::bind(endpoint_config, LinkMetrics::register(registry)?, drain)?;
        let mut descriptor = bound.descriptor;
        if config.link.advertise.is_none() {
            descriptor.link_address = endpoint.local_address().to_string();
        }
        let (notices, notices_in) = mpsc::channel(NOTICES_MAX);
        let limits = limits(config);
        let (shards, threads) =
            Shards::spawn(id, &limits, bound.sockets, &notices).map_err(StartError::Media)?;
        let peers = PeerTable::default();
        registry.register(Box::new(EdgeCollector::new(shards.clone(), Arc::clone(&peers))?))?;
        let mesh = Mesh::new(
            id,
            endpoint.clone(),
            shards.clone(),
            drain.clone(),
            Arc::clone(&peers),
        );
        drain.spawn(mesh.run(incoming.mesh, notices_in, bound.settings.subscribe()));

        let orders = Orders {
            settings: Arc::clone(&bound.settings),
            shards: shards.clone(),
            metrics: Arc::clone(&metrics),
        };
        metrics.config_version(bound.settings.version());
        let reporter = Reporter {
            descriptor,
            shards: shards.clone(),
            peers,
            settings: Arc::clone(&bound.settings),
            relay: bound.relay.clone(),
        };
        spawn_control(config, drain, &endpoint, enrolled, reporter, &orders);

        let signalling = Arc::new(Signalling {
            admission: Admission::new(id, bound.settings.subscribe()),
            shards: shards.clone(),
            metrics,
            settings: bound.settings.subscribe(),
            public_url: bound.public_url.clone(),
            draining: switches.draining.subscribe(),
            rates: Signalling::rates(&config.signalling),
        });
        let router = signalling::router(&signalling, &config.signalling);
        drain.spawn(bound.listener.serve(router, drain.clone()));
        if let Some(handle) = bound.relay.clone() {
            drain.spawn(relay::follow(handle, bound.settings.subscribe(), drain.clone()));
        }
        drain.spawn(follow_settings(
            bound.settings.subscribe(),
            switches.draining.subscribe(),
            switches.ready,
            shards.clone(),
            drain.clone(),
        ));
        let addresses = Addresses {
            signalling_url: bound.public_url,
            admin_url: format!("http://{admin_address}"),
            link: endpoint.local_address(),
            media: shards.addresses(),
            turn: bound
                .relay
                .as_ref()
                .and_then(|relay| relay.listeners().first().copied()),
        };
        tracing::info!(edge = %id, ?addresses, "edge is up");
        Ok(Self {
            id,
            addresses,
            drain: drain.clone(),
            shards,
            threads,
            relay: bound.relay,
            draining: switches.draining,
            drain_asked: switches.asked,
            migrate_patience: Duration::from_secs(config.edge.drain_seconds.into()),
        })
    }

    /// Which edge this is.
    #[must_use]
    pub fn id(&self) -> EdgeId {
        self.id
    }

    /// Where it is reached.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Resolves when the operator asks for a drain, or when a shard has died, which only a
    /// restart of the process repairs.
    pub async fn stop_wanted(&mut self) {
        loop {
            if self.threads.any_finished() {
                tracing::error!("a shard has ended by itself");
                return;
            }
            tokio::select! {
                asked = self.drain_asked.wait_for(|asked| *asked) => {
                    if asked.is_ok() {
                        return;
                    }
                    std::future::pending::<()>().await;
                }
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    }

    /// Sends everybody to their next edge, says goodbye to those who stay, and stops.
    /// Within the configured patience and a few seconds, whatever happens. True when clean.
    pub async fn drain(self) -> bool {
        tracing::info!("draining");
        self.draining.send_replace(true);
        if let Some(relay) = &self.relay {
            relay.drain();
        }
        let migrate = || Command::Migrate { reason: "drain" };
        self.shards.send_all(migrate).await;
        self.empty_within(self.migrate_patience).await;
        let farewell = || Command::EndAll {
            reason: LeaveReason::Drained,
        };
        self.shards.send_all(farewell).await;
        self.empty_within(FAREWELL_PATIENCE).await;
        let left_over = self.drain.finish(TASKS_PATIENCE).await;
        if left_over > 0 {
            tracing::warn!(left_over, "tasks did not end in time");
        }
        if let Some(relay) = self.relay {
            relay.stop();
        }
        self.shards.stop();
        drop(self.shards);
        let threads = self.threads;
        // Joining blocks, and a shard ends within one turn of its loop.
        let clean = tokio::task::spawn_blocking(move || threads.join()).await;
        left_over == 0 && clean.unwrap_or(false)
    }

    async fn empty_within(&self, patience: Duration) {
        let gone = async {
            while self.shards.participants().await > 0 {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        };
        if tokio::time::timeout(patience, gone).await.is_err() {
            tracing::info!("some participants are still here");
        }
    }
}

async fn serve_admin(
    config: &Config,
    registry: &Registry,
    drain: &Drain,
) -> Result<(Switches, SocketAddr), StartError> {
    let fault = |source| StartError::Admin {
        address: config.admin.listen,
        source,
    };
    let listener = TcpListener::bind(config.admin.listen).await.map_err(fault)?;
    let address = listener.local_addr().map_err(fault)?;
    let (ready, ready_in) = watch::channel(false);
    let (asked, asked_in) = watch::channel(false);
    let (draining, _) = watch::channel(false);
    let admin = Admin {
        registry: registry.clone(),
        ready: ready_in,
        drain_asked: Arc::new(asked),
    };
    drain.spawn(admin::serve(listener, admin, drain.clone()));
    let switches = Switches {
        ready,
        draining,
        asked: asked_in,
    };
    Ok((switches, address))
}

async fn bind(config: &Config, registry: &Registry) -> Result<Bound, StartError> {
    let settings = Arc::new(SettingsStore::open(&config.edge.data_dir)?);
    let sockets = Sockets::bind(&config.media).map_err(StartError::Media)?;
    let listener = Listener::bind(&config.signalling).await?;
    let public_url = config
        .signalling
        .public_url
        .as_deref()
        .map_or_else(|| listener.url(), |url| url.trim_end_matches('/').to_owned());
    let relay = relay::spawn(config, &sockets.addresses, &settings.subscribe(), registry)?;
    let turn_urls = relay.as_ref().map(|relay| relay::urls(config, relay));
    let descriptor = EdgeDescriptor {
        name: config.edge.name.clone(),
        region: config.edge.region.to_string(),
        signalling_url: public_url.clone(),
        link_address: config
            .link
            .advertise
            .clone()
            .unwrap_or_else(|| config.link.listen.to_string()),
        turn_urls: turn_urls.unwrap_or_default(),
        capacity_participants: config.edge.capacity_participants,
        version: env!("CARGO_PKG_VERSION").into(),
        media: sockets.ranges(),
    };
    Ok(Bound {
        sockets,
        listener,
        public_url,
        settings,
        relay,
        descriptor,
    })
}

fn limits(config: &Config) -> Limits {
    let mut limits = Limits::default();
    if let Some(participants) = config.media.participants_per_room_max {
        limits.participants_per_room_max = participants;
    }
    limits
}

fn spawn_control(
    config: &Config,
    drain: &Drain,
    endpoint: &Endpoint,
    enrolled: &EnrolledEdge,
    reporter: Reporter,
    orders: &Orders,
) {
    let (reports, reports_in) = watch::channel(Arc::new(EdgeReport {
        edge: Some(reporter.descriptor.clone()),
        ..EdgeReport::default()
    }));
    drain.spawn(reporter.run(reports, drain.clone()));
    let peers: Vec<Peer> = enrolled
        .nodes
        .iter()
        .map(|address| Peer::new(endpoint, address.as_str(), Expect::AnyControl))
        .collect();
    let (renewed, renewed_in) = watch::channel(0);
    for (address, peer) in enrolled.nodes.iter().zip(&peers) {
        drain.spawn(control::attach(
            (address.clone(), peer.clone()),
            reports_in.clone(),
            renewed_in.clone(),
            orders.clone(),
            drain.clone(),
        ));
    }
    let file = IdentityFiles::under(&config.edge.data_dir).identity;
    drain.spawn(control::keep_fresh(
        endpoint.clone(),
        enrolled.identity.clone(),
        file,
        peers,
        renewed,
        Arc::clone(&orders.metrics),
        drain.clone(),
    ));
}

/// Readiness, and the control plane's own order to move everybody away.
async fn follow_settings(
    mut settings: watch::Receiver<Arc<crate::settings::Settings>>,
    mut draining: watch::Receiver<bool>,
    ready: watch::Sender<bool>,
    shards: Shards,
    drain: Drain,
) {
    let mut was_draining = false;
    loop {
        let now = settings.borrow_and_update().clone();
        ready.send_replace(!now.keys.is_empty() && !now.draining && !*draining.borrow_and_update());
        if now.draining && !was_draining {
            shards.send_all(|| Command::Migrate { reason: "drain" }).await;
        }
        was_draining = now.draining;
        tokio::select! {
            () = drain.stopping() => return,
            changed = settings.changed() => if changed.is_err() { return },
            changed = draining.changed() => if changed.is_err() { return },
        }
    }
}
