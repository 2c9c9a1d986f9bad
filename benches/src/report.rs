//! One row of the table, and its file.

use std::path::PathBuf;

use anyhow::Context as _;
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;

/// Which way a number should go.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

/// One measured thing: our runs, and the same of a peer and of the machine's limit.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Name of the row and of its file.
    pub bench: String,
    /// What is counted.
    pub unit: String,
    /// Which way it should go.
    pub better: Better,
    /// Our runs.
    pub us: Vec<f64>,
    /// Another program under the same load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<Other>,
    /// What the machine gives to a program that does nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Other>,
}

/// Somebody else's runs.
#[derive(Clone, Debug, Serialize)]
pub struct Other {
    /// Whose.
    pub name: String,
    /// The runs.
    pub runs: Vec<f64>,
}

/// The middle run; 0 without runs.
#[must_use]
pub fn median(runs: &[f64]) -> f64 {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// Where rows are written: `bench` under the cargo target directory.
#[must_use]
pub fn directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from("target"), PathBuf::from)
        .join("bench")
}

/// Writes each row's file.
///
/// # Errors
/// When a file cannot be written.
pub fn write(rows: &[Row]) -> anyhow::Result<()> {
    let directory = directory();
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for row in rows {
        let file = directory.join(format!("{}.json", row.bench));
        std::fs::write(&file, serde_json::to_vec_pretty(row)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Prints a line: what a bench is doing, or its table.
#[expect(clippy::print_stdout, reason = "a bench's output is its table")]
pub fn print(line: &str) {
    println!("{line}");
}

/// The rows as a table: medians, and how we stand to the peer and the limit.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["bench", "unit", "us", "peer", "us / peer", "limit", "us / limit"]);
    for row in rows {
        let us = median(&row.us);
        let mut cells = vec![Cell::new(&row.bench), Cell::new(&row.unit), number(us)];
        for other in [&row.peer, &row.limit] {
            match other {
                Some(other) => {
                    let theirs = median(&other.runs);
                    cells.push(Cell::new(format!("{} ({})", short(theirs), other.name)));
                    cells.push(number(if theirs > 0.0 { us / theirs } else { 0.0 }));
                }
                None => cells.extend([Cell::new("–"), Cell::new("–")]),
            }
        }
        table.add_row(cells);
    }
    table.to_string()
}

fn number(value: f64) -> Cell {
    Cell::new(short(value)).set_alignment(CellAlignment::Right)
}

fn short(value: f64) -> String {
    match value {
        v if v >= 1_000_000.0 => format!("{:.2}M", v / 1_000_000.0),
        v if v >= 10_000.0 => format!("{:.1}k", v / 1_000.0),
        v if v >= 100.0 => format!("{v:.0}"),
        v => format!("{v:.2}"),
    }
}
