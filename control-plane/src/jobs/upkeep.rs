//! What is past its time goes.

use std::time::Duration;

use medmesh_base::drain::Drain;
use medmesh_clinic::SystemActor;
use medmesh_store::{Store, StoreError};
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
        wear(&store).await;
        if let Err(error) = store.consents_seal().await {
            tracing::warn!(%error, "what was written before it was sealed is sealed later");
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

/// Counts what the keys have sealed, and replaces those that have sealed half of what they may.
async fn wear(store: &Store) {
    if let Err(error) = store.key_counts_report().await {
        tracing::warn!(%error, "what keys have sealed was not counted; it is counted later");
    }
    store.keyring().sweep();
    let worn = match store.keys_worn().await {
        Ok(worn) => worn,
        Err(error) => return tracing::warn!(%error, "keys not looked through"),
    };
    for subject in worn {
        match store.rotation_begin(SystemActor::Upkeep, subject).await {
            Ok(version) => tracing::info!(?subject, version, "a key is worn: its rotation begins"),
            Err(StoreError::RotationUnderWay) => {}
            Err(error) => tracing::warn!(%error, ?subject, "a worn key is not rotated"),
        }
    }
}
