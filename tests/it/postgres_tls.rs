//! PostgreSQL over TLS, as the rule for databases elsewhere has it (`sslmode=verify-full`): spoken to when the
//! certificate is right, and never otherwise, also not in the clear.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use medmesh_store::{SetupError, Store};
use medmesh_tests::postgres::{Cluster, Durability, Scratch, Settings};
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;

use crate::audit::eventually;
use crate::redis_tls::{Files, files};

const DATABASE: &str = "riverside";
/// Only those who speak TLS, on this machine.
const ENTRY: &str = "hostssl all all 127.0.0.1/32 trust\n";
/// Ends the server with its standard input, however this process ends.
const WATCH: &str = r#""$@" & pid=$!; cat >/dev/null; kill -INT $pid; wait $pid"#;

/// A cluster with a clinic's schema that listens on TCP, as somebody else's would.
struct Elsewhere {
    watch: Child,
    port: u16,
    dir: TempDir,
}

impl Elsewhere {
    /// With TLS under this certificate, or without.
    async fn start(cert: Option<&Files>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let settings = Settings {
            dir: dir.path().join("cluster"),
            durability: Durability::None,
            ephemeral: false,
            max_connections: 20,
        };
        let made = tokio::task::spawn_blocking(move || Cluster::start(&settings));
        let cluster = made.await.unwrap().unwrap();
        cluster.provision(DATABASE).await.unwrap();
        tokio::task::spawn_blocking(move || cluster.stop())
            .await
            .unwrap()
            .unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let watch = serve(dir.path(), port, cert);
        let elsewhere = Self { watch, port, dir };
        eventually(async || {
            // It listens; whether it lets anybody in is each test's question.
            let open = tokio::net::TcpStream::connect(("127.0.0.1", elsewhere.port)).await;
            let said = fs::read_to_string(elsewhere.dir.path().join("log")).unwrap_or_default();
            (open.is_ok() && said.contains("ready to accept connections")).then_some(())
        })
        .await;
        elsewhere
    }

    fn url(&self, role: &str, rest: &str) -> String {
        format!("postgres://{role}@localhost:{}/{DATABASE}?{rest}", self.port)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        let _ = self.watch.wait();
    }
}

/// Whom the cluster belongs to runs it.
fn serve(dir: &Path, port: u16, cert: Option<&Files>) -> Child {
    let data = dir.join("cluster/data");
    let owner = fs::metadata(&data).unwrap();
    let entry = dir.join("hba.conf");
    // In a cluster that speaks no TLS everybody may come in: it is we who have to refuse it.
    let entries = if cert.is_some() {
        ENTRY
    } else {
        "host all all 127.0.0.1/32 trust\n"
    };
    fs::write(&entry, entries).unwrap();
    let log = fs::File::create(dir.join("log")).unwrap();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", WATCH, "medmesh-postgres"]).arg(postgres());
    command.arg("-D").arg(&data);
    let mut set = |name: &str, value: &str| {
        command.arg("-c").arg(format!("{name}={value}"));
    };
    set("listen_addresses", "127.0.0.1");
    set("port", &port.to_string());
    set("unix_socket_directories", "");
    set("hba_file", &entry.display().to_string());
    set("fsync", "off");
    if let Some(files) = cert {
        // It takes a key that is its own, or root's, and nobody else's to read.
        let key = dir.join("server.key");
        fs::copy(&files.key, &key).unwrap();
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        let (uid, gid) = (owner.uid(), owner.gid());
        if fs::metadata("/proc/self").unwrap().uid() == 0 {
            chown(&key, Some(uid), Some(gid)).unwrap();
        }
        let pem = dir.join("server.pem");
        fs::copy(&files.cert, &pem).unwrap();
        fs::set_permissions(&pem, Permissions::from_mode(0o644)).unwrap();
        set("ssl", "on");
        set("ssl_cert_file", &pem.display().to_string());
        set("ssl_key_file", &key.display().to_string());
        set("ssl_min_protocol_version", "TLSv1.3");
    }
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.uid(owner.uid()).gid(owner.gid());
    }
    let errors = log.try_clone().unwrap();
    command.current_dir("/").process_group(0);
    command.stdin(Stdio::piped()).stdout(log).stderr(errors);
    command.spawn().unwrap()
}

