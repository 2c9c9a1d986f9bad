//! What a log is judged by.

use medmesh_base::ClinicId;

use super::cosigner::Cosigner;
use super::names::{Log, LogKeys};
use super::shelf::Shelf;
use super::witness::Witness;

/// Everything outside the database that knows of the logs.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    /// Who signs heads.
    pub keys: &'a LogKeys,
    /// Where tiles and heads are published.
    pub shelf: &'a Shelf,
    /// What the control nodes remember.
    pub witness: &'a dyn Witness,
    /// Somebody outside who remembers, too.
    pub cosigner: Option<&'a Cosigner>,
}

impl Evidence<'_> {
    /// A clinic's log as it is called and signed now.
    #[must_use]
    pub fn log(&self, clinic: ClinicId) -> Log {
        self.keys.log(clinic, self.witness.log(clinic).as_deref())
    }

    /// What was announced of it, oldest first, signed.
    #[must_use]
    pub fn notices(&self, clinic: ClinicId) -> Vec<String> {
        let log = self.witness.log(clinic);
        let notices = log.iter().flat_map(|log| &log.notices);
        notices.map(|notice| notice.note.clone()).collect()
    }
}
