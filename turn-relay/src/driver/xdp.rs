//! Channel data and indications between UDP clients and UDP peers, relayed by the kernel before it makes packets of frames.
//!
//! What a relayed packet costs is the kernel's way through two sockets. A program on the network interface
//! ([`program`]) spares it: it knows from a table which packets the server would only rewrite, and
//! sends them back out as they are, rewritten. The table holds what the server has said
//! ([`crate::server::Command::Offload`]), for as long as it has said at most, and what it takes back is gone before anything that
//! comes of it happens. Everything else reaches the sockets as always.
//!
//! The program stands for as long as this process: the kernel takes it away with the last descriptor.

mod asm;
mod flow;
mod program;
mod shortcuts;
mod sys;

use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::libc;
use parking_lot::Mutex;

use flow::{ENTRY_BYTES, FLOW_BYTES, Flow, Pair, Seal};
use program::{CELL_BYTES, CELLS, Host};
pub(super) use shortcuts::Shortcuts;
use sys::{Link, Map, Program, Refused};

/// Entries of the table, two for a channel or a peer: more channels than a relay has allocations by default. Those
/// beyond are relayed by the sockets.
const FLOWS_MAX: u32 = 1 << 18;
/// Peers without a channel whose indications it relays: a quarter of the table at most, so that channels, which whatever
/// lasts has, find room beside allocations that only try peers out.
const CORRESPONDENTS_MAX: usize = FLOWS_MAX as usize / 8;
/// Interfaces a program may send on; each is a comparison for every packet.
pub(super) const INTERFACES_MAX: usize = 8;
/// The kernel was told to keep interfaces from asking for routes.
const FORWARDING_DISABLED: u32 = 5;
/// Tries to take out an entry whose place in the table the kernel is busy with.
const TRIES_MAX: usize = 64;
/// `XDP_FLAGS_SKB_MODE`, `XDP_FLAGS_DRV_MODE`.
const GENERIC: u32 = 1 << 1;
const NATIVE: u32 = 1 << 2;
/// `ARPHRD_ETHER`.
const ETHERNET: u16 = 1;

/// Why there is no fast path.
#[derive(Debug, thiserror::Error)]
pub enum FastPathError {
    /// There is no such interface.
    #[error("xdp.interfaces: there is no {0:?} here")]
    NoInterface(String),
    /// Its frames are not Ethernet's.
    #[error("xdp.interfaces: {0:?} is not an Ethernet interface")]
    NotEthernet(String),
    /// The process may not.
    #[error("xdp: the kernel lets only processes with CAP_BPF and CAP_NET_ADMIN do this")]
    Forbidden(#[source] io::Error),
    /// The kernel answers no program that asks for a route.
    #[error("xdp: programs may not ask for routes here: set net.ipv4.conf.lo.forwarding = 1 (sysctl.d)")]
    NoRoutes,
    /// Somebody else's program is there already.
    #[error("xdp.interfaces: {0:?} has a program of somebody else's")]
    Taken(String),
    /// The interface takes no program.
    #[error("xdp.interfaces: {interface:?} takes no program")]
    Attach {
        /// Which.
        interface: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The kernel cannot, or does not want to.
    #[error("xdp: the kernel does not take the program: {said}")]
    Refused {
        /// What it said.
        said: String,
        /// The error.
        #[source]
        source: io::Error,
    },
}

impl FastPathError {
    /// Whether nothing is wrong with what was asked for, but with where: another kernel, or a process that
    /// is allowed more, would do it.
    pub(super) fn is_of_the_host(&self) -> bool {
        !matches!(self, Self::NoInterface(_) | Self::NotEthernet(_))
    }

    fn of(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Forbidden(error),
            _ => Self::Refused {
                said: String::new(),
                source: error,
            },
        }
    }
}

impl From<Refused> for FastPathError {
    fn from(refused: Refused) -> Self {
        // The verifier says EACCES too, and gives reasons.
        if refused.log.is_empty() {
            return Self::of(refused.error);
        }
        Self::Refused {
            said: refused.log,
            source: refused.error,
        }
    }
}

/// An interface frames come in on.
#[derive(Clone, Debug)]
struct Interface {
    name: String,
    index: u32,
    mac: [u8; 6],
    /// There is hardware behind it.
    hardware: bool,
}

impl Interface {
    fn find(name: &str) -> Result<Self, FastPathError> {
        let all = getifaddrs().map_err(|error| FastPathError::of(error.into()))?;
        let mut found = None;
        for interface in all.filter(|interface| interface.interface_name == name) {
            let link = interface
                .address
                .as_ref()
                .and_then(|address| address.as_link_addr());
            found = found.or_else(|| link.copied());
        }
        let link = found.ok_or_else(|| FastPathError::NoInterface(name.to_owned()))?;
        let mac = link.addr().filter(|_| link.hatype() == ETHERNET);
        Ok(Self {
            name: name.to_owned(),
            index: u32::try_from(link.ifindex()).expect("interfaces are numbered with an int"),
            mac: mac.ok_or_else(|| FastPathError::NotEthernet(name.to_owned()))?,
            hardware: Path::new("/sys/class/net").join(name).join("device").exists(),
        })
    }
}

/// Checks what can be checked without touching anything.
pub(super) fn check(interfaces: &[String]) -> Result<(), FastPathError> {
    interfaces
        .iter()
        .try_for_each(|name| Interface::find(name).map(drop))
}

/// What the kernel has relayed by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Carried {
    pub(super) packets_to_peers: u64,
    pub(super) bytes_to_peers: u64,
    pub(super) packets_to_clients: u64,
    pub(super) bytes_to_clients: u64,
}

