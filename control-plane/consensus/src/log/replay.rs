//! Reading a log directory back into memory, and what is done about damage.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use openraft::entry::RaftEntry as _;

use super::record::{self, Damage, HEADER_BYTES, Header, Record};
use crate::types::{Entry, LogId, Vote};

/// A segment is followed by a new one from this size on: small enough that
/// purging frees space soon, large enough that files stay few.
pub(crate) const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// Zeros written ahead at once: a millisecond of a disk's time, thousands of small blocks.
const ROOM_BYTES: u64 = 1024 * 1024;
/// With less than this ahead there are more: a busy moment's blocks.
const ROOM_BYTES_MIN: u64 = 128 * 1024;

/// A log directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system said no.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Another process has this directory open.
    #[error("{} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// Acknowledged data is damaged. Going on could undo what the cluster agreed.
    #[error(
        "{} is damaged at byte {offset} ({damage}), with good data after it, so this is not a torn write. \
         This node must not go on with it. Restore it from its peers: remove this node from the cluster \
         (medmesh raft remove ID), move {} away, and let it join again as a learner under a new id",
        path.display(), directory.display()
    )]
    Corrupt {
        /// The segment.
        path: PathBuf,
        /// The directory to move away.
        directory: PathBuf,
        /// Where in the segment.
        offset: u64,
        /// What is wrong there.
        damage: Damage,
    },
    /// A segment is gone from the middle.
    #[error(
        "{} is missing: segments before and after it exist. Put it back, or restore this node from its peers: \
         remove it from the cluster (medmesh raft remove ID), move {} away, and let it join again as a \
         learner under a new id",
        path.display(), directory.display()
    )]
    Missing {
        /// The absent segment.
        path: PathBuf,
        /// The directory to move away.
        directory: PathBuf,
    },
    /// The snapshot is damaged; the log before it is gone, so nothing can stand in for it.
    #[error(
        "snapshot {} is damaged ({damage}). Restore this node from its peers: remove it from the cluster \
         (medmesh raft remove ID), move {} away, and let it join again as a learner under a new id",
        path.display(), directory.display()
    )]
    Snapshot {
        /// The snapshot.
        path: PathBuf,
        /// The directory to move away.
        directory: PathBuf,
        /// What is wrong with it.
        damage: Damage,
    },
    /// The directory is another node's.
    #[error("{} belongs to node {found}, this is node {expected}", path.display())]
    OtherNode {
        /// A segment of it.
        path: PathBuf,
        /// Whose it is.
        found: u64,
        /// Who we are.
        expected: u64,
    },
    /// Entries do not follow one another: a bug, or files of different logs in one directory.
    #[error("{} holds entry {found} where {expected} was due", path.display())]
    Hole {
        /// The segment.
        path: PathBuf,
        /// The index found.
        found: u64,
        /// The index due.
        expected: u64,
    },
}

impl LogError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// What a log remembers.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Contents {
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<LogId>,
    pub(crate) purged: Option<LogId>,
    /// Contiguous; the first is `purged + 1`.
    pub(crate) entries: VecDeque<Entry>,
    /// Encoded bytes of `entries`, roughly.
    pub(crate) entry_bytes: usize,
}

impl Contents {
    /// The id of the last entry, or of the last purged one.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.entries
            .back()
            .map(openraft::entry::RaftEntry::log_id)
            .or(self.purged)
    }

    /// The index the next entry must have, where it is bound.
    pub(crate) fn next_index(&self) -> u64 {
        self.last().map_or(0, |id| id.index() + 1)
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.entry_bytes += entry_bytes(&entry);
        self.entries.push_back(entry);
    }

    /// Drops every entry after `keep`.
    pub(crate) fn truncate(&mut self, keep: Option<LogId>) {
        let keep = keep.map(|id| id.index());
        while let Some(last) = self.entries.back() {
            if keep.is_some_and(|keep| last.index() <= keep) {
                break;
            }
            self.entry_bytes -= entry_bytes(last);
            self.entries.pop_back();
        }
    }

    /// Drops every entry up to `upto`.
    pub(crate) fn purge(&mut self, upto: LogId) {
        while let Some(first) = self.entries.front() {
            if first.index() > upto.index() {
                break;
            }
            self.entry_bytes -= entry_bytes(first);
            self.entries.pop_front();
        }
        if self.purged.is_none_or(|purged| purged.index() < upto.index()) {
            self.purged = Some(upto);
        }
    }
}

/// What an entry weighs in memory, roughly: its payload and what surrounds it.
pub(crate) fn entry_bytes(entry: &Entry) -> usize {
    const OVERHEAD: usize = 128;
    match &entry.payload {
        openraft::EntryPayload::Normal(proposal) => proposal.0.len() + OVERHEAD,
        _ => OVERHEAD,
    }
}

/// One segment file, oldest first; `last_index` is the highest entry index written into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) sequence: u64,
    pub(crate) last_index: Option<u64>,
}

