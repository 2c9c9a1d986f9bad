//! Codes for the day the device is lost: shown once, kept as hashes, each good once.

use std::fmt;

use aws_lc_rs::digest;
use medmesh_base::PersonId;

/// Codes handed out at once.
pub const RECOVERY_CODES: usize = 10;
/// Random bytes of a code. 120 bits: from 112 on a plain hash is enough, as nobody can try
/// them all (NIST SP 800-63B-4 section 3.1.2.2).
pub const RECOVERY_CODE_BYTES: usize = 15;
/// Letters of a group, as a person copies them.
const GROUP: usize = 4;
/// Crockford's alphabet: no letter looks like a digit.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A recovery code. Never formatted by `Debug`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RecoveryCode([u8; RECOVERY_CODE_BYTES]);

impl RecoveryCode {
    /// A code from random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; RECOVERY_CODE_BYTES]) -> Self {
        Self(bytes)
    }

    /// Six groups of four, to be printed or kept in a password manager.
    #[must_use]
    pub fn expose(&self) -> String {
        let mut out = String::with_capacity(29);
        for (n, chunk) in self.0.chunks(5).enumerate() {
            // Five bytes are eight letters.
            let bits = chunk
                .iter()
                .fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            for letter in 0..8 {
                if (n * 8 + letter) % GROUP == 0 && !out.is_empty() {
                    out.push('-');
                }
                let index = usize::try_from(bits >> (35 - 5 * letter) & 31).expect("five bits");
                out.push(char::from(ALPHABET[index]));
            }
        }
        out
    }

    /// Reads a code as people type it: dashes, spaces and case do not matter, O is 0, I and L are 1.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut values = Vec::with_capacity(24);
        for c in text.chars().filter(|c| *c != '-' && !c.is_whitespace()) {
            let c = match c.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                c => c,
            };
            values.push(ALPHABET.iter().position(|known| char::from(*known) == c)?);
            if values.len() > 24 {
                return None;
            }
        }
        if values.len() != 24 {
            return None;
        }
        let mut bytes = [0; RECOVERY_CODE_BYTES];
        for (chunk, letters) in bytes.chunks_mut(5).zip(values.chunks(8)) {
            let bits = letters
                .iter()
                .fold(0_u64, |bits, value| bits << 5 | *value as u64);
            chunk.copy_from_slice(&bits.to_be_bytes()[3..]);
        }
        Some(Self(bytes))
    }

    /// What is stored: a SHA-256 bound to whose code it is.
    #[must_use]
    pub fn sha256(&self, person: PersonId) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"medmesh recovery code\0");
        context.update(person.as_uuid().as_bytes());
        context.update(&self.0);
        context
            .finish()
            .as_ref()
            .try_into()
            .expect("a SHA-256 has 32 bytes")
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_code_is_six_groups_of_four() {
        let code = RecoveryCode::new([0xff; RECOVERY_CODE_BYTES]);
        assert_eq!(code.expose(), "ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ");
        assert_eq!(format!("{code:?}"), "RecoveryCode(…)");
    }

    #[test]
    fn look_alikes_are_forgiven_and_other_things_are_not() {
        let zeros = RecoveryCode::new([0; RECOVERY_CODE_BYTES]);
        assert_eq!(RecoveryCode::parse(&"o".repeat(24)), Some(zeros));
        for bad in [
            "",
            "ZZZZ",
            &"Z".repeat(23),
            &"Z".repeat(25),
            &"U".repeat(24),
            &"é".repeat(24),
        ] {
            assert_eq!(RecoveryCode::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_same_code_is_another_hash_for_another_person() {
        let code = RecoveryCode::new([7; RECOVERY_CODE_BYTES]);
        assert_ne!(
            code.sha256(PersonId::generate()),
            code.sha256(PersonId::generate())
        );
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(bytes: [u8; RECOVERY_CODE_BYTES]) {
            let code = RecoveryCode::new(bytes);
            prop_assert_eq!(RecoveryCode::parse(&code.expose().to_lowercase().replace('-', " ")), Some(code));
        }

        #[test]
        fn nothing_typed_panics(text in ".{0,60}") {
            let _ = RecoveryCode::parse(&text);
        }
    }
}
