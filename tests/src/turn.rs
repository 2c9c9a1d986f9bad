//! `medmesh-turn` as a process of its own, the binary an operator runs.

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// How long it may take to come up; it takes a hundredth of it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Relayed addresses: above what the kernel gives to whoever asks, so that no test's own socket is there.
pub const RELAYED_PORTS: &str = "61000-64999";

/// A running standalone relay; it ends with this.
pub struct TurnProcess {
    child: Child,
    dir: TempDir,
    turn: SocketAddr,
    admin: SocketAddr,
}

/// The program, built with the tests of its own crate.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn binary() -> PathBuf {
    let own = std::env::current_exe().expect("a test runs from a file");
    let build = own.parent().and_then(Path::parent).expect("…/debug/deps/it-…");
    let path = build.join("medmesh-turn");
    assert!(path.exists(), "{} is built by --workspace", path.display());
    path
}

/// A port of loopback that is free for UDP and TCP, for a server that can only be told a number.
fn free_port() -> u16 {
    let free = || {
        let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
        let address = socket.local_addr().ok()?;
        TcpListener::bind(address).ok()?;
        Some(address.port())
    };
    (0..100).find_map(|_| free()).expect("loopback has free ports")
}

/// What one call of the program said and whether it went well.
///
/// # Panics
/// When it cannot be called.
#[must_use]
pub fn call(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(binary())
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let output = output.expect("the program can be called");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

impl TurnProcess {
    /// Starts one with a fresh secret, made by its own verb, whose clients reach these peers.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start(allow: &[String]) -> Self {
        let allow: Vec<String> = allow.iter().map(|rule| format!("{rule:?}")).collect();
        Self::start_reaching(&format!("mode = \"allow-list\"\nallow = [{}]", allow.join(", "))).await
    }

    /// Starts one whose peers file names nobody yet; everybody public is reached as well, or nobody.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start_with_peers_file(everybody: bool) -> Self {
        let mode = if everybody { "public-only" } else { "allow-list" };
        Self::start_reaching(&format!("mode = {mode:?}\nfile = \"DIR/turn.peers\"")).await
    }

    /// Starts one with this under `[peers]`, where `DIR` is its directory.
    async fn start_reaching(peers: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (turn, admin) = (at(free_port()), at(free_port()));
        let secrets = dir.path().join("turn.secrets");
        let (made, said) = call(&["secrets", "rotate", "--file", secrets.to_str().expect("UTF-8")]);
        assert!(made, "{said}");
        fs::write(dir.path().join("turn.peers"), "end\n").expect("the directory is writable");
        let peers = peers.replace("DIR", &dir.path().display().to_string());
        let text = format!(
            r#"
[turn]
listen = ["{turn}"]
relay = ["127.0.0.1"]
port_range = "{RELAYED_PORTS}"
secrets_file = "{}"
workers = 1
drain_s = 60
[[turn.tcp]]
listen = "{turn}"
[peers]
{peers}
[admin]
listen = "{admin}"
"#,
            secrets.display(),
        );
        fs::write(dir.path().join("turn.toml"), text).expect("the directory is writable");
        let child = spawn(dir.path());
        let process = Self {
            child,
            dir,
            turn,
            admin,
        };
        process.up().await;
        process
    }

    /// Waits until it answers.
    async fn up(&self) {
        let url = format!("http://{}/readyz", self.admin);
        let answered = async {
            while reqwest::get(&url).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let answered = tokio::time::timeout(PATIENCE, answered).await;
        assert!(answered.is_ok(), "the relay comes up: {}", self.log());
    }

    /// Its URLs, as browsers take them.
    #[must_use]
    pub fn urls(&self) -> [String; 2] {
        ["udp", "tcp"].map(|transport| format!("turn:{}?transport={transport}", self.turn))
    }

    /// Its secrets file.
    #[must_use]
    pub fn secrets_file(&self) -> PathBuf {
        self.dir.path().join("turn.secrets")
    }

    /// Its configuration.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.dir.path().join("turn.toml")
    }

    /// Its peers file.
    #[must_use]
    pub fn peers_file(&self) -> PathBuf {
        self.dir.path().join("turn.peers")
    }

    /// A sample of its metrics.
    pub async fn sample(&self, name: &str) -> Option<f64> {
        let answer = reqwest::get(format!("http://{}/metrics", self.admin));
        let text = answer.await.ok()?.text().await.ok()?;
        let found = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found?.parse().ok()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it has gone.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), signal).expect("it runs");
    }

    /// Ends it as a power cut does.
    ///
    /// # Panics
    /// When it has gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Starts it again after [`TurnProcess::kill`], on the same addresses.
    pub async fn restart(&mut self) {
        self.child = spawn(self.dir.path());
        self.up().await;
    }
}

fn spawn(dir: &Path) -> Child {
    let log = fs::File::create(dir.join("log")).expect("the directory is writable");
    Command::new(binary())
        .arg("--config")
        .arg(dir.join("turn.toml"))
        .env_remove("MEDMESH_LOG")
        .stdin(Stdio::null())
        .stderr(log.try_clone().expect("a file has another handle"))
        .stdout(log)
        .spawn()
        .expect("the program can be started")
}

impl Drop for TurnProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
