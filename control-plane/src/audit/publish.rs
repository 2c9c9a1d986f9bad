//! One clinic's next head: tiles first, then the signed head, then the witnesses.

use std::sync::Arc;

use medmesh_base::ClinicId;
use medmesh_ledger::{Command, Refused, Response};
use medmesh_store::{AuditTree, Store, StoreError};
use medmesh_tlog::proof::{ProofError, consistency, consistency_nodes, root_nodes};
use medmesh_tlog::tile::{Tiles, WIDTH, bundle, changed};
use medmesh_tlog::{Checkpoint, Frontier, Hash, leaf_hash};

use super::names::{Log, LogKeys};
use super::shelf::{Shelf, ShelfError};
use super::witness::Witness;

/// Leaves put under one head at most: 4 MB of tiles and bundles in memory.
const LEAVES_PER_HEAD_MAX: u64 = 65_536;

/// A head could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The database failed, or a leaf is gone from it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Object storage failed.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// Published tiles do not give the tree their head signs.
    #[error("published tiles do not fit their signed head")]
    Tiles(#[from] ProofError),
    /// The witnesses could not be reached.
    #[error("the head was not witnessed: {0}")]
    Unwitnessed(String),
    /// The witnesses hold a head that this one does not extend: history was changed.
    #[error("the witnesses refuse the head: {0}")]
    Diverged(Refused),
}

/// Publishes heads.
#[derive(Clone)]
pub struct Publisher {
    pub(super) store: Store,
    pub(super) keys: LogKeys,
    pub(super) shelf: Shelf,
    pub(super) witness: Arc<dyn Witness>,
}

impl Publisher {
    /// From its parts.
    #[must_use]
    pub fn new(store: Store, keys: LogKeys, shelf: Shelf, witness: Arc<dyn Witness>) -> Self {
        Self {
            store,
            keys,
            shelf,
            witness,
        }
    }

    /// Publishes the next head of a clinic's tree. Doing it again is harmless.
    ///
    /// # Errors
    /// [`PublishError`]; what was stored before is overwritten with the same next time.
    pub async fn publish(&self, tree: &AuditTree) -> Result<Checkpoint, PublishError> {
        let clinic = tree.clinic_id;
        let log = self.log(clinic);
        let (mut frontier, mut tiles) = self.edge(tree, &log).await;
        self.fits_what_was_witnessed(tree, &frontier).await?;
        let mut from = frontier.size();
        // A log that is built anew from the database takes more than one step.
        let target = tree.size.min(tree.published_size + LEAVES_PER_HEAD_MAX);
        while from < target {
            let to = target.min(from + LEAVES_PER_HEAD_MAX);
            self.step(&log, from, to, &mut frontier, &mut tiles).await?;
            from = to;
        }
        let checkpoint = Checkpoint {
            origin: log.origin.clone(),
            size: frontier.size(),
            root: frontier.root(),
        };
        let note = checkpoint.sign(&log.signer());
        self.shelf.put_head(log.place, &note).await?;
        self.bring(&log, &checkpoint, &note).await?;
        self.store.audit_published(clinic, checkpoint.size, &note).await?;
        Ok(checkpoint)
    }

    /// The log as the control nodes know it.
    pub(super) fn log(&self, clinic: ClinicId) -> Log {
        self.keys.log(clinic, self.witness.log(clinic).as_deref())
    }

    /// A database that lacks what was witnessed, or holds something else, overwrites nothing of what was
    /// published: that is all that is left of the truth.
    async fn fits_what_was_witnessed(&self, tree: &AuditTree, edge: &Frontier) -> Result<(), PublishError> {
        let Some(held) = self.witness.log(tree.clinic_id) else {
            return Ok(());
        };
        let newest = held.newest;
        let diverged = || PublishError::Diverged(Refused::AuditNotExtended { size: newest.size });
        if newest.size > tree.size {
            return Err(diverged());
        }
        let mut frontier = edge.clone();
        while frontier.size() < newest.size {
            let to = newest.size.min(frontier.size() + LEAVES_PER_HEAD_MAX);
            let more = self.store.audit_commitments(tree.clinic_id, frontier.size(), to);
            for commitment in more.await? {
                frontier.append(leaf_hash(&commitment.0), |_, _, _| {});
            }
        }
        // Where the edge is beyond it already, the voters compare.
        if frontier.size() == newest.size && frontier.root() != newest.root {
            return Err(diverged());
        }
        Ok(())
    }

