//! What the public API says and hears, as serde types.
//!
//! One module per resource of the clinic API, and the operator's beside them.
//! These types are the border: requests carry their rules ([`garde::Validate`])
//! and refuse unknown fields, answers are what the caller may see and nothing
//! more. Anything that names a person or says why they come is a [`Phi`], so
//! that neither side can log it.
//!
//! Nothing here knows axum, a database, or the domain's own types: the control
//! plane maps between `clinic` and these.
//!
//! Instants are RFC 3339 with offset `Z`; ids are hyphenated UUIDs.
//!
//! [`Phi`]: medmesh_base::Phi

pub mod account;
pub mod appointment;
pub mod audit;
pub mod audit_view;
pub mod break_glass;
pub mod care;
pub mod client;
pub mod clinic;
pub mod consent;
pub mod correction;
pub mod credential;
pub mod disclosure;
pub mod factor;
pub mod fleet;
pub mod job;
pub mod key;
pub mod message;
pub mod oidc;
pub mod page;
pub mod person;
pub mod problem;
pub mod record_export;
pub mod rights;
pub mod rules;
pub mod session;
pub mod signaling;
pub mod visit;

mod secret;

pub use secret::Secret;

#[cfg(test)]
mod tests;
