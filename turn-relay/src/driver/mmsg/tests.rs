//! Real sockets on loopback.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use super::control::{CONTROL_BYTES, Control, Name, WORD};
use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn socket(ip: &str, gro: bool) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    if gro {
        super::super::socket::enable_gro(&socket);
    }
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Takes `count` datagrams, with how many messages they came in.
fn take(socket: &UdpSocket, batch: &mut RecvBatch, count: usize) -> (Vec<(SocketAddr, Vec<u8>)>, usize) {
    let deadline = Instant::now() + PATIENCE;
    let (mut datagrams, mut messages) = (Vec::new(), 0);
    while datagrams.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} came", datagrams.len());
        batch.clear();
        let Ok(received) = batch.receive(socket.as_fd(), 32) else {
            std::thread::yield_now();
            continue;
        };
        messages += received;
        for index in 0..received {
            let received = batch.get(index).unwrap();
            datagrams.extend(received.datagrams().map(|(start, bytes)| {
                assert_eq!(bytes, batch.slice(index, start..start + bytes.len()));
                (received.source, bytes.to_vec())
            }));
        }
    }
    (datagrams, messages)
}

fn segment(to: SocketAddr, data: &[u8]) -> Segment<'_> {
    Segment {
        to,
        prefix: &[],
        data,
        padding: &[],
    }
}

#[test]
fn what_is_sent_arrives_whole_in_order_and_from_the_sender() {
    for ip in ["127.0.0.1", "::1"] {
        for gro in [false, true] {
            let (sender, from) = socket(ip, false);
            let (receiver, to) = socket(ip, gro);
            // Runs of equal length, a shorter end, single ones, empty ones.
            let lengths = [
                100, 100, 100, 40, 100, 0, 0, 1200, 1200, 7, 1200, 1, 1, 1, 1400, 9000, 9000,
            ];
            let data: Vec<Vec<u8>> = lengths
                .iter()
                .zip(0..)
                .map(|(length, n)| vec![n; *length])
                .collect();
            let mut send = SendBatch::new();
            let unsent = send.send(sender.as_fd(), None, data.iter().map(|data| segment(to, data)));
            assert_eq!(unsent, Unsent::default());
            let (arrived, messages) = take(&receiver, &mut RecvBatch::new(4), lengths.len());
            let expected: Vec<_> = data.into_iter().map(|data| (from, data)).collect();
            assert_eq!(arrived, expected, "{ip}, gro {gro}");
            assert_eq!(
                messages < lengths.len(),
                gro,
                "runs stay together for those who take them"
            );
        }
    }
}

#[test]
fn prefix_data_and_padding_make_one_datagram() {
    let (sender, _) = socket("127.0.0.1", false);
    let (receiver, to) = socket("127.0.0.1", true);
    let parts = Segment {
        to,
        prefix: b"abcd",
        data: b"efghi",
        padding: &[0; 3],
    };
    assert_eq!(
        SendBatch::new().send(sender.as_fd(), None, [parts; 150]),
        Unsent::default()
    );
    let (arrived, messages) = take(&receiver, &mut RecvBatch::new(32), 150);
    assert!(arrived.iter().all(|(_, bytes)| bytes == b"abcdefghi\0\0\0"));
    assert_eq!(messages, 3, "two full runs and a rest");
}

#[test]
fn destinations_may_take_turns() {
    let (sender, _) = socket("127.0.0.1", false);
    let (one, to_one) = socket("127.0.0.1", false);
    let (two, to_two) = socket("127.0.0.1", false);
    let data: Vec<[u8; 8]> = (0..200_u64).map(u64::to_be_bytes).collect();
    let segments = data
        .iter()
        .map(|data| segment(if data[7] % 3 == 0 { to_one } else { to_two }, data));
    assert_eq!(
        SendBatch::new().send(sender.as_fd(), None, segments),
        Unsent::default()
    );
    let mut batch = RecvBatch::new(8);
    for (socket, mine) in [(&one, true), (&two, false)] {
        let expected: Vec<_> = data
            .iter()
            .filter(|data| (data[7] % 3 == 0) == mine)
            .map(|d| d.to_vec())
            .collect();
        let (arrived, _) = take(socket, &mut batch, expected.len());
        assert_eq!(
            arrived.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>(),
            expected
        );
    }
}

#[test]
fn what_the_kernel_refuses_is_counted_and_stops_nothing_else() {
    let (sender, _) = socket("127.0.0.1", false);
    let (receiver, to) = socket("127.0.0.1", false);
    let huge = vec![0; 65_530];
    let nowhere = "[::1]:9".parse().unwrap();
    let segments = [
        segment(to, b"a"),
        segment(to, &huge),
        segment(nowhere, b"b"),
        segment(nowhere, b"b"),
        segment(to, b"c"),
    ];
    let unsent = SendBatch::new().send(sender.as_fd(), None, segments);
    assert_eq!(
        unsent,
        Unsent {
            buffer_full: 0,
            failed: 4 - 1
        }
    );
    let (arrived, _) = take(&receiver, &mut RecvBatch::new(8), 2);
    assert_eq!(
        arrived.iter().map(|(_, bytes)| &bytes[..]).collect::<Vec<_>>(),
        [b"a", b"c"]
    );
}

