//! The log's bytes: every cut, every flipped byte, any garbage.

use std::fs;
use std::path::Path;

use openraft::EntryPayload;
use openraft::entry::RaftEntry as _;
use openraft::storage::{RaftLogReader as _, RaftLogStorage as _, RaftLogStorageExt as _};
use proptest::prelude::*;

use crate::LogError;
use crate::log::record::{self, Damage, HEADER_BYTES, Record};
use crate::log::replay::{self, Contents, segment_path};
use crate::log::{LogStore, WriterThread};
use crate::metrics::Metrics;
use crate::types::{Entry, LogId, Proposal, Vote};

const NODE: u64 = 1;

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(
        openraft::impls::leader_id_std::LeaderId {
            term,
            voted_for: NODE,
        }
        .to_committed(),
        index,
    )
}

use openraft::vote::RaftLeaderId as _;

fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    Entry::new(
        log_id(term, index),
        EntryPayload::Normal(Proposal(vec![index as u8; bytes].into())),
    )
}

fn open(directory: &Path) -> Result<(LogStore, WriterThread), LogError> {
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    LogStore::open(directory, NODE, metrics.log)
}

fn replayed(directory: &Path) -> Result<Contents, LogError> {
    replay::open(directory, NODE).map(|opened| opened.contents)
}

fn close((log, thread): (LogStore, WriterThread)) {
    log.stop();
    thread.join().unwrap();
}

fn indexes(contents: &Contents) -> Vec<u64> {
    contents
        .entries
        .iter()
        .map(openraft::entry::RaftEntry::index)
        .collect()
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path()).unwrap();
    let log = &mut opened.0;
    log.save_vote(&Vote::new(3, NODE)).await.unwrap();
    log.blocking_append((0..10).map(|index| entry(1, index, 10)))
        .await
        .unwrap();
    log.truncate_after(Some(log_id(1, 6))).await.unwrap();
    log.blocking_append((7..9).map(|index| entry(2, index, 10)))
        .await
        .unwrap();
    log.save_committed(Some(log_id(1, 5))).await.unwrap();
    log.purge(log_id(1, 2)).await.unwrap();
    let incarnation = log.incarnation();
    close(opened);
    let mut opened = open(dir.path()).unwrap();
    let log = &mut opened.0;
    assert_eq!(log.incarnation(), incarnation);
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(3, NODE)));
    assert_eq!(log.read_committed().await.unwrap(), Some(log_id(1, 5)));
    let state = log.get_log_state().await.unwrap();
    assert_eq!(
        (state.last_purged_log_id, state.last_log_id),
        (Some(log_id(1, 2)), Some(log_id(2, 8)))
    );
    let entries = log.try_get_log_entries(..).await.unwrap();
    assert_eq!(
        entries,
        [1, 1, 1, 1, 2, 2]
            .iter()
            .zip(3..)
            .map(|(t, i)| entry(*t, i, 10))
            .collect::<Vec<_>>()
    );
    close(opened);
}

#[tokio::test]
async fn a_directory_opens_once_and_only_for_its_node() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(dir.path()).unwrap();
    assert!(matches!(open(dir.path()), Err(LogError::Locked(_))));
    close(opened);
    assert!(matches!(
        replay::open(dir.path(), 2),
        Err(LogError::OtherNode {
            found: 1,
            expected: 2,
            ..
        })
    ));
}

#[tokio::test]
async fn segments_roll_and_purged_ones_go_and_the_rest_still_opens() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path()).unwrap();
    let log = &mut opened.0;
    log.save_vote(&Vote::new(2, NODE)).await.unwrap();
    // 40 blocks of 1 MiB: three segments of 16 MiB.
    for index in 0..40 {
        log.blocking_append([entry(1, index, 1024 * 1024)]).await.unwrap();
    }
    assert!(segment_path(dir.path(), 3).exists());
    log.purge(log_id(1, 33)).await.unwrap();
    log.blocking_append([entry(1, 40, 10)]).await.unwrap();
    assert!(!segment_path(dir.path(), 1).exists() && !segment_path(dir.path(), 2).exists());
    close(opened);
    let contents = replayed(dir.path()).unwrap();
    assert_eq!(indexes(&contents), (34..=40).collect::<Vec<_>>());
    assert_eq!(
        contents.vote,
        Some(Vote::new(2, NODE)),
        "carried into later segments"
    );
    assert_eq!(contents.purged, Some(log_id(1, 33)));
}

#[tokio::test]
async fn a_snapshot_beyond_the_log_leaves_no_hole() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path()).unwrap();
    opened
        .0
        .blocking_append((0..3).map(|index| entry(1, index, 10)))
        .await
        .unwrap();
    opened.0.purge(log_id(4, 50)).await.unwrap();
    opened.0.blocking_append([entry(4, 51, 10)]).await.unwrap();
    close(opened);
    assert_eq!(indexes(&replayed(dir.path()).unwrap()), [51]);
}

