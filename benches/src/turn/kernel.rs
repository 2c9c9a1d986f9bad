//! What the kernel's own relaying saves, beside our sockets, coturn and the bare forwarder.
//!
//! The kernel works in the name of whoever runs, so the CPU of the relay's process alone says nothing here. Counted is,
//! the same for all ([`super::account`]), the relay's process, the kernel's threads for packets, and what the generator
//! took more than it takes when the same packets go over the same kind of cable to somebody who takes them in,
//! without a relay between.
//!
//! Generators take less where a relay has gathered packets: whoever takes them in is woken once for many. Rows in `-net`
//! count that in the relay's favour; they are what all took together less what is taken without a relay, which is hard on
//! one that hands packets on at once. Rows in `-whole` take nothing off, and those in `-generator` are the
//! generator's part under each relay.
//!
//! Each relay stands in a network namespace of its own at the end of a virtual cable, clients and peers at
//! the other ends. Cables do not leave checksums to hardware they do not have. Namespaces and cables go with the processes
//! and sockets in them.

mod cables;

use std::cell::RefCell;
use std::time::Duration;

use clap::Args;

use self::cables::{KINDS, Kind, World};
use super::account::{Books, Parts};
use super::flow::Flow;
use super::load::{self, Direction, Load, Result};
use super::{KEPT_UP, LOSS_MAX, row};
use crate::report::{self, Better, Other, Row};

pub use cables::can_run;

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
const RAMP: [u64; 8] = [
    40_000, 60_000, 80_000, 100_000, 130_000, 160_000, 200_000, 250_000,
];

/// A round: what came of it, and who took what.
#[derive(Clone, Debug)]
struct Round {
    /// With the CPU that was taken for the relay.
    own: Result,
    parts: Parts,
    /// What the generator takes without a relay, in the same turn.
    alone: f64,
}

impl Round {
    fn new(result: Result, parts: Parts, alone: f64) -> Self {
        let more = (parts.generator - alone).max(0.0);
        Self {
            own: Result {
                server_cpu_s: parts.server + parts.kernel + more,
                ..result
            },
            parts,
            alone,
        }
    }

    /// With what all took together.
    fn whole(&self) -> Result {
        Result {
            server_cpu_s: self.parts.sum(),
            ..self.own.clone()
        }
    }

    /// With that, less what is taken without a relay.
    fn net(&self) -> Result {
        Result {
            server_cpu_s: self.parts.sum() - self.alone,
            ..self.own.clone()
        }
    }

    /// Of the generator's threads, in seconds a second.
    fn generator(&self) -> f64 {
        self.parts.generator / self.own.seconds
    }
}

struct Bench<'a> {
    world: World,
    books: Books,
    options: &'a Options,
}

