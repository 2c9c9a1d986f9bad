//! Packets an edge forwards per second of CPU.
//!
//! Publishers send one 1,100-byte picture stream each, every subscriber gets them
//! all. The load is fixed; what varies is how much CPU the server takes for it.

mod clients;
mod edge;
mod janus;
pub mod limit;
mod process;

use std::time::Duration;

use clap::Args;

use crate::report::{self, Better, Other, Row};
use clients::{Load, Measured};

/// How long and how often.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Interleaved runs of each program.
    #[arg(long, default_value_t = 5)]
    pub runs: usize,
    /// Seconds of measuring in each run.
    #[arg(long, default_value_t = 5)]
    pub seconds: u64,
    /// Only scenarios whose name contains this.
    #[arg(long)]
    pub only: Option<String>,
    /// Leave the peer out.
    #[arg(long)]
    pub no_peer: bool,
}

/// One load.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    name: &'static str,
    publishers: usize,
    subscribers: usize,
    /// Packets per second of each publisher.
    rate: u32,
    /// Packets that leave at once: 1 is smooth, a frame's worth is what browsers do.
    burst: u32,
    /// Subscribers report arrivals.
    feedback: bool,
    /// 2: publishers on one edge, subscribers on the other.
    edges: usize,
}

const fn scenario(name: &'static str, shape: (usize, usize), rate: u32, burst: u32) -> Scenario {
    let (publishers, subscribers) = shape;
    Scenario {
        name,
        publishers,
        subscribers,
        rate,
        burst,
        feedback: false,
        edges: 1,
    }
}

const SCENARIOS: [Scenario; 7] = [
    scenario("forward-12k-smooth", (5, 10), 250, 1),
    scenario("forward-12k-frames", (5, 10), 250, 8),
    scenario("forward-30k-smooth", (5, 10), 600, 1),
    scenario("forward-30k-frames", (5, 10), 600, 20),
    scenario("forward-1-to-40-frames", (1, 40), 600, 20),
    Scenario {
        edges: 2,
        ..scenario("forward-mesh-12k-frames", (5, 10), 250, 8)
    },
    // As browsers are: the edge estimates, paces and may pause what it thinks does not fit.
    Scenario {
        feedback: true,
        ..scenario("forward-adaptive-frames", (5, 10), 60, 4)
    },
];

/// Payload bytes of every packet.
const PAYLOAD: usize = 1_100;

impl Scenario {
    fn load(&self) -> Load {
        Load {
            publishers: self.publishers,
            subscribers: self.subscribers,
            rate: self.rate,
            burst: self.burst,
            payload: PAYLOAD,
            feedback: self.feedback,
        }
    }
}

/// Runs the scenarios.
///
/// # Errors
/// When a server does not start or a client does not connect.
pub fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let wanted = |s: &&Scenario| {
        options
            .only
            .as_ref()
            .is_none_or(|only| s.name.contains(only.as_str()))
    };
    let mut rows = Vec::new();
    for scenario in SCENARIOS.iter().filter(wanted) {
        rows.extend(measure(scenario, options)?);
    }
    Ok(rows)
}

fn measure(scenario: &Scenario, options: &Options) -> anyhow::Result<Vec<Row>> {
    let load = scenario.load();
    let time = Duration::from_secs(options.seconds);
    let (mut us, mut peer, mut limit): (Vec<Measured>, Vec<Measured>, Vec<f64>) = Default::default();
    for run in 1..=options.runs {
        us.push(edge::run(&load, scenario.edges, time)?);
        // Janus has no mesh.
        if !options.no_peer && scenario.edges == 1 {
            peer.push(janus::run(&load, time)?);
        }
        limit.push(limit::run(&load, time)?);
        let last = |m: &[Measured]| m.last().map_or("–".to_owned(), Measured::line);
        report::print(&format!(
            "{} {run}/{}: us {} | janus {} | limit {:.0}/cpu-s",
            scenario.name,
            options.runs,
            last(&us),
            last(&peer),
            limit.last().copied().unwrap_or_default(),
        ));
    }
    let row = |suffix: &str, unit: &str, better, pick: fn(&Measured) -> f64, limit: Option<Other>| Row {
        bench: format!("{}{suffix}", scenario.name),
        unit: unit.to_owned(),
        better,
        us: us.iter().map(pick).collect(),
        peer: (!peer.is_empty()).then(|| Other {
            name: "Janus, event_loops=2".to_owned(),
            runs: peer.iter().map(pick).collect(),
        }),
        limit,
    };
    let limit = Other {
        name: "seal + send".to_owned(),
        runs: limit,
    };
    Ok(vec![
        row(
            "",
            "packets/cpu-s",
            Better::Higher,
            |m| m.per_cpu_second,
            Some(limit),
        ),
        row("-latency-p50", "µs", Better::Lower, |m| m.latency_p50_us, None),
        row("-latency-p99", "µs", Better::Lower, |m| m.latency_p99_us, None),
        row("-delivered", "share", Better::Higher, |m| m.delivered, None),
        row(
            "-memory-per-participant",
            "bytes",
            Better::Lower,
            |m| m.memory_per_participant,
            None,
        ),
    ])
}
