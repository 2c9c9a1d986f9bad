//! What the kernel's own relaying saves, beside our sockets, coturn and the bare forwarder.
//!
//! The kernel works in interrupts, which are charged to whoever runs at that moment: the CPU of the server's process says
//! nothing here. What is counted is what the whole machine was busy with, less what it is busy with when the
//! same packets go over the same kind of cable to somebody who takes them in: sending and receiving, without a
//! relay between. So every server's own part of the kernel's work is in its figure, and the machine
//! has to be quiet.
//!
//! Each server stands in a network namespace of its own at the end of a virtual cable, clients and peers at
//! the other ends. Cables do not leave checksums to hardware they do not have. Namespaces and cables go with the processes
//! and sockets in them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::flow::Flow;
use super::load::{self, Direction, Load, Result};
use super::server::{self, Place, Server};
use super::{KEPT_UP, LOSS_MAX, row};
use crate::report::{self, Better, Other, Row};

/// How long and how often.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Rounds of each server; one more comes first and is dropped.
    #[arg(long, default_value_t = 8)]
    pub rounds: usize,
    /// Milliseconds of measuring in each round.
    #[arg(long, default_value_t = 400)]
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

/// Rates at which coturn's maximum is looked for, in packets per second.
const RAMP: [u64; 6] = [30_000, 40_000, 50_000, 60_000, 80_000, 100_000];
/// Ticks of `/proc/stat` in a second (`USER_HZ`).
const TICKS: f64 = 100.0;
/// The name of each server's end of its cable.
const INTERFACE: &str = "relay0";

/// Who relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    FastPath,
    Coturn,
    Forwarder,
    Sockets,
    /// Nobody: what comes out of the cable is taken in there.
    Nobody,
}

const KINDS: [Kind; 5] = [
    Kind::FastPath,
    Kind::Coturn,
    Kind::Forwarder,
    Kind::Sockets,
    Kind::Nobody,
];

/// One end of a cable with somebody at the other.
enum End {
    Server(Server),
    Sink { socket: UdpSocket, ip: IpAddr },
}

struct World {
    /// Takes in and sends what peers do.
    sink: UdpSocket,
    ends: Vec<End>,
    /// Of the cable of [`Kind::FastPath`]: what its program sends arrives only where there is one, too.
    _program: OwnedFd,
}

fn run(program: &str, arguments: &str) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments.split(' ')).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{program} {arguments}: {said}");
    Ok(())
}

/// Lays a cable and starts whoever is to be at its other end.
fn end(kind: Kind, number: u8, sink_port: u16) -> anyhow::Result<End> {
    let (to_us, from_there) = mpsc::channel();
    let (laid, cable) = mpsc::channel::<()>();
    let place = Place {
        server: Ipv4Addr::new(10, 77, number, 1).into(),
        generator: Ipv4Addr::new(10, 77, number, 2).into(),
        interface: (kind == Kind::FastPath).then_some(INTERFACE),
    };
    // What a thread starts, starts in the namespace of the thread.
    let there = std::thread::spawn(move || -> anyhow::Result<End> {
        unshare(CloneFlags::CLONE_NEWNET).context("no network namespace")?;
        to_us.send(nix::unistd::gettid())?;
        cable.recv()?;
        run("ip", "link set lo up")?;
        run("ip", &format!("address add {}/24 dev {INTERFACE}", place.server))?;
        run("ip", &format!("link set {INTERFACE} up"))?;
        std::fs::write("/proc/sys/net/ipv4/conf/lo/forwarding", "1")?;
        let peer = SocketAddr::new(place.generator, sink_port);
        Ok(match kind {
            Kind::FastPath | Kind::Sockets => End::Server(server::medmesh(&place)?),
            Kind::Coturn => End::Server(server::coturn(&place).context("coturn")?),
            Kind::Forwarder => End::Server(server::forwarder(&place, peer)?),
            Kind::Nobody => End::Sink {
                socket: load::sink(place.server)?,
                ip: place.server,
            },
        })
    });
    let Ok(thread) = from_there.recv() else {
        return there.join().expect("the thread does not panic");
    };
    let near = format!("gen{number}");
    run("ip", &format!("link add {near} type veth peer name {INTERFACE}"))?;
    for name in [near.as_str(), INTERFACE] {
        run("ethtool", &format!("-K {name} tx off"))?;
    }
    run("ip", &format!("address add {}/24 dev {near}", place.generator))?;
    run("ip", &format!("link set {near} up"))?;
    run("ip", &format!("link set {INTERFACE} netns {thread}"))?;
    laid.send(())?;
    there.join().expect("the thread does not panic")
}

