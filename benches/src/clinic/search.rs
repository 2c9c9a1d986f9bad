//! Somebody is looked for by a name that is spelt almost right.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use medmesh_api_client::Clinic as Client;
use medmesh_api_types::person::PatientSearch;
use medmesh_base::Phi;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sqlx::PgConnection;

use super::load::serve;
use super::names::slip;
use super::{NAMES_SEED, World};
use crate::report::{self, Better, Row};

/// How large, and how busy.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Patients of the clinic
    #[arg(long, default_value_t = 1_000_000)]
    pub search_patients: usize,
    /// Searches per second
    #[arg(long, default_value_t = 50.0)]
    pub search_rate: f64,
    /// Seconds of searches
    #[arg(long, default_value_t = 30.0)]
    pub search_seconds: f64,
}

/// Who is looked at of an answer.
const TOP: usize = 10;
/// Whose names and addresses are looked for in the files.
const GREPPED: usize = 500;
/// Written in plain text on purpose, so that a grep that finds nothing shows that it could.
const CANARY: &str = "Canarisina Plaintextowa";
/// A million leaves of the filling: their order in the log is not what is measured, and would be
/// worked at for minutes.
const NO_BACKLOG: &str = "TRUNCATE audit_pending";

/// Measures and answers the rows.
///
/// # Errors
/// When the clinic cannot be opened or a search fails.
pub fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(measure(options))
}

async fn measure(options: &Options) -> anyhow::Result<Vec<Row>> {
    let world = World::open(Duration::from_secs(300)).await?;
    let begun = Instant::now();
    let names = Arc::new(world.fill(options.search_patients).await?.names);
    let filled = begun.elapsed();
    report::print(&format!(
        "  {} patients, indexed, in {:.0} s",
        options.search_patients,
        filled.as_secs_f64()
    ));
    let mut admin = world.admin().await?;
    sqlx::raw_sql(NO_BACKLOG).execute(&mut admin).await?;
    let node = world.node().await;
    let client = node.signed_in_as(&world.clinic, "clinician").await;

    let found = Arc::new(AtomicUsize::new(0));
    let request = |number: u64| {
        let (client, names, found) = (client.clone(), Arc::clone(&names), Arc::clone(&found));
        async move {
            let is_found = look(&client, &names, number).await?;
            found.fetch_add(usize::from(is_found), Ordering::Relaxed);
            Ok(())
        }
    };
    let length = Duration::from_secs_f64(options.search_seconds);
    serve(options.search_rate, request, tokio::time::sleep(length / 5)).await;
    found.store(0, Ordering::Relaxed);
    let served = serve(options.search_rate, request, tokio::time::sleep(length)).await;
    ensure!(served.failed == 0, "{} searches failed", served.failed);
    let recall = 100.0 * found.load(Ordering::Relaxed) as f64 / served.latencies_ms.len().max(1) as f64;
    report::print(&format!(
        "  {} searches: recall@{TOP} {recall:.1} %, p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms",
        served.latencies_ms.len(),
        served.quantile(0.5),
        served.quantile(0.95),
        served.quantile(0.99)
    ));
    node.stop().await;
    let plain = plain_text(&world, &names, &mut admin).await?;
    let row = |name: &str, unit: &str, better, us: f64| Row {
        bench: format!("search-{name}"),
        unit: unit.to_owned(),
        better,
        us: vec![us],
        peer: None,
        limit: None,
    };
    Ok(vec![
        row("p50", "ms", Better::Lower, served.quantile(0.5)),
        row("p95", "ms", Better::Lower, served.quantile(0.95)),
        row("recall", "%", Better::Higher, recall),
        row("plain-text", "files", Better::Lower, plain as f64),
        row("fill", "s", Better::Lower, filled.as_secs_f64()),
    ])
}

/// Looks for somebody by their whole name with one slip. Found: somebody of that very name is
/// among the first ten. (Of a thousand people called Maria Garcia nobody can say which was meant.)
async fn look(client: &Client, names: &[String], number: u64) -> anyhow::Result<bool> {
    let mut random = StdRng::seed_from_u64(NAMES_SEED ^ (number << 20) ^ 1);
    let name = &names[random.random_range(0..names.len())];
    let search = PatientSearch {
        q: Phi::new(slip(name, &mut random)),
        limit: Some(TOP as u32),
    };
    let found = client.patient_search(&search).await?;
    let mut people = found.items.iter();
    Ok(people.any(|person| person.display_name.expose() == name))
}

/// How many files of the database hold one of many names or addresses in plain text.
async fn plain_text(world: &World, names: &[String], admin: &mut PgConnection) -> anyhow::Result<usize> {
    let step = (names.len() / GREPPED).max(1);
    let mut patterns: Vec<String> = names.iter().step_by(step).cloned().collect();
    patterns.extend((0..GREPPED).map(|n| format!("p0.{n}@bench.example")));
    sqlx::raw_sql("CHECKPOINT").execute(&mut *admin).await?;
    let found = grep(&world.data_dir(), &patterns)?;
    let canary = format!("CREATE TABLE canary AS SELECT '{CANARY}' AS name; CHECKPOINT");
    sqlx::raw_sql(sqlx::AssertSqlSafe(canary)).execute(admin).await?;
    let control = grep(&world.data_dir(), &[CANARY.to_owned()])?;
    ensure!(control > 0, "the grep does not find what is there in plain text");
    Ok(found)
}

/// Files below a directory that hold one of the patterns.
fn grep(dir: &Path, patterns: &[String]) -> anyhow::Result<usize> {
    let mut grep = Command::new("grep")
        .args(["-r", "-a", "-l", "-F", "-f", "-"])
        .arg(dir)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("grep cannot be started")?;
    let mut stdin = grep.stdin.take().expect("it was asked for");
    stdin.write_all(patterns.join("\n").as_bytes())?;
    drop(stdin);
    let output = grep.wait_with_output()?;
    // 1: nothing was found.
    ensure!(matches!(output.status.code(), Some(0 | 1)), "grep failed");
    Ok(output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .count())
}
