//! The program once more, in Rust and by the book (indications are read by the relay's own parser), and whether the two agree; then every comparison of the program
//! left out once: the kernel must refuse what is left, or it must be seen to do something else.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::super::program::DROP;
use super::*;
use crate::codec::{Datagram, decode, decode_xor_address};

/// A network packets are sent to: its first bytes, the stations they go from and to, and the longest it takes.
struct Network {
    prefix: [u8; 3],
    from_mac: [u8; 6],
    to_mac: [u8; 6],
    bytes_max: usize,
}

const fn network(prefix: [u8; 3], from_mac: [u8; 6], to_mac: [u8; 6], bytes_max: usize) -> Network {
    Network {
        prefix,
        from_mac,
        to_mac,
        bytes_max,
    }
}

/// Those behind `out0` and its router, and behind `out1`.
const NETWORKS: [Network; 3] = [
    network([203, 0, 113], OWN, NEXT, 1400),
    network([198, 51, 100], OWN, NEXT, 1500),
    network([198, 51, 101], [2, 0, 0, 0, 0, 0x11], [2, 0, 0, 0, 0, 0x71], 9000),
];
/// The longest frame that a run for a test has room for.
const FRAME_BYTES_MAX: usize = 3520;
/// What the README says, more or less.
const INSTRUCTIONS_MAX: usize = 500;
/// Frames made at random, beside those made on purpose.
const RANDOM: usize = 1500;
/// The jump that goes on.
const NOTHING: [u8; 8] = [5, 0, 0, 0, 0, 0, 0, 0];

/// What is relayed: by what packets look like, what becomes of them.
struct Book(HashMap<[u8; FLOW_BYTES], Flow>);

impl Book {
    /// What is sent for a frame. `None`: it is for the sockets.
    fn answer(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let ours = frame.len() >= 46 && frame[..6] == OWN && frame[12..15] == [8, 0, 0x45] && frame[23] == 17;
        if !ours || word(20) & !0x4000 != 0 {
            return None;
        }
        let length = usize::from(word(16));
        let datagram = usize::from(word(38));
        if frame.len() != 14 + length || datagram + 20 != length || folded(sum(&frame[14..34], 0)) != 0xffff {
            return None;
        }
        let unfinished = folded(sum(&frame[26..34], 17 + u32::from(word(38))));
        if word(40) == 0 || word(40) == unfinished {
            return None;
        }
        let framed = framed(&frame[42..]).and_then(|(framing, data)| Some((self.out(frame, framing)?, data)));
        let (out, data) = match framed {
            Some(found) => found,
            None => (self.out(frame, Framing::Bare)?, 42..frame.len()),
        };
        let sent = goes_out(out, &frame[data.clone()]);
        let prefix = &out.to.ip().octets()[..3];
        let network = NETWORKS.iter().find(|network| network.prefix == prefix)?;
        let mut sent = Frame {
            from_mac: network.from_mac,
            to_mac: network.to_mac,
            ..sent
        }
        .bytes();
        if !(60..=14 + network.bytes_max).contains(&sent.len()) {
            return None;
        }
        let (front, padding) = match out.framing {
            Framing::Bare => (0, 0),
            Framing::Channel(_) => (4, 0),
            Framing::Indication(_) => (36, sent.len() - 78 - data.len()),
        };
        if padding > 0 && frame.len() + padding > FRAME_BYTES_MAX {
            return None;
        }
        // What fills the last word ends at an even place.
        let tail = &frame[data.end..];
        let old = [&frame[..data.start], &[0; 1][..tail.len() % 2], tail].concat();
        let checksum = adjusted(word(40), &old, &sent[..42 + front]);
        sent[40..42].copy_from_slice(&checksum.to_be_bytes());
        Some(sent)
    }

    /// What becomes of a frame of that framing.
    fn out(&self, frame: &[u8], framing: Framing) -> Option<Flow> {
        let address = |ip: usize, port: usize| {
            let octets: [u8; 4] = *frame[ip..].first_chunk().unwrap();
            at(octets, u16::from_be_bytes([frame[port], frame[port + 1]]))
        };
        let (from, to) = (address(26, 34), address(30, 36));
        self.0.get(&Flow { from, to, framing }.bytes()).copied()
    }
}

