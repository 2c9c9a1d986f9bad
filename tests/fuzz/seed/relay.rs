//! What is said to a TURN relay.

use medmesh_fuzz::stun;
use medmesh_turn::codec::{Builder, Class, IntegrityKind, Method, attribute};

use crate::{join, write};

pub(crate) fn turn() {
    let message = |class, method| Builder::new(class, method, [7; 12]);
    let peer = "192.0.2.1:1000".parse().expect("an address");
    let allocate = message(Class::Request, Method::ALLOCATE)
        .attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
        .attribute(attribute::LIFETIME, &600_u32.to_be_bytes())
        .attribute(attribute::EVEN_PORT, &[0x80])
        .attribute(attribute::USERNAME, b"1800000000:a")
        .attribute(attribute::REALM, b"medmesh")
        .attribute(attribute::NONCE, b"0123456789abcdef")
        .integrity(IntegrityKind::Sha1, &[7; 16])
        .integrity(IntegrityKind::Sha256, &[7; 16])
        .fingerprint()
        .finish();
    let bind = message(Class::Request, Method::CHANNEL_BIND)
        .attribute(attribute::CHANNEL_NUMBER, &[0x40, 0, 0, 0])
        .address(attribute::XOR_PEER_ADDRESS, peer)
        .finish();
    let send = message(Class::Indication, Method::SEND)
        .address(attribute::XOR_PEER_ADDRESS, peer)
        .attribute(attribute::DATA, b"data")
        .finish();
    let answer = message(Class::Success, Method::ALLOCATE)
        .address(
            attribute::XOR_RELAYED_ADDRESS,
            "[2001:db8::1]:50000".parse().expect("an address"),
        )
        .finish();
    for (name, bytes) in [
        ("allocate", &allocate),
        ("bind", &bind),
        ("send", &send),
        ("answer", &answer),
    ] {
        write("turn_codec", name, bytes);
    }
    write("turn_proxy", "local", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    write(
        "turn_proxy",
        "ipv4",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\xC0\0\x02\x01\xC0\0\x02\x02\x10\0\x01\xBB",
    );
    let address = stun::check("abcd", "password", "efgh", 1);
    write("turn_codec", "check", &address);
    write("turn_codec", "channel", [0x40, 0, 0, 4, 1, 2, 3, 4]);
    write(
        "turn_codec",
        "address",
        join(&[&[7; 12], &[0, 1, 0x21, 0x12, 0xE1, 0x12, 0xA6, 0x43]]),
    );
    // Allocate twice (the first fetches a nonce), permit, bind, relay both ways, wait.
    let life = [
        &[8, 1, 0][..],
        &[8, 2, 0],
        &[6, 3, 1, 0, 0x10],
        &[7, 4, 2, 3, 0, 0, 0x11],
        &[2, 0, 4],
        &[4, 0x11],
        &[3, 0x11, 0],
        &[1, 60],
        &[5, 5, 1, 5, 0],
        &[1, 255],
    ];
    write("turn_server", "life", life.concat());
    // Mobile with the next port held, its second allocation, permit, bind, both ways, move;
    // TCP, connect, answer, bind, a peer comes; lose the connection, come back, wait.
    let book = [
        [1, 0, 0x0E],
        [1, 2, 0x80],
        [4, 0, 0],
        [5, 0, 1],
        [6, 0, 1],
        [7, 0, 0],
        [8, 0, 0],
        [9, 2, 0],
        [3, 2, 0],
        [9, 2, 0],
        [1, 4, 1],
        [4, 4, 0],
        [10, 4, 0],
        [11, 0, 0],
        [13, 6, 0],
        [12, 0, 4],
        [14, 0, 1],
        [1, 5, 2],
        [15, 5, 0],
        [9, 1, 1],
        [0, 0, 9],
        [0, 0, 255],
    ];
    write("turn_model", "book", book.concat());
    let length = u8::try_from(allocate.len()).expect("a short request");
    write(
        "turn_server",
        "raw",
        join(&[&[0, length], &allocate, &[0, 8, 0x40, 0, 0, 4, 1, 2, 3, 4]]),
    );
}
