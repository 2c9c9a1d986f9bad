//! The key of a clinic is replaced while the clinic works.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use medmesh_base::drain::Drain;
use medmesh_clinic::SystemActor;
use medmesh_control::jobs::{self, Handlers, JobMetrics};
use medmesh_control::keys;
use medmesh_store::{Cursor, PageRequest, RotationSubject};
use prometheus::Registry;
use rand::Rng as _;

use super::{World, serve};
use crate::report::{self, Better, Row};

/// How large, and how busy.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Patients of the clinic
    #[arg(long, default_value_t = 100_000)]
    pub rotation_patients: usize,
    /// Requests per second
    #[arg(long, default_value_t = 200.0)]
    pub rotation_rate: f64,
    /// Seconds of requests before the rotation
    #[arg(long, default_value_t = 20.0)]
    pub rotation_seconds: f64,
}

/// How long keys are used here before they are read again: a rotation waits that long, and a minute.
const LIFETIME: Duration = Duration::from_secs(5);
/// People of one listing, each of whose keys is fetched and unwrapped.
const PAGE: u32 = 20;
/// A rotation that takes longer is stuck.
const DEADLINE: Duration = Duration::from_secs(1800);

/// Measures and answers the rows.
///
/// # Errors
/// When the clinic cannot be opened, a request fails, or the rotation does not end.
pub fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(measure(options))
}

async fn measure(options: &Options) -> anyhow::Result<Vec<Row>> {
    let world = Arc::new(World::open(LIFETIME).await?);
    let begun = Instant::now();
    world.fill(options.rotation_patients).await?;
    report::print(&format!("  filled in {:.0} s", begun.elapsed().as_secs_f64()));
    let cursors = Arc::new(pages(&world).await?);
    let request = |_| {
        let (world, cursors) = (Arc::clone(&world), Arc::clone(&cursors));
        async move { work(&world, &cursors).await }
    };
    let length = Duration::from_secs_f64(options.rotation_seconds);
    serve(options.rotation_rate, request, tokio::time::sleep(length / 4)).await;
    let before = serve(options.rotation_rate, request, tokio::time::sleep(length)).await;

    let drain = Drain::new();
    let handlers = keys::handlers(&world.store, Handlers::default());
    let metrics = JobMetrics::new(&Registry::new());
    drain.spawn(jobs::work(world.store.clone(), handlers, metrics, drain.clone()));
    let begun = Instant::now();
    let subject = RotationSubject::Clinic {
        clinic_id: world.clinic,
    };
    let version = world.store.rotation_begin(SystemActor::Operator, subject).await?;
    let during = serve(options.rotation_rate, request, ended(&world)).await;
    let took = begun.elapsed();
    drain.finish(Duration::from_secs(30)).await;

    let keys = world.store.key_list().await?;
    let old: i64 = keys
        .iter()
        .filter(|key| key.version < version)
        .map(|key| key.patients)
        .sum();
    ensure!(took < DEADLINE, "the rotation did not end");
    ensure!(old == 0, "{old} patients' keys are still under the old version");
    let ended = keys.iter().any(|key| key.floor == version);
    ensure!(ended, "the old version still opens records");
    report::print(&format!(
        "  {} patients' keys in {:.0} s, a minute of which is waiting; {} requests before, {} during, {} failed",
        options.rotation_patients,
        took.as_secs_f64(),
        before.latencies_ms.len(),
        during.latencies_ms.len(),
        before.failed + during.failed
    ));
    let row = |name: &str, unit: &str, us: f64| Row {
        bench: format!("rotation-{name}"),
        unit: unit.to_owned(),
        better: Better::Lower,
        us: vec![us],
        peer: None,
        limit: None,
    };
    Ok(vec![
        row("failed", "requests", (before.failed + during.failed) as f64),
        row("p95-before", "ms", before.quantile(0.95)),
        row("p95-during", "ms", during.quantile(0.95)),
        row("seconds", "s", took.as_secs_f64()),
    ])
}

/// Resolves when no rotation is left to do, or when it takes too long.
async fn ended(world: &World) {
    let ends = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Ok(jobs) = world.store.job_list(None, None, 10).await
                && jobs.is_empty()
            {
                return;
            }
        }
    };
    // Whether it ended in time is looked at afterwards.
    let _ = tokio::time::timeout(DEADLINE, ends).await;
}

/// Where listings may begin.
async fn pages(world: &World) -> anyhow::Result<Vec<Cursor>> {
    let mut cursors = Vec::new();
    let mut after: Option<Cursor> = None;
    // One in a hundred is enough to begin at.
    while cursors.len() < 1_000 {
        let mut tx = world.begin(world.admin).await?;
        let page = PageRequest {
            cursor: after,
            limit: Some(100),
        };
        let listed = tx.person_list(None, page).await?;
        tx.commit().await?;
        let Some(next) = listed.next_cursor else { break };
        cursors.push(next);
        after = Some(next);
    }
    ensure!(!cursors.is_empty(), "too few patients for a page");
    Ok(cursors)
}

/// One request: a page of patients with names and addresses, each under a key of its own.
async fn work(world: &World, cursors: &[Cursor]) -> anyhow::Result<()> {
    let cursor = cursors[rand::rng().random_range(0..cursors.len())];
    let request = PageRequest {
        cursor: Some(cursor),
        limit: Some(PAGE),
    };
    let mut tx = world.begin(world.admin).await?;
    let page = tx.person_list(None, request).await?;
    ensure!(page.items.len() <= PAGE as usize, "more than was asked for");
    tx.commit().await?;
    Ok(())
}
