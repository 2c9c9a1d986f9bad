//! Where nodes and entries are kept: C2SP tlog-tiles, tiles of height 8.

use std::collections::{BTreeMap, BTreeSet};

use crate::hash::{Hash, node_hash};
use crate::proof::{Node, Nodes};

/// Height of a tile in levels.
pub const HEIGHT: u32 = 8;
/// Hashes of a full tile.
pub const WIDTH: u64 = 1 << HEIGHT;

/// A tile: `width` hashes of level 8·`level`, from 256·`index` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tile {
    /// 0 for leaf hashes.
    pub level: u32,
    /// Counted from the left.
    pub index: u64,
    /// Hashes in it: 1 to 256.
    pub width: u64,
}

impl Tile {
    /// The tile that holds `node`, as it is in a tree of `size`. `None` when the tree
    /// does not have the node.
    #[must_use]
    pub fn of(node: Node, size: u64) -> Option<Self> {
        let (level, inner) = (node.level / HEIGHT, node.level % HEIGHT);
        let first = node.index.checked_shl(inner)?;
        let index = first >> HEIGHT;
        let tile = Self::at(level, index, size)?;
        (first + (1 << inner) <= index * WIDTH + tile.width).then_some(tile)
    }

    /// The tile at a place, as wide as a tree of `size` has it.
    #[must_use]
    pub fn at(level: u32, index: u64, size: u64) -> Option<Self> {
        let hashes = size.checked_shr(HEIGHT * level).unwrap_or(0);
        let width = hashes.checked_sub(index.checked_mul(WIDTH)?)?.min(WIDTH);
        (width > 0).then_some(Self { level, index, width })
    }

    /// Whether it will never change.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.width == WIDTH
    }

    /// `tile/L/N` or `tile/L/N.p/W`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("tile/{}/{}", self.level, self.place())
    }

    /// `tile/entries/N` or `tile/entries/N.p/W`, for a tile of level 0.
    #[must_use]
    pub fn entries_path(&self) -> String {
        format!("tile/entries/{}", self.place())
    }

    fn place(&self) -> String {
        let mut groups = vec![format!("{:03}", self.index % 1000)];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(format!("x{:03}", rest % 1000));
            rest /= 1000;
        }
        groups.reverse();
        let place = groups.join("/");
        if self.is_full() {
            place
        } else {
            format!("{place}.p/{}", self.width)
        }
    }
}

/// The tiles a tree of `new` leaves has and one of `old` did not have in that width.
#[must_use]
pub fn changed(old: u64, new: u64) -> Vec<Tile> {
    let mut tiles = Vec::new();
    let mut level = 0;
    while new.checked_shr(HEIGHT * level).unwrap_or(0) > 0 {
        let shift = HEIGHT * level;
        let (before, now) = (old >> shift, new >> shift);
        if before < now {
            let first = before >> HEIGHT;
            let last = (now - 1) >> HEIGHT;
            tiles.extend((first..=last).filter_map(|index| Tile::at(level, index, new)));
        }
        level += 1;
    }
    tiles
}

/// The tiles that hold these nodes in a tree of `size`, each once. `None` when the tree
/// does not have them all.
#[must_use]
pub fn holding(nodes: &[Node], size: u64) -> Option<BTreeSet<Tile>> {
    nodes.iter().map(|node| Tile::of(*node, size)).collect()
}

/// Tiles in memory, by level and index.
#[derive(Clone, Debug, Default)]
pub struct Tiles(BTreeMap<(u32, u64), Vec<Hash>>);

/// The bytes are not that tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a tile of {expected} hashes")]
pub struct TileError {
    /// Hashes it should have.
    pub expected: u64,
}

impl Tiles {
    /// Takes a stored tile.
    ///
    /// # Errors
    /// When it is not as wide as its name says.
    pub fn insert(&mut self, tile: Tile, bytes: &[u8]) -> Result<(), TileError> {
        let (hashes, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() || hashes.len() as u64 != tile.width {
            return Err(TileError { expected: tile.width });
        }
        let hashes = hashes.iter().copied().map(Hash).collect();
        self.0.insert((tile.level, tile.index), hashes);
        Ok(())
    }

    /// Takes a node as [`crate::Frontier::append`] tells of it; those inside a tile
    /// are left out. What comes before it in its tile must be there.
    pub fn push(&mut self, level: u32, index: u64, hash: Hash) {
        if level.is_multiple_of(HEIGHT) {
            let tile = self.0.entry((level / HEIGHT, index >> HEIGHT)).or_default();
            tile.truncate((index % WIDTH) as usize);
            tile.push(hash);
        }
    }

    /// Lets a tile go that is not needed any more.
    pub fn forget(&mut self, tile: Tile) {
        self.0.remove(&(tile.level, tile.index));
    }

    /// The bytes of a tile, if its first `width` hashes are there.
    #[must_use]
    pub fn bytes(&self, tile: Tile) -> Option<Vec<u8>> {
        let hashes = self.0.get(&(tile.level, tile.index))?;
        let hashes = hashes.get(..usize::try_from(tile.width).ok()?)?;
        Some(hashes.iter().flat_map(|hash| hash.0).collect())
    }
}

impl Nodes for Tiles {
    fn node(&self, node: Node) -> Option<Hash> {
        let (level, inner) = (node.level / HEIGHT, node.level % HEIGHT);
        let first = node.index.checked_shl(inner)?;
        let tile = self.0.get(&(level, first >> HEIGHT))?;
        let begin = usize::try_from(first % WIDTH).ok()?;
        let mut hashes = tile.get(begin..begin + (1 << inner))?.to_vec();
        while hashes.len() > 1 {
            hashes = hashes
                .chunks_exact(2)
                .map(|pair| node_hash(&pair[0], &pair[1]))
                .collect();
        }
        hashes.pop()
    }
}

/// An entry bundle: each entry with its length (16 bits, big-endian) before it.
///
/// # Panics
/// When an entry is longer than 65,535 bytes.
#[must_use]
pub fn bundle<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        let length = u16::try_from(entry.len()).expect("entries are commitments of 32 bytes");
        bytes.extend(length.to_be_bytes());
        bytes.extend(entry);
    }
    bytes
}

/// Reads [`bundle`]'s bytes. `None` when they end within an entry.
#[must_use]
pub fn entries(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry);
        bytes = rest;
    }
    bytes.is_empty().then_some(entries)
}
