//! What this process committed and the log does not hold yet.
//!
//! Between a commit and the next signed head a leaf lies in the database alone, and
//! whoever rules the database could take it away. The node that wrote it remembers
//! what it wrote until the log holds it; a leaf that does not arrive is an alarm.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use medmesh_base::{AuditId, ClinicId};
use medmesh_tlog::Hash;
use parking_lot::Mutex;

/// Leaves remembered at once: half a minute of the busiest node. A node whose sequencer
/// stands still longer forgets the oldest, and says how many.
const PROMISES_MAX: usize = 131_072;

/// One leaf that was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Whose.
    pub clinic_id: ClinicId,
    /// Which.
    pub id: AuditId,
    /// What the log must hold.
    pub commitment: Hash,
    /// Committed when.
    pub since: Instant,
}

/// The leaves of this process that are not in the log yet, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    waiting: Mutex<VecDeque<Promise>>,
    forgotten: AtomicU64,
}

impl Promises {
    pub(crate) fn add(&self, promises: impl IntoIterator<Item = Promise>) {
        let mut waiting = self.waiting.lock();
        waiting.extend(promises);
        let excess = waiting.len().saturating_sub(PROMISES_MAX);
        waiting.drain(..excess);
        self.forgotten.fetch_add(excess as u64, Ordering::Relaxed);
    }

    /// Takes those at the front, at most `limit`.
    pub(super) fn take(&self, limit: usize) -> Vec<Promise> {
        let mut waiting = self.waiting.lock();
        let count = waiting.len().min(limit);
        waiting.drain(..count).collect()
    }

    /// Takes back what is still open, before everything younger.
    pub(super) fn put_back(&self, promises: Vec<Promise>) {
        let mut waiting = self.waiting.lock();
        for promise in promises.into_iter().rev() {
            waiting.push_front(promise);
        }
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }
}
