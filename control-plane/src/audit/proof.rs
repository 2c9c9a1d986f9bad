//! What somebody who does not trust us checks: that one leaf is in the log, and that a later head extends an
//! earlier one.
//!
//! The database is asked first and let go, object storage after that: while it is slow, nobody waits for a
//! connection that a proof holds.

use medmesh_api_types::audit::{AuditConsistency, AuditCosigned, AuditHead, AuditProof, AuditWitness};
use medmesh_base::{ClinicId, PersonId};
use medmesh_store::{self as store, AuditContent, AuditLeaf, StoreError, Tx};
use medmesh_tlog::proof::{
    ProofError, consistency, consistency_nodes, inclusion, inclusion_nodes, verify_inclusion,
};
use medmesh_tlog::{Checkpoint, CheckpointError, Hash, leaf_hash};
use time::OffsetDateTime;

use super::cosigner::Cosigner;
use super::evidence::Evidence;
use super::names::Log;
use super::shelf::ShelfError;

/// A leaf cannot be proved, or a head not be had.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// There is no such leaf, or the database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no signed head of that size, or over that leaf, yet; a second later there is.
    #[error("no signed head covers that yet")]
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

/// A leaf of which a proof can be made, as the database has it.
#[derive(Clone, Debug)]
pub struct Provable {
    clinic: ClinicId,
    index: u64,
    content: AuditContent,
    /// The head the outside witness signed last.
    cosigned: Option<String>,
}

/// What the database has to say for the proof of a leaf of the transaction's clinic; leaves a leaf that one was
/// asked for.
///
/// # Errors
/// [`ProveError::NotYet`], [`ProveError::Altered`], or when the database or the keys fail.
pub async fn provable(tx: &mut Tx, found: AuditLeaf) -> Result<Provable, ProveError> {
    let index = found.tree_index.ok_or(ProveError::NotYet)?;
    let content = found.content.map_err(|_| ProveError::Altered)?;
    let published = tx.audit_tree().await?.map_or(0, |tree| tree.published_size);
    if index >= published {
        return Err(ProveError::NotYet);
    }
    let cosigned = tx.audit_cosigned().await?.note;
    let patient = content.event.patient_id.map(PersonId::from_uuid);
    tx.audit_proved(found.id, patient).await?;
    Ok(Provable {
        clinic: tx.clinic_id(),
        index,
        content,
        cosigned,
    })
}

/// Makes the proof: a few reads of object storage, whatever the log's size.
///
/// # Errors
/// [`ProveError`].
pub async fn prove(evidence: &Evidence<'_>, asked: Provable) -> Result<AuditProof, ProveError> {
    let (shelf, log) = (evidence.shelf, evidence.log(asked.clinic));
    let Provable { index, content, .. } = asked;
    let cosigned = evidence.cosigner.zip(asked.cosigned);
    let cosigned = cosigned.filter(|(cosigner, note)| covers(cosigner, note, &log, index));
    let note = match cosigned {
        // It says more than ours alone.
        Some((_, note)) => note,
        None => shelf.head(log.place).await?.ok_or(ProveError::NotYet)?,
    };
    let (head, verifier) = log.open(&note)?;
    if index >= head.size {
        return Err(ProveError::NotYet);
    }
    let nodes = inclusion_nodes(index, head.size)?;
    let tiles = shelf.tiles(log.place, &nodes, head.size).await?;
    let path = inclusion(index, head.size, &tiles)?;
    // A proof that does not hold is not given out as one.
    let leaf = leaf_hash(&content.commitment.0);
    verify_inclusion(&leaf, index, head.size, &path, &head.root).map_err(|_| ProveError::Altered)?;
    Ok(AuditProof::new(
        index,
        &content.salt,
        &content.encoding,
        texts(&path),
        note,
        verifier.to_string(),
    )
    .with_notices(evidence.notices(asked.clinic)))
}

/// The newest head of a clinic's log that the control nodes agreed on. `cosigned` is what the database has of the
/// outside witness.
///
/// # Errors
/// [`ProveError::NotYet`] before the first.
pub fn head(
    evidence: &Evidence<'_>,
    clinic: ClinicId,
    cosigned: store::AuditCosigned,
) -> Result<AuditHead, ProveError> {
    let witnessed = evidence.witness.log(clinic).ok_or(ProveError::NotYet)?;
    let log = evidence.log(clinic);
    let (head, _) = log.open(&witnessed.note)?;
    let outside_witness = evidence.cosigner.map(|cosigner| AuditWitness {
        key: cosigner.verifier().to_string(),
        signed: cosigned
            .note
            .and_then(|note| signed_outside(cosigner, note, &log)),
        refused_at: cosigned.refused_at,
    });
    Ok(AuditHead {
        size: head.size,
        root: head.root.to_string(),
        checkpoint: witnessed.note.clone(),
        witnessed_at: instant(witnessed.newest.at / 1_000),
        key: log.verifier().to_string(),
        notices: evidence.notices(clinic),
        outside_witness,
    })
}

/// Proof that the log's head of `to` leaves (the newest without) extends that of `from`.
///
/// # Errors
/// [`ProveError::NotYet`] where it has not got that far; [`ProofError::OutOfRange`] for what is no earlier and
/// later head.
pub async fn extends(
    evidence: &Evidence<'_>,
    clinic: ClinicId,
    from: u64,
    to: Option<u64>,
) -> Result<AuditConsistency, ProveError> {
    let witnessed = evidence.witness.log(clinic).ok_or(ProveError::NotYet)?;
    let log = evidence.log(clinic);
    let (newest, _) = log.open(&witnessed.note)?;
    let to = to.unwrap_or(newest.size);
    if from.max(to) > newest.size {
        return Err(ProveError::NotYet);
    }
    let path = path_between(evidence, &log, from, to, &newest).await?;
    Ok(AuditConsistency {
        from_size: from,
        to_size: to,
        path: texts(&path),
        checkpoint: (to == newest.size).then(|| witnessed.note.clone()),
        key: log.verifier().to_string(),
        notices: evidence.notices(clinic),
    })
}

async fn path_between(
    evidence: &Evidence<'_>,
    log: &Log,
    from: u64,
    to: u64,
    newest: &Checkpoint,
) -> Result<Vec<Hash>, ProveError> {
    let nodes = consistency_nodes(from, to)?;
    // Tiles of sizes in between may be gone; those of the newest head are there, and hold the same nodes.
    let tiles = evidence.shelf.tiles(log.place, &nodes, newest.size).await?;
    Ok(consistency(from, to, &tiles)?)
}

fn covers(cosigner: &Cosigner, note: &str, log: &Log, index: u64) -> bool {
    cosigner.open(note, log).is_ok_and(|head| index < head.size)
}

/// What the witness signed, if it did, and this log.
fn signed_outside(cosigner: &Cosigner, note: String, log: &Log) -> Option<AuditCosigned> {
    let head = cosigner.open(&note, log).ok()?;
    let (_, at) = cosigner.verifier().verify(&note).ok()?;
    Some(AuditCosigned {
        size: head.size,
        signed_at: instant(at?),
        checkpoint: note,
    })
}

/// Of Unix seconds; what no calendar has is the beginning of time.
fn instant(seconds: u64) -> OffsetDateTime {
    let seconds = i64::try_from(seconds).ok();
    seconds
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn texts(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(ToString::to_string).collect()
}
