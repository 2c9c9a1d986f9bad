//! The root of the hierarchy: a key nobody but the KMS holds.
//!
//! A KMS makes, wraps and unwraps the keys of clinics. Each wrapped key is bound
//! to a [`Context`] (which clinic, which purpose): the KMS refuses to unwrap it
//! under another. Drivers are asynchronous because two of them are a network
//! away; everything below the root is plain computation.

mod aws;
mod file;
mod http;
mod sigv4;
mod transit;

use std::fmt;

use futures::future::BoxFuture;
use medmesh_base::ClinicId;

pub use aws::{AwsCredentials, AwsKms, AwsSettings};
#[cfg(any(test, fuzzing))]
pub use file::fuzz_key_file;
pub use file::{FileKms, Unlock};
pub use transit::{TransitAuth, TransitKms, TransitSettings};

use crate::DataKey;

/// What a wrapped key is for. A KMS that keeps a trail writes it there, so it holds ids only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The clinic; none for the system's own key.
    pub clinic: Option<ClinicId>,
    /// The version of the key.
    pub version: u32,
}

impl Context {
    /// Its parts by name, in the order of the names.
    #[must_use]
    pub fn pairs(&self) -> [(&'static str, String); 3] {
        let owner = self
            .clinic
            .map_or_else(|| "system".to_owned(), |clinic| clinic.to_string());
        [
            ("owner", owner),
            ("purpose", "medmesh-data-key".to_owned()),
            ("version", self.version.to_string()),
        ]
    }

    /// Its parts as bytes to authenticate.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let parts = self.pairs().map(|(name, value)| format!("{name}={value}"));
        parts.join("|").into_bytes()
    }
}

/// A key under the root, as it may be stored anywhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// Which version of the root wrapped it: what a rewrap compares.
    pub root: String,
    /// The KMS's own form.
    pub blob: Vec<u8>,
}

impl fmt::Debug for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrapped")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// Why a KMS did not do it. Never holds key material, and of an answer only its status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KmsError {
    /// It cannot be reached, is sealed or overloaded; a later attempt may succeed.
    #[error("KMS unavailable: {0}")]
    Unavailable(String),
    /// It answered and will answer the same again: not allowed, no such key, or the wrapped key
    /// is not of this context.
    #[error("KMS refused: {0}")]
    Refused(String),
}

/// A key management service.
///
/// # Errors
/// Every call: [`KmsError`].
pub trait Kms: Send + Sync + fmt::Debug {
    /// A word for logs and listings: `file`, `transit`, `aws`.
    fn name(&self) -> &'static str;

    /// A fresh key and its wrapped form.
    fn generate(&self, context: Context) -> BoxFuture<'_, Result<(DataKey, Wrapped), KmsError>>;

    /// Wraps a key that exists already.
    fn wrap<'a>(&'a self, context: Context, key: &'a DataKey) -> BoxFuture<'a, Result<Wrapped, KmsError>>;

    /// Unwraps a key.
    fn unwrap<'a>(
        &'a self,
        context: Context,
        wrapped: &'a Wrapped,
    ) -> BoxFuture<'a, Result<DataKey, KmsError>>;

    /// Wraps under the present version of the root what an older one wrapped; where the KMS
    /// can, without the key leaving it.
    fn rewrap<'a>(
        &'a self,
        context: Context,
        wrapped: &'a Wrapped,
    ) -> BoxFuture<'a, Result<Wrapped, KmsError>>;

    /// Makes a new version of the root. What older versions wrapped stays readable.
    fn rotate(&self) -> BoxFuture<'_, Result<(), KmsError>>;

    /// The version of the root that wraps now, as [`Wrapped::root`] says it.
    fn root(&self) -> BoxFuture<'_, Result<String, KmsError>>;
}
