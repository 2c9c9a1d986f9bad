//! A database of its own for each test, cloned from a migrated template.
//!
//! One cluster per test process, started by the first that asks. Statics are not
//! dropped; the cluster notices that the process is gone and removes itself.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{Cluster, Durability, EmbeddedError, Settings, open_temp_dir, unique_name};
use crate::{SetupError, Store};

const TEMPLATE: &str = "medmesh_template";

/// Pools of many tests at once, each of some dozen connections.
const MAX_CONNECTIONS: u32 = 400;

static CLUSTER: OnceLock<Cluster> = OnceLock::new();
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
        let cluster = CLUSTER.get_or_init(|| start().expect("the test cluster starts"));
        let name = format!("scratch_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        clone(cluster, &name).await.map_err(SetupError::from)?;
        Ok(Self {
            service_url: cluster.service_url(&name),
            owner_url: cluster.owner_url(&name),
            admin_url: cluster.admin_url(&name),
        })
    }

    /// Connects as the service.
    ///
    /// # Errors
    /// As [`Store::connect`].
    pub async fn store(&self, max_connections: u32) -> Result<Store, SetupError> {
        Store::connect(&self.service_url, max_connections).await
    }
}

/// On a thread with a runtime of its own: the first test's ends before the last test.
fn start() -> Result<Cluster, EmbeddedError> {
    let starting = thread::spawn(|| {
        let cluster = Cluster::start(&Settings {
            dir: open_temp_dir().join(unique_name()),
            durability: Durability::None,
            ephemeral: true,
            max_connections: MAX_CONNECTIONS,
        })?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime
            .expect("a runtime can be built")
            .block_on(cluster.provision(TEMPLATE))?;
        Ok(cluster)
    });
    starting.join().expect("starting does not panic")
}

async fn clone(cluster: &Cluster, name: &str) -> Result<(), sqlx::Error> {
    let mut admin = PgConnection::connect(&cluster.admin_url("postgres")).await?;
    let create = format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER medmesh_owner");
    sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut admin).await?;
    admin.close().await
}
