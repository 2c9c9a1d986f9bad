//! What is past its time goes.

use std::time::Duration;

use medmesh_base::drain::Drain;
use medmesh_store::Store;
use time::OffsetDateTime;

/// Between rounds of upkeep. Each removes a bounded number, so that a backlog goes in small bites.
const UPKEEP_EVERY: Duration = Duration::from_secs(60);

/// Removes what is past its time until the drain stops. Every node does; the database orders them.
pub async fn upkeep(store: Store, drain: Drain) {
    loop {
        tokio::select! {
            () = drain.stopping() => return,
            () = tokio::time::sleep(UPKEEP_EVERY) => {}
        }
        if let Err(error) = store.audit_months(OffsetDateTime::now_utc()).await {
            tracing::warn!(%error, "months of the audit log not prepared");
        }
        match store.upkeep(OffsetDateTime::now_utc()).await {
            Ok(removed) => tracing::debug!(
                sessions = removed.sessions,
                idempotency_keys = removed.idempotency_keys,
                "upkeep done"
            ),
            Err(error) => tracing::warn!(%error, "upkeep failed"),
        }
    }
}
