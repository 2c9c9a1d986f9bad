//! A database of its own for each test, cloned from a migrated template.
//!
//! One cluster per test process, started by the first that asks. Statics are not
//! dropped; the cluster notices that the process is gone and removes itself.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use medmesh_vault::kms::{FileKms, Unlock};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{Cluster, Durability, EmbeddedError, Settings, open_temp_dir, unique_name};
use crate::{Keyring, KeyringSettings, SetupError, Store};

const TEMPLATE: &str = "medmesh_template";

/// Pools of many tests at once, each of some dozen connections.
const MAX_CONNECTIONS: u32 = 400;

/// File of the root key, in the cluster's directory, and with it gone at the end.
const ROOT_KEY_FILE: &str = "vault.keys";
/// File of what unlocks it.
const UNLOCK_FILE: &str = "vault.unlock";

static CLUSTER: OnceLock<(Cluster, PathBuf)> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(1);

/// A database nobody else knows of.
#[derive(Clone, Debug)]
pub struct Scratch {
    /// For control nodes.
    pub service_url: String,
    /// For migrations and seeding.
    pub owner_url: String,
    /// A superuser, who passes row-level security: for looking behind the scenes.
    pub admin_url: String,
    /// The root key of the embedded KMS, the same for all databases of this process.
    pub root_key_file: PathBuf,
    /// What unlocks it.
    pub unlock_file: PathBuf,
}

impl Scratch {
    /// A fresh database with the present schema and no rows.
    ///
    /// # Errors
    /// [`EmbeddedError::Setup`].
    ///
    /// # Panics
    /// When the cluster cannot be started: no test makes sense then, and the
    /// reason is worth more than a hundred repetitions of it.
    pub async fn database() -> Result<Self, EmbeddedError> {
        let (cluster, dir) = CLUSTER.get_or_init(|| start().expect("the test cluster starts"));
        let name = format!("scratch_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        clone(cluster, &name).await.map_err(SetupError::from)?;
        Ok(Self {
            service_url: cluster.service_url(&name),
            owner_url: cluster.owner_url(&name),
            admin_url: cluster.admin_url(&name),
            root_key_file: dir.join(ROOT_KEY_FILE),
            unlock_file: dir.join(UNLOCK_FILE),
        })
    }

    /// Connects as the service.
    ///
    /// # Errors
    /// As [`Store::connect`].
    pub async fn store(&self, max_connections: u32) -> Result<Store, SetupError> {
        Store::connect(&self.service_url, max_connections, self.keyring()).await
    }

    /// An empty keyring over this process's root key.
    ///
    /// # Panics
    /// When the files made at the start cannot be read.
    #[must_use]
    pub fn keyring(&self) -> Keyring {
        let kms = root_key(&self.root_key_file, &self.unlock_file);
        Keyring::new(Arc::new(kms), KeyringSettings::default())
    }
}

/// On a thread with a runtime of its own: the first test's ends before the last test.
fn start() -> Result<(Cluster, PathBuf), EmbeddedError> {
    let starting = thread::spawn(|| {
        let dir = open_temp_dir().join(unique_name());
        let cluster = Cluster::start(&Settings {
            dir: dir.clone(),
            durability: Durability::None,
            ephemeral: true,
            max_connections: MAX_CONNECTIONS,
        })?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime
            .expect("a runtime can be built")
            .block_on(cluster.provision(TEMPLATE))?;
        root_key(&dir.join(ROOT_KEY_FILE), &dir.join(UNLOCK_FILE));
        Ok((cluster, dir))
    });
    starting.join().expect("starting does not panic")
}

fn root_key(key: &Path, unlock: &Path) -> FileKms {
    let unlock = Unlock::credential_file_or_create(unlock).expect("the cluster's directory is ours");
    FileKms::load_or_create(key, &unlock).expect("the cluster's directory is ours")
}

async fn clone(cluster: &Cluster, name: &str) -> Result<(), sqlx::Error> {
    let mut admin = PgConnection::connect(&cluster.admin_url("postgres")).await?;
    let create = format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER medmesh_owner");
    sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut admin).await?;
    admin.close().await
}
