//! Waiting for a condition, with a deadline and a reason when it does not come.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often a condition is looked at: well below what a person notices.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Asks until it is so.
///
/// # Errors
/// After `patience`, with what was waited for.
pub(super) async fn until(
    what: &str,
    patience: Duration,
    mut is_so: impl AsyncFnMut() -> bool,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    while !is_so().await {
        anyhow::ensure!(
            Instant::now() < deadline,
            "{what} did not come up within {patience:?}"
        );
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}
