//! The thread that writes: many waiting operations, one write, one fsync.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use openraft::storage::IOFlushed;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::record::{self, BLOCK_HEADER_BYTES, Header, Record};
use super::replay::{self, Active, LogError, Opened, SEGMENT_BYTES, Segment, segment_path};
use crate::metrics::LogMetrics;
use crate::types::{LogId, Types, Vote};

/// A block is closed when it holds this much: 4 MiB is some milliseconds of a
/// disk's time, so that an fsync never keeps the next batch waiting for long.
pub(crate) const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Operations waiting for the thread; the core waits when it is full.
const OPERATIONS_WAITING_MAX: usize = 1024;
/// A commit note that nothing else carries to disk is written after this long.
/// Losing it costs a restart a round of catching up, not correctness.
const COMMIT_NOTE_DELAY: Duration = Duration::from_millis(200);

/// Who is told when an operation is on disk.
pub(crate) enum Waiter {
    /// openraft's core.
    Core(IOFlushed<Types>),
    /// Somebody who awaits.
    Reply(oneshot::Sender<io::Result<()>>),
    /// Nobody.
    None,
}

impl Waiter {
    fn tell(self, result: &Result<(), Arc<io::Error>>) {
        let result = result
            .as_ref()
            .map(|&()| ())
            .map_err(|error| io::Error::new(error.kind(), error.to_string()));
        match self {
            Self::Core(callback) => callback.io_completed(result),
            // Whoever no longer waits does not want to know.
            Self::Reply(reply) => drop(reply.send(result)),
            Self::None => {}
        }
    }
}

/// One thing to write.
pub(crate) struct Operation {
    pub(crate) records: Vec<Record>,
    pub(crate) waiter: Waiter,
}

enum Queued {
    Write(Operation, OwnedSemaphorePermit),
    Stop,
}

/// The handle to the thread. The thread ends after [`Writer::stop`], or when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Writer {
    // The channel itself is unbounded because its receiver must be able to wait
    // with a timeout outside any runtime; the places bound it.
    operations: mpsc::Sender<Queued>,
    places: Arc<Semaphore>,
}

impl Writer {
    pub(crate) async fn send(&self, operation: Operation) -> io::Result<()> {
        let place = self.places.clone().acquire_owned().await.map_err(|_| gone())?;
        self.operations
            .send(Queued::Write(operation, place))
            .map_err(|_| gone())
    }

    /// Lets the thread finish what was sent before and end.
    pub(crate) fn stop(&self) {
        // Fails only when it has ended already.
        let _ = self.operations.send(Queued::Stop);
    }
}

pub(crate) fn gone() -> io::Error {
    io::Error::other("the log's writer has stopped")
}

/// Starts the thread.
pub(crate) fn spawn(
    directory: PathBuf,
    node: u64,
    incarnation: u64,
    opened: Opened,
    metrics: LogMetrics,
) -> Result<(Writer, JoinHandle<()>), LogError> {
    let (operations, queue) = mpsc::channel();
    let mut thread = Thread {
        directory,
        node,
        incarnation,
        vote: opened.contents.vote,
        committed: opened.contents.committed,
        committed_on_disk: opened.contents.committed,
        purged: opened.contents.purged,
        segments: opened.segments,
        active: opened.active,
        metrics,
        _lock: opened.lock,
    };
    if thread.active.is_none() {
        thread.roll()?;
    }
    thread.extend()?;
    let handle = std::thread::Builder::new()
        .name(format!("raft-log-{node}"))
        .spawn(move || thread.run(&queue))
        .map_err(LogError::io("start a thread for", &PathBuf::from("the log")))?;
    let places = Arc::new(Semaphore::new(OPERATIONS_WAITING_MAX));
    Ok((Writer { operations, places }, handle))
}

/// What one write carries.
struct Batch {
    block: Vec<u8>,
    waiters: Vec<Waiter>,
    /// Something was purged: segments may be dropped.
    purges: bool,
    /// This is the last one.
    stops: bool,
}

struct Thread {
    directory: PathBuf,
    node: u64,
    incarnation: u64,
    vote: Option<Vote>,
    committed: Option<LogId>,
    committed_on_disk: Option<LogId>,
    purged: Option<LogId>,
    segments: Vec<Segment>,
    active: Option<Active>,
    metrics: LogMetrics,
    _lock: File,
}

impl Thread {
    fn run(mut self, queue: &mpsc::Receiver<Queued>) {
        while let Some(first) = self.next(queue) {
            let mut batch = self.gather(first, queue);
            let result = self.write(&mut batch.block).and_then(|()| match batch.purges {
                true => self.drop_segments(),
                false => Ok(()),
            });
            let failed = result.is_err();
            let result = result.map_err(|error| {
                tracing::error!(%error, "the log cannot be written");
                Arc::new(io::Error::other(error.to_string()))
            });
            for waiter in batch.waiters {
                waiter.tell(&result);
            }
            if failed || batch.stops {
                // What reached the disk is unknown after a failed fsync; only a restart finds out.
                return;
            }
            // Now, while nobody waits for it.
            if let Err(error) = self.extend() {
                tracing::error!(%error, "the log cannot be written");
                return;
            }
        }
    }

