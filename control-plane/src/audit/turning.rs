//! What an operator may have done to a log: another key, or going on after its database was put back.
//!
//! **Another key.** The key in force and the next one sign a notice that names the next; the control
//! nodes keep it, object storage publishes it, and every proof carries it, so that whoever believes an
//! earlier key comes to the newest without asking. Heads an earlier key signed stay heads. All keys come
//! from the cluster's secret: a new one ends what a stolen head key can do, not what a stolen secret can.
//!
//! **Going on.** A database put back to an earlier time lacks leaves that were witnessed, and no head of
//! it is ever taken again: that is what a tampered one looks like. [`resume`] lets the log go on under
//! another name. What it cannot do is hide: every voter checks that the head gone on from is a beginning
//! of the witnessed one, the notice with both heads and the operator's reason stays for good, what was
//! published stays in its own folder, and every verification tells of the leaves that are gone.

use medmesh_ledger::{Command, Refused, Response};
use medmesh_store::{Store, StoreError};
use medmesh_tlog::notice::{Change, Notice};
use medmesh_tlog::proof::{ProofError, consistency, consistency_nodes, root_nodes};
use medmesh_tlog::tile::Tiles;
use medmesh_tlog::{Checkpoint, Frontier, Hash, leaf_hash};
use time::OffsetDateTime;
use uuid::Uuid;

use super::evidence::Evidence;
use super::names::Log;
use super::publish::{PublishError, Publisher};
use super::shelf::ShelfError;

/// Commitments read at once: 2 MB.
const COMMITMENTS_PER_READ: u64 = 65_536;

/// The log stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// Nothing of it was witnessed: there is nothing to announce.
    #[error("the control nodes know no such log")]
    NoLog,
    /// Its database holds all that was witnessed.
    #[error("the log is not behind what was witnessed: there is nothing to go on from")]
    NotBehind,
    /// It holds something else: that is no backup of it.
    #[error("the database does not hold a beginning of the witnessed log: verify it")]
    NotOurs,
    /// The database failed, or a leaf is gone from it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Object storage failed, or lacks what was published.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// What was published is not the witnessed tree.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// It cannot be published anew.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The control nodes could not be reached.
    #[error("not witnessed: {0}")]
    Unwitnessed(String),
    /// They refuse.
    #[error(transparent)]
    Refused(Refused),
}

/// What was announced.
#[derive(Clone, Debug)]
pub struct Announced {
    /// The notice.
    pub notice: Notice,
    /// With its signatures.
    pub note: String,
    /// The id its leaf names it by.
    pub id: Uuid,
}

impl Announced {
    fn new(notice: Notice, note: String) -> Self {
        let digest = Hash::of(&[note.as_bytes()]);
        let bytes = *digest.0.first_chunk().expect("a hash has more than 16 bytes");
        Self {
            notice,
            note,
            id: uuid::Builder::from_custom_bytes(bytes).into_uuid(),
        }
    }
}

/// Gives a log its next key, from its next head on.
///
/// # Errors
/// [`TurnError`].
pub async fn rotate(evidence: &Evidence<'_>, log: &Log, at: OffsetDateTime) -> Result<Announced, TurnError> {
    let held = evidence.witness.log(log.place.clinic).ok_or(TurnError::NoLog)?;
    let next = log.with_next_key();
    let notice = Notice {
        change: Change::Key,
        origin: log.origin.clone(),
        old_size: held.newest.size,
        old_root: held.newest.root,
        key: next.verifier(),
        size: held.newest.size,
        root: held.newest.root,
        at: seconds(at),
        reason: None,
    };
    let note = notice.sign(&log.signer(), &next.signer());
    let command = Command::AuditKeyRotate {
        clinic: log.place.clinic,
        epoch: next.key_epoch,
        notice: note.clone(),
        now: seconds(at) * 1_000,
    };
    propose(evidence, command).await?;
    publish(evidence, log, held.notices.len(), &note).await;
    Ok(Announced::new(notice, note))
}

