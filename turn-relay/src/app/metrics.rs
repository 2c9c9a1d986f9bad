//! What the process knows beside its relay: the files it was given.

use medmesh_turn::PeerPolicy;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

/// A file that was taken again and found wrong, so that what it said before is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kept {
    /// The secrets file.
    Secrets,
    /// The certificate or its key.
    Certificate,
    /// The peers file or `[peers]`.
    Peers,
}

impl Kept {
    const ALL: [Self; 3] = [Self::Secrets, Self::Certificate, Self::Peers];

    fn label(self) -> &'static str {
        match self {
            Self::Secrets => "secrets",
            Self::Certificate => "certificate",
            Self::Peers => "peers",
        }
    }
}

/// The process' own metrics.
pub(crate) struct ProcessMetrics {
    reload_failures: IntCounterVec,
    peer_rules: IntGaugeVec,
}

impl ProcessMetrics {
    /// # Panics
    /// When registered twice in one registry.
    pub(crate) fn new(registry: &Registry) -> Self {
        let reload_failures = IntCounterVec::new(
            Opts::new(
                "medmesh_turn_reload_failures_total",
                "Files that were found wrong when they were taken again; what they said before is kept",
            ),
            &["file"],
        );
        let peer_rules = IntGaugeVec::new(
            Opts::new(
                "medmesh_turn_peer_rules",
                "Rules in force about who may be reached",
            ),
            &["list"],
        );
        let metrics = Self {
            reload_failures: reload_failures.expect("a valid metric"),
            peer_rules: peer_rules.expect("a valid metric"),
        };
        for kept in Kept::ALL {
            let _zero = metrics.reload_failures.with_label_values(&[kept.label()]);
        }
        let registered = registry.register(Box::new(metrics.reload_failures.clone()));
        registered.expect("registered once");
        let registered = registry.register(Box::new(metrics.peer_rules.clone()));
        registered.expect("registered once");
        metrics
    }

    pub(crate) fn kept(&self, kept: Kept) {
        self.reload_failures.with_label_values(&[kept.label()]).inc();
    }

    pub(crate) fn peer_rules(&self, policy: &PeerPolicy) {
        for (list, rules) in [("allow", &policy.allow), ("deny", &policy.deny)] {
            let count = i64::try_from(rules.len()).unwrap_or(i64::MAX);
            self.peer_rules.with_label_values(&[list]).set(count);
        }
    }
}
