//! The edge's side of the control plane: enrolment, attachment, renewal. None of it is
//! needed to keep a visit going.

mod attach;
mod identity;
mod load;
mod renew;
#[cfg(test)]
mod tests;

pub(crate) use attach::{Orders, Reporter, attach};
pub(crate) use identity::{EnrolledEdge, obtain};
pub use identity::{IdentityFiles, ObtainError};
pub(crate) use load::LoadMeter;
pub(crate) use renew::keep_fresh;
