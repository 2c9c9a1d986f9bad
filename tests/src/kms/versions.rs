//! Versions of one key, as a KMS keeps them.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use parking_lot::Mutex;
use serde_json::Value;

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// Versions of one key: seals `version | nonce | text` bound to a context.
pub(super) struct Versions(Mutex<Vec<RandomizedNonceKey>>);

impl Versions {
    pub(super) fn new() -> Self {
        let versions = Self(Mutex::default());
        versions.add();
        versions
    }

    pub(super) fn add(&self) {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &fresh_key()).expect("it has the right length");
        self.0.lock().push(key);
    }

    pub(super) fn latest(&self) -> usize {
        self.0.lock().len()
    }

    pub(super) fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        let keys = self.0.lock();
        let mut text = plain.to_vec();
        let nonce = keys
            .last()
            .expect("there is a version from the beginning")
            .seal_in_place_append_tag(Aad::from(context), &mut text)
            .expect("short texts can be sealed");
        let version = u8::try_from(keys.len()).expect("tests rotate a few times");
        [&[version], nonce.as_ref().as_slice(), &text].concat()
    }

    pub(super) fn open(&self, context: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let keys = self.0.lock();
        let key = keys.get(usize::from(*sealed.first()?).checked_sub(1)?)?;
        let nonce = Nonce::try_assume_unique_for_key(sealed.get(1..=NONCE_LEN)?).ok()?;
        let mut text = sealed[1 + NONCE_LEN..].to_vec();
        Some(
            key.open_in_place(nonce, Aad::from(context), &mut text)
                .ok()?
                .to_vec(),
        )
    }
}

/// A data key for somebody.
pub(super) fn fresh_key() -> [u8; KEY_BYTES] {
    rand::random()
}

pub(super) fn decoded(value: &Value) -> Vec<u8> {
    BASE64_STANDARD
        .decode(value.as_str().unwrap_or_default())
        .unwrap_or_default()
}

pub(super) fn encoded(bytes: &[u8]) -> Value {
    BASE64_STANDARD.encode(bytes).into()
}
