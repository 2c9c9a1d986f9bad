//! The program, run by the kernel over frames a test has made.
//!
//! In a network namespace of its own, by a process that may do such things (root: in a user namespace the kernel takes no
//! programs). Where it may not, each test says on standard error what was not checked.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;

use super::program::{LONG_WAY, PASS, REDIRECT, TX};
use super::*;

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
    fn bytes(&self) -> Vec<u8> {
        let header = [self.flow.channel.to_be_bytes(), length(self.data.len())].concat();
        let header = if self.flow.channel == 0 { &[][..] } else { &header };
        let payload = [header, &self.data].concat();
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
const SECOND: Duration = Duration::from_secs(1);

fn at(ip: [u8; 4], port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from_octets(ip), port)
}

/// A client on the relay's network, a peer behind its router.
fn pair() -> Pair {
    Pair::new(
        at([198, 51, 100, 7], 4000),
        at([198, 51, 100, 1], 3478),
        0x4001,
        at([198, 51, 100, 1], 50_000),
        at([203, 0, 113, 9], 10_000),
    )
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
        ttl: 64,
        id: 0,
        dscp: 0,
        data: data.to_vec(),
    }
}

fn bytes_of(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 7 + length) as u8).collect()
}

#[test]
fn packets_leave_as_the_table_says() {
    if !inside("packets_leave_as_the_table_says", SETUP) {
        return;
    }
    let scene = Scene::new();
    scene.insert(&pair());
    let [(up, to_peer), (down, to_client)] = pair().directions();
    let lengths = [18, 19, 20, 21, 172, 173, 1199, 1200, 1371, 1372];
    for length in lengths {
        let data = bytes_of(length);
        let (verdict, out) = scene.run(&came_in(up, &data).bytes());
        assert_eq!(verdict.cast_signed(), TX, "{length} up");
        assert_eq!(out, goes_out(to_peer, &data).bytes(), "{length} up");
        let (verdict, out) = scene.run(&came_in(down, &data).bytes());
        assert_eq!(verdict.cast_signed(), TX, "{length} down");
        assert_eq!(out, goes_out(to_client, &data).bytes(), "{length} down");
    }
    // Checksums of every kind, the one that is written as its complement among them.
    let mut zeros = 0;
    for word in 0..=u16::MAX {
        let data = [&[1, 2][..], &word.to_be_bytes(), &[3; 15]].concat();
        for (key, out) in pair().directions() {
            let expected = goes_out(out, &data).bytes();
            let frame = came_in(key, &data).bytes();
            let (mut verdict, mut sent) = scene.run(&frame);
            if verdict.cast_signed() == PASS {
                // Unless it was time for the long way.
                (verdict, sent) = scene.run(&frame);
            }
            if verdict.cast_signed() == PASS {
                // It looks like one that hardware was to complete.
                assert_eq!(sent, frame);
                zeros += 1;
            } else {
                assert_eq!(sent, expected, "{word:04x}");
            }
        }
    }
    assert!(zeros <= 4, "one in 65,536 looks unfinished: {zeros}");
    let carried = scene.path.carried();
    assert!(carried.packets_to_peers >= 65_536 && carried.packets_to_clients >= 65_536);
    let sum: usize = lengths.iter().sum();
    assert_eq!(
        carried.bytes_to_peers,
        (carried.packets_to_peers - lengths.len() as u64) * 19 + sum as u64
    );
}

