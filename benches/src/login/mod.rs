//! What a flood of wrong passwords costs everybody else.
//!
//! A control node runs as a process of its own, over a database of its own. Signed-in people ask
//! for ordinary things at a steady rate, first alone and then beside 500 wrong logins a second,
//! each from an address of its own, half of them against one victim: nothing is throttled by
//! address, so that it is the queue of password hashes that has to hold. Meanwhile the victim signs
//! in from a browser that is known, once a second; afterwards somebody else does from one that is
//! not. The limit in the row is the same node without the flood.

mod load;
mod node;

use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::report::{Better, Other, Row};

pub use node::run as run_node;

/// How long and how hard.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Runs, each quiet first and then flooded
    #[arg(long, default_value_t = 3)]
    pub login_runs: usize,
    /// Seconds of each half of a run
    #[arg(long, default_value_t = 8.0)]
    pub login_seconds: f64,
    /// Wrong logins per second
    #[arg(long, default_value_t = 500.0)]
    pub login_rate: f64,
}

/// Measures and answers the rows.
///
/// # Errors
/// When the node cannot be started, an ordinary request fails, or somebody who must get in does not.
pub fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(measure(options))
}

async fn measure(options: &Options) -> anyhow::Result<Vec<Row>> {
    let node = node::Process::start().await?;
    let length = Duration::from_secs_f64(options.login_seconds);
    let people = load::People::sign_in(node.site()).await?;
    // One unmeasured round: connections, caches, keys.
    people.ordinary(length / 4).await?;
    let before = node.memory_bytes()?;
    let (mut quiet, mut flooded, mut shed, mut memory) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut victim = Vec::new();
    for _ in 0..options.login_runs {
        quiet.push(percentile(people.ordinary(length).await?, 95));
        let (others, signed_in, flood) = tokio::join!(
            people.ordinary(length),
            people.victim_signs_in(length),
            load::flood(node.site(), options.login_rate, length)
        );
        flooded.push(percentile(others?, 95));
        let signed_in = signed_in.context("the victim, from the browser that is known")?;
        victim.push(percentile(signed_in, 100));
        let flood = flood?;
        ensure!(flood.let_in == 0, "a wrong password was taken");
        ensure!(
            flood.sent >= 0.9 * options.login_rate * length.as_secs_f64(),
            "only {} were sent",
            flood.sent
        );
        shed.push(flood.shed / flood.sent);
        people
            .another_gets_in()
            .await
            .context("somebody else, from one that is not")?;
        memory.push((node.memory_bytes()?.saturating_sub(before)) as f64 / 1e6);
    }
    let row = |bench: &str, unit: &str, us: Vec<f64>| Row {
        bench: bench.to_owned(),
        unit: unit.to_owned(),
        better: Better::Lower,
        us,
        peer: None,
        limit: None,
    };
    let without = Other {
        name: "the same without the flood".to_owned(),
        runs: quiet,
    };
    Ok(vec![
        Row {
            limit: Some(without),
            ..row("login_flood_p95", "ms", flooded)
        },
        row("login_flood_victim_signs_in_max", "ms", victim),
        row("login_flood_memory_growth", "MB", memory),
        row("login_flood_shed", "share of tries refused unhashed", shed),
    ])
}

/// The smallest time that `percent` of a hundred do not exceed, milliseconds.
fn percentile(mut times: Vec<Duration>, percent: usize) -> f64 {
    times.sort_unstable();
    let index = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_times() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert!((percentile(times.clone(), 95) - 95.0).abs() < 1e-9);
        assert!((percentile(times, 100) - 100.0).abs() < 1e-9);
        assert!(percentile(Vec::new(), 95).is_nan());
    }
}
