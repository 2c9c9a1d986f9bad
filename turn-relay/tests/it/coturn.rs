//! Where published advisories say other relays were wrong, ours is right: the same bytes to
//! ours and, where it shows the fault, to Debian's coturn.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use medmesh_turn::codec::{Builder, Class, Method, attribute};
use medmesh_turn::{Limits, PeerPolicy, RelayAddress, RelayConfig, StreamListener};

use crate::support::*;

/// Requests of the flood; each comes from an address of its own.
const FLOOD: u32 = 3000;

/// coturn with our credentials, in a directory of its own; gone with the test.
struct Coturn {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Coturn {
    fn spawn() -> Self {
        Self::spawn_with(&[])
    }

    fn spawn_with(more: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let free = SocketAddr::new(loopback(), free_port());
        let child = Command::new("turnserver")
            .args(["-n", "--no-cli", "--no-tls", "--no-dtls", "--use-auth-secret"])
            .args(["--static-auth-secret", SECRET, "-r", REALM])
            .args(["-L", "127.0.0.1", "-L", "::1", "-E", "127.0.0.1", "-E", "::1"])
            .args([
                "-p",
                &free.port().to_string(),
                "--log-file",
                "/dev/null",
                "--no-stdout-log",
            ])
            .arg(format!("--pidfile={}/pid", directory.path().display()))
            .arg(format!("--userdb={}/db", directory.path().display()))
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("turnserver of Debian's coturn; `make test` installs it");
        let coturn = Self {
            child,
            address: free,
            _directory: directory,
        };
        eventually("coturn answers", || {
            let binding = Builder::new(Class::Request, Method::BINDING, [1; 12]).finish();
            let client = WireClient::new(free, "probe");
            let answers = client.exchange(&binding, std::time::Duration::from_millis(200));
            answers.is_some() && TcpStream::connect(free).is_ok()
        });
        coturn
    }

