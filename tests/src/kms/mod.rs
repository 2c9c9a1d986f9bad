//! The two KMS a network away, in this process: simulators that hold real keys, check signatures,
//! tokens and contexts for themselves, and answer and fail as the real ones do.

mod aws;
mod server;
mod transit;
mod versions;

use std::path::Path;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

pub use aws::AwsSimulator;
pub use transit::TransitSimulator;

/// How a simulator is at the moment, and what it was asked.
#[derive(Debug, Default)]
pub struct Mood {
    /// 0 while all is well, [`GONE`], or the status everything is answered with.
    fault: AtomicU16,
    asked: AtomicUsize,
    opened: AtomicUsize,
}

/// Connections end without an answer.
const GONE: u16 = 1;

impl Mood {
    /// What everything is answered with, if something is wrong.
    fn fault(&self) -> Option<u16> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let fault = self.fault.load(Ordering::SeqCst);
        (fault != 0).then_some(fault)
    }

    fn opens(&self) {
        self.opened.fetch_add(1, Ordering::SeqCst);
    }
}

/// What a test does to a KMS, whichever it is.
pub trait Simulator: Send + Sync {
    /// What `[vault]` of a control node has about it, with its files below `dir`.
    fn config(&self, dir: &Path) -> String;

    /// How it is, and what it was asked.
    fn mood(&self) -> &Mood;

    /// From now on connections to it end without an answer.
    fn goes(&self) {
        self.fails(GONE);
    }

    /// From now on everything is answered with this status, as the real one does when it can do nothing.
    fn fails(&self, status: u16) {
        self.mood().fault.store(status, Ordering::SeqCst);
    }

    /// It is well again.
    fn returns(&self) {
        self.fails(0);
    }

    /// Requests so far, also those that failed.
    fn asked(&self) -> usize {
        self.mood().asked.load(Ordering::SeqCst)
    }

    /// Keys it has unwrapped so far.
    fn opened(&self) -> usize {
        self.mood().opened.load(Ordering::SeqCst)
    }

    /// Versions of its key.
    fn versions(&self) -> usize;
}

/// Writes a file nobody else may read.
fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).expect("the directory is writable");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
}
