//! The kernel's own relaying, between network namespaces: what it sends is what the sockets send.

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::process::Command;
use std::sync::mpsc;

use medmesh_turn::codec::{Method, attribute};
use medmesh_turn::{FastPathError, PeerPolicy, Relay, RelayAddress, RelayConfig, RelayHandle};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};
use tempfile::TempDir;

use crate::process::Process;
use crate::support::{PATIENCE, WireClient, eventually, secrets};
use crate::wire::Wire;

const RELAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const PEER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 8);
const CHANNEL: u16 = 0x4001;
const NOT_CHECKED: &str = "NOT CHECKED";

/// The relay's end of a cable. Both ends complete checksums themselves, as cards do on a wire; the other end
/// takes what a program sends ([`medmesh_turn::pass_everything`]).
const SETUP: &str = "
set -e
ip link set lo up
echo 1 > /proc/sys/net/ipv4/conf/lo/forwarding
ip link add turn0 type veth peer name out0
ethtool -K turn0 tx off >/dev/null
ethtool -K out0 tx off >/dev/null
ip address add 198.51.100.1/24 dev turn0
ip link set turn0 up
exec \"$0\" \"$@\"
";

/// Runs a test again in a namespace of its own; `true` there.
fn inside(test: &str) -> bool {
    const INSIDE: &str = "MEDMESH_TEST_CABLE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let root: &[&str] = if nix::unistd::geteuid().is_root() {
        &[]
    } else {
        &["--user", "--map-root-user"]
    };
    let output = Command::new("unshare")
        .args(root)
        .args(["--net", "sh", "-c", SETUP])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("xdp::{test}"), "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare (util-linux), ip (iproute2) and ethtool; `make test` installs them");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    if let Some(line) = text.lines().find(|line| line.contains(NOT_CHECKED)) {
        // Past the test's captured output: nobody should take this for a check that was made.
        std::io::stderr()
            .write_all(format!("{test}: {line}\n").as_bytes())
            .unwrap();
    }
    false
}

/// Where the kernel relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fast {
    Native,
    Generic,
    /// It was asked to, and does not.
    Refused,
    No,
}

/// Whether the kernel takes programs from this process.
fn allowed() -> bool {
    match medmesh_turn::pass_everything("turn0") {
        Ok(_) => true,
        Err(FastPathError::Forbidden(error)) => {
            let mut out = std::io::stderr();
            writeln!(out, "{NOT_CHECKED}: no programs for this process ({error})").unwrap();
            false
        }
        Err(error) => panic!("{error:?}"),
    }
}

/// A relay on the cable.
fn relay(port: u16, fast: Fast, registry: &prometheus::Registry) -> RelayHandle {
    let config = RelayConfig {
        listen: vec![SocketAddr::new(RELAY.into(), port)],
        relay: vec![RelayAddress::same(RELAY.into())],
        workers: 1,
        fast_path: match fast {
            Fast::No => Vec::new(),
            Fast::Native | Fast::Generic | Fast::Refused => vec!["turn0".to_owned()],
        },
        fast_path_native: fast == Fast::Native,
        ..RelayConfig::default()
    };
    let policy = PeerPolicy::allow_list(vec![PEER.to_string().parse().unwrap()]);
    let relay = Relay::spawn(config, secrets(), policy, registry).unwrap();
    for (mode, when) in [
        ("native", Fast::Native),
        ("generic", Fast::Generic),
        ("off", Fast::Refused),
    ] {
        assert_eq!(interfaces(registry, mode), u64::from(fast == when), "{mode}");
    }
    relay
}

fn interfaces(registry: &prometheus::Registry, mode: &str) -> u64 {
    number_of(
        registry,
        &format!("medmesh_turn_fast_path_interfaces{{mode=\"{mode}\"}} "),
    )
}

