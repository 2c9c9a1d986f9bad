//! What the fleet counts. Labels are results and states, never machines' people.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// Counters of the fleet side; clones share them.
#[derive(Clone, Debug)]
pub struct FleetMetrics {
    pub(super) reports: IntCounterVec,
    pub(super) attached: IntGauge,
    pub(super) edges: IntGaugeVec,
    pub(super) enrolments: IntCounterVec,
    pub(super) renewals: IntCounterVec,
    pub(super) placements: IntCounterVec,
    pub(super) placement_conflicts: IntCounter,
    pub(super) placement_seconds: Histogram,
    pub(super) transitions: IntCounterVec,
    pub(super) configs_sent: IntCounter,
    pub(super) left_behind: IntCounterVec,
    pub(super) networks: IntGauge,
    pub(super) reservations: IntGauge,
}

impl FleetMetrics {
    /// Makes the counters and registers them.
    ///
    /// # Errors
    /// When the registry already has them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, label: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let edges = IntGaugeVec::new(
            Opts::new(
                "medmesh_fleet_edges",
                "Edges of the fleet as this node sees them, by health",
            ),
            &["health"],
        )?;
        registry.register(Box::new(edges.clone()))?;
        // 1 ms to 4 s: from a re-join that is only looked up to an election in between.
        let buckets = prometheus::exponential_buckets(0.001, 2.0, 13)?;
        let placement_seconds = Histogram::with_opts(
            HistogramOpts::new(
                "medmesh_fleet_placement_seconds",
                "Placing a participant, commit included",
            )
            .buckets(buckets),
        )?;
        registry.register(Box::new(placement_seconds.clone()))?;
        Ok(Self {
            reports: counters(
                "medmesh_fleet_reports_total",
                "Reports of edges, by result",
                "result",
            )?,
            attached: gauge("medmesh_fleet_edges_attached", "Edges attached to this node now")?,
            edges,
            enrolments: counters(
                "medmesh_fleet_enrolments_total",
                "Enrolments asked for, by result",
                "result",
            )?,
            renewals: counters(
                "medmesh_fleet_renewals_total",
                "Certificates renewed, by result",
                "result",
            )?,
            placements: counters(
                "medmesh_fleet_placements_total",
                "Placements asked for, by result",
                "result",
            )?,
            placement_conflicts: counter(
                "medmesh_fleet_placement_conflicts_total",
                "Placements planned again because the room had moved on",
            )?,
            placement_seconds,
            transitions: counters(
                "medmesh_fleet_transitions_total",
                "Transitions proposed by this node as the leader, by kind",
                "kind",
            )?,
            configs_sent: counter(
                "medmesh_fleet_configs_sent_total",
                "Configurations pushed to edges",
            )?,
            left_behind: counters(
                "medmesh_fleet_left_behind_total",
                "Edges told by this node as the leader to let go of what people left, by kind",
                "kind",
            )?,
            networks: gauge(
                "medmesh_fleet_learned_networks",
                "Networks whose way to edges is known from real sessions",
            )?,
            reservations: gauge("medmesh_fleet_reservations", "Promised places not yet reported")?,
        })
    }
}
