//! The durable log: openraft's storage traits over memory and a writer thread.
//!
//! Every entry that is not yet in a snapshot is kept in memory (the handle
//! takes snapshots by bytes, which bounds it), so reads never touch the disk.
//! Writes go through one thread that groups them ([`writer`]); the core never
//! waits for an fsync except for votes. Entries, votes, commit notes,
//! truncations and purges are records of one append-only sequence of segments
//! ([`record`]), so their order on disk is the order in which they happened
//! and a crash leaves a prefix of it ([`replay`]).

pub(crate) mod record;
pub(crate) mod replay;
pub(crate) mod writer;

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{OptionalSend, entry::RaftEntry as _};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use self::record::Record;
use self::replay::{Contents, LogError, entry_bytes};
use self::writer::{Operation, Waiter, Writer};
use crate::metrics::LogMetrics;
use crate::types::{Entry, LogId, Types, Vote};

/// Bytes of entries sent to a peer at once: below the message limit of the
/// transport, and short enough to be sent within a heartbeat.
const READ_BYTES_MAX: usize = 1024 * 1024;

/// The log of this node; clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    contents: Arc<Mutex<Contents>>,
    writer: Writer,
    incarnation: u64,
}

/// Join it after [`LogStore::stop`].
pub(crate) type WriterThread = JoinHandle<()>;

impl LogStore {
    /// Opens or makes the log of `node` in `directory`.
    ///
    /// # Errors
    /// When the directory is unusable or acknowledged data is damaged.
    pub(crate) fn open(
        directory: &Path,
        node: u64,
        metrics: LogMetrics,
    ) -> Result<(Self, WriterThread), LogError> {
        let mut opened = replay::open(directory, node)?;
        metrics.repaired(opened.repairs);
        let contents = std::mem::take(&mut opened.contents);
        opened.contents.vote = contents.vote;
        opened.contents.committed = contents.committed;
        opened.contents.purged = contents.purged;
        let incarnation = opened.incarnation.unwrap_or_else(rand::random);
        let (writer, thread) = writer::spawn(directory.to_owned(), node, incarnation, opened, metrics)?;
        Ok((
            Self {
                contents: Arc::new(Mutex::new(contents)),
                writer,
                incarnation,
            },
            thread,
        ))
    }

    /// Drawn when this log was made.
    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Bytes of entries held in memory: what a snapshot and purge would free.
    pub(crate) fn entry_bytes(&self) -> usize {
        self.contents.lock().entry_bytes
    }

    /// Lets the writer finish and end; join its thread afterwards.
    pub(crate) fn stop(&self) {
        self.writer.stop();
    }

    async fn send(&self, records: Vec<Record>, waiter: Waiter) -> io::Result<()> {
        self.writer.send(Operation { records, waiter }).await
    }

    fn read(&self, range: &impl RangeBounds<u64>, bytes_max: usize) -> Vec<Entry> {
        let contents = self.contents.lock();
        let Some(first) = contents.entries.front().map(openraft::entry::RaftEntry::index) else {
            return Vec::new();
        };
        let start = match range.start_bound() {
            Bound::Included(&index) => index,
            Bound::Excluded(&index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let skip = usize::try_from(start.saturating_sub(first)).unwrap_or(usize::MAX);
        let mut bytes = 0;
        contents
            .entries
            .iter()
            .skip(skip)
            .take_while(|entry| range.contains(&entry.index()))
            .take_while(|entry| {
                let fits = bytes == 0 || bytes + entry_bytes(entry) <= bytes_max;
                bytes += entry_bytes(entry);
                fits
            })
            .cloned()
            .collect()
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        Ok(self.read(&range, usize::MAX))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        Ok(self.read(&(start..end), READ_BYTES_MAX))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.contents.lock().vote)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let contents = self.contents.lock();
        Ok(LogState {
            last_purged_log_id: contents.purged,
            last_log_id: contents.last(),
        })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (reply, written) = oneshot::channel();
        self.send(vec![Record::Vote(*vote)], Waiter::Reply(reply)).await?;
        written.await.map_err(|_| writer::gone())??;
        self.contents.lock().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let Some(committed) = committed else { return Ok(()) };
        self.contents.lock().committed = Some(committed);
        self.send(vec![Record::Committed(committed)], Waiter::None).await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.contents.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        {
            let mut contents = self.contents.lock();
            for entry in &entries {
                contents.push(entry.clone());
            }
        }
        self.send(
            entries.into_iter().map(Record::Entry).collect(),
            Waiter::Core(callback),
        )
        .await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        self.contents.lock().truncate(last_log_id);
        self.send(vec![Record::Truncated(last_log_id)], Waiter::None)
            .await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        self.contents.lock().purge(log_id);
        self.send(vec![Record::Purged(log_id)], Waiter::None).await
    }
}
