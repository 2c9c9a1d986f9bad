//! Events for whoever is watching a visit, written with the effect and relayed
//! after the commit.
//!
//! Delivery is at least once and nearly in order. A receiver treats an event as
//! "look again": it reads the visit, or the messages after the last it has.

use std::time::Duration as StdDuration;

use medmesh_base::{ClinicId, MessageId, VisitId};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::session::interval;
use crate::{Result, Store, StoreError, Tx};

/// Most events of one claim: what a relay publishes well within its lease.
pub const OUTBOX_BATCH_MAX: u32 = 256;

/// How long a claim holds. Whoever dies with one delays its events this long.
pub const OUTBOX_LEASE: Duration = Duration::seconds(10);

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A visit or someone's place in it changed.
    VisitChanged {
        /// The visit.
        visit_id: VisitId,
    },
    /// A message was written.
    MessageCreated {
        /// The visit.
        visit_id: VisitId,
        /// The message.
        message_id: MessageId,
    },
}

/// An event to relay. Ids only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number, for [`Store::outbox_done`].
    pub id: i64,
    /// The clinic it belongs to.
    pub clinic_id: ClinicId,
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub created_at: OffsetDateTime,
    /// How often it was claimed, this time included.
    pub attempts: i32,
}

impl Tx {
    pub(crate) async fn publish(&mut self, kind: EventKind) -> Result<()> {
        let (word, visit_id, message_id) = match kind {
            EventKind::VisitChanged { visit_id } => ("visit_changed", visit_id, None),
            EventKind::MessageCreated { visit_id, message_id } => {
                ("message_created", visit_id, Some(message_id))
            }
        };
        let (clinic, now) = (self.clinic(), self.now());
        sqlx::query(
            "INSERT INTO outbox (clinic_id, kind, visit_id, message_id, created_at) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(clinic)
        .bind(word)
        .bind(visit_id.as_uuid())
        .bind(message_id.map(|id| id.as_uuid()))
        .bind(now)
        .execute(self.db())
        .await?;
        self.has_events = true;
        Ok(())
    }
}

impl Store {
    /// Claims the oldest events nobody else holds, at most [`OUTBOX_BATCH_MAX`].
    /// Publish them, then call [`Store::outbox_done`]; a claim that is not
    /// finished within [`OUTBOX_LEASE`] is handed out again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn outbox_poll(&self, now: OffsetDateTime, limit: u32) -> Result<Vec<Event>> {
        type Row = (i64, Uuid, String, Uuid, Option<Uuid>, OffsetDateTime, i32);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, clinic_id, kind, visit_id, message_id, created_at, attempts FROM outbox_poll($1, $2, $3)",
        )
        .bind(now)
        .bind(interval(OUTBOX_LEASE))
        .bind(i32::try_from(limit.min(OUTBOX_BATCH_MAX)).unwrap_or(i32::MAX))
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|(id, clinic, kind, visit, message, created_at, attempts)| {
                let visit_id = VisitId::from_uuid(visit);
                let kind = match (kind.as_str(), message) {
                    ("visit_changed", None) => EventKind::VisitChanged { visit_id },
                    ("message_created", Some(message)) => EventKind::MessageCreated {
                        visit_id,
                        message_id: MessageId::from_uuid(message),
                    },
                    _ => return Err(StoreError::corrupt("outbox.kind")),
                };
                Ok(Event {
                    id,
                    clinic_id: ClinicId::from_uuid(clinic),
                    kind,
                    created_at,
                    attempts,
                })
            })
            .collect()
    }

    /// Removes events that were published. Says how many were still there.
    ///
    /// # Errors
    /// When the database fails; the events come again.
    pub async fn outbox_done(&self, ids: &[i64]) -> Result<u64> {
        let gone: i64 = sqlx::query_scalar("SELECT outbox_done($1)")
            .bind(ids)
            .fetch_one(&self.pool)
            .await?;
        Ok(u64::try_from(gone).unwrap_or(0))
    }

    /// Waits until a transaction of this process wrote an event, or `timeout`
    /// (others write too). For one relay per process.
    pub async fn outbox_wait(&self, timeout: StdDuration) {
        // Either end of the wait means the same: poll again.
        let _ = tokio::time::timeout(timeout, self.nudge.notified()).await;
    }
}
