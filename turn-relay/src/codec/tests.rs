//! The codec against the RFC's vectors, against the `stun` and `turn` crates, and against noise.

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use stun::attributes as theirs;
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{Getter as _, Message as TheirMessage, Setter as _};
use stun::xoraddr::XorMappedAddress;

use super::*;

fn message(bytes: &[u8]) -> Message<'_> {
    match decode(bytes) {
        Ok(Datagram::Message(message)) => message,
        other => panic!("not a message: {other:?}"),
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// RFC 5769 §2.1.
const SAMPLE_REQUEST: &str = "
    0001 0058 2112a442 b7e7a701 bc34d686 fa87dfae
    8022 0010 5354554e 20746573 7420636c 69656e74
    0024 0004 6e0001ff 8029 0008 932ff9b1 51263b36
    0006 0009 6576746a 3a683676 59202020
    0008 0014 9aeaa70c bfd8cb56 781ef2b5 b2d3f249 c1b571a2
    8028 0004 e57a3bcf";

/// RFC 5769 §2.4: long-term credentials, no fingerprint.
const SAMPLE_LONG_TERM: &str = "
    0001 0060 2112a442 78ad3433 c6ad72c0 29da412e
    0006 0012 e3839ee3 8388e383 aae38383 e382af e382b9 0000
    0015 001c 662f2f34 39396b39 35346436 4f4c3334 6f4c3946 53547679 3634734 1
    0014 000b 6578616d 706c652e 6f726700
    0008 0014 f67024656dd64a3e02b8e0712e85c9a28ca89666";

#[test]
fn the_sample_messages_of_rfc_5769() {
    let bytes = hex(SAMPLE_REQUEST);
    let request = message(&bytes);
    let fields = Fields::read(&request);
    assert!(fields.fingerprint);
    assert_eq!(fields.username, Some(&b"evtj:h6vY"[..]));
    assert_eq!(fields.unknown.kinds(), [0x0024], "PRIORITY is ICE's");
    let integrity = fields.integrity.unwrap();
    assert!(integrity.verify(b"VOkJxbRl1RmTxUk/WvJxBt", &request));
    assert!(!integrity.verify(b"VOkJxbRl1RmTxUk/WvJxBu", &request));

    let bytes = hex(SAMPLE_LONG_TERM);
    let request = message(&bytes);
    let fields = Fields::read(&request);
    let name = std::str::from_utf8(fields.username.unwrap()).unwrap();
    let key = crate::credential::long_term_key(name, "example.org", "TheMatrIX");
    assert!(fields.integrity.unwrap().verify(&key, &request));
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let good = hex(SAMPLE_REQUEST);
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        if let Ok(Datagram::Message(message)) = decode(&bad) {
            assert!(!Fields::read(&message).fingerprint, "bit {bit}");
        }
    }
}

#[test]
fn framing_errors_have_names() {
    let good = hex(SAMPLE_LONG_TERM);
    assert_eq!(decode(&[]), Err(DecodeError::Truncated));
    assert_eq!(decode(&good[..19]), Err(DecodeError::Truncated));
    assert_eq!(decode(&good[..good.len() - 4]), Err(DecodeError::Length));
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    assert_eq!(decode(&with(3, 0x5f)), Err(DecodeError::Length));
    assert_eq!(decode(&with(4, 0)), Err(DecodeError::Foreign));
    assert_eq!(decode(&with(22, 0xff)), Err(DecodeError::Attribute));
    assert_eq!(decode(&[0x80; 40]), Err(DecodeError::Foreign));
    assert_eq!(decode(&[0x40, 0, 0]), Err(DecodeError::Truncated));
    assert_eq!(decode(&[0x40, 0, 0, 1]), Err(DecodeError::Truncated));
    let twice = Builder::new(Class::Request, Method::BINDING, [1; 12])
        .fingerprint()
        .fingerprint()
        .finish();
    assert_eq!(
        decode(&twice),
        Err(DecodeError::Fingerprint),
        "a fingerprint is last"
    );
}

#[test]
fn the_first_of_equal_attributes_counts() {
    let bytes = Builder::new(Class::Request, Method::REFRESH, [1; 12])
        .attribute(attribute::LIFETIME, &1_u32.to_be_bytes())
        .attribute(attribute::LIFETIME, &2_u32.to_be_bytes())
        .finish();
    assert_eq!(Fields::read(&message(&bytes)).lifetime_s, Some(1));
}

fn socket() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from)
    ];
    (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![
        Just(Class::Request),
        Just(Class::Indication),
        Just(Class::Success),
        Just(Class::Error)
    ]
}

type Values = Vec<(u16, Vec<u8>)>;

fn values() -> impl Strategy<Value = Values> {
    let kind = any::<u16>().prop_filter("checked attributes have their own tests", |kind| {
        ![
            attribute::FINGERPRINT,
            attribute::MESSAGE_INTEGRITY,
            attribute::MESSAGE_INTEGRITY_SHA256,
        ]
        .contains(kind)
    });
    prop::collection::vec((kind, prop::collection::vec(any::<u8>(), 0..40)), 0..8)
}

