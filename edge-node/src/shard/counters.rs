//! What a shard's thread counts of itself. Written by that thread, read by anyone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counters of one shard's sockets and loop.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    turns: AtomicU64,
    busy_ns: AtomicU64,
    receive_calls: AtomicU64,
    datagrams_received: AtomicU64,
    receive_errors: AtomicU64,
    datagrams_sent: AtomicU64,
    bytes_sent: AtomicU64,
    send_calls: AtomicU64,
    gso_datagrams: AtomicU64,
    dropped_full: AtomicU64,
    dropped_error: AtomicU64,
    commands_refused: AtomicU64,
    mesh_queue_full: AtomicU64,
    notices_lost: AtomicU64,
    mesh_no_link: AtomicU64,
}

/// [`Counters`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LoopStats {
    /// Loop turns.
    pub(crate) turns: u64,
    /// Nanoseconds spent outside of poll.
    pub(crate) busy_ns: u64,
    /// Receive calls that returned something.
    pub(crate) receive_calls: u64,
    /// Datagrams they returned.
    pub(crate) datagrams_received: u64,
    /// Receive calls that failed.
    pub(crate) receive_errors: u64,
    /// Datagrams the kernel took.
    pub(crate) datagrams_sent: u64,
    /// Their bytes.
    pub(crate) bytes_sent: u64,
    /// Send calls for them.
    pub(crate) send_calls: u64,
    /// Those that went out in GSO runs.
    pub(crate) gso_datagrams: u64,
    /// Not taken: the socket's buffer was full.
    pub(crate) dropped_full: u64,
    /// Not taken: unreachable or forbidden.
    pub(crate) dropped_error: u64,
    /// Commands turned away because the queue was full.
    pub(crate) commands_refused: u64,
    /// Mesh datagrams turned away because the queue was full.
    pub(crate) mesh_queue_full: u64,
    /// Notices the rest of the edge did not take in time.
    pub(crate) notices_lost: u64,
    /// Media for a peer whose link is gone.
    pub(crate) mesh_no_link: u64,
}

fn add(counter: &AtomicU64, value: usize) {
    counter.fetch_add(value as u64, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn turn(&self, busy: Duration) {
        add(&self.turns, 1);
        let ns = u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX);
        self.busy_ns.fetch_add(ns, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, datagrams: usize) {
        add(&self.receive_calls, 1);
        add(&self.datagrams_received, datagrams);
    }

    pub(crate) fn receive_failed(&self) {
        add(&self.receive_errors, 1);
    }

    pub(crate) fn sent_batch(&self, datagrams: usize, bytes: usize) {
        add(&self.send_calls, 1);
        add(&self.datagrams_sent, datagrams);
        add(&self.bytes_sent, bytes);
    }

    pub(crate) fn sent_run(&self, datagrams: usize, bytes: usize) {
        self.sent_batch(datagrams, bytes);
        add(&self.gso_datagrams, datagrams);
    }

    pub(crate) fn send_dropped_full(&self, datagrams: usize) {
        add(&self.dropped_full, datagrams);
    }

    pub(crate) fn send_dropped_error(&self, datagrams: usize) {
        add(&self.dropped_error, datagrams);
    }

    pub(crate) fn command_refused(&self) {
        add(&self.commands_refused, 1);
    }

    pub(crate) fn mesh_queue_full(&self) {
        add(&self.mesh_queue_full, 1);
    }

    pub(crate) fn notice_lost(&self) {
        add(&self.notices_lost, 1);
    }

    pub(crate) fn mesh_no_link(&self) {
        add(&self.mesh_no_link, 1);
    }

    pub(crate) fn read(&self) -> LoopStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LoopStats {
            turns: get(&self.turns),
            busy_ns: get(&self.busy_ns),
            receive_calls: get(&self.receive_calls),
            datagrams_received: get(&self.datagrams_received),
            receive_errors: get(&self.receive_errors),
            datagrams_sent: get(&self.datagrams_sent),
            bytes_sent: get(&self.bytes_sent),
            send_calls: get(&self.send_calls),
            gso_datagrams: get(&self.gso_datagrams),
            dropped_full: get(&self.dropped_full),
            dropped_error: get(&self.dropped_error),
            commands_refused: get(&self.commands_refused),
            mesh_queue_full: get(&self.mesh_queue_full),
            notices_lost: get(&self.notices_lost),
            mesh_no_link: get(&self.mesh_no_link),
        }
    }
}
