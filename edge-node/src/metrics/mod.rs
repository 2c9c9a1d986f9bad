//! What the edge counts. Labels are reasons, outcomes and edges; never people or rooms.

mod collect;

use medmesh_base::ProblemCode;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::admission::Refusal;
pub(crate) use collect::EdgeCollector;

/// How a request to join ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinOutcome {
    /// Answered with 201.
    Joined,
    /// Refused with this code.
    Refused(ProblemCode),
}

/// Why control nodes take nothing from this edge until an operator has done something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    /// It was taken out of the fleet.
    Removed,
    /// Its certificate is out of its time.
    Expired,
}

impl TurnedAway {
    const ALL: [Self; 2] = [Self::Removed, Self::Expired];

    const fn label(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Expired => "expired",
        }
    }

    /// What the operator is told.
    pub(crate) const fn message(self) -> &'static str {
        match self {
            Self::Removed => "this edge was removed from the fleet: enrol it anew",
            Self::Expired => {
                "this edge's certificate has ended (or has not begun, where its clock is wrong): \
                 enrol it again with a new join token"
            }
        }
    }
}

/// Counters of the edge's own requests.
pub(crate) struct Metrics {
    joins: IntCounterVec,
    tokens_refused: IntCounterVec,
    rate_limited: IntCounter,
    control_attached: IntGauge,
    config_refused: IntCounter,
    config_version: IntGauge,
    renewals: IntCounterVec,
    control_refusals: IntCounterVec,
}

impl Metrics {
    /// Makes the counters and registers them.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            joins: IntCounterVec::new(
                Opts::new("medmesh_edge_joins_total", "Requests to join, by outcome"),
                &["outcome"],
            )?,
            tokens_refused: IntCounterVec::new(
                Opts::new(
                    "medmesh_edge_tokens_refused_total",
                    "Media tokens refused, by reason",
                ),
                &["reason"],
            )?,
            rate_limited: IntCounter::new(
                "medmesh_edge_signalling_rate_limited_total",
                "Signalling requests beyond an address's rate",
            )?,
            control_attached: IntGauge::new(
                "medmesh_edge_control_attached",
                "Control nodes this edge is attached to",
            )?,
            config_refused: IntCounter::new(
                "medmesh_edge_config_refused_total",
                "Pushed configurations that could not be used",
            )?,
            config_version: IntGauge::new(
                "medmesh_edge_config_version",
                "Version of the pushed configuration in force",
            )?,
            renewals: IntCounterVec::new(
                Opts::new(
                    "medmesh_edge_certificate_renewals_total",
                    "Certificates asked for before the old one ends, by result",
                ),
                &["result"],
            )?,
            control_refusals: IntCounterVec::new(
                Opts::new(
                    "medmesh_edge_control_refusals_total",
                    "Times a control node turned this edge away, by reason",
                ),
                &["reason"],
            )?,
        };
        registry.register(Box::new(metrics.control_refusals.clone()))?;
        registry.register(Box::new(metrics.renewals.clone()))?;
        registry.register(Box::new(metrics.joins.clone()))?;
        registry.register(Box::new(metrics.tokens_refused.clone()))?;
        registry.register(Box::new(metrics.rate_limited.clone()))?;
        registry.register(Box::new(metrics.control_attached.clone()))?;
        registry.register(Box::new(metrics.config_refused.clone()))?;
        registry.register(Box::new(metrics.config_version.clone()))?;
        // Alerts need the zero that is there before the first event.
        metrics.joins.with_label_values(&["joined"]);
        for turned_away in TurnedAway::ALL {
            metrics.control_refusals.with_label_values(&[turned_away.label()]);
        }
        for refusal in Refusal::ALL {
            metrics.tokens_refused.with_label_values(&[refusal.label()]);
        }
        Ok(metrics)
    }

    pub(crate) fn join(&self, outcome: JoinOutcome) {
        let label = match outcome {
            JoinOutcome::Joined => "joined",
            JoinOutcome::Refused(code) => code.code(),
        };
        self.joins.with_label_values(&[label]).inc();
    }

    pub(crate) fn token_refused(&self, refusal: Refusal) {
        self.tokens_refused.with_label_values(&[refusal.label()]).inc();
    }

    pub(crate) fn rate_limited(&self) {
        self.rate_limited.inc();
    }

    pub(crate) fn control_attached(&self, by: i64) {
        self.control_attached.add(by);
    }

    pub(crate) fn config_refused(&self) {
        self.config_refused.inc();
    }

    pub(crate) fn certificate_renewal(&self, ok: bool) {
        let result = if ok { "ok" } else { "failed" };
        self.renewals.with_label_values(&[result]).inc();
    }

    pub(crate) fn control_refused(&self, why: TurnedAway) {
        self.control_refusals.with_label_values(&[why.label()]).inc();
    }

    pub(crate) fn config_version(&self, version: u64) {
        self.config_version
            .set(i64::try_from(version).unwrap_or(i64::MAX));
    }
}
