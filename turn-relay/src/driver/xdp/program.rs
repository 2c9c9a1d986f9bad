// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
//! The program the kernel runs for every frame that comes in on an interface.
//!
//! It may be used under the GPL as well, because the kernel lets only such programs ask its routing table.
//!
//! It decides nothing. A packet whose exact addresses, ports and channel (or, in an indication, peer) stand in the
//! table, which the server's judgement of that very channel or peer has put there, leaves as the table says; **everything else
//! goes on to the sockets untouched**, and the server answers it as if there were no program: other
//! protocols, IPv6, options, fragments, padded frames and padded channel data, requests, indications that hold anything
//! but a peer's address and then data, unknown channels and peers, entries whose time is over, headers or lengths that do not add up, packets without
//! checksum or with one that hardware was to complete, destinations without route or neighbour, or
//! whose path takes no packet that long, packets that would not fill a frame, and interfaces that were not named.
//!
//! What leaves is what the relay's socket would have sent: a new IP header (DF, no identification, the
//! host's TTL), and a UDP checksum that is the old one adjusted by what was changed, so that damage on
//! the way in is still seen by whoever receives it (RFC 1624).
//!
//! Once in [`LONG_WAY`] a packet of each flow takes the way through the sockets: the kernel
//! sees that its neighbour is still spoken to, and confirms or replaces what it knows of it.

mod incoming;
mod outgoing;

use std::time::Duration;

use super::asm::{Assembler, Cond, Label, Op, Reg, Size};
use super::flow::{self, COOKIE, ENTRY_LONG_WAY, ENTRY_OUT, ENTRY_SEAL, ENTRY_UNTIL, Seal};
use incoming::{find, judge, parse};
use outgoing::{count, rewrite, route, send};

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
const RANDOM: i32 = 7;
const CORE: i32 = 8;
const REDIRECT_TO: i32 = 23;
const MOVE_HEAD: i32 = 44;
const MOVE_TAIL: i32 = 65;
const ROUTE: i32 = 69;
const FRAME_LENGTH: i32 = 188;
const LOAD_BYTES: i32 = 189;

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
/// In front of the data of an indication: its header, the attribute with the peer's address, and the header of DATA.
const INDICATION_BYTES: i32 = 36;
const STUN_BYTES: i32 = 20;

// An indication, from where the payload begins (RFC 8489 §5 and §14.2).
const STUN_COOKIE: i16 = 4;
const STUN_ID: i16 = 8;
const PEER_HEADER: i16 = 20;
const PEER_FAMILY: i16 = 25;
const PEER_PORT: i16 = 26;
const PEER_IP: i16 = 28;
const DATA_HEADER: i16 = 32;
/// Type and length of XOR-PEER-ADDRESS with an IPv4 address, its family, and the type of DATA.
const PEER: u32 = 0x0012_0008;
const V4: u16 = 1;
const DATA_KIND: u16 = 0x0013;
/// Shortest packet that fills a frame (IEEE 802.3: 60 bytes). Sockets' way pads what is shorter; not every driver does.
const IP_BYTES_MIN: i32 = 46;

// The frame of the program: what the packet is, what it becomes, what is asked of the routing table
// (`struct bpf_fib_lookup`, 64 bytes), the sum of what stood around the data and goes, a counter's index, by how much the
// frame's head and tail move forwards, the old IP length, a transaction's id, and the last word of the packet.
const KEY: i16 = -24;
const OUT: i16 = -40;
const FIB: i16 = -104;
const GONE: i16 = -112;
const CELL: i16 = -120;
const HEAD: i16 = -128;
const TAIL: i16 = -136;
const LENGTH: i16 = -144;
const ID: i16 = -160;
const LAST: i16 = -168;
// Inside a flow. The framing is 0 on the peer's side, and only there; behind it stands the peer of an indication.
const FROM: i16 = 0;
const TO: i16 = 4;
const FLOW_PORTS: i16 = 8;
const FRAMING: i16 = 12;
const FLOW_PEER_PORT: i16 = 14;
const FLOW_PEER_IP: i16 = 16;
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

/// Four bytes of a packet as the machine loads them.
const fn be32(value: u32) -> i32 {
    value.to_be().cast_signed()
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

fn look_up(asm: &mut Assembler, map: i32, key: i16) {
    asm.map(R1, map);
    asm.mov(R2, R10);
    asm.alu(Op::Add, R2, i32::from(key));
    asm.call(MAP_LOOKUP);
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