impl World {
    fn start() -> anyhow::Result<Self> {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        unshare(CloneFlags::CLONE_NEWNET).context("no network namespace: this bench lays cables, as root")?;
        run("ip", "link set lo up")?;
        let sink = load::sink(Ipv4Addr::UNSPECIFIED.into())?;
        let port = sink.local_addr()?.port();
        let ends: anyhow::Result<Vec<End>> = KINDS
            .into_iter()
            .zip(1..)
            .map(|(kind, number)| end(kind, number, port))
            .collect();
        Ok(Self {
            sink,
            ends: ends?,
            _program: medmesh_turn::pass_everything("gen1")?,
        })
    }

    fn end(&self, kind: Kind) -> &End {
        let position = KINDS.iter().position(|other| *other == kind);
        &self.ends[position.expect("all kinds are there")]
    }

    fn flows(&self, kind: Kind, load: &Load) -> anyhow::Result<Vec<Flow>> {
        match self.end(kind) {
            End::Server(server) => server.flows(load.flows, true, &self.sink),
            End::Sink { socket, ip } => {
                let peer = SocketAddr::new(*ip, socket.local_addr()?.port());
                let flows = (0..load.flows).map(|_| -> anyhow::Result<Flow> {
                    let flow = Flow::direct(peer)?;
                    load::widen(&flow.socket)?;
                    Ok(flow)
                });
                flows.collect()
            }
        }
    }

    fn round(&self, kind: Kind, flows: &[Flow], load: &Load, options: &Options) -> anyhow::Result<Result> {
        let sink = match self.end(kind) {
            End::Server(_) => &self.sink,
            End::Sink { socket, .. } => socket,
        };
        let (started, cores) = (Instant::now(), std::thread::available_parallelism()?.get() as f64);
        let busy =
            || -> anyhow::Result<f64> { Ok(started.elapsed().as_secs_f64() * cores - idle_seconds()?) };
        load::run(load, sink, flows, Duration::from_millis(options.millis), busy)
    }
}

/// How long processors had nothing to do, all together. Unlike the other columns the kernel measures this one, to the tick.
fn idle_seconds() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let numbers: Vec<f64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [_user, _nice, _system, idle, waiting, ..] = numbers[..] else {
        anyhow::bail!("/proc/stat has no line for all processors");
    };
    Ok((idle + waiting) / TICKS)
}

/// Rounds of all by turns, the first dropped. The CPU of each is less than what the same packets cost with
/// nobody between, in the same turn.
fn alternate(world: &World, name: &str, load: &Load, options: &Options) -> anyhow::Result<Vec<Vec<Result>>> {
    let flows: anyhow::Result<Vec<_>> = KINDS.iter().map(|kind| world.flows(*kind, load)).collect();
    let flows = flows?;
    let mut results = vec![Vec::new(); KINDS.len()];
    for count in 0..=options.rounds {
        let turn: anyhow::Result<Vec<Result>> = KINDS
            .iter()
            .zip(&flows)
            .map(|(kind, flows)| world.round(*kind, flows, load, options))
            .collect();
        let mut turn = turn?;
        let nobody = turn.last().map_or(0.0, |nobody| nobody.server_cpu_s);
        for (kind, result) in KINDS.iter().zip(&mut turn) {
            let whole = result.server_cpu_s;
            if *kind != Kind::Nobody {
                result.server_cpu_s -= nobody;
            }
            if options.rounds_too {
                let (p50, p99) = (result.latency_us(0.5), result.latency_us(0.99));
                report::print(&format!(
                    "{name} {count} {kind:?}: {:.0}/cpu-s of {whole:.3} s, sent {}, loss {:.3} %, p50 {p50:.0} p99 {p99:.0} µs",
                    result.per_cpu_second(),
                    result.sent,
                    result.loss() * 100.0
                ));
            }
        }
        if count > 0 {
            results.iter_mut().zip(turn).for_each(|(all, one)| all.push(one));
        }
    }
    Ok(results)
}