impl Bench<'_> {
    fn round(&self, kind: Kind, flows: &[Flow], load: &Load) -> anyhow::Result<(Result, Parts)> {
        let (server, sink) = self.world.at(kind);
        let read = RefCell::new(Vec::with_capacity(2));
        let cpu = || -> anyhow::Result<f64> {
            let parts = self.books.read(server)?;
            read.borrow_mut().push(parts);
            Ok(parts.sum())
        };
        let result = load::run(load, sink, flows, Duration::from_millis(self.options.millis), cpu)?;
        let parts = match read.into_inner()[..] {
            [before, after] => after.since(&before),
            _ => Parts::default(),
        };
        Ok((result, parts))
    }

    /// Rounds of all by turns, the first dropped; by kind.
    fn alternate(&self, name: &str, load: &Load) -> anyhow::Result<Vec<Vec<Round>>> {
        let flows: anyhow::Result<Vec<_>> = KINDS.iter().map(|kind| self.world.flows(*kind, load)).collect();
        let flows = flows?;
        let mut rounds = vec![Vec::new(); KINDS.len()];
        for count in 0..=self.options.rounds {
            let turn: anyhow::Result<Vec<(Result, Parts)>> = KINDS
                .iter()
                .zip(&flows)
                .map(|(kind, flows)| self.round(*kind, flows, load))
                .collect();
            let turn = turn?;
            let alone = turn[NOBODY].1.generator;
            let turn: Vec<Round> = turn
                .into_iter()
                .map(|(result, parts)| Round::new(result, parts, alone))
                .collect();
            if self.options.rounds_too {
                for (kind, round) in KINDS.iter().zip(&turn) {
                    report::print(&line(name, count, *kind, round));
                }
            }
            if count > 0 {
                rounds.iter_mut().zip(turn).for_each(|(all, one)| all.push(one));
            }
        }
        Ok(rounds)
    }

    fn efficiency(&self, name: &str, load: &Load) -> anyhow::Result<Vec<Row>> {
        let rounds = self.alternate(name, load)?;
        let own = results(&rounds, |round| round.own.clone());
        let per_cpu = |runs: &[Vec<Result>], name: String| {
            let runs = &runs[..=FORWARDER];
            row(name, CPU, Better::Higher, runs, Result::per_cpu_second)
        };
        let mut rows = rows_of(name, CPU, Better::Higher, &own, Result::per_cpu_second);
        rows.push(per_cpu(&results(&rounds, Round::net), format!("{name}-net")));
        rows.push(per_cpu(&results(&rounds, Round::whole), format!("{name}-whole")));
        rows.extend(rows_of(
            &format!("{name}-loss"),
            "share",
            Better::Lower,
            &own,
            Result::loss,
        ));
        let generator = |index: usize| -> Vec<f64> { rounds[index].iter().map(Round::generator).collect() };
        let other = |index, name: &str| {
            Some(Other {
                name: name.to_owned(),
                runs: generator(index),
            })
        };
        rows.push(Row {
            bench: format!("{name}-generator"),
            unit: "cpu-s/s".to_owned(),
            better: Better::Lower,
            us: generator(0),
            peer: other(1, "under coturn"),
            limit: other(NOBODY, "no relay"),
        });
        Ok(rows)
    }

    /// Added latency at half of what coturn carries at most.
    fn latency(&self, name: &str, load: &Load) -> anyhow::Result<Vec<Row>> {
        let flows = self.world.flows(Kind::Coturn, load)?;
        let mut most = RAMP[0];
        for rate in RAMP {
            let result = self.round(Kind::Coturn, &flows, &Load { rate, ..*load })?.0;
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
        let runs = results(&self.alternate(name, &half)?, |round| round.own.clone());
        let mut rows = rows_of(&format!("{name}-p50"), "µs", Better::Lower, &runs, |r| {
            r.latency_us(0.5)
        });
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
}

fn line(name: &str, count: usize, kind: Kind, round: &Round) -> String {
    let (own, parts) = (&round.own, &round.parts);
    let millis = [
        own.server_cpu_s,
        parts.generator,
        parts.server,
        parts.kernel,
        parts.busy,
    ]
    .map(|seconds| (seconds * 1e3).round());
    format!(
        "{name} {count} {kind:?}: {:.0}/cpu-s, own/generator/relay/kernel/busy {millis:?} ms, sent {}, loss {:.3} %, p50 {:.0} p99 {:.0} µs",
        own.per_cpu_second(),
        own.sent,
        own.loss() * 100.0,
        own.latency_us(0.5),
        own.latency_us(0.99),
    )
}

/// The unit of what a relay is worth.
const CPU: &str = "packets/cpu-s";
/// Where the kinds stand in a turn.
const FORWARDER: usize = 2;
const SOCKETS: usize = 3;
const NATIVE: usize = 4;
const NOBODY: usize = 5;

fn results(rounds: &[Vec<Round>], of: impl Fn(&Round) -> Result) -> Vec<Vec<Result>> {
    rounds
        .iter()
        .map(|rounds| rounds.iter().map(&of).collect())
        .collect()
}

/// The kernel, coturn, the forwarder; then in the kernel's place our sockets, and the kernel in the cable's driver.
fn rows_of(
    name: &str,
    unit: &str,
    better: Better,
    runs: &[Vec<Result>],
    pick: fn(&Result) -> f64,
) -> Vec<Row> {
    let mut rows = vec![row(name.to_owned(), unit, better, &runs[..=FORWARDER], pick)];
    for (kind, suffix) in [(SOCKETS, "sockets"), (NATIVE, "native")] {
        let runs = [&runs[kind..=kind], &runs[1..=FORWARDER]].concat();
        rows.push(row(format!("{name}-{suffix}"), unit, better, &runs, pick));
    }
    rows
}

fn loads(rate: u64) -> Vec<(String, Load)> {
    let ways = [
        ("up", Direction::Up, true),
        ("down", Direction::Down, true),
        ("send-up", Direction::Up, false),
        ("send-down", Direction::Down, false),
    ];
    let mut loads = Vec::new();
    for (way, direction, channel) in ways {
        for flows in [1, 100] {
            for payload in [172, 1200] {
                let load = Load {
                    flows,
                    payload,
                    channel,
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

fn measure(options: &Options) -> anyhow::Result<Vec<Row>> {
    let bench = Bench {
        world: World::start()?,
        books: Books::open()?,
        options,
    };
    let wanted = |name: &str| options.only.as_deref().is_none_or(|only| name.contains(only));
    let mut rows = Vec::new();
    for (name, load) in loads(options.rate) {
        if wanted(&name) {
            rows.extend(bench.efficiency(&name, &load)?);
        }
    }
    for (name, load) in loads(options.rate).into_iter().filter(|(_, load)| load.flows > 1) {
        let name = name.replace("turn-xdp", "turn-xdp-latency");
        if wanted(&name) {
            rows.extend(bench.latency(&name, &load)?);
        }
    }
    Ok(rows)
}

/// Runs the loads, in namespaces that go with it.
///
/// # Errors
/// Where [`can_run`] says no, or when a server does not start or refuses a flow.
pub fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    // A thread of its own: who called stays in the namespace it is in.
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| measure(options));
        thread.join().expect("the bench does not panic")
    })
}
