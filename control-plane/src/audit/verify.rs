//! Everything is read again: rows, tiles, heads, and what the voters remember.
//!
//! Whoever rules the database and the object storage can make them agree on any
//! story. What they cannot do is write an event under the clinic's key, sign a head,
//! or change what a majority of control nodes witnessed.

mod months;
mod noticed;
mod outside;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use medmesh_api_types::audit::{AuditFinding, AuditVerification};
use medmesh_base::AuditId;
use medmesh_ledger::AuditLog;
use medmesh_store::{AUDIT_READ_MAX, AuditLeaf, StoreError, Tx};
use medmesh_tlog::tile::{Tile, Tiles, WIDTH, bundle, changed};
use medmesh_tlog::{Frontier, Hash, leaf_hash};
use time::OffsetDateTime;

use super::evidence::Evidence;
use super::names::Log;
use super::shelf::{Shelf, ShelfError};

/// Findings told of; what comes after the first hundred says nothing new.
const FINDINGS_MAX: usize = 100;
/// Longest time a committed leaf may be without a place.
const PENDING_MAX: Duration = Duration::from_secs(300);
/// Between looks at a head that may just be on its way from the witnesses to the database.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What was found, in the API's words.
pub type Verification = AuditVerification;

/// The log could not be read. What is *wrong* with it is a finding, not an error.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The database or the keys failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Object storage failed.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
}

/// A head that somebody claims for the log.
struct Claim {
    whose: &'static str,
    root: Hash,
}

/// The state of one verification.
struct Run<'a> {
    log: Log,
    shelf: &'a Shelf,
    frontier: Frontier,
    tiles: Tiles,
    /// Commitments of the bundle that is being filled.
    entries: Vec<Hash>,
    seen: BTreeSet<AuditId>,
    claims: BTreeMap<u64, Vec<Claim>>,
    /// Where the witnessed heads still agreed.
    agreed: u64,
    /// The last head they agreed on before one did not.
    left: Option<u64>,
    published: u64,
    /// Leaves under the witnessed heads before the newest, as far as they are remembered and were
    /// published under the log's present name.
    earlier: Vec<u64>,
    /// Leaves the log went on from when it got that name.
    kept: u64,
    report: Verification,
}

/// Verifies one clinic's log. `patience` is how long a head may be on its way.
///
/// # Errors
/// [`VerifyError`] when something cannot be read at all.
pub async fn verify(
    tx: &mut Tx,
    evidence: &Evidence<'_>,
    patience: Duration,
) -> Result<Verification, VerifyError> {
    let Evidence { shelf, witness, .. } = *evidence;
    let clinic = tx.clinic_id();
    // The order matters: what is read later may be newer, never older.
    let held = witness.log(clinic);
    let log = evidence.keys.log(clinic, held.as_deref());
    let published = shelf.head(log.place).await?;
    let mut run = Run {
        log,
        shelf,
        frontier: Frontier::new(),
        tiles: Tiles::default(),
        entries: Vec::new(),
        seen: BTreeSet::new(),
        claims: BTreeMap::new(),
        agreed: 0,
        left: None,
        published: 0,
        earlier: Vec::new(),
        kept: 0,
        report: Verification::of(clinic),
    };
    let went_on = held.as_deref().and_then(went_on_at);
    for alarm in witness.alarms(clinic) {
        // What the put-back database lacks was announced.
        if went_on.is_some_and(|at| written_at(alarm.leaf.id).is_some_and(|written| written <= at)) {
            continue;
        }
        let why = "a control node committed this leaf and it did not come into the log as it was";
        run.find(None, Some(alarm.leaf.id), "broken_promise", why);
    }
    run.noticed(evidence, held.as_deref()).await?;
    run.claim_witnessed(held.as_deref());
    let witnessed = held.as_ref().map_or(0, |log| log.newest.size);
    let tree = run.tree(tx, witnessed, patience).await?;
    run.claim_signed(published.as_deref(), tree.note.as_deref(), &tree, witnessed);
    run.outside(tx, evidence).await?;
    run.months(tx).await?;
    run.rows(tx, tree.size).await?;
    run.ends(tx, tree.size).await?;
    run.unplaced(tx).await?;
    run.place_fork();
    Ok(run.report.finish())
}

