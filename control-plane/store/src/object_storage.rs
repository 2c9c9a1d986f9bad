//! Which object storage the control nodes share.

use medmesh_base::StorageId;
use uuid::Uuid;

use crate::{Result, Store};

impl Store {
    /// Which object storage the cluster uses; `None` until a node has said so.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn object_storage(&self) -> Result<Option<StorageId>> {
        let known: Option<Uuid> = sqlx::query_scalar("SELECT id FROM object_storage")
            .fetch_optional(&self.pool)
            .await?;
        Ok(known.map(StorageId::from_uuid))
    }

    /// Says which one it is, unless that is known, and gives the one that holds.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn object_storage_agree(&self, seen: StorageId) -> Result<StorageId> {
        sqlx::query("INSERT INTO object_storage (id) VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(seen.as_uuid())
            .execute(&self.pool)
            .await?;
        Ok(self.object_storage().await?.unwrap_or(seen))
    }
}
