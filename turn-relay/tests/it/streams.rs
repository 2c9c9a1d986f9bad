//! Clients over TCP and TLS.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use medmesh_turn::codec::{Builder, Class, Method, attribute, decode_xor_address};
use medmesh_turn::{ConnectionLimits, Limits, Relay, RelayConfig, RelayHandle, StreamListener};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use crate::support::*;
use crate::wire::{self, Wire};

struct Streams {
    relay: RelayHandle,
    registry: prometheus::Registry,
    root: CertificateDer<'static>,
    directory: TempDir,
}

impl Streams {
    /// A relay with a TCP and a TLS listener and whatever `change` says.
    fn new(change: impl FnOnce(&mut RelayConfig)) -> Self {
        let directory = TempDir::new().unwrap();
        let (files, root) = write_pair(directory.path());
        let any = SocketAddr::new(loopback(), 0);
        let mut config = RelayConfig {
            streams: vec![StreamListener::new(any, false), StreamListener::new(any, true)],
            tls: Some(files),
            ..config()
        };
        change(&mut config);
        let registry = prometheus::Registry::new();
        let relay = Relay::spawn(config, secrets(), loopback_peers(), &registry).unwrap();
        Self {
            relay,
            registry,
            root,
            directory,
        }
    }

    fn tcp(&self) -> SocketAddr {
        self.relay.stream_listeners()[0]
    }

    fn tls(&self) -> SocketAddr {
        self.relay.stream_listeners()[1]
    }

    /// One line of the metrics.
    fn metric(&self, name: &str) -> f64 {
        let (text, _) = medmesh_base::telemetry::render(&self.registry);
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}"))
            .trim()
            .parse()
            .unwrap()
    }
}

/// Whether the other side hangs up within the patience of tests.
fn hangs_up(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

fn binding() -> Vec<u8> {
    Builder::new(Class::Request, Method::BINDING, [7; 12]).finish()
}

#[test]
fn clients_relay_over_tcp_and_tls_at_once() {
    let (streams, echo) = (Streams::new(|_| {}), Echo::new());
    std::thread::scope(|scope| {
        for n in 0..16 {
            let (streams, peer) = (&streams, echo.address);
            scope.spawn(move || {
                let user = format!("user-{n}");
                let mut client = if n % 2 == 0 {
                    WireClient::tcp(streams.tcp(), &user)
                } else {
                    WireClient::tls(streams.tls(), &streams.root, &user)
                };
                assert_eq!(client.allocate().code(), 0);
                assert_eq!(client.bind(0x4000 + n, peer), 0);
                for length in [0, 1, 2, 3, 172, 1200, 1400, 9000] {
                    let data = vec![7; length];
                    assert!(client.echo_over_channel(0x4000 + n, &data), "{length} bytes");
                }
                eventually("an allocation", || streams.relay.stats().allocations > 0);
            });
        }
    });
    // They have hung up, and their allocations went with them.
    eventually("the end of all", || {
        let stats = streams.relay.stats();
        (stats.allocations, stats.connections, stats.channels) == (0, 0, 0)
    });
    assert_eq!(streams.relay.stats().packets_to_clients, 16 * 8);
    assert_eq!(streams.metric("medmesh_turn_tls_handshake_seconds_count "), 8.0);
    assert_eq!(
        streams.metric("medmesh_turn_client_connections_accepted_total "),
        16.0
    );
}

#[test]
fn messages_may_come_in_pieces_or_many_at_once() {
    let (streams, echo) = (Streams::new(|_| {}), Echo::new());
    let mut client = WireClient::tcp(streams.tcp(), "a");
    assert_eq!(client.allocate().code(), 0);
    assert_eq!(client.bind(0x4000, echo.address), 0);
    let Wire::Tcp(mut stream) = client.socket.try_clone().unwrap() else {
        panic!("it is TCP")
    };
    let message = |n: u8| [0x40, 0, 0, 5, n, n, n, n, n, 0, 0, 0];
    for byte in message(1) {
        stream.write_all(&[byte]).unwrap();
    }
    let mut buffer = [0; 100];
    assert_eq!(client.socket.recv(&mut buffer).unwrap(), 9);
    assert_eq!(buffer[..9], message(1)[..9]);

    let many: Vec<u8> = (0..200).flat_map(message).collect();
    stream.write_all(&many).unwrap();
    for n in 0..200 {
        assert_eq!(client.socket.recv(&mut buffer).unwrap(), 9);
        assert_eq!(buffer[..9], message(n)[..9]);
    }
}

#[test]
fn ipv6_clients_are_served() {
    let streams = Streams::new(|config| {
        config.streams[0].address = "[::1]:0".parse().unwrap();
    });
    let client = WireClient::tcp(streams.tcp(), "a");
    let reply = client.exchange(&binding(), PATIENCE).unwrap();
    let mapped = reply.get(attribute::XOR_MAPPED_ADDRESS).unwrap();
    let mapped = decode_xor_address(mapped, &[7; 12]).unwrap();
    assert_eq!(mapped, client.socket.local_addr().unwrap());
}

#[test]
fn what_is_no_turn_is_hung_up_on() {
    let streams = Streams::new(|_| {});
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    ] {
        let mut stream = TcpStream::connect(streams.tcp()).unwrap();
        stream.write_all(bytes).unwrap();
        assert!(hangs_up(&stream));
    }
    assert_eq!(
        streams.metric("medmesh_turn_client_connections_ended_total{reason=\"framing\"} "),
        2.0
    );
    let mut stream = TcpStream::connect(streams.tls()).unwrap();
    stream.write_all(&binding()).unwrap();
    assert!(hangs_up(&stream));
    eventually("it is counted", || {
        streams.metric("medmesh_turn_client_connections_ended_total{reason=\"tls_handshake\"} ") == 1.0
    });
}

