// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
//! What a frame is, and what the table has about it.

use super::*;

/// Leaves the packet in `R2`, its IP length in `R7`, its UDP checksum in `R9`.
pub(super) fn parse(asm: &mut Assembler, host: &Host, pass: Label) {
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

/// Leaves the entry of the packet in `R8`, and on the client's side what goes of the frame in `GONE`, `HEAD` and `TAIL`.
pub(super) fn find(asm: &mut Assembler, host: &Host, pass: Label) {
    let [channel, plain, found] = [asm.label(), asm.label(), asm.label()];
    for (ip, key) in [(IP_FROM, FROM), (IP_TO, TO), (PORTS, FLOW_PORTS)] {
        asm.load(B4, R4, R2, ip);
        asm.store(B4, R10, KEY + key, R4);
    }
    asm.store(B8, R10, KEY + FLOW_PEER_IP, 0);
    asm.store(B8, R10, LENGTH, R7);
    asm.store(B8, R10, HEAD, CHANNEL_BYTES);
    asm.store(B8, R10, TAIL, 0);
    asm.load(B4, R5, R2, PAYLOAD);
    asm.mov(R4, R5);
    asm.alu(Op::And, R4, 0xffff);
    asm.jump_if(R4, Ne, be16(flow::SEND), channel);
    indication(asm, plain);
    look_up(asm, host.flows, KEY);
    asm.jump_if(R0, Ne, 0, found);
    asm.jump(plain);
    asm.place(channel);
    asm.store(B4, R10, GONE, R5);
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
    asm.store(B4, R10, KEY + FRAMING, R5);
    look_up(asm, host.flows, KEY);
    asm.jump_if(R0, Ne, 0, found);
    // A peer may send what looks like channel data, or like an indication.
    asm.place(plain);
    asm.store(B4, R10, KEY + FRAMING, 0);
    asm.store(B8, R10, KEY + FLOW_PEER_IP, 0);
    look_up(asm, host.flows, KEY);
    asm.jump_if(R0, Eq, 0, pass);
    asm.place(found);
    asm.mov(R8, R0);
}

/// Goes on if the payload, which begins with `R5`, is a Send indication of nothing but an IPv4 peer's address, data, and
/// what fills the last word.
fn indication(asm: &mut Assembler, plain: Label) {
    let summed = asm.label();
    asm.mov(R1, R2);
    asm.alu(Op::Add, R1, i32::from(PAYLOAD) + INDICATION_BYTES);
    asm.jump_if(R1, Gt, R3, plain);
    // The message is as long as the datagram, in whole words (RFC 8489 §5).
    asm.mov(R4, R5);
    asm.alu(Op::Rsh, R4, 16);
    asm.swap16(R4);
    asm.alu(Op::Add, R4, HEADERS_BYTES + STUN_BYTES);
    asm.jump_if(R4, Ne, R7, plain);
    asm.alu(Op::And, R4, 3);
    asm.jump_if(R4, Ne, 0, plain);
    for (at, word) in [(STUN_COOKIE, COOKIE), (PEER_HEADER, PEER)] {
        asm.load(B4, R4, R2, PAYLOAD + at);
        asm.jump_if32(R4, Ne, be32(word), plain);
    }
    // The byte before means nothing (RFC 8489 §14.1).
    asm.load(B1, R4, R2, PAYLOAD + PEER_FAMILY);
    asm.jump_if(R4, Ne, i32::from(V4), plain);
    asm.load(B2, R4, R2, PAYLOAD + DATA_HEADER);
    asm.jump_if(R4, Ne, be16(DATA_KIND), plain);
    // What is left behind the data fills its last word, and is no attribute.
    asm.load(B2, R4, R2, PAYLOAD + DATA_HEADER + 2);
    asm.swap16(R4);
    asm.mov(R5, R7);
    asm.alu(Op::Add, R5, -HEADERS_BYTES - INDICATION_BYTES);
    asm.alu(Op::Sub, R5, R4);
    asm.jump_if(R5, Gt, 3, plain);
    asm.store(B2, R10, KEY + FRAMING, be16(flow::SEND));
    asm.load(B2, R4, R2, PAYLOAD + PEER_PORT);
    asm.store(B2, R10, KEY + FLOW_PEER_PORT, R4);
    asm.load(B4, R4, R2, PAYLOAD + PEER_IP);
    asm.store(B4, R10, KEY + FLOW_PEER_IP, R4);
    asm.store(B8, R10, HEAD, INDICATION_BYTES);
    asm.mov(R4, 0);
    asm.alu(Op::Sub, R4, R5);
    asm.store(B8, R10, TAIL, R4);
    asm.mov(R8, 0);
    for word in 0..INDICATION_BYTES as i16 / 4 {
        asm.load(B4, R4, R2, PAYLOAD + 4 * word);
        asm.alu(Op::Add, R8, R4);
    }
    asm.jump_if(R5, Eq, 0, summed);
    last_word(asm, plain);
    asm.place(summed);
    fold(asm, R8, R4);
    asm.store(B4, R10, GONE, R8);
}

/// Adds the packet's last bytes, as many as `TAIL` says, to `R8`.
fn last_word(asm: &mut Assembler, plain: Label) {
    asm.mov(R1, R6);
    asm.mov(R2, R7);
    asm.alu(Op::Add, R2, ETHERNET_BYTES - 4);
    asm.mov(R3, R10);
    asm.alu(Op::Add, R3, i32::from(LAST));
    asm.mov(R4, 4);
    asm.call(LOAD_BYTES);
    asm.jump_if(R0, Ne, 0, plain);
    asm.load(B8, R5, R10, TAIL);
    asm.alu(Op::Lsh, R5, 3);
    asm.alu(Op::Add, R5, 32);
    asm.load(B4, R4, R10, LAST);
    // The others, which stay, are shifted out.
    asm.alu(Op::Rsh, R4, R5);
    asm.alu(Op::Lsh, R4, R5);
    asm.alu(Op::Add, R8, R4);
}

/// Copies the entry, and goes on only if it is whole, alive, and it is not time for the long way.
pub(super) fn judge(asm: &mut Assembler, host: &Host, pass: Label) {
    let fast = asm.label();
    asm.call(TIME_NS);
    asm.load(B8, R1, R8, ENTRY_UNTIL);
    asm.jump_if(R0, Ge, R1, pass);
    asm.load(B8, R2, R8, ENTRY_OUT);
    asm.load(B8, R3, R8, ENTRY_OUT + 8);
    asm.store(B8, R10, OUT, R2);
    asm.store(B8, R10, OUT + 8, R3);
    let [k0, k1, k2, o0, o1, until] = host.seal.0;
    let multiply = |asm: &mut Assembler, reg, factor| {
        asm.constant(R4, factor);
        asm.alu(Op::Mul, reg, R4);
    };
    multiply(asm, R2, o0);
    multiply(asm, R3, o1);
    multiply(asm, R1, until);
    asm.alu(Op::Xor, R2, R3);
    asm.alu(Op::Xor, R2, R1);
    for (at, factor) in [(KEY, k0), (KEY + 8, k1), (KEY + 16, k2)] {
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
