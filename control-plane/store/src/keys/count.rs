//! How much each key has sealed, kept where every node sees it.

use medmesh_vault::SEALS_PER_KEY_ROTATE;
use sqlx::AssertSqlSafe;

use super::{RotationSubject, ScopeId};
use crate::{Result, Store};

impl Store {
    /// Adds what this process has sealed since the last call to the keys' counts. A crash loses at
    /// most what was sealed since then, which the distance between rotation and bound allows for.
    ///
    /// # Errors
    /// When the database fails; nothing is lost then.
    pub async fn key_counts_report(&self) -> Result<()> {
        for (id, version, count) in self.keyring.seal_counts() {
            let taken = count.take();
            if taken == 0 {
                continue;
            }
            match self.key_count_add(id, version, taken).await {
                Ok(total) => count.learn(total),
                Err(error) => {
                    count.give_back(taken);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn key_count_add(&self, id: ScopeId, version: u32, sealed: u64) -> Result<u64> {
        let mut tx = self.begin_scope(id).await?;
        let table = super::rotate::table_of(id);
        let sql = format!("UPDATE {table} SET sealed = sealed + $1 WHERE version = $2 RETURNING sealed");
        let total: Option<i64> = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(sealed.cast_signed())
            .bind(version.cast_signed())
            .fetch_optional(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(total.unwrap_or_default().cast_unsigned())
    }

    /// The keys whose latest version has sealed half of what it may: they are to be rotated.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keys_worn(&self) -> Result<Vec<RotationSubject>> {
        let keys = self.key_list().await?;
        let is_latest = |at: usize| {
            keys.get(at + 1)
                .is_none_or(|next| next.clinic_id != keys[at].clinic_id)
        };
        let worn = keys.iter().enumerate().filter(|(at, key)| {
            is_latest(*at) && u64::try_from(key.sealed).unwrap_or(0) >= SEALS_PER_KEY_ROTATE
        });
        Ok(worn
            .map(|(_, key)| match key.clinic_id {
                Some(clinic_id) => RotationSubject::Clinic { clinic_id },
                None => RotationSubject::System,
            })
            .collect())
    }
}
