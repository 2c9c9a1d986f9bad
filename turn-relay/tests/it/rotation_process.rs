//! The same as in [`crate::rotation`], done to the real process as an operator does it: files, verbs, signals.

use std::net::SocketAddr;
use std::process::Command;

use medmesh_turn::codec::{Builder, Method, attribute};
use medmesh_turn::secrets_file;
use nix::sys::signal::Signal;
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use crate::load::Load;
use crate::operation::presents;
use crate::process::Process;
use crate::support::*;

/// Certificates and secrets while the load runs.
const ROUNDS: u64 = 5;
/// Round trips each client makes between two changes, at least.
const ROUND_TRIPS: u64 = 20;
/// Four each over UDP, TCP and TLS.
const CLIENTS: usize = 12;

/// Gives its allocation back.
fn end(mut client: WireClient) {
    let end = |r: Builder| r.attribute(attribute::LIFETIME, &[0; 4]);
    assert_eq!(client.request(Method::REFRESH, end).code(), 0);
}

/// A relay on UDP and TCP (one port) and TLS, and the certificate it begins with.
fn process() -> (Process, SocketAddr, CertificateDer<'static>) {
    let directory = TempDir::new().unwrap();
    let (_, root) = write_pair(directory.path());
    let tls = SocketAddr::new(loopback(), free_port());
    let path = directory.path().display().to_string();
    let process = Process::start_with(directory, |text| {
        let listen = text.lines().find_map(|line| line.strip_prefix("listen = [\""));
        let udp = listen.unwrap().trim_end_matches("\"]").to_owned();
        let streams = format!(
            "[[turn.tcp]]\nlisten = \"{udp}\"\n[[turn.tls]]\nlisten = \"{tls}\"\n[turn.certificate]\n\
             cert_file = \"{path}/cert.pem\"\nkey_file = \"{path}/key.pem\"\nlook_s = 3600\n[turn.limits]"
        );
        text.replace("workers = 1", "workers = 2")
            .replace("[turn.limits]", &streams)
    });
    (process, tls, root)
}

fn verb(process: &Process, verb: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medmesh-turn"));
    let file = process.directory.path().join("secrets");
    let output = command
        .args(["secrets", verb, "--file"])
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// The answer to an allocation with credentials of the secret in force in the file.
fn allocates_with_the_newest(process: &Process) -> u16 {
    let secrets = secrets_file::read(&process.directory.path().join("secrets")).unwrap();
    let mut late = WireClient::new(process.turn, "late");
    late.password = secrets.iter().next().unwrap().password(&late.username);
    late.allocate().code()
}

#[test]
fn an_operators_day_under_load_loses_no_allocation_and_no_packet() {
    let ((mut process, tls, first), echo) = (process(), Echo::new());
    let load = Load::new(CLIENTS);
    std::thread::scope(|scope| {
        let _end = load.stop_at_end();
        for n in 0..CLIENTS {
            let (turn, first, load, peer) = (process.turn, &first, &load, echo.address);
            scope.spawn(move || {
                let client = Load::client(n, [turn, turn, tls], first);
                end(load.talk(n, client, peer));
            });
        }
        load.all_have(1);
        for _ in 0..ROUNDS {
            let (_, next) = write_pair(process.directory.path());
            verb(&process, "rotate");
            process.signal(Signal::SIGHUP);
            eventually("the next certificate", || presents(tls, &next));
            eventually("the next secret", || allocates_with_the_newest(&process) == 0);
            load.all_have(ROUND_TRIPS);
            verb(&process, "retire");
            process.signal(Signal::SIGHUP);
            load.all_have(ROUND_TRIPS);
        }
        eventually("the first secret's end", || {
            WireClient::new(process.turn, "stranger").allocate().code() == 401
        });
        process.signal(Signal::SIGTERM);
        eventually("draining", || allocates_with_the_newest(&process) == 508);
        load.all_have(ROUND_TRIPS);
        let alive = metric(&process, "medmesh_turn_allocations ");
        assert!(alive >= CLIENTS as u64, "{alive} allocations");
        load.stop();
        eventually("as many packets as were sent, both ways", || {
            ["to_peer", "to_client"].iter().all(|direction| {
                let name = format!("medmesh_turn_packets_total{{direction=\"{direction}\"}} ");
                metric(&process, &name) == load.sent()
            })
        });
    });
    // The late-comers' allocations are still there for ten minutes; a second signal does not wait.
    process.signal(Signal::SIGTERM);
    assert!(process.child.wait().unwrap().success());
    let log = process.log();
    assert!(!log.contains("the old one"), "nothing was refused: {log}");
}

fn metric(process: &Process, name: &str) -> u64 {
    let text = process.get("/metrics").unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.map_or(0, |value| value.trim().parse().unwrap())
}
