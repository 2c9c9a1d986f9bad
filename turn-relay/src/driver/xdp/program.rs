// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
//! The program the kernel runs for every frame that comes in on an interface.
//!
//! It may be used under the GPL as well, because the kernel lets only such programs ask its routing table.
//!
//! It decides nothing. A packet whose exact addresses, ports and channel stand in the table, which the
//! server's judgement of that very channel has put there, leaves as the table says; **everything else
//! goes on to the sockets untouched**, and the server answers it as if there were no program: other
//! protocols, IPv6, options, fragments, padded frames and padded channel data, requests, unknown
//! channels, entries whose time is over, headers or lengths that do not add up, packets without
//! checksum or with one that hardware was to complete, destinations without route or neighbour, or
//! whose path takes no packet that long, packets that would not fill a frame, and interfaces that were not named.
//!
//! What leaves is what the relay's socket would have sent: a new IP header (DF, no identification, the
//! host's TTL), and a UDP checksum that is the old one adjusted by what was changed, so that damage on
//! the way in is still seen by whoever receives it (RFC 1624).
//!
//! Once in [`LONG_WAY`] a packet of each flow takes the way through the sockets: the kernel
//! sees that its neighbour is still spoken to, and confirms or replaces what it knows of it.

use std::time::Duration;

use super::asm::{Assembler, Cond, Label, Op, Reg, Size};
use super::flow::{ENTRY_LONG_WAY, ENTRY_OUT, ENTRY_SEAL, ENTRY_UNTIL, Seal};
use Cond::{Eq, Ge, Gt, Lt, Ne};
use Reg::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10};
use Size::{B1, B2, B4, B8};

/// How often a packet takes the long way. Well below the half minute after which Linux begins to doubt a
/// neighbour it has not heard of, and rare: packets behind the one may overtake it.
pub(super) const LONG_WAY: Duration = Duration::from_secs(10);
/// Cells of the counters: cores share one only where there are more of them.
pub(super) const CELLS: u32 = 64;
/// Packets and bytes to peers, packets and bytes to clients.
pub(super) const CELL_BYTES: usize = 32;

/// What is written into the program.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// Descriptors of the maps.
    pub(super) flows: i32,
    pub(super) counts: i32,
    pub(super) seal: Seal,
    /// Of the interface it will stand on: what is for another station is not for us.
    pub(super) mac: [u8; 6],
    /// Interfaces it may send on.
    pub(super) interfaces: Vec<u32>,
    /// As the host's sockets send.
    pub(super) ttl: u8,
}

/// Verdicts (`enum xdp_action`).
pub(super) const DROP: i32 = 1;
pub(super) const PASS: i32 = 2;
pub(super) const TX: i32 = 3;
#[cfg(test)]
pub(super) const REDIRECT: u32 = 4;

// The kernel's functions (`enum bpf_func_id`).
const MAP_LOOKUP: i32 = 1;
const TIME_NS: i32 = 5;
const CORE: i32 = 8;
const REDIRECT_TO: i32 = 23;
const MOVE_HEAD: i32 = 44;
const ROUTE: i32 = 69;
const FRAME_LENGTH: i32 = 188;

// The context (`struct xdp_md`).
const DATA: i16 = 0;
const DATA_END: i16 = 4;
const INGRESS: i16 = 12;

// A frame: Ethernet, IPv4 without options, UDP.
const ETHERTYPE: i16 = 12;
const IP: i16 = 14;
const IP_LENGTH: i16 = 16;
const IP_ID: i16 = 18;
const IP_FRAGMENT: i16 = 20;
const IP_TTL: i16 = 22;
const IP_PROTOCOL: i16 = 23;
const IP_CHECKSUM: i16 = 24;
const IP_FROM: i16 = 26;
const IP_TO: i16 = 30;
const PORTS: i16 = 34;
const UDP_LENGTH: i16 = 38;
const UDP_CHECKSUM: i16 = 40;
const PAYLOAD: i16 = 42;

