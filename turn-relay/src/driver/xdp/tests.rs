//! The program, run by the kernel over frames a test has made.
//!
//! In a network namespace of its own, by a process that may do such things (root: in a user namespace the kernel takes no
//! programs). Where it may not, each test says on standard error what was not checked.

mod frames;
mod indications;
mod mutants;
mod table;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;

use super::flow::{COOKIE, DATA, Framing};
use super::program::{LONG_WAY, PASS, REDIRECT, TX};
use super::*;
use crate::codec::{Builder, Class, Method, attribute};

/// The relay's interface and a second one, and who can be reached there.
const SETUP: &str = "
ip link set lo up
for n in 0 1; do
  ip link add turn$n type veth peer name out$n
  ip link set turn$n address 02:00:00:00:00:1$n
  ip address add 198.51.10$n.1/24 dev turn$n
  ip link set turn$n up && ip link set out$n up
  ip neighbour add 198.51.10$n.7 lladdr 02:00:00:00:00:7$n dev turn$n nud permanent
done
ip link add turn2 type veth peer name out2
ip address add 198.51.102.1/24 dev turn2
ip link set turn2 up && ip link set out2 up
ip neighbour add 198.51.102.7 lladdr 02:00:00:00:00:72 dev turn2 nud permanent
ip route add 203.0.113.0/24 via 198.51.100.7 mtu lock 1400
ip link set turn1 mtu 9000
";

/// Runs a test again inside a namespace; `true` there. Otherwise it is done, or was not to be done.
fn inside(test: &str, setup: &str) -> bool {
    const INSIDE: &str = "MEDMESH_TEST_FAST_PATH";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if let Err(refused @ Refused { .. }) = Program::load("turn_probe", &program::probe()) {
        let may = !matches!(refused.error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS));
        assert!(!may, "{refused}");
        // Past the test's captured output: nobody should take this for a check that was made.
        let said = writeln!(
            io::stderr(),
            "NOT CHECKED: {test}: no programs for this process ({refused})"
        );
        return said.is_err();
    }
    let script = format!("set -e\n{setup}\nexec \"$0\" \"$@\"");
    let output = Command::new("unshare")
        .args(["--net", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("driver::xdp::tests::{test}"), "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare (util-linux) and ip (iproute2; `make test` installs it)");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

fn allow_routes() {
    std::fs::write("/proc/sys/net/ipv4/conf/lo/forwarding", "1").unwrap();
}

fn sum(bytes: &[u8], start: u32) -> u32 {
    bytes.chunks(2).fold(start, |sum, pair| {
        sum + u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))
    })
}

fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// A frame, as a network card would give it to the program.
#[derive(Clone, Debug)]
struct Frame {
    to_mac: [u8; 6],
    from_mac: [u8; 6],
    flow: Flow,
    ttl: u8,
    id: u16,
    dscp: u8,
    data: Vec<u8>,
}

impl Frame {
    /// As the relay's own code builds it; an indication is Send, or Data if it is from the relay, by its TTL. Whose id
    /// is zero here: see [`without_id`].
    fn payload(&self) -> Vec<u8> {
        match self.flow.framing {
            Framing::Bare => self.data.clone(),
            Framing::Channel(number) => {
                [&number.to_be_bytes()[..], &length(self.data.len()), &self.data].concat()
            }
            Framing::Indication(peer) => {
                let own = self.ttl == OWN_TTL;
                let method = if own { Method::DATA } else { Method::SEND };
                Builder::new(Class::Indication, method, if own { [0; 12] } else { SEND_ID })
                    .address(attribute::XOR_PEER_ADDRESS, peer.into())
                    .attribute(attribute::DATA, &self.data)
                    .finish()
            }
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let payload = self.payload();
        let (from, to) = (self.flow.from, self.flow.to);
        let mut ip = vec![0x45, self.dscp];
        ip.extend(length(payload.len() + 28));
        ip.extend(self.id.to_be_bytes());
        ip.extend([0x40, 0, self.ttl, 17, 0, 0]);
        ip.extend(from.ip().octets());
        ip.extend(to.ip().octets());
        let checksum = !folded(sum(&ip, 0));
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        let mut udp = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
        udp.extend(length(payload.len() + 8));
        udp.extend([0, 0]);
        udp.extend(&payload);
        let pseudo = sum(&ip[12..], 17 + u32::try_from(udp.len()).unwrap());
        let checksum = match !folded(sum(&udp, pseudo)) {
            0 => 0xffff,
            sum => sum,
        };
        udp[6..8].copy_from_slice(&checksum.to_be_bytes());
        [&self.to_mac[..], &self.from_mac, &[8, 0], &ip, &udp].concat()
    }
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap().to_be_bytes()
}

const OWN: [u8; 6] = [2, 0, 0, 0, 0, 0x10];
const NEXT: [u8; 6] = [2, 0, 0, 0, 0, 0x70];
const OWN_TTL: u8 = 64;
/// Of what the client sends.
const SEND_ID: [u8; 12] = *b"transaction!";
const SECOND: Duration = Duration::from_secs(1);

fn at(ip: [u8; 4], port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from_octets(ip), port)
}

