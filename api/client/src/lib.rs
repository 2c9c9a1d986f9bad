//! Typed REST client of the public API.
//!
//! [`Operator`] speaks the operator's routes; what a server says no to comes
//! back as [`ClientError::Problem`] with its code and request id.

mod error;
mod operator;
mod transport;

pub use error::ClientError;
pub use operator::Operator;
