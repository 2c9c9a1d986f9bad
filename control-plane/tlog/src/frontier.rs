//! A growing tree, of which only the right edge is kept.

use crate::SIZE_MAX;
use crate::hash::{Hash, node_hash};
use crate::proof::{Nodes, ProofError, root_nodes};

/// The roots of the perfect subtrees a tree of some size falls into, largest
/// first: as many as the size has bits set. Enough to append and to tell the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

/// The bytes are not a frontier of that size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a frontier of that size")]
pub struct FrontierError;

impl Default for Frontier {
    fn default() -> Self {
        Self::new()
    }
}

impl Frontier {
    /// Of the empty tree.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            size: 0,
            peaks: Vec::new(),
        }
    }

    /// Reads [`Frontier::to_bytes`].
    ///
    /// # Errors
    /// When there are not exactly as many hashes as `size` has bits set.
    pub fn from_bytes(size: u64, bytes: &[u8]) -> Result<Self, FrontierError> {
        let (hashes, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() || hashes.len() != size.count_ones() as usize || size > SIZE_MAX {
            return Err(FrontierError);
        }
        let peaks = hashes.iter().copied().map(Hash).collect();
        Ok(Self { size, peaks })
    }

    /// Of a tree of `size` whose stored nodes are to be had.
    ///
    /// # Errors
    /// [`ProofError::Missing`].
    pub fn from_nodes(size: u64, nodes: &impl Nodes) -> Result<Self, ProofError> {
        let peaks = root_nodes(size)
            .into_iter()
            .map(|node| nodes.node(node).ok_or(ProofError::Missing(node)));
        Ok(Self {
            size,
            peaks: peaks.collect::<Result<_, _>>()?,
        })
    }

    /// The peaks, 32 bytes each.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.peaks.iter().flat_map(|peak| peak.0).collect()
    }

    /// Leaves so far.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf's hash; `done` gets each perfect subtree that is complete
    /// with it as (level, index at that level, hash), the leaf itself first.
    pub fn append(&mut self, leaf: Hash, mut done: impl FnMut(u32, u64, Hash)) {
        let (mut hash, mut index) = (leaf, self.size);
        let merges = self.size.trailing_ones();
        done(0, index, hash);
        for level in 0..merges {
            let left = self.peaks.pop().expect("a set bit of the size is a peak");
            hash = node_hash(&left, &hash);
            index >>= 1;
            done(level + 1, index, hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root (RFC 9162 section 2.1.1).
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else {
            return Hash::empty();
        };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }
}
