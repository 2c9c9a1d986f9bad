//! From the outbox to everyone who listens.

use std::time::Duration;

use medmesh_base::drain::Drain;
use medmesh_store::{EventKind, OUTBOX_BATCH_MAX, Store, StoreError};
use time::OffsetDateTime;

use crate::ephemeral::News;

/// How often the outbox is looked at without being told: rows of a node that died
/// between its commit and its relay wait this long at most, after their lease.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pause after the database failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Relays until the drain stops.
pub async fn run(store: Store, news: News, drain: Drain) {
    loop {
        tokio::select! {
            () = drain.stopping() => return,
            () = store.outbox_wait(LOOK_EVERY) => {}
        }
        if let Err(error) = batches(&store, &news).await {
            tracing::warn!(%error, "outbox not relayed");
            tokio::select! {
                () = drain.stopping() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
}

/// Relays what is there now.
async fn batches(store: &Store, news: &News) -> Result<(), StoreError> {
    loop {
        let events = store
            .outbox_poll(OffsetDateTime::now_utc(), OUTBOX_BATCH_MAX)
            .await?;
        for event in &events {
            match event.kind {
                EventKind::VisitChanged { visit_id } | EventKind::MessageCreated { visit_id, .. } => {
                    news.tell(visit_id).await;
                }
            }
        }
        let ids: Vec<i64> = events.iter().map(|event| event.id).collect();
        if !ids.is_empty() {
            store.outbox_done(&ids).await?;
        }
        if events.len() < OUTBOX_BATCH_MAX as usize {
            return Ok(());
        }
    }
}
