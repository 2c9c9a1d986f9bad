//! Packets a TURN server relays per second of CPU, beside coturn under the same load.
//!
//! The load is steady and below what either server can carry; what varies is how much CPU
//! the server takes for it. Rounds alternate between the servers and the first is dropped.

mod flow;
mod load;
mod server;

use std::time::Duration;

use clap::Args;

use crate::report::{self, Better, Other, Row};
use load::{Direction, Load};

/// How long and how often.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Rounds of each server; the first is dropped.
    #[arg(long, default_value_t = 8)]
    pub rounds: usize,
    /// Seconds of measuring in each round.
    #[arg(long, default_value_t = 2)]
    pub seconds: u64,
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
    let mut rows = Vec::new();
    let wanted = |name: &str| {
        options
            .only
            .as_ref()
            .is_none_or(|only| name.contains(only.as_str()))
    };
    for (name, load) in loads(options.rate).into_iter().filter(|(name, _)| wanted(name)) {
        rows.extend(measure(&name, &load, options)?);
    }
    Ok(rows)
}

fn measure(name: &str, load: &Load, options: &Options) -> anyhow::Result<Vec<Row>> {
    let time = Duration::from_secs(options.seconds);
    let (mut us, mut peer) = (Vec::new(), Vec::new());
    for round in 0..=options.rounds {
        let pair = [
            server::again(|| server::medmesh(load, time))?,
            server::again(|| server::coturn(load, time))?,
        ];
        if options.rounds_too {
            let line = |r: &load::Result| {
                let (p50, p99) = (r.latency_us(0.5), r.latency_us(0.99));
                format!(
                    "{:.0}/cpu-s, loss {:.3} %, p50 {p50:.0} p99 {p99:.0} µs",
                    r.per_cpu_second(),
                    r.loss() * 100.0
                )
            };
            report::print(&format!(
                "{name} {round}: us {} | coturn {}",
                line(&pair[0]),
                line(&pair[1])
            ));
        }
        if round > 0 {
            let [ours, theirs] = pair;
            us.push(ours);
            peer.push(theirs);
        }
    }
    let row = |suffix: &str, unit: &str, better, pick: fn(&load::Result) -> f64| Row {
        bench: format!("{name}{suffix}"),
        unit: unit.to_owned(),
        better,
        us: us.iter().map(pick).collect(),
        peer: Some(Other {
            name: "coturn".to_owned(),
            runs: peer.iter().map(pick).collect(),
        }),
        limit: None,
    };
    Ok(vec![
        row("", "packets/cpu-s", Better::Higher, load::Result::per_cpu_second),
        row("-p50", "µs", Better::Lower, |r| r.latency_us(0.5)),
        row("-p99", "µs", Better::Lower, |r| r.latency_us(0.99)),
        row("-loss", "share", Better::Lower, load::Result::loss),
    ])
}
