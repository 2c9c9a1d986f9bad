//! The servers under load.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use medmesh_turn::codec::{Builder, Class, Method};
use tempfile::TempDir;

use super::flow::{Flow, REALM, SECRET, near};
use super::{account, load};

pub(super) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// On this host.
pub(super) const LOCAL: Place = Place {
    server: LOOPBACK,
    generator: LOOPBACK,
    interface: None,
    native: false,
};

/// Where a server stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Its address.
    pub(super) server: IpAddr,
    /// The address of clients and peers.
    pub(super) generator: IpAddr,
    /// Where the kernel relays by itself.
    pub(super) interface: Option<&'static str>,
    /// In the driver of that interface.
    pub(super) native: bool,
}

/// How long a server may take to answer for the first time.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// A server process; ended, by its id, when dropped.
pub(super) struct Server {
    child: Child,
    address: SocketAddr,
    generator: IpAddr,
    bare: bool,
    _directory: TempDir,
}

/// Every flow is another user: quotas are per user.
static USERS: AtomicU32 = AtomicU32::new(0);

impl Server {
    /// The process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU seconds its threads have run.
    pub(super) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        account::process(&self.id().to_string())
    }

    /// Memory of the process that is its own, in bytes.
    pub(super) fn private_bytes(&self) -> anyhow::Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let kib = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            number
                .and_then(|number| number.parse::<f64>().ok())
                .with_context(|| format!("no {name} in smaps_rollup"))
        };
        Ok((kib("Private_Dirty:")? + kib("Private_Clean:")?) * 1024.0)
    }

    /// Opens flows to `sink`.
    pub(super) fn flows(&self, count: u16, channel: bool, sink: &UdpSocket) -> anyhow::Result<Vec<Flow>> {
        let peer = SocketAddr::new(self.generator, sink.local_addr()?.port());
        let flows: anyhow::Result<Vec<Flow>> = (0..count)
            .map(|_| {
                if self.bare {
                    return Flow::bare(self.address, peer);
                }
                let user = USERS.fetch_add(1, Ordering::Relaxed);
                Flow::open(self.address, peer, user, channel)
            })
            .collect();
        let flows = flows.context("cannot open the flows")?;
        for flow in &flows {
            load::widen(&flow.socket)?;
        }
        Ok(flows)
    }

    fn start(
        mut command: Command,
        place: &Place,
        address: SocketAddr,
        bare: bool,
        directory: TempDir,
    ) -> anyhow::Result<Self> {
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let mut server = Self {
            child,
            address,
            generator: place.generator,
            bare,
            _directory: directory,
        };
        let deadline = Instant::now() + START_PATIENCE;
        while let Err(error) = answers(address) {
            anyhow::ensure!(Instant::now() < deadline, "the server does not answer: {error:#}");
            if let Some(status) = server.child.try_wait()? {
                anyhow::bail!("the server ended: {status}");
            }
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ours, one worker: the numbers are per CPU-second, and coturn is given one relay thread too.
pub(super) fn medmesh(place: &Place) -> anyhow::Result<Server> {
    again(|| start_medmesh(place))
}

fn start_medmesh(place: &Place) -> anyhow::Result<Server> {
    let directory = tempfile::tempdir()?;
    let secrets = directory.path().join("secrets");
    std::fs::write(&secrets, format!("1 {SECRET}\n"))?;
    std::fs::set_permissions(&secrets, std::fs::Permissions::from_mode(0o600))?;
    let (turn, admin) = (free(place.server)?, free(LOOPBACK)?);
    let Place {
        server,
        generator,
        native,
        ..
    } = place;
    let interfaces: Vec<_> = place.interface.into_iter().collect();
    let config = directory.path().join("turn.toml");
    std::fs::write(
        &config,
        format!(
            r#"
[turn]
listen = ["{turn}"]
relay = ["{server}"]
port_range = "20000-65535"
secrets_file = "{}"
workers = 1
[turn.limits]
unauthenticated_per_second = 1000000
[peers]
mode = "allow-list"
allow = ["{generator}:1024-65535"]
[admin]
listen = "{admin}"
[xdp]
interfaces = {interfaces:?}
native = {native}
"#,
            secrets.display()
        ),
    )?;
    let binary = std::env::current_exe()?.with_file_name("medmesh-turn");
    let mut command = Command::new(binary);
    command.arg("--config").arg(&config);
    Server::start(command, place, turn, false, directory)
}

/// Debian's coturn with the same credentials.
pub(super) fn coturn(place: &Place) -> anyhow::Result<Server> {
    again(|| {
        let turn = free(place.server)?;
        let ip = place.server.to_string();
        let directory = tempfile::tempdir()?;
        let mut command = Command::new("turnserver");
        command
            .args(["-n", "--allow-loopback-peers", "--no-cli", "--use-auth-secret"])
            .args(["--no-tls", "--no-dtls", "-m", "1", "--no-rfc5780"])
            .args(["--log-file", "/dev/null", "--simple-log"])
            .args([&format!("--static-auth-secret={SECRET}"), "-r", REALM])
            .args(["-L", &ip, "-E", &ip])
            .args(["--min-port", "20000", "--max-port", "65535"])
            .args(["-p", &turn.port().to_string()])
            .arg(format!("--pidfile={}", directory.path().join("pid").display()))
            .arg(format!("--userdb={}", directory.path().join("db").display()));
        Server::start(command, place, turn, false, directory)
    })
}

/// The program that only forwards to `peer`, with our batching.
pub(super) fn forwarder(place: &Place, peer: SocketAddr) -> anyhow::Result<Server> {
    again(|| {
        let listen = free(place.server)?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("turn-forward")
            .arg(listen.to_string())
            .arg(peer.to_string());
        Server::start(command, place, listen, true, tempfile::tempdir()?)
    })
}

/// A busy machine may give a port away between our asking for it and the server's taking it,
/// or starve a start: what could not begin is tried again.
fn again(mut start: impl FnMut() -> anyhow::Result<Server>) -> anyhow::Result<Server> {
    start().or_else(|_| start()).or_else(|_| start())
}

/// One Binding request, one answer (the forwarder answers anything).
fn answers(turn: SocketAddr) -> anyhow::Result<()> {
    let socket = UdpSocket::bind((near(turn), 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    anyhow::ensure!(socket.local_addr()? != turn, "we would answer ourselves");
    socket.connect(turn)?;
    socket.send(&Builder::new(Class::Request, Method::BINDING, [1; 12]).finish())?;
    socket.recv(&mut [0; 500]).context("no answer")?;
    Ok(())
}

fn free(ip: IpAddr) -> anyhow::Result<SocketAddr> {
    Ok(UdpSocket::bind((ip, 0))?.local_addr()?)
}
