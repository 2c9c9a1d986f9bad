//! What a TURN server costs, beside coturn under the same load and a program that does
//! nothing but forward with our batching.
//!
//! The servers run for the whole bench, each with one relay thread. Rounds alternate between
//! them and the first is dropped. The load is steady and below what either can carry; what
//! varies is how much CPU it takes.

mod account;
mod flow;
mod kernel;
mod load;
mod server;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::report::{self, Better, Other, Row};
use flow::Flow;
pub use kernel::{Options as KernelOptions, can_run as kernel_can_run, rows as kernel_rows};
use load::{Direction, Load, Result};
use server::{LOCAL, LOOPBACK, Place, Server};

/// How long and how often.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Rounds of each server; one more comes first and is dropped.
    #[arg(long, default_value_t = 8)]
    pub rounds: usize,
    /// Milliseconds of measuring in each round.
    #[arg(long, default_value_t = 350)]
    pub millis: u64,
    /// Only loads whose name contains this.
    #[arg(long)]
    pub only: Option<String>,
    /// Packets per second.
    #[arg(long, default_value_t = 40_000)]
    pub rate: u64,
    /// Print the rounds.
    #[arg(long)]
    pub rounds_too: bool,
}

/// The bare forwarder, which the bench starts.
#[derive(Args, Clone, Debug)]
pub struct ForwardOptions {
    /// Where clients send.
    listen: SocketAddr,
    /// Where it forwards to.
    peer: SocketAddr,
}

/// Runs the bare forwarder.
///
/// # Errors
/// When it cannot listen.
pub fn forward(options: &ForwardOptions) -> anyhow::Result<()> {
    Ok(medmesh_turn::forward(options.listen, options.peer)?)
}

/// Idle allocations for which memory is measured.
const IDLE: u16 = 4_000;
/// Rates at which coturn's maximum is looked for, in packets per second.
const RAMP: [u64; 8] = [
    40_000, 60_000, 80_000, 100_000, 130_000, 160_000, 200_000, 250_000,
];
/// More lost than this is too much.
const LOSS_MAX: f64 = 0.001;
/// The generator has kept up if it sent this share of what it should.
const KEPT_UP: f64 = 0.97;

/// Everything that runs.
struct World {
    sink: UdpSocket,
    us: Server,
    coturn: Server,
    limit: Server,
}

impl World {
    fn start() -> anyhow::Result<Self> {
        // Each flow is a socket.
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        let sink = load::sink(LOOPBACK)?;
        Ok(Self {
            us: server::medmesh(&LOCAL)?,
            coturn: server::coturn(&LOCAL).context("coturn")?,
            limit: server::forwarder(&LOCAL, sink.local_addr()?)?,
            sink,
        })
    }
}

/// The loads: every combination of what makes a difference.
fn loads(rate: u64) -> Vec<(String, Load)> {
    let mut loads = Vec::new();
    for (mode, channel) in [("channel", true), ("send", false)] {
        for (way, direction) in [("up", Direction::Up), ("down", Direction::Down)] {
            for flows in [1, 100] {
                for (shape, payload, burst) in
                    [("172B", 172, 1), ("1200B", 1200, 1), ("1200B-frames", 1200, 8)]
                {
                    let name = format!("turn-{mode}-{way}-{flows}-{shape}");
                    loads.push((
                        name,
                        Load {
                            flows,
                            payload,
                            channel,
                            direction,
                            rate,
                            burst,
                        },
                    ));
                }
            }
        }
    }
    loads
}

/// Runs the loads.
///
/// # Errors
/// When a server does not start or refuses a flow.
pub fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let world = World::start()?;
    let wanted = |name: &str| {
        options
            .only
            .as_ref()
            .is_none_or(|only| name.contains(only.as_str()))
    };
    let mut rows = Vec::new();
    if wanted("turn-idle-allocation") {
        rows.push(memory(options)?);
    }
    if wanted("turn-generator") {
        rows.push(generator(&world, options)?);
    }
    for (name, load) in loads(options.rate).into_iter().filter(|(name, _)| wanted(name)) {
        rows.extend(efficiency(&world, &name, &load, options)?);
    }
    let latencies = loads(options.rate)
        .into_iter()
        .filter(|(_, load)| load.channel && load.direction == Direction::Up && load.burst == 1)
        .map(|(name, load)| (name.replace("turn-channel-up", "turn-latency"), load));
    for (name, load) in latencies.filter(|(name, _)| wanted(name)) {
        rows.extend(latency(&world, &name, &load, options)?);
    }
    Ok(rows)
}

/// One load over the flows of one server.
fn round(
    world: &World,
    server: &Server,
    flows: &[Flow],
    load: &Load,
    options: &Options,
) -> anyhow::Result<Result> {
    let time = Duration::from_millis(options.millis);
    load::run(load, &world.sink, flows, time, || server.cpu_seconds())
}

