//! What is counted about keys: how many are in memory, and what the KMS did not do.

use medmesh_store::Keyring;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry};

/// Reads the keyring at each scrape.
struct KeyMetrics {
    keyring: Keyring,
    failures: IntCounter,
    available: IntGauge,
    cached: IntGaugeVec,
}

/// Shows a keyring among a node's metrics.
///
/// # Panics
/// When registered twice in one registry.
pub fn watch(keyring: &Keyring, registry: &Registry) {
    let kms = keyring.kms().name();
    let of_kms = |name: &str, help: &str| Opts::new(name, help).const_label("kms", kms);
    let failures = of_kms(
        "medmesh_kms_failures_total",
        "What the KMS was asked for and did not do.",
    );
    let available = of_kms(
        "medmesh_kms_available",
        "Whether the KMS did what it was asked for the last time.",
    );
    let cached = Opts::new("medmesh_keys_cached", "Keys in memory, by whose they are.");
    let metrics = KeyMetrics {
        keyring: keyring.clone(),
        failures: IntCounter::with_opts(failures).expect("metric names are valid"),
        available: IntGauge::with_opts(available).expect("metric names are valid"),
        cached: IntGaugeVec::new(cached, &["owner"]).expect("metric names are valid"),
    };
    registry
        .register(Box::new(metrics))
        .expect("each metric is registered once");
}

impl Collector for KeyMetrics {
    fn desc(&self) -> Vec<&Desc> {
        [self.failures.desc(), self.available.desc(), self.cached.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let so_far = self.keyring.kms_failures();
        self.failures.inc_by(so_far.saturating_sub(self.failures.get()));
        self.available.set(self.keyring.has_kms().into());
        let (clinics, patients) = self.keyring.cached();
        for (owner, count) in [("clinic", clinics), ("patient", patients)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.cached.with_label_values(&[owner]).set(count);
        }
        [
            self.failures.collect(),
            self.available.collect(),
            self.cached.collect(),
        ]
        .concat()
    }
}
