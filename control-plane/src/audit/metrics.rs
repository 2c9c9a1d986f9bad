//! What is counted about the audit log.

use medmesh_store::AuditBacklog;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use time::OffsetDateTime;

/// Counters of the audit log. Nothing of a clinic is in them.
#[derive(Clone, Debug)]
pub struct AuditMetrics {
    pub(super) leads: IntGauge,
    pending: IntGauge,
    pending_age: IntGauge,
    unpublished: IntGauge,
    heads: IntCounterVec,
    cosignatures: IntCounterVec,
    pub(super) refused_logs: IntGauge,
    pub(super) placed: IntCounter,
    pub(super) promises_broken: IntCounter,
    pub(super) promises_open: IntGauge,
    pub(super) promises_forgotten: IntGauge,
}

impl AuditMetrics {
    /// Registers the counters.
    ///
    /// # Panics
    /// When registered twice in one registry.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help).expect("metric names are valid");
            register(registry, gauge)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help).expect("metric names are valid");
            register(registry, counter)
        };
        let heads = Opts::new("medmesh_audit_heads_total", "Heads of audit logs, by outcome.");
        let cosignatures = Opts::new(
            "medmesh_audit_cosignatures_total",
            "Heads shown to the outside witness, by outcome.",
        );
        Self {
            leads: gauge(
                "medmesh_audit_leads",
                "1 where this node places leaves and signs heads.",
            ),
            pending: gauge(
                "medmesh_audit_pending_leaves",
                "Committed leaves without a place.",
            ),
            pending_age: gauge(
                "medmesh_audit_pending_age_seconds",
                "Age of the oldest committed leaf without a place.",
            ),
            unpublished: gauge(
                "medmesh_audit_unpublished_leaves",
                "Leaves with a place under no signed head.",
            ),
            heads: register(
                registry,
                IntCounterVec::new(heads, &["outcome"]).expect("metric names are valid"),
            ),
            cosignatures: register(
                registry,
                IntCounterVec::new(cosignatures, &["outcome"]).expect("metric names are valid"),
            ),
            refused_logs: gauge(
                "medmesh_audit_refused_logs",
                "Logs that are not those the outside witness knows. Never.",
            ),
            placed: counter("medmesh_audit_placed_total", "Leaves given a place."),
            promises_broken: counter(
                "medmesh_audit_promises_broken_total",
                "Leaves this node committed that did not come into the log as they were. Never.",
            ),
            promises_open: gauge(
                "medmesh_audit_promises_open",
                "Leaves this node committed that the log does not hold yet.",
            ),
            promises_forgotten: gauge(
                "medmesh_audit_promises_forgotten",
                "Leaves this node stopped looking after because there were too many.",
            ),
        }
    }

    pub(super) fn is_leading(&self) -> bool {
        self.leads.get() == 1
    }

    pub(super) fn cosigned(&self, outcome: &str) {
        self.cosignatures.with_label_values(&[outcome]).inc();
    }

    pub(super) fn head(&self, outcome: &str) {
        self.heads.with_label_values(&[outcome]).inc();
    }

    pub(super) fn backlog(&self, backlog: AuditBacklog, now: OffsetDateTime) {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.pending.set(signed(backlog.pending));
        self.unpublished.set(signed(backlog.unpublished));
        let age = backlog
            .oldest
            .map_or(0, |oldest| (now - oldest).whole_seconds().max(0));
        self.pending_age.set(age);
    }
}

fn register<C: prometheus::core::Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry
        .register(Box::new(collector.clone()))
        .expect("each metric is registered once");
    collector
}