/// Rounds of some servers by turns; the first of each is dropped.
fn alternate(
    world: &World,
    servers: &[&Server],
    name: &str,
    load: &Load,
    options: &Options,
) -> anyhow::Result<Vec<Vec<Result>>> {
    let flows: anyhow::Result<Vec<_>> = servers
        .iter()
        .map(|server| server.flows(load.flows, load.channel, &world.sink))
        .collect();
    let flows = flows?;
    let mut results = vec![Vec::new(); servers.len()];
    for count in 0..=options.rounds {
        for ((server, flows), results) in servers.iter().zip(&flows).zip(&mut results) {
            let result = round(world, server, flows, load, options)?;
            if options.rounds_too {
                let (p50, p99) = (result.latency_us(0.5), result.latency_us(0.99));
                report::print(&format!(
                    "{name} {count}: {:.0}/cpu-s, loss {:.3} %, p50 {p50:.0} p99 {p99:.0} µs",
                    result.per_cpu_second(),
                    result.loss() * 100.0
                ));
            }
            if count > 0 {
                results.push(result);
            }
        }
    }
    Ok(results)
}

fn row(name: String, unit: &str, better: Better, runs: &[Vec<Result>], pick: fn(&Result) -> f64) -> Row {
    let runs_of = |index: usize| runs.get(index).map(|runs| runs.iter().map(pick).collect());
    let other = |index, name: &str| {
        runs_of(index).map(|runs| Other {
            name: name.to_owned(),
            runs,
        })
    };
    Row {
        bench: name,
        unit: unit.to_owned(),
        better,
        us: runs_of(0).unwrap_or_default(),
        peer: other(1, "coturn"),
        limit: other(2, "bare forwarder"),
    }
}

/// Packets per second of the server's CPU at the same load.
fn efficiency(world: &World, name: &str, load: &Load, options: &Options) -> anyhow::Result<Vec<Row>> {
    let servers = [&world.us, &world.coturn, &world.limit];
    let runs = alternate(world, &servers, name, load, options)?;
    Ok(vec![
        row(
            name.to_owned(),
            "packets/cpu-s",
            Better::Higher,
            &runs,
            Result::per_cpu_second,
        ),
        row(
            format!("{name}-loss"),
            "share",
            Better::Lower,
            &runs,
            Result::loss,
        ),
    ])
}

/// Added latency at half of what coturn carries at most.
fn latency(world: &World, name: &str, load: &Load, options: &Options) -> anyhow::Result<Vec<Row>> {
    let flows = world.coturn.flows(load.flows, load.channel, &world.sink)?;
    let mut most = RAMP[0];
    for rate in RAMP {
        let result = round(world, &world.coturn, &flows, &Load { rate, ..*load }, options)?;
        let kept_up = result.sent as f64 >= KEPT_UP * rate as f64 * result.seconds;
        if result.loss() > LOSS_MAX || !kept_up {
            break;
        }
        most = rate;
    }
    let half = Load {
        rate: most / 2,
        ..*load
    };
    let servers = [&world.us, &world.coturn, &world.limit];
    let runs = alternate(world, &servers, name, &half, options)?;
    let rate = |result: &Result| result.sent as f64 / result.seconds;
    Ok(vec![
        row(format!("{name}-p50"), "µs", Better::Lower, &runs, |r| {
            r.latency_us(0.5)
        }),
        row(format!("{name}-p99"), "µs", Better::Lower, &runs, |r| {
            r.latency_us(0.99)
        }),
        row(
            format!("{name}-at"),
            "packets/s",
            Better::Higher,
            &runs[..1],
            rate,
        ),
    ])
}

/// What the generator sends and receives with no server between, beside what is asked of it.
fn generator(world: &World, options: &Options) -> anyhow::Result<Row> {
    let peer = world.sink.local_addr()?;
    let flows: anyhow::Result<Vec<Flow>> = (0..100).map(|_| Flow::direct(peer)).collect();
    let flows = flows?;
    let load = Load {
        flows: 100,
        payload: 1200,
        channel: true,
        direction: Direction::Up,
        rate: 10 * options.rate,
        burst: 1,
    };
    let mut runs = Vec::new();
    for count in 0..=options.rounds {
        let result = round(world, &world.us, &flows, &load, options)?;
        if count > 0 {
            runs.push(result.delivered as f64 / result.seconds);
        }
    }
    Ok(Row {
        bench: "turn-generator".to_owned(),
        unit: "packets/s".to_owned(),
        better: Better::Higher,
        us: runs,
        peer: None,
        limit: Some(Other {
            name: "asked of it".to_owned(),
            runs: vec![options.rate as f64],
        }),
    })
}

/// Memory of the process for one allocation with a channel, socket apart: that is the kernel's.
fn memory(options: &Options) -> anyhow::Result<Row> {
    let sink = load::sink(LOOPBACK)?;
    let measure = |start: fn(&Place) -> anyhow::Result<Server>| -> anyhow::Result<f64> {
        let server = start(&LOCAL)?;
        // What the first allocation brings along is not the others'.
        let _first = server.flows(16, true, &sink)?;
        let before = server.private_bytes()?;
        let _idle = server.flows(IDLE, true, &sink)?;
        Ok((server.private_bytes()? - before) / f64::from(IDLE))
    };
    let (mut us, mut coturn) = (Vec::new(), Vec::new());
    // It hardly varies, and each allocation is three round trips.
    for _ in 0..options.rounds.min(3) {
        us.push(measure(server::medmesh)?);
        coturn.push(measure(server::coturn)?);
    }
    Ok(Row {
        bench: "turn-idle-allocation".to_owned(),
        unit: "bytes".to_owned(),
        better: Better::Lower,
        us,
        peer: Some(Other {
            name: "coturn".to_owned(),
            runs: coturn,
        }),
        limit: Some(Other {
            name: "aim".to_owned(),
            runs: vec![2048.0],
        }),
    })
}
