//! The process: build → spawn → drain.
//!
//! [`App::build`] loads keys and binds every socket, so that a wrong address or a
//! missing file ends the start and not a request. [`App::spawn`] starts the parts,
//! none of which needs another to be there: PostgreSQL, Redis and the quorum may
//! come later, and `/readyz` says what is awaited. [`Running::stop`] takes the
//! listeners down first, then what they lean on.

mod admin;
mod listeners;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use medmesh_base::drain::Drain;
use medmesh_store::Keyring;
use medmesh_vault::{ClusterSecret, TokenSigner, VaultError};
use object_store::ObjectStore;
use prometheus::{IntGauge, Registry};

use crate::audit::{self, AuditMetrics, Cosigner, CosignerError, LogKeys, Logs, Publisher, Shelf};
use crate::config::Config;
use crate::database::Database;
use crate::desk::{self, Desk};
use crate::ephemeral::{Ephemeral, News};
use crate::erasures::{self, Register};
use crate::fleet::operator::OperatorToken;
use crate::fleet::{self, Fleet};
use crate::http::server::CertificateError;
use crate::http::{Api, Challenges, Limits, Metrics, Parts, Passwords, Throttle};
use crate::jobs::{self, Handlers, JobMetrics};
use crate::keys;
use crate::live::{self, Live};
use crate::mail::{Mail, MailError};
use crate::media::Media;
use crate::objects::{self, Copies, LockError, PassingError, Sharing};
use crate::oidc::{Flows, Oidc};
use crate::outbox::{self, OutboxMetrics, Rabbit};
use crate::presence;
use crate::record_export::{self, Copyist, TokenKeys};
use crate::relays::{Relays, RelaysError};

use listeners::Listeners;

/// How long open requests may take when the process stops; connections get 10 s themselves.
const FRONT_PATIENCE: Duration = Duration::from_secs(12);
/// How long the rest may take after that.
const BACK_PATIENCE: Duration = Duration::from_secs(5);
/// Directory of objects in the data directory, where no other is configured.
const OBJECTS_DIR: &str = "objects";
/// File of this node's token-signing key, in its data directory.
const SIGNING_KEY_FILE: &str = "token-signing.key";