/// A log of `blocks` one-entry blocks; answers the file and the offset of each block's end.
fn written(dir: &Path, blocks: u64) -> (std::path::PathBuf, Vec<usize>) {
    let header = record::Header {
        sequence: 1,
        node: NODE,
        incarnation: 9,
    };
    let mut block = record::begin_block();
    record::finish_block(&mut block);
    replay::create_segment(dir, header, &block).unwrap();
    let path = segment_path(dir, 1);
    let mut bytes = fs::read(&path).unwrap();
    let mut ends = vec![bytes.len()];
    for index in 0..blocks {
        let mut block = record::begin_block();
        record::write_record(&Record::Entry(entry(1, index, 20)), &mut block);
        record::write_record(&Record::Committed(log_id(1, index)), &mut block);
        record::finish_block(&mut block);
        bytes.extend_from_slice(&block);
        ends.push(bytes.len());
    }
    fs::write(&path, bytes).unwrap();
    (path, ends)
}

#[test]
fn a_crash_at_any_byte_leaves_every_acknowledged_block() {
    let dir = tempfile::tempdir().unwrap();
    let (path, ends) = written(dir.path(), 4);
    let whole = fs::read(&path).unwrap();
    for cut in 0..=whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let kept = ends.iter().filter(|end| **end <= cut).count().saturating_sub(1) as u64;
        let contents = replayed(dir.path()).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert_eq!(indexes(&contents), (0..kept).collect::<Vec<_>>(), "cut at {cut}");
        // Repaired, not only read: it opens again without a word, and can be written.
        let again = replay::open(dir.path(), NODE).unwrap();
        assert_eq!(again.repairs, 0, "cut at {cut}");
        drop(again);
        let _ = fs::remove_file(&path);
    }
}

#[test]
fn a_crash_while_a_block_goes_into_the_room_ahead_leaves_every_acknowledged_block() {
    const ROOM: usize = 300;
    let dir = tempfile::tempdir().unwrap();
    let (path, ends) = written(dir.path(), 4);
    let whole = fs::read(&path).unwrap();
    let acknowledged = ends[ends.len() - 2];
    let opens = |bytes: &[u8], kept: u64, what: &str| {
        fs::write(&path, bytes).unwrap();
        let opened = replay::open(dir.path(), NODE).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(indexes(&opened.contents), (0..kept).collect::<Vec<_>>(), "{what}");
        drop(opened);
        let again = replay::open(dir.path(), NODE).unwrap();
        assert_eq!(again.repairs, 0, "{what}");
    };
    for reached in acknowledged..whole.len() {
        // The front of the block is on disk, its rest still the zeros of before …
        let mut front = whole[..reached].to_vec();
        front.resize(whole.len() + ROOM, 0);
        opens(&front, 3, &format!("front up to {reached}"));
        // … or the other way round: pages go to disk in any order.
        let mut back = whole.clone();
        back[acknowledged..=reached].fill(0);
        back.resize(whole.len() + ROOM, 0);
        opens(&back, 3, &format!("back from {reached}"));
    }
    let mut all = whole.clone();
    all.resize(whole.len() + ROOM, 0);
    opens(&all, 4, "all of it");
}

#[tokio::test]
async fn room_ahead_is_a_clean_end_and_is_written_over() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let mut opened = open(dir.path()).unwrap();
        opened.0.blocking_append([entry(1, round, 10)]).await.unwrap();
        close(opened);
        let length = fs::metadata(segment_path(dir.path(), 1)).unwrap().len();
        assert!(
            (1024 * 1024..2 * 1024 * 1024).contains(&length),
            "one stretch of room, used up before the next: {length}"
        );
        let again = replay::open(dir.path(), NODE).unwrap();
        assert_eq!(again.repairs, 0, "nothing was torn");
        assert_eq!(indexes(&again.contents), (0..=round).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_segment_before_the_last_ends_with_its_last_block() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open(dir.path()).unwrap();
    // The 17th fills the segment and leaves some of the room ahead.
    for index in 0..18 {
        opened
            .0
            .blocking_append([entry(1, index, 1_000_000)])
            .await
            .unwrap();
    }
    close(opened);
    assert!(segment_path(dir.path(), 2).exists());
    assert_eq!(
        indexes(&replayed(dir.path()).unwrap()),
        (0..18).collect::<Vec<_>>()
    );
}

#[test]
fn room_in_an_older_segment_is_data_that_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (path, ends) = written(dir.path(), 2);
    let mut block = record::begin_block();
    record::finish_block(&mut block);
    let header = record::Header {
        sequence: 2,
        node: NODE,
        incarnation: 9,
    };
    replay::create_segment(dir.path(), header, &block).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[ends[1]..].fill(0);
    fs::write(&path, &bytes).unwrap();
    let error = replayed(dir.path()).unwrap_err();
    assert!(matches!(error, LogError::Corrupt { offset, .. } if offset == ends[1] as u64));
}

