//! The servers' numbers as Prometheus metrics: each worker stores its own, a scrape adds them up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, MetricFamily, MetricType};

use super::handle::RelayStats;
use crate::server::counters::{Family, Kind};
use crate::server::{Counter, Counters};

/// The numbers of one worker; only that worker writes them. A cache line of its own keeps
/// workers out of each other's way.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct WorkerMetrics([AtomicU64; Counter::ALL.len()]);

impl WorkerMetrics {
    /// Shows `counters` to the outside.
    pub(super) fn publish(&self, counters: &Counters) {
        for (slot, &value) in self.0.iter().zip(counters.values()) {
            slot.store(value, Ordering::Relaxed);
        }
    }

    fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize].load(Ordering::Relaxed)
    }
}

/// The numbers of all workers.
#[derive(Debug)]
pub(super) struct Metrics {
    workers: Vec<Arc<WorkerMetrics>>,
}

impl Metrics {
    pub(super) fn new(workers: usize) -> Self {
        let zeros = || Arc::new(WorkerMetrics(std::array::from_fn(|_| AtomicU64::new(0))));
        Self {
            workers: std::iter::repeat_with(zeros).take(workers).collect(),
        }
    }

    pub(super) fn worker(&self, index: usize) -> Arc<WorkerMetrics> {
        Arc::clone(&self.workers[index])
    }

    pub(super) fn register(
        self: &Arc<Self>,
        registry: &prometheus::Registry,
    ) -> Result<(), prometheus::Error> {
        registry.register(Box::new(Scrape::new(Arc::clone(self))?))
    }

    fn sum(&self, counter: Counter) -> u64 {
        self.workers.iter().map(|worker| worker.get(counter)).sum()
    }

    pub(super) fn stats(&self) -> RelayStats {
        RelayStats {
            allocations: self.sum(Counter::Allocations),
            permissions: self.sum(Counter::Permissions),
            channels: self.sum(Counter::Channels),
            packets_to_peers: self.sum(Counter::PacketsToPeers),
            packets_to_clients: self.sum(Counter::PacketsToClients),
            bytes_to_peers: self.sum(Counter::BytesToPeers),
            bytes_to_clients: self.sum(Counter::BytesToClients),
        }
    }
}

struct Scrape {
    metrics: Arc<Metrics>,
    descriptions: Vec<Desc>,
}

impl Scrape {
    fn new(metrics: Arc<Metrics>) -> Result<Self, prometheus::Error> {
        let mut descriptions = Vec::new();
        for group in families() {
            let family = group[0].family().0;
            let labels = if family.label.is_empty() {
                vec![]
            } else {
                vec![family.label.to_owned()]
            };
            descriptions.push(Desc::new(
                full_name(family),
                family.help.to_owned(),
                labels,
                std::collections::HashMap::new(),
            )?);
        }
        Ok(Self {
            metrics,
            descriptions,
        })
    }
}

/// The counters, cut into families.
fn families() -> impl Iterator<Item = &'static [Counter]> {
    Counter::ALL.chunk_by(|a, b| a.family().0 == b.family().0)
}

fn full_name(family: &Family) -> String {
    format!("medmesh_turn_{}", family.name)
}

impl Collector for Scrape {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        families().map(|group| self.family(group)).collect()
    }
}

impl Scrape {
    fn family(&self, group: &'static [Counter]) -> MetricFamily {
        let family = group[0].family().0;
        let mut out = MetricFamily::default();
        out.set_name(full_name(family));
        out.set_help(family.help.to_owned());
        out.set_field_type(match family.kind {
            Kind::Gauge => MetricType::GAUGE,
            Kind::Counter => MetricType::COUNTER,
        });
        out.set_metric(
            group
                .iter()
                .map(|&counter| self.metric(family, counter))
                .collect(),
        );
        out
    }

    #[expect(clippy::cast_precision_loss, reason = "Prometheus samples are f64")]
    fn metric(&self, family: &Family, counter: Counter) -> proto::Metric {
        let mut metric = proto::Metric::default();
        if !family.label.is_empty() {
            let mut label = proto::LabelPair::default();
            label.set_name(family.label.to_owned());
            label.set_value(counter.family().1.to_owned());
            metric.set_label(vec![label]);
        }
        let value = self.metrics.sum(counter) as f64;
        match family.kind {
            Kind::Gauge => {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            Kind::Counter => {
                let mut sample = proto::Counter::default();
                sample.set_value(value);
                metric.set_counter(sample);
            }
        }
        metric
    }
}
