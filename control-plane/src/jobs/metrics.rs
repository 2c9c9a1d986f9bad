//! What is counted about jobs.

use medmesh_store::JobCounts;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use time::OffsetDateTime;

/// Counters of the workers. Labels are kinds and outcomes, nothing of a job's content.
#[derive(Clone, Debug)]
pub struct JobMetrics {
    finished: IntCounterVec,
    present: IntGaugeVec,
    overdue: IntGaugeVec,
}

impl JobMetrics {
    /// Registers the counters.
    ///
    /// # Panics
    /// When registered twice in one registry.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let finished = Opts::new("medmesh_jobs_total", "Tries of jobs, by how they ended.");
        let present = Opts::new("medmesh_jobs", "Jobs by state: waiting, running, dead.");
        let overdue = Opts::new(
            "medmesh_jobs_overdue_seconds",
            "How late the oldest unfinished job is.",
        );
        let metrics = Self {
            finished: IntCounterVec::new(finished, &["kind", "outcome"]).expect("metric names are valid"),
            present: IntGaugeVec::new(present, &["kind", "state"]).expect("metric names are valid"),
            overdue: IntGaugeVec::new(overdue, &["kind"]).expect("metric names are valid"),
        };
        let collectors: [Box<dyn prometheus::core::Collector>; 3] = [
            Box::new(metrics.finished.clone()),
            Box::new(metrics.present.clone()),
            Box::new(metrics.overdue.clone()),
        ];
        for collector in collectors {
            registry
                .register(collector)
                .expect("each metric is registered once");
        }
        metrics
    }

    pub(super) fn finished(&self, kind: &str, outcome: &str) {
        self.finished.with_label_values(&[kind, outcome]).inc();
    }

    /// Shows these counts and nothing of kinds that have none any more.
    pub(super) fn show(&self, counts: &[JobCounts], now: OffsetDateTime) {
        self.present.reset();
        self.overdue.reset();
        for count in counts {
            for (state, number) in [
                ("waiting", count.waiting),
                ("running", count.running),
                ("dead", count.dead),
            ] {
                self.present.with_label_values(&[&count.kind, state]).set(number);
            }
            let late = count
                .oldest_due
                .map_or(0, |due| (now - due).whole_seconds().max(0));
            self.overdue.with_label_values(&[&count.kind]).set(late);
        }
    }
}
