//! What is counted about relays. Labels name relays of the configuration, never people.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

/// From a relay in the same hall to one that is nearly given up.
const SECONDS: &[f64] = &[0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0];

/// What came of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Result {
    Serves,
    /// It knows none of our secrets.
    Credentials,
    /// It drains, or is full.
    Refused,
    Nonsense,
    Silent,
    Unreachable,
}

impl Result {
    const fn label(self) -> &'static str {
        match self {
            Self::Serves => "serves",
            Self::Credentials => "credentials",
            Self::Refused => "refused",
            Self::Nonsense => "nonsense",
            Self::Silent => "silent",
            Self::Unreachable => "unreachable",
        }
    }
}

pub(super) struct RelayMetrics {
    up: IntGaugeVec,
    asked: IntCounterVec,
    seconds: HistogramVec,
    epoch: IntGaugeVec,
    handed_out: IntCounterVec,
}

impl RelayMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            IntGaugeVec::new(Opts::new(name, help), labels).expect("metric names are valid")
        };
        let counter = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).expect("metric names are valid")
        };
        let seconds = HistogramOpts::new(
            "medmesh_external_relay_probe_seconds",
            "How long a relay that serves took to make an allocation and give it back.",
        );
        let metrics = Self {
            up: gauge(
                "medmesh_external_relay_up",
                "Whether a relay made an allocation the last time it was asked there.",
                &["relay", "url"],
            ),
            asked: counter(
                "medmesh_external_relay_probes_total",
                "Probes of relays, by what came of them.",
                &["relay", "result"],
            ),
            seconds: HistogramVec::new(seconds.buckets(SECONDS.to_vec()), &["relay"])
                .expect("metric names are valid"),
            epoch: gauge(
                "medmesh_external_relay_secret_epoch",
                "The epoch of the secret credentials for a relay are made with; 0 while it does not serve.",
                &["relay"],
            ),
            handed_out: counter(
                "medmesh_external_relay_handed_out_total",
                "Sessions that were told of a relay.",
                &["relay"],
            ),
        };
        let collectors: [Box<dyn prometheus::core::Collector>; 5] = [
            Box::new(metrics.up.clone()),
            Box::new(metrics.asked.clone()),
            Box::new(metrics.seconds.clone()),
            Box::new(metrics.epoch.clone()),
            Box::new(metrics.handed_out.clone()),
        ];
        for collector in collectors {
            registry
                .register(collector)
                .expect("each metric is registered once");
        }
        metrics
    }

    pub(super) fn asked(&self, relay: &str, url: &str, result: Result, took: Duration) {
        let serves = result == Result::Serves;
        self.up.with_label_values(&[relay, url]).set(serves.into());
        self.asked.with_label_values(&[relay, result.label()]).inc();
        if serves {
            let seconds = self.seconds.with_label_values(&[relay]);
            seconds.observe(took.as_secs_f64());
        }
    }

    pub(super) fn secret_epoch(&self, relay: &str, epoch: Option<u64>) {
        let epoch = epoch.map_or(0, |epoch| i64::try_from(epoch).unwrap_or(i64::MAX));
        self.epoch.with_label_values(&[relay]).set(epoch);
    }

    pub(super) fn handed_out(&self, relay: &str) {
        self.handed_out.with_label_values(&[relay]).inc();
    }
}
