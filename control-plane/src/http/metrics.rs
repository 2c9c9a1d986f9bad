//! What is counted about requests.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, exponential_buckets,
};

/// Counters of the HTTP side. Labels come from closed sets: a route's template,
/// never its path; nothing of a person.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) requests: IntCounterVec,
    pub(super) duration: HistogramVec,
    pub(super) in_flight: IntGauge,
    pub(super) undescribed: IntCounterVec,
    pub(super) problems: IntCounterVec,
    pub(super) logins: IntCounterVec,
    pub(super) client_tokens: IntCounterVec,
    hash_waiting: IntGauge,
    pub(crate) streams: IntGauge,
    pub(crate) delivery: Histogram,
    connections: IntCounterVec,
}

impl Metrics {
    /// Registers the counters.
    ///
    /// # Panics
    /// When registered twice in one registry.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels).expect("metric names are valid");
            register(registry, counters)
        };
        let gauge = |name: &str, help: &str| {
            register(
                registry,
                IntGauge::new(name, help).expect("metric names are valid"),
            )
        };
        // 1 ms to 16 s: below is noise of the clock, above is the request limit.
        let buckets = exponential_buckets(0.001, 2.0, 15).expect("positive start, factor above one");
        let duration = HistogramOpts::new(
            "medmesh_http_request_duration_seconds",
            "Until the answer's head.",
        )
        .buckets(buckets.clone());
        let duration = HistogramVec::new(duration, &["route", "method"]).expect("metric names are valid");
        let delivery = HistogramOpts::new(
            "medmesh_message_delivery_seconds",
            "From stored to written into an event stream.",
        )
        .buckets(buckets);
        Self {
            requests: counters(
                "medmesh_http_requests_total",
                "Answered requests.",
                &["route", "method", "status"],
            ),
            duration: register(registry, duration),
            undescribed: counters(
                "medmesh_http_undescribed_total",
                "Answers with a status that the API's description does not know: a defect.",
                &["route", "method", "status"],
            ),
            problems: counters(
                "medmesh_http_problems_total",
                "Requests that were refused or failed, by what the client was told.",
                &["code"],
            ),
            in_flight: gauge("medmesh_http_requests_in_flight", "Requests being answered."),
            logins: counters("medmesh_logins_total", "Tries to sign in.", &["outcome"]),
            client_tokens: counters(
                "medmesh_client_tokens_total",
                "Machines asking for an access token, and what came of it.",
                &["outcome"],
            ),
            hash_waiting: gauge("medmesh_password_hash_queue", "Passwords waiting to be hashed."),
            streams: gauge("medmesh_event_streams", "Open event streams."),
            delivery: register(
                registry,
                Histogram::with_opts(delivery).expect("metric names are valid"),
            ),
            connections: counters(
                "medmesh_http_connections_total",
                "Connections by protocol and how they ended.",
                &["protocol", "outcome"],
            ),
        }
    }
}

impl Metrics {
    pub(crate) fn hash_waiting(&self) -> IntGauge {
        self.hash_waiting.clone()
    }

    pub(crate) fn connections(&self) -> IntCounterVec {
        self.connections.clone()
    }
}

fn register<C: prometheus::core::Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry
        .register(Box::new(collector.clone()))
        .expect("each metric is registered once");
    collector
}