/// Lets a log go on from what its database holds after it was put back. `reason` names nobody.
///
/// # Errors
/// [`TurnError`].
pub async fn resume(
    evidence: &Evidence<'_>,
    publisher: &Publisher,
    log: &Log,
    at: OffsetDateTime,
    reason: &str,
) -> Result<Announced, TurnError> {
    let (clinic, shelf, store) = (log.place.clinic, evidence.shelf, &publisher.store);
    let held = evidence.witness.log(clinic).ok_or(TurnError::NoLog)?;
    let newest = held.newest;
    let tree = store.audit_tree_of(clinic).await?;
    // What the backup had under a head was witnessed; what it had beyond that gets its place anew.
    let size = tree.as_ref().map_or(0, |tree| tree.published_size);
    if size >= newest.size {
        return Err(TurnError::NotBehind);
    }
    let published = shelf.tiles(log.place, &root_nodes(size), newest.size).await?;
    let root = Frontier::from_nodes(size, &published)?.root();
    if frontier(store, clinic, size).await?.root() != root {
        return Err(TurnError::NotOurs);
    }
    let proof = if size == 0 {
        Vec::new()
    } else {
        let nodes = consistency_nodes(size, newest.size)?;
        let tiles = shelf.tiles(log.place, &nodes, newest.size).await?;
        consistency(size, newest.size, &tiles)?
    };
    let next = log.again();
    let head = Checkpoint {
        origin: next.origin.clone(),
        size,
        root,
    };
    let notice = Notice {
        change: Change::Resume,
        origin: log.origin.clone(),
        old_size: newest.size,
        old_root: newest.root,
        key: next.verifier(),
        size,
        root,
        at: seconds(at),
        reason: Some(reason.to_owned()),
    };
    let note = notice.sign(&log.signer(), &next.signer());
    let head = head.sign(&next.signer());
    // Published before it is agreed, as every head is; in a folder of its own nothing is overwritten.
    republish(publisher, &next, size).await?;
    shelf.put_head(next.place, &head).await?;
    let command = Command::AuditResume {
        clinic,
        note: head.clone(),
        proof,
        notice: note.clone(),
        now: seconds(at) * 1_000,
    };
    propose(evidence, command).await?;
    publish(evidence, log, held.notices.len(), &note).await;
    store.audit_resumed(clinic, size, &head).await?;
    Ok(Announced::new(notice, note))
}

/// The tree over the first `size` leaves the database holds.
async fn frontier(store: &Store, clinic: medmesh_base::ClinicId, size: u64) -> Result<Frontier, StoreError> {
    let mut frontier = Frontier::new();
    while frontier.size() < size {
        let to = size.min(frontier.size() + COMMITMENTS_PER_READ);
        for commitment in store.audit_commitments(clinic, frontier.size(), to).await? {
            frontier.append(leaf_hash(&commitment.0), |_, _, _| {});
        }
    }
    Ok(frontier)
}

/// Publishes the first `size` leaves under the log's name.
async fn republish(publisher: &Publisher, log: &Log, size: u64) -> Result<(), TurnError> {
    let (mut frontier, mut tiles) = (Frontier::new(), Tiles::default());
    while frontier.size() < size {
        let (from, to) = (frontier.size(), size.min(frontier.size() + COMMITMENTS_PER_READ));
        publisher.step(log, from, to, &mut frontier, &mut tiles).await?;
    }
    Ok(())
}

async fn propose(evidence: &Evidence<'_>, command: Command) -> Result<(), TurnError> {
    match evidence.witness.propose(command).await {
        Ok(Response::Refused(why)) => Err(TurnError::Refused(why)),
        Ok(_) => Ok(()),
        Err(why) => Err(TurnError::Unwitnessed(why)),
    }
}

/// The control nodes have it; a copy for those who only see object storage.
async fn publish(evidence: &Evidence<'_>, log: &Log, number: usize, note: &str) {
    let name = format!("notice/{number}");
    let put = evidence.shelf.put(log.place, &name, note.as_bytes().to_vec());
    if let Err(error) = put.await {
        tracing::warn!(%error, "a notice of an audit log was not published");
    }
}

fn seconds(at: OffsetDateTime) -> u64 {
    u64::try_from(at.unix_timestamp()).unwrap_or(0)
}