const ETHERNET_BYTES: i32 = 14;
const HEADERS_BYTES: i32 = 28;
const CHANNEL_BYTES: i32 = 4;
/// Shortest packet that fills a frame (IEEE 802.3: 60 bytes). Sockets' way pads what is shorter; not every driver does.
const IP_BYTES_MIN: i32 = 46;

// The frame of the program: what the packet is, what it becomes, what is asked of the routing table
// (`struct bpf_fib_lookup`, 64 bytes), the first word of the data, and a counter's index.
const KEY: i16 = -16;
const OUT: i16 = -32;
const FIB: i16 = -96;
const WORD: i16 = -104;
const CELL: i16 = -112;
// Inside a flow.
const FROM: i16 = 0;
const TO: i16 = 4;
const FLOW_PORTS: i16 = 8;
const CHANNEL: i16 = 12;
// Inside `struct bpf_fib_lookup`.
const FIB_FAMILY: i16 = 0;
const FIB_PROTOCOL: i16 = 1;
const FIB_PORTS: i16 = 2;
const FIB_LENGTH: i16 = 6;
const FIB_INTERFACE: i16 = 8;
const FIB_FROM: i16 = 16;
const FIB_TO: i16 = 32;
const FIB_OWN_MAC: i16 = 52;
const FIB_NEXT_MAC: i16 = 58;
const FIB_BYTES: i32 = 64;

const FAMILY_V4: i32 = 2;
const UDP: u8 = 17;
/// The loopback interface of every network namespace. Routes are asked for as if from there, which is how
/// the kernel asks for what its own sockets send.
const LOOPBACK: i32 = 1;

/// Two bytes of a packet as the machine loads them.
const fn be16(value: u16) -> i32 {
    u16::from_ne_bytes(value.to_be_bytes()) as i32
}

/// The program for one interface.
pub(super) fn relay(host: &Host) -> Vec<[u8; 8]> {
    let mut asm = Assembler::default();
    let pass = asm.label();
    asm.mov(R6, R1);
    parse(&mut asm, host, pass);
    find(&mut asm, host, pass);
    judge(&mut asm, host, pass);
    route(&mut asm, host, pass);
    rewrite(&mut asm, host, pass);
    count(&mut asm, host);
    send(&mut asm);
    asm.place(pass);
    verdict(&mut asm, PASS);
    asm.finish()
}

fn verdict(asm: &mut Assembler, verdict: i32) {
    asm.mov(R0, verdict);
    asm.exit();
}

/// Sums up to 2^36 come down to their 16 bits (RFC 1071). `spare` is lost.
fn fold(asm: &mut Assembler, sum: Reg, spare: Reg) {
    for _ in 0..3 {
        asm.mov(spare, sum);
        asm.alu(Op::Rsh, spare, 16);
        asm.alu(Op::And, sum, 0xffff);
        asm.alu(Op::Add, sum, spare);
    }
}

