//! The handle everything of the fleet shares.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use medmesh_base::{ControlId, EdgeId, ParticipantId, RoomId};
use medmesh_consensus::Consensus;
use medmesh_ledger::{ControlDescriptor, State};
use medmesh_link::{ClusterCa, Endpoint};
use medmesh_vault::{ClusterSecret, TokenSigner};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::edge_config::SharedConfig;
use super::explain::Decisions;
use super::learned::Learned;
use super::metrics::FleetMetrics;
use super::reservation::Reservations;
use super::telemetry::Telemetry;

/// What the fleet is made from.
pub struct Parts {
    /// The Raft group.
    pub consensus: Consensus,
    /// The socket of the link, which refuses removed edges.
    pub endpoint: Endpoint,
    /// The authority that signs edges.
    pub ca: Arc<ClusterCa>,
    /// How long the certificates it signs live.
    pub certificate_life: Duration,
    /// What TURN secrets derive from.
    pub secret: ClusterSecret,
    /// This node's token key, to be published.
    pub signer: TokenSigner,
    /// How others reach this node.
    pub descriptor: ControlDescriptor,
    /// Origins of the portals, for the edges' CORS.
    pub origins: Vec<String>,
    /// Counters.
    pub metrics: FleetMetrics,
    /// What freshness is judged by.
    pub clock: Clock,
}

/// The fleet as this control node knows and steers it. Cheap to clone.
#[derive(Clone)]
pub struct Fleet {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) consensus: Consensus,
    pub(super) endpoint: Endpoint,
    pub(super) ca: Arc<ClusterCa>,
    pub(super) certificate_life: Duration,
    pub(super) secret: ClusterSecret,
    pub(super) signer: TokenSigner,
    pub(super) descriptor: ControlDescriptor,
    pub(super) origins: Vec<String>,
    pub(super) metrics: FleetMetrics,
    pub(super) telemetry: RwLock<Telemetry>,
    pub(super) learned: Mutex<Learned>,
    pub(super) desk: Mutex<Desk>,
    pub(super) attachments: Mutex<BTreeMap<EdgeId, Attachment>>,
    pub(super) config: watch::Sender<Arc<SharedConfig>>,
    pub(super) clock: Clock,
}

/// What placing needs to remember between calls; the leader's.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) reservations: Reservations,
    /// Each placed participant's own round trip to their edge, microseconds; of rooms that exist.
    pub(super) access_us: HashMap<(RoomId, ParticipantId), u32>,
    /// Why those placed lately are where they are.
    pub(super) decisions: Decisions,
}

/// An attached edge. A newer attachment of the same edge cancels the older.
pub(super) struct Attachment {
    pub(super) generation: u64,
    pub(super) cancel: CancellationToken,
    pub(super) commands: tokio::sync::mpsc::Sender<medmesh_wire::fleet::EdgeCommand>,
}

impl Fleet {
    /// Joins the parts. Nothing runs yet: see [`super::spawn`].
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let (config, _) = watch::channel(Arc::new(SharedConfig::default()));
        Self {
            inner: Arc::new(Inner {
                consensus: parts.consensus,
                endpoint: parts.endpoint,
                ca: parts.ca,
                certificate_life: parts.certificate_life,
                secret: parts.secret,
                signer: parts.signer,
                descriptor: parts.descriptor,
                origins: parts.origins,
                metrics: parts.metrics,
                telemetry: RwLock::default(),
                learned: Mutex::default(),
                desk: Mutex::default(),
                attachments: Mutex::default(),
                config,
                clock: parts.clock,
            }),
        }
    }

    /// This control node.
    #[must_use]
    pub fn node(&self) -> ControlId {
        self.inner.consensus.node()
    }

    /// The ledger as applied here. Do not keep it, nor hold it over an await: while somebody
    /// does, the next command copies the whole state before it can change it.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.inner.consensus.read()
    }

    /// The Raft group itself.
    pub(crate) fn consensus(&self) -> &Consensus {
        &self.inner.consensus
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.inner.clock.now_ms()
    }
}

/// Unix milliseconds, for the ledger.
pub(super) fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