/// Sockets at the other end of the cable, in a namespace of its own.
struct Outside {
    clients: VecDeque<UdpSocket>,
    peer: UdpSocket,
    /// Every frame that comes out of the cable.
    frames: OwnedFd,
    _program: Option<OwnedFd>,
    _done: mpsc::Sender<()>,
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

impl Outside {
    fn new(clients: usize, native: bool) -> Self {
        let (to_main, from_thread) = mpsc::channel();
        let (done, wait) = mpsc::channel::<()>();
        let (moved, cable) = mpsc::channel();
        let (opened, sockets) = mpsc::channel();
        std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            to_main.send(nix::unistd::gettid()).unwrap();
            cable.recv().unwrap();
            ip("link set lo up");
            ip(&format!("address add {CLIENT}/24 dev out0"));
            ip(&format!("address add {PEER}/24 dev out0"));
            ip("link set out0 up");
            let bind = |address: Ipv4Addr| {
                let socket = UdpSocket::bind((address, 0)).unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                socket
            };
            let frames = socket(
                AddressFamily::Packet,
                SockType::Raw,
                SockFlag::SOCK_NONBLOCK,
                SockProtocol::EthAll,
            );
            let clients = (0..clients).map(|_| bind(CLIENT)).collect();
            let program = native.then(|| medmesh_turn::pass_everything("out0").unwrap());
            opened
                .send((clients, bind(PEER), frames.unwrap(), program))
                .unwrap();
            // The namespace lives as long as its sockets; its cable as long as the namespace.
            let _ = wait.recv();
        });
        let thread = from_thread.recv().unwrap();
        ip(&format!("link set out0 netns {thread}"));
        moved.send(()).unwrap();
        let (clients, peer, frames, program) = sockets.recv().unwrap();
        Self {
            clients,
            peer,
            frames,
            _program: program,
            _done: done,
        }
    }

    /// A client that has bound the channel, and where the peer reaches it.
    fn client(&mut self, relay: SocketAddr, user: &str) -> (WireClient, SocketAddr) {
        let socket = self.clients.pop_front().unwrap();
        socket.connect(relay).unwrap();
        let mut client = WireClient::over(Wire::Udp(socket), user);
        let relayed = client.allocate().relayed();
        assert_eq!(client.bind(CHANNEL, self.peer.local_addr().unwrap()), 0);
        (client, relayed)
    }

    /// What came out of the cable since the last look, UDP only.
    fn heard(&self) -> Vec<Frame> {
        let mut buffer = [0; 2048];
        let mut frames = Vec::new();
        while let Ok(length) = recv(self.frames.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            frames.extend(Frame::read(&buffer[..length]).filter(|frame| frame.from.ip() == RELAY));
        }
        frames
    }
}

/// A UDP datagram in a frame, with everything a receiver could see but the identification, which means nothing
/// where fragments are forbidden (RFC 6864 §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Frame {
    macs: [u8; 12],
    tos: u8,
    fragment: [u8; 2],
    ttl: u8,
    from: SocketAddr,
    to: SocketAddr,
    data: Vec<u8>,
    /// Both checksums are right.
    sound: bool,
}

impl Frame {
    fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < 42 || bytes[12..14] != [8, 0] || bytes[14] != 0x45 || bytes[23] != 17 {
            return None;
        }
        let u16_at = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        // Fragments are the sockets' alone.
        if u16_at(20) & 0x3fff != 0 {
            return None;
        }
        let end = 14 + usize::from(u16_at(16));
        let address = |ip: usize, port: usize| {
            let ip: [u8; 4] = bytes[ip..ip + 4].try_into().unwrap();
            SocketAddr::new(Ipv4Addr::from(ip).into(), u16_at(port))
        };
        let sum = |bytes: &[u8], start: u32| {
            let sum = bytes.chunks(2).fold(start, |sum, pair| {
                sum + u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))
            });
            let once = (sum & 0xffff) + (sum >> 16);
            (once & 0xffff) + (once >> 16)
        };
        let pseudo = 17 + u32::from(u16_at(38));
        Some(Self {
            macs: bytes[..12].try_into().unwrap(),
            tos: bytes[15],
            fragment: [bytes[20], bytes[21]],
            ttl: bytes[22],
            from: address(26, 34),
            to: address(30, 36),
            data: bytes[42..end].to_vec(),
            sound: sum(&bytes[14..34], 0) == 0xffff
                && sum(&bytes[26..end], pseudo) == 0xffff
                && u16_at(38) + 20 == u16_at(16),
        })
    }
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer).expect("it is relayed");
    buffer[..length].to_vec()
}

