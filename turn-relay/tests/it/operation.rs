//! What an operator configures and does, through the real process.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use medmesh_turn::codec::{Builder, Class, IntegrityKind, Method, attribute};
use nix::sys::signal::Signal;
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use crate::process::Process;
use crate::support::*;
use crate::wire;

/// Whether the relay presents the certificate `root` to whoever connects now.
pub(crate) fn presents(server: SocketAddr, root: &CertificateDer<'static>) -> bool {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = wire::tls(stream, root.clone(), &[]);
    stream.conn.complete_io(&mut stream.sock).is_ok()
}

/// A process with one more section in front of `[turn.limits]`.
fn with(directory: TempDir, section: &str) -> Process {
    Process::start_with(directory, |text| {
        text.replace("[turn.limits]", &format!("{section}\n[turn.limits]"))
    })
}

fn tls(directory: &TempDir, port: u16, look_s: u64) -> String {
    let path = directory.path().display();
    format!(
        "[[turn.tls]]\nlisten = \"127.0.0.1:{port}\"\n[turn.certificate]\n\
         cert_file = \"{path}/cert.pem\"\nkey_file = \"{path}/key.pem\"\nlook_s = {look_s}"
    )
}

#[test]
fn a_certificate_is_taken_again_on_sighup_and_nobody_notices() {
    let directory = TempDir::new().unwrap();
    let (_, first) = write_pair(directory.path());
    let server = SocketAddr::new(loopback(), free_port());
    // Nobody looks by itself while this lasts.
    let section = tls(&directory, server.port(), 3600);
    let process = with(directory, &section);
    let echo = Echo::new();
    let mut client = WireClient::tls(server, &first, "a");
    assert_eq!(client.allocate().code(), 0);
    assert_eq!(client.bind(0x4000, echo.address), 0);

    let (files, second) = write_pair(process.directory.path());
    assert!(presents(server, &first), "written, and not said so yet");
    process.signal(Signal::SIGHUP);
    eventually("the second certificate", || presents(server, &second));
    assert!(client.echo_over_channel(0x4000, b"still here"));

    fs::write(&files.cert, "half of a certifica").unwrap();
    process.signal(Signal::SIGHUP);
    eventually("the complaint", || process.log().contains("the old one stays"));
    assert!(presents(server, &second) && !presents(server, &first));
    assert!(client.echo_over_channel(0x4000, b"still here"));
}

#[test]
fn a_certificate_is_taken_again_when_its_files_were_written() {
    let directory = TempDir::new().unwrap();
    let (_, first) = write_pair(directory.path());
    let server = SocketAddr::new(loopback(), free_port());
    let section = tls(&directory, server.port(), 1);
    let process = with(directory, &section);
    assert!(presents(server, &first));
    let (_, second) = write_pair(process.directory.path());
    eventually("the second certificate", || presents(server, &second));
}

#[test]
fn a_draining_relay_sends_clients_to_the_next() {
    let process = with(
        TempDir::new().unwrap(),
        "[[turn.alternates]]\naddress = \"192.0.2.9:3479\"\ntransport = \"udp\"",
    );
    let mut client = WireClient::new(process.turn, "a");
    assert_eq!(client.allocate().code(), 0);
    process.signal(Signal::SIGTERM);
    eventually("draining", || {
        let reply = WireClient::new(process.turn, "b").allocate();
        let there = [&[0, 1][..], &3479_u16.to_be_bytes(), &[192, 0, 2, 9]].concat();
        reply.code() == 300 && reply.get(attribute::ALTERNATE_SERVER) == Some(&there[..])
    });
}

#[test]
fn bindings_can_be_kept_for_those_with_a_credential() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("binding");
    fs::write(&file, format!("probe {SECRET}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let process = Process::start_with(directory, |text| {
        text.replace(
            "workers = 1",
            &format!("workers = 1\nbinding_credential_file = \"{}\"", file.display()),
        )
    });
    let client = WireClient::new(process.turn, "a");
    let bare = |id| Builder::new(Class::Request, Method::BINDING, [id; 12]);
    let code = |request: Vec<u8>| client.exchange(&request, PATIENCE).expect("an answer").code();
    assert_eq!(code(bare(1).finish()), 401);
    let sealed = |id, password: &str| {
        bare(id)
            .attribute(attribute::USERNAME, b"probe")
            .integrity(IntegrityKind::Sha256, password.as_bytes())
            .finish()
    };
    assert_eq!(code(sealed(2, SECRET)), 0);
    assert_eq!(code(sealed(3, "another")), 401);
}

#[test]
fn bandwidth_is_bounded_and_the_rest_counted() {
    let process = Process::start_with(TempDir::new().unwrap(), |text| {
        text.replace(
            "[turn.limits]",
            "[turn.limits]\nbytes_per_second_per_allocation = 20000",
        )
    });
    let metric = |name: &str| {
        let text = process.get("/metrics").unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name).map(str::to_owned));
        line.unwrap_or_else(|| panic!("{name} in {text}"))
            .trim()
            .parse::<u64>()
            .unwrap()
    };
    assert_eq!(
        metric("medmesh_turn_allocations_max "),
        16_384,
        "as many as ports"
    );
    let echo = Echo::new();
    let mut client = WireClient::new(process.turn, "a");
    assert_eq!(client.allocate().code(), 0);
    assert_eq!(client.bind(0x4000, echo.address), 0);
    // Both ways count: half a second's worth up comes back, and what follows it does not.
    let sent = 60;
    for _ in 0..sent {
        client.send_on_channel(0x4000, &[7; 1000]);
    }
    let dropped = "medmesh_turn_dropped_packets_total{reason=\"bandwidth_of_allocation\"} ";
    eventually("the rest is dropped", || metric(dropped) >= 20);
    let relayed = metric("medmesh_turn_packets_total{direction=\"to_peer\"} ");
    assert!((1..sent).contains(&relayed), "{relayed} of {sent} were relayed");
    // A second later there is room again.
    let soon = Duration::from_millis(200);
    eventually("an echo", || client.echoes_within(soon, 0x4000, b"again"));
}
