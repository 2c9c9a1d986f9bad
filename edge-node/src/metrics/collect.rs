//! Turns the shards' and links' own counters into metric families when somebody asks.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};

use medmesh_sfu::Stats;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use crate::mesh::{PeerCounters, PeerTable};
use crate::shard::{LoopStats, Shards};

/// Reads shards and peers at each scrape.
pub(crate) struct EdgeCollector {
    shards: Shards,
    peers: PeerTable,
    desc: Desc,
}

impl EdgeCollector {
    pub(crate) fn new(shards: Shards, peers: PeerTable) -> Result<Self, prometheus::Error> {
        let desc = Desc::new(
            "medmesh_edge_participants".into(),
            "Local connections".into(),
            Vec::new(),
            HashMap::new(),
        )?;
        Ok(Self { shards, peers, desc })
    }
}

type ShardValue = (&'static str, &'static str, fn(&Stats) -> u64);

const GAUGES: &[ShardValue] = &[
    ("medmesh_edge_participants", "Local connections", |s| {
        s.participants
    }),
    ("medmesh_edge_rooms", "Rooms with local participants", |s| s.rooms),
    ("medmesh_edge_mesh_flows_in", "Layers pulled from peers", |s| {
        s.flows_in
    }),
    ("medmesh_edge_mesh_flows_out", "Layers sent to peers", |s| {
        s.flows_out
    }),
];

const COUNTERS: &[ShardValue] = &[
    (
        "medmesh_edge_rtp_received_packets_total",
        "RTP packets from local publishers",
        |s| s.rtp_in,
    ),
    (
        "medmesh_edge_rtp_forwarded_packets_total",
        "RTP packets forwarded, one per local subscriber",
        |s| s.rtp_forwarded,
    ),
    (
        "medmesh_edge_udp_received_packets_total",
        "UDP datagrams of media sockets in",
        |s| s.datagrams_in,
    ),
    (
        "medmesh_edge_udp_received_bytes_total",
        "Their payload bytes",
        |s| s.bytes_in,
    ),
    (
        "medmesh_edge_udp_produced_packets_total",
        "UDP datagrams of media sockets produced",
        |s| s.datagrams_out,
    ),
    (
        "medmesh_edge_udp_produced_bytes_total",
        "Their payload bytes",
        |s| s.bytes_out,
    ),
    (
        "medmesh_edge_mesh_received_packets_total",
        "Media datagrams taken from peers",
        |s| s.mesh_datagrams_in,
    ),
    (
        "medmesh_edge_mesh_received_bytes_total",
        "Their bodies' bytes",
        |s| s.mesh_bytes_in,
    ),
    (
        "medmesh_edge_mesh_sent_packets_total",
        "Media datagrams for peers",
        |s| s.mesh_datagrams_out,
    ),
    ("medmesh_edge_mesh_sent_bytes_total", "Their bodies' bytes", |s| {
        s.mesh_bytes_out
    }),
    (
        "medmesh_edge_mesh_fragmented_packets_total",
        "Packets split for the path",
        |s| s.mesh_fragmented,
    ),
    (
        "medmesh_edge_mesh_nacks_sent_total",
        "Packets asked of a peer again",
        |s| s.mesh_nacks_out,
    ),
    (
        "medmesh_edge_mesh_nacks_received_total",
        "Packets a peer asked for again",
        |s| s.mesh_nacks_in,
    ),
    (
        "medmesh_edge_mesh_resent_packets_total",
        "Packets sent again from the cache",
        |s| s.mesh_resent,
    ),
    (
        "medmesh_edge_mesh_recovered_packets_total",
        "Packets that came after being asked for",
        |s| s.mesh_recovered,
    ),
    (
        "medmesh_edge_keyframe_requests_total",
        "Keyframe requests to publishers or origins",
        |s| s.keyframes_requested,
    ),
    (
        "medmesh_edge_keyframe_requests_coalesced_total",
        "Keyframe requests that joined another",
        |s| s.keyframes_coalesced,
    ),
    ("medmesh_edge_layer_switches_total", "Layer switches", |s| {
        s.layer_switches
    }),
    (
        "medmesh_edge_connection_panics_total",
        "Panics caught inside a connection",
        |s| s.panics,
    ),
];

