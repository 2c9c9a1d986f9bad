//! Events: what happened, written with the effect and relayed after the commit.
//!
//! An event commits with its act or not at all. One control node at a time relays them
//! ([`Relay`]): in order, to every control node by NOTIFY and, where one is configured, to a
//! sink outside. Delivery is at least once; whoever consumes events remembers their ids. An
//! event says *that* something happened and to what, by ids; whoever wants to know more asks,
//! and is asked who they are.
//!
//! To add an event, add a variant to [`EventKind`] and call `Tx::publish` in the transaction of
//! the act, after the row of its subject is locked: that is what keeps the events of one subject
//! in order. A variant whose fields change gets a new version; consumers see it beside the data.

mod relay;

use medmesh_base::{AppointmentId, ClinicId, MessageId, VisitId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{Result, StoreError, Tx};

pub use relay::{Listener, OUTBOX_BATCH_MAX, OutboxCounts, Relay};

/// What happened. Ids only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
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
    /// An appointment was made, moved or cancelled.
    AppointmentChanged {
        /// The appointment.
        appointment_id: AppointmentId,
    },
}

impl EventKind {
    /// The stable word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::VisitChanged { .. } => "visit_changed",
            Self::MessageCreated { .. } => "message_created",
            Self::AppointmentChanged { .. } => "appointment_changed",
        }
    }

    /// The version of its data's form.
    #[must_use]
    pub const fn version(&self) -> i16 {
        match self {
            Self::VisitChanged { .. } | Self::MessageCreated { .. } | Self::AppointmentChanged { .. } => 1,
        }
    }

    /// What it is about: events of one subject keep their order.
    #[must_use]
    pub const fn subject(&self) -> Uuid {
        match self {
            Self::VisitChanged { visit_id } | Self::MessageCreated { visit_id, .. } => visit_id.as_uuid(),
            Self::AppointmentChanged { appointment_id } => appointment_id.as_uuid(),
        }
    }

    /// The visit whose watchers should look again.
    #[must_use]
    pub const fn visit(&self) -> Option<VisitId> {
        match self {
            Self::VisitChanged { visit_id } | Self::MessageCreated { visit_id, .. } => Some(*visit_id),
            Self::AppointmentChanged { .. } => None,
        }
    }
}

/// An event to relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the order; gone with the database, so that nobody outside is told.
    #[serde(skip)]
    pub seq: i64,
    /// By which it is known when it comes twice.
    #[serde(rename = "id")]
    pub event_id: Uuid,
    /// The clinic it belongs to.
    pub clinic_id: ClinicId,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
    /// The version of the data's form.
    pub version: i16,
    /// What it is about.
    pub subject: Uuid,
    /// When.
    #[serde(rename = "at", with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

type Row = (i64, Uuid, Uuid, String, i16, Uuid, Json<Value>, OffsetDateTime);

fn event((seq, clinic, event_id, kind, version, subject, Json(data), created_at): Row) -> Result<Event> {
    let typed = serde_json::json!({ "kind": kind, "data": data });
    let kind: EventKind = serde_json::from_value(typed).map_err(|_| StoreError::corrupt("outbox.kind"))?;
    Ok(Event {
        seq,
        event_id,
        clinic_id: ClinicId::from_uuid(clinic),
        kind,
        version,
        subject,
        created_at,
    })
}

impl Tx {
    pub(crate) async fn publish(&mut self, kind: EventKind) -> Result<()> {
        let mut typed = serde_json::to_value(kind).map_err(|_| StoreError::corrupt("outbox.data"))?;
        let data = typed.get_mut("data").map(Value::take).unwrap_or_default();
        let (clinic, now) = (self.clinic(), self.now());
        sqlx::query(
            "INSERT INTO outbox (clinic_id, event_id, kind, version, subject, data, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(clinic)
        .bind(Uuid::now_v7())
        .bind(kind.word())
        .bind(kind.version())
        .bind(kind.subject())
        .bind(Json(data))
        .bind(now)
        .execute(self.db())
        .await?;
        self.has_events = true;
        Ok(())
    }
}