#[tokio::test]
async fn a_repaired_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = written(dir.path(), 3);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    let mut opened = open(dir.path()).unwrap();
    opened
        .0
        .blocking_append([entry(2, 2, 5), entry(2, 3, 5)])
        .await
        .unwrap();
    close(opened);
    assert_eq!(indexes(&replayed(dir.path()).unwrap()), [0, 1, 2, 3]);
}

#[test]
fn a_flipped_byte_before_the_last_block_refuses_to_start_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let (path, ends) = written(dir.path(), 4);
    let whole = fs::read(&path).unwrap();
    let last_block = ends[ends.len() - 2];
    for position in 0..last_block {
        let mut bytes = whole.clone();
        bytes[position] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        let error = replayed(dir.path()).expect_err("damage before a good block");
        let LogError::Corrupt { offset, .. } = &error else {
            panic!("{error:?} at {position}")
        };
        assert!(
            *offset as usize <= position,
            "damage is found where its block begins"
        );
        let text = error.to_string();
        assert!(
            text.contains(path.to_str().unwrap()) && text.contains("learner"),
            "{text}"
        );
        assert_eq!(fs::read(&path).unwrap(), bytes, "nothing was touched");
    }
}

#[test]
fn damage_in_an_older_segment_is_never_a_torn_tail() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = written(dir.path(), 2);
    let header = record::Header {
        sequence: 2,
        node: NODE,
        incarnation: 9,
    };
    let mut block = record::begin_block();
    record::finish_block(&mut block);
    replay::create_segment(dir.path(), header, &block).unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(replayed(dir.path()), Err(LogError::Corrupt { .. })));
    fs::remove_file(segment_path(dir.path(), 2)).unwrap();
    fs::write(segment_path(dir.path(), 3), &whole).unwrap();
    assert!(matches!(replayed(dir.path()), Err(LogError::Missing { .. })));
}

fn any_record() -> impl Strategy<Value = Record> {
    prop_oneof![
        (1u64..9, 0u64..99, 0usize..64)
            .prop_map(|(term, index, bytes)| Record::Entry(entry(term, index, bytes))),
        (1u64..9, 0u64..4).prop_map(|(term, node)| Record::Vote(Vote::new(term, node))),
        (1u64..9, 0u64..99).prop_map(|(term, index)| Record::Committed(log_id(term, index))),
        proptest::option::of((1u64..9, 0u64..99))
            .prop_map(|id| Record::Truncated(id.map(|(t, i)| log_id(t, i)))),
        (1u64..9, 0u64..99).prop_map(|(term, index)| Record::Purged(log_id(term, index))),
    ]
}

proptest! {
    #[test]
    fn a_record_reads_back_and_says_how_long_it_is(record in any_record(), tail: Vec<u8>) {
        let mut bytes = Vec::new();
        record::write_record(&record, &mut bytes);
        let length = bytes.len();
        bytes.extend_from_slice(&tail);
        prop_assert_eq!(record::parse_record(&bytes), Ok((record, length)));
    }

    #[test]
    fn any_single_damaged_byte_of_a_record_is_seen(record in any_record(), at: usize, flip in 1u8..) {
        let mut bytes = Vec::new();
        record::write_record(&record, &mut bytes);
        let at = at % bytes.len();
        bytes[at] ^= flip;
        prop_assert!(record::parse_record(&bytes).is_err());
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = record::parse_record(&bytes);
        let _ = record::parse_block(&bytes);
        let _ = record::parse_header(&bytes);
        let _ = record::holds_block(&bytes);
    }

    #[test]
    fn garbage_with_a_right_checksum_never_panics(body in proptest::collection::vec(any::<u8>(), 1..256)) {
        let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        if let Err(damage) = record::parse_record(&bytes) {
            prop_assert_eq!(damage, Damage::Contents);
        }
    }

    #[test]
    fn a_block_holds_its_records(records in proptest::collection::vec(any_record(), 0..20)) {
        let mut block = record::begin_block();
        for record in &records {
            record::write_record(record, &mut block);
        }
        record::finish_block(&mut block);
        prop_assert!(record::holds_block(&block) || records.is_empty());
        prop_assert_eq!(record::parse_block(&block), Ok((records, block.len())));
    }
}

#[test]
fn the_header_is_as_long_as_it_says() {
    let header = record::Header {
        sequence: 7,
        node: 3,
        incarnation: 11,
    };
    let bytes = record::write_header(header);
    assert_eq!(bytes.len(), HEADER_BYTES);
    assert_eq!(record::parse_header(&bytes), Ok(header));
}
