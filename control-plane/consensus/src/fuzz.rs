//! What the fuzzer drives: bytes in, a panic if a promise is broken.
//!
//! Compiled for tests and with `--cfg fuzzing` only.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use medmesh_wire::consensus::RaftMessage;
use openraft::EntryPayload;
use openraft::entry::RaftEntry as _;
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use openraft::vote::RaftLeaderId as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::LogError;
use crate::log::record::{self, Header, Record};
use crate::log::replay::{self, Contents, segment_path};
use crate::network::{self, SnapshotHeader};
use crate::snapshot;
use crate::types::{Entry, LogId, Proposal, Types, Vote};

const NODE: u64 = 1;

/// Reads `data` as a record, a block and a segment header, as it is and under a right checksum.
pub fn records(data: &[u8]) {
    let _ = record::parse_header(data);
    let _ = record::parse_block(data);
    let _ = record::holds_block(data);
    for bytes in [data, &dressed(data)] {
        if let Ok((found, taken)) = record::parse_record(bytes) {
            assert!(taken <= bytes.len());
            let mut written = Vec::new();
            record::write_record(&found, &mut written);
            assert_eq!(record::parse_record(&written), Ok((found, written.len())));
        }
    }
}

/// Reads `data` as what another control node sends: each kind of message, and a snapshot's file as
/// it is and under a right checksum. What is read is written and read again the same.
pub fn messages(data: &[u8]) {
    message::<VoteRequest<Types>>(data);
    message::<AppendEntriesRequest<Types>>(data);
    message::<TransferLeaderRequest<Types>>(data);
    let _ = postcard::from_bytes::<SnapshotHeader>(data);
    let bytes = Bytes::copy_from_slice(data);
    let _ = snapshot::parse(&bytes);
    let (meta, state) = data.split_at(data.len() / 2);
    for bytes in [bytes, snapshot::dressed(meta, state)] {
        if let Ok(found) = snapshot::parse(&bytes) {
            let again = [
                snapshot::encode_head(&found.meta, &found.snapshot),
                found.snapshot.to_vec(),
            ];
            let again = snapshot::parse(&again.concat().into()).expect("just written");
            assert_eq!((again.meta, again.snapshot), (found.meta, found.snapshot));
        }
    }
}

fn message<T: Serialize + DeserializeOwned>(data: &[u8]) {
    let sent = |version, body: &[u8]| RaftMessage {
        version,
        body: body.to_vec().into(),
        incarnation: 0,
    };
    assert!(network::decode::<T>(&sent(network::BODY_VERSION + 1, data)).is_err());
    let Ok(body) = network::decode::<T>(&sent(network::BODY_VERSION, data)) else {
        return;
    };
    let written = network::encode(&body, 0);
    let again: T = network::decode(&written).expect("just written");
    assert_eq!(network::encode(&again, 0).body, written.body);
}

/// A record of `body` (kind and payload) whose length and checksum are right.
fn dressed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("inputs are small");
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Opens a log of two segments in the empty `directory` after what `data` says befell it:
/// it is repaired without losing an acknowledged block, or refused, and opening it again
/// finds nothing left to repair. Leaves `directory` empty.
///
/// `data` is `what u8 | at u16 | value u8 | story…`.
pub fn recovery(directory: &Path, data: &[u8]) {
    let Some((&[what, at_high, at_low, value], story)) = data.split_first_chunk() else {
        return;
    };
    let at = usize::from(u16::from_be_bytes([at_high, at_low]));
    match what % 6 {
        0 => arbitrary(directory, story, value),
        1 => cut(directory, &Log::tell(story), at),
        2 => flipped(directory, &Log::tell(story), at, value, 2),
        3 => flipped(directory, &Log::tell(story), at, value, 1),
        4 => half_written(directory, &Log::tell(story), at, value),
        _ => appended(directory, &Log::tell(story), at, story),
    }
    for sequence in 1..=2 {
        let _ = fs::remove_file(segment_path(directory, sequence));
    }
}

/// A story: two segments of blocks of records.
struct Log {
    segments: [Vec<Vec<Record>>; 2],
}