type LoopValue = (&'static str, &'static str, fn(&LoopStats) -> f64);

/// Exact below 2^53, which these reach in centuries.
macro_rules! field {
    ($name:ident) => {
        |stats| stats.$name as f64
    };
}

const LOOPS: &[LoopValue] = &[
    ("medmesh_edge_shard_turns_total", "Loop turns", field!(turns)),
    (
        "medmesh_edge_shard_busy_seconds_total",
        "Time outside of poll",
        |s| s.busy_ns as f64 / 1e9,
    ),
    (
        "medmesh_edge_shard_receive_calls_total",
        "Receive calls that returned something",
        field!(receive_calls),
    ),
    (
        "medmesh_edge_shard_received_packets_total",
        "Datagrams they returned",
        field!(datagrams_received),
    ),
    (
        "medmesh_edge_shard_receive_errors_total",
        "Receive calls that failed",
        field!(receive_errors),
    ),
    (
        "medmesh_edge_shard_sent_packets_total",
        "Datagrams the kernel took",
        field!(datagrams_sent),
    ),
    (
        "medmesh_edge_shard_sent_bytes_total",
        "Their payload bytes",
        field!(bytes_sent),
    ),
    (
        "medmesh_edge_shard_send_calls_total",
        "Send calls for them",
        field!(send_calls),
    ),
    (
        "medmesh_edge_shard_gso_packets_total",
        "Those sent in GSO runs",
        field!(gso_datagrams),
    ),
];

type LoopDrop = (&'static str, fn(&LoopStats) -> u64);

const LOOP_DROPS: &[LoopDrop] = &[
    ("socket_full", |s| s.dropped_full),
    ("socket_error", |s| s.dropped_error),
    ("command_queue_full", |s| s.commands_refused),
    ("mesh_queue_full", |s| s.mesh_queue_full),
    ("notice_queue_full", |s| s.notices_lost),
    ("link_down", |s| s.mesh_no_link),
];

type PeerValue = (
    &'static str,
    &'static str,
    MetricType,
    f64,
    fn(&PeerCounters) -> &AtomicU64,
);

/// Name, help, kind, divisor, value.
const PEERS: &[PeerValue] = &[
    (
        "medmesh_edge_link_sent_packets_total",
        "Media datagrams sent to this edge",
        MetricType::COUNTER,
        1.0,
        |p| &p.datagrams_sent,
    ),
    (
        "medmesh_edge_link_sent_bytes_total",
        "Their bytes",
        MetricType::COUNTER,
        1.0,
        |p| &p.bytes_sent,
    ),
    (
        "medmesh_edge_link_received_packets_total",
        "Media datagrams received from this edge",
        MetricType::COUNTER,
        1.0,
        |p| &p.datagrams_received,
    ),
    (
        "medmesh_edge_link_received_bytes_total",
        "Their bytes",
        MetricType::COUNTER,
        1.0,
        |p| &p.bytes_received,
    ),
    (
        "medmesh_edge_link_sent_messages_total",
        "Messages sent to this edge",
        MetricType::COUNTER,
        1.0,
        |p| &p.messages_sent,
    ),
    (
        "medmesh_edge_link_received_messages_total",
        "Messages from this edge",
        MetricType::COUNTER,
        1.0,
        |p| &p.messages_received,
    ),
    (
        "medmesh_edge_link_malformed_total",
        "Datagrams and messages that made no sense",
        MetricType::COUNTER,
        1.0,
        |p| &p.malformed,
    ),
    (
        "medmesh_edge_link_sessions_total",
        "Sessions with this edge so far",
        MetricType::COUNTER,
        1.0,
        |p| &p.sessions,
    ),
    (
        "medmesh_edge_link_rtt_seconds",
        "Round trip, from probes",
        MetricType::GAUGE,
        1e6,
        |p| &p.rtt_us,
    ),
    (
        "medmesh_edge_link_jitter_seconds",
        "Jitter, from probes",
        MetricType::GAUGE,
        1e6,
        |p| &p.jitter_us,
    ),
    (
        "medmesh_edge_link_loss_ratio",
        "Loss, from probes",
        MetricType::GAUGE,
        1e6,
        |p| &p.loss_ppm,
    ),
];

impl Collector for EdgeCollector {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let views = self.shards.views();
        let stats: Vec<&Stats> = views.iter().map(|(_, view)| &view.stats).collect();
        let mut families = Vec::new();
        let total = |get: fn(&Stats) -> u64| stats.iter().map(|s| get(s)).sum::<u64>() as f64;
        for (name, help, get) in GAUGES {
            let metric = sample(MetricType::GAUGE, &[], total(*get));
            families.push(family(name, help, MetricType::GAUGE, vec![metric]));
        }
        for (name, help, get) in COUNTERS {
            let metric = sample(MetricType::COUNTER, &[], total(*get));
            families.push(family(name, help, MetricType::COUNTER, vec![metric]));
        }
        for (name, help, get) in LOOPS {
            let samples = views.iter().enumerate().map(|(shard, (loops, _))| {
                sample(MetricType::COUNTER, &[("shard", &shard.to_string())], get(loops))
            });
            families.push(family(name, help, MetricType::COUNTER, samples.collect()));
        }
        families.push(self.dropped(&stats));
        families.push(left(&stats));
        families.extend(self.links());
        // The registry refuses families without a sample.
        families.retain(|family| !family.get_metric().is_empty());
        families
    }
}