/// Leaves the packet in `R2`, its IP length in `R7`, its UDP checksum in `R9`.
fn parse(asm: &mut Assembler, host: &Host, pass: Label) {
    // The length is asked for: to add to a packet's address what was read from the packet takes one more capability.
    asm.mov(R1, R6);
    asm.call(FRAME_LENGTH);
    asm.alu(Op::Add, R0, -ETHERNET_BYTES);
    asm.load(B4, R2, R6, DATA);
    asm.load(B4, R3, R6, DATA_END);
    asm.mov(R1, R2);
    asm.alu(Op::Add, R1, i32::from(PAYLOAD) + CHANNEL_BYTES);
    asm.jump_if(R1, Gt, R3, pass);
    let [m0, m1, m2, m3, m4, m5] = host.mac;
    asm.load(B4, R4, R2, 0);
    asm.jump_if32(R4, Ne, i32::from_ne_bytes([m0, m1, m2, m3]), pass);
    asm.load(B2, R4, R2, 4);
    asm.jump_if(R4, Ne, i32::from(u16::from_ne_bytes([m4, m5])), pass);
    asm.load(B2, R4, R2, ETHERTYPE);
    asm.jump_if(R4, Ne, be16(0x0800), pass);
    asm.load(B1, R4, R2, IP);
    asm.jump_if(R4, Ne, 0x45, pass);
    asm.load(B1, R4, R2, IP_PROTOCOL);
    asm.jump_if(R4, Ne, i32::from(UDP), pass);
    // Neither more fragments, nor an offset, nor the bit that has to be zero: DF at most.
    asm.load(B2, R4, R2, IP_FRAGMENT);
    asm.alu(Op::And, R4, be16(!0x4000));
    asm.jump_if(R4, Ne, 0, pass);
    asm.load(B2, R7, R2, IP_LENGTH);
    asm.swap16(R7);
    // Damaged headers must not be sent on with a checksum that says they are sound.
    asm.mov(R4, 0);
    for at in [IP, IP_ID, IP_TTL, IP_FROM, IP_TO] {
        asm.load(B4, R5, R2, at);
        asm.alu(Op::Add, R4, R5);
    }
    fold(asm, R4, R5);
    asm.jump_if(R4, Ne, 0xffff, pass);
    // The frame ends where the packet does, which is therefore long enough, too.
    asm.jump_if(R7, Ne, R0, pass);
    asm.load(B2, R5, R2, UDP_LENGTH);
    asm.swap16(R5);
    asm.alu(Op::Add, R5, 20);
    asm.jump_if(R5, Ne, R7, pass);
    asm.load(B2, R9, R2, UDP_CHECKSUM);
    asm.jump_if(R9, Eq, 0, pass);
    // A checksum that is only the sum of the pseudo header was left for hardware to complete, and none has.
    asm.load(B4, R4, R2, IP_FROM);
    asm.load(B4, R5, R2, IP_TO);
    asm.alu(Op::Add, R4, R5);
    asm.load(B2, R5, R2, UDP_LENGTH);
    asm.alu(Op::Add, R4, R5);
    asm.alu(Op::Add, R4, be16(UDP as u16));
    fold(asm, R4, R5);
    asm.jump_if(R4, Eq, R9, pass);
}

/// Leaves the entry of the packet in `R8`.
fn find(asm: &mut Assembler, host: &Host, pass: Label) {
    let [plain, found] = [asm.label(), asm.label()];
    asm.load(B4, R4, R2, IP_FROM);
    asm.store(B4, R10, KEY + FROM, R4);
    asm.load(B4, R4, R2, IP_TO);
    asm.store(B4, R10, KEY + TO, R4);
    asm.load(B4, R4, R2, PORTS);
    asm.store(B4, R10, KEY + FLOW_PORTS, R4);
    asm.load(B4, R5, R2, PAYLOAD);
    asm.store(B4, R10, WORD, R5);
    // Channel data begins with the bits 01 (RFC 8656 §12); its length has to be the datagram's.
    asm.mov(R4, R5);
    asm.alu(Op::And, R4, 0xc0);
    asm.jump_if(R4, Ne, 0x40, plain);
    asm.mov(R4, R5);
    asm.alu(Op::Rsh, R4, 16);
    asm.swap16(R4);
    asm.alu(Op::Add, R4, HEADERS_BYTES + CHANNEL_BYTES);
    asm.jump_if(R4, Ne, R7, plain);
    asm.alu(Op::And, R5, 0xffff);
    asm.store(B4, R10, KEY + CHANNEL, R5);
    look_up(asm, host.flows, KEY);
    asm.jump_if(R0, Ne, 0, found);
    // A peer may send what looks like channel data.
    asm.place(plain);
    asm.store(B4, R10, KEY + CHANNEL, 0);
    look_up(asm, host.flows, KEY);
    asm.jump_if(R0, Eq, 0, pass);
    asm.place(found);
    asm.mov(R8, R0);
}

fn look_up(asm: &mut Assembler, map: i32, key: i16) {
    asm.map(R1, map);
    asm.mov(R2, R10);
    asm.alu(Op::Add, R2, i32::from(key));
    asm.call(MAP_LOOKUP);
}

