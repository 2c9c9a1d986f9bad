//! One transaction: of one clinic, for one actor, in one request.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use medmesh_base::{ClinicId, PersonId, RequestId};
use medmesh_clinic::Actor;
use medmesh_clinic::audit::Purpose;
use medmesh_clinic::authz::{Action, Assurance, Grant, Principal, Relation, gate};
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Transaction};
use time::OffsetDateTime;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::audit::{Promise, Promises};
use crate::keys::{Keyring, Ring, Scope};
use crate::{Fault, Result, Store, StoreError};

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
    /// What the request was let in for: undecided, it cannot be committed.
    declared: Option<Action>,
    /// What was decided on.
    pub(crate) decided: Vec<Action>,
    /// The leave under which what follows is done.
    pub(crate) grant: Option<Grant>,
    /// What the request says it is for.
    pub(crate) purpose: Option<Purpose>,
    /// Whose record this transaction's leaves name last: whom a stored answer is about.
    pub(crate) about: Option<PersonId>,
    /// The copy that is being made: its own leaf stands for every read.
    pub(crate) copying: Option<PersonId>,
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
    /// Patients who cannot be erased before this transaction ends.
    pub(crate) held: HashSet<PersonId>,
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
            declared: None,
            decided: Vec::new(),
            grant: None,
            purpose: None,
            about: None,
            copying: None,
            has_events: false,
            has_jobs: false,
            nudge: Arc::clone(&store.nudge),
            job_nudge: Arc::clone(&store.job_nudge),
            keys: Box::new(Keys {
                keyring: store.keyring.clone(),
                scope,
                fresh: HashMap::new(),
                held: HashSet::new(),
            }),
            promises: Vec::new(),
            promised: Arc::clone(&store.promises),
        }
    }

    /// Binds the transaction to the action its route declares, and to the purpose the request
    /// names: only rules of that purpose then count. It can be committed only after that very
    /// action was decided on, so that no handler can forget to ask.
    #[must_use]
    pub fn declared(mut self, action: Action, purpose: Option<Purpose>) -> Self {
        self.declared = Some(action);
        self.purpose = purpose;
        // What reaches the caller's own account and nothing else needs no facts.
        let rule = gate(&Principal::from(&self.actor), action, purpose);
        if let Some(rule) = rule.ok().filter(|rule| rule.to == Relation::Oneself) {
            self.granted(action, rule.grant());
        }
        self
    }

    /// The action of the route, if it came through one.
    pub(crate) const fn declared_action(&self) -> Option<Action> {
        self.declared
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// When the connection fails the outcome is unknown: repeat the request with
    /// its idempotency key. Otherwise nothing was written. [`StoreError::Internal`] when the
    /// declared action was never decided on.
    pub async fn commit(self) -> Result<()> {
        if let Some(action) = self.declared.filter(|action| !self.decided.contains(action)) {
            self.tx.rollback().await?;
            return Err(StoreError::Internal(Fault::Undecided(action)));
        }
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

    /// How well the actor proved who they are, as of now.
    pub(crate) fn assurance(&self) -> Assurance {
        self.actor
            .caller()
            .map_or_else(Assurance::default, |caller| Assurance {
                second_factor: caller.second_factor,
                step_up_age: caller.stepped_up_at.map(|at| self.now - at),
            })
    }

    /// What follows is done under this leave.
    pub(crate) fn granted(&mut self, action: Action, grant: Grant) {
        self.decided.push(action);
        self.grant = Some(grant);
    }

    /// Undoes everything and begins anew, on the same connection: asking the pool for another
    /// one while holding this one could wait for ever.
    pub(crate) async fn start_over(&mut self) -> Result<()> {
        self.chain("ROLLBACK").await?;
        self.decided.clear();
        self.grant = None;
        self.about = None;
        self.has_events = false;
        self.keys.fresh.clear();
        self.promises.clear();
        Ok(())
    }

    /// Makes what was done so far durable and begins anew.
    pub(crate) async fn commit_and_go_on(&mut self) -> Result<()> {
        self.chain("COMMIT").await?;
        self.promised.add(std::mem::take(&mut self.promises));
        Ok(())
    }

    /// Ends the transaction that way and begins another of the same clinic.
    async fn chain(&mut self, end: &'static str) -> Result<()> {
        let sql = format!("{end}; BEGIN; SET LOCAL medmesh.clinic_id = '{}'", self.clinic_id);
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(self.db()).await?;
        self.keys.held.clear();
        Ok(())
    }

    pub(crate) fn db(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    /// The clinic's id as the driver binds it.
    pub(crate) const fn clinic(&self) -> Uuid {
        self.clinic_id.as_uuid()
    }
}
