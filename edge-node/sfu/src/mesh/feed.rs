//! The sending end: a local layer that peers pull, and the packets kept for asking again.

use std::collections::BTreeMap;

use bytes::Bytes;
use medmesh_base::EdgeId;

/// A local layer that peers pull.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    /// To whom, as which flow.
    pub(crate) flows: Vec<(EdgeId, u32)>,
    cache: BTreeMap<u64, Bytes>,
}

impl Feed {
    /// Keeps an (unsplit) body, at most `limit` of them.
    pub(crate) fn keep(&mut self, sequence: u64, body: Bytes, limit: usize) {
        self.cache.insert(sequence, body);
        while self.cache.len() > limit {
            self.cache.pop_first();
        }
    }

    pub(crate) fn cached(&self, sequence: u64) -> Option<&Bytes> {
        self.cache.get(&sequence)
    }
}
