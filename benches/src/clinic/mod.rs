//! A large clinic: finding somebody in it, and replacing its key while it works.
//!
//! A private PostgreSQL with everything a crash must not cost (fsync on), and patients whose rows
//! were sealed by the code that seals them in production. Requests are the transactions a handler
//! makes, without HTTP: tenant, policy, keys, rows, audit leaf, commit. They are sent at a rate,
//! whether earlier ones are done or not, and their time counts from when they were due.

mod names;
mod rotation;
mod search;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use medmesh_base::{AccountId, ClinicId, RequestId, SessionId};
use medmesh_clinic::{Actor, Caller, Clinic, Locale, NewPerson, Role, Roles};
use medmesh_store::embedded::{Cluster, Durability, Settings};
use medmesh_store::seed::{Seed, SeedPerson, Seeded};
use medmesh_store::{BULK_MAX, Keyring, KeyringSettings, PasswordHash, Store};
use medmesh_vault::kms::{FileKms, Unlock};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::task::JoinSet;

use crate::report;
use names::Names;

pub use rotation::{Options as RotationOptions, rows as rotation};
pub use search::{Options as SearchOptions, rows as search};

/// A hash nobody's password has: nobody signs in here.
const PHC: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaA";
/// What the run's names come from: the same in every run.
const NAMES_SEED: u64 = 20_26;
const DATABASE: &str = "medmesh";
/// Connections of the service, as a control node has by default.
const CONNECTIONS: u32 = 16;

/// The clinic, its database and somebody who works there.
struct World {
    cluster: Cluster,
    /// Goes with the run.
    dir: tempfile::TempDir,
    store: Store,
    clinic: ClinicId,
    admin: Caller,
    clinician: Caller,
}

impl World {
    /// An open clinic without patients. `lifetime`: how long keys are used before they are read again.
    async fn open(lifetime: Duration) -> anyhow::Result<Self> {
        let directory = report::directory();
        std::fs::create_dir_all(&directory)?;
        let dir = tempfile::tempdir_in(&directory).context("no directory for data")?;
        let data = dir.path().join("postgres");
        let cluster = Cluster::start(&Settings {
            dir: data,
            durability: Durability::Full,
            ephemeral: false,
            max_connections: 100,
        })?;
        cluster.provision(DATABASE).await?;
        let unlock = Unlock::credential_file_or_create(&dir.path().join("vault.unlock"))?;
        let kms = FileKms::load_or_create(&dir.path().join("vault.keys"), &unlock)?;
        let settings = KeyringSettings {
            lifetime,
            ..KeyringSettings::default()
        };
        let keyring = Keyring::new(Arc::new(kms), settings);
        let store = Store::connect(&cluster.service_url(DATABASE), CONNECTIONS, keyring).await?;
        let clinic = Clinic {
            id: ClinicId::generate(),
            name: "Bench".to_owned(),
            time_zone: "America/New_York".parse()?,
            home_region: "us-east".parse()?,
        };
        let people = [("admin", Role::Admin), ("clinician", Role::Clinician)];
        let people = people.map(|(name, role)| {
            Ok::<_, anyhow::Error>(SeedPerson {
                person: person(name, &format!("{name}@bench.example"), role)?,
                password: PasswordHash::from_phc(PHC.to_owned()),
                totp: None,
                passkey: None,
                credentials: medmesh_clinic::credential::Claim::made_up(role),
            })
        });
        let seed = Seed {
            clinic,
            people: people.into_iter().collect::<anyhow::Result<_>>()?,
            appointments: Vec::new(),
        };
        let seeded = store.seed(&cluster.owner_url(DATABASE), &seed).await?;
        Ok(Self {
            clinic: seed.clinic.id,
            admin: caller(&seeded[0]),
            clinician: caller(&seeded[1]),
            cluster,
            dir,
            store,
        })
    }

    fn admin_url(&self) -> String {
        self.cluster.admin_url(DATABASE)
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.path().join("postgres")
    }

