//! The bytes of a log segment. Pure: slices in, values out, never a panic.
//!
//! ```text
//! segment = header block* zero*
//! header  = "MMLOG\0\0\1" sequence:u64 node:u64 incarnation:u64 crc:u32
//! block   = "MMBK" length:u32 crc:u32 record*                  (crc of length and records)
//! record  = length:u32 crc:u32 kind:u8 payload                 (crc of kind and payload)
//! ```
//!
//! Integers are little-endian, checksums CRC32C. A block is what one write and
//! one fsync carry, and the next is written only after that fsync: so a crash
//! can damage the last block and nothing before it. That is what tells a torn
//! tail (the end of the file, repaired) from rot (a damaged block with a
//! whole one after it, refused).
//!
//! The last segment ends in zeros that later blocks overwrite: an fsync that does not
//! change the file's length need not wait for the file system's journal. No block begins
//! with a zero, so nothing but zeros after a block is a clean end; a segment that is
//! followed by another has been cut to its blocks and has none.

use crate::types::{Entry, LogId, Vote};

/// First bytes of a segment; the last of them is the format's version.
const MAGIC_SEGMENT: &[u8; 8] = b"MMLOG\0\0\x01";
/// First bytes of a block.
const MAGIC_BLOCK: &[u8; 4] = b"MMBK";
/// Bytes before a segment's first block.
pub(crate) const HEADER_BYTES: usize = 36;
/// Bytes of a block before its records.
pub(crate) const BLOCK_HEADER_BYTES: usize = 12;
/// Bytes of a record before its body.
const RECORD_HEADER_BYTES: usize = 8;
/// Largest block: a batch is closed at [`super::writer::GROUP_BYTES_MAX`], and
/// one entry (bounded by the handle) may overshoot it.
pub(crate) const BLOCK_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One thing the log remembers, in the order it happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record {
    /// An entry appended.
    Entry(Entry),
    /// The vote, from now on.
    Vote(Vote),
    /// Known to be committed up to here.
    Committed(LogId),
    /// Every entry after this index (after nothing: all) is void.
    Truncated(Option<LogId>),
    /// Every entry up to here is in a snapshot and forgotten.
    Purged(LogId),
}

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// They end too early.
    #[error("cut short")]
    Short,
    /// They begin with something else.
    #[error("not a record of this log")]
    Foreign,
    /// A length that cannot be.
    #[error("impossible length")]
    Length,
    /// The checksum does not match.
    #[error("checksum mismatch")]
    Checksum,
    /// The checksum matches but the contents make no sense to this build.
    #[error("unreadable contents")]
    Contents,
}

const ENTRY: u8 = 1;
const VOTE: u8 = 2;
const COMMITTED: u8 = 3;
const TRUNCATED: u8 = 4;
const PURGED: u8 = 5;

/// Appends one record's bytes to `out`.
pub(crate) fn write_record(record: &Record, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
    let body = std::mem::take(out);
    let invariant = "plain data always encodes into memory";
    let mut body = match record {
        Record::Entry(entry) => encode(ENTRY, entry, body).expect(invariant),
        Record::Vote(vote) => encode(VOTE, vote, body).expect(invariant),
        Record::Committed(id) => encode(COMMITTED, id, body).expect(invariant),
        Record::Truncated(id) => encode(TRUNCATED, id, body).expect(invariant),
        Record::Purged(id) => encode(PURGED, id, body).expect(invariant),
    };
    let (length, crc) = {
        let written = &body[start + RECORD_HEADER_BYTES..];
        (
            u32::try_from(written.len()).expect("an entry is bounded far below 4 GiB"),
            crc32c::crc32c(written),
        )
    };
    body[start..start + 4].copy_from_slice(&length.to_le_bytes());
    body[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    *out = body;
}

fn encode<T: serde::Serialize>(kind: u8, value: &T, mut out: Vec<u8>) -> Result<Vec<u8>, postcard::Error> {
    out.push(kind);
    postcard::to_extend(value, out)
}

/// Reads the record at the start of `bytes`; answers it and how many bytes it took.
pub(crate) fn parse_record(bytes: &[u8]) -> Result<(Record, usize), Damage> {
    let (length, rest) = split_u32(bytes)?;
    let (crc, rest) = split_u32(rest)?;
    let length = length as usize;
    if length == 0 || length > BLOCK_BYTES_MAX {
        return Err(Damage::Length);
    }
    let body = rest.get(..length).ok_or(Damage::Short)?;
    if crc32c::crc32c(body) != crc {
        return Err(Damage::Checksum);
    }
    let (kind, payload) = (body[0], &body[1..]);
    let record = match kind {
        ENTRY => Record::Entry(decode(payload)?),
        VOTE => Record::Vote(decode(payload)?),
        COMMITTED => Record::Committed(decode(payload)?),
        TRUNCATED => Record::Truncated(decode(payload)?),
        PURGED => Record::Purged(decode(payload)?),
        _ => return Err(Damage::Contents),
    };
    Ok((record, RECORD_HEADER_BYTES + length))
}

fn decode<T: serde::de::DeserializeOwned>(payload: &[u8]) -> Result<T, Damage> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        _ => Err(Damage::Contents),
    }
}

