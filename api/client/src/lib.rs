//! Typed REST client of the public API.
//!
//! [`Clinic`] speaks the portals' routes as one signed-in person, [`Machine`] is let in to them as a
//! machine of the clinic, [`Operator`] speaks the operator's; what a server says no to comes back as [`ClientError::Problem`] with
//! its code and request id.

mod account;
mod appointment;
mod audit;
mod care;
mod clinic;
mod correction;
mod credential;
mod error;
mod events;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod machine;
mod machines;
mod oidc;
mod operator;
mod people;
mod record_export;
mod relay;
mod rights;
mod transport;
mod visit;

pub use audit::AuditExport;
pub use clinic::{Clinic, IdempotencyKey};
pub use error::ClientError;
pub use events::Events;
pub use machine::{Machine, MachineKey};
pub use operator::Operator;
pub use relay::relay_headroom;