/// The newest PostgreSQL that is installed.
fn postgres() -> PathBuf {
    let installed = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let newest = installed
        .map(|version| version.path().join("bin/postgres"))
        .filter(|path| path.is_file())
        .max();
    newest.unwrap_or_else(|| {
        let dir = Command::new("pg_config").arg("--bindir").output().unwrap();
        PathBuf::from(String::from_utf8(dir.stdout).unwrap().trim()).join("postgres")
    })
}

/// An authority as a file of its own.
fn authority(dir: &Path, files: &Files) -> PathBuf {
    let mut file = tempfile::Builder::new().suffix(".ca").tempfile_in(dir).unwrap();
    file.write_all(files.authority.as_bytes()).unwrap();
    file.into_temp_path().keep().unwrap()
}

fn verified(authority: &Path) -> String {
    format!("sslmode=verify-full&sslrootcert={}", authority.display())
}

/// As a node does before anything else; what it says when it cannot.
async fn reach(url: &str) -> Result<(), SetupError> {
    Store::migrate(url).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_elsewhere_is_spoken_to_over_tls_and_only_with_whom_the_authority_vouches_for() {
    let dir = tempfile::tempdir().unwrap();
    let right = files(dir.path(), "right", "localhost");
    let strange = files(dir.path(), "strange", "localhost");
    let elsewhere = Elsewhere::start(Some(&right)).await;
    let trusted = verified(&authority(dir.path(), &right));

    reach(&elsewhere.url("medmesh_owner", &trusted)).await.unwrap();
    let scratch = Scratch::database().await.unwrap();
    let service = elsewhere.url("medmesh_service", &trusted);
    let store = Store::connect(&service, 2, scratch.keyring()).await.unwrap();
    let mut admin = PgConnection::connect(&elsewhere.url("postgres", &trusted))
        .await
        .unwrap();
    let sealed: Vec<(bool, String)> = sqlx::query_as(
        "SELECT s.ssl, s.version FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.usename = 'medmesh_service'",
    )
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert!(
        !sealed.is_empty() && sealed.iter().all(|(ssl, version)| *ssl && version == "TLSv1.3"),
        "{sealed:?}"
    );
    store.close().await;
    admin.close().await.unwrap();

    let refused = async |rest: &str| reach(&elsewhere.url("medmesh_owner", rest)).await.is_err();
    assert!(
        refused(&verified(&authority(dir.path(), &strange))).await,
        "another authority"
    );
    assert!(
        refused("sslmode=verify-full").await,
        "the system does not know it"
    );
    assert!(refused("sslmode=disable").await, "it speaks TLS only");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_under_another_name_and_one_without_tls_are_not_spoken_to() {
    let dir = tempfile::tempdir().unwrap();
    let other = files(dir.path(), "elsewhere", "db.example.net");
    let authority = authority(dir.path(), &other);
    let named = Elsewhere::start(Some(&other)).await;
    assert!(
        reach(&named.url("medmesh_owner", &verified(&authority)))
            .await
            .is_err(),
        "for another host"
    );
    // That it is the name: the same chain is taken where no name is asked for.
    let unnamed = format!("sslmode=verify-ca&sslrootcert={}", authority.display());
    reach(&named.url("medmesh_owner", &unnamed)).await.unwrap();

    let open = Elsewhere::start(None).await;
    assert!(
        reach(&open.url("medmesh_owner", &verified(&authority)))
            .await
            .is_err(),
        "in the clear"
    );
    reach(&open.url("medmesh_owner", "sslmode=disable"))
        .await
        .unwrap();
}
