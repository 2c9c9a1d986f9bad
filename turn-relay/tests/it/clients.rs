//! Clients other people wrote.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::Arc;

use medmesh_turn::{RelayAddress, RelayConfig, StreamListener};
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
    let directory = tempfile::TempDir::new().unwrap();
    let (files, _) = write_pair(directory.path());
    let v6 = flags.contains(&"-6");
    let flags: Vec<&str> = flags.iter().copied().filter(|flag| *flag != "-6").collect();
    let ip: IpAddr = if v6 { "::1".parse().unwrap() } else { loopback() };
    let any = SocketAddr::new(ip, 0);
    let config = RelayConfig {
        listen: vec![any],
        streams: vec![StreamListener::new(any, false), StreamListener::new(any, true)],
        tls: Some(files),
        // It binds channels up to 0x7FFF, as RFC 5766 let it.
        legacy_channels: true,
        relay: vec![
            RelayAddress::same(loopback()),
            RelayAddress::same("::1".parse().unwrap()),
        ],
        ..config()
    };
    let (relay, echo) = (spawn(config, loopback_peers()), Echo::new());
    let has = |flag| flags.contains(&flag);
    let server = match (has("-t") || has("-T"), has("-S")) {
        (false, _) => relay.listeners()[0],
        (true, false) => relay.stream_listeners()[0],
        (true, true) => relay.stream_listeners()[1],
    };
    let (clients, messages) = (5_u32, 20_u32);
    let output = Command::new("turnutils_uclient")
        .args(&flags)
        .args(["-u", "uclient", "-W", SECRET, "-l", "171", "-z", "5"])
        .args(["-m", &clients.to_string(), "-n", &messages.to_string()])
        .args(["-e", "127.0.0.1", "-r", &echo.address.port().to_string()])
        .args(["-p", &server.port().to_string(), &ip.to_string()])
        .output()
        .expect("turnutils_uclient of Debian's coturn; `make test` installs it");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let sent = |sent: u32, received: u32| format!("tot_send_msgs={sent}, tot_recv_msgs={received}");
    let (all, lost) = if has("-P") {
        // It counts what its passive half gets for lost, with coturn's own server too.
        let all = clients.next_multiple_of(2) * messages;
        (sent(all, all / 2), "")
    } else if has("-T") {
        let all = clients.next_multiple_of(2) * messages;
        (sent(all, all), "Total lost packets 0 ")
    } else {
        (
            sent(clients * messages, clients * messages),
            "Total lost packets 0 ",
        )
    };
    assert!(text.contains(&all), "{flags:?}:\n{text}");
    assert!(text.contains(lost), "{flags:?}:\n{text}");
    // It takes turns with TLS 1.0 and 1.1, which are refused (RFC 8996), and tries again.
    let old_tls = |line: &str| line.contains("alert") || line.contains("cannot connect: rc");
    let complaints: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("error") && !old_tls(line))
        .collect();
    assert!(complaints.is_empty(), "{flags:?}:\n{text}");
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

#[test]
fn coturns_client_over_tcp() {
    uclient(&["-t", "-c"]);
    uclient(&["-t", "-c", "-s"]);
}

#[test]
fn coturns_client_over_tls() {
    uclient(&["-t", "-S", "-c"]);
    uclient(&["-t", "-S", "-c", "-s"]);
}

#[test]
fn coturns_client_over_ipv6() {
    uclient(&["-6", "-c"]);
    uclient(&["-6", "-t", "-c"]);
    uclient(&["-6", "-t", "-S", "-c"]);
}

#[test]
fn coturns_client_over_tcp_allocations() {
    uclient(&["-t", "-T"]);
}

#[test]
fn coturns_client_over_tcp_allocations_with_active_peers() {
    uclient(&["-t", "-T", "-P"]);
}

#[test]
fn coturns_client_that_moves() {
    // It changes its address in the middle; with two workers some allocations change theirs.
    uclient(&["-M", "-c"]);
    uclient(&["-M", "-c", "-t"]);
    uclient(&["-M", "-c", "-t", "-S"]);
}