#[test]
fn everything_else_reaches_the_sockets_as_it_came() {
    if !inside("everything_else_reaches_the_sockets_as_it_came", SETUP) {
        return;
    }
    let scene = Scene::new();
    scene.insert(&pair());
    let data = bytes_of(100);
    let [(up, _), (down, _)] = pair().directions();
    let good = came_in(up, &data);
    let changed = |what: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.bytes();
        change(&mut bytes);
        scene.passes(what, &bytes);
    };
    changed("another station's", &|f| f[5] ^= 1);
    changed("not IPv4", &|f| f[12] = 0x86);
    changed("with options", &|f| f[14] = 0x46);
    changed("not UDP", &|f| reheader(f, |ip| ip[9] = 6));
    changed("a first fragment", &|f| reheader(f, |ip| ip[6] = 0x20));
    changed("a later fragment", &|f| reheader(f, |ip| ip[7] = 1));
    changed("the bit that is zero", &|f| reheader(f, |ip| ip[6] = 0xc0));
    changed("a damaged header", &|f| f[22] ^= 1);
    changed("padded", &|f| f.push(0));
    changed("cut short", &|f| f.truncate(f.len() - 1));
    changed("a shorter datagram inside", &|f| f[39] -= 1);
    changed("no checksum", &|f| f[40..42].fill(0));
    changed("a channel that is not bound", &|f| f[43] ^= 2);
    changed("shorter channel data", &|f| f[45] -= 1);
    changed("longer channel data", &|f| f[45] += 1);
    changed("a request", &|f| f[42..46].copy_from_slice(&[0, 1, 0, 0]));
    changed("only the pseudo header's sum", &|f| {
        let pseudo = folded(sum(&f[26..34], 17 + u32::try_from(f.len() - 34).unwrap()));
        f[40..42].copy_from_slice(&pseudo.to_be_bytes());
    });
    for length in [14, 20, 34, 42, 45] {
        scene.passes("too short", &good.bytes()[..length]);
    }
    for (what, flow) in [
        (
            "another port",
            Flow {
                from: at([198, 51, 100, 7], 4001),
                ..up
            },
        ),
        (
            "another client",
            Flow {
                from: at([198, 51, 100, 8], 4000),
                ..up
            },
        ),
        (
            "another address",
            Flow {
                to: at([198, 51, 100, 2], 3478),
                ..up
            },
        ),
        (
            "another listener",
            Flow {
                to: at([198, 51, 100, 1], 3479),
                ..up
            },
        ),
        (
            "another peer",
            Flow {
                from: at([203, 0, 113, 8], 10_000),
                ..down
            },
        ),
        (
            "a peer's other port",
            Flow {
                from: at([203, 0, 113, 9], 10_001),
                ..down
            },
        ),
        (
            "another relayed address",
            Flow {
                to: at([198, 51, 100, 1], 50_001),
                ..down
            },
        ),
    ] {
        scene.passes(what, &came_in(flow, &data).bytes());
    }
    // What leaves fills an Ethernet frame; shorter ones are the sockets' to pad.
    for length in [0, 1, 3, 4, 13, 14, 17] {
        scene.passes("a short one up", &came_in(up, &bytes_of(length)).bytes());
        if length < 14 {
            scene.passes("a short one down", &came_in(down, &bytes_of(length)).bytes());
        }
    }
    // The path takes 1400 bytes, of which 28 are headers; what is longer is for the sockets to fragment.
    scene.passes("too long for the path", &came_in(up, &bytes_of(1373)).bytes());
    scene.passes("too long for the link", &came_in(down, &bytes_of(1469)).bytes());
    assert_eq!(scene.path.carried(), Carried::default());
    // A peer may send what looks like channel data.
    let looks = [&[0x40, 1, 0, 96][..], &bytes_of(96)].concat();
    let [_, (_, to_client)] = pair().directions();
    for data in [looks, bytes_of(14)] {
        let (verdict, out) = scene.run(&came_in(down, &data).bytes());
        assert_eq!(verdict.cast_signed(), TX);
        assert_eq!(out, goes_out(to_client, &data).bytes());
    }
}

/// Changes the IP header, and makes its checksum right again.
fn reheader(frame: &mut [u8], change: impl Fn(&mut [u8])) {
    let ip = &mut frame[14..34];
    change(ip);
    ip[10..12].fill(0);
    let checksum = !folded(sum(ip, 0));
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
}

#[test]
fn entries_end_by_themselves_and_when_taken_back() {
    if !inside("entries_end_by_themselves_and_when_taken_back", SETUP) {
        return;
    }
    let scene = Scene::new();
    let data = bytes_of(100);
    let frames = pair().directions().map(|(key, _)| came_in(key, &data).bytes());
    let carries = || {
        frames
            .each_ref()
            .map(|frame| scene.run(frame).0.cast_signed() == TX)
    };
    assert_eq!(carries(), [false; 2], "nothing is known");
    scene.insert(&pair());
    assert_eq!(carries(), [true; 2]);
    // The next one to take the long way does so after a while.
    let [(up, _), _] = pair().directions();
    let entry = scene.path.flows.get(&up.bytes()).unwrap();
    let word = |at: usize| u64::from_ne_bytes(*entry[at..].first_chunk().unwrap());
    let next = Duration::from_nanos(word(32));
    let clock = sys::monotonic().unwrap();
    assert!(next <= clock + LONG_WAY && next + SECOND > clock + LONG_WAY - 20 * SECOND);
    // Time over: the clock of the program is that of the relay.
    let until = Duration::from_nanos(word(16));
    assert!(until <= clock + 600 * SECOND && until + 20 * SECOND > clock + 600 * SECOND);
    scene.path.insert(&pair(), scene.now()).unwrap();
    assert_eq!(carries(), [false; 2]);
    assert_eq!(carries(), [false; 2], "not the long way, none");
    scene.insert(&pair());
    assert_eq!(carries(), [true; 2]);
    scene.path.remove(&pair());
    assert_eq!(carries(), [false; 2]);
    scene.path.remove(&pair());
    // What another entry has left half in the same memory is not believed.
    for (key, out) in pair().directions() {
        let stranger = Flow {
            channel: 0x4fff,
            ..key
        };
        let entry = scene
            .path
            .seal
            .entry(&stranger, &out, scene.path.origin + scene.now() + SECOND * 60);
        scene.path.flows.insert(&key.bytes(), &entry).unwrap();
    }
    assert_eq!(carries(), [false; 2]);
    assert_eq!(carries(), [false; 2]);
}

