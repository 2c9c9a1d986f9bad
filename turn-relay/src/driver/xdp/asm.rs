//! An assembler for the kernel's packet machine (RFC 9669), as much of it as is used.
//!
//! The program is put together at start from typed instructions: nothing is compiled by anybody's clang, nothing binary
//! lies in the repository, and what depends on the host (interfaces, keys) is written in as a constant.

/// A register: `R0` is a result, `R1`–`R5` are arguments and lost in a call, `R6`–`R9` are kept,
/// `R10` is the frame, which grows downwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// How many bytes a load or a store moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    B1 = 0x10,
    B2 = 0x08,
    B4 = 0x00,
    B8 = 0x18,
}

/// Arithmetic on 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Add = 0x00,
    Sub = 0x10,
    Mul = 0x20,
    Or = 0x40,
    And = 0x50,
    Lsh = 0x60,
    Rsh = 0x70,
    Xor = 0xa0,
    Mov = 0xb0,
}

/// Comparisons without sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cond {
    Eq = 0x10,
    Gt = 0x20,
    Ge = 0x30,
    Ne = 0x50,
    Lt = 0xa0,
}

/// What an instruction takes beside its register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Reg(Reg),
    /// Extended with its sign to 64 bits.
    Imm(i32),
}

impl From<Reg> for Operand {
    fn from(reg: Reg) -> Self {
        Self::Reg(reg)
    }
}

impl From<i32> for Operand {
    fn from(value: i32) -> Self {
        Self::Imm(value)
    }
}

/// A place in the program that is jumped to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label(usize);

/// A program in the making.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    instructions: Vec<[u8; 8]>,
    /// Where labels stand, once they are placed.
    labels: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
}

const CLASS_LD: u8 = 0x00;
const CLASS_LDX: u8 = 0x01;
const CLASS_ST: u8 = 0x02;
const CLASS_STX: u8 = 0x03;
const CLASS_ALU: u8 = 0x04;
const CLASS_JMP: u8 = 0x05;
const CLASS_JMP32: u8 = 0x06;
const CLASS_ALU64: u8 = 0x07;
const MODE_MEM: u8 = 0x60;
const MODE_ATOMIC: u8 = 0xc0;
/// The operand is a register.
const X: u8 = 0x08;
const TO_BIG_ENDIAN: u8 = 0xd8;
const CALL: u8 = 0x80;
const EXIT: u8 = 0x90;
/// The constant of a wide load is a map's descriptor.
const PSEUDO_MAP: u8 = 1;