impl Log {
    fn tell(story: &[u8]) -> Self {
        let mut log = Self {
            segments: [vec![vec![Record::Vote(Vote::new(1, NODE))]], Vec::new()],
        };
        let mut now = Contents::default();
        let (first, second) = story.split_at(story.len().min(64) / 2);
        for (segment, bytes) in [first, second].into_iter().enumerate() {
            if segment == 1 {
                log.segments[1].push(vec![Record::Vote(Vote::new(2, NODE))]);
            }
            for byte in bytes.iter().take(32) {
                let record = next_record(*byte, &now);
                now = contents_of([now_records(&log), vec![record.clone()]].concat());
                let blocks = &mut log.segments[segment];
                match blocks.last_mut() {
                    Some(block) if byte & 0x80 == 0 => block.push(record),
                    _ => blocks.push(vec![record]),
                }
            }
        }
        log
    }

    /// What was written, blocks of the last segment cut to `blocks`.
    fn prefix(&self, blocks: usize) -> Contents {
        let [first, second] = &self.segments;
        let records = first.iter().chain(second.iter().take(blocks)).flatten();
        contents_of(records.cloned().collect())
    }

    /// Writes both segments; answers where each block of the last one ends.
    fn write(&self, directory: &Path) -> Vec<usize> {
        let mut ends = Vec::new();
        for (sequence, blocks) in (1..).zip(&self.segments) {
            let mut bytes = header(sequence);
            ends = vec![bytes.len()];
            for block in blocks {
                bytes.extend_from_slice(&block_of(block));
                ends.push(bytes.len());
            }
            write(directory, sequence, &bytes);
        }
        ends
    }
}

fn now_records(log: &Log) -> Vec<Record> {
    log.segments.iter().flatten().flatten().cloned().collect()
}

fn contents_of(records: Vec<Record>) -> Contents {
    let mut contents = Contents::default();
    for record in records {
        match record {
            Record::Vote(vote) => contents.vote = Some(vote),
            Record::Committed(_) => {}
            Record::Truncated(keep) => contents.truncate(keep),
            Record::Purged(upto) => contents.purge(upto),
            Record::Entry(entry) => contents.push(entry),
        }
    }
    contents
}

/// What may come next: only what a node would write.
fn next_record(byte: u8, now: &Contents) -> Record {
    let some_id = now
        .entries
        .get(usize::from(byte >> 3 & 7))
        .map(openraft::entry::RaftEntry::log_id);
    match (byte & 7, some_id) {
        (0, _) => Record::Vote(Vote::new(byte.into(), NODE)),
        (1, Some(id)) => Record::Committed(id),
        (2, Some(id)) => Record::Truncated(Some(id)),
        (3, Some(id)) => Record::Purged(id),
        (4, _) => Record::Truncated(now.purged),
        _ => Record::Entry(entry(now.next_index(), byte.into())),
    }
}

fn log_id(index: u64) -> LogId {
    let leader = openraft::impls::leader_id_std::LeaderId {
        term: 1,
        voted_for: NODE,
    };
    LogId::new(leader.to_committed(), index)
}

fn entry(index: u64, bytes: usize) -> Entry {
    Entry::new(
        log_id(index),
        EntryPayload::Normal(Proposal(vec![7; bytes].into())),
    )
}

fn header(sequence: u64) -> Vec<u8> {
    let header = Header {
        sequence,
        node: NODE,
        incarnation: 9,
    };
    record::write_header(header).to_vec()
}

fn block_of(records: &[Record]) -> Vec<u8> {
    let mut block = record::begin_block();
    for record in records {
        record::write_record(record, &mut block);
    }
    record::finish_block(&mut block);
    block
}

fn write(directory: &Path, sequence: u64, bytes: &[u8]) {
    fs::write(segment_path(directory, sequence), bytes).expect("a directory to write into");
}

/// What opening found, without what was known to be committed, and how much it repaired.
fn open(directory: &Path) -> Result<(Contents, u32), LogError> {
    let mut opened = replay::open(directory, NODE)?;
    let committed = opened.contents.committed.take().map(|id| id.index());
    let last = opened.contents.last().map(|id| id.index());
    assert!(committed <= last, "committed {committed:?} of {last:?}");
    Ok((opened.contents, opened.repairs))
}