fn build(class: Class, method: u16, transaction: TransactionId, values: &Values) -> Builder {
    let empty = Builder::new(class, Method::from_code(method), transaction);
    values
        .iter()
        .fold(empty, |message, (kind, value)| message.attribute(*kind, value))
}

proptest! {
    #[test]
    fn what_is_built_is_read_back(class in class(), method in 0..0x1000_u16, transaction: [u8; 12], values in values()) {
        let bytes = build(class, method, transaction, &values).fingerprint().finish();
        let read = message(&bytes);
        prop_assert_eq!((read.class, read.method.code(), read.transaction()), (class, method, transaction));
        let mut kept: Values = read.attributes().map(|a| (a.kind, a.value.to_vec())).collect();
        kept.pop();
        prop_assert_eq!(kept, values);
    }

    #[test]
    fn the_stun_crate_reads_what_we_build(class in class(), method in 0..0x1000_u16, transaction: [u8; 12],
                                          values in values(), key: [u8; 16], address in socket()) {
        let bytes = build(class, method, transaction, &values)
            .address(attribute::XOR_MAPPED_ADDRESS, address)
            .integrity(IntegrityKind::Sha1, &key)
            .fingerprint()
            .finish();
        let mut read = TheirMessage::new();
        read.unmarshal_binary(&bytes).unwrap();
        prop_assert_eq!(read.typ.value(), message_type(class, Method::from_code(method)));
        prop_assert_eq!(read.transaction_id.0, transaction);
        FINGERPRINT.check(&read).unwrap();
        MessageIntegrity(key.to_vec()).check(&mut read).unwrap();
        // Theirs takes 0x8020, which drafts of RFC 5389 used, for the same attribute, and reads the first.
        let same = [attribute::XOR_MAPPED_ADDRESS, 0x8020];
        if values.iter().all(|(kind, _)| !same.contains(kind)) {
            let mut mapped = XorMappedAddress::default();
            mapped.get_from(&read).unwrap();
            prop_assert_eq!(SocketAddr::new(mapped.ip, mapped.port), address);
        }
    }

    #[test]
    fn we_read_what_the_stun_crate_builds(transaction: [u8; 12], key: [u8; 16], address in socket(), name in "[a-z0-9:]{1,40}") {
        let mut built = TheirMessage::new();
        built.transaction_id = stun::agent::TransactionId(transaction);
        built.set_type(stun::message::BINDING_REQUEST);
        built.write_header();
        stun::textattrs::TextAttribute::new(theirs::ATTR_USERNAME, name.clone()).add_to(&mut built).unwrap();
        XorMappedAddress { ip: address.ip(), port: address.port() }
            .add_to_as(&mut built, theirs::ATTR_XOR_PEER_ADDRESS).unwrap();
        MessageIntegrity(key.to_vec()).add_to(&mut built).unwrap();
        FINGERPRINT.add_to(&mut built).unwrap();
        let read = message(&built.raw);
        let fields = Fields::read(&read);
        prop_assert_eq!(fields.username, Some(name.as_bytes()));
        prop_assert_eq!(fields.peers(&read).collect::<Vec<_>>(), vec![address]);
        prop_assert!(fields.fingerprint && fields.integrity.unwrap().verify(&key, &read));
    }

    #[test]
    fn sha256_tags_verify_under_their_key_alone(values in values(), key: [u8; 16], other: [u8; 16]) {
        let bytes = build(Class::Request, 3, [1; 12], &values)
            .integrity(IntegrityKind::Sha1, &key)
            .integrity(IntegrityKind::Sha256, &key)
            .finish();
        let read = message(&bytes);
        let integrity = Fields::read(&read).integrity.unwrap();
        prop_assert_eq!(integrity.kind, IntegrityKind::Sha256);
        prop_assert!(integrity.verify(&key, &read));
        prop_assert_eq!(integrity.verify(&other, &read), key == other);
    }

    #[test]
    fn channel_data_is_what_the_turn_crate_makes(number in 0x4000..0x5000_u16, data in prop::collection::vec(any::<u8>(), 0..1500)) {
        let mut made = turn::proto::chandata::ChannelData {
            data: data.clone(),
            number: turn::proto::channum::ChannelNumber(number),
            raw: Vec::new(),
        };
        made.encode();
        let read = decode(&made.raw).unwrap();
        let number = ChannelNumber::new(number).unwrap();
        prop_assert_eq!(read, Datagram::ChannelData(ChannelData { number, data: &data }));
        let length = u16::try_from(data.len()).unwrap();
        prop_assert_eq!(&ChannelData::header(number, length)[..], &made.raw[..4]);
    }

    #[test]
    fn noise_is_read_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300), dress: bool) {
        if dress && bytes.len() >= HEADER_BYTES {
            // Noise that gets past the header.
            let length = (bytes.len() - HEADER_BYTES) / 4 * 4;
            bytes.truncate(HEADER_BYTES + length);
            bytes[0] &= 0x3F;
            bytes[2..4].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
            bytes[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        }
        if let Ok(Datagram::Message(message)) = decode(&bytes) {
            let fields = Fields::read(&message);
            let _ = fields.peers(&message).count();
            let _ = fields.integrity.map(|integrity| integrity.verify(&[0; 16], &message));
        }
    }
}

