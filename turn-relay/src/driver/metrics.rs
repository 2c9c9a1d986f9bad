//! Numbers as Prometheus metrics: each worker stores its own, a scrape adds them up.

mod numbers;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, MetricFamily, MetricType};

use super::handle::RelayStats;
use super::xdp::{Carried, FastPath, Standing};
use crate::server::counters::{Family, Kind};
use crate::server::{Counter, Counters};
use numbers::{Histogram, Scale};
pub(super) use numbers::{Measure, Number};

/// The numbers of one worker; only that worker writes them. A cache line of its own keeps
/// workers out of each other's way.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct WorkerMetrics {
    counters: [AtomicU64; Counter::ALL.len()],
    numbers: [AtomicU64; Number::ALL.len()],
    histograms: [Histogram; Measure::ALL.len()],
}

impl WorkerMetrics {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            counters: std::array::from_fn(|_| AtomicU64::new(0)),
            numbers: std::array::from_fn(|_| AtomicU64::new(0)),
            histograms: std::array::from_fn(|_| Histogram::default()),
        })
    }

    /// Shows `counters` to the outside.
    pub(super) fn publish(&self, counters: &Counters) {
        for (slot, &value) in self.counters.iter().zip(counters.values()) {
            slot.store(value, Ordering::Relaxed);
        }
    }

    pub(super) fn increment(&self, number: Number) {
        numbers::add(&self.numbers[number as usize], 1);
    }

    pub(super) fn set(&self, number: Number, value: u64) {
        self.numbers[number as usize].store(value, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn record_bytes(&self, measure: Measure, bytes: usize) {
        self.histograms[measure as usize].record(measure.scale().0, bytes as u64);
    }

    #[inline]
    pub(super) fn record_time(&self, measure: Measure, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.histograms[measure as usize].record(measure.scale().0, nanos);
    }

    fn get(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].load(Ordering::Relaxed)
    }
}

/// The numbers of all workers.
#[derive(Debug)]
pub(super) struct Metrics {
    workers: Vec<Arc<WorkerMetrics>>,
    fast_path: Option<Arc<FastPath>>,
    /// Interfaces it was asked for on.
    asked: u64,
}