fn number_of(registry: &prometheus::Registry, line: &str) -> u64 {
    let (text, _) = medmesh_base::telemetry::render(registry);
    let found = text.lines().find_map(|other| other.strip_prefix(line));
    found.expect("such a line").trim().parse::<f64>().unwrap() as u64
}

#[test]
fn the_kernel_sends_what_the_sockets_send() {
    if inside("the_kernel_sends_what_the_sockets_send") {
        compare(Fast::Native);
    }
}

#[test]
fn after_the_driver_it_sends_the_same() {
    if inside("after_the_driver_it_sends_the_same") {
        compare(Fast::Generic);
    }
}

#[test]
fn where_it_does_not_the_sockets_send_the_same() {
    if inside("where_it_does_not_the_sockets_send_the_same") {
        compare(Fast::Refused);
    }
}

fn compare(mode: Fast) {
    if !allowed() {
        return;
    }
    let taken = (mode == Fast::Refused).then(|| medmesh_turn::pass_everything("turn0").unwrap());
    let registries = [prometheus::Registry::new(), prometheus::Registry::new()];
    let fast = relay(3478, mode, &registries[0]);
    let plain = relay(3479, Fast::No, &registries[1]);
    let mut outside = Outside::new(2, mode == Fast::Native);
    let data = |length: usize| (0..length).map(|n| (n * 5 + length) as u8).collect::<Vec<u8>>();
    let lengths = [4, 5, 20, 171, 172, 1199, 1200, 1440, 1468, 1469, 0, 1, 3];
    let mut heard = Vec::new();
    let mut ends = Vec::new();
    for relay in [&fast, &plain] {
        let server = relay.listeners()[0];
        let (client, relayed) = outside.client(server, "a");
        outside.heard();
        for length in lengths.into_iter().chain(lengths) {
            let data = data(length);
            let sent = client.send_on_channel(CHANNEL, &data);
            assert_eq!(receive(&outside.peer), data, "{length} up");
            outside.peer.send_to(&data, relayed).unwrap();
            let mut buffer = [0; 2048];
            let got = client.socket.recv(&mut buffer).expect("it is relayed");
            assert_eq!(buffer[..got], sent, "{length} down");
        }
        heard.push(outside.heard());
        ends.push((server, relayed, client.socket.local_addr().unwrap()));
    }
    // One client, one server and one relayed address take the place of the other's.
    let (theirs, ours) = (ends[1], ends[0]);
    let renamed = heard[1].iter().cloned().map(|mut frame| {
        for address in [&mut frame.from, &mut frame.to] {
            for (their, our) in [(theirs.0, ours.0), (theirs.1, ours.1), (theirs.2, ours.2)] {
                if *address == their {
                    *address = our;
                    break;
                }
            }
        }
        frame
    });
    let renamed: Vec<Frame> = renamed.collect();
    assert_eq!(heard[0], renamed);
    assert!(heard[0].iter().all(|frame| frame.sound));
    // 1,468 bytes and a channel's header fit the cable; one more is two fragments one way.
    assert_eq!(heard[0].len(), 4 * lengths.len() - 2);
    // All that fill an Ethernet frame and are not fragmented on one of their two ways; now and then one goes the
    // long way.
    let most = 2 * lengths
        .iter()
        .filter(|length| (18..=1468).contains(*length))
        .count() as u64;
    let by_kernel = |direction: &str| {
        let line = format!("medmesh_turn_fast_path_packets_total{{direction=\"{direction}\"}} ");
        number_of(&registries[0], &line)
    };
    let all = 2 * lengths.len() as u64;
    // A worker counts what it has sent, which whoever got it may know first.
    eventually("the last packets are counted", || {
        let (stats, others) = (fast.stats(), plain.stats());
        stats == others && stats.packets_to_clients == all
    });
    let channels = number_of(&registries[0], "medmesh_turn_fast_path_channels ");
    if taken.is_some() {
        assert_eq!(
            (by_kernel("to_peer"), by_kernel("to_client"), channels),
            (0, 0, 0)
        );
        assert_eq!(
            (fast.stats(), fast.stats().packets_to_peers),
            (plain.stats(), all)
        );
        return;
    }
    for direction in ["to_peer", "to_client"] {
        let packets = by_kernel(direction);
        assert!((most - 3..=most).contains(&packets), "{direction}: {packets}");
    }
    let (stats, others) = (fast.stats(), plain.stats());
    assert_eq!(stats.packets_to_peers, all);
    assert_eq!(stats, others, "whoever relays, it is counted once");
    let shown = |direction: &str| {
        let line = format!("medmesh_turn_packets_total{{direction=\"{direction}\"}} ");
        number_of(&registries[0], &line)
    };
    assert_eq!((shown("to_peer"), shown("to_client")), (all, all));
    assert_eq!(channels, 1);
    fast.stop();
    plain.stop();
}