/// The program on its interfaces, and its table.
#[derive(Debug)]
pub(super) struct FastPath {
    flows: Map<FLOW_BYTES, ENTRY_BYTES>,
    counts: Map<4, CELL_BYTES>,
    seal: Seal,
    /// Peers without a channel that stand in the table, of all workers.
    correspondents: AtomicUsize,
    /// What the kernel's clock said when the relay's began.
    origin: Duration,
    /// By interface.
    places: Mutex<Vec<Place>>,
}

/// Where the program stands.
#[derive(Debug)]
struct Place {
    link: Link,
    /// In the interface's driver; otherwise the kernel runs it a step later.
    native: bool,
}

/// On how many interfaces the program stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) native: u64,
    pub(super) generic: u64,
}

impl FastPath {
    /// Puts the program before `interfaces`. `native`: into the driver of virtual ones too. `started`: the moment
    /// the relay counts time from.
    pub(super) fn start(
        interfaces: &[String],
        native: bool,
        started: Instant,
    ) -> Result<Self, FastPathError> {
        let interfaces: Result<Vec<_>, _> = interfaces.iter().map(|name| Interface::find(name)).collect();
        let interfaces = interfaces?;
        let refused = FastPathError::of;
        // Read in this order the sum is never later than it should be.
        let clock = sys::monotonic().map_err(refused)?;
        let path = Self {
            flows: Map::hash("turn_flows", FLOWS_MAX).map_err(refused)?,
            counts: Map::array("turn_counts", CELLS).map_err(refused)?,
            seal: Seal::random().map_err(refused)?,
            correspondents: AtomicUsize::new(0),
            origin: clock.saturating_sub(started.elapsed()),
            places: Mutex::default(),
        };
        if Program::load("turn_probe", &program::probe())?
            .verdict()
            .map_err(refused)?
            == FORWARDING_DISABLED
        {
            return Err(FastPathError::NoRoutes);
        }
        let ttl = ttl().map_err(refused)?;
        for interface in &interfaces {
            let program = Program::load(
                "turn_relay",
                &program::relay(&path.host(interface, &interfaces, ttl)),
            )?;
            let place = place(&program, interface, native || interface.hardware)?;
            path.places.lock().push(place);
        }
        let Standing { native, generic } = path.standing();
        tracing::info!(
            native,
            generic,
            "channels and indications are relayed by the kernel"
        );
        Ok(path)
    }

    fn host(&self, interface: &Interface, all: &[Interface], ttl: u8) -> Host {
        Host {
            flows: self.flows.as_raw_fd(),
            counts: self.counts.as_raw_fd(),
            seal: self.seal,
            mac: interface.mac,
            interfaces: all.iter().map(|interface| interface.index).collect(),
            ttl,
        }
    }

