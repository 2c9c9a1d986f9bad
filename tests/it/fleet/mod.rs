//! Control nodes and edges together: placement, and what an operator does to it.

mod residency;

use std::time::Duration;

/// What every wait here is bounded by; nothing takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer.
async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = condition().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    found.unwrap_or_else(|_| panic!("never: {what}"))
}