#[test]
fn what_has_ended_is_not_relayed_by_the_kernel_either() {
    if !inside("what_has_ended_is_not_relayed_by_the_kernel_either") {
        return;
    }
    if !allowed() {
        return;
    }
    let registry = prometheus::Registry::new();
    let relay = relay(3478, Fast::Native, &registry);
    let mut outside = Outside::new(4, true);
    let short = std::time::Duration::from_millis(200);
    let carried = || {
        number_of(
            &registry,
            "medmesh_turn_fast_path_packets_total{direction=\"to_client\"} ",
        )
    };
    let channels = || number_of(&registry, "medmesh_turn_fast_path_channels ");
    // Whether data of the peer reaches a client, after the one packet that takes the long way.
    let reaches = |client: &WireClient, peer: &UdpSocket, relayed: SocketAddr| {
        client.socket.set_read_timeout(Some(short)).unwrap();
        (0..2).all(|_| {
            peer.send_to(b"as much as fills a frame", relayed).unwrap();
            client.socket.recv(&mut [0; 100]).is_ok()
        })
    };
    let (mut first, first_relayed) = outside.client(relay.listeners()[0], "a");
    assert!(reaches(&first, &outside.peer, first_relayed));
    assert_eq!((carried(), channels()), (1, 1));
    first.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let over = first.request(Method::REFRESH, |r| r.attribute(attribute::LIFETIME, &[0; 4]));
    assert_eq!(over.code(), 0);
    assert!(
        !reaches(&first, &outside.peer, first_relayed),
        "its allocation has ended"
    );
    eventually("it is gone from the table", || channels() == 0);
    // A policy that is changed while packets run.
    let (mut second, second_relayed) = outside.client(relay.listeners()[0], "b");
    assert!(reaches(&second, &outside.peer, second_relayed));
    relay.set_peer_policy(PeerPolicy::allow_list(vec!["198.51.100.9".parse().unwrap()]));
    eventually("the policy took it back", || channels() == 0);
    assert!(!reaches(&second, &outside.peer, second_relayed));
    relay.set_peer_policy(PeerPolicy::allow_list(vec![PEER.to_string().parse().unwrap()]));
    // Draining lets those live on that are there; stopping ends them.
    let peer = outside.peer.local_addr().unwrap();
    assert!(
        (0..1000).any(|_| second.bind(CHANNEL, peer) == 0),
        "the policy is back"
    );
    relay.drain();
    assert!(reaches(&second, &outside.peer, second_relayed));
    let before = carried();
    relay.stop();
    assert!(!reaches(&second, &outside.peer, second_relayed));
    assert_eq!(carried(), before);
    assert!(!shows_a_program(), "the program went with the relay");
}

