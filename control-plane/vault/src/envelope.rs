//! The form of a sealed field, and the place it is bound to.
//!
//! ```text
//! format (1) | kind of key (1) | key version (4, big-endian) | nonce (12) | ciphertext | tag (16)
//! ```
//!
//! The first six bytes are authenticated together with the place: clinic, table,
//! row, column and the row's version. A ciphertext that is moved to another row,
//! column, patient or clinic, shortened, or put back after the row was sealed
//! anew does not open.

use medmesh_base::ClinicId;
use uuid::Uuid;

use crate::VaultError;

/// The format of this file.
const FORMAT: u8 = 1;
/// Format, kind and version.
pub(crate) const HEADER_BYTES: usize = 6;
/// A GCM nonce.
pub(crate) const NONCE_BYTES: usize = 12;
/// A GCM tag.
pub(crate) const TAG_BYTES: usize = 16;
/// How much longer a sealed field is than the plain one.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + NONCE_BYTES + TAG_BYTES;

/// Which level of the hierarchy a key is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// What belongs to no clinic: accounts.
    System,
    /// What belongs to a clinic and to no patient.
    Clinic,
    /// What belongs to one patient; destroying it erases them.
    Patient,
}

impl KeyKind {
    /// The first two bytes of every envelope under a key of this level; the key's version follows.
    #[must_use]
    pub const fn envelope_prefix(self) -> [u8; 2] {
        [FORMAT, self.byte()]
    }

    const fn byte(self) -> u8 {
        match self {
            Self::System => 1,
            Self::Clinic => 2,
            Self::Patient => 3,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::System),
            2 => Some(Self::Clinic),
            3 => Some(Self::Patient),
            _ => None,
        }
    }
}

/// What an envelope says about the key it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The level.
    pub kind: KeyKind,
    /// The version of the key.
    pub key_version: u32,
}

impl Header {
    /// Reads the beginning of an envelope.
    ///
    /// # Errors
    /// [`VaultError::Sealed`] when it is none, or too short to be one.
    pub fn read(sealed: &[u8]) -> Result<Self, VaultError> {
        if sealed.len() < OVERHEAD_BYTES || sealed[0] != FORMAT {
            return Err(VaultError::Sealed);
        }
        let kind = KeyKind::from_byte(sealed[1]).ok_or(VaultError::Sealed)?;
        let version = sealed[2..HEADER_BYTES]
            .try_into()
            .expect("four bytes of a slice of six");
        Ok(Self {
            kind,
            key_version: u32::from_be_bytes(version),
        })
    }

    pub(crate) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [FORMAT, self.kind.byte(), 0, 0, 0, 0];
        bytes[2..].copy_from_slice(&self.key_version.to_be_bytes());
        bytes
    }
}

/// The place a sealed value belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The clinic; none for what belongs to no clinic.
    pub clinic: Option<ClinicId>,
    /// The table.
    pub table: &'a str,
    /// The row.
    pub row: Uuid,
    /// The column.
    pub column: &'a str,
    /// Grows whenever the row's sealed columns are written, all of them together.
    pub version: u64,
}

impl Field<'_> {
    /// The associated data; every part has its length before it or a fixed one, so that no two
    /// places run together.
    pub(crate) fn associated(&self, header: &Header) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        out.extend_from_slice(b"medmesh field\0");
        out.extend_from_slice(&header.to_bytes());
        let clinic = self.clinic.map_or(Uuid::nil(), |clinic| clinic.as_uuid());
        out.extend_from_slice(clinic.as_bytes());
        for part in [self.table, self.column] {
            out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(self.row.as_bytes());
        out.extend_from_slice(&self.version.to_be_bytes());
        out
    }
}
