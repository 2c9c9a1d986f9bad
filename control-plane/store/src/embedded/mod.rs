//! A private PostgreSQL cluster from the binaries installed on this machine:
//! what `medmesh demo`, single-node installs and tests run on.
//!
//! It listens on a Unix socket in a directory of its own and on nothing else.
//! PostgreSQL refuses to run as root; started by root it runs as `postgres` or
//! `nobody`. It ends with the process that started it, however that ends: the
//! shell that watches it holds the other end of a pipe.
//!
//! Everything here blocks, except what talks to the database.

mod binaries;
mod error;
mod runner;
pub mod scratch;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::Uuid;

use crate::{SetupError, Store};
use binaries::Binaries;
pub use error::EmbeddedError;
use error::io_error;
use runner::Runner;
pub use runner::reachable;

/// The first start, with recovery after a crash, on a slow disk.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// A fast shutdown writes one checkpoint.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// How often a condition is looked at: well below what a person notices.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The port that names the socket file; nothing listens on a network.
const PORT: u16 = 5432;

/// Longest directory that leaves room for `/.s.PGSQL.5432` in the 107 bytes of a socket's path.
const SOCKET_DIR_BYTES_MAX: usize = 90;

const ROLES_SQL: &str = include_str!("../../../migrations/provision/roles.sql");
const DATABASE_SQL: &str = include_str!("../../../migrations/provision/database.sql");

/// Watches PostgreSQL for a process that may die without a word: when standard
/// input ends, it stops the database and removes what should not stay.
const WATCH: &str = r#"
sockets=$1; scrap=$2; shift 2
trap '' INT TERM HUP
( "$@" & echo $! >"$sockets/pid"; wait $!; echo $? >"$sockets/exited" ) &
cat >/dev/null
until [ -s "$sockets/pid" ]; do sleep 0.05; done
kill -INT "$(cat "$sockets/pid")" 2>/dev/null
wait
rm -rf "$sockets" ${scrap:+"$scrap"}
"#;

/// What a crash may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing that was acknowledged.
    Full,
    /// Everything: for tests, whose cluster does not outlive them.
    None,
}

/// How to run a cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it lives; made if it is not there.
    pub dir: PathBuf,
    /// What a crash may cost.
    pub durability: Durability,
    /// Whether `dir` goes when the cluster stops.
    pub ephemeral: bool,
    /// Most connections at once.
    pub max_connections: u32,
}

/// A running cluster. Dropping it stops it.
#[derive(Debug)]
pub struct Cluster {
    watch: Child,
    socket_dir: PathBuf,
    log: PathBuf,
    /// Held until the end, so that nobody else starts on the same files.
    _lock: File,
}

impl Cluster {
    /// Makes the cluster if there is none yet, and starts it.
    ///
    /// # Errors
    /// Every kind of [`EmbeddedError`] but `Setup`.
    pub fn start(settings: &Settings) -> Result<Self, EmbeddedError> {
        let binaries = Binaries::find()?;
        let runner = Runner::choose(&settings.dir)?;
        let lock = lock(&settings.dir)?;
        let data = settings.dir.join("data");
        if data.join("PG_VERSION").exists() {
            check_version(&data, &binaries)?;
            end_orphan(&binaries, &runner, &data);
        } else {
            init(&binaries, &runner, settings)?;
        }
        let socket_dir = runner.private_dir(&open_temp_dir())?;
        let log = settings.dir.join("postgres.log");
        let watch = spawn(&binaries, &runner, settings, &socket_dir, &log)?;
        let mut cluster = Self {
            watch,
            socket_dir,
            log,
            _lock: lock,
        };
        cluster.await_ready(&data)?;
        Ok(cluster)
    }

    /// The directory of its socket: another one at every start.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// For provisioning only: a superuser, who passes row-level security.
    #[must_use]
    pub fn admin_url(&self, database: &str) -> String {
        self.url("postgres", database)
    }