impl EdgeCollector {
    /// Every drop of every layer of the edge, by reason.
    fn dropped(&self, stats: &[&Stats]) -> MetricFamily {
        let mut by_reason: BTreeMap<&'static str, u64> = BTreeMap::new();
        for (reason, count) in stats.iter().flat_map(|s| &s.dropped) {
            *by_reason.entry(reason.as_str()).or_default() += count;
        }
        for (loops, _) in self.shards.views() {
            for (reason, get) in LOOP_DROPS {
                *by_reason.entry(reason).or_default() += get(&loops);
            }
        }
        for peer in self.peers.read().values() {
            let reasons = [
                ("link_too_big", &peer.dropped_too_big),
                ("link_buffer_full", &peer.dropped_buffer_full),
                ("link_closed", &peer.dropped_closed),
            ];
            for (reason, count) in reasons {
                *by_reason.entry(reason).or_default() += count.load(Ordering::Relaxed);
            }
        }
        family(
            "medmesh_edge_dropped_total",
            "Datagrams, packets and messages dropped, by reason",
            MetricType::COUNTER,
            by_reasons("reason", &by_reason),
        )
    }

    fn links(&self) -> Vec<MetricFamily> {
        let peers = self.peers.read();
        let families = PEERS.iter().map(|(name, help, kind, divisor, get)| {
            let samples = peers.iter().map(|(edge, counters)| {
                let value = get(counters).load(Ordering::Relaxed) as f64 / divisor;
                sample(*kind, &[("edge", &edge.to_string())], value)
            });
            family(name, help, *kind, samples.collect())
        });
        families.collect()
    }
}

fn left(stats: &[&Stats]) -> MetricFamily {
    let mut by_reason: BTreeMap<&'static str, u64> = BTreeMap::new();
    for (reason, count) in stats.iter().flat_map(|s| &s.left) {
        *by_reason.entry(reason.as_str()).or_default() += count;
    }
    family(
        "medmesh_edge_left_total",
        "Connections ended, by reason",
        MetricType::COUNTER,
        by_reasons("reason", &by_reason),
    )
}

fn by_reasons(label: &str, counts: &BTreeMap<&'static str, u64>) -> Vec<Metric> {
    counts
        .iter()
        .map(|(reason, count)| sample(MetricType::COUNTER, &[(label, reason)], *count as f64))
        .collect()
}

fn family(name: &str, help: &str, kind: MetricType, samples: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.into());
    family.set_help(help.into());
    family.set_field_type(kind);
    family.set_metric(samples);
    family
}

fn sample(kind: MetricType, labels: &[(&str, &str)], value: f64) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).into());
        pair.set_value((*value).into());
        pair
    });
    let mut metric = Metric::from_label(pairs.collect());
    if kind == MetricType::GAUGE {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    } else {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    }
    metric
}