    async fn begin(&self, caller: Caller) -> Result<medmesh_store::Tx, medmesh_store::StoreError> {
        let actor = Actor::Person(caller);
        self.store.begin(self.clinic, actor, RequestId::generate()).await
    }

    /// Fills the clinic, two batches at a time; gives the names.
    async fn fill(&self, patients: usize) -> anyhow::Result<Vec<String>> {
        let (names, mut random) = (Names::new(), StdRng::seed_from_u64(NAMES_SEED));
        let all: Vec<String> = (0..patients).map(|_| names.make(&mut random)).collect();
        let mut batches = all.chunks(BULK_MAX).enumerate();
        let (mut running, mut done) = (JoinSet::new(), 0);
        loop {
            while running.len() < 2
                && let Some((at, batch)) = batches.next()
            {
                let people: anyhow::Result<Vec<NewPerson>> = batch
                    .iter()
                    .enumerate()
                    .map(|(n, name)| person(name, &format!("p{at}.{n}@bench.example"), Role::Patient))
                    .collect();
                let (people, store, clinic) = (people?, self.store.clone(), self.clinic);
                running.spawn(async move {
                    let password = PasswordHash::from_phc(PHC.to_owned());
                    store.patients_import(clinic, &people, &password).await
                });
            }
            let Some(batch) = running.join_next().await else {
                break;
            };
            done += batch??.len();
            if done % 100_000 == 0 {
                report::print(&format!("  {done} patients"));
            }
        }
        Ok(all)
    }
}

fn person(name: &str, email: &str, role: Role) -> anyhow::Result<NewPerson> {
    Ok(NewPerson {
        display_name: name.parse()?,
        email: email.parse()?,
        roles: Roles::only(role),
        locale: Locale::En,
    })
}

fn caller(seeded: &Seeded) -> Caller {
    Caller {
        account_id: AccountId::generate(),
        person_id: seeded.person_id,
        session_id: SessionId::generate(),
        roles: seeded.roles,
        second_factor: true,
        stepped_up_at: None,
        licensed: medmesh_clinic::credential::LICENSED,
    }
}

/// What became of requests at a rate.
struct Served {
    /// From when each was due to its end, milliseconds, sorted.
    latencies_ms: Vec<f64>,
    failed: usize,
}

impl Served {
    /// 0 without any.
    fn quantile(&self, part: f64) -> f64 {
        let at = (self.latencies_ms.len() as f64 * part) as usize;
        let at = at.min(self.latencies_ms.len().saturating_sub(1));
        self.latencies_ms.get(at).copied().unwrap_or(0.0)
    }
}

/// Sends requests at a rate until `over` resolves.
async fn serve<R, F>(per_second: f64, mut request: R, over: impl Future<Output = ()>) -> Served
where
    R: FnMut(u64) -> F,
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut running = JoinSet::new();
    let (mut latencies_ms, mut failed) = (Vec::new(), 0);
    let begun = Instant::now();
    let mut number = 0_u64;
    tokio::pin!(over);
    loop {
        let due = begun + Duration::from_secs_f64(number as f64 / per_second);
        tokio::select! {
            () = &mut over => break,
            Some(done) = running.join_next(), if !running.is_empty() => {
                count(done, &mut latencies_ms, &mut failed);
            }
            () = tokio::time::sleep_until(due.into()) => {
                let work = request(number);
                running.spawn(async move { work.await.map(|()| due.elapsed()) });
                number += 1;
            }
        }
    }
    while let Some(done) = running.join_next().await {
        count(done, &mut latencies_ms, &mut failed);
    }
    latencies_ms.sort_by(f64::total_cmp);
    Served { latencies_ms, failed }
}

fn count(
    done: Result<anyhow::Result<Duration>, tokio::task::JoinError>,
    latencies_ms: &mut Vec<f64>,
    failed: &mut usize,
) {
    match done {
        Ok(Ok(took)) => latencies_ms.push(took.as_secs_f64() * 1000.0),
        Ok(Err(error)) => {
            *failed += 1;
            report::print(&format!("  failed: {error:#}"));
        }
        Err(_) => *failed += 1,
    }
}
