// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
//! What a frame becomes, and where it goes.

use super::*;

/// What a peer's packet needs in front and behind, in `HEAD` and `TAIL`, and for an indication a transaction's id.
fn frame(asm: &mut Assembler) {
    let [channel, framed] = [asm.label(), asm.label()];
    // Without CAP_PERFMON the kernel lets nobody read what nobody has written, and does not see that nobody will.
    for half in [0, 8] {
        asm.store(B8, R10, ID + half, 0);
    }
    asm.load(B2, R1, R10, KEY + FRAMING);
    asm.jump_if(R1, Ne, 0, framed);
    asm.load(B2, R1, R10, OUT + FRAMING);
    asm.jump_if(R1, Ne, be16(flow::DATA), channel);
    asm.store(B8, R10, HEAD, -INDICATION_BYTES);
    asm.mov(R1, 0);
    asm.alu(Op::Sub, R1, R7);
    asm.alu(Op::And, R1, 3);
    asm.store(B8, R10, TAIL, R1);
    // Nobody answers an indication; its id is only not to be anybody else's.
    for word in [0, 4, 8] {
        asm.call(RANDOM);
        asm.store(B4, R10, ID + word, R0);
    }
    asm.jump(framed);
    asm.place(channel);
    asm.store(B8, R10, HEAD, -CHANNEL_BYTES);
    asm.store(B8, R10, TAIL, 0);
    asm.place(framed);
}

