//! `medmesh-turn` as a process.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use medmesh_turn::codec::{Builder, Class, IntegrityKind, Method, attribute};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::*;

const SECOND_SECRET: &str = "zyxwvutsrqponmlkjihgfedcba9876543210zyxwvut";

pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) directory: TempDir,
    pub(crate) turn: SocketAddr,
    admin: SocketAddr,
}

fn write_secrets(directory: &TempDir, text: &str, mode: u32) -> PathBuf {
    let path = directory.path().join("secrets");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn write_config(directory: &TempDir, turn: u16, admin: u16) -> PathBuf {
    let path = directory.path().join("turn.toml");
    let text = format!(
        r#"
[turn]
listen = ["127.0.0.1:{turn}"]
relay = ["127.0.0.1"]
secrets_file = "{}/secrets"
workers = 1
drain_s = 30
[turn.limits]
unauthenticated_per_second = 1000000
unauthenticated_burst = 1000000
[peers]
mode = "allow-list"
allow = ["127.0.0.1:1024-65535"]
[admin]
listen = "127.0.0.1:{admin}"
"#,
        directory.path().display()
    );
    fs::write(&path, text).unwrap();
    path
}

fn command(arguments: &[&str]) -> Command {
    command_by(&[], arguments)
}

fn command_by(words: &[&str], arguments: &[&str]) -> Command {
    let line = [words, &[env!("CARGO_BIN_EXE_medmesh-turn")], arguments].concat();
    let mut command = Command::new(line[0]);
    command
        .args(&line[1..])
        .env_remove("MEDMESH_LOG")
        .stdin(Stdio::null());
    command
}

impl Process {
    fn start() -> Self {
        Self::start_with(TempDir::new().unwrap(), |text| text)
    }

    /// With another configuration, and what it names in the directory.
    pub(crate) fn start_with(directory: TempDir, change: impl FnOnce(String) -> String) -> Self {
        Self::start_by(&[], directory, change)
    }

    /// Started by another program: its words come first.
    pub(crate) fn start_by(
        words: &[&str],
        directory: TempDir,
        change: impl FnOnce(String) -> String,
    ) -> Self {
        write_secrets(&directory, &format!("1 {SECRET}\n"), 0o600);
        let (turn, admin) = (free_port(), free_port());
        let config = write_config(&directory, turn, admin);
        fs::write(&config, change(fs::read_to_string(&config).unwrap())).unwrap();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let child = command_by(words, &["--config", config.to_str().unwrap()])
            .stderr(log)
            .spawn()
            .unwrap();
        let at = |port| SocketAddr::new(loopback(), port);
        let process = Self {
            child,
            directory,
            turn: at(turn),
            admin: at(admin),
        };
        eventually("health", || {
            process
                .get("/healthz")
                .is_some_and(|text| text.contains("200 OK"))
        });
        process
    }

    pub(crate) fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.admin).ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: turn\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// Base URL of its metrics.
    pub(crate) fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    fn resident_bytes(&self) -> u64 {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        let pages: u64 = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
        pages * 4096
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_reloads_secrets_drains_and_leaves() {
    let mut process = Process::start();
    let status = |process: &Process| {
        let answer = process.get("/readyz").unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(status(&process), "200");
    let echo = Echo::new();
    let mut client = WireClient::new(process.turn, "somebody");
    assert_eq!(client.allocate().code(), 0);
    assert_eq!(client.bind(0x4000, echo.address), 0);

    write_secrets(&process.directory, "2 short\n", 0o600);
    process.signal(Signal::SIGHUP);
    eventually("the complaint", || process.log().contains("the old ones stay"));
    assert_eq!(WireClient::new(process.turn, "b").allocate().code(), 0);

    write_secrets(&process.directory, &format!("2 {SECOND_SECRET}\n"), 0o600);
    process.signal(Signal::SIGHUP);
    eventually("rotation", || {
        WireClient::new(process.turn, "c").allocate().code() == 401
    });
    assert!(client.echo_over_channel(0x4000, b"not a packet lost"));

    process.signal(Signal::SIGTERM);
    eventually("draining", || {
        let mut late = WireClient::new(process.turn, "d");
        late.password = medmesh_turn::Secret::new(2, SECOND_SECRET).password(&late.username);
        late.allocate().code() == 508
    });
    assert_eq!(status(&process), "503", "balancers send nobody here any more");
    assert!(client.echo_over_channel(0x4000, b"not a packet lost"));
    assert_eq!(
        process.child.try_wait().unwrap(),
        None,
        "it waits for its clients"
    );
    process.signal(Signal::SIGTERM);
    assert!(process.child.wait().unwrap().success());
    let log = process.log();
    assert!(
        log.lines()
            .all(|line| line.starts_with('{') && line.ends_with('}')),
        "{log}"
    );
    assert!(
        !log.contains(SECRET) && !log.contains(SECOND_SECRET) && !log.contains("somebody"),
        "{log}"
    );
}

#[test]
fn a_flood_of_spoofed_allocates_leaves_its_memory_flat() {
    let process = Process::start();
    let echo = Echo::new();
    let mut client = WireClient::new(process.turn, "a");
    assert_eq!(client.allocate().code(), 0);
    assert_eq!(client.bind(0x4000, echo.address), 0);
    let flood = |packets: u32| {
        let (mut sent, mut sockets) = (0, 0_u32);
        while sent < packets {
            // A new source every 20 packets; nobody reads the answers.
            let socket = UdpSocket::bind((Ipv4Addr::from_bits(0x7F00_0001 + sockets % 50_000), 0)).unwrap();
            socket.connect(process.turn).unwrap();
            sockets += 1;
            for n in sent..sent + 20 {
                let request = udp(Builder::new(Class::Request, Method::ALLOCATE, [9; 12]));
                let request = if n % 2 == 0 {
                    request.finish()
                } else {
                    lie(request, n)
                };
                // The relay's own buffer may be full; that is its kernel's business.
                let _ = socket.send(&request);
            }
            sent += 20;
        }
        // What of the flood is still in the socket's buffer may push a packet out.
        let soon = Duration::from_millis(200);
        eventually("an echo", || client.echoes_within(soon, 0x4000, b"I belong here"));
    };
    flood(20_000);
    let before = process.resident_bytes();
    flood(200_000);
    let after = process.resident_bytes();
    assert!(
        after.abs_diff(before) <= 1 << 20,
        "{before} bytes before, {after} after"
    );
    let metrics = process.get("/metrics").unwrap();
    assert!(metrics.contains("medmesh_turn_allocations 1\n"), "{metrics}");
}

/// A request with credentials that look right.
fn lie(request: Builder, n: u32) -> Vec<u8> {
    request
        .attribute(attribute::USERNAME, format!("4000000000:{n}").as_bytes())
        .attribute(attribute::REALM, REALM.as_bytes())
        .attribute(attribute::NONCE, b"0123456789abcdef")
        .integrity(IntegrityKind::Sha1, &n.to_be_bytes())
        .finish()
}

fn check(config: &str) -> Output {
    command(&["--check", "--config", config]).output().unwrap()
}

#[test]
fn check_says_what_is_wrong_and_where() {
    let directory = TempDir::new().unwrap();
    write_secrets(&directory, &format!("1 {SECRET}\n"), 0o600);
    let config = write_config(&directory, 3478, 9478);
    let config = config.to_str().unwrap();
    assert!(check(config).status.success());
    let fails = |said: &str| {
        let output = check(config);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(said), "{said}: {text}");
    };
    write_secrets(&directory, &format!("1 {SECRET}\n"), 0o644);
    fails("everybody may read it");
    write_secrets(&directory, &format!("1 {SECRET}\nx\n"), 0o600);
    fails("line 2");
    fails("turn.toml:5: turn.secrets_file: in ");
    write_secrets(&directory, &format!("1 {SECRET}\n"), 0o600);
    let good = fs::read_to_string(config).unwrap();
    for (from, to, said) in [
        ("workers = 1", "wrokers = 1", "line 6"),
        (
            "relay = [\"127.0.0.1\"]",
            "relay = [\"0.0.0.0\"]",
            "turn.toml:4: relay: the wildcard",
        ),
        (
            "allow = [\"127.0.0.1:1024-",
            "allow = [\"127.0.0.:1024-",
            "peers.allow",
        ),
        (
            "[turn.limits]",
            "[[turn.tls]]\nlisten = \"127.0.0.1:1\"\n[turn.limits]",
            "turn.toml:8: tls: a TLS listener needs a certificate",
        ),
        (
            "[turn.limits]",
            "[[turn.tls]]\nlisten = \"127.0.0.1:1\"\n[turn.certificate]\ncert_file = \"/nowhere/c.pem\"\nkey_file = \"k\"\n[turn.limits]",
            "turn.toml:10: turn.certificate: cannot use /nowhere/c.pem",
        ),
        (
            "[turn.limits]",
            "[[turn.tcp]]\nlisten = \"127.0.0.1:1\"\nproxy_protocol = true\n[turn.limits]",
            "turn.toml:8: turn.tcp[0]: 127.0.0.1:1: proxy_protocol and proxies go together",
        ),
        (
            "[turn.limits]",
            "[turn.limits]\nallocations = 4000000000",
            "turn.toml:9: turn.limits.allocations and ",
        ),
        (
            "[turn.limits]",
            "[turn.limits]\nlifetime_max_s = 5",
            "turn.toml:9: limits.lifetime_max: below",
        ),
        (
            "workers = 1",
            "workers = 1\nport_range = \"9-10\"",
            "turn.toml:7: ports: needs",
        ),
        (
            "mode = \"allow-list\"",
            "mode = \"allow-list\"\ndeny = [\"10.0.0.0/8\",\n  \"10.0.0.0/33\"]",
            "turn.toml:14: peers.deny[1]: ",
        ),
        (
            "mode = \"allow-list\"",
            "mode = \"allow-list\"\nfile = \"/nowhere/turn.peers\"",
            "turn.toml:13: peers.file: cannot read /nowhere/turn.peers",
        ),
        (
            "[turn.limits]",
            "[turn.connections]\ntotl = 3\n[turn.limits]",
            "line 9",
        ),
    ] {
        fs::write(config, good.replace(from, to)).unwrap();
        fails(said);
    }
}
