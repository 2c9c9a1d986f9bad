//! The node that leads places leaves and publishes heads; every node looks after its own.

use std::time::Duration;

use futures::StreamExt as _;
use medmesh_base::drain::Drain;
use medmesh_ledger::{Command, LeafPromise};
use medmesh_store::{AUDIT_BATCH_MAX, AuditLead, StoreError};
use time::OffsetDateTime;

use super::metrics::AuditMetrics;
use super::publish::{PublishError, Publisher};

/// Between rounds of the leader: a leaf has its place well within a second.
const PLACE_EVERY: Duration = Duration::from_millis(250);
/// Rounds of a second.
const ROUNDS_PER_SECOND: u32 = 4;
/// Between tries to become the leader.
const SEEK_EVERY: Duration = Duration::from_secs(2);
/// Clinics whose heads are published at once.
const CLINICS_AT_ONCE: usize = 8;
/// Between looks after this node's own leaves.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// How long a leaf may take into the log before its absence is an alarm: longer than a
/// change of leaders, and than PostgreSQL takes to restart.
const PROMISE_PATIENCE: Duration = Duration::from_secs(120);

/// Leads when no other node does, until the drain stops. `head_seconds` are between heads: they
/// bound the window.
pub async fn sequence(publisher: Publisher, head_seconds: u32, metrics: AuditMetrics, drain: Drain) {
    let rounds_per_head = ROUNDS_PER_SECOND * head_seconds.max(1);
    let mut lead: Option<AuditLead> = None;
    let mut round = 0_u32;
    loop {
        let pause = if lead.is_some() { PLACE_EVERY } else { SEEK_EVERY };
        tokio::select! {
            () = drain.stopping() => break,
            () = tokio::time::sleep(pause) => {}
        }
        lead = match lead {
            Some(mut held) => held.is_held().await.then_some(held),
            None => publisher.store.audit_lead().await.unwrap_or_default(),
        };
        metrics.leads.set(i64::from(lead.is_some()));
        if lead.is_none() {
            continue;
        }
        if let Err(error) = place(&publisher, &metrics).await {
            tracing::warn!(%error, "audit leaves not placed");
            continue;
        }
        round = round.wrapping_add(1);
        if round.is_multiple_of(rounds_per_head) {
            // Bringing a head to a group that is shutting down would wait for a leader.
            tokio::select! {
                () = drain.stopping() => break,
                () = heads(&publisher, &metrics) => {}
            }
        }
    }
    if let Some(lead) = lead {
        lead.resign().await;
    }
}

/// Gives every committed leaf its place.
async fn place(publisher: &Publisher, metrics: &AuditMetrics) -> Result<(), StoreError> {
    loop {
        let placed = publisher.store.audit_sequence().await?;
        metrics.placed.inc_by(placed);
        if placed < u64::from(AUDIT_BATCH_MAX) {
            return Ok(());
        }
    }
}

/// Publishes the next head of every tree that has grown.
async fn heads(publisher: &Publisher, metrics: &AuditMetrics) {
    let trees = match publisher.store.audit_unpublished().await {
        Ok(trees) => trees,
        Err(error) => {
            tracing::warn!(%error, "audit heads not published");
            return;
        }
    };
    let publishing = futures::stream::iter(&trees).for_each_concurrent(CLINICS_AT_ONCE, |tree| async {
        match publisher.publish(tree).await {
            Ok(_) => metrics.head("published"),
            Err(PublishError::Diverged(why)) => {
                metrics.head("diverged");
                tracing::error!(clinic = %tree.clinic_id, %why, "the audit log does not extend what was witnessed");
            }
            Err(error) => {
                metrics.head("failed");
                tracing::warn!(clinic = %tree.clinic_id, %error, "audit head not published");
            }
        }
    });
    publishing.await;
    if let Ok(backlog) = publisher.store.audit_backlog().await {
        metrics.backlog(backlog, OffsetDateTime::now_utc());
    }
}

/// Sees to it that what this node committed comes into the log, until the drain stops.
pub async fn watch_promises(publisher: Publisher, metrics: AuditMetrics, drain: Drain) {
    loop {
        tokio::select! {
            () = drain.stopping() => return,
            () = tokio::time::sleep(WATCH_EVERY) => {}
        }
        tokio::select! {
            () = drain.stopping() => return,
            () = publisher.look_after_promises(&metrics, PROMISE_PATIENCE) => {}
        }
    }
}

impl Publisher {
    /// One look: what did not arrive within `patience` becomes an alarm in the ledger.
    pub(super) async fn look_after_promises(&self, metrics: &AuditMetrics, patience: Duration) {
        let kept = match self.store.audit_promises(patience).await {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!(%error, "audit leaves of this node not looked after");
                return;
            }
        };
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        metrics.promises_open.set(signed(kept.open));
        metrics
            .promises_forgotten
            .set(signed(self.store.audit_promises_forgotten()));
        for promise in kept.broken {
            metrics.promises_broken.inc();
            tracing::error!(clinic = %promise.clinic_id, leaf = %promise.id,
                "an audit leaf this node committed is not in the log");
            let now = u64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000);
            let alarm = Command::AuditAlarm {
                clinic: promise.clinic_id,
                leaf: LeafPromise {
                    id: promise.id,
                    commitment: promise.commitment,
                },
                now: now.unwrap_or(0),
            };
            if let Err(error) = self.witness.propose(alarm).await {
                tracing::error!(%error, "the alarm was not witnessed");
            }
        }
    }
}
