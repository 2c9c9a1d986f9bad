//! A large clinic: finding somebody in it, and replacing its key while it works.
//!
//! A private PostgreSQL with everything a crash must not cost (fsync on), patients whose rows
//! were sealed by the code that seals them in production, and a control node with everything that
//! runs in one. Requests come through HTTP, from people who signed in.

mod load;
mod names;
mod rotation;
mod search;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use medmesh_base::PersonId;
use medmesh_clinic::{Locale, NewPerson, Role, Roles};
use medmesh_store::embedded::scratch::Scratch;
use medmesh_store::embedded::{Cluster, Durability, Settings};
use medmesh_store::{BULK_MAX, Keyring, KeyringSettings, PasswordHash, Store};
use medmesh_tests::control::{ControlNode, TestClinic, Wishes};
use medmesh_vault::kms::{FileKms, Unlock};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;

use crate::report;
use names::Names;

pub use rotation::{Options as RotationOptions, rows as rotation};
pub use search::{Options as SearchOptions, rows as search};

/// A hash nobody's password has: no patient signs in here.
const PHC: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaA";
/// What the run's names come from: the same in every run.
const NAMES_SEED: u64 = 20_26;
const DATABASE: &str = "medmesh";
/// The clinic's name, and part of its staff's addresses.
const CLINIC: &str = "bench";
/// Connections of the node, as one has by default.
const CONNECTIONS: u32 = 16;
/// Batches of patients sealed and written at once: one for each core this is made for.
const BATCHES_AT_ONCE: usize = 2;
/// The log's sequencer works off what the patients' creation left within this time.
const SETTLE_DEADLINE: Duration = Duration::from_secs(300);

/// Patients pour in without what costs time and protects nothing here: references are right by
/// construction, and a crash would begin anew. The index would be updated token by token.
const FILL_ON: [&str; 7] = [
    "ALTER ROLE medmesh_service SET session_replication_role = replica",
    "ALTER ROLE medmesh_service SET synchronous_commit = off",
    "ALTER SYSTEM SET max_wal_size = '16GB'",
    "ALTER SYSTEM SET checkpoint_timeout = '1h'",
    "ALTER SYSTEM SET autovacuum = off",
    "SELECT pg_reload_conf()",
    "DROP INDEX patient_search_tokens",
];
/// Afterwards everything is as a node finds it.
const FILL_OFF: [&str; 7] = [
    "ALTER ROLE medmesh_service RESET ALL",
    "ALTER SYSTEM RESET ALL",
    "SELECT pg_reload_conf()",
    "SET maintenance_work_mem = '512MB'",
    "CREATE INDEX patient_search_tokens ON patient_search USING gin (tokens) WITH (fastupdate = off)",
    "CHECKPOINT",
    "VACUUM ANALYZE",
];

/// The clinic and its database.
struct World {
    /// Ends when this is dropped, before its files go.
    _cluster: Cluster,
    /// Goes with the run.
    dir: tempfile::TempDir,
    scratch: Scratch,
    store: Store,
    clinic: TestClinic,
    key_cache: Duration,
}

/// Whom a filled clinic has: ids and names, each in an order of its own.
struct Filled {
    ids: Vec<PersonId>,
    names: Vec<String>,
}

impl World {
    /// An open clinic without patients. `key_cache`: how long keys are used before they are read again.
    async fn open(key_cache: Duration) -> anyhow::Result<Self> {
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
        let scratch = Scratch {
            service_url: cluster.service_url(DATABASE),
            owner_url: cluster.owner_url(DATABASE),
            admin_url: cluster.admin_url(DATABASE),
            root_key_file: dir.path().join("vault.keys"),
            unlock_file: dir.path().join("vault.unlock"),
        };
        let unlock = Unlock::credential_file_or_create(&scratch.unlock_file)?;
        let kms = FileKms::load_or_create(&scratch.root_key_file, &unlock)?;
        let settings = KeyringSettings {
            lifetime: key_cache,
            ..KeyringSettings::default()
        };
        let keyring = Keyring::new(Arc::new(kms), settings);
        let clinic = TestClinic::open(&scratch, CLINIC).await;
        let store = Store::connect(&scratch.service_url, 4, keyring).await?;
        Ok(Self {
            _cluster: cluster,
            dir,
            scratch,
            store,
            clinic,
            key_cache,
        })
    }

    async fn admin(&self) -> anyhow::Result<PgConnection> {
        Ok(PgConnection::connect(&self.scratch.admin_url).await?)
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.path().join("postgres")
    }

    /// A control node over it.
    async fn node(&self) -> ControlNode {
        let wishes = Wishes {
            max_connections: Some(CONNECTIONS),
            key_cache_seconds: Some(self.key_cache.as_secs()),
            ..Wishes::default()
        };
        ControlNode::start(&self.scratch, &wishes).await
    }

    /// Fills the clinic.
    async fn fill(&self, patients: usize) -> anyhow::Result<Filled> {
        let (names, mut random) = (Names::new(), StdRng::seed_from_u64(NAMES_SEED));
        let names: Vec<String> = (0..patients).map(|_| names.make(&mut random)).collect();
        let mut admin = self.admin().await?;
        for statement in FILL_ON {
            sqlx::raw_sql(statement).execute(&mut admin).await?;
        }
        // Connections of its own: they begin with the role's settings.
        let store = self.scratch.store(u32::try_from(BATCHES_AT_ONCE)?).await?;
        let ids = self.import(&store, &names).await?;
        store.close().await;
        for statement in FILL_OFF {
            sqlx::raw_sql(statement).execute(&mut admin).await?;
        }
        Ok(Filled { ids, names })
    }

    async fn import(&self, store: &Store, names: &[String]) -> anyhow::Result<Vec<PersonId>> {
        let mut batches = names.chunks(BULK_MAX).enumerate();
        let (mut running, mut ids) = (JoinSet::new(), Vec::with_capacity(names.len()));
        loop {
            while running.len() < BATCHES_AT_ONCE
                && let Some((at, batch)) = batches.next()
            {
                let people: anyhow::Result<Vec<NewPerson>> = batch
                    .iter()
                    .enumerate()
                    .map(|(n, name)| patient(name, &format!("p{at}.{n}@bench.example")))
                    .collect();
                let (people, store, clinic) = (people?, store.clone(), self.clinic.id);
                running.spawn(async move {
                    let password = PasswordHash::from_phc(PHC.to_owned());
                    store.patients_import(clinic, &people, &password).await
                });
            }
            let Some(batch) = running.join_next().await else {
                break;
            };
            ids.extend(batch??);
            if ids.len() % 100_000 == 0 {
                report::print(&format!("  {} patients", ids.len()));
            }
        }
        Ok(ids)
    }

    /// Waits until every leaf has its place in the log: the filling's are not what is measured.
    async fn settle(&self) -> anyhow::Result<()> {
        let mut admin = self.admin().await?;
        let deadline = tokio::time::Instant::now() + SETTLE_DEADLINE;
        loop {
            let waiting: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM audit_pending)")
                .fetch_one(&mut admin)
                .await?;
            if !waiting {
                return Ok(());
            }
            ensure!(tokio::time::Instant::now() < deadline, "the log falls behind");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn patient(name: &str, email: &str) -> anyhow::Result<NewPerson> {
    Ok(NewPerson {
        display_name: name.parse()?,
        email: email.parse()?,
        roles: Roles::only(Role::Patient),
        locale: Locale::En,
    })
}