    /// Takes the program away from everything.
    pub(super) fn detach(&self) {
        self.places.lock().clear();
    }

    fn insert(&self, pair: &Pair, until: Duration) -> io::Result<()> {
        let until = self.origin + until;
        for (key, out) in pair.directions() {
            self.flows
                .insert(&key.bytes(), &self.seal.entry(&key, &out, until))?;
        }
        Ok(())
    }

    /// Takes both entries out. What cannot be taken out must not stand: the program goes then.
    fn remove(&self, pair: &Pair) {
        for (key, _) in pair.directions() {
            if let Err(error) = self.remove_flow(&key) {
                tracing::error!(%error, "cannot take a flow out of the kernel's table; the sockets relay from now on");
                self.detach();
            }
        }
    }

    fn remove_flow(&self, key: &Flow) -> io::Result<()> {
        let mut result = Ok(());
        for _ in 0..TRIES_MAX {
            result = match self.flows.remove(&key.bytes()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                // Its bucket is locked by what the processor was doing when it was interrupted.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Err(error),
                other => return other,
            };
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// Where it stands now: an interface that goes takes its program with it.
    pub(super) fn standing(&self) -> Standing {
        let mut standing = Standing::default();
        for place in &*self.places.lock() {
            let number = if place.native {
                &mut standing.native
            } else {
                &mut standing.generic
            };
            // What cannot be asked is not counted on.
            *number += u64::from(place.link.stands().unwrap_or(false));
        }
        standing
    }

    /// What it has relayed so far.
    pub(super) fn carried(&self) -> Carried {
        let mut sum = [0_u64; 4];
        for cell in 0..CELLS {
            // The array is there as long as we are; a cell that cannot be read counts for nothing.
            let bytes = self.counts.get(&cell.to_ne_bytes()).unwrap_or([0; CELL_BYTES]);
            for (sum, number) in sum.iter_mut().zip(bytes.as_chunks().0) {
                *sum += u64::from_ne_bytes(*number);
            }
        }
        let [
            packets_to_peers,
            bytes_to_peers,
            packets_to_clients,
            bytes_to_clients,
        ] = sum;
        Carried {
            packets_to_peers,
            bytes_to_peers,
            packets_to_clients,
            bytes_to_clients,
        }
    }
}

/// Puts a program before an interface: in the driver if it can, else the kernel runs it a step later.
///
/// Never by itself in the driver of a virtual cable (veth): frames that a program sends there are lost, or
/// wait for other traffic, unless somebody has put a program at the other end as well.
fn place(program: &Program, interface: &Interface, native: bool) -> Result<Place, FastPathError> {
    if native {
        match attach(program, interface, NATIVE) {
            Err(error @ FastPathError::Attach { .. }) => {
                let error: &dyn std::error::Error = &error;
                let interface = &interface.name;
                tracing::warn!(
                    interface,
                    error,
                    "the driver takes no program; the kernel runs it"
                );
            }
            other => return other.map(|link| Place { link, native }),
        }
    }
    attach(program, interface, GENERIC).map(|link| Place { link, native: false })
}

fn attach(program: &Program, interface: &Interface, mode: u32) -> Result<Link, FastPathError> {
    program
        .attach(interface.index, mode)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM) => FastPathError::Forbidden(error),
            Some(libc::EBUSY | libc::EEXIST) => FastPathError::Taken(interface.name.clone()),
            _ => FastPathError::Attach {
                interface: interface.name.clone(),
                source: error,
            },
        })
}

/// Puts a program that lets everything through into the driver of a virtual cable's end, for as long as the result is
/// open: what a program sends at the other end does not arrive without. For tests and benches.
///
/// # Errors
/// See [`FastPathError`].
pub fn pass_everything(interface: &str) -> Result<OwnedFd, FastPathError> {
    let program = Program::load("pass", &program::pass())?;
    Ok(attach(&program, &Interface::find(interface)?, NATIVE)?.into())
}

/// What this host's sockets send with.
fn ttl() -> io::Result<u8> {
    let socket = UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    u8::try_from(socket.ttl()?).map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
