//! A relying party, and a passkey nobody has the private half of.

use medmesh_clinic::identity::passkey::Expectation;

/// The relying party's domain.
pub const RP_ID: &str = "portal.test";
const CHALLENGE: &[u8] = b"0123456789abcdef";

/// What a browser says with a new passkey.
pub const CREATED: &str = r#"{"type":"webauthn.create","challenge":"MDEyMzQ1Njc4OWFiY2RlZg","origin":"http://portal.test","crossOrigin":false}"#;
/// What a browser says when somebody signs in.
pub const GOT: &str = r#"{"type":"webauthn.get","challenge":"MDEyMzQ1Njc4OWFiY2RlZg","origin":"http://portal.test","crossOrigin":false}"#;

/// Where its pages are.
#[must_use]
pub fn origins() -> Vec<String> {
    vec!["http://portal.test".to_owned()]
}

/// What it expects of either ceremony.
#[must_use]
pub fn expectation(origins: &[String]) -> Expectation<'_> {
    Expectation {
        challenge: CHALLENGE,
        origins,
        rp_id: RP_ID,
    }
}

/// `{1: 2, 3: -7, -1: 1, -2: x, -3: y}`: the point of RFC 6979 appendix A.2.5.
#[must_use]
pub fn cose() -> Vec<u8> {
    let x = "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6";
    let y = "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";
    let bytes = |text: &str| -> Vec<u8> {
        let digits = text.as_bytes().chunks(2);
        let byte = |two: &[u8]| {
            std::str::from_utf8(two)
                .ok()
                .and_then(|two| u8::from_str_radix(two, 16).ok())
        };
        digits.filter_map(byte).collect()
    };
    let mut key = b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20".to_vec();
    key.extend(bytes(x));
    key.extend(b"\x22\x58\x20");
    key.extend(bytes(y));
    key
}
