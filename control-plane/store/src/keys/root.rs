//! The root and the system: what concerns every clinic.

use medmesh_base::ClinicId;
use medmesh_clinic::audit::{Action, Object, ObjectKind};
use medmesh_vault::kms::{Context, Wrapped};

use super::rotate::table_of;
use super::{Column, ScopeId, unavailable, version_from};
use crate::{Result, Store};

impl Store {
    /// Wraps by the present root what older ones wrapped, of one clinic or of the system. Says how
    /// many versions were moved.
    pub(super) async fn scope_rewrap(&self, id: ScopeId) -> Result<u64> {
        let root = self.keyring.kms().root().await;
        let root = root.map_err(|error| unavailable(&error))?;
        let mut tx = self.begin_scope(id).await?;
        let table = table_of(id);
        let stale = format!("SELECT version, root, wrapped FROM {table} WHERE root <> $1 ORDER BY version");
        let rows: Vec<(i32, String, Vec<u8>)> = sqlx::query_as(sqlx::AssertSqlSafe(stale))
            .bind(root)
            .fetch_all(&mut *tx)
            .await?;
        // The KMS is asked without a transaction open.
        tx.commit().await?;
        let mut moved = 0;
        for (version, old_root, blob) in rows {
            let context = Context {
                clinic: id,
                version: version_from(version, Column::IndexKey)?,
            };
            let old = Wrapped { root: old_root, blob };
            let new = self.keyring.kms().rewrap(context, &old).await;
            let new = new.map_err(|error| unavailable(&error))?;
            let mut tx = self.begin_scope(id).await?;
            let update =
                format!("UPDATE {table} SET root = $1, wrapped = $2 WHERE version = $3 AND wrapped = $4");
            moved += sqlx::query(sqlx::AssertSqlSafe(update))
                .bind(new.root)
                .bind(new.blob)
                .bind(version)
                .bind(old.blob)
                .execute(&mut *tx)
                .await?
                .rows_affected();
            tx.commit().await?;
        }
        Ok(moved)
    }

    /// Says in a clinic's log that a key above its own was replaced.
    pub(super) async fn key_above_replaced(&self, clinic: ClinicId) -> Result<()> {
        let mut tx = self.begin_rotation(clinic).await?;
        tx.audit(Action::KeyRotate, Object::none_of(ObjectKind::Key), None)
            .await?;
        tx.commit().await
    }
}
