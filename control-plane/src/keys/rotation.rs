//! The job behind a rotation: short turns, with more rest than work.

use std::time::Duration;

use medmesh_store::{Rotation, RotationStep, Store, StoreError};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::jobs::{Handlers, JobFailure, Turn};

/// How long one turn takes: below what a node that stops waits for.
const TURN: Duration = Duration::from_secs(3);
/// How many times as long as a step the rest after it is. A busy database makes steps longer, and
/// so the rests: whoever is served comes first.
const REST_PER_WORK: u32 = 3;
/// Rest after a step, at least: whoever waits for a row gets it.
const REST_MIN: Duration = Duration::from_millis(5);

/// Adds who does rotations.
#[must_use]
pub fn handlers(store: &Store, handlers: Handlers) -> Handlers {
    let store = store.clone();
    handlers.on(move |_, work: Rotation| {
        let store = store.clone();
        async move { turn(&store, work).await }
    })
}

/// Works a quarter of the time, on one connection.
async fn turn(store: &Store, mut work: Rotation) -> Result<Turn, JobFailure> {
    let over = Instant::now() + TURN;
    let mut due_at = OffsetDateTime::now_utc();
    while Instant::now() < over {
        let begun = Instant::now();
        match store.rotation_step(&mut work, OffsetDateTime::now_utc()).await {
            Ok(RotationStep::Moved(_)) => {
                tokio::time::sleep((begun.elapsed() * REST_PER_WORK).max(REST_MIN)).await;
            }
            Ok(RotationStep::Wait(until)) => {
                due_at = until;
                break;
            }
            Ok(RotationStep::Done) => {
                tracing::info!(subject = ?work.subject, version = work.version, moved = work.moved, "key rotated");
                return Ok(Turn::Done);
            }
            // Whose key it was is gone, and the key with them.
            Err(StoreError::NotFound) => return Ok(Turn::Done),
            Err(error) => {
                tracing::warn!(%error, subject = ?work.subject, "a rotation waits");
                return Err(JobFailure::Again("step_failed"));
            }
        }
    }
    let remaining = store.rotation_remaining(&work).await.unwrap_or_default();
    Ok(Turn::GoOn {
        moved: work.moved,
        remaining,
        due_at,
        work: serde_json::to_value(&work).map_err(|_| JobFailure::Never("payload_unreadable"))?,
    })
}