    /// The next operation; writes a lone commit note meanwhile if one has waited long enough.
    fn next(&mut self, queue: &mpsc::Receiver<Queued>) -> Option<Queued> {
        if self.committed != self.committed_on_disk {
            match queue.recv_timeout(COMMIT_NOTE_DELAY) {
                Ok(queued) => return Some(queued),
                Err(RecvTimeoutError::Timeout) => self.note_commit(),
                Err(RecvTimeoutError::Disconnected) => {
                    self.note_commit();
                    return None;
                }
            }
        }
        queue.recv().ok()
    }

    fn note_commit(&mut self) {
        let mut block = record::begin_block();
        if let Err(error) = self.write(&mut block) {
            tracing::warn!(%error, "could not note the commit index; it will be learned again");
        }
    }

    /// Everything that waits, up to one block.
    fn gather(&mut self, first: Queued, queue: &mpsc::Receiver<Queued>) -> Batch {
        let mut batch = Batch {
            block: record::begin_block(),
            waiters: Vec::new(),
            purges: false,
            stops: false,
        };
        let mut next = Some(first);
        while let Some(queued) = next {
            let Queued::Write(operation, _place) = queued else {
                batch.stops = true;
                break;
            };
            for record in &operation.records {
                batch.purges |= matches!(record, Record::Purged(_));
                self.note(record, &mut batch.block);
            }
            batch.waiters.push(operation.waiter);
            next = if batch.block.len() < GROUP_BYTES_MAX {
                queue.try_recv().ok()
            } else {
                None
            };
        }
        batch
    }

    fn note(&mut self, record: &Record, block: &mut Vec<u8>) {
        match record {
            Record::Vote(vote) => self.vote = Some(*vote),
            Record::Purged(upto) => self.purged = self.purged.max(Some(*upto)),
            // Only the latest matters, and it travels with the block.
            Record::Committed(id) => {
                self.committed = Some(*id);
                return;
            }
            Record::Entry(entry) => {
                if let Some(active) = self.segments.last_mut() {
                    active.last_index = active.last_index.max(Some(entry.log_id.index()));
                }
            }
            Record::Truncated(_) => {}
        }
        record::write_record(record, block);
    }

    fn write(&mut self, block: &mut Vec<u8>) -> Result<(), LogError> {
        if self.committed != self.committed_on_disk
            && let Some(committed) = self.committed
        {
            record::write_record(&Record::Committed(committed), block);
        }
        if block.len() == BLOCK_HEADER_BYTES {
            return Ok(());
        }
        record::finish_block(block);
        let path = segment_path(
            &self.directory,
            self.segments.last().map_or(0, |active| active.sequence),
        );
        let active = self.active.as_mut().expect("a segment is open from the start");
        let started = Instant::now();
        active
            .append(block)
            .map_err(LogError::io("write and sync", &path))?;
        self.metrics.wrote(block.len(), started.elapsed());
        self.committed_on_disk = self.committed;
        if active.size >= SEGMENT_BYTES {
            active.finish().map_err(LogError::io("cut", &path))?;
            self.roll()?;
        }
        Ok(())
    }

    fn extend(&mut self) -> Result<(), LogError> {
        let path = segment_path(
            &self.directory,
            self.segments.last().map_or(0, |active| active.sequence),
        );
        match &mut self.active {
            Some(active) => active.extend().map_err(LogError::io("extend", &path)),
            None => Ok(()),
        }
    }

    /// Starts the next segment with what must outlive the older ones.
    fn roll(&mut self) -> Result<(), LogError> {
        let sequence = self.segments.last().map_or(1, |active| active.sequence + 1);
        let mut block = record::begin_block();
        let carried = [
            self.vote.map(Record::Vote),
            self.purged.map(Record::Purged),
            self.committed.map(Record::Committed),
        ];
        for record in carried.iter().flatten() {
            record::write_record(record, &mut block);
        }
        record::finish_block(&mut block);
        let header = Header {
            sequence,
            node: self.node,
            incarnation: self.incarnation,
        };
        self.active = Some(replay::create_segment(&self.directory, header, &block)?);
        self.segments.push(Segment {
            sequence,
            last_index: None,
        });
        Ok(())
    }

    /// Removes the oldest segments that hold nothing after the purged entry; never the active one.
    fn drop_segments(&mut self) -> Result<(), LogError> {
        let Some(purged) = self.purged else { return Ok(()) };
        let mut dropped = false;
        while let [oldest, _, ..] = self.segments.as_slice() {
            if oldest.last_index.is_some_and(|last| last > purged.index()) {
                break;
            }
            let path = segment_path(&self.directory, oldest.sequence);
            fs::remove_file(&path).map_err(LogError::io("remove", &path))?;
            self.segments.remove(0);
            dropped = true;
        }
        if dropped {
            replay::sync_directory(&self.directory)
        } else {
            Ok(())
        }
    }
}
