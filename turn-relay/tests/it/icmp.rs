//! What the network says of relayed datagrams reaches who sent them (RFC 8656 §11.5), and
//! DONT-FRAGMENT is heeded (§18.10).

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;

use medmesh_turn::RelayConfig;
use medmesh_turn::codec::{Builder, Class, Method, attribute};

use crate::support::*;

/// A datagram that fits no link of the test below, and one that fits.
const LONG_BYTES: usize = 1400;
const SHORT_BYTES: usize = 1200;
const LINK_MTU: u32 = 1300;

impl WireClient {
    fn send_indication(&self, peer: SocketAddr, data: &[u8], dont_fragment: bool) {
        let indication =
            Builder::new(Class::Indication, Method::SEND, [9; 12]).address(attribute::XOR_PEER_ADDRESS, peer);
        let indication = if dont_fragment {
            indication.attribute(attribute::DONT_FRAGMENT, &[])
        } else {
            indication
        };
        let indication = indication.attribute(attribute::DATA, data).finish();
        self.socket.send(&indication).unwrap();
    }

    /// The next Data indication.
    fn next_indication(&self) -> Reply {
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = [0; 2048];
        let length = self.socket.recv(&mut buffer).expect("an indication");
        let reply = Reply::new(&buffer[..length]);
        assert_eq!(reply.message().class, Class::Indication);
        reply
    }
}

/// An address of loopback on which nobody listens.
fn nobody() -> SocketAddr {
    UdpSocket::bind((loopback(), 0)).unwrap().local_addr().unwrap()
}

#[test]
fn a_closed_port_is_reported_and_costs_no_other_packet() {
    let (relay, echo, closed) = (spawn(config(), loopback_peers()), Echo::new(), nobody());
    let mut client = WireClient::new(relay.listeners()[0], "a");
    assert_eq!(client.allocate().code(), 0);
    assert_eq!(client.permit(&[echo.address]), 0);
    let mut reported = 0;
    for n in 0..50_u8 {
        // The error of the first meets the kernel call that sends the second.
        client.send_indication(closed, b"is anybody there", false);
        client.send_indication(echo.address, &[n], false);
        loop {
            let reply = client.next_indication();
            let Some(icmp) = reply.get(attribute::ICMP) else {
                assert_eq!(reply.get(attribute::DATA), Some(&[n][..]));
                break;
            };
            // Destination unreachable, port unreachable.
            assert_eq!(icmp, [0, 0, 3, 3, 0, 0, 0, 0]);
            reported += 1;
        }
    }
    // The pace of reports is bounded; the first is due at once.
    assert!((1..50).contains(&reported), "{reported}");
}

/// In a network namespace of its own, whose loopback takes no long datagrams.
#[test]
fn dont_fragment_is_heeded_and_tells_the_mtu() {
    const INSIDE: &str = "MEDMESH_TEST_NARROW_LOOPBACK";
    if std::env::var_os(INSIDE).is_none() {
        let narrow = format!("ip link set lo mtu {LINK_MTU} up && exec \"$0\" \"$@\"");
        let output = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "sh", "-c", &narrow])
            .arg(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "icmp::dont_fragment_is_heeded_and_tells_the_mtu",
                "--nocapture",
            ])
            .env(INSIDE, "1")
            .output()
            .expect("unshare (util-linux) and ip (iproute2; `make test` installs it)");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    // One worker: the order of what it does is the order of what it is asked.
    let narrow = RelayConfig {
        workers: 1,
        ..config()
    };
    let (relay, echo) = (spawn(narrow, loopback_peers()), Echo::new());
    let mut client = WireClient::new(relay.listeners()[0], "a");
    assert_eq!(client.allocate().code(), 0);
    assert_eq!(client.permit(&[echo.address]), 0);
    for (length, dont_fragment, arrives) in [
        (LONG_BYTES, false, true),
        (LONG_BYTES, true, false),
        (SHORT_BYTES, true, true),
        // What was forbidden for one is allowed for the next.
        (LONG_BYTES, false, true),
    ] {
        client.send_indication(echo.address, &vec![7; length], dont_fragment);
        let reply = client.next_indication();
        let said = format!("{length} bytes, {dont_fragment}");
        if arrives {
            assert_eq!(
                reply.get(attribute::DATA).map(<[u8]>::len),
                Some(length),
                "{said}"
            );
        } else {
            let mut expected = [0, 0, 3, 4, 0, 0, 0, 0];
            expected[4..].copy_from_slice(&LINK_MTU.to_be_bytes());
            assert_eq!(reply.get(attribute::ICMP), Some(&expected[..]), "{said}");
        }
    }
}