/// When the log went on last, Unix seconds.
fn went_on_at(log: &AuditLog) -> Option<u64> {
    let resumed = log.notices.iter().filter(|notice| notice.left.is_some());
    resumed.map(|notice| notice.at / 1_000).next_back()
}

/// When a leaf was written, as its id says, Unix seconds.
fn written_at(leaf: AuditId) -> Option<u64> {
    leaf.as_uuid().get_timestamp().map(|at| at.to_unix().0)
}

impl Run<'_> {
    fn find(&mut self, index: Option<u64>, leaf: Option<AuditId>, kind: &str, why: &str) {
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(AuditFinding {
                leaf_index: index,
                leaf_id: leaf,
                kind: kind.to_owned(),
                message: why.to_owned(),
            });
        }
    }

    fn claim(&mut self, whose: &'static str, size: u64, root: Hash) {
        let claim = Claim { whose, root };
        self.claims.entry(size).or_default().push(claim);
    }

    fn claim_witnessed(&mut self, log: Option<&AuditLog>) {
        let Some(log) = log else { return };
        self.report.witnessed_size = log.newest.size;
        if log.origin != self.log.origin {
            self.find(
                None,
                None,
                "witnessed_other_log",
                "the ledger's head is another log's",
            );
        }
        let sizes = log.earlier.iter().map(|head| head.size);
        self.earlier = sizes.filter(|size| *size >= self.kept).collect();
        for head in log.earlier.iter().chain([&log.newest]) {
            self.claim("witnessed", head.size, head.root);
        }
    }

    /// The database's word on the tree, as soon as it is not behind the witnesses.
    async fn tree(
        &mut self,
        tx: &mut Tx,
        witnessed: u64,
        patience: Duration,
    ) -> Result<medmesh_store::AuditTree, VerifyError> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let tree = tx.audit_tree().await?;
            let tree = tree.unwrap_or(medmesh_store::AuditTree {
                clinic_id: self.log.place.clinic,
                size: 0,
                published_size: 0,
                note: None,
            });
            if tree.published_size >= witnessed || tokio::time::Instant::now() >= deadline {
                return Ok(tree);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// The heads that carry the log's signature: in object storage and in the database.
    fn claim_signed(
        &mut self,
        published: Option<&str>,
        note: Option<&str>,
        tree: &medmesh_store::AuditTree,
        witnessed: u64,
    ) {
        for (whose, text) in [("published", published), ("stored", note)] {
            let Some(text) = text else {
                if witnessed > 0 {
                    self.find(
                        Some(0),
                        None,
                        "head_missing",
                        &format!("the {whose} head is gone"),
                    );
                }
                continue;
            };
            match self.log.open(text) {
                Err(error) => {
                    let why = format!("the {whose} head is not the log's: {error}");
                    self.find(None, None, "head_forged", &why);
                }
                Ok((head, _)) => {
                    if head.size < witnessed {
                        let why = format!(
                            "the {whose} head is of {} leaves, {witnessed} were witnessed",
                            head.size
                        );
                        self.find(Some(head.size), None, "head_rolled_back", &why);
                    }
                    if whose == "stored" && head.size != tree.published_size {
                        let why = "the stored head is not of the size said to be published";
                        self.find(Some(head.size), None, "head_replaced", why);
                    }
                    if whose == "published" {
                        self.published = head.size;
                        self.report.published_size = head.size;
                    }
                    self.claim(whose, head.size, head.root);
                }
            }
        }
        if note.is_none() && tree.published_size > 0 {
            self.find(None, None, "head_missing", "the stored head is gone");
        }
    }

    /// Every leaf with a place, against its own content, its tile and the heads.
    async fn rows(&mut self, tx: &mut Tx, size: u64) -> Result<(), VerifyError> {
        self.check_claims(0);
        let mut next = 0;
        while next < size {
            let leaves = tx.audit_leaves(next).await?;
            let is_last = leaves.len() < AUDIT_READ_MAX as usize;
            for leaf in leaves {
                let index = leaf.tree_index.unwrap_or(u64::MAX);
                if index >= size {
                    break;
                }
                if index != next {
                    let why = format!("no leaf has the places {next} to {}", index - 1);
                    self.find(Some(next), None, "place_missing", &why);
                    // Without them no later hash can be told; what is left is told row by row.
                    self.report.size = next;
                    return Ok(());
                }
                self.leaf(index, &leaf).await?;
                next += 1;
            }
            if is_last {
                break;
            }
        }
        self.report.size = next;
        if next < size {
            let why = format!("the log says {size} leaves, {next} have a place");
            self.find(Some(next), None, "truncated", &why);
        }
        Ok(())
    }

    async fn leaf(&mut self, index: u64, leaf: &AuditLeaf) -> Result<(), VerifyError> {
        if !self.seen.insert(leaf.id) {
            self.find(
                Some(index),
                Some(leaf.id),
                "leaf_twice",
                "the leaf has two places",
            );
        }
        let commitment = match &leaf.content {
            Ok(content) => {
                if content.event.clinic_id != self.log.place.clinic.as_uuid()
                    || content.event.id != leaf.id.as_uuid()
                {
                    let why = "the event is of another leaf";
                    self.find(Some(index), Some(leaf.id), "leaf_moved", why);
                }
                content.commitment
            }
            Err(fault) => {
                self.find(Some(index), Some(leaf.id), "leaf_altered", &fault.to_string());
                // Its place in the tile is compared below: a hash that nothing has.
                Hash([0; 32])
            }
        };
        self.report.leaves_checked += 1;
        let hash = leaf_hash(&commitment.0);
        let mut done = Vec::new();
        let tiles = &mut self.tiles;
        self.frontier.append(hash, |level, at, hash| {
            tiles.push(level, at, hash);
            let tile = Tile::at(level / 8, at >> 8, u64::MAX >> 2);
            if level.is_multiple_of(8) && (at + 1).is_multiple_of(WIDTH) {
                done.extend(tile);
            }
        });
        self.entries.push(commitment);
        self.check_claims(index + 1);
        for tile in done {
            // One that is published in part is compared at the end, as are those beyond.
            if (tile.index + 1) * WIDTH * (1 << (8 * tile.level)) <= self.published {
                self.compare(tile).await?;
                self.tiles.forget(tile);
            }
        }
        if (index + 1).is_multiple_of(WIDTH) {
            self.entries.clear();
        }
        Ok(())
    }

    /// A published tile against the one the rows give.
    async fn compare(&mut self, tile: Tile) -> Result<(), VerifyError> {
        let Some(own) = self.tiles.bytes(tile) else {
            return Ok(());
        };
        let other = self.on_shelf(tile, Tile::path, own.len()).await?;
        // A node above the leaves stands for many: it names none.
        let first = (tile.level == 0).then_some(tile.index * WIDTH);
        self.differ(&tile.path(), first, 32, &own, other.as_deref());
        if tile.level == 0 {
            let width = usize::try_from(tile.width).unwrap_or(usize::MAX);
            let own = bundle(self.entries.iter().take(width).map(|hash| &hash.0[..]));
            let other = self.on_shelf(tile, Tile::entries_path, own.len()).await?;
            self.differ(&tile.entries_path(), first, 34, &own, other.as_deref());
        }
        Ok(())
    }

    /// What object storage has of a tile, or the beginning of its full state: the narrower
    /// ones go when that is there, maybe while this reads.
    async fn on_shelf(
        &self,
        tile: Tile,
        name: fn(&Tile) -> String,
        length: usize,
    ) -> Result<Option<Bytes>, ShelfError> {
        if let Some(bytes) = self.shelf.get(self.log.place, &name(&tile)).await? {
            return Ok(Some(bytes));
        }
        let full = Tile { width: WIDTH, ..tile };
        let wider = self.shelf.get(self.log.place, &name(&full)).await?;
        Ok(wider
            .filter(|bytes| bytes.len() >= length)
            .map(|bytes| bytes.slice(..length)))
    }

    fn differ(&mut self, name: &str, first: Option<u64>, stride: usize, own: &[u8], other: Option<&[u8]>) {
        let Some(other) = other else {
            self.find(first, None, "tile_missing", &format!("{name} is gone"));
            return;
        };
        if own != other {
            let same = own.iter().zip(other).take_while(|(a, b)| a == b).count();
            let index = first.map(|first| first + (same / stride) as u64);
            let why = format!("{name} is not what the database gives");
            self.find(index, None, "tile_differs", &why);
        }
    }

    /// The heads of this size against the root the rows give.
    fn check_claims(&mut self, size: u64) {
        let Some(claims) = self.claims.remove(&size) else {
            return;
        };
        let root = self.frontier.root();
        for claim in claims {
            if claim.root == root {
                self.agreed = self.agreed.max(size);
                continue;
            }
            let why = format!(
                "the {} head of {size} leaves has another root; the log left it after leaf {} at the earliest",
                claim.whose, self.agreed
            );
            self.left = self.left.or(Some(self.agreed));
            self.find(None, None, "head_differs", &why);
        }
    }

    /// Where nothing else tells the leaf, a fork begins after the last head that agreed.
    fn place_fork(&mut self) {
        let findings = &mut self.report.findings;
        if findings.iter().all(|finding| finding.leaf_index.is_none())
            && let Some(fork) = findings.iter_mut().find(|finding| finding.kind == "head_differs")
        {
            fork.leaf_index = self.left;
        }
    }

    /// Tiles that are not full, and heads of leaves that nobody has.
    async fn ends(&mut self, tx: &mut Tx, size: u64) -> Result<(), VerifyError> {
        let published = self.published.min(self.frontier.size());
        if published == self.published {
            // Whoever holds an earlier head reads its tiles until the full ones are there.
            let earlier = std::mem::take(&mut self.earlier);
            let sizes = earlier.into_iter().filter(|size| *size < published);
            let tiles = sizes.chain([published]).flat_map(|size| changed(0, size));
            let partial: BTreeSet<Tile> = tiles.filter(|tile| !tile.is_full()).collect();
            for tile in partial {
                self.compare_end(tx, tile).await?;
            }
        }
        let have = self.frontier.size();
        for (claimed, claims) in std::mem::take(&mut self.claims) {
            for claim in claims {
                let why = format!("the {} head is of {claimed} leaves, {have} are left", claim.whose);
                self.find(Some(have), None, "rolled_back", &why);
            }
        }
        let places = tx.audit_places().await?;
        if places > size {
            // The sequencer may have gone on meanwhile; the tree then says so, too.
            let now = tx.audit_tree().await?.map_or(0, |tree| tree.size);
            if places > now {
                self.find(
                    Some(size),
                    None,
                    "place_beyond",
                    "there are places beyond the end of the log",
                );
            }
        }
        Ok(())
    }

    /// The last tile of a level: the bundle's entries are those of its beginning.
    async fn compare_end(&mut self, tx: &mut Tx, tile: Tile) -> Result<(), VerifyError> {
        let is_last = (self.frontier.size() - 1) / WIDTH == tile.index;
        if tile.level != 0 || is_last {
            return self.compare(tile).await;
        }
        // More was placed since it was published: the bundle is read again, and the last one kept.
        let leaves = tx.audit_leaves(tile.index * WIDTH).await?;
        let commitments = leaves.into_iter().filter_map(|leaf| leaf.content.ok());
        let entries = commitments.map(|content| content.commitment).collect();
        let last = std::mem::replace(&mut self.entries, entries);
        let compared = self.compare(tile).await;
        self.entries = last;
        compared
    }

    /// Leaves without a place must wait for one, and not for long.
    async fn unplaced(&mut self, tx: &mut Tx) -> Result<(), VerifyError> {
        let now = OffsetDateTime::now_utc();
        for leaf in tx.audit_unplaced().await? {
            if let Err(fault) = &leaf.content {
                self.find(None, Some(leaf.id), "leaf_altered", &fault.to_string());
                continue;
            }
            self.report.pending += 1;
            if self.seen.contains(&leaf.id) {
                let why = "a leaf that has a place waits for another";
                self.find(None, Some(leaf.id), "leaf_twice", why);
            } else if !leaf.is_pending {
                let why = "a leaf that no act of ours put there, or that was taken out of the log";
                self.find(None, Some(leaf.id), "leaf_without_place", why);
            } else if leaf.written_at().is_some_and(|at| now - at > PENDING_MAX) {
                let why = "a leaf has waited too long for its place";
                self.find(None, Some(leaf.id), "leaf_late", why);
            }
        }
        Ok(())
    }
}
