//! The program and the relay's process.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::cable::{CHANNEL, Outside, PEER, RELAY, allowed, inside, receive};
use super::shows_a_program;
use crate::process::Process;
use crate::support::eventually;

#[test]
fn a_killed_process_leaves_nothing_behind() {
    if !inside("processes::a_killed_process_leaves_nothing_behind") {
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

/// By what is left of root's: `setpriv` takes the rest away.
#[test]
fn two_capabilities_are_enough_and_without_them_the_sockets_do_it() {
    if !inside("processes::two_capabilities_are_enough_and_without_them_the_sockets_do_it") || !allowed() {
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