#[test]
fn the_way_is_the_kernels() {
    if !inside("the_way_is_the_kernels", SETUP) {
        return;
    }
    let scene = Scene::new();
    let data = bytes_of(100);
    let to = |ip: [u8; 4]| Pair {
        peer: Flow {
            to: at(ip, 10_000),
            ..pair().peer
        },
        ..pair()
    };
    let run = |pair: &Pair| {
        scene.insert(pair);
        let [(up, out), _] = pair.directions();
        (scene.run(&came_in(up, &data).bytes()), out)
    };
    // Through another interface that was named.
    let ((verdict, sent), out) = run(&to([198, 51, 101, 7]));
    assert_eq!(verdict, REDIRECT);
    let frame = Frame {
        to_mac: [2, 0, 0, 0, 0, 0x71],
        from_mac: [2, 0, 0, 0, 0, 0x11],
        ..goes_out(out, &data)
    };
    assert_eq!(sent, frame.bytes());
    for (what, ip) in [
        ("an interface that was not named", [198, 51, 102, 7]),
        ("this very host", [198, 51, 100, 1]),
        ("nobody has answered there yet", [198, 51, 100, 8]),
        ("no route", [192, 0, 2, 1]),
        ("everybody on a network", [198, 51, 100, 255]),
        ("everybody who listens", [224, 0, 0, 1]),
    ] {
        let ((verdict, _), _) = run(&to(ip));
        assert_eq!(verdict.cast_signed(), PASS, "{what}");
    }
}

#[test]
fn it_says_why_it_cannot_start() {
    if !inside("it_says_why_it_cannot_start", SETUP) {
        return;
    }
    let start = |name: &str| FastPath::start(&[name.to_owned()], true, Instant::now());
    let said = |name: &str| start(name).unwrap_err().to_string();
    assert!(
        said("turn9").contains("there is no \"turn9\""),
        "{}",
        said("turn9")
    );
    assert!(said("lo").contains("not an Ethernet interface"));
    let error = said("turn0");
    assert!(error.contains("net.ipv4.conf.lo.forwarding"), "{error}");
    allow_routes();
    let first = start("turn0").unwrap();
    assert_eq!(first.standing().native, 1);
    let error = said("turn0");
    assert!(error.contains("somebody else's"), "{error}");
    first.detach();
    assert_eq!(first.standing(), Standing::default());
    drop(start("turn0").unwrap());
    let last = start("turn0").unwrap();
    let status = Command::new("ip").args(["link", "delete", "turn0"]).status();
    assert!(status.unwrap().success());
    assert_eq!(last.standing(), Standing::default(), "gone with its interface");
}

#[test]
fn a_worker_takes_back_what_it_has_put_there() {
    if !inside("a_worker_takes_back_what_it_has_put_there", SETUP) {
        return;
    }
    let scene = Scene::new();
    let path = Arc::new(scene.path);
    let mut worker = Shortcuts::new(Some(Arc::clone(&path)));
    let relay = |slot| RelayId {
        slot,
        generation: 1,
        family: crate::codec::Family::V4,
    };
    let number = |number| ChannelNumber::new(number).unwrap();
    let offload = |worker: &mut Shortcuts, slot: u32, client: &str, peer: &str| {
        let shortcut = Shortcut {
            relay: relay(slot),
            number: number(0x4000),
            client: crate::server::Client {
                listener: crate::server::ListenerId(0),
                address: client.parse().unwrap(),
            },
            peer: peer.parse().unwrap(),
            until: 600 * SECOND,
        };
        let port = 50_000 + u16::try_from(slot).unwrap();
        worker.offload(
            &shortcut,
            "198.51.100.1:3478".parse().unwrap(),
            SocketAddr::new(Ipv4Addr::new(198, 51, 100, 1).into(), port),
        )
    };
    let there = |port: u16, from: [u8; 4]| {
        let down = Flow {
            from: at(from, 10_000),
            to: at([198, 51, 100, 1], port),
            channel: 0,
        };
        path.flows.get(&down.bytes()).is_ok()
    };
    const FIRST: [u8; 4] = [203, 0, 113, 9];
    const SECOND_PEER: [u8; 4] = [203, 0, 113, 10];
    assert!(offload(&mut worker, 0, "198.51.100.7:4000", "203.0.113.9:10000"));
    assert!(
        offload(&mut worker, 0, "198.51.100.7:4000", "203.0.113.9:10000"),
        "again"
    );
    assert!(!offload(
        &mut worker,
        1,
        "[2001:db8::7]:4000",
        "203.0.113.9:10000"
    ));
    assert!(!offload(
        &mut worker,
        1,
        "198.51.100.7:4001",
        "[2001:db8::9]:10000"
    ));
    assert_eq!(worker.len(), 1);
    assert!(there(50_000, FIRST) && !there(50_001, FIRST));
    // The same channel to somebody else.
    assert!(offload(&mut worker, 0, "198.51.100.7:4000", "203.0.113.10:10000"));
    assert!(!there(50_000, FIRST) && there(50_000, SECOND_PEER));
    worker.withdraw(relay(0), number(0x4001));
    assert!(there(50_000, SECOND_PEER));
    worker.withdraw(relay(0), number(0x4000));
    assert!(!there(50_000, SECOND_PEER));
    assert!(offload(&mut worker, 1, "198.51.100.7:4001", "203.0.113.9:10000"));
    drop(worker);
    assert!(!there(50_001, FIRST), "with the worker");
}

mod mutants;