fn shows_a_program() -> bool {
    let output = Command::new("ip")
        .args(["link", "show", "turn0"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().contains("xdp")
}

#[test]
fn a_killed_process_leaves_nothing_behind() {
    if !inside("a_killed_process_leaves_nothing_behind") {
        return;
    }
    if !allowed() {
        return;
    }
    let process = Process::start_with(TempDir::new().unwrap(), |text| with_fast_path(&text));
    assert!(shows_a_program(), "{}", process.log());
    process.signal(Signal::SIGKILL);
    eventually("the kernel takes it away", || !shows_a_program());
    let address: IpAddr = RELAY.into();
    assert!(UdpSocket::bind((address, 0)).is_ok(), "the address is still here");
}

fn with_fast_path(text: &str) -> String {
    // Its own interface is for scrapers; clients and peers are at the cable's other end.
    let (turn, admin) = text.split_once("[admin]").unwrap();
    let turn = turn
        .replace("\"127.0.0.1:1024-65535\"", &format!("\"{PEER}:1024-65535\""))
        .replace("\"127.0.0.1", &format!("\"{RELAY}"));
    format!("{turn}[admin]{admin}\n[xdp]\ninterfaces = [\"turn0\"]\n")
}

#[test]
fn the_program_goes_with_the_last_handle() {
    if !inside("the_program_goes_with_the_last_handle") || !allowed() {
        return;
    }
    // Which is not the registry, though that knows the numbers.
    let registry = prometheus::Registry::new();
    let relay = relay(3478, Fast::Generic, &registry);
    assert!(shows_a_program());
    drop(relay);
    assert!(!shows_a_program());
    assert_eq!(interfaces(&registry, "off"), 1);
}

/// By what is left of root's: `setpriv` takes the rest away.
#[test]
fn two_capabilities_are_enough_and_without_them_the_sockets_do_it() {
    if !inside("two_capabilities_are_enough_and_without_them_the_sockets_do_it") || !allowed() {
        return;
    }
    let cases = [
        ("-all,+bpf,+net_admin", "generic"),
        ("-all,+net_admin", "off"),
        ("-all,+bpf", "off"),
        ("-all", "off"),
    ];
    let mut outside = Outside::new(cases.len(), false);
    for (left, mode) in cases {
        let bounds = format!("--bounding-set={left}");
        let by = ["setpriv", &bounds, "--inh-caps=-all", "--"];
        let process = Process::start_by(&by, TempDir::new().unwrap(), |text| with_fast_path(&text));
        let server = SocketAddr::new(RELAY.into(), process.turn.port());
        let (client, relayed) = outside.client(server, "a");
        for data in [
            b"one that fills a frame",
            b"a second such as that.",
            b"a third one, as before",
        ] {
            let sent = client.send_on_channel(CHANNEL, data);
            assert_eq!(receive(&outside.peer), data, "{left}");
            outside.peer.send_to(data, relayed).unwrap();
            let mut buffer = [0; 100];
            let length = client.socket.recv(&mut buffer).expect("it is relayed");
            assert_eq!(buffer[..length], sent, "{left}");
        }
        let metrics = process.get("/metrics").unwrap();
        let shows = |line: &str| metrics.lines().any(|other| other == line);
        let interfaces = format!("medmesh_turn_fast_path_interfaces{{mode=\"{mode}\"}} 1");
        assert!(shows(&interfaces), "{left}: {metrics}{}", process.log());
        let by_kernel = if mode == "off" { 0 } else { 2 };
        for direction in ["to_peer", "to_client"] {
            let by_kernel =
                format!("medmesh_turn_fast_path_packets_total{{direction=\"{direction}\"}} {by_kernel}");
            assert!(shows(&by_kernel), "{left}: {by_kernel} in {metrics}");
        }
        let log = process.log();
        let said = |line: &&str| line.contains("the kernel relays nothing by itself");
        let warnings: Vec<_> = log.lines().filter(said).collect();
        if mode == "off" {
            assert_eq!(warnings.len(), 1, "{left}: {log}");
            assert!(
                warnings[0].contains("WARN") && warnings[0].contains("CAP_BPF and CAP_NET_ADMIN"),
                "{log}"
            );
        } else {
            assert!(warnings.is_empty(), "{log}");
        }
    }
}
