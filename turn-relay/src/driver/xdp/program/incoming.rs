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

/// Leaves the entry of the packet in `R8`.
pub(super) fn find(asm: &mut Assembler, host: &Host, pass: Label) {
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