/// What a payload is framed with, and where in the frame its data are.
fn framed(payload: &[u8]) -> Option<(Framing, std::ops::Range<usize>)> {
    match decode(payload).ok()? {
        Datagram::ChannelData(channel) => {
            let whole = channel.data.len() + 4 == payload.len();
            whole.then(|| (Framing::Channel(channel.number.get()), 46..42 + payload.len()))
        }
        Datagram::Message(message) => {
            let attributes: Vec<_> = message.attributes().collect();
            let [peer, data] = &attributes[..] else {
                return None;
            };
            let send = (message.class, message.method) == (Class::Indication, Method::SEND);
            if !send || (peer.kind, data.kind) != (attribute::XOR_PEER_ADDRESS, attribute::DATA) {
                return None;
            }
            let SocketAddr::V4(peer) = decode_xor_address(peer.value, &message.transaction())? else {
                return None;
            };
            Some((Framing::Indication(peer), 78..78 + data.value.len()))
        }
    }
}

/// RFC 1624, equation 3, over everything that may have changed: addresses, ports, the channel's header, and the length,
/// which the pseudo header has too.
fn adjusted(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> Vec<u16> {
        let parts = [&bytes[26..40], &bytes[38..40], &bytes[42..]].concat();
        parts
            .chunks_exact(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .collect()
    };
    let gone: u32 = words(old).into_iter().map(|word| u32::from(!word)).sum();
    let come: u32 = words(new).into_iter().map(u32::from).sum();
    match !folded(u32::from(!checksum) + gone + come) {
        0 => 0xffff,
        checksum => checksum,
    }
}

fn other(number: u8, peer: [u8; 4]) -> Pair {
    let port = |base: u16| base + u16::from(number);
    Pair::new(
        at([198, 51, 100, 7], port(4000)),
        at([198, 51, 100, 1], 3478),
        Some(0x4001 + u16::from(number)),
        at([198, 51, 100, 1], port(50_000)),
        at(peer, port(10_000)),
    )
}

/// Channels that are relayed, and some that are not though they stand in the table.
fn channels(scene: &Scene) -> (Book, Vec<Pair>) {
    let elsewhere = Pair::new(
        at([198, 51, 101, 7], 4010),
        at([198, 51, 100, 1], 3478),
        None,
        at([198, 51, 100, 1], 50_010),
        at([203, 0, 113, 10], 10_000),
    );
    let good = [
        pair(),
        correspondents(),
        other(1, [203, 0, 113, 10]),
        other(2, [198, 51, 101, 7]),
        elsewhere,
    ];
    let mut book = HashMap::new();
    for pair in &good {
        scene.insert(pair);
        book.extend(pair.directions().map(|(key, out)| (key.bytes(), out)));
    }
    // Only what comes back from these has a way.
    let unreachable = [other(3, [198, 51, 102, 7]), other(4, [198, 51, 100, 8])];
    for pair in &unreachable {
        scene.insert(pair);
        let [_, (key, out)] = pair.directions();
        book.insert(key.bytes(), out);
    }
    let over = other(5, [203, 0, 113, 9]);
    scene.path.insert(&over, scene.now()).unwrap();
    let forged = other(6, [203, 0, 113, 9]);
    for (key, out) in forged.directions() {
        let mut entry = scene
            .path
            .seal
            .entry(&key, &out, scene.path.origin + 900 * SECOND);
        entry[24] ^= 1;
        scene.path.flows.insert(&key.bytes(), &entry).unwrap();
    }
    let all = good
        .into_iter()
        .chain(unreachable)
        .chain([over, forged])
        .collect();
    (Book(book), all)
}

/// A small generator with a seed, so that a failure comes again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

/// Frames of every kind.
fn frames(pairs: &[Pair], book: &Book) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let flows: Vec<Flow> = pairs
        .iter()
        .flat_map(Pair::directions)
        .map(|(key, _)| key)
        .collect();
    let lengths = [0, 4, 13, 14, 17, 18, 19, 100, 101, 1372, 1373, 1468, 1469];
    let lengths = lengths
        .into_iter()
        .chain([1372, 1432, 1436, 1437])
        .chain(3474..=3478);
    for flow in &flows {
        frames.extend(
            lengths
                .clone()
                .map(|length| came_in(*flow, &bytes_of(length)).bytes()),
        );
    }
    let watched = [pairs[0], pairs[1]].map(|pair| pair.directions().map(|(key, _)| key));
    for flow in watched.into_iter().flatten() {
        let good = came_in(flow, &bytes_of(101)).bytes();
        for at in 0..82 {
            for bit in [1, 0x80] {
                let mut frame = good.clone();
                frame[at] ^= bit;
                frames.push(frame.clone());
                reheader(&mut frame, |_| ());
                frames.push(frame);
            }
        }
        let unfinished = folded(sum(&good[26..34], 17 + u32::try_from(good.len() - 34).unwrap()));
        for checksum in [0, unfinished] {
            let mut frame = good.clone();
            frame[40..42].copy_from_slice(&checksum.to_be_bytes());
            frames.push(frame);
        }
        frames.extend([14, 34, 42, 45, 46, 100].map(|length| good[..length].to_vec()));
        frames.push([&good[..], &[0; 4]].concat());
        // The one in 65,536 whose new checksum is written as its complement.
        let zero = (0..=u16::MAX).find_map(|word| {
            let data = [&word.to_be_bytes()[..], &[3; 20]].concat();
            let frame = came_in(flow, &data).bytes();
            let sent = book.answer(&frame)?;
            (sent[40..42] == [0xff; 2]).then_some(frame)
        });
        frames.push(zero.expect("some word makes it so"));
    }
    frames.extend(indications(watched[1][0]));
    let mut dice = Dice(0x5eed_0000_0000_0001);
    for _ in 0..RANDOM {
        let flow = flows[dice.roll(flows.len())];
        let mut frame = came_in(flow, &bytes_of(dice.roll(1500))).bytes();
        if dice.roll(2) == 0 {
            // Whatever fills the last word of an indication.
            let last = frame.len() - 1;
            frame[last] ^= 0x5a;
        }
        for _ in 0..dice.roll(4) {
            let at = dice.roll(frame.len().min(84));
            frame[at] = u8::try_from(dice.roll(256)).unwrap();
        }
        if dice.roll(2) == 0 {
            reheader(&mut frame, |_| ());
        }
        frames.push(frame);
    }
    frames.retain(|frame| frame.len() <= FRAME_BYTES_MAX);
    frames
}

