//! What links count. Labels are roles and reasons, never machines or people.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Counters of one endpoint; clones share them.
#[derive(Clone, Debug)]
pub struct LinkMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sessions_open: IntGauge,
    sessions: IntCounterVec,
    refused: IntCounterVec,
    dials: IntCounterVec,
    streams: IntCounterVec,
    streams_refused: IntCounterVec,
    datagrams_sent: IntCounter,
    datagrams_received: IntCounter,
    datagram_bytes_sent: IntCounter,
    datagram_bytes_received: IntCounter,
    datagrams_dropped: IntCounterVec,
    certificate_expiry: IntGauge,
}

impl LinkMetrics {
    /// Makes the counters and registers them.
    ///
    /// # Errors
    /// When the registry already has them: one endpoint per registry.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(Self(Arc::new(Inner {
            sessions_open: gauge("medmesh_link_sessions", "QUIC sessions open now")?,
            sessions: counters(
                "medmesh_link_sessions_total",
                "Sessions established, by direction and the peer's role",
                &["direction", "role"],
            )?,
            refused: counters(
                "medmesh_link_sessions_refused_total",
                "Incoming sessions turned away, by reason",
                &["reason"],
            )?,
            dials: counters("medmesh_link_dials_total", "Dials, by result", &["result"])?,
            streams: counters(
                "medmesh_link_streams_total",
                "Streams taken, by class",
                &["class"],
            )?,
            streams_refused: counters(
                "medmesh_link_streams_refused_total",
                "Streams turned away, by reason",
                &["reason"],
            )?,
            datagrams_sent: counter("medmesh_link_datagrams_sent_total", "Datagrams handed to QUIC")?,
            datagrams_received: counter("medmesh_link_datagrams_received_total", "Datagrams received")?,
            datagram_bytes_sent: counter(
                "medmesh_link_datagram_sent_bytes_total",
                "Bytes of datagrams handed to QUIC",
            )?,
            datagram_bytes_received: counter(
                "medmesh_link_datagram_received_bytes_total",
                "Bytes of datagrams received",
            )?,
            datagrams_dropped: counters(
                "medmesh_link_datagrams_dropped_total",
                "Datagrams not sent, by reason",
                &["reason"],
            )?,
            certificate_expiry: gauge(
                "medmesh_link_certificate_expiry_seconds",
                "When the own certificate ends, Unix time",
            )?,
        })))
    }

    pub(crate) fn session_opened(&self, direction: &str, role: &str) {
        self.0.sessions.with_label_values(&[direction, role]).inc();
        self.0.sessions_open.inc();
    }

    pub(crate) fn session_closed(&self) {
        self.0.sessions_open.dec();
    }

    pub(crate) fn refused(&self, reason: &str) {
        self.0.refused.with_label_values(&[reason]).inc();
    }

    pub(crate) fn dialled(&self, result: &str) {
        self.0.dials.with_label_values(&[result]).inc();
    }

    pub(crate) fn stream(&self, class: &str) {
        self.0.streams.with_label_values(&[class]).inc();
    }

    pub(crate) fn stream_refused(&self, reason: &str) {
        self.0.streams_refused.with_label_values(&[reason]).inc();
    }

    pub(crate) fn datagram_sent(&self, bytes: usize) {
        self.0.datagrams_sent.inc();
        self.0.datagram_bytes_sent.inc_by(bytes as u64);
    }

    pub(crate) fn datagram_received(&self, bytes: usize) {
        self.0.datagrams_received.inc();
        self.0.datagram_bytes_received.inc_by(bytes as u64);
    }

    pub(crate) fn datagram_dropped(&self, reason: &str) {
        self.0.datagrams_dropped.with_label_values(&[reason]).inc();
    }

    pub(crate) fn certificate_expires(&self, unix_seconds: i64) {
        self.0.certificate_expiry.set(unix_seconds);
    }

    /// How many streams were refused for `reason`; tests ask.
    #[must_use]
    pub fn streams_refused_count(&self, reason: &str) -> u64 {
        self.0.streams_refused.with_label_values(&[reason]).get()
    }

    /// How many sessions were refused for `reason`; tests ask.
    #[must_use]
    pub fn sessions_refused_count(&self, reason: &str) -> u64 {
        self.0.refused.with_label_values(&[reason]).get()
    }

    /// How many datagrams were dropped for `reason`; tests ask.
    #[must_use]
    pub fn datagrams_dropped_count(&self, reason: &str) -> u64 {
        self.0.datagrams_dropped.with_label_values(&[reason]).get()
    }
}
