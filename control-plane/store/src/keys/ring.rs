//! Keys in use, by version.

use std::collections::BTreeMap;
use std::sync::Arc;

use medmesh_vault::{BlindIndex, DataKey, Key, KeyKind};

use crate::keys::Column;
use crate::{Result, StoreError};

/// The versions of one key, of which the latest seals.
#[derive(Clone, Debug)]
pub(crate) struct Ring {
    keys: BTreeMap<u32, Arc<Key>>,
}

impl Ring {
    /// `None` without any key.
    pub(crate) fn new(keys: impl IntoIterator<Item = Arc<Key>>) -> Option<Self> {
        let keys: BTreeMap<u32, Arc<Key>> = keys.into_iter().map(|key| (key.version(), key)).collect();
        (!keys.is_empty()).then_some(Self { keys })
    }

    /// The key that seals now.
    pub(crate) fn current(&self) -> &Arc<Key> {
        self.keys.values().next_back().expect("a ring has a key")
    }

    /// The key of a version, if this ring knows it.
    pub(crate) fn version(&self, version: u32) -> Option<&Arc<Key>> {
        self.keys.get(&version)
    }
}

/// The keys of a clinic, or of the system: what seals, and what blind indexes are made with.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) ring: Ring,
    /// Versions below it open nothing but what keeps its key.
    pub(crate) floor: u32,
    email: BlindIndex,
    /// By version of the index key; more than one while an index is made anew.
    search: BTreeMap<u32, BlindIndex>,
}

impl Scope {
    /// `indexes`: the keys of blind indexes, by their version.
    pub(crate) fn new(ring: Ring, floor: u32, indexes: BTreeMap<u32, DataKey>) -> Result<Self> {
        let (mut email, mut search) = (None, BTreeMap::new());
        for (version, index) in indexes {
            // Its kind and version never reach an envelope: it derives digests and seals nothing.
            let index = Key::new(KeyKind::System, 0, index, 0)
                .map_err(|error| super::failed(&error, Column::IndexKey))?;
            email = Some(BlindIndex::new(&index, "email v1"));
            search.insert(version, BlindIndex::new(&index, "search v1"));
        }
        Ok(Self {
            email: email.ok_or(StoreError::corrupt(Column::IndexKey.path()))?,
            search,
            floor,
            ring,
        })
    }

    /// The blind index of a lower-cased address.
    pub(crate) fn email_index(&self, email: &str) -> Vec<u8> {
        self.email.digest(email)
    }

    /// Makes search tokens, and the version to write beside them.
    pub(crate) fn search(&self) -> (u32, &BlindIndex) {
        let (version, index) = self.search.last_key_value().expect("a scope has an index");
        (*version, index)
    }

    /// Every index patients may still be found by, newest first.
    pub(crate) fn searches(&self) -> Vec<BlindIndex> {
        self.search.values().rev().cloned().collect()
    }
}

/// An integer column as a key's version.
pub(crate) fn version_from(version: i32, column: Column) -> Result<u32> {
    u32::try_from(version).map_err(|_| StoreError::corrupt(column.path()))
}
