//! The audit log as evidence: from committed leaves to signed, published, witnessed heads.
//!
//! One node of the cluster leads ([`sequence`]): it gives committed leaves their
//! places, publishes tiles and a signed head of each clinic's tree to object storage,
//! and brings the head to the ledger, where every control node refuses what does
//! not extend the last. [`verify`] re-reads everything and says where the first
//! lie is; [`prove`] lets somebody else check one leaf without asking us, [`head`] and [`extends`] let them
//! keep heads and see that each later one extends them.
//!
//! **The window.** Between its commit and the next head (about a second) a leaf is
//! covered by nothing but the database. Whoever rules the database can take it away
//! unseen only if the node that wrote it dies in that time, too: each node remembers
//! what it committed until the log holds it ([`watch_promises`]), and a leaf that does
//! not arrive becomes an alarm in the ledger that every verification repeats.

mod cosigner;
mod cosigning;
mod evidence;
mod logs;
mod metrics;
mod names;
mod proof;
mod publish;
mod sequencer;
mod shelf;
mod turning;
mod verify;
mod witness;

#[cfg(test)]
mod tests;

pub use cosigner::{CosignError, Cosigned, Cosigner, CosignerError};
pub use cosigning::cosign;
pub use evidence::Evidence;
pub(crate) use logs::Logs;
pub use metrics::AuditMetrics;
pub use names::{Log, LogKeys, Place};
pub use proof::{Provable, ProveError, extends, head, provable, prove};
pub use publish::{PublishError, Publisher};
pub use sequencer::{sequence, watch_promises};
pub use shelf::{Shelf, ShelfError};
pub use turning::{Announced, TurnError, resume, rotate};
pub use verify::{Verification, VerifyError, verify};
pub use witness::Witness;