/// Copies the entry, and goes on only if it is whole, alive, and it is not time for the long way.
fn judge(asm: &mut Assembler, host: &Host, pass: Label) {
    let fast = asm.label();
    asm.call(TIME_NS);
    asm.load(B8, R1, R8, ENTRY_UNTIL);
    asm.jump_if(R0, Ge, R1, pass);
    asm.load(B8, R2, R8, ENTRY_OUT);
    asm.load(B8, R3, R8, ENTRY_OUT + 8);
    asm.store(B8, R10, OUT, R2);
    asm.store(B8, R10, OUT + 8, R3);
    let [k0, k1, o0, o1, until] = host.seal.0;
    let multiply = |asm: &mut Assembler, reg, factor| {
        asm.constant(R4, factor);
        asm.alu(Op::Mul, reg, R4);
    };
    multiply(asm, R2, o0);
    multiply(asm, R3, o1);
    multiply(asm, R1, until);
    asm.alu(Op::Xor, R2, R3);
    asm.alu(Op::Xor, R2, R1);
    for (at, factor) in [(KEY, k0), (KEY + 8, k1)] {
        asm.load(B8, R3, R10, at);
        multiply(asm, R3, factor);
        asm.alu(Op::Xor, R2, R3);
    }
    asm.load(B8, R3, R8, ENTRY_SEAL);
    asm.jump_if(R2, Ne, R3, pass);
    asm.load(B8, R1, R8, ENTRY_LONG_WAY);
    asm.jump_if(R0, Lt, R1, fast);
    asm.constant(R1, u64::try_from(LONG_WAY.as_nanos()).unwrap_or(u64::MAX));
    asm.alu(Op::Add, R0, R1);
    asm.store(B8, R8, ENTRY_LONG_WAY, R0);
    asm.jump(pass);
    asm.place(fast);
}

/// Asks for the way; leaves the new IP length in `R7`, the interface in `R8`, addresses in `FIB`.
fn route(asm: &mut Assembler, host: &Host, pass: Label) {
    let [up, long, known] = [asm.label(), asm.label(), asm.label()];
    asm.load(B2, R1, R10, KEY + CHANNEL);
    asm.jump_if(R1, Ne, 0, up);
    asm.alu(Op::Add, R7, CHANNEL_BYTES);
    asm.jump(long);
    asm.place(up);
    asm.alu(Op::Add, R7, -CHANNEL_BYTES);
    asm.place(long);
    // 16 bits hold the length of any packet.
    asm.jump_if(R7, Gt, 0xffff, pass);
    asm.jump_if(R7, Lt, IP_BYTES_MIN, pass);
    for at in 0..8 {
        asm.store(B8, R10, FIB + 8 * at, 0);
    }
    asm.store(B1, R10, FIB + FIB_FAMILY, FAMILY_V4);
    asm.store(B1, R10, FIB + FIB_PROTOCOL, i32::from(UDP));
    for half in [0, 2] {
        asm.load(B2, R1, R10, OUT + FLOW_PORTS + half);
        asm.store(B2, R10, FIB + FIB_PORTS + half, R1);
    }
    asm.store(B2, R10, FIB + FIB_LENGTH, R7);
    asm.store(B4, R10, FIB + FIB_INTERFACE, LOOPBACK);
    for (out, fib) in [(FROM, FIB_FROM), (TO, FIB_TO)] {
        asm.load(B4, R1, R10, OUT + out);
        asm.store(B4, R10, FIB + fib, R1);
    }
    asm.mov(R1, R6);
    asm.mov(R2, R10);
    asm.alu(Op::Add, R2, i32::from(FIB));
    asm.mov(R3, FIB_BYTES);
    asm.mov(R4, 0);
    asm.call(ROUTE);
    asm.jump_if(R0, Ne, 0, pass);
    asm.load(B4, R8, R10, FIB + FIB_INTERFACE);
    for interface in &host.interfaces {
        asm.jump_if32(R8, Eq, interface.cast_signed(), known);
    }
    asm.jump(pass);
    asm.place(known);
}