/// Indications that are not quite what the program takes, and those that are though they do not look it.
fn indications(send: Flow) -> Vec<Vec<u8>> {
    let Framing::Indication(peer) = send.framing else {
        unreachable!("a flow of indications")
    };
    let data = bytes_of(101);
    let begin = || Builder::new(Class::Indication, Method::SEND, SEND_ID);
    let with_peer = || begin().address(attribute::XOR_PEER_ADDRESS, peer.into());
    let mut payloads = vec![
        with_peer().finish(),
        begin().attribute(attribute::DATA, &data).finish(),
        begin()
            .attribute(attribute::DATA, &data)
            .address(attribute::XOR_PEER_ADDRESS, peer.into())
            .finish(),
        with_peer()
            .attribute(attribute::DATA, &data)
            .fingerprint()
            .finish(),
        with_peer()
            .attribute(attribute::DONT_FRAGMENT, &[])
            .attribute(attribute::DATA, &data)
            .finish(),
        with_peer()
            .attribute(attribute::DATA, &data)
            .attribute(attribute::DONT_FRAGMENT, &[])
            .finish(),
        begin()
            .address(
                attribute::XOR_PEER_ADDRESS,
                "[2001:db8::1]:10000".parse().unwrap(),
            )
            .attribute(attribute::DATA, &data)
            .finish(),
        with_peer().attribute(attribute::DATA, &[]).finish(),
    ];
    let good = with_peer().attribute(attribute::DATA, &data).finish();
    // No whole words, and everything else adds up.
    for less in 1..4 {
        let mut payload = good[..good.len() - less].to_vec();
        let body = length(payload.len() - 20);
        payload[2..4].copy_from_slice(&body);
        let data = length((payload.len() - 36).min(101));
        payload[34..36].copy_from_slice(&data);
        payloads.push(payload);
    }
    // Any length of the data there could be room for, and anything behind it.
    for shift in 0..12 {
        let mut payload = good.clone();
        payload[34..36].copy_from_slice(&length(96 + shift));
        let end = payload.len();
        payload[end - 3..].copy_from_slice(&[0xa5, 0x5a, 0xff]);
        payloads.push(payload);
    }
    let bare = Flow {
        framing: Framing::Bare,
        ..send
    };
    payloads
        .iter()
        .map(|payload| came_in(bare, payload).bytes())
        .collect()
}

