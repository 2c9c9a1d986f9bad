//! Ids that may be used once, remembered exactly as long as they could be used again.

use std::collections::{BTreeSet, HashSet};

use aws_lc_rs::digest::{SHA256, digest};

/// Most ids remembered. At 64 bytes each this is some 6 MB; a host that sees more
/// than 100,000 joins in a minute is being attacked by someone with a signing key.
const IDS_MAX: usize = 100_000;

/// A set of ids by expiry. Ids are kept as digests, so that a long one costs no more.
pub(super) struct Once {
    ids: HashSet<[u8; 32]>,
    by_expiry: BTreeSet<(i64, [u8; 32])>,
}

impl Once {
    pub(super) fn new() -> Self {
        Self {
            ids: HashSet::new(),
            by_expiry: BTreeSet::new(),
        }
    }

    pub(super) fn holds(&self, id: &str) -> bool {
        self.ids.contains(&key(id))
    }

    /// Remembers `id` until `until`. `Err(false)`: it is there already. `Err(true)`: no
    /// room, which must refuse: forgetting early would let a token be used twice.
    pub(super) fn insert(&mut self, id: &str, until: i64, now: i64) -> Result<(), bool> {
        while let Some(&(expiry, oldest)) = self.by_expiry.first()
            && expiry < now
        {
            self.by_expiry.pop_first();
            self.ids.remove(&oldest);
        }
        if self.ids.contains(&key(id)) {
            return Err(false);
        }
        if self.by_expiry.len() >= IDS_MAX {
            return Err(true);
        }
        self.ids.insert(key(id));
        self.by_expiry.insert((until, key(id)));
        Ok(())
    }

    /// Forgets an id. Its expiry stays behind until it is due, which harms nobody.
    pub(super) fn remove(&mut self, id: &str) {
        self.ids.remove(&key(id));
    }
}

fn key(id: &str) -> [u8; 32] {
    let mut key = [0; 32];
    key.copy_from_slice(digest(&SHA256, id.as_bytes()).as_ref());
    key
}
