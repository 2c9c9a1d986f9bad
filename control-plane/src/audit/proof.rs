//! Proof that one leaf is in the log, for somebody who does not trust us.

use medmesh_api_types::audit::AuditProof;
use medmesh_base::AuditId;
use medmesh_store::{StoreError, Tx};
use medmesh_tlog::CheckpointError;
use medmesh_tlog::proof::{ProofError, inclusion, inclusion_nodes};

use super::cosigner::Cosigner;
use super::evidence::Evidence;
use super::names::Log;
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
    let (shelf, log) = (evidence.shelf, evidence.log(tx.clinic_id()));
    let found = tx.audit_leaf(leaf).await?;
    let index = found.tree_index.ok_or(ProveError::NotYet)?;
    let content = found.content.map_err(|_| ProveError::Altered)?;
    let cosigned = match evidence.cosigner {
        Some(cosigner) => cosigned(tx, cosigner, &log, index).await?,
        None => None,
    };
    let note = match cosigned {
        Some(note) => note,
        None => shelf.head(log.place).await?.ok_or(ProveError::NotYet)?,
    };
    let (head, verifier) = log.open(&note)?;
    if index >= head.size {
        return Err(ProveError::NotYet);
    }
    let nodes = inclusion_nodes(index, head.size)?;
    let tiles = shelf.tiles(log.place, &nodes, head.size).await?;
    let path = inclusion(index, head.size, &tiles)?;
    Ok(AuditProof::new(
        index,
        &content.salt,
        &content.encoding,
        path.iter().map(ToString::to_string).collect(),
        note,
        verifier.to_string(),
    )
    .with_notices(evidence.notices(tx.clinic_id())))
}

/// The head the outside witness signed, where it covers the leaf: it says more than ours alone.
async fn cosigned(
    tx: &mut Tx,
    cosigner: &Cosigner,
    log: &Log,
    index: u64,
) -> Result<Option<String>, StoreError> {
    let Some(note) = tx.audit_cosigned().await?.note else {
        return Ok(None);
    };
    let head = cosigner.open(&note, log).ok();
    Ok(head.filter(|head| index < head.size).map(|_| note))
}