    fn resident_bytes(&self) -> u64 {
        resident_bytes(self.child.id())
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resident_bytes(process: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap();
    let pages: u64 = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn both_families() -> RelayConfig {
    RelayConfig {
        relay: vec![
            RelayAddress::same(loopback()),
            RelayAddress::same("::1".parse().unwrap()),
        ],
        ..config()
    }
}

/// What a permission for each of some peers is answered with.
fn permissions<const N: usize>(server: SocketAddr, family: u8, peers: [&str; N]) -> [u16; N] {
    let mut client = WireClient::new(server, "a");
    let of_family = |r| udp(r).attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]);
    assert_eq!(client.request(Method::ALLOCATE, of_family).code(), 0);
    peers.map(|peer| client.permit(&[SocketAddr::new(peer.parse().unwrap(), 5432)]))
}

/// CVE-2020-26262 and what came after it: loopback in other spellings. Debian's coturn refuses
/// those of the first advisory and still lets the IPv4 addresses dressed as IPv6 through.
#[test]
fn loopback_in_any_spelling_is_out_of_reach() {
    let dressed = ["::ffff:127.0.0.1", "::127.0.0.1"];
    let plain = ["::1", "::"];
    let ours = spawn(both_families(), PeerPolicy::public_only());
    assert_eq!(permissions(ours.listeners()[0], 2, dressed), [403; 2]);
    assert_eq!(permissions(ours.listeners()[0], 2, plain), [403; 2]);
    assert_eq!(
        permissions(ours.listeners()[0], 1, ["0.0.0.0", "127.0.0.1"]),
        [403; 2]
    );
    let theirs = Coturn::spawn();
    assert_eq!(permissions(theirs.address, 2, dressed), [0; 2]);
    assert_eq!(permissions(theirs.address, 2, plain), [403; 2]);
    assert_eq!(permissions(theirs.address, 1, ["0.0.0.0", "127.0.0.1"]), [403; 2]);
}

/// What stands in the relay's own network is reached through a relay that nobody told not to.
#[test]
fn the_network_around_the_relay_is_out_of_reach() {
    let precious = ["10.0.0.1", "192.168.1.1", "169.254.169.254"];
    let ours = spawn(both_families(), PeerPolicy::public_only());
    assert_eq!(permissions(ours.listeners()[0], 1, precious), [403; 3]);
    assert_eq!(permissions(Coturn::spawn().address, 1, precious), [0; 3]);
}

/// Sends Allocate requests without credentials, each from another loopback address and port.
fn flood(server: SocketAddr) {
    let request = udp(Builder::new(Class::Request, Method::ALLOCATE, [7; 12])).finish();
    for n in 0..FLOOD {
        let source = format!("127.0.{}.{}:0", 2 + n / 250, 1 + n % 250);
        let socket = UdpSocket::bind(source).unwrap();
        socket.send_to(&request, server).unwrap();
        // A batch at a time, so that none is lost in the kernel.
        if n % 50 == 49 {
            let client = WireClient::new(server, "a");
            let binding = Builder::new(Class::Request, Method::BINDING, [1; 12]).finish();
            assert!(client.exchange(&binding, PATIENCE).is_some());
        }
    }
}

/// coturn makes a session for whoever sends a packet. That ours stays flat under such a flood
/// is what `a_flood_of_spoofed_allocates_leaves_its_memory_flat` shows.
#[test]
fn strangers_fill_coturns_memory() {
    let theirs = Coturn::spawn();
    let before = theirs.resident_bytes();
    flood(theirs.address);
    let grown = theirs.resident_bytes().saturating_sub(before);
    assert!(grown > 10 << 20, "{grown} bytes for {FLOOD} packets");
}

/// Connections on which nobody says anything, still open after a round trip on the last of them.
fn half_open(server: SocketAddr, count: usize) -> usize {
    let connections: Vec<TcpStream> = (0..count)
        .filter_map(|_| TcpStream::connect(server).ok())
        .collect();
    let open = |stream: &TcpStream| {
        stream.set_nonblocking(true).unwrap();
        let peeked = stream.peek(&mut [0]);
        peeked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    };
    let mut fewest = connections.len();
    let deadline = Instant::now() + std::time::Duration::from_secs(4);
    while fewest == connections.len() && Instant::now() < deadline {
        fewest = connections.iter().filter(|stream| open(stream)).count();
    }
    fewest
}

/// Half-open exhaustion: one source holds as many connections as it likes, for as long as it likes.
#[test]
fn one_source_cannot_hold_connections_without_end() {
    let limits = Limits {
        strangers_per_source: 20,
        ..Limits::default()
    };
    let streams = vec![StreamListener::new(SocketAddr::new(loopback(), 0), false)];
    let workers = 1;
    let ours = spawn(
        RelayConfig {
            limits,
            streams,
            workers,
            ..config()
        },
        loopback_peers(),
    );
    let address = ours.stream_listeners()[0];
    eventually("the connections over the limit are closed", || {
        half_open(address, 100) <= 20
    });
    assert_eq!(half_open(Coturn::spawn().address, 100), 100);
}

/// A user with a quota of one takes an allocation to another address; what a third and the first
/// address are told then.
fn after_a_move(server: SocketAddr) -> [u16; 2] {
    let mut home = WireClient::new(server, "a");
    let mobile = |r| udp(r).attribute(attribute::MOBILITY_TICKET, &[]);
    let reply = home.request(Method::ALLOCATE, mobile);
    assert_eq!(reply.code(), 0, "mobility is served");
    let ticket = reply.get(attribute::MOBILITY_TICKET).expect("a ticket").to_vec();
    let mut away = home.elsewhere(server);
    let moved = away.request(Method::REFRESH, |r| {
        r.attribute(attribute::MOBILITY_TICKET, &ticket)
    });
    assert_eq!(moved.code(), 0);
    let mut third = home.elsewhere(server);
    let code = third.request(Method::ALLOCATE, udp).code();
    [code, home.request(Method::ALLOCATE, udp).code()]
}

/// Quota bypass by mobility: an allocation whose client has moved counts for its user as before.
/// (Debian's coturn 4.6.1 shows no fault here: it refuses the others too, for 80 s after the move and when the
/// old address has asked for its end. It cannot be driven by this test: its answer to the move is no message.)
#[test]
fn moving_frees_nobodys_quota() {
    let limits = Limits {
        allocations_per_user: 1,
        ..Limits::default()
    };
    let ours = spawn(RelayConfig { limits, ..config() }, loopback_peers());
    assert_eq!(after_a_move(ours.listeners()[0]), [486; 2]);
    eventually("one allocation", || ours.stats().allocations == 1);
}

/// Requests to take up allocations that never were, each from another address and with a ticket
/// nobody gave out.
fn resume_flood(server: SocketAddr) {
    let client = WireClient::new(server, "a");
    for n in 0..FLOOD {
        let source = format!("127.0.{}.{}:0", 2 + n / 250, 1 + n % 250);
        let socket = UdpSocket::bind(source).unwrap();
        let request = Builder::new(Class::Request, Method::REFRESH, [7; 12])
            .attribute(attribute::MOBILITY_TICKET, &[u8::try_from(n % 251).unwrap(); 48]);
        socket.send_to(&client.seal(request), server).unwrap();
        if n % 50 == 49 {
            let binding = Builder::new(Class::Request, Method::BINDING, [1; 12]).finish();
            let probe = WireClient::new(server, "a");
            assert!(probe.exchange(&binding, PATIENCE).is_some());
        }
    }
}

/// Resume flood: who asks for allocations that are none of his costs ours nothing that stays;
/// coturn makes a session for each.
#[test]
fn strangers_who_resume_leave_nothing_behind() {
    let ours = spawn(config(), loopback_peers());
    let mut client = WireClient::new(ours.listeners()[0], "b");
    assert_eq!(client.allocate().code(), 0);
    resume_flood(ours.listeners()[0]);
    assert_eq!(ours.stats().allocations, 1);
    assert_eq!(client.request(Method::REFRESH, |r| r).code(), 0);
    let theirs = Coturn::spawn_with(&["--mobility"]);
    let before = theirs.resident_bytes();
    resume_flood(theirs.address);
    let grown = theirs.resident_bytes().saturating_sub(before);
    assert!(grown > 10 << 20, "{grown} bytes for {FLOOD} packets");
}

/// Predictable randomness (CVE-2025-69217): nonces and relayed ports of ours tell nothing about
/// the next. Neither has a constant distance, and neither repeats.
#[test]
fn nonces_and_ports_do_not_tell_the_next() {
    let limits = Limits {
        allocations_per_user: 64,
        ..Limits::default()
    };
    let ours = spawn(RelayConfig { limits, ..config() }, loopback_peers());
    // All at once: a nonce is bound to its source and the second, and a port that one client gives
    // back may be the next one's.
    let clients: Vec<(WireClient, u16)> = (0..64)
        .map(|_| {
            let mut client = WireClient::new(ours.listeners()[0], "a");
            let port = client.allocate().relayed().port();
            (client, port)
        })
        .collect();
    let mut nonces: Vec<_> = clients
        .iter()
        .map(|(client, _)| client.nonce().to_vec())
        .collect();
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), clients.len());
    let steps: Vec<i32> = clients
        .windows(2)
        .map(|pair| i32::from(pair[1].1) - i32::from(pair[0].1))
        .collect();
    let near = steps.iter().filter(|step| step.abs() < 64).count();
    assert!(near < 8, "ports follow each other: {steps:?}");
}
