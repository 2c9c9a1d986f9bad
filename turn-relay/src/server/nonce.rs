//! Nonces that need no memory: the expiry and a MAC of it and the client (RFC 8489 §9.2).

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::Client;

const EXPIRY_BYTES: usize = 4;
/// A nonce only stops replays (the password is checked besides), so 64 bits that can be
/// guessed at nowhere but at this server are plenty, and every byte more makes the
/// unauthenticated answer larger.
const MAC_BYTES: usize = 8;
/// What tells clients that the server knows the security features that follow, and those: bit
/// 0 of 24, password algorithms (RFC 8489 §9.2, §18.1). Bit 1, user names by their hashes, is
/// not set: time-limited names are made up elsewhere and seen here first when they are used,
/// so that there is no list to find a hash in. Somebody on the way who clears a bit gets the
/// nonce refused.
pub(super) const COOKIE: &str = "obMatJos2gAAA";
/// Cookie, and base64 of expiry and MAC.
pub(super) const NONCE_BYTES: usize = COOKIE.len() + (EXPIRY_BYTES + MAC_BYTES) / 3 * 4;

/// Makes and checks nonces.
#[derive(Debug)]
pub(super) struct Nonces {
    key: hmac::Key,
    lifetime_s: u64,
}

impl Nonces {
    pub(super) fn new(key: &[u8], lifetime: Duration) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            lifetime_s: lifetime.as_secs(),
        }
    }

    /// A nonce for `client`, good for the lifetime.
    pub(super) fn make(&self, unix_s: u64, client: Client) -> String {
        let expiry = truncate(unix_s + self.lifetime_s);
        let mut nonce = [0; EXPIRY_BYTES + MAC_BYTES];
        nonce[..EXPIRY_BYTES].copy_from_slice(&expiry.to_be_bytes());
        nonce[EXPIRY_BYTES..].copy_from_slice(&self.mac(expiry, client));
        let mut text = String::with_capacity(NONCE_BYTES);
        text.push_str(COOKIE);
        BASE64_URL_SAFE_NO_PAD.encode_string(nonce, &mut text);
        text
    }

    /// Whether `nonce` was made for `client` and has not expired.
    pub(super) fn is_valid(&self, unix_s: u64, client: Client, nonce: &[u8]) -> bool {
        let Some(nonce) = nonce
            .strip_prefix(COOKIE.as_bytes())
            .filter(|_| nonce.len() == NONCE_BYTES)
        else {
            return false;
        };
        let mut bytes = [0; EXPIRY_BYTES + MAC_BYTES];
        if BASE64_URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes).is_err() {
            return false;
        }
        let (&expiry, mac) = bytes
            .split_first_chunk()
            .expect("the array is longer than the expiry");
        let expiry = u32::from_be_bytes(expiry);
        constant_time::verify_slices_are_equal(&self.mac(expiry, client), mac).is_ok()
            && expiry > truncate(unix_s)
    }

    /// The length of what is signed is fixed, so that no two clients sign alike.
    fn mac(&self, expiry: u32, client: Client) -> [u8; MAC_BYTES] {
        let ip = match client.address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut signed = [0; 4 + 2 + 16 + 2];
        signed[..4].copy_from_slice(&expiry.to_be_bytes());
        signed[4..6].copy_from_slice(&client.listener.0.to_be_bytes());
        signed[6..22].copy_from_slice(&ip.octets());
        signed[22..].copy_from_slice(&client.address.port().to_be_bytes());
        let tag = hmac::sign(&self.key, &signed);
        *tag.as_ref().first_chunk().expect("a SHA-256 tag has 32 bytes")
    }
}

/// Seconds in 32 bits: good until 2106.
#[expect(
    clippy::cast_possible_truncation,
    reason = "32 bits of seconds last until 2106"
)]
fn truncate(unix_s: u64) -> u32 {
    unix_s as u32
}