#[test]
fn a_batch_fills_in_parts_and_says_when_there_is_no_more() {
    let (sender, _) = socket("127.0.0.1", false);
    let (receiver, to) = socket("127.0.0.1", false);
    for n in 0..6_u8 {
        sender.send_to(&[n], to).unwrap();
    }
    let mut batch = RecvBatch::new(4);
    assert_eq!(batch.receive(receiver.as_fd(), 3).unwrap(), 3);
    assert_eq!(
        batch.receive(receiver.as_fd(), 3).unwrap(),
        1,
        "there is room for one"
    );
    assert_eq!((batch.room(), batch.len()), (0, 4));
    assert_eq!(
        (0..4)
            .map(|index| batch.get(index).unwrap().bytes[0])
            .collect::<Vec<_>>(),
        [0, 1, 2, 3]
    );
    batch.clear();
    assert_eq!(batch.receive(receiver.as_fd(), 4).unwrap(), 2);
    let empty = batch.receive(receiver.as_fd(), 4).unwrap_err();
    assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn addresses_survive_the_way_to_the_kernel_and_back() {
    for text in [
        "192.0.2.1:3478",
        "[2001:db8::1]:65535",
        "[fe80::1%7]:1",
        "0.0.0.0:0",
    ] {
        let address: SocketAddr = text.parse().unwrap();
        assert_eq!(Name::encode(address).0.decode(), Some(address));
    }
    assert_eq!(Name::EMPTY.decode(), None);
}

#[test]
fn answers_leave_from_the_address_that_was_asked() {
    for (wildcard, addresses) in [
        ("0.0.0.0", &["127.0.0.1", "127.0.0.2", "127.7.7.7"][..]),
        ("::", &["::1"]),
    ] {
        let (server, address) = socket(wildcard, true);
        super::super::socket::enable_local_address(&server, address.is_ipv6()).unwrap();
        for ip in addresses {
            let (client, from) = socket(ip, true);
            let to = SocketAddr::new(ip.parse().unwrap(), address.port());
            // A run and single ones: with GRO's message beside the address and without.
            let data = [[7; 100]; 5];
            let asked = data.iter().map(|data| segment(to, data));
            assert_eq!(
                SendBatch::new().send(client.as_fd(), None, asked),
                Unsent::default()
            );
            let mut batch = RecvBatch::new(4);
            let deadline = Instant::now() + PATIENCE;
            while batch.receive(server.as_fd(), 4).is_err() {
                assert!(Instant::now() < deadline);
            }
            let received = batch.get(0).unwrap();
            assert_eq!((received.source, received.segment), (from, 100));
            assert_eq!(received.local, Some(to.ip()), "{ip}");
            // Another loopback address would do as well if nobody chose.
            let long = vec![9; 2000];
            let answers = data
                .iter()
                .map(|data| segment(from, data))
                .chain([segment(from, &long)]);
            let unsent = SendBatch::new().send(server.as_fd(), received.local, answers);
            assert_eq!(unsent, Unsent::default());
            let (arrived, _) = take(&client, &mut batch, 6);
            assert!(
                arrived.iter().all(|(source, _)| *source == to),
                "{ip}: {arrived:?}"
            );
        }
    }
}

#[test]
fn control_messages_are_read_as_far_as_they_are_whole() {
    let ip: IpAddr = "2001:db8::1".parse().unwrap();
    let (control, length) = Control::sending(Some(1200), Some(ip));
    assert!(length <= CONTROL_BYTES);
    assert_eq!(control.received(length).1, Some(ip));
    for cut in 0..length {
        let found = control.messages(cut).count();
        assert!(found <= 2, "{cut}");
        assert_eq!(control.received(cut).1.is_some(), cut >= length - 4, "{cut}");
    }
    let mut lying = control;
    lying.0[..WORD].copy_from_slice(&usize::MAX.to_ne_bytes());
    assert_eq!(lying.received(length), (None, None));
    lying.0[..WORD].copy_from_slice(&0_usize.to_ne_bytes());
    assert_eq!(lying.received(length), (None, None));
}

/// The kernel reports an ICMP error by failing the next call, whatever that is about.
#[test]
fn what_came_of_one_datagram_is_not_the_next_ones_fault() {
    let (sender, _) = socket("127.0.0.1", false);
    super::super::icmp::enable(&sender, false).unwrap();
    let (receiver, to) = socket("127.0.0.1", false);
    let (_, closed) = socket("127.0.0.1", false);
    let mut send = SendBatch::new();
    // On loopback the error is there when the call returns.
    assert_eq!(
        send.send(sender.as_fd(), None, [segment(closed, b"anybody?")]),
        Unsent::default()
    );
    assert_eq!(
        send.send(sender.as_fd(), None, [segment(to, b"you")]),
        Unsent::default()
    );
    let mut batch = RecvBatch::new(32);
    let (datagrams, _) = take(&receiver, &mut batch, 1);
    assert_eq!(datagrams[0].1, b"you");
}