/// Makes the packet what it becomes. Nothing was changed before; nothing can fail once its head has moved.
fn rewrite(asm: &mut Assembler, host: &Host, pass: Label) {
    let [move_head, drop, fits] = [asm.label(), asm.label(), asm.label()];
    asm.load(B2, R1, R10, KEY + CHANNEL);
    asm.mov(R2, -CHANNEL_BYTES);
    asm.jump_if(R1, Eq, 0, move_head);
    asm.mov(R2, CHANNEL_BYTES);
    asm.place(move_head);
    asm.mov(R1, R6);
    asm.call(MOVE_HEAD);
    asm.jump_if(R0, Ne, 0, pass);
    asm.load(B4, R2, R6, DATA);
    asm.load(B4, R3, R6, DATA_END);
    asm.mov(R1, R2);
    asm.alu(Op::Add, R1, i32::from(PAYLOAD));
    asm.jump_if(R1, Gt, R3, drop);
    rewrite_link(asm);
    rewrite_ip(asm, host.ttl);
    rewrite_udp(asm, drop);
    asm.jump(fits);
    // It was long enough before; the kernel's verifier wants to be told what to do if not.
    asm.place(drop);
    verdict(asm, DROP);
    asm.place(fits);
}

fn rewrite_link(asm: &mut Assembler) {
    for (fib, frame) in [(FIB_NEXT_MAC, 0), (FIB_OWN_MAC, 6)] {
        // The stack is read in steps that it is aligned to.
        for at in [0, 2, 4] {
            asm.load(B2, R1, R10, FIB + fib + at);
            asm.store(B2, R2, frame + at, R1);
        }
    }
    asm.store(B2, R2, ETHERTYPE, be16(0x0800));
}

fn rewrite_ip(asm: &mut Assembler, ttl: u8) {
    let version = be16(0x4500);
    let dont_fragment = be16(0x4000);
    let ttl = be16(u16::from_be_bytes([ttl, UDP]));
    asm.store(B2, R2, IP, version);
    asm.mov(R1, R7);
    asm.swap16(R1);
    asm.store(B2, R2, IP_LENGTH, R1);
    asm.store(B2, R2, IP_ID, 0);
    asm.store(B2, R2, IP_FRAGMENT, dont_fragment);
    asm.store(B2, R2, IP_TTL, ttl);
    for (out, ip) in [(FROM, IP_FROM), (TO, IP_TO)] {
        asm.load(B4, R4, R10, OUT + out);
        asm.store(B4, R2, ip, R4);
        asm.alu(Op::Add, R1, R4);
    }
    asm.alu(Op::Add, R1, version + dont_fragment + ttl);
    fold(asm, R1, R4);
    asm.alu(Op::Xor, R1, 0xffff);
    asm.store(B2, R2, IP_CHECKSUM, R1);
}

