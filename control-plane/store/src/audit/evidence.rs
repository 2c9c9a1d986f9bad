//! What a clinic's own auditors take away from the log to check it without us: leaves to be proved, heads.

use std::collections::HashMap;

use medmesh_base::{AuditId, PersonId};
use medmesh_clinic::audit::{Action, Object, ObjectKind};
use medmesh_clinic::authz;
use uuid::Uuid;

use super::tree::unsigned;
use super::{AuditCosigned, AuditLeaf};
use crate::relationship::Target;
use crate::{Result, Tx};

impl Tx {
    /// The leaf somebody who reads the log wants a proof of.
    ///
    /// # Errors
    /// [`crate::StoreError::Denied`] for all but auditors, admins and their machines;
    /// [`crate::StoreError::NotFound`].
    pub async fn audit_prove(&mut self, leaf: AuditId) -> Result<AuditLeaf> {
        self.authorise(authz::Action::AuditProve, Target::Clinic).await?;
        self.audit_leaf(leaf).await
    }

    /// Leave to read the log's newest head, and what the outside witness signed of it.
    ///
    /// # Errors
    /// [`crate::StoreError::Denied`] for all but auditors, admins and their machines.
    pub async fn audit_head_get(&mut self) -> Result<AuditCosigned> {
        self.authorise(authz::Action::AuditHeadGet, Target::Clinic)
            .await?;
        self.audit_cosigned().await
    }

    /// Leave to have it proved that one head extends another.
    ///
    /// # Errors
    /// [`crate::StoreError::Denied`] for all but auditors, admins and their machines.
    pub async fn audit_consistency_get(&mut self) -> Result<()> {
        self.authorise(authz::Action::AuditConsistencyGet, Target::Clinic)
            .await?;
        Ok(())
    }

    /// Records that a proof of one leaf was given out: to the patient, too, whose record the leaf is about.
    ///
    /// # Errors
    /// When the database or the keys fail.
    pub async fn audit_proved(&mut self, leaf: AuditId, patient: Option<PersonId>) -> Result<()> {
        let object = Object::of(ObjectKind::Audit, leaf.as_uuid());
        self.audit(Action::AuditProve, object, patient).await
    }

    /// The places of those of these leaves that are under the published head.
    pub(super) async fn audit_covered(&mut self, leaves: &[Uuid]) -> Result<HashMap<Uuid, u64>> {
        let clinic = self.clinic();
        let rows: Vec<(Uuid, i64)> = sqlx::query_as(
            "SELECT o.leaf_id, o.tree_index FROM audit_order o
             JOIN audit_tree t ON t.clinic_id = o.clinic_id AND o.tree_index < t.published_size
             WHERE o.clinic_id = $1 AND o.leaf_id = ANY ($2)",
        )
        .bind(clinic)
        .bind(leaves)
        .fetch_all(self.db())
        .await?;
        rows.into_iter()
            .map(|(leaf, index)| Ok((leaf, unsigned(index)?)))
            .collect()
    }
}
