//! Proof that one leaf is in the log, for somebody who does not trust us.

use medmesh_api_types::audit::AuditProof;
use medmesh_base::AuditId;
use medmesh_store::{StoreError, Tx};
use medmesh_tlog::note::Verifier;
use medmesh_tlog::proof::{ProofError, inclusion, inclusion_nodes};
use medmesh_tlog::{Checkpoint, CheckpointError};

use super::cosigner::Cosigner;
use super::evidence::Evidence;
use super::shelf::ShelfError;

/// A leaf cannot be proved.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// There is no such leaf, or the database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is under no signed head yet; a second later it is.
    #[error("no signed head covers the leaf yet")]
    NotYet,
    /// The leaf is not what it was: see the verification.
    #[error("the leaf was altered")]
    Altered,
    /// Object storage failed.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// The published head is not ours.
    #[error(transparent)]
    Head(#[from] CheckpointError),
    /// Published tiles do not hold what the proof needs.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

/// Makes the proof of one leaf of the transaction's clinic: a few reads, whatever the log's size.
///
/// # Errors
/// [`ProveError`].
pub async fn prove(tx: &mut Tx, evidence: &Evidence<'_>, leaf: AuditId) -> Result<AuditProof, ProveError> {
    let Evidence { keys, shelf, .. } = *evidence;
    let clinic = tx.clinic_id();
    let found = tx.audit_leaf(leaf).await?;
    let index = found.tree_index.ok_or(ProveError::NotYet)?;
    let content = found.content.map_err(|_| ProveError::Altered)?;
    let verifier = keys.signer(clinic).verifier().clone();
    let cosigned = match evidence.cosigner {
        Some(cosigner) => cosigned(tx, cosigner, &verifier, index).await?,
        None => None,
    };
    let (note, head) = match cosigned {
        Some(found) => found,
        None => {
            let note = shelf.head(clinic).await?.ok_or(ProveError::NotYet)?;
            let head = Checkpoint::open(&note, &verifier)?;
            (note, head)
        }
    };
    if index >= head.size {
        return Err(ProveError::NotYet);
    }
    let nodes = inclusion_nodes(index, head.size)?;
    let tiles = shelf.tiles(clinic, &nodes, head.size).await?;
    let path = inclusion(index, head.size, &tiles)?;
    Ok(AuditProof::new(
        index,
        &content.salt,
        &content.encoding,
        path.iter().map(ToString::to_string).collect(),
        note,
        verifier.to_string(),
    ))
}

/// The head the outside witness signed, where it covers the leaf: it says more than ours alone.
async fn cosigned(
    tx: &mut Tx,
    cosigner: &Cosigner,
    log: &Verifier,
    index: u64,
) -> Result<Option<(String, Checkpoint)>, StoreError> {
    let Some(note) = tx.audit_cosigned().await?.note else {
        return Ok(None);
    };
    let head = cosigner.open(&note, log).ok();
    let covering = head.filter(|head| index < head.size);
    Ok(covering.map(|head| (note, head)))
}
