//! From the click on *Join* to the first decoded picture of the other, in real browsers through the portals, over two edges.
//!
//! The browser test that takes the times (`tests/browser/join-time.test.mjs`) runs against a system of its own, made of the
//! programs beside this one; here its figures become a row. Without a browser, Node.js, a checkout or the portals there is no row,
//! and the reason is printed: the other benches do not wait for a browser.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde::Deserialize;

use crate::report::{Better, Row, print};

/// The test's script and what it leaves, in a checkout.
const SCRIPT: &str = "tests/browser/run";
const TEST: &str = "./join-time.test.mjs";
const FIGURES: &str = "target/browser/join-time.json";
/// Programs a system is made of.
const PROGRAMS: [&str; 3] = ["medmesh", "medmesh-control", "medmesh-edge"];
/// The portals, as built in a checkout.
const PORTALS: &str = "api/portals/dist/patient/index.html";
/// Where the browser is unless `CHROMIUM` says.
const CHROMIUM: &str = "/usr/bin/chromium";

/// How to take the times.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// The checkout with browser tests and portals
    #[arg(long, default_value = ".")]
    checkout: PathBuf,
}

/// What the test leaves.
#[derive(Debug, Deserialize)]
struct Figures {
    runs: Vec<Timings>,
}

/// Milliseconds since the click.
#[derive(Debug, Deserialize)]
struct Timings {
    first_frame: f64,
}

/// Takes the times; no rows where there is no browser.
///
/// # Errors
/// When the test fails.
pub fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let own = std::env::current_exe()?;
    let programs = own.parent().context("the program has no directory")?;
    if let Some(missing) = missing(&options.checkout, programs) {
        print(&format!("join: left out, {missing}"));
        return Ok(Vec::new());
    }
    let figures = options.checkout.join(FIGURES);
    // Those of an earlier run are not this one's.
    let _ = std::fs::remove_file(&figures);
    let output = Command::new(options.checkout.join(SCRIPT))
        .arg(programs)
        .arg(TEST)
        .output()
        .context("cannot run the browser test")?;
    anyhow::ensure!(
        output.status.success(),
        "the browser test failed: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    let text = std::fs::read(&figures).with_context(|| format!("no {}", figures.display()))?;
    let figures: Figures = serde_json::from_slice(&text)?;
    let runs: Vec<f64> = figures.runs.iter().map(|run| run.first_frame).collect();
    anyhow::ensure!(!runs.is_empty(), "the browser test took no times");
    Ok(rows_of(&runs))
}

/// The middle of the runs is one row, what one in twenty exceeds the other.
fn rows_of(runs: &[f64]) -> Vec<Row> {
    let row = |bench: &str, unit: &str, us: Vec<f64>| Row {
        bench: bench.to_owned(),
        unit: unit.to_owned(),
        better: Better::Lower,
        us,
        peer: None,
        limit: None,
    };
    vec![
        row("join", "ms from click to first frame", runs.to_vec()),
        row("join-p95", "ms from click to first frame", vec![p95(runs)]),
    ]
}

/// The run that nineteen of twenty do not exceed.
fn p95(runs: &[f64]) -> f64 {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (runs.len() * 19).div_ceil(20);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// What is not here, in words.
fn missing(checkout: &Path, programs: &Path) -> Option<String> {
    let chromium = std::env::var_os("CHROMIUM").map_or_else(|| PathBuf::from(CHROMIUM), PathBuf::from);
    if !chromium.exists() {
        return Some(format!("there is no browser at {}", chromium.display()));
    }
    for file in [SCRIPT, PORTALS] {
        if !checkout.join(file).exists() {
            return Some(format!("{file} is missing (portals: `make portals`)"));
        }
    }
    let absent = PROGRAMS.into_iter().find(|name| !programs.join(name).exists());
    if let Some(name) = absent {
        return Some(format!("{name} is missing beside this program"));
    }
    let node = Command::new("node").arg("--version").output();
    node.is_err().then(|| "Node.js is missing".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_twenty_is_above_the_last_row() {
        let runs: Vec<f64> = (1..=20).rev().map(f64::from).collect();
        let rows = rows_of(&runs);
        assert_eq!((rows[0].us.len(), rows[1].us.as_slice()), (20, [19.0].as_slice()));
        assert!((p95(&[7.0]) - 7.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_machine_without_a_system_has_no_row_and_says_why() {
        let nowhere = Path::new("/nonexistent");
        assert!(missing(nowhere, nowhere).is_some());
    }
}