/// Opened, with everything of the first segment and `blocks` of the last, and well from now on.
fn expect(directory: &Path, log: &Log, blocks: usize, is_damaged: bool) {
    let (contents, repairs) = open(directory).expect("a torn tail is repaired");
    assert_eq!(contents, log.prefix(blocks), "acknowledged blocks are there");
    assert_eq!(repairs, u32::from(is_damaged));
    let again = open(directory).expect("a repaired log opens");
    assert_eq!(again, (contents, 0));
}

/// The last segment ends early.
fn cut(directory: &Path, log: &Log, at: usize) {
    let ends = log.write(directory);
    let path = segment_path(directory, 2);
    let bytes = fs::read(&path).expect("just written");
    let keep = at % (bytes.len() + 1);
    write(directory, 2, &bytes[..keep]);
    let blocks = ends.iter().skip(1).filter(|end| **end <= keep).count();
    // A segment is born with its first block; without that it never was.
    let is_whole = ends.contains(&keep);
    expect(directory, log, blocks, !is_whole);
}

/// A byte of a segment is another.
fn flipped(directory: &Path, log: &Log, at: usize, value: u8, sequence: u64) {
    let ends = log.write(directory);
    let path = segment_path(directory, sequence);
    let mut bytes = fs::read(&path).expect("just written");
    let at = at % bytes.len();
    bytes[at] ^= value.max(1);
    write(directory, sequence, &bytes);
    let last = ends.len() - 2;
    if sequence == 2 && (ends[last]..ends[last + 1]).contains(&at) {
        expect(directory, log, last, true);
    } else {
        let opened = open(directory);
        assert!(opened.is_err(), "rot before good data is refused: {opened:?}");
    }
}

/// Something that is no block follows the last.
fn appended(directory: &Path, log: &Log, at: usize, garbage: &[u8]) {
    let ends = log.write(directory);
    let path = segment_path(directory, 2);
    let mut bytes = fs::read(&path).expect("just written");
    let whole = bytes.len();
    bytes.extend_from_slice(&garbage[..garbage.len().min(at)]);
    write(directory, 2, &bytes);
    let is_damaged = !record::is_room(&bytes[whole..]);
    expect(directory, log, ends.len() - 1, is_damaged);
}

/// Of a block on its way into the room ahead, only some of the bytes are on disk: the first are not.
fn half_written(directory: &Path, log: &Log, at: usize, value: u8) {
    let ends = log.write(directory);
    let path = segment_path(directory, 2);
    let mut bytes = fs::read(&path).expect("just written");
    let whole = bytes.len();
    let mut block = block_of(&[
        Record::Vote(Vote::new(value.into(), NODE)),
        Record::Truncated(None),
    ]);
    let absent = 1 + at % block.len();
    block[..absent].fill(0);
    bytes.extend_from_slice(&block);
    bytes.resize(bytes.len() + usize::from(value), 0);
    write(directory, 2, &bytes);
    let is_damaged = !record::is_room(&bytes[whole..]);
    expect(directory, log, ends.len() - 1, is_damaged);
}

/// A segment of whatever: raw, or records of any contents under right checksums.
fn arbitrary(directory: &Path, data: &[u8], value: u8) {
    let mut bytes = Vec::new();
    if value & 1 != 0 {
        bytes = header(1);
    }
    if value & 2 == 0 {
        bytes.extend_from_slice(data);
    } else {
        let mut rest = data;
        while let Some((&length, tail)) = rest.split_first() {
            let (body, tail) = tail.split_at(tail.len().min(length.into()));
            rest = tail;
            let mut block = record::begin_block();
            block.extend_from_slice(&dressed(body));
            record::finish_block(&mut block);
            bytes.extend_from_slice(&block);
        }
    }
    write(directory, 1, &bytes);
    if let Ok((contents, _)) = open(directory) {
        assert_eq!(open(directory).expect("it opened before"), (contents, 0));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn random_bytes_break_nothing(data in prop::collection::vec(any::<u8>(), 0..120), what in 0..6u8) {
            super::records(&data);
            super::messages(&data);
            let directory = tempfile::tempdir().unwrap();
            super::recovery(directory.path(), &[&[what], data.as_slice()].concat());
        }
    }
}
