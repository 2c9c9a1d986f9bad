//! Whole months that are gone.

use medmesh_store::Tx;

use super::{Run, VerifyError};

impl Run<'_> {
    /// Names the table, where one was taken off or dropped: a hundred leaves that are gone say less, and it is
    /// what an operator has to look for.
    pub(super) async fn months(&mut self, tx: &mut Tx) -> Result<(), VerifyError> {
        for month in tx.audit_lost_months().await? {
            let why = format!(
                "the table {} was taken off the log or dropped; its first leaf has place {}",
                month.table, month.first
            );
            self.find(Some(month.first), Some(month.leaf), "month_missing", &why);
        }
        Ok(())
    }
}
