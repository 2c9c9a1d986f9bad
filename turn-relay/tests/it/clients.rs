//! Clients other people wrote.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use medmesh_turn::{RelayAddress, RelayConfig};
use webrtc_util::Conn as _;

use crate::support::*;

async fn turn_client(server: SocketAddr, user: &str) -> turn::client::Client {
    let socket = tokio::net::UdpSocket::bind((loopback(), 0)).await.unwrap();
    let (username, password) = credentials(user);
    let config = turn::client::ClientConfig {
        stun_serv_addr: server.to_string(),
        turn_serv_addr: server.to_string(),
        username,
        password,
        realm: REALM.to_owned(),
        software: String::new(),
        rto_in_ms: 0,
        conn: Arc::new(socket),
        vnet: None,
    };
    let client = turn::client::Client::new(config).await.unwrap();
    client.listen().await.unwrap();
    client
}

#[tokio::test]
async fn the_turn_crates_client_relays_to_an_echo_and_back() {
    let (relay, echo) = (spawn(config(), loopback_peers()), Echo::new());
    let client = turn_client(relay.listeners()[0], "theirs").await;
    let mapped = client.send_binding_request().await.unwrap();
    assert_eq!(mapped.ip(), loopback());
    let relayed = client.allocate().await.unwrap();
    let mut buffer = vec![0; 2000];
    for n in 0..50_u8 {
        // It begins with Send indications and goes over to a channel by itself.
        let data = vec![n; 10 + usize::from(n) * 20];
        relayed.send_to(&data, echo.address).await.unwrap();
        let received = tokio::time::timeout(PATIENCE, relayed.recv_from(&mut buffer))
            .await
            .unwrap();
        let (length, from) = received.unwrap();
        assert_eq!((&buffer[..length], from), (&data[..], echo.address));
    }
    eventually("packets counted", || relay.stats().packets_to_clients == 50);
    assert_eq!(relay.stats().channels, 1);
    relayed.close().await.unwrap();
    client.close().await.unwrap();
    eventually("its allocation's end", || relay.stats().allocations == 0);
}

/// Runs Debian coturn's test client; every message has to come back.
fn uclient(flags: &[&str]) {
    let config = RelayConfig {
        // It binds channels up to 0x7FFF, as RFC 5766 let it.
        legacy_channels: true,
        relay: vec![
            RelayAddress::same(loopback()),
            RelayAddress::same("::1".parse().unwrap()),
        ],
        ..config()
    };
    let (relay, echo) = (spawn(config, loopback_peers()), Echo::new());
    let server = relay.listeners()[0];
    let (clients, messages) = (5, 20);
    let output = Command::new("turnutils_uclient")
        .args(flags)
        .args(["-u", "uclient", "-W", SECRET, "-l", "171", "-z", "5"])
        .args(["-m", &clients.to_string(), "-n", &messages.to_string()])
        .args(["-e", "127.0.0.1", "-r", &echo.address.port().to_string()])
        .args(["-p", &server.port().to_string(), "127.0.0.1"])
        .output()
        .expect("turnutils_uclient of Debian's coturn; `make test` installs it");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let all = clients * messages;
    assert!(
        text.contains(&format!("tot_send_msgs={all}, tot_recv_msgs={all}")),
        "{flags:?}:\n{text}"
    );
    assert!(text.contains("Total lost packets 0 "), "{flags:?}:\n{text}");
    assert!(!text.contains("error"), "{flags:?}:\n{text}");
}

#[test]
fn coturns_client_with_channels() {
    uclient(&["-c"]);
}

#[test]
fn coturns_client_with_send_indications() {
    uclient(&["-c", "-s"]);
}

#[test]
fn coturns_client_with_padded_channel_data() {
    uclient(&["-c", "-D"]);
}

#[test]
fn coturns_client_with_both_address_families() {
    uclient(&["-Z"]);
}
