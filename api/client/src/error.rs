//! How a call fails.

use medmesh_api_types::client::TokenError;
use medmesh_api_types::problem::Problem;

/// A call did not lead to the answer its type promises.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The base URL is not one, or the token cannot be a header.
    #[error("not a usable {0}")]
    Configuration(&'static str),
    /// Nobody answered, or not in time.
    #[error("no answer")]
    Transport(#[from] reqwest::Error),
    /// The server said no.
    #[error("{} ({}, request {})", .0.message, .0.code.code(), .0.request_id)]
    Problem(Box<Problem>),
    /// The token endpoint said no (RFC 6749 section 5.2).
    #[error("no token: {}", .0.error_description)]
    NoToken(TokenError),
    /// The answer is not what this route answers.
    #[error("unexpected answer with status {status}")]
    Unexpected {
        /// Its HTTP status.
        status: u16,
    },
}
