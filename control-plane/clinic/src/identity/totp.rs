//! Codes of an authenticator app (RFC 6238): six digits, SHA-1, thirty seconds, which is what
//! every app speaks.
//!
//! A code is good in its own step and in the one before and after it, for clocks that
//! disagree; once used, neither it nor an older one is good again.

use std::fmt;

use totp_rs::{Builder, Totp};

/// Bytes of a secret (RFC 4226 section 4, R6: 160 bits recommended).
pub const TOTP_SECRET_BYTES: usize = 20;
/// Seconds of a step (RFC 6238 section 5.2).
pub const TOTP_STEP_SECONDS: u64 = 30;
/// Digits of a code.
pub const TOTP_DIGITS: u8 = 6;
/// Steps of difference between the clocks (RFC 6238 section 5.2: one).
const SKEW: u16 = 1;
/// Longest label an app is given.
const LABEL_CHARS_MAX: usize = 64;

/// A shared secret. Never formatted by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct TotpSecret([u8; TOTP_SECRET_BYTES]);

impl TotpSecret {
    /// A secret from random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; TOTP_SECRET_BYTES]) -> Self {
        Self(bytes)
    }

    /// A secret as it was stored; `None` unless there are twenty bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// A secret as a person types it; spaces and case do not matter.
    #[must_use]
    pub fn from_base32(text: &str) -> Option<Self> {
        let plain: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let secret = totp_rs::Secret::try_from_base32(plain.to_uppercase()).ok()?;
        Self::from_bytes(secret.as_bytes())
    }

    /// The bytes, for sealing.
    #[must_use]
    pub const fn expose(&self) -> &[u8; TOTP_SECRET_BYTES] {
        &self.0
    }

    /// What a person types into an app that cannot scan.
    #[must_use]
    pub fn base32(&self) -> String {
        totp_rs::Secret::from(self.0.to_vec()).to_base32()
    }

    /// What a QR code holds (the Key URI format of Google Authenticator). The label is what the
    /// app lists the entry under; it must not tell more than the app's owner knows.
    #[must_use]
    pub fn uri(&self, issuer: &str, label: &str) -> String {
        let (issuer, label) = (encoded(issuer), encoded(label));
        let secret = self.base32();
        format!(
            "otpauth://totp/{issuer}:{label}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits={TOTP_DIGITS}&period={TOTP_STEP_SECONDS}"
        )
    }

    /// The code of a step.
    #[must_use]
    pub fn code(&self, step: u64) -> String {
        self.generator().generate(step * TOTP_STEP_SECONDS).to_string()
    }

    /// The step `code` is of, if that is the present one or a neighbour and later than
    /// `last_used`. Compares in constant time.
    #[must_use]
    pub fn check(&self, code: &str, unix_seconds: u64, last_used: u64) -> Option<u64> {
        let matched = self.generator().check(code, unix_seconds)?;
        (matched > last_used).then_some(matched)
    }

    fn generator(&self) -> Totp {
        Builder::new()
            .with_secret(self.0.to_vec())
            .with_digits(TOTP_DIGITS)
            .with_step_duration(TOTP_STEP_SECONDS)
            .with_skew(SKEW)
            .build()
            .expect("twenty bytes, six digits and thirty seconds are what RFC 6238 allows")
    }
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret(…)")
    }
}

/// The step of an instant.
#[must_use]
pub const fn totp_step(unix_seconds: u64) -> u64 {
    unix_seconds / TOTP_STEP_SECONDS
}

/// Percent-encodes all but unreserved characters (RFC 3986 section 2.3), cut to a label's length.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let cut: String = text.chars().filter(|c| *c != ':').take(LABEL_CHARS_MAX).collect();
    for byte in cut.bytes() {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rfc() -> TotpSecret {
        TotpSecret::new(*b"12345678901234567890")
    }

    /// RFC 6238 appendix B, SHA-1; its eight digits end in our six.
    #[test]
    fn the_codes_are_those_of_the_rfc() {
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(rfc().code(totp_step(seconds)), code);
            assert_eq!(rfc().check(code, seconds, 0), Some(totp_step(seconds)));
        }
    }

    #[test]
    fn a_code_lives_one_step_around_its_own_and_once() {
        let (secret, step) = (rfc(), 1_000_000);
        let code = secret.code(step);
        let at = |step: u64| step * TOTP_STEP_SECONDS + 7;
        for now in step - 1..=step + 1 {
            assert_eq!(secret.check(&code, at(now), 0), Some(step));
            assert_eq!(secret.check(&code, at(now), step), None, "used");
            assert_eq!(
                secret.check(&code, at(now), step + 1),
                None,
                "older than one used"
            );
        }
        assert_eq!(secret.check(&code, at(step - 2), 0), None);
        assert_eq!(secret.check(&code, at(step + 2), 0), None);
    }

    #[test]
    fn an_app_is_told_everything_in_one_uri() {
        let uri = rfc().uri("Harbour: Street", "Lena & Co");
        assert_eq!(
            uri,
            "otpauth://totp/Harbour%20Street:Lena%20%26%20Co?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
             &issuer=Harbour%20Street&algorithm=SHA1&digits=6&period=30"
        );
        assert!(!format!("{:?}", rfc()).contains("1234"));
    }

    proptest! {
        #[test]
        fn what_is_typed_off_the_screen_is_the_secret(bytes: [u8; TOTP_SECRET_BYTES]) {
            let secret = TotpSecret::new(bytes);
            let spaced: String = secret.base32().to_lowercase().chars()
                .enumerate().flat_map(|(n, c)| (n % 4 == 0).then_some(' ').into_iter().chain([c])).collect();
            prop_assert_eq!(TotpSecret::from_base32(&spaced), Some(secret));
        }

        #[test]
        fn nothing_typed_panics(code in ".{0,40}", now in 0_u64..4_000_000_000) {
            let _ = rfc().check(&code, now, 0);
            let _ = TotpSecret::from_base32(&code);
        }
    }
}
