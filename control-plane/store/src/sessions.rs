//! What happens to sessions after they were opened: proofs added, tokens changed, ended.

use medmesh_base::SessionId;
use medmesh_clinic::audit::Action;
use medmesh_clinic::identity::Factor;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::session::{SESSION_IDLE, interval};
use crate::{Result, Session, SessionToken, Store, StoreError, Tx};

/// Sessions listed at most: nobody has as many devices.
const SESSIONS_LISTED_MAX: i64 = 100;

/// One of a person's sessions, as they recognise it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEntry {
    /// Which.
    pub id: SessionId,
    /// `Firefox on Linux`; empty when the client does not say.
    pub device_label: String,
    /// When it was opened.
    pub created_at: OffsetDateTime,
    /// When it was last used.
    pub seen_at: OffsetDateTime,
    /// Whether it is the caller's.
    pub is_own: bool,
}

impl Store {
    /// Which sessions of any clinic were ended since then. The same one may come again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sessions_revoked(&self, since: OffsetDateTime) -> Result<Vec<SessionId>> {
        let ids: Vec<Uuid> = sqlx::query_scalar("SELECT sessions_revoked($1)")
            .bind(since)
            .fetch_all(&self.pool)
            .await?;
        Ok(ids.into_iter().map(SessionId::from_uuid).collect())
    }
}

impl Tx {
    /// Gives the session of `token` a new one. `None` when a request beside this one did already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn session_rotate(
        &mut self,
        session: &Session,
        token: &SessionToken,
    ) -> Result<Option<SessionToken>> {
        let (fresh, now) = (SessionToken::generate(), self.now());
        // The one before stays the one the client has, also when it was given another in vain.
        let changed = sqlx::query(
            "UPDATE session SET token_sha256 = $3, rotated_at = $4, confirmed_at = NULL,
                 previous_sha256 = CASE WHEN token_sha256 = $2 THEN token_sha256 ELSE previous_sha256 END
             WHERE id = $1 AND rotated_at = $5
                 AND (token_sha256 = $2 OR (previous_sha256 = $2 AND confirmed_at IS NULL))",
        )
        .bind(session.id.as_uuid())
        .bind(token.sha256())
        .bind(fresh.sha256())
        .bind(now)
        .bind(session.rotated_at)
        .execute(self.db())
        .await?;
        Ok((changed.rows_affected() == 1).then_some(fresh))
    }

    /// Notes that the caller gave this proof in their session, which gets a new token. One
    /// that is allowed more than before leaves its old token behind at once; one that was
    /// allowed everything keeps it for requests under way, without the freshness.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the session has ended.
    pub async fn session_prove(
        &mut self,
        factor: Factor,
        keeps_old: bool,
    ) -> Result<(Session, SessionToken)> {
        let id = self.own_session()?;
        let (fresh, now) = (SessionToken::generate(), self.now());
        let changed = sqlx::query(
            "UPDATE session SET token_sha256 = $2, rotated_at = $3, authenticated_at = $3, confirmed_at = NULL,
                 previous_sha256 = CASE WHEN $5 THEN token_sha256 END,
                 amr = CASE WHEN $4 = ANY (amr) THEN amr ELSE amr || $4 END
             WHERE id = $1 AND revoked_at IS NULL AND expires_at > $3",
        )
        .bind(id.as_uuid())
        .bind(fresh.sha256())
        .bind(now)
        .bind(factor.as_str())
        .bind(keeps_old)
        .execute(self.db())
        .await?;
        if changed.rows_affected() != 1 {
            return Err(StoreError::NotFound);
        }
        Ok((self.session_get(id).await?, fresh))
    }

    /// The caller's live sessions, the latest used first.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when nobody is signed in.
    pub async fn session_list(&mut self) -> Result<Vec<SessionEntry>> {
        let caller = *self.actor().caller().ok_or(StoreError::NotFound)?;
        let now = self.now();
        let rows: Vec<(Uuid, String, OffsetDateTime, OffsetDateTime)> = sqlx::query_as(
            "SELECT id, device_label, created_at, seen_at FROM session
             WHERE person_id = $1 AND revoked_at IS NULL AND expires_at > $2 AND seen_at + $3 > $2
             ORDER BY seen_at DESC, id LIMIT $4",
        )
        .bind(caller.person_id.as_uuid())
        .bind(now)
        .bind(interval(SESSION_IDLE))
        .bind(SESSIONS_LISTED_MAX)
        .fetch_all(self.db())
        .await?;
        let entry = |(id, device_label, created_at, seen_at)| {
            let id = SessionId::from_uuid(id);
            SessionEntry {
                id,
                device_label,
                created_at,
                seen_at,
                is_own: id == caller.session_id,
            }
        };
        Ok(rows.into_iter().map(entry).collect())
    }

    /// Ends one of the caller's sessions. Ending it twice is no error.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for a session that is not theirs.
    pub async fn session_revoke(&mut self, id: SessionId) -> Result<()> {
        let caller = *self.actor().caller().ok_or(StoreError::NotFound)?;
        let now = self.now();
        let found = sqlx::query(
            "UPDATE session SET revoked_at = coalesce(revoked_at, $3) WHERE id = $1 AND person_id = $2",
        )
        .bind(id.as_uuid())
        .bind(caller.person_id.as_uuid())
        .bind(now)
        .execute(self.db())
        .await?;
        if found.rows_affected() == 0 {
            return Err(StoreError::NotFound);
        }
        self.audit(Action::SessionRevoke, id, None).await
    }

    /// Ends the caller's own session. Ending it twice is no error.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when nobody is signed in.
    pub async fn session_end(&mut self) -> Result<()> {
        let id = self.own_session()?;
        self.session_revoke(id).await
    }

    /// Ends every session of the caller but this one.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when nobody is signed in.
    pub async fn session_revoke_others(&mut self) -> Result<()> {
        let caller = *self.actor().caller().ok_or(StoreError::NotFound)?;
        let now = self.now();
        let ended: Vec<Uuid> = sqlx::query_scalar(
            "UPDATE session SET revoked_at = $3
             WHERE person_id = $2 AND id <> $1 AND revoked_at IS NULL AND expires_at > $3 RETURNING id",
        )
        .bind(caller.session_id.as_uuid())
        .bind(caller.person_id.as_uuid())
        .bind(now)
        .fetch_all(self.db())
        .await?;
        for id in ended {
            self.audit(Action::SessionRevoke, SessionId::from_uuid(id), None)
                .await?;
        }
        Ok(())
    }

    fn own_session(&self) -> Result<SessionId> {
        Ok(self.actor().caller().ok_or(StoreError::NotFound)?.session_id)
    }
}
