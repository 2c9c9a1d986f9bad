//! What is counted about events.

use medmesh_store::OutboxCounts;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use time::OffsetDateTime;

/// Counters of the relay. Gauges of a node that is not the relay are 0.
#[derive(Clone, Debug)]
pub struct OutboxMetrics {
    waiting: IntGaugeVec,
    oldest: IntGaugeVec,
    relayed: IntCounterVec,
    leads: IntGauge,
}

impl OutboxMetrics {
    /// Registers the counters.
    ///
    /// # Panics
    /// When registered twice in one registry.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let waiting = Opts::new("medmesh_outbox_waiting", "Events that wait, by where to.");
        let oldest = Opts::new(
            "medmesh_outbox_oldest_seconds",
            "How long the oldest of them has waited.",
        );
        let relayed = Opts::new(
            "medmesh_outbox_events_total",
            "Events relayed, by where to and outcome.",
        );
        let names = "metric names are valid";
        let metrics = Self {
            waiting: IntGaugeVec::new(waiting, &["to"]).expect(names),
            oldest: IntGaugeVec::new(oldest, &["to"]).expect(names),
            relayed: IntCounterVec::new(relayed, &["to", "outcome"]).expect(names),
            leads: IntGauge::new("medmesh_outbox_leads", "1 at the node that relays.").expect(names),
        };
        let collectors: [Box<dyn prometheus::core::Collector>; 4] = [
            Box::new(metrics.waiting.clone()),
            Box::new(metrics.oldest.clone()),
            Box::new(metrics.relayed.clone()),
            Box::new(metrics.leads.clone()),
        ];
        for collector in collectors {
            registry
                .register(collector)
                .expect("each metric is registered once");
        }
        metrics
    }

    pub(super) fn relayed(&self, to: &str, outcome: &str, events: usize) {
        self.relayed
            .with_label_values(&[to, outcome])
            .inc_by(events as u64);
    }

    /// This node is the relay from now on, or not any more.
    pub(super) fn leads(&self, leads: bool) {
        self.leads.set(i64::from(leads));
        if !leads {
            self.waiting.reset();
            self.oldest.reset();
        }
    }

    pub(super) fn show(&self, counts: &OutboxCounts, now: OffsetDateTime) {
        let each = [
            ("nodes", counts.to_notify, counts.oldest_to_notify),
            ("sink", counts.to_publish, counts.oldest_to_publish),
        ];
        for (to, waiting, oldest) in each {
            self.waiting.with_label_values(&[to]).set(waiting);
            let age = oldest.map_or(0, |at| (now - at).whole_seconds().max(0));
            self.oldest.with_label_values(&[to]).set(age);
        }
    }
}
