//! Waking a shard out of its poll: one eventfd write per sleep, however many callers.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::eventfd::{EfdFlags, EventFd};

struct Inner {
    event: EventFd,
    rung: AtomicBool,
}

/// A bell: cheap to ring from any thread, pollable by one.
#[derive(Clone)]
pub(crate) struct Bell(Arc<Inner>);

impl Bell {
    pub(crate) fn new() -> std::io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self(Arc::new(Inner {
            event,
            rung: AtomicBool::new(false),
        })))
    }

    /// Makes the next (or present) poll return. Call it *after* queueing.
    pub(crate) fn ring(&self) {
        if !self.0.rung.swap(true, Ordering::AcqRel) {
            // The counter cannot overflow: it holds at most one ring.
            let _ = self.0.event.write(1);
        }
    }

    /// Silences the bell. Call it *before* looking into the queues, so that what is
    /// queued afterwards rings again.
    pub(crate) fn answer(&self) {
        if self.0.rung.swap(false, Ordering::AcqRel) {
            let _ = self.0.event.read();
        }
    }

    /// What to poll for readability.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}
