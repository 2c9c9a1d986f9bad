//! The pool, and how a transaction begins.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use medmesh_base::{ClinicId, RequestId};
use medmesh_clinic::Actor;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use time::OffsetDateTime;
use tokio::sync::Notify;

use crate::audit::Promises;
use crate::keys::Keyring;
use crate::{Result, SetupError, StoreError, Tx};

/// How long a request waits for a connection: longer than a busy moment, shorter
/// than a person's patience.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

static MIGRATOR: Migrator = sqlx::migrate!("../migrations");

/// The clinical database. Cheap to clone; clones share one pool.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) pool: PgPool,
    /// Rung after a commit that wrote outbox rows, so that the relay need not wait for its tick.
    pub(crate) nudge: Arc<Notify>,
    /// Rung after a commit that added jobs.
    pub(crate) job_nudge: Arc<Notify>,
    pub(crate) keyring: Keyring,
    /// Leaves committed here that are not in the log yet.
    pub(crate) promises: Arc<Promises>,
}

impl Store {
    /// Connects as the service role and checks that row-level security binds it
    /// and that the schema is the one this program was built for. `keyring` opens the
    /// sealed columns; the KMS behind it need not answer yet.
    ///
    /// # Errors
    /// [`SetupError`] of every kind but `Migration`.
    pub async fn connect(url: &str, max_connections: u32, keyring: Keyring) -> Result<Self, SetupError> {
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options(url)?)
            .await?;
        let store = Self {
            pool,
            nudge: Arc::new(Notify::new()),
            job_nudge: Arc::new(Notify::new()),
            keyring,
            promises: Arc::default(),
        };
        store.check_role().await?;
        store.check_schema().await?;
        Ok(store)
    }

    /// Brings the schema up to date. `owner_url` names the role `medmesh_owner`;
    /// several control nodes may try at once (an advisory lock orders them).
    ///
    /// # Errors
    /// [`SetupError::Url`], [`SetupError::Store`], [`SetupError::Migration`].
    pub async fn migrate(owner_url: &str) -> Result<(), SetupError> {
        let mut connection = PgConnection::connect_with(&options(owner_url)?).await?;
        MIGRATOR
            .run(&mut connection)
            .await
            .map_err(|error| SetupError::Migration(error.to_string()))?;
        connection.close().await?;
        Ok(())
    }

    /// Begins a transaction of one clinic, actor and request, now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when no connection is to be had.
    pub async fn begin(&self, clinic_id: ClinicId, actor: Actor, request_id: RequestId) -> Result<Tx> {
        self.begin_at(clinic_id, actor, request_id, OffsetDateTime::now_utc())
            .await
    }

    /// [`Store::begin`] at another instant: rules, leaves and sessions take `now` for the present.
    ///
    /// # Errors
    /// As [`Store::begin`].
    pub async fn begin_at(
        &self,
        clinic_id: ClinicId,
        actor: Actor,
        request_id: RequestId,
        now: OffsetDateTime,
    ) -> Result<Tx> {
        // Before the transaction: the KMS may be slow, and must not be waited for with rows locked.
        // Without keys the transaction begins all the same; what needs them says so.
        let scope = self.scope(Some(clinic_id)).await;
        // One round trip. Transaction-local, so that a pooled connection forgets its
        // clinic at commit, rollback and drop alike. A UUID's text needs no quoting.
        let begin = format!("BEGIN; SET LOCAL medmesh.clinic_id = '{clinic_id}'");
        let tx = self.pool.begin_with(AssertSqlSafe(begin)).await?;
        Ok(Tx::new(tx, clinic_id, actor, request_id, now, self, scope))
    }

    /// The keys behind the sealed columns.
    #[must_use]
    pub const fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Whether the database answers, on a connection that remembers no clinic of an
    /// earlier transaction. For readiness.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; [`StoreError::Internal`] for a connection that remembers.
    pub async fn ping(&self) -> Result<()> {
        let forgot: bool = sqlx::query_scalar("SELECT current_clinic() IS NULL")
            .fetch_one(&self.pool)
            .await?;
        if forgot {
            Ok(())
        } else {
            Err(StoreError::corrupt("medmesh.clinic_id"))
        }
    }

    /// Connections in use and connections allowed. For metrics.
    #[must_use]
    pub fn connections(&self) -> (u32, u32) {
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        (
            self.pool.size().saturating_sub(idle),
            self.pool.options().get_max_connections(),
        )
    }

    /// Waits for running transactions and closes every connection.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn check_role(&self) -> Result<(), SetupError> {
        let unsafe_role: bool = sqlx::query_scalar(
            "SELECT r.rolsuper OR r.rolbypassrls OR EXISTS (
                 SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')
                     AND pg_has_role(r.oid, c.relowner, 'MEMBER'))
             FROM pg_roles r WHERE r.rolname = current_user",
        )
        .fetch_one(&self.pool)
        .await?;
        if unsafe_role {
            Err(SetupError::UnsafeRole)
        } else {
            Ok(())
        }
    }

    async fn check_schema(&self) -> Result<(), SetupError> {
        let wanted = MIGRATOR
            .iter()
            .map(|migration| migration.version)
            .max()
            .unwrap_or_default();
        let exists: bool = sqlx::query_scalar("SELECT to_regclass('public._sqlx_migrations') IS NOT NULL")
            .fetch_one(&self.pool)
            .await?;
        let found: i64 = if exists {
            sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success")
                .fetch_one(&self.pool)
                .await?
        } else {
            0
        };
        // A newer schema is fine: migrations expand before they contract, so that
        // the previous release keeps working during a rolling upgrade.
        if found < wanted {
            Err(SetupError::Schema { found, wanted })
        } else {
            Ok(())
        }
    }
}

pub(crate) fn options(url: &str) -> Result<PgConnectOptions, SetupError> {
    Ok(PgConnectOptions::from_str(url)
        .map_err(|_| SetupError::Url)?
        .application_name("medmesh"))
}

/// How a database is reached, by its URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It is on this machine.
    Here,
    /// Over TLS, and its certificate is for the host the URL names.
    Verified,
    /// Over a network on which somebody else could answer in its place.
    Open,
}

impl Reach {
    /// What a database URL comes to, with what the environment adds to it (`PGSSLMODE`).
    ///
    /// # Errors
    /// [`SetupError::Url`].
    pub fn of(url: &str) -> Result<Self, SetupError> {
        let options = options(url)?;
        let host = options.get_host();
        let is_loopback = host.eq_ignore_ascii_case("localhost")
            || host
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback());
        Ok(
            if options.get_socket().is_some() || host.starts_with('/') || is_loopback {
                Self::Here
            } else if matches!(options.get_ssl_mode(), PgSslMode::VerifyFull) {
                Self::Verified
            } else {
                Self::Open
            },
        )
    }
}
