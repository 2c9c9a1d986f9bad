//! `aioice`, the ICE stack of Python's WebRTC: agents that may only use the relay.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use medmesh_turn::{RelayConfig, StreamListener};
use tempfile::TempDir;

use crate::support::*;

/// Python of an environment that has aioice; made once in the build directory.
fn python() -> PathBuf {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON
        .get_or_init(|| {
            let environment = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("aioice");
            let python = environment.join("bin/python");
            let runs = |command: &mut Command| {
                let output = command
                    .output()
                    .expect("python3 with venv; `make test` installs it");
                let text = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{command:?}: {text}");
            };
            let has = Command::new(&python).args(["-c", "import aioice"]).output();
            if !has.is_ok_and(|output| output.status.success()) {
                runs(Command::new("python3").args(["-m", "venv"]).arg(&environment));
                let requirements = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/aioice/requirements.txt");
                runs(Command::new(&python).args(["-m", "pip", "install", "-q", "-r", requirements]));
            }
            python
        })
        .clone()
}

fn relayed(transport: &str, tls: bool) {
    let directory = TempDir::new().unwrap();
    let (files, _) = write_pair(directory.path());
    let any = std::net::SocketAddr::new(loopback(), 0);
    let config = RelayConfig {
        streams: vec![StreamListener::new(any, false), StreamListener::new(any, true)],
        tls: Some(files.clone()),
        ..config()
    };
    let relay = spawn(config, loopback_peers());
    let server = match (transport, tls) {
        ("udp", _) => relay.listeners()[0],
        (_, false) => relay.stream_listeners()[0],
        (_, true) => relay.stream_listeners()[1],
    };
    let (username, password) = credentials("aioice");
    let output = Command::new(python())
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/aioice/relayed.py"))
        .env("TURN_PORT", server.port().to_string())
        .env("TURN_TRANSPORT", transport)
        .env("TURN_TLS", if tls { "1" } else { "0" })
        .env("TURN_USERNAME", username)
        .env("TURN_PASSWORD", password)
        .env("SSL_CERT_FILE", &files.cert)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("exchanged 100"), "{transport}, TLS {tls}:\n{text}");
    let stats = relay.stats();
    assert!(stats.packets_to_peers >= 200, "{stats:?}");
}

#[test]
fn agents_meet_over_udp() {
    relayed("udp", false);
}

#[test]
fn agents_meet_over_tcp() {
    relayed("tcp", false);
}

#[test]
fn agents_meet_over_tls() {
    relayed("tcp", true);
}
