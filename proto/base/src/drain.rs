//! Stopping in order: everything that runs hangs on a [`Drain`].

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tokio_util::task::TaskTracker;

/// Clones share one stop signal and one set of tasks.
///
/// A task is spawned with [`Drain::spawn`], watches [`Drain::stopping`] and
/// returns when it resolves. [`Drain::finish`] raises the signal and waits.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    token: CancellationToken,
    tasks: TaskTracker,
}

impl Drain {
    /// A drain that nobody has stopped.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task that [`Drain::finish`] will wait for.
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Raises the stop signal without waiting.
    pub fn stop(&self) {
        self.token.cancel();
    }

    /// Whether the stop signal is up.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Resolves when the stop signal goes up.
    pub fn stopping(&self) -> WaitForCancellationFuture<'_> {
        self.token.cancelled()
    }

    /// The bare signal, for libraries that take a `CancellationToken`.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Stops and waits until every task is gone, at most `patience`.
    /// Returns how many tasks were still running then (0 is clean).
    pub async fn finish(&self, patience: Duration) -> usize {
        self.token.cancel();
        self.tasks.close();
        // A timeout here is reported by the count, not by the elapsed error.
        let _ = tokio::time::timeout(patience, self.tasks.wait()).await;
        self.tasks.len()
    }
}

/// Resolves on the first SIGINT or SIGTERM.
///
/// # Errors
/// When the process cannot install signal handlers.
pub async fn terminate_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
