//! Tokens by which sealed values are found: keyed digests, short enough for an index.
//!
//! Who has the tokens and not the key learns which rows share one, and how many
//! share it; not what it stands for. Frequencies do say something: where a name
//! is known to be the commonest, so is its token. See `keys.md` beside this crate.

use std::fmt;

use aws_lc_rs::hmac;

use crate::Key;

/// Makes tokens and whole digests under one key.
#[derive(Clone)]
pub struct BlindIndex(hmac::Key);

impl fmt::Debug for BlindIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlindIndex")
    }
}

impl BlindIndex {
    /// The index of one purpose.
    #[must_use]
    pub fn new(key: &Key, purpose: &str) -> Self {
        Self(key.digest_key(purpose))
    }

    /// 64 bits of HMAC-SHA-256 over kind and text: two of a million terms meet by chance
    /// once in thirty million clinics.
    #[must_use]
    pub fn token(&self, kind: u8, text: &str) -> i64 {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&[kind]);
        context.update(text.as_bytes());
        let tag = context.sign();
        let bytes = tag.as_ref()[..8].try_into().expect("eight bytes of thirty-two");
        i64::from_be_bytes(bytes)
    }

    /// All 256 bits, for what must be unique.
    #[must_use]
    pub fn digest(&self, text: &str) -> Vec<u8> {
        hmac::sign(&self.0, text.as_bytes()).as_ref().to_vec()
    }
}
