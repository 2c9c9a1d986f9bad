//! The logs of this cluster, for whoever answers questions about them.

use std::sync::{Arc, OnceLock};

use super::cosigner::Cosigner;
use super::evidence::Evidence;
use super::names::LogKeys;
use super::shelf::Shelf;
use super::witness::Witness;
use crate::fleet::Fleet;

/// What is outside of the database and knows of the logs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Logs(Arc<Parts>);

struct Parts {
    keys: LogKeys,
    shelf: Shelf,
    cosigner: Option<Cosigner>,
    witness: OnceLock<Fleet>,
}

impl Logs {
    pub(crate) fn new(keys: LogKeys, shelf: Shelf, cosigner: Option<Cosigner>) -> Self {
        Self(Arc::new(Parts {
            keys,
            shelf,
            cosigner,
            witness: OnceLock::new(),
        }))
    }

    /// From now on the ledger is the witness.
    pub(crate) fn adopt(&self, fleet: Fleet) {
        // A second one is the same.
        let _ = self.0.witness.set(fleet);
    }

    pub(crate) fn keys(&self) -> &LogKeys {
        &self.0.keys
    }

    pub(crate) fn shelf(&self) -> &Shelf {
        &self.0.shelf
    }

    pub(crate) fn cosigner(&self) -> Option<&Cosigner> {
        self.0.cosigner.as_ref()
    }

    /// What logs are judged by; `None` before this node is part of its cluster.
    pub(crate) fn evidence(&self) -> Option<Evidence<'_>> {
        self.0.witness.get().map(|fleet| self.evidence_by(fleet))
    }

    /// The same by that witness.
    pub(crate) fn evidence_by<'a>(&'a self, witness: &'a dyn Witness) -> Evidence<'a> {
        Evidence {
            keys: &self.0.keys,
            shelf: &self.0.shelf,
            witness,
            cosigner: self.cosigner(),
        }
    }
}