/// An opened directory.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) contents: Contents,
    /// All segments; the last one is open for appending.
    pub(crate) segments: Vec<Segment>,
    /// The last segment, unless the log is new.
    pub(crate) active: Option<Active>,
    /// Torn tails repaired now.
    pub(crate) repairs: u32,
    /// Of the segments; `None` for a new log.
    pub(crate) incarnation: Option<u64>,
    pub(crate) lock: File,
}

/// The segment that is written to.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) file: File,
    /// Where the next block goes.
    pub(crate) size: u64,
    /// Length of the file: zeros from `size` on.
    pub(crate) length: u64,
}

impl Active {
    /// Writes a block and waits for the disk.
    pub(crate) fn append(&mut self, block: &[u8]) -> io::Result<()> {
        self.file.write_all_at(block, self.size)?;
        self.file.sync_data()?;
        self.size += block.len() as u64;
        self.length = self.length.max(self.size);
        Ok(())
    }

    /// Makes room for blocks to come, if there is little.
    pub(crate) fn extend(&mut self) -> io::Result<()> {
        static ZEROS: [u8; ROOM_BYTES as usize] = [0; ROOM_BYTES as usize];
        if self.length - self.size >= ROOM_BYTES_MIN {
            return Ok(());
        }
        if self.file.write_all_at(&ZEROS, self.length).is_err() {
            // A full disk: the next block may fit, or says so itself.
            return Ok(());
        }
        self.length += ROOM_BYTES;
        // The length goes to disk here, not with somebody's block.
        self.file.sync_data()
    }

    /// Cuts the room off: nothing more will be written.
    pub(crate) fn finish(&self) -> io::Result<()> {
        self.file.set_len(self.size)?;
        self.file.sync_all()
    }
}

pub(crate) fn segment_path(directory: &Path, sequence: u64) -> PathBuf {
    directory.join(format!("{sequence:016}.log"))
}

