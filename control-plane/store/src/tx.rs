//! One transaction: of one clinic, for one actor, in one request.

use std::collections::HashMap;
use std::sync::Arc;

use medmesh_base::{ClinicId, PersonId, RequestId};
use medmesh_clinic::Actor;
use sqlx::{PgConnection, Postgres, Transaction};
use time::OffsetDateTime;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::audit::{Promise, Promises};
use crate::keys::{Keyring, Ring, Scope};
use crate::{Result, Store};

/// A transaction. Dropping it without [`Tx::commit`] undoes everything,
/// audit leaves included.
///
/// After an operation failed, let it go: PostgreSQL takes back at commit what a
/// failed statement left, without saying so. While it lives it may hold the locks
/// of an appointment, so it should end before the answer is sent.
#[derive(Debug)]
pub struct Tx {
    tx: Transaction<'static, Postgres>,
    clinic_id: ClinicId,
    pub(crate) actor: Actor,
    request_id: RequestId,
    now: OffsetDateTime,
    /// Whether outbox rows were written, which the relay is told about after the commit.
    pub(crate) has_events: bool,
    /// Whether jobs were added, which the workers are told about after the commit.
    pub(crate) has_jobs: bool,
    nudge: Arc<Notify>,
    job_nudge: Arc<Notify>,
    /// Leaves of this transaction, remembered from the commit on.
    pub(crate) promises: Vec<Promise>,
    promised: Arc<Promises>,
    pub(crate) keys: Box<Keys>,
}

/// What a transaction seals and opens with.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) keyring: Keyring,
    /// The clinic's keys; `None` when there is no such clinic, the failure when they cannot be had.
    pub(crate) scope: Result<Option<Arc<Scope>>>,
    /// Keys made in this transaction: nobody else may use them before it is committed.
    pub(crate) fresh: HashMap<PersonId, Ring>,
}

impl Tx {
    pub(crate) fn new(
        tx: Transaction<'static, Postgres>,
        clinic_id: ClinicId,
        actor: Actor,
        request_id: RequestId,
        now: OffsetDateTime,
        store: &Store,
        scope: Result<Option<Arc<Scope>>>,
    ) -> Self {
        // PostgreSQL keeps microseconds; what was written must equal what is read back.
        let now = now
            .replace_microsecond(now.microsecond())
            .expect("an instant's own microsecond is valid");
        Self {
            tx,
            clinic_id,
            actor,
            request_id,
            now,
            has_events: false,
            has_jobs: false,
            nudge: Arc::clone(&store.nudge),
            job_nudge: Arc::clone(&store.job_nudge),
            keys: Box::new(Keys {
                keyring: store.keyring.clone(),
                scope,
                fresh: HashMap::new(),
            }),
            promises: Vec::new(),
            promised: Arc::clone(&store.promises),
        }
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// When the connection fails the outcome is unknown: repeat the request with
    /// its idempotency key. Otherwise nothing was written.
    pub async fn commit(self) -> Result<()> {
        self.tx.commit().await?;
        self.promised.add(self.promises);
        if self.has_events {
            self.nudge.notify_one();
        }
        if self.has_jobs {
            self.job_nudge.notify_one();
        }
        Ok(())
    }

    /// Undoes everything, now rather than when the connection is next used.
    ///
    /// # Errors
    /// When the connection fails; the effect is the same.
    pub async fn rollback(self) -> Result<()> {
        self.tx.rollback().await?;
        Ok(())
    }

    /// The clinic this transaction sees.
    #[must_use]
    pub const fn clinic_id(&self) -> ClinicId {
        self.clinic_id
    }

    /// Who acts.
    #[must_use]
    pub const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The request it belongs to.
    #[must_use]
    pub const fn request_id(&self) -> RequestId {
        self.request_id
    }

    /// The present of this transaction, to the microsecond.
    #[must_use]
    pub const fn now(&self) -> OffsetDateTime {
        self.now
    }

    pub(crate) fn db(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    /// The clinic's id as the driver binds it.
    pub(crate) const fn clinic(&self) -> Uuid {
        self.clinic_id.as_uuid()
    }
}