/// What is to be seen of what was not passed on: of a packet that was dropped nothing.
fn seen(verdict: u32, sent: Vec<u8>) -> Vec<u8> {
    if verdict.cast_signed() == DROP {
        return Vec::new();
    }
    without_id(sent)
}

/// What a program does with a frame; that it goes the long way only because of the time is asked again.
fn outcome(scene: &Scene, program: &Program, frame: &[u8], expected: Option<&Vec<u8>>) -> Option<Vec<u8>> {
    let once = || match program.run(frame, scene.index).unwrap() {
        (verdict, sent) if verdict.cast_signed() != PASS => Some(seen(verdict, sent)),
        (verdict, sent) => {
            assert!(
                verdict.cast_signed() != PASS || sent == frame,
                "changed and passed on"
            );
            None
        }
    };
    match once() {
        None if expected.is_some() => once(),
        outcome => outcome,
    }
}

#[test]
fn it_does_what_is_written_and_nothing_it_asks_is_idle() {
    if !inside(
        "mutants::it_does_what_is_written_and_nothing_it_asks_is_idle",
        SETUP,
    ) {
        return;
    }
    let scene = Scene::new();
    let (book, pairs) = channels(&scene);
    let frames = frames(&pairs, &book);
    let answers: Vec<Option<Vec<u8>>> = frames.iter().map(|frame| book.answer(frame)).collect();
    assert!(answers.iter().flatten().count() > 200);
    for (frame, answer) in frames.iter().zip(&answers) {
        let outcome = outcome(&scene, &scene.program, frame, answer.as_ref());
        assert_eq!(outcome, *answer, "{frame:02x?}");
    }
    let all = ["turn0", "turn1"].map(|name| Interface::find(name).unwrap());
    let whole = program::relay(&scene.path.host(&all[0], &all, ttl().unwrap()));
    assert!(whole.len() <= INSTRUCTIONS_MAX, "{} instructions", whole.len());
    let mut idle = Vec::new();
    for (at, instruction) in whole.iter().enumerate().filter(|(_, code)| compares(code)) {
        let mut less = whole.clone();
        less[at] = NOTHING;
        let Ok(program) = Program::load("less", &less) else {
            continue;
        };
        let before = scene.path.carried();
        let same = frames
            .iter()
            .zip(&answers)
            .all(|(frame, answer)| differs(&scene, &program, frame, answer).is_none());
        let carried = scene.path.carried();
        // What it counts has two sides.
        let both = carried.packets_to_peers > before.packets_to_peers
            && carried.packets_to_clients > before.packets_to_clients;
        if same && both {
            idle.push((at, *instruction));
        }
    }
    let codes: Vec<_> = idle
        .iter()
        .map(|(_, code)| (code[0], code[4..].to_vec()))
        .collect();
    let known = IDLE.map(|(code, value)| (code, value.to_le_bytes().to_vec()));
    assert_eq!(codes, known, "{idle:?}");
}

/// Comparisons that change nothing a frame here could show, by code and constant: an indication whose last word is full
/// spares a call, and its last word can always be read; peers' data that does not begin like channel data spares a
/// look-up; no frame is long enough that what is put before it were too much; the head of a frame can always be moved
/// here; and a tail that stays where it is spares a call.
const IDLE: [(u8, i32); 6] = [
    (0x15, 0),
    (0x55, 0),
    (0x55, 0x40),
    (0x25, 0xffff),
    (0x55, 0),
    (0x15, 0),
];

fn differs(scene: &Scene, program: &Program, frame: &[u8], answer: &Option<Vec<u8>>) -> Option<()> {
    let once = || {
        let (verdict, sent) = program.run(frame, scene.index).ok()?;
        if verdict.cast_signed() == PASS {
            return (sent != frame).then_some(sent);
        }
        Some(seen(verdict, sent))
    };
    let outcome = match once() {
        // It was time for the long way.
        None if answer.is_some() => once(),
        outcome => outcome,
    };
    (outcome != *answer).then_some(())
}

/// Whether it is a conditional jump.
fn compares(instruction: &[u8; 8]) -> bool {
    let (class, operation) = (instruction[0] & 7, instruction[0] & 0xf0);
    matches!(class, 5 | 6) && !matches!(operation, 0x00 | 0x80 | 0x90)
}
