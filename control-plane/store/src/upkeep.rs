//! What is past its time goes.

use time::{Duration, OffsetDateTime};

use crate::{Result, Store};

/// How long a creating request can be replayed: long enough for a phone that was
/// in a tunnel, or off over night.
pub const IDEMPOTENCY_KEPT: Duration = Duration::hours(24);

/// Rows of one kind removed by one call, so that upkeep never holds locks for long.
const BITE: i32 = 1_000;

/// What one round removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// Sessions that had ended.
    pub sessions: i64,
    /// Answers nobody will ask for again.
    pub idempotency_keys: i64,
    /// Memories of what was used once and is no longer good anyway.
    pub used_once: i64,
    /// Registrations nobody completed.
    pub registrations: i64,
    /// Tokens of machines whose time is over.
    pub tokens: i64,
}

impl Store {
    /// Removes ended sessions and old idempotency keys of all clinics, a bounded
    /// number at once. Any control node may call it at any time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn upkeep(&self, now: OffsetDateTime) -> Result<Upkeep> {
        let (sessions, idempotency_keys): (i64, i64) =
            sqlx::query_as("SELECT sessions, idempotency_keys FROM upkeep($1, $2, $3)")
                .bind(now)
                .bind(now - IDEMPOTENCY_KEPT)
                .bind(BITE)
                .fetch_one(&self.pool)
                .await?;
        let used_once = sqlx::query_scalar("SELECT used_once_purge($1, $2)")
            .bind(now)
            .bind(BITE)
            .fetch_one(&self.pool)
            .await?;
        let registrations = sqlx::query_scalar("SELECT registration_purge($1, $2)")
            .bind(now)
            .bind(BITE)
            .fetch_one(&self.pool)
            .await?;
        let tokens = sqlx::query_scalar("SELECT oauth_token_purge($1, $2)")
            .bind(now)
            .bind(BITE)
            .fetch_one(&self.pool)
            .await?;
        Ok(Upkeep {
            sessions,
            idempotency_keys,
            used_once,
            registrations,
            tokens,
        })
    }
}
