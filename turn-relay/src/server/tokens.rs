//! Names that nobody outside can guess, from a key and a counter.

use aws_lc_rs::hmac;

/// A keyed stream of unguessable bytes.
#[derive(Debug)]
pub(super) struct Tokens {
    key: hmac::Key,
    /// Servers that share a key differ in it.
    seed: u64,
    counter: u64,
}

impl Tokens {
    /// The key is derived, so that what it signs can never pass for what `key` itself signs.
    pub(super) fn new(key: &[u8; 32], seed: u64) -> Self {
        let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), b"medmesh turn tokens");
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()),
            seed,
            counter: 0,
        }
    }

    /// The next `N` bytes, at most 32.
    pub(super) fn next<const N: usize>(&mut self) -> [u8; N] {
        self.counter += 1;
        let mut signed = [0; 16];
        signed[..8].copy_from_slice(&self.seed.to_be_bytes());
        signed[8..].copy_from_slice(&self.counter.to_be_bytes());
        let tag = hmac::sign(&self.key, &signed);
        *tag.as_ref().first_chunk().expect("tokens have at most 32 bytes")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_are_alike_and_another_seed_or_key_makes_others() {
        let mut seen = HashSet::new();
        for (key, seed) in [(1, 1), (1, 2), (2, 1)] {
            let mut tokens = Tokens::new(&[key; 32], seed);
            for _ in 0..1000 {
                assert!(seen.insert(tokens.next::<8>()));
            }
        }
    }
}
