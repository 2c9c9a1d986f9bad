//! The key of a clinic is replaced while the clinic works.
//!
//! Of ten requests six list patients somewhere in the clinic, with names and addresses, each under a
//! key of its own; two look for somebody by name; two ask whether the session lives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use medmesh_api_client::Clinic as Client;
use medmesh_api_types::person::{PatientSearch, PersonQuery};
use medmesh_base::{PersonId, Phi};
use medmesh_clinic::SystemActor;
use medmesh_store::{Cursor, JobKind as _, Rotation, RotationSubject};
use rand::Rng as _;

use super::load::serve;
use super::{Filled, World};
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
/// People of one listing, each of whose keys is fetched and unwrapped, and who leave a leaf each.
const PAGE: u32 = 10;
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

/// Who asks, and for whom.
struct Desk {
    admin: Client,
    clinician: Client,
    filled: Filled,
}

async fn measure(options: &Options) -> anyhow::Result<Vec<Row>> {
    let world = World::open(LIFETIME).await?;
    let begun = Instant::now();
    let filled = world.fill(options.rotation_patients).await?;
    report::print(&format!("  filled in {:.0} s", begun.elapsed().as_secs_f64()));
    let node = world.node().await;
    let desk = Arc::new(Desk {
        admin: node.signed_in_as(&world.clinic, "admin").await,
        clinician: node.signed_in_as(&world.clinic, "clinician").await,
        filled,
    });
    world.settle().await?;
    let request = |number| {
        let desk = Arc::clone(&desk);
        async move { work(&desk, number).await }
    };
    let length = Duration::from_secs_f64(options.rotation_seconds);
    serve(options.rotation_rate, request, tokio::time::sleep(length / 4)).await;
    let before = serve(options.rotation_rate, request, tokio::time::sleep(length)).await;

    let begun = Instant::now();
    let subject = RotationSubject::Clinic {
        clinic_id: world.clinic.id,
    };
    let version = world.store.rotation_begin(SystemActor::Operator, subject).await?;
    let during = serve(options.rotation_rate, request, ended(&world)).await;
    let took = begun.elapsed();
    node.stop().await;

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
            // One that was given up ends it too, and is seen afterwards.
            let alive = world.store.job_list(Some(false), None, 50).await;
            if alive.is_ok_and(|jobs| jobs.iter().all(|job| job.kind != Rotation::KIND)) {
                return;
            }
        }
    };
    // Whether it ended in time is looked at afterwards.
    let _ = tokio::time::timeout(DEADLINE, ends).await;
}

async fn work(desk: &Desk, number: u64) -> anyhow::Result<()> {
    match number % 10 {
        0..6 => list(desk).await,
        6 | 7 => find(desk).await,
        _ => Ok(desk.clinician.session().await.map(|_| ())?),
    }
}

/// A page of patients with names and addresses.
async fn list(desk: &Desk) -> anyhow::Result<()> {
    let query = PersonQuery {
        role: None,
        cursor: Some(Cursor::by_id(somebody(desk).0.as_uuid()).to_string()),
        limit: Some(PAGE),
    };
    let page = desk.admin.person_list(&query).await?;
    ensure!(page.items.len() <= PAGE as usize, "more than was asked for");
    Ok(())
}

async fn find(desk: &Desk) -> anyhow::Result<()> {
    let search = PatientSearch {
        q: Phi::new(somebody(desk).1.clone()),
        limit: None,
    };
    let found = desk.clinician.patient_search(&search).await?;
    ensure!(!found.items.is_empty(), "somebody of that name is there");
    Ok(())
}

/// One of the patients, and a name one of them has.
fn somebody(desk: &Desk) -> (PersonId, &String) {
    let at = rand::rng().random_range(0..desk.filled.ids.len());
    (desk.filled.ids[at], &desk.filled.names[at])
}