    /// The right edge of what is published, if it is what its head signs; else nothing, and
    /// everything is built anew from the database.
    async fn edge(&self, tree: &AuditTree, log: &Log) -> (Frontier, Tiles) {
        let nothing = || (Frontier::new(), Tiles::default());
        let Some(note) = &tree.note else {
            return nothing();
        };
        let Ok((head, _)) = log.open(note) else {
            tracing::error!("the database holds an audit head that we did not sign");
            return nothing();
        };
        let nodes = root_nodes(head.size);
        let tiles = match self.shelf.tiles(log.place, &nodes, head.size).await {
            Ok(tiles) => tiles,
            Err(error) => {
                tracing::warn!(%error, "audit tiles are built anew");
                return nothing();
            }
        };
        match Frontier::from_nodes(head.size, &tiles) {
            Ok(frontier) if frontier.root() == head.root && head.size == tree.published_size => {
                (frontier, tiles)
            }
            _ => {
                tracing::error!("published audit tiles do not fit their signed head");
                nothing()
            }
        }
    }

    pub(super) async fn step(
        &self,
        log: &Log,
        from: u64,
        to: u64,
        frontier: &mut Frontier,
        tiles: &mut Tiles,
    ) -> Result<(), PublishError> {
        let begin = from - from % WIDTH;
        let commitments = self.store.audit_commitments(log.place.clinic, begin, to).await?;
        let skip = usize::try_from(from - begin).unwrap_or(usize::MAX);
        for commitment in &commitments[skip..] {
            frontier.append(leaf_hash(&commitment.0), |level, index, hash| {
                tiles.push(level, index, hash);
            });
        }
        let mut objects = Vec::new();
        let mut full = Vec::new();
        for tile in changed(from, to) {
            let bytes = tiles.bytes(tile).ok_or(ProofError::OutOfRange)?;
            objects.push((tile.path(), bytes));
            let names = [Some(tile.path()), (tile.level == 0).then(|| tile.entries_path())];
            if tile.is_full() {
                full.extend(names.into_iter().flatten());
            }
            if tile.level == 0 {
                let first = usize::try_from(tile.index * WIDTH - begin).unwrap_or(usize::MAX);
                let width = usize::try_from(tile.width).unwrap_or(usize::MAX);
                let entries = commitments[first..first + width]
                    .iter()
                    .map(|hash: &Hash| &hash.0[..]);
                objects.push((tile.entries_path(), bundle(entries)));
            }
        }
        self.shelf.put_all(log.place, objects).await?;
        for name in full {
            self.shelf.prune(log.place, &name).await;
        }
        Ok(())
    }

    /// Brings a head to the ledger with the proof that it extends the witnessed one.
    async fn bring(&self, log: &Log, checkpoint: &Checkpoint, note: &str) -> Result<(), PublishError> {
        let clinic = log.place.clinic;
        let witnessed = self.witness.log(clinic).map_or(0, |log| log.newest.size);
        let proof = if witnessed == 0 || witnessed >= checkpoint.size {
            Vec::new()
        } else {
            let nodes = consistency_nodes(witnessed, checkpoint.size)?;
            let tiles = self.shelf.tiles(log.place, &nodes, checkpoint.size).await?;
            consistency(witnessed, checkpoint.size, &tiles)?
        };
        let now = u64::try_from(time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000);
        let command = Command::AuditHead {
            clinic,
            note: note.to_owned(),
            proof,
            now: now.unwrap_or(0),
        };
        match self.witness.propose(command).await {
            Ok(Response::Refused(why)) => Err(PublishError::Diverged(why)),
            Ok(_) => Ok(()),
            Err(why) => Err(PublishError::Unwitnessed(why)),
        }
    }
}