#[test]
fn a_client_that_offers_protocols_must_offer_ours() {
    let streams = Streams::new(|_| {});
    let offer = |alpn: &[&[u8]]| {
        let stream = TcpStream::connect(streams.tls()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = wire::tls(stream, streams.root.clone(), alpn);
        let asked = stream.write_all(&binding());
        let answered = asked.and_then(|()| stream.read_exact(&mut [0; 20]));
        answered.map(|()| stream.conn.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(
        offer(&[b"h2", b"stun.turn"]).unwrap(),
        Some(b"stun.turn".to_vec())
    );
    assert_eq!(offer(&[]).unwrap(), None);
    offer(&[b"h2", b"http/1.1"]).unwrap_err();
}

#[test]
fn strangers_are_given_a_while_and_no_more() {
    let streams = Streams::new(|config| {
        config.limits = Limits {
            stranger_max: Duration::from_millis(300),
            ..Limits::default()
        };
    });
    // One says nothing, one begins a message, one begins TLS, one only asks for its address.
    let silent = TcpStream::connect(streams.tcp()).unwrap();
    let mut slow = TcpStream::connect(streams.tcp()).unwrap();
    slow.write_all(&[0, 3, 0, 40]).unwrap();
    let mut greeting = TcpStream::connect(streams.tls()).unwrap();
    greeting.write_all(&[22, 3, 1, 1, 0]).unwrap();
    let mut asking = TcpStream::connect(streams.tcp()).unwrap();
    asking.write_all(&binding()).unwrap();
    let mut guest = WireClient::tcp(streams.tcp(), "a");
    assert_eq!(guest.allocate().code(), 0);
    for stream in [&silent, &slow, &greeting, &asking] {
        assert!(hangs_up(stream));
    }
    assert_eq!(
        guest.permit(&["127.0.0.1:9".parse().unwrap()]),
        0,
        "a guest stays"
    );
}

#[test]
fn a_source_has_so_many_connections() {
    let streams = Streams::new(|config| {
        config.connections = ConnectionLimits {
            connections_per_source: 3,
            ..ConnectionLimits::default()
        };
    });
    let guests: Vec<_> = (0..3).map(|_| WireClient::tcp(streams.tcp(), "a")).collect();
    for guest in &guests {
        assert!(guest.exchange(&binding(), PATIENCE).is_some());
    }
    assert!(hangs_up(&TcpStream::connect(streams.tcp()).unwrap()));
    assert_eq!(
        streams.metric("medmesh_turn_client_connections_refused_total{reason=\"full\"} "),
        1.0
    );
    drop(guests);
    eventually("a free place", || {
        WireClient::tcp(streams.tcp(), "a")
            .exchange_maybe(&binding())
            .is_some()
    });
}

fn proxy_header(source: &str) -> Vec<u8> {
    let source: SocketAddr = source.parse().unwrap();
    let IpAddr::V4(ip) = source.ip() else {
        panic!("IPv4 is enough here")
    };
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C".to_vec();
    header.extend(ip.octets());
    header.extend([10, 0, 0, 1]);
    header.extend(source.port().to_be_bytes());
    header.extend([1, 187]);
    header
}

#[test]
fn behind_a_balancer_clients_keep_their_address() {
    let (streams, echo) = (
        Streams::new(|config| {
            for listener in &mut config.streams {
                listener.proxies = vec!["127.0.0.0/8".parse().unwrap()];
            }
        }),
        Echo::new(),
    );
    let mapped = |client: &WireClient| {
        let reply = client.exchange(&binding(), PATIENCE).unwrap();
        decode_xor_address(reply.get(attribute::XOR_MAPPED_ADDRESS).unwrap(), &[7; 12]).unwrap()
    };
    let mut stream = TcpStream::connect(streams.tcp()).unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in proxy_header("192.0.2.7:5000") {
        stream.write_all(&[byte]).unwrap();
    }
    let mut client = WireClient::over(Wire::Tcp(stream), "a");
    assert_eq!(mapped(&client).to_string(), "192.0.2.7:5000");
    assert_eq!(client.allocate().code(), 0);
    assert_eq!(client.bind(0x4000, echo.address), 0);
    assert!(client.echo_over_channel(0x4000, b"hello"));

    // The header comes before TLS.
    let mut stream = TcpStream::connect(streams.tls()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&proxy_header("192.0.2.8:6000")).unwrap();
    let stream = wire::tls(stream, streams.root.clone(), &[]);
    let client = WireClient::over(Wire::Tls(Box::new(RefCell::new(stream))), "b");
    assert_eq!(mapped(&client).to_string(), "192.0.2.8:6000");

    // Without a header nobody comes in.
    let mut stream = TcpStream::connect(streams.tcp()).unwrap();
    stream.write_all(&binding()).unwrap();
    assert!(hangs_up(&stream));
}

#[test]
fn only_the_named_balancers_may_say_whose_a_connection_is() {
    let streams = Streams::new(|config| {
        config.streams[0].proxies = vec!["192.0.2.0/24".parse().unwrap()];
    });
    let mut stream = TcpStream::connect(streams.tcp()).unwrap();
    let _ = stream.write_all(&proxy_header("198.51.100.7:5000"));
    assert!(hangs_up(&stream));
    assert_eq!(
        streams.metric("medmesh_turn_client_connections_refused_total{reason=\"untrusted_proxy\"} "),
        1.0
    );
}

#[test]
fn a_new_certificate_costs_no_connection() {
    let (streams, echo) = (Streams::new(|_| {}), Echo::new());
    let mut old = WireClient::tls(streams.tls(), &streams.root, "old");
    assert_eq!(old.allocate().code(), 0);
    assert_eq!(old.bind(0x4000, echo.address), 0);
    assert!(
        !streams.relay.reload_certificate().unwrap(),
        "nothing has changed"
    );

    std::fs::write(streams.directory.path().join("key.pem"), "half written").unwrap();
    streams.relay.reload_certificate().unwrap_err();
    let also_old = WireClient::tls(streams.tls(), &streams.root, "also-old");
    assert!(also_old.exchange(&binding(), PATIENCE).is_some());

    let (_, root) = write_pair(streams.directory.path());
    assert!(streams.relay.reload_certificate().unwrap());
    let new = WireClient::tls(streams.tls(), &root, "new");
    assert!(new.exchange(&binding(), PATIENCE).is_some());
    let stream = TcpStream::connect(streams.tls()).unwrap();
    let refused = wire::tls(stream, streams.root.clone(), &[]).write_all(&binding());
    refused.unwrap_err();
    assert!(old.echo_over_channel(0x4000, b"still here"));
}

#[test]
fn media_for_a_slow_reader_is_dropped_and_answers_are_not() {
    let (streams, echo) = (Streams::new(|_| {}), Echo::new());
    let mut client = WireClient::tcp(streams.tcp(), "slow");
    let relayed = client.allocate().relayed();
    assert_eq!(client.bind(0x4000, echo.address), 0);
    let before = streams.metric("medmesh_turn_dropped_packets_total{reason=\"send_buffer_full\"} ");
    // Nobody reads while this is sent; what the kernels hold is a few megabytes.
    let sender = std::net::UdpSocket::bind((loopback(), 0)).unwrap();
    eventually("drops", || {
        for _ in 0..100 {
            sender.send_to(&[7; 1200], relayed).unwrap();
            let datagram = [&[0x40, 0, 0x04, 0xB0][..], &[7; 1200]].concat();
            client.socket.send(&datagram).unwrap();
        }
        streams.metric("medmesh_turn_dropped_packets_total{reason=\"send_buffer_full\"} ") > before
    });
    // The answer comes behind what has piled up, and it comes.
    let request = client.seal(Builder::new(Class::Request, Method::REFRESH, [99; 12]));
    client.socket.send(&request).unwrap();
    let mut buffer = vec![0; 65_536];
    loop {
        let length = client.socket.recv(&mut buffer).expect("the answer");
        if buffer[0] >> 6 == 0 && buffer[8..20] == [99; 12] {
            assert!(length > 20);
            break;
        }
    }
    assert_eq!(streams.relay.stats().allocations, 1);
}

#[test]
fn who_reads_no_answers_is_hung_up_on() {
    let streams = Streams::new(|config| {
        config.limits = Limits {
            unauthenticated_per_second: 1_000_000_000,
            unauthenticated_burst: 4_000_000,
            ..Limits::default()
        };
    });
    let client = TcpStream::connect(streams.tcp()).unwrap();
    client.set_nonblocking(true).unwrap();
    let requests: Vec<u8> = binding().repeat(1000);
    eventually("the end", || {
        let _ = (&client).write(&requests);
        streams.metric("medmesh_turn_client_connections_ended_total{reason=\"answers_unread\"} ") == 1.0
    });
}