fn loads(rate: u64) -> Vec<(String, Load)> {
    let mut loads = Vec::new();
    for (way, direction) in [("up", Direction::Up), ("down", Direction::Down)] {
        for flows in [1, 100] {
            for payload in [172, 1200] {
                let load = Load {
                    flows,
                    payload,
                    channel: true,
                    direction,
                    rate,
                    burst: 1,
                };
                loads.push((format!("turn-xdp-{way}-{flows}-{payload}B"), load));
            }
        }
    }
    loads
}

/// The kernel, coturn, the forwarder; then our sockets in the kernel's place.
fn rows_of(
    name: &str,
    unit: &str,
    better: Better,
    runs: &[Vec<Result>],
    pick: fn(&Result) -> f64,
) -> [Row; 2] {
    let sockets = [&runs[3..4], &runs[1..3]].concat();
    [
        row(name.to_owned(), unit, better, &runs[..3], pick),
        row(format!("{name}-sockets"), unit, better, &sockets, pick),
    ]
}

/// Added latency at half of what coturn carries at most.
fn latency(world: &World, name: &str, load: &Load, options: &Options) -> anyhow::Result<Vec<Row>> {
    let flows = world.flows(Kind::Coturn, load)?;
    let mut most = RAMP[0];
    for rate in RAMP {
        let result = world.round(Kind::Coturn, &flows, &Load { rate, ..*load }, options)?;
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
    let runs = alternate(world, name, &half, options)?;
    let mut rows = Vec::new();
    rows.extend(rows_of(
        &format!("{name}-p50"),
        "µs",
        Better::Lower,
        &runs,
        |r| r.latency_us(0.5),
    ));
    rows.extend(rows_of(
        &format!("{name}-p99"),
        "µs",
        Better::Lower,
        &runs,
        |r| r.latency_us(0.99),
    ));
    let rate = |result: &Result| result.sent as f64 / result.seconds;
    rows.push(row(
        format!("{name}-at"),
        "packets/s",
        Better::Higher,
        &runs[..1],
        rate,
    ));
    Ok(rows)
}

fn measure(options: &Options) -> anyhow::Result<Vec<Row>> {
    let world = World::start()?;
    let wanted = |name: &str| options.only.as_deref().is_none_or(|only| name.contains(only));
    let mut rows = Vec::new();
    for (name, load) in loads(options.rate) {
        if !wanted(&name) {
            continue;
        }
        let runs = alternate(&world, &name, &load, options)?;
        rows.extend(rows_of(
            &name,
            "packets/cpu-s",
            Better::Higher,
            &runs,
            Result::per_cpu_second,
        ));
        rows.extend(rows_of(
            &format!("{name}-loss"),
            "share",
            Better::Lower,
            &runs,
            Result::loss,
        ));
        rows.push(Row {
            bench: format!("{name}-nobody"),
            unit: "cpu-s/s".to_owned(),
            better: Better::Lower,
            us: runs[4].iter().map(|run| run.server_cpu_s / run.seconds).collect(),
            peer: None,
            limit: Some(Other {
                name: "processors".to_owned(),
                runs: vec![std::thread::available_parallelism()?.get() as f64],
            }),
        });
    }
    for (way, direction) in [("up", Direction::Up), ("down", Direction::Down)] {
        for payload in [172, 1200] {
            let name = format!("turn-xdp-latency-{way}-100-{payload}B");
            let load = Load {
                flows: 100,
                payload,
                channel: true,
                direction,
                rate: 0,
                burst: 1,
            };
            if wanted(&name) {
                rows.extend(latency(&world, &name, &load, options)?);
            }
        }
    }
    Ok(rows)
}

/// Runs the loads, in namespaces that go with it.
///
/// # Errors
/// Without root, or when a server does not start or refuses a flow.
pub fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    // A thread of its own: who called stays in the namespace it is in.
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| measure(options));
        thread.join().expect("the bench does not panic")
    })
}
