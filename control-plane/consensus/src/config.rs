//! What a node needs to know.

use std::path::PathBuf;
use std::time::Duration;

use medmesh_base::ControlId;
use openraft::SnapshotPolicy;

use crate::error::StartError;

/// How one node takes part.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node. Never give the id of a removed node to one that starts empty.
    pub node: ControlId,
    /// The cluster's name, for messages.
    pub cluster: String,
    /// Its log and snapshots (`log/`, `snapshots/`); made if absent.
    pub directory: PathBuf,
    /// When to beat, when to campaign.
    pub timers: Timers,
    /// When to take snapshots.
    pub snapshots: SnapshotEvery,
}

impl Config {
    /// A node with default timers and snapshots.
    #[must_use]
    pub fn new(node: ControlId, cluster: impl Into<String>, directory: impl Into<PathBuf>) -> Self {
        Self {
            node,
            cluster: cluster.into(),
            directory: directory.into(),
            timers: Timers::default(),
            snapshots: SnapshotEvery::default(),
        }
    }
}

/// Raft's timers. A new leader is there after `election_max` of silence plus a draw
/// between `election_min` and `election_max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Between heartbeats; also how long a heartbeat may take.
    pub heartbeat: Duration,
    /// Shortest patience before campaigning.
    pub election_min: Duration,
    /// Longest patience before campaigning; also how long a leader's lease lasts.
    pub election_max: Duration,
}

/// For nodes in one latency domain: a beat may be lost, and an fsync of 300 ms
/// on a busy disk does not cost an election; failover takes 1.2 to 1.6 s.
impl Default for Timers {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(400),
            election_max: Duration::from_millis(800),
        }
    }
}

/// When the state is written out and the log before it forgotten: whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotEvery {
    /// Entries since the last snapshot.
    pub entries: u64,
    /// Bytes of entries in memory.
    pub log_bytes: usize,
    /// Entries kept behind a snapshot, so that a follower that was away briefly needs no snapshot.
    pub keep_entries: u64,
}

impl Default for SnapshotEvery {
    fn default() -> Self {
        Self {
            entries: 10_000,
            log_bytes: 64 * 1024 * 1024,
            keep_entries: 1_000,
        }
    }
}

/// A snapshot of the largest state takes this long over a slow link at most.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(120);
/// Entries of one append; the log's byte limit usually comes first.
const APPEND_ENTRIES_MAX: u64 = 1024;

pub(crate) fn raft_config(config: &Config) -> Result<openraft::Config, StartError> {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let Timers {
        heartbeat,
        election_min,
        election_max,
    } = config.timers;
    openraft::Config {
        cluster_name: config.cluster.clone(),
        heartbeat_interval: ms(heartbeat),
        election_timeout_min: ms(election_min),
        election_timeout_max: ms(election_max),
        install_snapshot_timeout: ms(SNAPSHOT_TIMEOUT),
        max_payload_entries: APPEND_ENTRIES_MAX,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshots.entries),
        max_in_snapshot_log_to_keep: config.snapshots.keep_entries,
        // A follower behind further than the kept log needs the snapshot anyway.
        replication_lag_threshold: config.snapshots.entries + config.snapshots.keep_entries,
        // A leader that lost its majority falls silent in turns, so that a majority it can
        // still half reach may elect another one; the least that openraft accepts.
        quorum_loss_probe_interval: Some(2 * ms(election_max)),
        // A leader that restarts asks for votes like everybody else: the others have moved on.
        enable_leader_restore: Some(false),
        // A node that was cut off does not raise the term when it comes back.
        enable_pre_vote: Some(true),
        // The link below has its own backoff; this one only keeps the core from spinning.
        backoff: "50ms 100ms 200ms ...500ms".to_owned(),
        ..openraft::Config::default()
    }
    .validate()
    .map_err(|error| StartError::Timers(error.to_string()))
}