/// RFC 1624: the sum of what was there goes out of the checksum, that of what is there goes in. Both times the data
/// begins at an even place, so that what is not touched counts the same.
fn rewrite_udp(asm: &mut Assembler, drop: Label) {
    let [down, end, checked] = [asm.label(), asm.label(), asm.label()];
    asm.alu(Op::Xor, R9, 0xffff);
    for at in [FROM, TO, FLOW_PORTS] {
        asm.load(B4, R1, R10, KEY + at);
        asm.not32(R1);
        asm.alu(Op::Add, R9, R1);
        asm.load(B4, R1, R10, OUT + at);
        asm.alu(Op::Add, R9, R1);
    }
    // The ports were the last of these.
    asm.store(B4, R2, PORTS, R1);
    // The length counts twice: in the header, and in the pseudo header.
    asm.mov(R1, R7);
    asm.alu(Op::Add, R1, -20);
    asm.swap16(R1);
    asm.store(B2, R2, UDP_LENGTH, R1);
    asm.alu(Op::Add, R9, R1);
    asm.alu(Op::Add, R9, R1);
    asm.load(B2, R4, R10, KEY + CHANNEL);
    asm.mov(R1, R7);
    asm.jump_if(R4, Eq, 0, down);
    asm.alu(Op::Add, R1, CHANNEL_BYTES - 20);
    asm.load(B4, R5, R10, WORD);
    asm.not32(R5);
    asm.jump(end);
    asm.place(down);
    asm.mov(R4, R2);
    asm.alu(Op::Add, R4, i32::from(PAYLOAD) + CHANNEL_BYTES);
    asm.jump_if(R4, Gt, R3, drop);
    // The channel's header: number, and length of the data.
    asm.mov(R5, R7);
    asm.alu(Op::Add, R5, -(HEADERS_BYTES + CHANNEL_BYTES));
    asm.swap16(R5);
    asm.alu(Op::Lsh, R5, 16);
    asm.load(B2, R4, R10, OUT + CHANNEL);
    asm.alu(Op::Or, R5, R4);
    asm.store(B4, R2, PAYLOAD, R5);
    asm.alu(Op::Add, R1, -CHANNEL_BYTES - 20);
    asm.place(end);
    asm.alu(Op::Add, R9, R5);
    // The old length, as often.
    asm.swap16(R1);
    asm.alu(Op::Xor, R1, 0xffff);
    asm.alu(Op::Add, R9, R1);
    asm.alu(Op::Add, R9, R1);
    fold(asm, R9, R1);
    asm.alu(Op::Xor, R9, 0xffff);
    // Zero would say that there is none (RFC 768).
    asm.jump_if(R9, Ne, 0, checked);
    asm.mov(R9, 0xffff);
    asm.place(checked);
    asm.store(B2, R2, UDP_CHECKSUM, R9);
}

fn count(asm: &mut Assembler, host: &Host) {
    let [up, add, end] = [asm.label(), asm.label(), asm.label()];
    asm.call(CORE);
    asm.alu(Op::And, R0, CELLS.cast_signed() - 1);
    asm.store(B4, R10, CELL, R0);
    look_up(asm, host.counts, CELL);
    asm.jump_if(R0, Eq, 0, end);
    asm.load(B2, R1, R10, KEY + CHANNEL);
    asm.mov(R2, R7);
    asm.jump_if(R1, Ne, 0, up);
    asm.alu(Op::Add, R0, 16);
    asm.alu(Op::Add, R2, -CHANNEL_BYTES);
    asm.place(up);
    asm.alu(Op::Add, R2, -HEADERS_BYTES);
    asm.jump(add);
    asm.place(add);
    asm.mov(R1, 1);
    asm.atomic_add(R0, 0, R1);
    asm.atomic_add(R0, 8, R2);
    asm.place(end);
}

fn send(asm: &mut Assembler) {
    let other = asm.label();
    asm.load(B4, R1, R6, INGRESS);
    asm.jump_if32(R8, Ne, R1, other);
    verdict(asm, TX);
    asm.place(other);
    asm.mov(R1, R8);
    asm.mov(R2, 0);
    asm.call(REDIRECT_TO);
    asm.exit();
}

/// A program that lets everything through.
pub(super) fn pass() -> Vec<[u8; 8]> {
    let mut asm = Assembler::default();
    verdict(&mut asm, PASS);
    asm.finish()
}

/// A program that answers with what the kernel says to a route asked for as [`relay`] asks: 5
/// (`BPF_FIB_LKUP_RET_FWD_DISABLED`) where it lets no program ask.
pub(super) fn probe() -> Vec<[u8; 8]> {
    let mut asm = Assembler::default();
    for at in 0..8 {
        asm.store(B8, R10, FIB + 8 * at, 0);
    }
    asm.store(B1, R10, FIB + FIB_FAMILY, FAMILY_V4);
    asm.store(B4, R10, FIB + FIB_INTERFACE, LOOPBACK);
    asm.mov(R2, R10);
    asm.alu(Op::Add, R2, i32::from(FIB));
    asm.mov(R3, FIB_BYTES);
    asm.mov(R4, 0);
    asm.call(ROUTE);
    asm.exit();
    asm.finish()
}