    /// For migrations and seeding.
    #[must_use]
    pub fn owner_url(&self, database: &str) -> String {
        self.url("medmesh_owner", database)
    }

    /// For control nodes.
    #[must_use]
    pub fn service_url(&self, database: &str) -> String {
        self.url("medmesh_service", database)
    }

    /// Makes roles and `database` where they are missing and brings the schema up to date.
    ///
    /// # Errors
    /// [`EmbeddedError::Setup`].
    pub async fn provision(&self, database: &'static str) -> Result<(), EmbeddedError> {
        self.create_database(database).await.map_err(SetupError::from)?;
        Store::migrate(&self.owner_url(database)).await?;
        Ok(())
    }

    /// Stops it and waits until it is gone.
    ///
    /// # Errors
    /// [`EmbeddedError::Deadline`].
    pub fn stop(mut self) -> Result<(), EmbeddedError> {
        self.shut_down()
    }

    async fn create_database(&self, database: &'static str) -> Result<(), sqlx::Error> {
        let mut admin = PgConnection::connect(&self.admin_url("postgres")).await?;
        sqlx::raw_sql(ROLES_SQL).execute(&mut admin).await?;
        let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(database)
            .fetch_one(&mut admin)
            .await?;
        if !exists {
            // The name is a literal of the caller.
            let create = format!("CREATE DATABASE \"{database}\" OWNER medmesh_owner");
            sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut admin).await?;
        }
        admin.close().await?;
        let mut admin = PgConnection::connect(&self.admin_url(database)).await?;
        sqlx::raw_sql(DATABASE_SQL).execute(&mut admin).await?;
        admin.close().await
    }

    fn url(&self, role: &str, database: &str) -> String {
        format!(
            "postgres://{role}@localhost:{PORT}/{database}?host={}",
            self.socket_dir.display()
        )
    }

    fn await_ready(&mut self, data: &Path) -> Result<(), EmbeddedError> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            // Line 8 of postmaster.pid says how far it is (PostgreSQL, miscadmin.h).
            let pid_file = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
            let ours = pid_file
                .lines()
                .nth(4)
                .is_some_and(|dir| Path::new(dir) == self.socket_dir);
            if ours && pid_file.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                return Ok(());
            }
            if self.socket_dir.join("exited").exists() {
                let output = tail(&self.log);
                self.shut_down()?;
                return Err(EmbeddedError::Program {
                    program: "postgres",
                    output,
                });
            }
            if Instant::now() > deadline {
                return Err(EmbeddedError::Deadline {
                    what: "start",
                    log: self.log.clone(),
                });
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn shut_down(&mut self) -> Result<(), EmbeddedError> {
        drop(self.watch.stdin.take());
        let deadline = Instant::now() + STOP_DEADLINE;
        while self
            .watch
            .try_wait()
            .map_err(io_error("wait for the watching shell"))?
            .is_none()
        {
            if Instant::now() > deadline {
                return Err(EmbeddedError::Deadline {
                    what: "stop",
                    log: self.log.clone(),
                });
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.shut_down() {
            tracing::warn!(%error, "stop the database");
        }
    }
}

fn lock(dir: &Path) -> Result<File, EmbeddedError> {
    let file = File::create(dir.join("lock")).map_err(io_error("create the lock file"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(EmbeddedError::InUse { path: dir.to_owned() }),
        Err(fs::TryLockError::Error(source)) => Err(EmbeddedError::Io {
            what: "lock the directory",
            source,
        }),
    }
}

fn check_version(data: &Path, binaries: &Binaries) -> Result<(), EmbeddedError> {
    let found = fs::read_to_string(data.join("PG_VERSION")).map_err(io_error("read PG_VERSION"))?;
    let (found, wanted) = (found.trim().to_owned(), binaries.major.to_string());
    if found == wanted {
        Ok(())
    } else {
        Err(EmbeddedError::OtherVersion {
            path: data.to_owned(),
            found,
            wanted,
        })
    }
}

/// A cluster that outlived both its process and its watcher: we hold the lock,
/// so nobody is using it. A stale pid file makes this fail, which is as good.
fn end_orphan(binaries: &Binaries, runner: &Runner, data: &Path) {
    if data.join("postmaster.pid").exists() {
        let mut stop = runner.command(&binaries.path("pg_ctl"));
        stop.args(["stop", "-m", "fast", "-w", "-D"]).arg(data);
        let _ = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// Beside and renamed, so that a first start that was cut off starts anew.
fn init(binaries: &Binaries, runner: &Runner, settings: &Settings) -> Result<(), EmbeddedError> {
    let fresh = settings.dir.join("data.new");
    if fresh.exists() {
        fs::remove_dir_all(&fresh).map_err(io_error("remove a half-made cluster"))?;
    }
    runner.make_dir(&fresh)?;
    let mut initdb = runner.command(&binaries.path("initdb"));
    initdb
        .args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--pgdata",
        ])
        .arg(&fresh);
    if settings.durability == Durability::None {
        initdb.arg("--no-sync");
    }
    let output = initdb.output().map_err(io_error("run initdb"))?;
    if !output.status.success() {
        let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(EmbeddedError::Program {
            program: "initdb",
            output,
        });
    }
    fs::rename(&fresh, settings.dir.join("data")).map_err(io_error("put the new cluster in place"))?;
    // Or a power cut might bring the old name back, and with it the next start's broom.
    let dir = File::open(&settings.dir).map_err(io_error("open the directory"))?;
    dir.sync_all().map_err(io_error("sync the directory"))
}

fn spawn(
    binaries: &Binaries,
    runner: &Runner,
    settings: &Settings,
    socket_dir: &Path,
    log: &Path,
) -> Result<Child, EmbeddedError> {
    let log = File::create(log).map_err(io_error("create the log file"))?;
    let mut watch = runner.command(Path::new("/bin/sh"));
    watch.args(["-c", WATCH, "medmesh-postgres"]).arg(socket_dir);
    watch.arg(if settings.ephemeral {
        settings.dir.as_os_str()
    } else {
        "".as_ref()
    });
    watch
        .arg(binaries.path("postgres"))
        .arg("-D")
        .arg(settings.dir.join("data"))
        .arg("-k")
        .arg(socket_dir);
    watch.args([
        "-p",
        &PORT.to_string(),
        "-N",
        &settings.max_connections.to_string(),
    ]);
    for setting in server_settings(settings.durability) {
        watch.args(["-c", setting]);
    }
    let err = log.try_clone().map_err(io_error("share the log file"))?;
    watch.stdin(Stdio::piped()).stdout(log).stderr(err);
    watch.spawn().map_err(io_error("run /bin/sh"))
}

fn server_settings(durability: Durability) -> Vec<&'static str> {
    let mut settings = vec![
        "listen_addresses=",
        "unix_socket_permissions=0700",
        "timezone=UTC",
        "log_timezone=UTC",
        // Rows' contents are health data: neither statements nor details belong into a log.
        "log_error_verbosity=terse",
        "log_min_error_statement=panic",
        "log_parameter_max_length_on_error=0",
        "shared_buffers=64MB",
        "jit=off",
    ];
    if durability == Durability::None {
        settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"]);
    }
    settings
}

/// The directory for what is temporary, if its name is short enough for a socket
/// and PostgreSQL's user may enter it.
fn open_temp_dir() -> PathBuf {
    let temp = std::env::temp_dir();
    let short = temp.as_os_str().len() + "/medmesh-".len() + 32 <= SOCKET_DIR_BYTES_MAX;
    if short && reachable(&temp).is_ok() {
        temp
    } else {
        PathBuf::from("/tmp")
    }
}

fn unique_name() -> String {
    format!("medmesh-{}", Uuid::new_v4().simple())
}

/// The last lines of a log, for an error message.
fn tail(log: &Path) -> String {
    const LINES: usize = 5;
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("; ")
}

/// A command with nothing of our environment that PostgreSQL would listen to.
fn clean_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
    command
}
