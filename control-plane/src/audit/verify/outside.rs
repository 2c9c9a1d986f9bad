//! What those say whom no operator of ours commands: the outside witness, and the bucket that locks.

use medmesh_store::{AuditCosigned, Tx};

use super::super::cosigner::{CosignError, Cosigner};
use super::super::evidence::Evidence;
use super::{Run, VerifyError};
use crate::objects::LockError;

impl Run<'_> {
    /// Shows the witness the newest head: what it answers now counts, not what we kept of it.
    pub(super) async fn outside(&mut self, tx: &mut Tx, evidence: &Evidence<'_>) -> Result<(), VerifyError> {
        if let Err(error @ LockError::Unlocked(_)) = evidence.shelf.check_lock().await {
            self.find(None, None, "objects_unlocked", &error.to_string());
        }
        let Some(cosigner) = evidence.cosigner else {
            return Ok(());
        };
        let kept = tx.audit_cosigned().await?;
        self.claim_cosigned(cosigner, &kept);
        let asked = cosigner
            .cosign(self.log.place, evidence.witness, evidence.shelf, kept.size)
            .await;
        let word = match asked {
            Ok(cosigned) => {
                self.report.cosigned_size = Some(cosigned.head.size);
                self.claim("cosigned", cosigned.head.size, cosigned.head.root);
                "signs"
            }
            Err(error @ CosignError::Refused(_)) => {
                self.find(None, None, "witness_refuses", &error.to_string());
                "refuses"
            }
            Err(CosignError::NotYet) => "nothing_yet",
            Err(CosignError::Unknown(_)) => "unknown_log",
            Err(CosignError::Away(_)) => "away",
            // What is published is no tree: told of leaf by leaf.
            Err(error) => {
                tracing::warn!(%error, "the outside witness was not asked");
                "not_asked"
            }
        };
        self.report.outside_witness = Some(word.to_owned());
        Ok(())
    }

    /// The head that was kept with the witness's signature: nobody here could have made it.
    fn claim_cosigned(&mut self, cosigner: &Cosigner, kept: &AuditCosigned) {
        let Some(note) = &kept.note else { return };
        match cosigner.open(note, &self.log) {
            Ok(head) => {
                self.report.cosigned_size = Some(head.size);
                self.claim("cosigned", head.size, head.root);
            }
            Err(error) => {
                let why = format!("the head that was kept with the outside signature: {error}");
                self.find(None, None, "cosignature_forged", &why);
            }
        }
    }
}