impl Metrics {
    pub(super) fn new(workers: usize, fast_path: Option<Arc<FastPath>>, asked: u64) -> Self {
        Self {
            workers: std::iter::repeat_with(WorkerMetrics::new).take(workers).collect(),
            fast_path,
            asked,
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

    fn sum_number(&self, number: Number) -> u64 {
        let of = |worker: &Arc<WorkerMetrics>| worker.numbers[number as usize].load(Ordering::Relaxed);
        self.workers.iter().map(of).sum()
    }

    pub(super) fn stats(&self) -> RelayStats {
        let carried = self.carried();
        RelayStats {
            allocations: self.sum(Counter::Allocations),
            permissions: self.sum(Counter::Permissions),
            channels: self.sum(Counter::Channels),
            connections: self.sum_number(Number::Connections),
            packets_to_peers: self.sum(Counter::PacketsToPeers) + carried.packets_to_peers,
            packets_to_clients: self.sum(Counter::PacketsToClients) + carried.packets_to_clients,
            bytes_to_peers: self.sum(Counter::BytesToPeers) + carried.bytes_to_peers,
            bytes_to_clients: self.sum(Counter::BytesToClients) + carried.bytes_to_clients,
        }
    }

    /// What the kernel has relayed by itself.
    fn carried(&self) -> Carried {
        self.fast_path
            .as_ref()
            .map_or_else(Carried::default, |path| path.carried())
    }

    /// Every series that is one number, families together. What was relayed is all that was, by the
    /// sockets or by the kernel; the kernel's part stands beside it.
    fn series(&self) -> Vec<Series> {
        let carried = self.carried();
        let counters = Counter::ALL.iter().map(|&counter| {
            let by_kernel = match counter {
                Counter::PacketsToPeers => carried.packets_to_peers,
                Counter::PacketsToClients => carried.packets_to_clients,
                Counter::BytesToPeers => carried.bytes_to_peers,
                Counter::BytesToClients => carried.bytes_to_clients,
                _ => 0,
            };
            (counter.family(), self.sum(counter) + by_kernel)
        });
        let numbers = Number::ALL
            .iter()
            .map(|&number| (number.family(), self.sum_number(number)));
        let series = |((family, label), value)| Series { family, label, value };
        let standing = self
            .fast_path
            .as_ref()
            .map_or_else(Standing::default, |path| path.standing());
        let by_kernel = numbers::of_fast_path(&carried, &standing, self.asked);
        counters.chain(numbers).chain(by_kernel).map(series).collect()
    }
}

struct Series {
    family: &'static Family,
    label: &'static str,
    value: u64,
}

struct Scrape {
    metrics: Arc<Metrics>,
    descriptions: Vec<Desc>,
}

impl Scrape {
    fn new(metrics: Arc<Metrics>) -> Result<Self, prometheus::Error> {
        let series = metrics.series();
        let single = series
            .chunk_by(|a, b| a.family == b.family)
            .map(|group| (group[0].family.name, group[0].family.help, group[0].family.label));
        let scales = Measure::ALL
            .chunk_by(same_scale)
            .map(|group| group[0].scale().0)
            .map(|scale| (scale.name, scale.help, scale.label));
        let descriptions: Result<_, _> = single
            .chain(scales)
            .map(|(name, help, label)| {
                let labels = if label.is_empty() {
                    vec![]
                } else {
                    vec![label.to_owned()]
                };
                Desc::new(full_name(name), help.to_owned(), labels, HashMap::new())
            })
            .collect();
        Ok(Self {
            descriptions: descriptions?,
            metrics,
        })
    }

    fn histograms(&self, group: &[Measure]) -> MetricFamily {
        let scale = group[0].scale().0;
        let mut out = family(scale.name, scale.help, MetricType::HISTOGRAM);
        out.set_metric(
            group
                .iter()
                .map(|&measure| {
                    let mut metric = labelled(scale.label, measure.scale().1);
                    metric.set_histogram(self.histogram(scale, measure));
                    metric
                })
                .collect(),
        );
        out
    }

    #[expect(clippy::cast_precision_loss, reason = "Prometheus samples are f64")]
    fn histogram(&self, scale: &Scale, measure: Measure) -> proto::Histogram {
        let of_all = |pick: &dyn Fn(&Histogram) -> &AtomicU64| -> u64 {
            let one = |worker: &Arc<WorkerMetrics>| {
                pick(&worker.histograms[measure as usize]).load(Ordering::Relaxed)
            };
            self.metrics.workers.iter().map(one).sum()
        };
        let mut out = proto::Histogram::default();
        let mut count = 0;
        let mut buckets = Vec::new();
        for (index, bound) in scale.bounds.iter().enumerate() {
            count += of_all(&|histogram| &histogram.buckets[index]);
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound as f64 * scale.unit);
            bucket.set_cumulative_count(count);
            buckets.push(bucket);
        }
        count += of_all(&|histogram| &histogram.buckets[scale.bounds.len()]);
        out.set_bucket(buckets);
        out.set_sample_count(count);
        out.set_sample_sum(of_all(&|histogram| &histogram.sum) as f64 * scale.unit);
        out
    }
}

fn same_scale(a: &Measure, b: &Measure) -> bool {
    a.scale().0.name == b.scale().0.name
}

fn full_name(name: &str) -> String {
    format!("medmesh_turn_{name}")
}

fn family(name: &str, help: &str, kind: MetricType) -> MetricFamily {
    let mut out = MetricFamily::default();
    out.set_name(full_name(name));
    out.set_help(help.to_owned());
    out.set_field_type(kind);
    out
}

fn labelled(name: &str, value: &str) -> proto::Metric {
    let mut metric = proto::Metric::default();
    if !name.is_empty() {
        let mut label = proto::LabelPair::default();
        label.set_name(name.to_owned());
        label.set_value(value.to_owned());
        metric.set_label(vec![label]);
    }
    metric
}

impl Collector for Scrape {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let series = self.metrics.series();
        let single = series.chunk_by(|a, b| a.family == b.family).map(single);
        let histograms = Measure::ALL
            .chunk_by(same_scale)
            .map(|group| self.histograms(group));
        single.chain(histograms).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus samples are f64")]
fn single(group: &[Series]) -> MetricFamily {
    let kind = group[0].family.kind;
    let metric = |series: &Series| {
        let mut metric = labelled(series.family.label, series.label);
        match kind {
            Kind::Gauge => {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(series.value as f64);
                metric.set_gauge(gauge);
            }
            Kind::Counter => {
                let mut sample = proto::Counter::default();
                sample.set_value(series.value as f64);
                metric.set_counter(sample);
            }
        }
        metric
    };
    let metric_type = match kind {
        Kind::Gauge => MetricType::GAUGE,
        Kind::Counter => MetricType::COUNTER,
    };
    let mut out = family(group[0].family.name, group[0].family.help, metric_type);
    out.set_metric(group.iter().map(metric).collect());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_shown_once_and_adds_up_over_workers() {
        let metrics = Arc::new(Metrics::new(2, None, 1));
        let registry = prometheus::Registry::new();
        metrics.register(&registry).unwrap();
        for index in 0..2 {
            let worker = metrics.worker(index);
            worker.increment(Number::EndedFraming);
            worker.record_bytes(Measure::SizeToPeer, 172);
            worker.record_bytes(Measure::SizeToClient, 1200);
            worker.record_bytes(Measure::SizeToClient, 60_000);
            worker.record_time(Measure::Turn, Duration::from_micros(30));
        }
        let (text, _) = medmesh_base::telemetry::render(&registry);
        for line in [
            "medmesh_turn_client_connections_ended_total{reason=\"framing\"} 2",
            "medmesh_turn_packet_bytes_bucket{direction=\"to_peer\",le=\"128\"} 0",
            "medmesh_turn_packet_bytes_bucket{direction=\"to_peer\",le=\"256\"} 2",
            "medmesh_turn_packet_bytes_bucket{direction=\"to_client\",le=\"9000\"} 2",
            "medmesh_turn_packet_bytes_count{direction=\"to_client\"} 4",
            "medmesh_turn_turn_seconds_count 2",
            "medmesh_turn_tls_handshake_seconds_count 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
        }
        for (index, number) in Number::ALL.iter().enumerate() {
            assert_eq!(*number as usize, index);
        }
        for (index, measure) in Measure::ALL.iter().enumerate() {
            assert_eq!(*measure as usize, index);
            assert!(measure.scale().0.bounds.len() < 12);
        }
    }
}
