//! Inclusion and consistency (RFC 9162 sections 2.1.3 and 2.1.4).

use std::ops::Range;

use crate::hash::{Hash, node_hash};

/// Longest proof of a tree within [`crate::SIZE_MAX`]: an inclusion path is no longer than
/// its height, a consistency proof by one.
pub const PROOF_HASHES_MAX: usize = 64;

/// A perfect subtree: 2^`level` leaves, the `index`-th of its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// Height above the leaves.
    pub level: u32,
    /// Counted from the left.
    pub index: u64,
}

/// Where hashes of perfect subtrees come from.
pub trait Nodes {
    /// The node's hash, if it is to be had.
    fn node(&self, node: Node) -> Option<Hash>;
}

/// A proof was asked of a tree that does not have it, or a needed node is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Index and sizes do not go together.
    #[error("index or size out of range")]
    OutOfRange,
    /// A stored node that the proof needs is missing.
    #[error("missing node {0:?}")]
    Missing(Node),
}

/// A proof does not prove what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proof does not hold")]
pub struct NotProved;

/// The largest power of two smaller than `n` (which is at least 2).
fn split(n: u64) -> u64 {
    1 << (u64::BITS - 1 - (n - 1).leading_zeros())
}

/// The ranges of leaves whose hashes prove that leaf `index` is in a tree of `size`.
fn inclusion_ranges(index: u64, size: u64) -> Result<Vec<Range<u64>>, ProofError> {
    if index >= size || size > crate::SIZE_MAX {
        return Err(ProofError::OutOfRange);
    }
    let (mut begin, mut end, mut path) = (0, size, Vec::new());
    while end - begin > 1 {
        let middle = begin + split(end - begin);
        if index < middle {
            path.push(middle..end);
            end = middle;
        } else {
            path.push(begin..middle);
            begin = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The ranges whose hashes prove that the tree of `old` leaves is the beginning of that of `new`.
fn consistency_ranges(old: u64, new: u64) -> Result<Vec<Range<u64>>, ProofError> {
    if old == 0 || old > new || new > crate::SIZE_MAX {
        return Err(ProofError::OutOfRange);
    }
    let (mut begin, mut end, mut path) = (0, new, Vec::new());
    while end != old {
        let middle = begin + split(end - begin);
        if old <= middle {
            path.push(middle..end);
            end = middle;
        } else {
            path.push(begin..middle);
            begin = middle;
        }
    }
    // A whole old tree is known to the one who asks.
    if begin > 0 {
        path.push(begin..end);
    }
    path.reverse();
    Ok(path)
}

/// The perfect subtrees a range of a tree falls into, left to right.
fn perfect(range: &Range<u64>) -> Vec<Node> {
    let (mut begin, mut nodes) = (range.start, Vec::new());
    while begin < range.end {
        let fits = u64::BITS - 1 - (range.end - begin).leading_zeros();
        let level = fits.min(begin.trailing_zeros());
        nodes.push(Node {
            level,
            index: begin >> level,
        });
        begin += 1 << level;
    }
    nodes
}

fn range_hash(range: &Range<u64>, nodes: &impl Nodes) -> Result<Hash, ProofError> {
    let mut hash = None;
    for node in perfect(range).into_iter().rev() {
        let left = nodes.node(node).ok_or(ProofError::Missing(node))?;
        hash = Some(hash.map_or(left, |right| node_hash(&left, &right)));
    }
    hash.ok_or(ProofError::OutOfRange)
}

/// The nodes [`inclusion`] will ask for.
///
/// # Errors
/// [`ProofError::OutOfRange`].
pub fn inclusion_nodes(index: u64, size: u64) -> Result<Vec<Node>, ProofError> {
    Ok(inclusion_ranges(index, size)?.iter().flat_map(perfect).collect())
}

/// The nodes [`consistency`] will ask for.
///
/// # Errors
/// [`ProofError::OutOfRange`].
pub fn consistency_nodes(old: u64, new: u64) -> Result<Vec<Node>, ProofError> {
    Ok(consistency_ranges(old, new)?.iter().flat_map(perfect).collect())
}

/// The nodes [`root`] will ask for: the peaks of the tree, largest first.
#[must_use]
pub fn root_nodes(size: u64) -> Vec<Node> {
    perfect(&(0..size))
}

/// Proof that leaf `index` is in the tree of `size`.
///
/// # Errors
/// [`ProofError`].
pub fn inclusion(index: u64, size: u64, nodes: &impl Nodes) -> Result<Vec<Hash>, ProofError> {
    let ranges = inclusion_ranges(index, size)?;
    ranges.iter().map(|range| range_hash(range, nodes)).collect()
}

/// Proof that the tree of `old` leaves (at least one) is the beginning of the tree of `new`.
///
/// # Errors
/// [`ProofError`].
pub fn consistency(old: u64, new: u64, nodes: &impl Nodes) -> Result<Vec<Hash>, ProofError> {
    let ranges = consistency_ranges(old, new)?;
    ranges.iter().map(|range| range_hash(range, nodes)).collect()
}

/// The root of the tree of `size`, from stored nodes.
///
/// # Errors
/// [`ProofError`].
pub fn root(size: u64, nodes: &impl Nodes) -> Result<Hash, ProofError> {
    if size == 0 {
        return Ok(Hash::empty());
    }
    range_hash(&(0..size), nodes)
}

/// Checks an inclusion proof (RFC 9162 section 2.1.3.2).
///
/// # Errors
/// [`NotProved`].
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), NotProved> {
    if index >= size {
        return Err(NotProved);
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(NotProved);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 && hash == *root {
        Ok(())
    } else {
        Err(NotProved)
    }
}

/// Checks a consistency proof (RFC 9162 section 2.1.4.2). Every tree extends the
/// empty one, and itself, without a proof.
///
/// # Errors
/// [`NotProved`].
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), NotProved> {
    if old == 0 || old == new {
        let roots_fit = if old == new {
            old_root == new_root
        } else {
            *old_root == Hash::empty()
        };
        return if roots_fit && proof.is_empty() {
            Ok(())
        } else {
            Err(NotProved)
        };
    }
    if old > new {
        return Err(NotProved);
    }
    let mut path = proof.iter();
    let start = if old.is_power_of_two() {
        old_root
    } else {
        path.next().ok_or(NotProved)?
    };
    let shift = (old - 1).trailing_ones();
    let (mut node, mut last) = ((old - 1) >> shift, (new - 1) >> shift);
    let (mut from_old, mut from_new) = (*start, *start);
    for sibling in path {
        if last == 0 {
            return Err(NotProved);
        }
        if node & 1 == 1 || node == last {
            from_old = node_hash(sibling, &from_old);
            from_new = node_hash(sibling, &from_new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            from_new = node_hash(&from_new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 && from_old == *old_root && from_new == *new_root {
        Ok(())
    } else {
        Err(NotProved)
    }
}