impl Assembler {
    /// A label that is placed later.
    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The next instruction is where `label` leads.
    pub(super) fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(self.instructions.len());
    }

    pub(super) fn alu(&mut self, op: Op, to: Reg, by: impl Into<Operand>) {
        match by.into() {
            Operand::Reg(from) => self.push(CLASS_ALU64 | op as u8 | X, to, Some(from), 0, 0),
            Operand::Imm(value) => self.push(CLASS_ALU64 | op as u8, to, None, 0, value),
        }
    }

    pub(super) fn mov(&mut self, to: Reg, from: impl Into<Operand>) {
        self.alu(Op::Mov, to, from);
    }

    /// Flips the lower 32 bits, and makes the upper ones zero.
    pub(super) fn not32(&mut self, reg: Reg) {
        self.push(CLASS_ALU | Op::Xor as u8, reg, None, 0, -1);
    }

    /// The lower 16 bits in network order, and nothing above.
    pub(super) fn swap16(&mut self, reg: Reg) {
        self.push(CLASS_ALU | TO_BIG_ENDIAN, reg, None, 0, 16);
    }

    pub(super) fn load(&mut self, size: Size, to: Reg, from: Reg, at: i16) {
        self.push(CLASS_LDX | MODE_MEM | size as u8, to, Some(from), at, 0);
    }

    pub(super) fn store(&mut self, size: Size, to: Reg, at: i16, from: impl Into<Operand>) {
        match from.into() {
            Operand::Reg(from) => self.push(CLASS_STX | MODE_MEM | size as u8, to, Some(from), at, 0),
            Operand::Imm(value) => self.push(CLASS_ST | MODE_MEM | size as u8, to, None, at, value),
        }
    }

    /// Adds to 8 bytes of memory that other cores may add to as well.
    pub(super) fn atomic_add(&mut self, to: Reg, at: i16, from: Reg) {
        self.push(CLASS_STX | MODE_ATOMIC | Size::B8 as u8, to, Some(from), at, 0);
    }

    pub(super) fn constant(&mut self, to: Reg, value: u64) {
        self.wide(to, 0, value);
    }

    pub(super) fn map(&mut self, to: Reg, descriptor: i32) {
        self.wide(to, PSEUDO_MAP, u64::from(descriptor.cast_unsigned()));
    }

    fn wide(&mut self, to: Reg, kind: u8, value: u64) {
        let [low, high] = [value as u32, (value >> 32) as u32].map(u32::cast_signed);
        let registers = to as u8 | kind << 4;
        self.raw(CLASS_LD | Size::B8 as u8, registers, 0, low);
        self.raw(0, 0, 0, high);
    }

    pub(super) fn jump(&mut self, to: Label) {
        self.jumps.push((self.instructions.len(), to));
        self.raw(CLASS_JMP, 0, 0, 0);
    }

    pub(super) fn jump_if(&mut self, left: Reg, cond: Cond, right: impl Into<Operand>, to: Label) {
        self.branch(CLASS_JMP, left, cond, right.into(), to);
    }

    /// Compares the lower 32 bits only.
    pub(super) fn jump_if32(&mut self, left: Reg, cond: Cond, right: impl Into<Operand>, to: Label) {
        self.branch(CLASS_JMP32, left, cond, right.into(), to);
    }

    fn branch(&mut self, class: u8, left: Reg, cond: Cond, right: Operand, to: Label) {
        self.jumps.push((self.instructions.len(), to));
        match right {
            Operand::Reg(right) => self.push(class | cond as u8 | X, left, Some(right), 0, 0),
            Operand::Imm(value) => self.push(class | cond as u8, left, None, 0, value),
        }
    }

    /// Calls one of the kernel's functions.
    pub(super) fn call(&mut self, function: i32) {
        self.raw(CLASS_JMP | CALL, 0, 0, function);
    }

    /// Ends with what is in `R0`.
    pub(super) fn exit(&mut self) {
        self.raw(CLASS_JMP | EXIT, 0, 0, 0);
    }

    fn push(&mut self, code: u8, to: Reg, from: Option<Reg>, at: i16, value: i32) {
        self.raw(
            code,
            to as u8 | from.map_or(0, |from| (from as u8) << 4),
            at,
            value,
        );
    }

    fn raw(&mut self, code: u8, registers: u8, at: i16, value: i32) {
        let mut bytes = [0; 8];
        bytes[0] = code;
        bytes[1] = registers;
        bytes[2..4].copy_from_slice(&at.to_ne_bytes());
        bytes[4..].copy_from_slice(&value.to_ne_bytes());
        self.instructions.push(bytes);
    }

    /// The program, jumps filled in.
    ///
    /// # Panics
    /// When a label is jumped to and nowhere placed.
    pub(super) fn finish(mut self) -> Vec<[u8; 8]> {
        for (at, label) in self.jumps {
            let target = self.labels[label.0].expect("every label is placed");
            let distance = target as i64 - at as i64 - 1;
            let distance = i16::try_from(distance).expect("a program of a few hundred instructions");
            self.instructions[at][2..4].copy_from_slice(&distance.to_ne_bytes());
        }
        self.instructions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the tables of RFC 9669.
    #[test]
    fn instructions_are_as_the_kernel_reads_them() {
        let mut asm = Assembler::default();
        let end = asm.label();
        asm.mov(Reg::R6, Reg::R1);
        asm.load(Size::B4, Reg::R2, Reg::R6, 4);
        asm.alu(Op::Add, Reg::R2, -8);
        asm.jump_if(Reg::R2, Cond::Gt, Reg::R3, end);
        asm.jump_if32(Reg::R2, Cond::Ne, 7, end);
        asm.store(Size::B2, Reg::R10, -6, Reg::R2);
        asm.store(Size::B8, Reg::R10, -16, 0);
        asm.atomic_add(Reg::R0, 8, Reg::R1);
        asm.swap16(Reg::R4);
        asm.not32(Reg::R4);
        asm.map(Reg::R1, 5);
        asm.constant(Reg::R3, 0x0123_4567_89ab_cdef);
        asm.call(1);
        asm.place(end);
        asm.exit();
        let expected: [[u8; 8]; 16] = [
            [0xbf, 0x16, 0, 0, 0, 0, 0, 0],
            [0x61, 0x62, 4, 0, 0, 0, 0, 0],
            [0x07, 0x02, 0, 0, 0xf8, 0xff, 0xff, 0xff],
            [0x2d, 0x32, 11, 0, 0, 0, 0, 0],
            [0x56, 0x02, 10, 0, 7, 0, 0, 0],
            [0x6b, 0x2a, 0xfa, 0xff, 0, 0, 0, 0],
            [0x7a, 0x0a, 0xf0, 0xff, 0, 0, 0, 0],
            [0xdb, 0x10, 8, 0, 0, 0, 0, 0],
            [0xdc, 0x04, 0, 0, 16, 0, 0, 0],
            [0xa4, 0x04, 0, 0, 0xff, 0xff, 0xff, 0xff],
            [0x18, 0x11, 0, 0, 5, 0, 0, 0],
            [0; 8],
            [0x18, 0x03, 0, 0, 0xef, 0xcd, 0xab, 0x89],
            [0, 0, 0, 0, 0x67, 0x45, 0x23, 0x01],
            [0x85, 0, 0, 0, 1, 0, 0, 0],
            [0x95, 0, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(asm.finish(), expected);
    }
}
