//! What the audit log costs: writes with their leaves beside plain inserts, and proofs out of a
//! log of millions.
//!
//! One PostgreSQL, with its durability on, under `target/bench`; our writes and `pgbench` take
//! turns on it. A write is a message of a visit as the API stores it: decided, sealed, numbered,
//! with its leaf and its outbox row in one transaction. The sequencer runs beside it as on the node
//! that leads: leaves get their places, tiles and signed heads are published each second.

mod proofs;
mod writes;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use medmesh_control::audit::LogKeys;
use medmesh_store::embedded::{Cluster, Durability, Settings};
use medmesh_store::{Keyring, KeyringSettings, Store};
use medmesh_vault::ClusterSecret;
use medmesh_vault::kms::{FileKms, Unlock};

use crate::report::{self, Row};

const DATABASE: &str = "medmesh";
/// Connections of the node, as a control node has by default.
const CONNECTIONS: u32 = 16;

/// How long, how often, how large.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Runs of each side, alternating
    #[arg(long, default_value_t = 5)]
    pub audit_runs: usize,
    /// Seconds of one run
    #[arg(long, default_value_t = 4.0)]
    pub audit_seconds: f64,
    /// Leaves of the log that proofs are made from
    #[arg(long, default_value_t = 10_000_000)]
    pub audit_leaves: u64,
    /// Proofs per run
    #[arg(long, default_value_t = 400)]
    pub audit_proofs: usize,
}

/// A database of the bench's own.
struct Place {
    cluster: Cluster,
    store: Store,
    keys: LogKeys,
    dir: tempfile::TempDir,
}

impl Place {
    fn owner_url(&self) -> String {
        self.cluster.owner_url(DATABASE)
    }

    fn admin_url(&self) -> String {
        self.cluster.admin_url(DATABASE)
    }

    async fn open() -> anyhow::Result<Self> {
        let directory = report::directory();
        std::fs::create_dir_all(&directory)?;
        let dir = reachable(&directory)?;
        let settings = Settings {
            dir: dir.path().join("postgres"),
            durability: Durability::Full,
            ephemeral: false,
            max_connections: 100,
        };
        std::fs::create_dir_all(&settings.dir)?;
        let cluster = tokio::task::block_in_place(|| Cluster::start(&settings))?;
        cluster.provision(DATABASE).await?;
        let unlock = Unlock::credential_file_or_create(&dir.path().join("vault.unlock"))?;
        let kms = FileKms::load_or_create(&dir.path().join("vault.keys"), &unlock)?;
        let keyring = Keyring::new(Arc::new(kms), KeyringSettings::default());
        let store = Store::connect(&cluster.service_url(DATABASE), CONNECTIONS, keyring).await?;
        let secret = ClusterSecret::load_or_create(&dir.path().join("cluster.secret"))?;
        Ok(Self {
            cluster,
            store,
            keys: LogKeys::new("bench".to_owned(), secret),
            dir,
        })
    }
}

/// PostgreSQL's own user must be able to pass through.
fn reachable(below: &Path) -> anyhow::Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir_in(below).context("no directory for data")?;
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711))?;
    Ok(dir)
}

/// One of PostgreSQL's programs, which Debian keeps off the path.
fn program(name: &str) -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let newest = installed
        .map(|entry| entry.path().join("bin").join(name))
        .filter(|path| path.exists())
        .max();
    newest.unwrap_or_else(|| PathBuf::from(name))
}

/// Measures and answers the rows.
///
/// # Errors
/// When PostgreSQL does not start, or a write or proof fails.
pub fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let started = Instant::now();
        let place = Place::open().await?;
        let clinic = writes::clinic(&place).await?;
        let mut rows = vec![writes::row(&place, &clinic, options).await?];
        rows.push(proofs::row(&place, clinic.id, options).await?);
        place.store.close().await;
        report::print(&format!("  in {:.0} s", started.elapsed().as_secs_f64()));
        Ok(rows)
    })
}
