//! Where everything of a demo lies: directories and ports.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Control nodes: the smallest number that survives the loss of one.
pub(super) const CONTROL_NODES: u16 = 3;
/// Edges: two regions, so that a visit crosses the mesh.
pub(super) const EDGES: u16 = 2;
/// Ports a demo occupies from its base port upwards.
pub(super) const PORTS: u16 = 400;
/// Relay ports of each edge: 80 relayed connections are plenty on one machine.
pub(super) const RELAY_PORTS: u16 = 80;

/// Where an ephemeral demo looks for a free block of ports: below the range the
/// kernel hands out by itself.
const EPHEMERAL_BASE: u16 = 10_000;
/// Blocks looked at, so that the last one ends before 32768.
const EPHEMERAL_BLOCKS: u16 = 56;

/// One demo on one machine.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Everything that is kept.
    pub(super) state: PathBuf,
    /// First of [`PORTS`] ports.
    pub(super) base_port: u16,
}

impl Layout {
    /// A directory below the state directory.
    pub(super) fn dir(&self, name: &str) -> PathBuf {
        self.state.join(name)
    }

    pub(super) fn http_port(&self, node: u16) -> u16 {
        self.base_port + node
    }

    pub(super) fn https_port(&self, node: u16) -> u16 {
        self.base_port + 3 + node
    }

    pub(super) fn control_link_port(&self, node: u16) -> u16 {
        self.base_port + 10 + node
    }

    pub(super) fn control_admin_port(&self, node: u16) -> u16 {
        self.base_port + 20 + node
    }

    pub(super) fn signalling_port(&self, edge: u16) -> u16 {
        self.base_port + 30 + edge
    }

    pub(super) fn edge_link_port(&self, edge: u16) -> u16 {
        self.base_port + 40 + edge
    }

    pub(super) fn edge_admin_port(&self, edge: u16) -> u16 {
        self.base_port + 50 + edge
    }

    pub(super) fn turn_port(&self, edge: u16) -> u16 {
        self.base_port + 60 + edge
    }

    /// First of at most 64 media ports, one per shard.
    pub(super) fn media_port(&self, edge: u16) -> u16 {
        self.base_port + 70 + edge * 64
    }

    /// First and last relay port.
    pub(super) fn relay_ports(&self, edge: u16) -> (u16, u16) {
        let first = self.base_port + 210 + edge * RELAY_PORTS;
        (first, first + RELAY_PORTS - 1)
    }

    /// Ports that must be free before anything starts.
    fn listening_ports(&self) -> Vec<u16> {
        let control = (0..CONTROL_NODES).flat_map(|n| {
            [
                self.http_port(n),
                self.https_port(n),
                self.control_link_port(n),
                self.control_admin_port(n),
            ]
        });
        let edges = (0..EDGES).flat_map(|e| {
            let listening = [
                self.signalling_port(e),
                self.edge_link_port(e),
                self.edge_admin_port(e),
            ];
            listening
                .into_iter()
                .chain([self.turn_port(e), self.media_port(e)])
        });
        control.chain(edges).collect()
    }

    /// The first port something else holds.
    pub(super) fn taken_port(&self) -> Option<u16> {
        self.listening_ports().into_iter().find(|port| {
            let at = (Ipv4Addr::LOCALHOST, *port);
            TcpListener::bind(at).is_err() || UdpSocket::bind(at).is_err()
        })
    }
}

/// A base port with everything above it free. Where to start looking comes from
/// the process id, so that two ephemeral demos rarely look at the same block.
pub(super) fn free_base_port() -> anyhow::Result<u16> {
    let start = u16::try_from(std::process::id() % u32::from(EPHEMERAL_BLOCKS)).unwrap_or(0);
    let bases = (0..EPHEMERAL_BLOCKS).map(|n| EPHEMERAL_BASE + (start + n) % EPHEMERAL_BLOCKS * PORTS);
    let mut free = bases.filter(|base| {
        Layout {
            state: PathBuf::new(),
            base_port: *base,
        }
        .taken_port()
        .is_none()
    });
    free.next()
        .context("no free block of ports on the loopback address")
}

/// Where a demo keeps its data unless told otherwise. Root's home is closed to
/// the unprivileged user PostgreSQL runs as, so root uses the system's place.
pub(super) fn default_state_dir() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return PathBuf::from("/var/lib/medmesh/demo");
    }
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/state"));
    let base = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(home);
    base.unwrap_or_else(std::env::temp_dir).join("medmesh/demo")
}