/// The process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({key})")]
    Listen {
        /// The configuration's key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The data directory cannot be made.
    #[error("cannot use node.data_dir {path}")]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Mail cannot be set up.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// Nothing outside can be asked.
    #[error("outside providers cannot be asked")]
    Oidc(#[from] reqwest::Error),
    /// A key is missing or unusable.
    #[error(transparent)]
    Keys(#[from] VaultError),
    /// The operator's token cannot be read, or could be guessed.
    #[error("operator.token_file {0} does not hold a token of 32 characters or more")]
    OperatorToken(PathBuf),
    /// This node cannot take its part in the cluster.
    #[error(transparent)]
    Fleet(#[from] fleet::StartError),
    /// The HTTPS certificate is unusable.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Object storage cannot be used as it is configured.
    #[error(transparent)]
    Objects(#[from] objects::OpenError),
    /// The outside witness cannot be asked.
    #[error(transparent)]
    Cosigner(#[from] CosignerError),
    /// A bucket does not lock what the configuration says it locks.
    #[error("objects.s3.{key}")]
    Unlocked {
        /// The configuration's key.
        key: &'static str,
        /// Why.
        #[source]
        source: LockError,
    },
    /// The bucket with the copies of records keeps them for longer than they may lie there.
    #[error("objects.s3.copies_bucket")]
    Kept(#[from] PassingError),
    /// A relay that stands by itself cannot be used as it is configured.
    #[error(transparent)]
    Relays(#[from] RelaysError),
    /// Redis cannot be used as it is configured.
    #[error("redis.url or redis.ca_file is not usable")]
    Redis(#[from] redis::RedisError),
    /// The authority of Redis' certificate cannot be read.
    #[error("cannot read redis.ca_file {path}")]
    RedisAuthority {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A control node, built and not yet running.
pub struct App {
    config: Config,
    registry: Registry,
    listeners: Listeners,
    database: Database,
    keyring: Keyring,
    ephemeral: Ephemeral,
    api: Api,
    fleet: Fleet,
    relays: Relays,
    logs: Logs,
    sharing: Sharing,
    register: Register,
    copies: Arc<dyn ObjectStore>,
    signer: TokenSigner,
    operator: Option<OperatorToken>,
    mounted: Router,
    front: Drain,
    back: Drain,
}

/// A running control node.
pub struct Running {
    front: Drain,
    back: Drain,
    fleet: Fleet,
    sharing: Sharing,
    database: Database,
    addresses: Addresses,
}

/// Where a node listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Plain HTTP.
    pub http: SocketAddr,
    /// HTTPS over TCP and QUIC.
    pub https: Option<SocketAddr>,
    /// Metrics and health.
    pub admin: SocketAddr,
}

impl App {
    /// Loads keys and binds sockets.
    ///
    /// # Errors
    /// When a file or an address of the configuration cannot be used.
    pub async fn build(config: Config) -> Result<Self, StartError> {
        let data_dir = &config.node.data_dir;
        std::fs::create_dir_all(data_dir).map_err(|source| StartError::DataDir {
            path: data_dir.clone(),
            source,
        })?;
        let secret = ClusterSecret::load_or_create(&config.cluster.secret_file)?;
        let signer = TokenSigner::load_or_create(&data_dir.join(SIGNING_KEY_FILE))?;
        let keyring = keys::open(&config.vault)?;
        let log_keys = LogKeys::new(config.node.cluster.clone(), secret.clone());
        let opened = objects::open(&config.objects, &data_dir.join(OBJECTS_DIR))?;
        let (sharing, copies) = (opened.sharing.clone(), opened.copies.clone());
        let shelf = Shelf::from(opened.audit);
        let register = Register::new(opened.erasures, copies.store.clone(), secret.clone());
        check_buckets(&shelf, &register, &copies).await?;
        let cosigner = config.audit.witness.as_ref().map(Cosigner::new).transpose()?;
        let ephemeral = ephemeral(&config)?;
        let registry = Registry::new();
        sharing.register(&registry);
        let metrics = Metrics::new(&registry);
        keys::watch_kms(&keyring, &registry);
        let front = Drain::new();
        let back = Drain::new();
        let operator = operator_token(&config)?;
        let digest_key = secret.digest_key().as_bytes().to_vec();
        let relays = Relays::open(&config.turn, config.node.id, &registry)?;
        let media = Media::new(signer.clone(), secret.clone(), relays.clone());
        let database = Database::default();
        let token_keys = TokenKeys::default();
        let copying = signer.clone();
        let logs = Logs::new(log_keys, shelf, cosigner);
        say_who_counts(config.shares_limits(), &registry);
        let api = Api::new(Parts {
            database: database.clone(),
            live: Live::new(News::default()),
            media: media.clone(),
            passwords: Passwords::new(metrics.hash_waiting()),
            throttle: Throttle::new(ephemeral.counters(), &digest_key),
            limits: Limits::new(&config.limits, ephemeral.buckets(), &digest_key, &registry),
            metrics,
            drain: front.clone(),
            origins: config.origins(),
            trust_forwarded_for: config.http.trust_forwarded_for,
            mail: Mail::new(&config)?,
            rp_id: config.host(),
            challenges: Challenges::new(&digest_key),
            oidc: Oidc::new(&config.oidc)?,
            flows: Flows::new(&digest_key),
            digest_key,
            logs: logs.clone(),
            objects: copies.store.clone(),
            token_keys: token_keys.clone(),
        });
        let listeners = Listeners::bind(&config).await?;
        // Last, because it starts to take part at once.
        let fleet = fleet::start(&config, secret, signer, &registry, &back).await?;
        media.adopt(Arc::new(fleet.clone()));
        token_keys.adopt(fleet.clone());
        logs.adopt(fleet.clone());
        Ok(Self {
            config,
            registry,
            listeners,
            database,
            keyring,
            ephemeral,
            api,
            fleet,
            relays,
            logs,
            sharing,
            register,
            copies: copies.store,
            signer: copying,
            operator,
            mounted: Router::new(),
            front,
            back,
        })
    }

    /// Adds routes of the program around this node, in the layers every route is in: limits, panics
    /// caught, what is logged and counted.
    #[must_use]
    pub fn mount(mut self, routes: Router) -> Self {
        self.mounted = self.mounted.merge(routes);
        self
    }

    /// Starts every part.
    #[must_use]
    pub fn spawn(self) -> Running {
        let back = self.back.clone();
        let addresses = self.listeners.addresses();
        self.spawn_jobs(&back);
        self.relays.watch(&back);
        let admin = admin::router(admin::Health {
            registry: self.registry,
            metrics: self.api.metrics.clone(),
            database: self.database.clone(),
            keyring: self.keyring.clone(),
            ephemeral: self.ephemeral,
            fleet: self.fleet.clone(),
            limits_shared: self.config.shares_limits(),
            front: self.front.clone(),
        });
        let desk = desk::router(Desk {
            fleet: self.fleet.clone(),
            database: self.database.clone(),
            logs: self.logs.clone(),
            register: self.register.clone(),
        });
        let operator = fleet::operator::router(self.fleet.clone(), desk, self.operator);
        let operator = operator.merge(self.mounted);
        let routers = listeners::Routers { operator, admin };
        self.listeners
            .spawn(&self.config, &self.api, routers, &self.front, &back);
        tracing::info!(?addresses, node = %self.config.node.id, "control node started");
        Running {
            front: self.front,
            back,
            fleet: self.fleet,
            sharing: self.sharing,
            database: self.database,
            addresses,
        }
    }

    fn spawn_jobs(&self, back: &Drain) {
        let database = &self.config.database;
        let connecting = self.database.clone();
        back.spawn(connecting.connect(
            database.url.clone(),
            database.max_connections,
            self.keyring.clone(),
            back.clone(),
        ));
        let news = self.api.live.news();
        let direct = database
            .direct_url
            .clone()
            .unwrap_or_else(|| database.url.clone());
        let sink = self.config.rabbitmq.as_ref().map(Rabbit::new);
        let outbox_metrics = OutboxMetrics::new(&self.registry);
        let (database, drain, live) = (self.database.clone(), back.clone(), self.api.live.clone());
        let job_metrics = JobMetrics::new(&self.registry);
        let mail = self.api.mail.clone();
        let audit_metrics = AuditMetrics::new(&self.registry);
        let (log_keys, shelf) = (self.logs.keys().clone(), self.logs.shelf().clone());
        let (register, sharing) = (self.register.clone(), self.sharing.clone());
        let (objects, signer) = (self.copies.clone(), self.signer.clone());
        let url = self.config.origins().first().cloned().unwrap_or_default();
        let (cosigner, head_seconds) = (self.logs.cosigner().cloned(), self.config.audit.head_seconds);
        let (witness, fleet) = (Arc::new(self.fleet.clone()), self.fleet.clone());
        back.spawn(async move {
            let store = tokio::select! {
                store = database.connected() => store,
                () = drain.stopping() => return,
            };
            if !sharing.begin(&store).await {
                // The process ends; until then nothing is done to a storage that is not the cluster's.
                return;
            }
            // Each kind of job gets its handler here.
            let handlers = mail.handlers(&store, Handlers::default());
            let handlers = mail.alert_handlers(&store, handlers);
            let handlers = mail.member_handlers(&store, handlers);
            let handlers = mail.rights_handlers(&store, handlers);
            let handlers = jobs::erase_handlers(&store, &register, handlers);
            let copyist = Copyist {
                store: store.clone(),
                objects,
                signer,
                url,
            };
            let handlers = record_export::handlers(&copyist, handlers);
            let handlers = keys::handlers(&store, handlers);
            let handlers = outbox::handlers(sink.as_ref(), handlers);
            let publisher = Publisher::new(store.clone(), log_keys, shelf, witness);
            if let Some(cosigner) = cosigner {
                let (publisher, metrics) = (publisher.clone(), audit_metrics.clone());
                drain.spawn(audit::cosign(publisher, cosigner, metrics, drain.clone()));
            }
            tokio::join!(
                audit::sequence(
                    publisher.clone(),
                    head_seconds,
                    audit_metrics.clone(),
                    drain.clone()
                ),
                audit::watch_promises(publisher, audit_metrics, drain.clone()),
                outbox::hear(direct.clone(), news, drain.clone()),
                outbox::relay(direct, store.clone(), sink, outbox_metrics, drain.clone()),
                jobs::work(store.clone(), handlers, job_metrics, drain.clone()),
                live::cut(live, store.clone(), drain.clone()),
                keys::watch_floors(fleet.clone(), store.clone(), drain.clone()),
                presence::follow(fleet, store.clone(), drain.clone()),
                erasures::watch(register, store.clone(), drain.clone()),
                erasures::follow(store.clone(), drain.clone()),
                sharing.watch(store.clone(), drain.clone()),
                jobs::upkeep(store, drain.clone()),
            );
        });
    }
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Resolves when this node can take no part in the cluster (its disk failed; its object storage
    /// is not the others'), with the reason: the process should end.
    pub async fn failed(&self) -> String {
        tokio::select! {
            why = self.fleet.failed() => why,
            why = self.sharing.refused() => why.to_string(),
        }
    }

    /// Lets open requests finish, then stops the rest. Says how many tasks had to be left
    /// behind (0 is clean).
    pub async fn stop(self) -> usize {
        let cut = self.front.finish(FRONT_PATIENCE).await;
        // While the link is still up: another node leads before this one is gone.
        self.fleet.shutdown().await;
        let left = self.back.finish(BACK_PATIENCE).await;
        self.database.close().await;
        tracing::info!(cut, left, "control node stopped");
        cut + left
    }
}

/// Whether each bucket does with what is put into it as the configuration says. One that does not say may
/// come back: until then no head is published and nobody is added to the register.
async fn check_buckets(shelf: &Shelf, register: &Register, copies: &Copies) -> Result<(), StartError> {
    let (heads, erasures, copies) = tokio::join!(shelf.check_lock(), register.check_lock(), copies.check());
    for (key, checked) in [("lock_days", heads), ("erasures_lock_days", erasures)] {
        match checked {
            Err(source @ LockError::Unlocked(_)) => return Err(StartError::Unlocked { key, source }),
            Err(error) => tracing::warn!(%error, key, "object storage"),
            Ok(()) => {}
        }
    }
    match copies {
        Err(error @ PassingError::Kept(_)) => return Err(error.into()),
        Err(error) => tracing::warn!(%error, "object storage"),
        Ok(()) => {}
    }
    Ok(())
}

/// Where counters are kept.
fn ephemeral(config: &Config) -> Result<Ephemeral, StartError> {
    let Some(redis) = &config.redis else {
        return Ok(Ephemeral::open(None)?);
    };
    let Some(path) = &redis.ca_file else {
        return Ok(Ephemeral::open(Some(&redis.url))?);
    };
    let authority = std::fs::read(path).map_err(|source| StartError::RedisAuthority {
        path: path.clone(),
        source,
    })?;
    Ok(Ephemeral::open_trusting(&redis.url, authority)?)
}

/// Tells whoever watches this node that limits hold on each node by itself.
fn say_who_counts(is_shared: bool, registry: &Registry) {
    if !is_shared {
        tracing::warn!("several control nodes without redis.url: each counts limits by itself");
    }
    let gauge = IntGauge::new(
        "medmesh_limits_shared",
        "Whether all control nodes count limits together: 0 when there are several and no Redis is configured.",
    )
    .expect("metric names are valid");
    gauge.set(is_shared.into());
    registry
        .register(Box::new(gauge))
        .expect("each metric is registered once");
}

/// The operator's token, if one is configured.
fn operator_token(config: &Config) -> Result<Option<OperatorToken>, StartError> {
    let Some(operator) = &config.operator else {
        return Ok(None);
    };
    let read = |path: &Path| OperatorToken::new(&std::fs::read_to_string(path).ok()?);
    let token = read(&operator.token_file);
    token
        .map(Some)
        .ok_or_else(|| StartError::OperatorToken(operator.token_file.clone()))
}
