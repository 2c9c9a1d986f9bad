//! The one relay of a cluster.
//!
//! Who holds a session-level advisory lock is the relay, and everything a relay does goes
//! over the connection that holds it: when the process dies, is cut off or is told to go, the
//! lock and the power to mark events end in the same instant, and another node takes over.
//!
//! NOTIFY takes a lock that all notifying commits share, so nobody else notifies.

use std::time::Duration as StdDuration;

use medmesh_base::VisitId;
use sqlx::postgres::PgListener;
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;

use super::{Event, Row, event};
use crate::store::options;
use crate::{Result, SetupError, Store, StoreError};

/// Most events of one batch.
pub const OUTBOX_BATCH_MAX: u32 = 256;

/// The advisory lock: "medmesh" and what it is for.
const LOCK: i64 = 0x6d65_646d_6573_6801;

/// Where control nodes hear of events.
const CHANNEL: &str = "medmesh_event";

/// The power to relay. Dropping it gives the power up.
#[derive(Debug)]
pub struct Relay {
    db: PgConnection,
    term: i64,
}

/// How much waits, and since when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxCounts {
    /// Events the control nodes were not told yet.
    pub to_notify: i64,
    /// When the oldest of these happened.
    pub oldest_to_notify: Option<OffsetDateTime>,
    /// Events the sink does not have yet.
    pub to_publish: i64,
    /// When the oldest of these happened.
    pub oldest_to_publish: Option<OffsetDateTime>,
}

impl Relay {
    /// Becomes the relay if nobody is. `url` names the service role, past any pooler that shares
    /// connections between transactions.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn try_lead(url: &str) -> Result<Option<Self>> {
        let options = options(url).map_err(|_: SetupError| StoreError::corrupt("database.url"))?;
        let mut db = PgConnection::connect_with(&options).await?;
        let leads: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(LOCK)
            .fetch_one(&mut db)
            .await?;
        if !leads {
            db.close().await?;
            return Ok(None);
        }
        let term = sqlx::query_scalar("SELECT nextval('relay_term')")
            .fetch_one(&mut db)
            .await?;
        Ok(Some(Self { db, term }))
    }

    /// How often the relay had changed hands when this one began.
    #[must_use]
    pub const fn term(&self) -> i64 {
        self.term
    }

    /// The process of the database that serves it. For tests that cut it off.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn backend(&mut self) -> Result<i32> {
        let pid = sqlx::query_scalar("SELECT pg_backend_pid()");
        Ok(pid.fetch_one(&mut self.db).await?)
    }

    /// Tells every control node of the oldest events that were not told, and keeps them for the sink
    /// (`keep`) or forgets them, in one transaction. Says how many.
    ///
    /// # Errors
    /// When the connection is gone: then this is no relay any more.
    pub async fn notify(&mut self, keep: bool) -> Result<usize> {
        let events = self.next(false).await?;
        if events.is_empty() {
            return Ok(0);
        }
        let seqs: Vec<i64> = events.iter().map(|event| event.seq).collect();
        let mut visits: Vec<VisitId> = events.iter().filter_map(|event| event.kind.visit()).collect();
        visits.sort_unstable();
        visits.dedup();
        let words: Vec<String> = visits.iter().map(ToString::to_string).collect();
        let done: i64 = sqlx::query_scalar("SELECT outbox_notify($1, $2, $3, $4)")
            .bind(&seqs)
            .bind(words)
            .bind(keep)
            .bind(OffsetDateTime::now_utc())
            .fetch_one(&mut self.db)
            .await?;
        Ok(usize::try_from(done).unwrap_or(0))
    }

    /// The oldest events the sink does not have, in order.
    ///
    /// # Errors
    /// When the connection is gone: then this is no relay any more.
    pub async fn to_publish(&mut self) -> Result<Vec<Event>> {
        self.next(true).await
    }

    async fn next(&mut self, notified: bool) -> Result<Vec<Event>> {
        let rows: Vec<Row> = sqlx::query_as("SELECT * FROM outbox_next($1, $2)")
            .bind(notified)
            .bind(i32::try_from(OUTBOX_BATCH_MAX).unwrap_or(i32::MAX))
            .fetch_all(&mut self.db)
            .await?;
        rows.into_iter().map(event).collect()
    }

    /// Forgets events the sink has confirmed. Says how many were still there.
    ///
    /// # Errors
    /// When the connection is gone: the events come again, from whoever is the relay then.
    pub async fn published(&mut self, seqs: &[i64]) -> Result<u64> {
        let gone: i64 = sqlx::query_scalar("SELECT outbox_published($1)")
            .bind(seqs)
            .fetch_one(&mut self.db)
            .await?;
        Ok(gone.cast_unsigned())
    }

    /// How much waits. Also tells whether this is still the relay.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn counts(&mut self) -> Result<OutboxCounts> {
        type Row = (i64, Option<OffsetDateTime>, i64, Option<OffsetDateTime>);
        let row: Row = sqlx::query_as("SELECT * FROM outbox_counts()")
            .fetch_one(&mut self.db)
            .await?;
        Ok(OutboxCounts {
            to_notify: row.0,
            oldest_to_notify: row.1,
            to_publish: row.2,
            oldest_to_publish: row.3,
        })
    }

    /// Gives the power up now, so that another node need not wait.
    pub async fn resign(self) {
        // Closed or broken: the lock is gone either way.
        let _ = self.db.close().await;
    }
}

/// Hears what the relay tells.
#[derive(Debug)]
pub struct Listener(PgListener);

impl Listener {
    /// Begins to hear.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn open(url: &str) -> Result<Self> {
        let options = options(url).map_err(|_: SetupError| StoreError::corrupt("database.url"))?;
        let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1);
        let pool = pool.connect_with(options).await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Self(listener))
    }

    /// The next visit that changed. `None`: the connection was lost and is there again; something may
    /// have been missed.
    ///
    /// # Errors
    /// When the connection cannot be had again.
    pub async fn heard(&mut self) -> Result<Option<VisitId>> {
        loop {
            match self.0.try_recv().await? {
                None => return Ok(None),
                Some(said) => {
                    if let Ok(visit) = said.payload().parse() {
                        return Ok(Some(visit));
                    }
                }
            }
        }
    }
}

impl Store {
    /// Waits until a transaction of this process wrote an event, or `timeout`
    /// (others write too). For one relay per process.
    pub async fn outbox_wait(&self, timeout: StdDuration) {
        // Either end of the wait means the same: look again.
        let _ = tokio::time::timeout(timeout, self.nudge.notified()).await;
    }
}
