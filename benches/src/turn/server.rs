//! The two servers.

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use medmesh_turn::codec::{Builder, Class, Method};

use super::flow::{REALM, SECRET};
use super::load::{self, Load};

/// How long a server may take to answer for the first time.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// A server process; ended, by its id, when dropped.
struct Server(Child);

impl Server {
    /// CPU seconds its threads have run. From `schedstat`, which counts nanoseconds: the ticks
    /// of `stat` are 10 ms, a tenth of what a short round takes.
    fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let mut nanos = 0.0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            nanos += text
                .split_whitespace()
                .next()
                .context("schedstat has three fields")?
                .parse::<f64>()?;
        }
        Ok(nanos / 1e9)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ours, one worker: the numbers are per CPU-second, and coturn is given one relay thread too.
pub(super) fn medmesh(load: &Load, time: Duration) -> anyhow::Result<load::Result> {
    let directory = tempfile::tempdir()?;
    let secrets = directory.path().join("secrets");
    std::fs::write(&secrets, format!("1 {SECRET}\n"))?;
    std::fs::set_permissions(&secrets, std::fs::Permissions::from_mode(0o600))?;
    let (turn, admin) = (free()?, free()?);
    let config = directory.path().join("turn.toml");
    std::fs::write(
        &config,
        format!(
            r#"
[turn]
listen = ["{turn}"]
relay = ["127.0.0.1"]
secrets_file = "{}"
workers = 1
[turn.limits]
unauthenticated_per_second = 1000000
[peers]
mode = "allow-list"
allow = ["127.0.0.1"]
[admin]
listen = "{admin}"
"#,
            secrets.display()
        ),
    )?;
    let binary = std::env::current_exe()?.with_file_name("medmesh-turn");
    let mut command = Command::new(binary);
    command.arg("--config").arg(&config).stderr(Stdio::null());
    measure(&mut command, turn, load, time)
}

/// Debian's coturn with the same credentials.
pub(super) fn coturn(load: &Load, time: Duration) -> anyhow::Result<load::Result> {
    let turn = free()?;
    let directory = tempfile::tempdir()?;
    let mut command = Command::new("turnserver");
    command
        .args([
            "-n",
            "--allow-loopback-peers",
            "--no-cli",
            "--use-auth-secret",
            "--no-tls",
            "--no-dtls",
        ])
        .args([
            "-m",
            "1",
            "--no-rfc5780",
            "--log-file",
            "/dev/null",
            "--simple-log",
        ])
        .args([&format!("--static-auth-secret={SECRET}"), "-r", REALM])
        .args([
            "-L",
            "127.0.0.1",
            "-E",
            "127.0.0.1",
            "-p",
            &turn.port().to_string(),
        ])
        .arg(format!("--pidfile={}", directory.path().join("pid").display()))
        .arg(format!("--userdb={}", directory.path().join("db").display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    measure(&mut command, turn, load, time)
}

/// A busy machine may give a port away between our asking for it and the server's taking it,
/// or starve a start: a round that could not begin is tried again.
pub(super) fn again(mut round: impl FnMut() -> anyhow::Result<load::Result>) -> anyhow::Result<load::Result> {
    round().or_else(|_| round()).or_else(|_| round())
}

fn measure(
    command: &mut Command,
    turn: SocketAddr,
    load: &Load,
    time: Duration,
) -> anyhow::Result<load::Result> {
    let mut server = Server(
        command
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?,
    );
    let deadline = Instant::now() + START_PATIENCE;
    while let Err(error) = answers(turn) {
        anyhow::ensure!(Instant::now() < deadline, "the server does not answer: {error:#}");
        if let Some(status) = server.0.try_wait()? {
            anyhow::bail!("the server ended: {status}");
        }
    }
    load::run(load, turn, time, || server.cpu_seconds())
}

/// One Binding request, one answer.
fn answers(turn: SocketAddr) -> anyhow::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    socket.connect(turn)?;
    socket.send(&Builder::new(Class::Request, Method::BINDING, [1; 12]).finish())?;
    socket.recv(&mut [0; 500]).context("no answer")?;
    Ok(())
}

fn free() -> anyhow::Result<SocketAddr> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?)
}