mod stream {
    use proptest::prelude::*;

    use crate::codec::*;

    fn message(body: usize) -> Vec<u8> {
        Builder::new(Class::Indication, Method::SEND, [3; 12])
            .attribute(attribute::DATA, &vec![5; body])
            .finish()
    }

    fn channel(length: u16) -> Vec<u8> {
        let mut bytes = vec![0x40, 7];
        bytes.extend(length.to_be_bytes());
        bytes.extend(vec![9; length.into()]);
        bytes
    }

    /// Reads `stream` in pieces; the frames of it, or why it broke.
    fn frames(stream: &[u8], pieces: &[usize], bytes_max: usize) -> Result<Vec<Vec<u8>>, FrameError> {
        let mut found = Vec::new();
        let mut framer = Framer::new();
        let mut buffer = vec![0; FRAME_BYTES_MAX + 100];
        let (mut stream, mut pieces) = (stream, pieces.iter().cycle());
        while !stream.is_empty() {
            let kept = framer.resume(&mut buffer);
            let piece = pieces
                .next()
                .map_or(1, |piece| *piece)
                .clamp(1, buffer.len() - kept);
            let (read, rest) = stream.split_at(piece.min(stream.len()));
            buffer[kept..kept + read.len()].copy_from_slice(read);
            stream = rest;
            let mut frames = Frames::new(&buffer[..kept + read.len()], bytes_max);
            while let Some(range) = frames.next()? {
                found.push(buffer[range].to_vec());
            }
            framer.suspend(frames.rest());
        }
        Ok(found)
    }

    proptest! {
        #[test]
        fn however_a_stream_arrives_its_frames_are_the_same(
            lengths in prop::collection::vec((any::<bool>(), 0..3000_u16), 1..12),
            pieces in prop::collection::vec(1..5000_usize, 1..6),
        ) {
            let written: Vec<_> = lengths
                .iter()
                .map(|&(stun, length)| if stun { message(length.into()) } else { channel(length) })
                .collect();
            let mut stream = Vec::new();
            for frame in &written {
                stream.extend(frame);
                stream.resize(padded(stream.len()), 0);
            }
            prop_assert_eq!(frames(&stream, &pieces, FRAME_BYTES_MAX), Ok(written));
        }

        #[test]
        fn any_bytes_are_frames_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            pieces in prop::collection::vec(1..50_usize, 1..6),
        ) {
            let at_once = frames(&bytes, &[1000], 200);
            prop_assert_eq!(frames(&bytes, &pieces, 200), at_once);
        }
    }

    #[test]
    fn what_cannot_become_a_frame_is_refused_at_its_first_wrong_byte() {
        let whole = message(8);
        for (at, value, error) in [
            (0, 0x80, FrameError::Foreign),
            (0, 0x16, FrameError::Foreign),
            (3, 13, FrameError::Length),
            (4, 0, FrameError::Foreign),
            (7, 0, FrameError::Foreign),
        ] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            // A TLS record begins like a STUN message; the cookie tells.
            let seen = if value == 0x16 { 5 } else { at + 1 };
            if value == 0x16 {
                bytes[1..5].copy_from_slice(&[3, 1, 0, 2]);
            }
            assert_eq!(frames(&bytes[..seen], &[1000], 4096), Err(error), "{at}");
            assert_eq!(frames(&bytes[..seen - 1], &[1000], 4096), Ok(vec![]));
        }
    }

    #[test]
    fn frames_longer_than_allowed_are_refused_before_they_are_read() {
        assert_eq!(frames(&channel(1000)[..4], &[4], 1004), Ok(vec![]));
        assert_eq!(frames(&channel(1001)[..4], &[4], 1004), Err(FrameError::TooLong));
        let longest = [&message(0)[..2], &[0xFF, 0xFC], &message(0)[4..20]].concat();
        assert_eq!(frames(&longest, &[20], FRAME_BYTES_MAX), Ok(vec![]));
        assert_eq!(
            frames(&longest, &[20], FRAME_BYTES_MAX - 1),
            Err(FrameError::TooLong)
        );
        let data = channel(u16::MAX);
        assert_eq!(
            frames(&[&data[..], &[0]].concat(), &[1000], FRAME_BYTES_MAX),
            Ok(vec![data])
        );
    }
}
