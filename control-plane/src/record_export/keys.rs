//! The public keys that verify copies: those of all control nodes, as the ledger has them.

use std::sync::{Arc, OnceLock};

use medmesh_vault::Jwks;

use crate::fleet::Fleet;

/// The keys in force, once this node is part of its cluster.
#[derive(Clone, Default)]
pub(crate) struct TokenKeys(Arc<OnceLock<Fleet>>);

impl TokenKeys {
    /// From now on the ledger's.
    pub(crate) fn adopt(&self, fleet: Fleet) {
        // A second one is the same.
        let _ = self.0.set(fleet);
    }

    /// The keys; `None` before the first was heard of.
    pub(crate) fn jwks(&self) -> Option<Jwks> {
        let state = self.0.get()?.state();
        let keys = Jwks::from_keys(state.token_keys.values().map(|key| key.jwk.as_str()));
        (!keys.keys.is_empty()).then_some(keys)
    }
}
