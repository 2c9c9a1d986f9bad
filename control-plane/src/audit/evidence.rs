//! What a log is judged by.

use super::cosigner::Cosigner;
use super::names::LogKeys;
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
