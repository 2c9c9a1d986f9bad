//! Bytes of commands, responses and states.
//!
//! Commands and responses: one version byte, then postcard. State: one version
//! byte, then JSON, because a snapshot crosses versions and only a format with
//! field names lets version N−1 read what N wrote.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Command, Response, State};

/// The ledger version of this build. It rises when a command, a response or a
/// refusal is appended.
pub const LEDGER_VERSION: u8 = 3;
/// The encoding's own version: the first byte of everything.
const ENCODING: u8 = 1;

/// The bytes are not what this build can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Nothing there.
    #[error("empty")]
    Empty,
    /// Written by a build that is more than one version ahead.
    #[error("encoding {0} is not known to this build")]
    Encoding(u8),
    /// The body does not parse.
    #[error("malformed: {0}")]
    Malformed(String),
}

fn encode_compact<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![ENCODING]).expect("plain data with known lengths always encodes")
}

fn body(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    match bytes.split_first() {
        None => Err(DecodeError::Empty),
        Some((&ENCODING, body)) => Ok(body),
        Some((&other, _)) => Err(DecodeError::Encoding(other)),
    }
}

fn decode_compact<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    match postcard::take_from_bytes(body(bytes)?) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(DecodeError::Malformed(format!("{} bytes left over", rest.len()))),
        Err(error) => Err(DecodeError::Malformed(error.to_string())),
    }
}

impl Command {
    /// The command's bytes in the log and on the wire.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode_compact(self)
    }

    /// Reads [`Command::encode`]'s bytes.
    ///
    /// # Errors
    /// When they are not a command this build knows.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode_compact(bytes)
    }
}

impl Response {
    /// The response's bytes on the wire.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode_compact(self)
    }

    /// Reads [`Response::encode`]'s bytes.
    ///
    /// # Errors
    /// When they are not a response this build knows.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode_compact(bytes)
    }
}

impl State {
    /// The state's bytes in a snapshot.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![ENCODING];
        serde_json::to_writer(&mut bytes, self).expect("every map key is text or a number");
        bytes
    }

    /// Reads [`State::encode`]'s bytes, of this version or the one before or after.
    ///
    /// # Errors
    /// When they are not a state.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        serde_json::from_slice(body(bytes)?).map_err(|error| DecodeError::Malformed(error.to_string()))
    }
}

/// Lower-case hex, for map keys that must be text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Opaque bytes as base64 text inside JSON.
pub(crate) mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}