/// Asks for the way; leaves the new IP length in `R7`, the interface in `R8`, addresses in `FIB`.
pub(super) fn route(asm: &mut Assembler, host: &Host, pass: Label) {
    let known = asm.label();
    frame(asm);
    asm.load(B8, R1, R10, HEAD);
    asm.alu(Op::Sub, R7, R1);
    asm.load(B8, R1, R10, TAIL);
    asm.alu(Op::Add, R7, R1);
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

/// Makes the packet what it becomes. Nothing was changed before; nothing can fail once its ends have moved.
pub(super) fn rewrite(asm: &mut Assembler, host: &Host, pass: Label) {
    let [moved, drop, fits] = [asm.label(), asm.label(), asm.label()];
    asm.mov(R1, R6);
    asm.load(B8, R2, R10, HEAD);
    asm.call(MOVE_HEAD);
    asm.jump_if(R0, Ne, 0, pass);
    asm.load(B8, R2, R10, TAIL);
    asm.jump_if(R2, Eq, 0, moved);
    asm.mov(R1, R6);
    asm.call(MOVE_TAIL);
    asm.jump_if(R0, Eq, 0, moved);
    // There is no room behind: the head goes back to where it was, and there is room for that.
    asm.mov(R1, R6);
    asm.mov(R2, 0);
    asm.load(B8, R3, R10, HEAD);
    asm.alu(Op::Sub, R2, R3);
    asm.call(MOVE_HEAD);
    asm.jump_if(R0, Eq, 0, pass);
    asm.jump(drop);
    asm.place(moved);
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
    let [down, channel, end, checked] = [asm.label(), asm.label(), asm.label(), asm.label()];
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
    // The old length, as often.
    asm.load(B8, R1, R10, LENGTH);
    asm.alu(Op::Add, R1, -20);
    asm.swap16(R1);
    asm.alu(Op::Xor, R1, 0xffff);
    asm.alu(Op::Add, R9, R1);
    asm.alu(Op::Add, R9, R1);
    asm.load(B2, R4, R10, KEY + FRAMING);
    asm.jump_if(R4, Eq, 0, down);
    asm.load(B4, R5, R10, GONE);
    asm.not32(R5);
    asm.jump(end);
    asm.place(down);
    asm.load(B2, R4, R10, OUT + FRAMING);
    asm.jump_if(R4, Ne, be16(flow::DATA), channel);
    data_indication(asm, drop);
    asm.jump(end);
    asm.place(channel);
    asm.mov(R1, R2);
    asm.alu(Op::Add, R1, i32::from(PAYLOAD) + CHANNEL_BYTES);
    asm.jump_if(R1, Gt, R3, drop);
    // The channel's header: number, and length of the data.
    header(asm, R7, -(HEADERS_BYTES + CHANNEL_BYTES));
    asm.alu(Op::Or, R5, R4);
    asm.store(B4, R2, PAYLOAD, R5);
    asm.place(end);
    asm.alu(Op::Add, R9, R5);
    fold(asm, R9, R1);
    asm.alu(Op::Xor, R9, 0xffff);
    // Zero would say that there is none (RFC 768).
    asm.jump_if(R9, Ne, 0, checked);
    asm.mov(R9, 0xffff);
    asm.place(checked);
    asm.store(B2, R2, UDP_CHECKSUM, R9);
}

/// A length of 16 bits behind two bytes that are still to come, in `R5`: what is `less` than `length`.
fn header(asm: &mut Assembler, length: Reg, less: i32) {
    asm.mov(R5, length);
    asm.alu(Op::Add, R5, less);
    asm.swap16(R5);
    asm.alu(Op::Lsh, R5, 16);
}

/// Writes a Data indication in front of the data (RFC 8656 §11.6), and adds what is written to `R9`; the last word is left
/// in `R5`.
fn data_indication(asm: &mut Assembler, drop: Label) {
    asm.mov(R1, R2);
    asm.alu(Op::Add, R1, i32::from(PAYLOAD) + INDICATION_BYTES);
    asm.jump_if(R1, Gt, R3, drop);
    let write = |asm: &mut Assembler, at: i16| {
        asm.store(B4, R2, PAYLOAD + at, R5);
        asm.alu(Op::Add, R9, R5);
    };
    header(asm, R7, -(HEADERS_BYTES + STUN_BYTES));
    asm.alu(Op::Or, R5, be16(flow::DATA));
    write(asm, 0);
    for (at, word) in [(STUN_COOKIE, COOKIE), (PEER_HEADER, PEER)] {
        asm.mov(R5, be32(word));
        write(asm, at);
    }
    for word in [0, 4, 8] {
        asm.load(B4, R5, R10, ID + word);
        write(asm, STUN_ID + word);
    }
    // Whose data it is: whom the packet is from.
    asm.load(B2, R5, R10, KEY + FLOW_PORTS);
    asm.alu(Op::Xor, R5, be16((COOKIE >> 16) as u16));
    asm.alu(Op::Lsh, R5, 16);
    asm.alu(Op::Or, R5, be16(V4));
    write(asm, PEER_PORT - 2);
    asm.load(B4, R5, R10, KEY + FROM);
    asm.alu(Op::Xor, R5, be32(COOKIE));
    write(asm, PEER_IP);
    asm.load(B8, R4, R10, LENGTH);
    header(asm, R4, -HEADERS_BYTES);
    asm.alu(Op::Or, R5, be16(DATA_KIND));
    asm.store(B4, R2, PAYLOAD + DATA_HEADER, R5);
}

pub(super) fn count(asm: &mut Assembler, host: &Host) {
    let [up, end] = [asm.label(), asm.label()];
    asm.call(CORE);
    asm.alu(Op::And, R0, CELLS.cast_signed() - 1);
    asm.store(B4, R10, CELL, R0);
    look_up(asm, host.counts, CELL);
    asm.jump_if(R0, Eq, 0, end);
    asm.load(B2, R1, R10, KEY + FRAMING);
    asm.mov(R2, R7);
    asm.jump_if(R1, Ne, 0, up);
    asm.alu(Op::Add, R0, 16);
    asm.load(B8, R2, R10, LENGTH);
    asm.place(up);
    asm.alu(Op::Add, R2, -HEADERS_BYTES);
    asm.mov(R1, 1);
    asm.atomic_add(R0, 0, R1);
    asm.atomic_add(R0, 8, R2);
    asm.place(end);
}

pub(super) fn send(asm: &mut Assembler) {
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
