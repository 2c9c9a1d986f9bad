//! Prometheus metrics `medmesh_raft_…`. Labels are node ids and fixed words only.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::status::{Role, Status};

/// Seconds: from a fast disk's fsync to a timeout.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];
/// Commands per entry.
const COMMANDS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// Of the log.
#[derive(Clone, Debug)]
pub(crate) struct LogMetrics {
    bytes: IntCounter,
    fsync: Histogram,
    repairs: IntCounter,
}

impl LogMetrics {
    pub(crate) fn wrote(&self, bytes: usize, took: Duration) {
        self.bytes.inc_by(bytes as u64);
        self.fsync.observe(took.as_secs_f64());
    }

    pub(crate) fn repaired(&self, count: u32) {
        self.repairs.inc_by(u64::from(count));
    }
}

/// Of the state machine.
#[derive(Clone, Debug)]
pub(crate) struct MachineMetrics {
    snapshots: IntCounterVec,
}

impl MachineMetrics {
    pub(crate) fn snapshot(&self, what: &str) {
        self.snapshots.with_label_values(&[what]).inc();
    }
}

/// All of them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) log: LogMetrics,
    pub(crate) machine: MachineMetrics,
    proposals: IntCounterVec,
    propose: Histogram,
    batch: Histogram,
    leader_changes: IntCounter,
    is_leader: IntGauge,
    term: IntGauge,
    index: IntGaugeVec,
    members: IntGaugeVec,
    follower_lag: IntGaugeVec,
    log_memory: IntGauge,
}

fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    buckets: &[f64],
) -> Result<Histogram, prometheus::Error> {
    let metric = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let metric = IntCounter::new(name, help)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> Result<IntCounterVec, prometheus::Error> {
    let metric = IntCounterVec::new(Opts::new(name, help), &[label])?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let metric = IntGauge::new(name, help)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> Result<IntGaugeVec, prometheus::Error> {
    let metric = IntGaugeVec::new(Opts::new(name, help), &[label])?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

impl Metrics {
    pub(crate) fn register(r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            log: LogMetrics {
                bytes: counter(
                    r,
                    "medmesh_raft_log_written_bytes_total",
                    "Bytes written to the log",
                )?,
                fsync: histogram(
                    r,
                    "medmesh_raft_log_fsync_seconds",
                    "Time to write and sync one block of the log",
                    SECONDS,
                )?,
                repairs: counter(r, "medmesh_raft_log_repairs_total", "Torn tails cut off at open")?,
            },
            machine: MachineMetrics {
                snapshots: counters(
                    r,
                    "medmesh_raft_snapshots_total",
                    "Snapshots built or installed",
                    "what",
                )?,
            },
            proposals: counters(
                r,
                "medmesh_raft_proposals_total",
                "Commands proposed here",
                "outcome",
            )?,
            propose: histogram(
                r,
                "medmesh_raft_propose_seconds",
                "Time from proposing a command here to its answer",
                SECONDS,
            )?,
            batch: histogram(
                r,
                "medmesh_raft_batch_commands",
                "Commands carried by one entry",
                COMMANDS,
            )?,
            leader_changes: counter(
                r,
                "medmesh_raft_leader_changes_total",
                "Times another leader was seen",
            )?,
            is_leader: gauge(r, "medmesh_raft_is_leader", "1 on the leader")?,
            term: gauge(r, "medmesh_raft_term", "Current term")?,
            index: gauges(r, "medmesh_raft_index", "Log indexes of this node", "kind")?,
            members: gauges(r, "medmesh_raft_members", "Members of the group", "kind")?,
            follower_lag: gauges(
                r,
                "medmesh_raft_follower_lag_entries",
                "Entries a follower is behind (leader only)",
                "node",
            )?,
            log_memory: gauge(r, "medmesh_raft_log_memory_bytes", "Entries held in memory")?,
        })
    }

    pub(crate) fn proposed(&self, outcome: &str, took: Duration) {
        self.proposals.with_label_values(&[outcome]).inc();
        self.propose.observe(took.as_secs_f64());
    }

    pub(crate) fn batched(&self, commands: usize) {
        // At most a thousand: exact as a float.
        self.batch.observe(commands as f64);
    }

    pub(crate) fn leader_changed(&self) {
        self.leader_changes.inc();
    }

    pub(crate) fn observe(&self, status: &Status, log_bytes: usize) {
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.is_leader.set(i64::from(status.role == Role::Leader));
        self.term.set(signed(status.term));
        self.log_memory.set(signed(log_bytes as u64));
        let indexes = [
            ("last", status.last_index),
            ("committed", status.committed_index),
            ("applied", status.applied_index),
            ("snapshot", status.snapshot_index),
        ];
        for (kind, index) in indexes {
            self.index.with_label_values(&[kind]).set(signed(index));
        }
        let voters = status.members.iter().filter(|member| member.voter).count();
        self.members
            .with_label_values(&["voter"])
            .set(signed(voters as u64));
        self.members
            .with_label_values(&["learner"])
            .set(signed((status.members.len() - voters) as u64));
        self.follower_lag.reset();
        for member in &status.members {
            if let Some(lag) = member.lag_entries {
                self.follower_lag
                    .with_label_values(&[&member.node.to_string()])
                    .set(signed(lag));
            }
        }
    }
}
