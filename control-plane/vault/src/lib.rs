//! Keys of the control plane: envelope encryption, derivation by epoch, token
//! signing, JWKS.
//!
//! - [`kms`]: the root key, in a file, in HashiCorp Vault or in AWS KMS. It wraps
//!   a key per clinic, which wraps a key per patient; [`Key`] seals fields bound to
//!   their place ([`envelope`]); [`Cache`] keeps keys for a bounded time.
//! - [`ClusterSecret`]: 32 random bytes every control node shares by file; all
//!   shared symmetric secrets are derived from it (HKDF-SHA-256, RFC 5869), so
//!   the Raft log carries epochs and never a secret.
//! - [`TokenSigner`]: each control node's own ES256 key. Its public half goes
//!   into the ledger, from where edges get it as a JWKS.
//! - [`turn`]: time-limited TURN credentials.
//!
//! It never lets a private key or a secret out through `Debug`, and it never
//! reads a clock: `now` comes in (but for the date AWS wants in each request).

mod blind;
mod cache;
pub mod envelope;
mod file;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod jws;
mod key;
pub mod kms;
mod secret;
mod sign;
pub mod stream;
pub mod turn;

pub use blind::BlindIndex;
pub use cache::Cache;
pub use envelope::{Field, Header, KeyKind};
pub use jws::{DetachedSigner, verify_detached};
pub use key::{DataKey, KEY_BYTES, Key, SEALS_PER_KEY_MAX, SEALS_PER_KEY_ROTATE, SealCount};
pub use kms::{Kms, KmsError};
pub use secret::ClusterSecret;
pub use sign::{Jwks, TokenSigner, public_jwk_check};

/// What can go wrong with keys.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The key file cannot be read or written.
    #[error("cannot use key file {path}")]
    File {
        /// Which file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others than the owner may read the file.
    #[error("key file {0} is readable by others; expected mode 0600")]
    Exposed(std::path::PathBuf),
    /// The file does not hold such a key.
    #[error("key file {0} does not hold a usable key")]
    Malformed(std::path::PathBuf),
    /// The public key is not a point on P-256.
    #[error("not a P-256 public key")]
    NotAPublicKey,
    /// A sealed value does not open: another place, another key, or altered.
    #[error("a sealed value does not open here")]
    Sealed,
    /// A key has sealed as much as it may, or there is no room for one more version.
    #[error("a key is used up; rotate it")]
    Exhausted,
    /// The crypto library refused; never expected.
    #[error("cryptographic operation failed")]
    Crypto,
}

#[cfg(test)]
mod tests;