/// An empty block, to which records are appended before [`finish_block`].
pub(crate) fn begin_block() -> Vec<u8> {
    let mut block = Vec::with_capacity(4096);
    block.extend_from_slice(MAGIC_BLOCK);
    block.extend_from_slice(&[0; 8]);
    block
}

/// Fills in the length and checksum of a block from [`begin_block`].
pub(crate) fn finish_block(block: &mut [u8]) {
    let length = u32::try_from(block.len() - BLOCK_HEADER_BYTES).expect("a block is bounded far below 4 GiB");
    block[4..8].copy_from_slice(&length.to_le_bytes());
    let crc = block_crc(length, &block[BLOCK_HEADER_BYTES..]);
    block[8..12].copy_from_slice(&crc.to_le_bytes());
}

fn block_crc(length: u32, records: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length.to_le_bytes()), records)
}

/// Reads the block at the start of `bytes`; answers its records and how many bytes it took.
pub(crate) fn parse_block(bytes: &[u8]) -> Result<(Vec<Record>, usize), Damage> {
    let records = block_body(bytes)?;
    let taken = BLOCK_HEADER_BYTES + records.len();
    let mut found = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        let (record, length) = parse_record(rest)?;
        found.push(record);
        rest = &rest[length..];
    }
    Ok((found, taken))
}

fn block_body(bytes: &[u8]) -> Result<&[u8], Damage> {
    let magic = bytes.get(..4).ok_or(Damage::Short)?;
    if magic != MAGIC_BLOCK {
        return Err(Damage::Foreign);
    }
    let (length, rest) = split_u32(&bytes[4..])?;
    let (crc, rest) = split_u32(rest)?;
    if length as usize > BLOCK_BYTES_MAX {
        return Err(Damage::Length);
    }
    let records = rest.get(..length as usize).ok_or(Damage::Short)?;
    if block_crc(length, records) == crc {
        Ok(records)
    } else {
        Err(Damage::Checksum)
    }
}

/// Whether a whole block starts anywhere in `bytes`.
pub(crate) fn holds_block(bytes: &[u8]) -> bool {
    (0..bytes.len().saturating_sub(BLOCK_HEADER_BYTES))
        .any(|start| bytes[start..].starts_with(MAGIC_BLOCK) && block_body(&bytes[start..]).is_ok())
}

/// Whether `bytes` are room for blocks to come, and nothing else.
pub(crate) fn is_room(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Its place among the segments.
    pub(crate) sequence: u64,
    /// Whose log it is.
    pub(crate) node: u64,
    /// Drawn when the log was made: a log that was lost and begun anew differs.
    pub(crate) incarnation: u64,
}

/// A header's bytes.
pub(crate) fn write_header(header: Header) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC_SEGMENT);
    bytes[8..16].copy_from_slice(&header.sequence.to_le_bytes());
    bytes[16..24].copy_from_slice(&header.node.to_le_bytes());
    bytes[24..32].copy_from_slice(&header.incarnation.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..32]);
    bytes[32..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Reads the header at the start of a segment.
pub(crate) fn parse_header(bytes: &[u8]) -> Result<Header, Damage> {
    let header = bytes.get(..HEADER_BYTES).ok_or(Damage::Short)?;
    if &header[..8] != MAGIC_SEGMENT {
        return Err(Damage::Foreign);
    }
    let (crc, _) = split_u32(&header[32..])?;
    if crc32c::crc32c(&header[..32]) != crc {
        return Err(Damage::Checksum);
    }
    let (sequence, rest) = split_u64(&header[8..])?;
    let (node, rest) = split_u64(rest)?;
    let (incarnation, _) = split_u64(rest)?;
    Ok(Header {
        sequence,
        node,
        incarnation,
    })
}

fn split_u64(bytes: &[u8]) -> Result<(u64, &[u8]), Damage> {
    let (head, rest) = bytes.split_first_chunk::<8>().ok_or(Damage::Short)?;
    Ok((u64::from_le_bytes(*head), rest))
}

fn split_u32(bytes: &[u8]) -> Result<(u32, &[u8]), Damage> {
    let (head, rest) = bytes.split_first_chunk::<4>().ok_or(Damage::Short)?;
    Ok((u32::from_le_bytes(*head), rest))
}