/// A client on the relay's network, a peer behind its router.
fn pair() -> Pair {
    Pair::new(
        at([198, 51, 100, 7], 4000),
        at([198, 51, 100, 1], 3478),
        Some(0x4001),
        at([198, 51, 100, 1], 50_000),
        at([203, 0, 113, 9], 10_000),
    )
}

/// The same client with another peer, who has no channel.
fn correspondents() -> Pair {
    Pair::new(
        at([198, 51, 100, 7], 4000),
        at([198, 51, 100, 1], 3478),
        None,
        at([198, 51, 100, 1], 50_000),
        at([203, 0, 113, 10], 10_000),
    )
}

/// A frame that was sent with its transaction id, if it is a Data indication, taken away, and the checksum as if it
/// had always been away.
fn without_id(mut frame: Vec<u8>) -> Vec<u8> {
    if frame.len() >= 62 && frame[42..44] == DATA.to_be_bytes() && frame[46..50] == COOKIE.to_be_bytes() {
        let id = sum(&frame[50..62], 0);
        frame[50..62].fill(0);
        let checksum = u16::from_be_bytes([frame[40], frame[41]]);
        let checksum = match !folded(u32::from(!checksum) + u32::from(!folded(id))) {
            0 => 0xffff,
            checksum => checksum,
        };
        frame[40..42].copy_from_slice(&checksum.to_be_bytes());
    }
    frame
}

struct Scene {
    path: FastPath,
    program: Program,
    index: u32,
    started: Instant,
}

impl Scene {
    fn new() -> Self {
        allow_routes();
        let started = Instant::now();
        let names = ["turn0", "turn1"].map(str::to_owned);
        let path = FastPath::start(&names, true, started).unwrap();
        let both = Standing {
            native: 2,
            generic: 0,
        };
        assert_eq!(path.standing(), both);
        let all = names.map(|name| Interface::find(&name).unwrap());
        let program =
            Program::load("test", &program::relay(&path.host(&all[0], &all, ttl().unwrap()))).unwrap();
        Self {
            path,
            program,
            index: all[0].index,
            started,
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn run(&self, frame: &[u8]) -> (u32, Vec<u8>) {
        self.program.run(frame, self.index).unwrap()
    }

    /// It goes to the sockets as it came.
    fn passes(&self, what: &str, frame: &[u8]) {
        let (verdict, out) = self.run(frame);
        assert_eq!(verdict.cast_signed(), PASS, "{what}");
        assert_eq!(out, frame, "{what}: untouched");
    }

    /// A channel whose packets have taken the long way.
    fn insert(&self, pair: &Pair) {
        self.path.insert(pair, self.now() + 600 * SECOND).unwrap();
        for (key, _) in pair.directions() {
            self.passes("the first", &came_in(key, b"data").bytes());
        }
    }
}

fn came_in(flow: Flow, data: &[u8]) -> Frame {
    Frame {
        to_mac: OWN,
        from_mac: NEXT,
        flow,
        ttl: 51,
        id: 0x1234,
        dscp: 0xb8,
        data: data.to_vec(),
    }
}

fn goes_out(flow: Flow, data: &[u8]) -> Frame {
    Frame {
        to_mac: NEXT,
        from_mac: OWN,
        flow,
        ttl: OWN_TTL,
        id: 0,
        dscp: 0,
        data: data.to_vec(),
    }
}

fn bytes_of(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 7 + length) as u8).collect()
}

/// Changes the IP header, and makes its checksum right again.
fn reheader(frame: &mut [u8], change: impl Fn(&mut [u8])) {
    let ip = &mut frame[14..34];
    change(ip);
    ip[10..12].fill(0);
    let checksum = !folded(sum(ip, 0));
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
}