/// Opens `directory` (made if absent), replays it and repairs a torn tail.
pub(crate) fn open(directory: &Path, node: u64) -> Result<Opened, LogError> {
    fs::create_dir_all(directory).map_err(LogError::io("create", directory))?;
    let lock_path = directory.join("lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(LogError::io("open", &lock_path))?;
    lock.try_lock()
        .map_err(|_| LogError::Locked(directory.to_owned()))?;
    let sequences = list(directory)?;
    let mut opened = Opened {
        contents: Contents::default(),
        segments: Vec::new(),
        active: None,
        repairs: 0,
        incarnation: None,
        lock,
    };
    for (position, sequence) in sequences.iter().enumerate() {
        let is_last = position + 1 == sequences.len();
        replay_segment(directory, node, *sequence, is_last, &mut opened)?;
    }
    let contents = &mut opened.contents;
    if let Some(found) = contents.entries.front().map(openraft::entry::RaftEntry::index) {
        let expected = contents.purged.map_or(0, |purged| purged.index() + 1);
        if found != expected {
            let path = segment_path(directory, sequences.first().copied().unwrap_or(0));
            return Err(LogError::Hole {
                path,
                found,
                expected,
            });
        }
    }
    // A torn tail may have taken entries that a commit note before it did not know of, never the reverse;
    // this holds even so.
    let last = contents.last();
    contents.committed = contents
        .committed
        .filter(|id| last.is_some_and(|last| id.index() <= last.index()));
    Ok(opened)
}

fn list(directory: &Path) -> Result<Vec<u64>, LogError> {
    let mut sequences = Vec::new();
    for item in fs::read_dir(directory).map_err(LogError::io("list", directory))? {
        let item = item.map_err(LogError::io("list", directory))?;
        let name = item.file_name();
        let sequence = name
            .to_str()
            .and_then(|name| name.strip_suffix(".log"))
            .and_then(|stem| stem.parse::<u64>().ok());
        sequences.extend(sequence);
    }
    sequences.sort_unstable();
    for pair in sequences.windows(2) {
        if pair[1] != pair[0] + 1 {
            return Err(LogError::Missing {
                path: segment_path(directory, pair[0] + 1),
                directory: directory.to_owned(),
            });
        }
    }
    Ok(sequences)
}

fn replay_segment(
    directory: &Path,
    node: u64,
    sequence: u64,
    is_last: bool,
    opened: &mut Opened,
) -> Result<(), LogError> {
    let path = segment_path(directory, sequence);
    let bytes = fs::read(&path).map_err(LogError::io("read", &path))?;
    let corrupt = |offset: usize, damage| LogError::Corrupt {
        path: path.clone(),
        directory: directory.to_owned(),
        offset: offset as u64,
        damage,
    };
    match record::parse_header(&bytes) {
        Ok(header) if header.sequence != sequence => return Err(corrupt(8, Damage::Foreign)),
        Ok(header) if header.node != node => {
            return Err(LogError::OtherNode {
                path,
                found: header.node,
                expected: node,
            });
        }
        Ok(header) => opened.incarnation = Some(header.incarnation),
        // A segment is born with its first block in one write: no block means that write was torn.
        Err(damage) if is_last && !record::holds_block(&bytes) => {
            repaired(&path, 0, bytes.len(), damage, opened);
            fs::remove_file(&path).map_err(LogError::io("remove", &path))?;
            sync_directory(directory)?;
            return reopen_last(directory, opened);
        }
        Err(damage) => return Err(corrupt(0, damage)),
    }
    let mut segment = Segment {
        sequence,
        last_index: None,
    };
    let mut offset = HEADER_BYTES;
    while offset < bytes.len() {
        match record::parse_block(&bytes[offset..]) {
            Ok((records, taken)) => {
                for record in records {
                    replay_record(record, &path, &mut segment, &mut opened.contents)?;
                }
                offset += taken;
            }
            Err(_) if is_last && record::is_room(&bytes[offset..]) => {
                opened.active = Some(append_to(&path, offset as u64, bytes.len() as u64)?);
                break;
            }
            // Contents are only read after the checksum matched: that is no torn write.
            Err(damage)
                if is_last && damage != Damage::Contents && !record::holds_block(&bytes[offset + 1..]) =>
            {
                repaired(&path, offset, bytes.len() - offset, damage, opened);
                cut(&path, offset as u64)?;
                break;
            }
            Err(damage) => return Err(corrupt(offset, damage)),
        }
    }
    opened.segments.push(segment);
    if is_last && opened.active.is_none() {
        opened.active = Some(append_to(&path, offset as u64, offset as u64)?);
    }
    Ok(())
}

fn reopen_last(directory: &Path, opened: &mut Opened) -> Result<(), LogError> {
    if let Some(last) = opened.segments.last() {
        let path = segment_path(directory, last.sequence);
        let length = fs::metadata(&path).map_err(LogError::io("read", &path))?.len();
        opened.active = Some(append_to(&path, length, length)?);
    }
    Ok(())
}

fn append_to(path: &Path, size: u64, length: u64) -> Result<Active, LogError> {
    let file = OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(LogError::io("open", path))?;
    Ok(Active { file, size, length })
}

/// Cuts a torn tail off: what was half written must not be found behind later blocks.
fn cut(path: &Path, keep: u64) -> Result<(), LogError> {
    let file = OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(LogError::io("open", path))?;
    file.set_len(keep).map_err(LogError::io("truncate", path))?;
    file.sync_all().map_err(LogError::io("sync", path))
}

fn repaired(path: &Path, offset: usize, lost: usize, damage: Damage, opened: &mut Opened) {
    opened.repairs += 1;
    tracing::warn!(
        file = %path.display(), offset, lost_bytes = lost, %damage,
        "cut a torn tail off the log: a write that was never acknowledged"
    );
}

fn replay_record(
    record: Record,
    path: &Path,
    segment: &mut Segment,
    contents: &mut Contents,
) -> Result<(), LogError> {
    match record {
        Record::Vote(vote) => contents.vote = Some(vote),
        Record::Committed(id) => contents.committed = Some(id),
        Record::Truncated(keep) => contents.truncate(keep),
        Record::Purged(upto) => contents.purge(upto),
        Record::Entry(entry) => {
            let found = entry.index();
            segment.last_index = segment.last_index.max(Some(found));
            let expected = contents.next_index();
            // Older than what was purged: the segment is kept for its later entries.
            if contents.purged.is_some_and(|purged| found <= purged.index()) {
                return Ok(());
            }
            // Right after dropped segments the note of what was purged may still be to come:
            // `open` checks the beginning once everything is read.
            if found != expected && !contents.entries.is_empty() {
                return Err(LogError::Hole {
                    path: path.to_owned(),
                    found,
                    expected,
                });
            }
            contents.push(entry);
        }
    }
    Ok(())
}

/// Makes a new segment whose first block holds what must survive the older
/// ones; the file and its name are on disk when this returns.
pub(crate) fn create_segment(
    directory: &Path,
    header: Header,
    first_block: &[u8],
) -> Result<Active, LogError> {
    let path = segment_path(directory, header.sequence);
    let file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .open(&path)
        .map_err(LogError::io("create", &path))?;
    let mut bytes = record::write_header(header).to_vec();
    bytes.extend_from_slice(first_block);
    file.write_all_at(&bytes, 0)
        .map_err(LogError::io("write", &path))?;
    file.sync_all().map_err(LogError::io("sync", &path))?;
    sync_directory(directory)?;
    let size = bytes.len() as u64;
    Ok(Active {
        file,
        size,
        length: size,
    })
}

pub(crate) fn sync_directory(directory: &Path) -> Result<(), LogError> {
    File::open(directory)
        .and_then(|handle| handle.sync_all())
        .map_err(LogError::io("sync", directory))
}
