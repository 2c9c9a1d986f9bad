//! A cable to another network namespace, and who is there.

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::process::Command;
use std::sync::mpsc;

use medmesh_turn::codec::{Builder, Class, Method, attribute};
use medmesh_turn::{FastPathError, PeerPolicy, Relay, RelayAddress, RelayConfig, RelayHandle};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};

use crate::support::{PATIENCE, WireClient, secrets};
use crate::wire::Wire;

pub(super) const RELAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
pub(super) const PEER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 8);
pub(super) const CHANNEL: u16 = 0x4001;
pub(super) const NOT_CHECKED: &str = "NOT CHECKED";

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
pub(super) fn inside(test: &str) -> bool {
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
pub(super) enum Fast {
    Native,
    Generic,
    /// It was asked to, and does not.
    Refused,
    No,
}

/// Whether the kernel takes programs from this process.
pub(super) fn allowed() -> bool {
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
pub(super) fn relay(port: u16, fast: Fast, registry: &prometheus::Registry) -> RelayHandle {
    relay_of(1, port, fast, registry)
}

/// One with as many workers.
pub(super) fn relay_of(
    workers: usize,
    port: u16,
    fast: Fast,
    registry: &prometheus::Registry,
) -> RelayHandle {
    let config = RelayConfig {
        listen: vec![SocketAddr::new(RELAY.into(), port)],
        relay: vec![RelayAddress::same(RELAY.into())],
        workers,
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

pub(super) fn interfaces(registry: &prometheus::Registry, mode: &str) -> u64 {
    number_of(
        registry,
        &format!("medmesh_turn_fast_path_interfaces{{mode=\"{mode}\"}} "),
    )
}

/// Sockets at the other end of the cable, in a namespace of its own.
pub(super) struct Outside {
    pub(super) clients: VecDeque<UdpSocket>,
    pub(super) peer: UdpSocket,
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
    pub(super) fn new(clients: usize, native: bool) -> Self {
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
    pub(super) fn client(&mut self, relay: SocketAddr, user: &str) -> (WireClient, SocketAddr) {
        let mut client = self.stranger(relay, user);
        let relayed = client.allocate().relayed();
        Over::Channel.open(&mut client, self);
        (client, relayed)
    }

    /// A client that has not said anything yet.
    pub(super) fn stranger(&mut self, relay: SocketAddr, user: &str) -> WireClient {
        let socket = self.clients.pop_front().unwrap();
        socket.connect(relay).unwrap();
        WireClient::over(Wire::Udp(socket), user)
    }

    /// What came out of the cable since the last look, UDP only.
    pub(super) fn heard(&self) -> Vec<Frame> {
        let mut buffer = [0; 2048];
        let mut frames = Vec::new();
        while let Ok(length) = recv(self.frames.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            frames.extend(Frame::read(&buffer[..length]).filter(|frame| frame.from.ip() == RELAY));
        }
        frames
    }
}

/// What the data of client and peer go in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Channel,
    Indications,
}

impl Over {
    /// Makes the peer one that the kernel may relay for.
    pub(super) fn open(self, client: &mut WireClient, outside: &Outside) {
        let peer = outside.peer.local_addr().unwrap();
        if self == Self::Channel {
            assert_eq!(client.bind(CHANNEL, peer), 0);
            return;
        }
        assert_eq!(client.permit(&[peer]), 0);
        self.send(client, peer, b"anybody there?");
        assert_eq!(receive(&outside.peer), b"anybody there?");
    }

    /// Sends data to the peer.
    pub(super) fn send(self, client: &WireClient, peer: SocketAddr, data: &[u8]) {
        if self == Self::Channel {
            client.send_on_channel(CHANNEL, data);
            return;
        }
        let indication = Builder::new(Class::Indication, Method::SEND, *b"transaction!")
            .address(attribute::XOR_PEER_ADDRESS, peer)
            .attribute(attribute::DATA, data)
            .finish();
        client.socket.send(&indication).unwrap();
    }

    /// What the client gets, an id aside, when the peer sends data.
    pub(super) fn data(self, peer: SocketAddr, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Channel => {
                let length = u16::try_from(data.len()).unwrap();
                [&CHANNEL.to_be_bytes()[..], &length.to_be_bytes(), data].concat()
            }
            Self::Indications => Builder::new(Class::Indication, Method::DATA, [0; 12])
                .address(attribute::XOR_PEER_ADDRESS, peer)
                .attribute(attribute::DATA, data)
                .finish(),
        }
    }

    /// How many of such the kernel relays for.
    pub(super) fn held(self, registry: &prometheus::Registry) -> u64 {
        let (this, other) = match self {
            Self::Channel => ("channels", "peers"),
            Self::Indications => ("peers", "channels"),
        };
        let number = |what: &str| number_of(registry, &format!("medmesh_turn_fast_path_{what} "));
        assert_eq!(number(other), 0, "{other}");
        number(this)
    }
}

/// A Data indication with zeros in the place of its transaction's id, which is random.
pub(super) fn without_id(payload: &[u8]) -> Vec<u8> {
    let mut payload = payload.to_vec();
    if payload.len() >= 20 && payload[..2] == [0, 0x17] && payload[4..8] == [0x21, 0x12, 0xa4, 0x42] {
        payload[8..20].fill(0);
    }
    payload
}

/// Packets the kernel has relayed by itself.
pub(super) fn carried(registry: &prometheus::Registry, direction: &str) -> u64 {
    let line = format!("medmesh_turn_fast_path_packets_total{{direction=\"{direction}\"}} ");
    number_of(registry, &line)
}

/// A UDP datagram in a frame, with everything a receiver could see but the identification, which means nothing
/// where fragments are forbidden (RFC 6864 §4.1), and an indication's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) macs: [u8; 12],
    pub(super) tos: u8,
    pub(super) fragment: [u8; 2],
    pub(super) ttl: u8,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) data: Vec<u8>,
    /// Both checksums are right.
    pub(super) sound: bool,
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
            data: without_id(&bytes[42..end]),
            sound: sum(&bytes[14..34], 0) == 0xffff
                && sum(&bytes[26..end], pseudo) == 0xffff
                && u16_at(38) + 20 == u16_at(16),
        })
    }
}

pub(super) fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer).expect("it is relayed");
    buffer[..length].to_vec()
}

pub(super) fn number_of(registry: &prometheus::Registry, line: &str) -> u64 {
    let (text, _) = medmesh_base::telemetry::render(registry);
    let found = text.lines().find_map(|other| other.strip_prefix(line));
    found.expect("such a line").trim().parse::<f64>().unwrap() as u64
}
