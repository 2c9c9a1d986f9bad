//! Relays at the far ends of virtual cables.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::mpsc;

use anyhow::Context as _;
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::super::flow::Flow;
use super::super::load::{self, Load};
use super::super::server::{self, Place, Server};

/// The name of each relay's end of its cable.
const INTERFACE: &str = "relay0";

/// Who relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The kernel, a step after the driver, as it does on virtual cables unless it is told otherwise.
    Kernel,
    Coturn,
    Forwarder,
    /// Our relay without the kernel's help.
    Sockets,
    /// The kernel, in the cable's driver, which copies every packet for that.
    Native,
    /// Nobody: what comes out of the cable is taken in there.
    Nobody,
}

pub(super) const KINDS: [Kind; 6] = [
    Kind::Kernel,
    Kind::Coturn,
    Kind::Forwarder,
    Kind::Sockets,
    Kind::Native,
    Kind::Nobody,
];

/// One end of a cable with somebody at the other.
enum End {
    Server(Server),
    Sink { socket: UdpSocket, ip: IpAddr },
}

pub(super) struct World {
    /// Takes in and sends what peers do.
    sink: UdpSocket,
    ends: Vec<End>,
    /// Of the cable of [`Kind::Native`]: what its program sends arrives only where there is one, too.
    _program: OwnedFd,
}

fn run(program: &str, arguments: &str) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments.split(' ')).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{program} {arguments}: {said}");
    Ok(())
}

/// Lays a cable and starts whoever is to be at its other end.
fn end(kind: Kind, number: u8, sink_port: u16) -> anyhow::Result<End> {
    let (to_us, from_there) = mpsc::channel();
    let (laid, cable) = mpsc::channel::<()>();
    let place = Place {
        server: Ipv4Addr::new(10, 77, number, 1).into(),
        generator: Ipv4Addr::new(10, 77, number, 2).into(),
        interface: matches!(kind, Kind::Kernel | Kind::Native).then_some(INTERFACE),
        native: kind == Kind::Native,
    };
    // What a thread starts, starts in the namespace of the thread.
    let there = std::thread::spawn(move || -> anyhow::Result<End> {
        unshare(CloneFlags::CLONE_NEWNET).context("no network namespace")?;
        to_us.send(nix::unistd::gettid())?;
        cable.recv()?;
        run("ip", "link set lo up")?;
        run("ip", &format!("address add {}/24 dev {INTERFACE}", place.server))?;
        run("ip", &format!("link set {INTERFACE} up"))?;
        std::fs::write("/proc/sys/net/ipv4/conf/lo/forwarding", "1")?;
        let peer = SocketAddr::new(place.generator, sink_port);
        Ok(match kind {
            Kind::Kernel | Kind::Sockets | Kind::Native => {
                let server = server::medmesh(&place)?;
                // A relay the kernel does not help goes on without; here that would be measured as if it did.
                let program = has_program()?;
                anyhow::ensure!(
                    program == place.interface.is_some(),
                    "{kind:?}: a program: {program}"
                );
                End::Server(server)
            }
            Kind::Coturn => End::Server(server::coturn(&place).context("coturn")?),
            Kind::Forwarder => End::Server(server::forwarder(&place, peer)?),
            Kind::Nobody => End::Sink {
                socket: load::sink(place.server)?,
                ip: place.server,
            },
        })
    });
    let Ok(thread) = from_there.recv() else {
        return there.join().expect("the thread does not panic");
    };
    let near = format!("gen{number}");
    lay(&near, INTERFACE)?;
    run("ip", &format!("address add {}/24 dev {near}", place.generator))?;
    run("ip", &format!("link set {near} up"))?;
    run("ip", &format!("link set {INTERFACE} netns {thread}"))?;
    laid.send(())?;
    there.join().expect("the thread does not panic")
}

/// Whether there is a program before the relay's end.
fn has_program() -> anyhow::Result<bool> {
    let output = Command::new("ip").args(["link", "show", INTERFACE]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).contains("xdp"))
}

/// A cable that completes checksums by itself.
fn lay(near: &str, far: &str) -> anyhow::Result<()> {
    run("ip", &format!("link add {near} type veth peer name {far}"))?;
    run("ethtool", &format!("-K {near} tx off"))?;
    run("ethtool", &format!("-K {far} tx off"))
}

/// Whether this process may lay cables and put programs before them.
///
/// # Errors
/// Why not.
pub fn can_run() -> anyhow::Result<()> {
    let tried = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).context("no network namespace; that takes root")?;
        lay("near0", "far0")?;
        medmesh_turn::pass_everything("near0").context("no XDP program")?;
        anyhow::Ok(())
    });
    tried.join().expect("the thread does not panic")
}

impl World {
    pub(super) fn start() -> anyhow::Result<Self> {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        unshare(CloneFlags::CLONE_NEWNET).context("no network namespace: this bench lays cables, as root")?;
        run("ip", "link set lo up")?;
        let sink = load::sink(Ipv4Addr::UNSPECIFIED.into())?;
        let port = sink.local_addr()?.port();
        let ends: anyhow::Result<Vec<End>> = KINDS
            .into_iter()
            .zip(1..)
            .map(|(kind, number)| end(kind, number, port))
            .collect();
        Ok(Self {
            sink,
            ends: ends?,
            _program: medmesh_turn::pass_everything("gen5")?,
        })
    }

    fn end(&self, kind: Kind) -> &End {
        let position = KINDS.iter().position(|other| *other == kind);
        &self.ends[position.expect("all kinds are there")]
    }

    /// The process that relays, if one does, and who takes in what comes of it.
    pub(super) fn at(&self, kind: Kind) -> (Option<u32>, &UdpSocket) {
        match self.end(kind) {
            End::Server(server) => (Some(server.id()), &self.sink),
            End::Sink { socket, .. } => (None, socket),
        }
    }

    pub(super) fn flows(&self, kind: Kind, load: &Load) -> anyhow::Result<Vec<Flow>> {
        match self.end(kind) {
            End::Server(server) => server.flows(load.flows, load.channel, &self.sink),
            End::Sink { socket, ip } => {
                let peer = SocketAddr::new(*ip, socket.local_addr()?.port());
                let flows = (0..load.flows).map(|_| -> anyhow::Result<Flow> {
                    let flow = Flow::direct(peer)?;
                    load::widen(&flow.socket)?;
                    Ok(flow)
                });
                flows.collect()
            }
        }
    }
}
