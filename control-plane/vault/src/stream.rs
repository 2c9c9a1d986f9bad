//! Objects too large for one message: chunks, each sealed on its own.
//!
//! ```text
//! format (1) | kind of key (1) | key version (4) | salt (32) | chunk | chunk | …
//! ```
//!
//! Every object has a key of its own, derived from the owner's key and the salt,
//! so the nonces may simply count: eleven bytes of the chunk's number and one that
//! says whether it is the last (the STREAM construction: Hoang, Reyhanitabar,
//! Rogaway and Vizár, CRYPTO 2015). Chunks that are left out, repeated or put in
//! another order do not open, and neither does an object without its last chunk.
//! The header and the place are authenticated with every chunk.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::envelope::{Field, HEADER_BYTES, Header, TAG_BYTES};
use crate::{Key, VaultError};

/// Plain bytes of a chunk: large enough that tags and calls do not count, small enough to hold.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// Sealed bytes of a full chunk.
const SEALED_CHUNK_BYTES: usize = CHUNK_BYTES + TAG_BYTES;
/// Bytes of an object's salt: no two objects of a key share one.
const SALT_BYTES: usize = 32;
/// Bytes before the first chunk.
const PREFIX_BYTES: usize = HEADER_BYTES + SALT_BYTES;
/// Most chunks: 4 TiB, which no attachment, tile or export comes near.
const CHUNKS_MAX: u64 = 1 << 26;

/// What sealing and opening share: the object's key, and which chunk is next.
struct Chunks {
    key: LessSafeKey,
    aad: Vec<u8>,
    next: u64,
}

impl Chunks {
    fn new(key: &Key, field: &Field<'_>, prefix: &[u8]) -> Result<Self, VaultError> {
        let header = Header {
            kind: key.kind(),
            key_version: key.version(),
        };
        let secret = key.object_key(&prefix[HEADER_BYTES..]);
        let unbound = UnboundKey::new(&AES_256_GCM, secret.as_slice()).map_err(|_| VaultError::Crypto)?;
        let mut aad = b"medmesh object\0".to_vec();
        aad.extend_from_slice(&field.associated(&header));
        Ok(Self {
            key: LessSafeKey::new(unbound),
            aad,
            next: 0,
        })
    }

    fn nonce(&mut self, is_last: bool) -> Result<Nonce, VaultError> {
        if self.next >= CHUNKS_MAX {
            return Err(VaultError::Exhausted);
        }
        let mut nonce = [0; NONCE_LEN];
        nonce[3..11].copy_from_slice(&self.next.to_be_bytes());
        nonce[11] = u8::from(is_last);
        self.next += 1;
        Ok(Nonce::assume_unique_for_key(nonce))
    }

    fn seal(&mut self, chunk: &[u8], is_last: bool, out: &mut Vec<u8>) -> Result<(), VaultError> {
        let nonce = self.nonce(is_last)?;
        let mut text = Zeroizing::new(chunk.to_vec());
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(&self.aad), &mut text)
            .map_err(|_| VaultError::Crypto)?;
        out.extend_from_slice(&text);
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }

    fn open(&mut self, chunk: &[u8], is_last: bool, out: &mut Vec<u8>) -> Result<(), VaultError> {
        let nonce = self.nonce(is_last)?;
        let mut text = Zeroizing::new(chunk.to_vec());
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(&self.aad), &mut text)
            .map_err(|_| VaultError::Sealed)?;
        out.extend_from_slice(plain);
        Ok(())
    }
}

/// Seals an object piece by piece.
pub struct ObjectSealer {
    chunks: Chunks,
    /// Plain bytes that do not fill a chunk yet, or fill one that may be the last.
    held: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for ObjectSealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ObjectSealer")
    }
}

impl ObjectSealer {
    /// Begins an object for one place; the bytes given back come first.
    ///
    /// # Errors
    /// [`VaultError::Crypto`], never expected.
    pub fn begin(key: &Key, field: &Field<'_>) -> Result<(Self, Vec<u8>), VaultError> {
        let header = Header {
            kind: key.kind(),
            key_version: key.version(),
        };
        let mut prefix = header.to_bytes().to_vec();
        prefix.resize(PREFIX_BYTES, 0);
        SystemRandom::new()
            .fill(&mut prefix[HEADER_BYTES..])
            .map_err(|_| VaultError::Crypto)?;
        let sealer = Self {
            chunks: Chunks::new(key, field, &prefix)?,
            held: Zeroizing::new(Vec::with_capacity(CHUNK_BYTES)),
        };
        Ok((sealer, prefix))
    }

    /// Takes more of the object, gives the chunks that are complete.
    ///
    /// # Errors
    /// [`VaultError::Exhausted`] beyond 4 TiB.
    pub fn push(&mut self, mut plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let mut out = Vec::new();
        while !plain.is_empty() {
            // Only now is it known that the held chunk is not the last.
            if self.held.len() == CHUNK_BYTES {
                self.chunks.seal(&self.held, false, &mut out)?;
                self.held.clear();
            }
            let (now, later) = plain.split_at(plain.len().min(CHUNK_BYTES - self.held.len()));
            self.held.extend_from_slice(now);
            plain = later;
        }
        Ok(out)
    }

    /// Ends the object: its last chunk, empty for an empty object.
    ///
    /// # Errors
    /// As [`ObjectSealer::push`].
    pub fn finish(mut self) -> Result<Vec<u8>, VaultError> {
        let mut out = Vec::new();
        self.chunks.seal(&self.held, true, &mut out)?;
        Ok(out)
    }
}

/// Opens an object piece by piece. Until [`ObjectOpener::finish`] has succeeded, what came out is a
/// true beginning of the object and perhaps not all of it.
pub struct ObjectOpener<'a> {
    key: &'a Key,
    field: Field<'a>,
    chunks: Option<Chunks>,
    held: Vec<u8>,
}

impl std::fmt::Debug for ObjectOpener<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ObjectOpener")
    }
}

impl<'a> ObjectOpener<'a> {
    /// Begins to read an object of one place.
    #[must_use]
    pub const fn new(key: &'a Key, field: Field<'a>) -> Self {
        Self {
            key,
            field,
            chunks: None,
            held: Vec::new(),
        }
    }

    /// Takes more of the sealed object, gives what could be opened.
    ///
    /// # Errors
    /// [`VaultError::Sealed`] when it is of another place or key, or was altered.
    pub fn push(&mut self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        self.held.extend_from_slice(sealed);
        let mut out = Zeroizing::new(Vec::new());
        if self.chunks.is_none() {
            if self.held.len() < PREFIX_BYTES {
                return Ok(out);
            }
            let header = Header::read(&self.held)?;
            if header.kind != self.key.kind() || header.key_version != self.key.version() {
                return Err(VaultError::Sealed);
            }
            self.chunks = Some(Chunks::new(self.key, &self.field, &self.held[..PREFIX_BYTES])?);
            self.held.drain(..PREFIX_BYTES);
        }
        let chunks = self.chunks.as_mut().expect("made above");
        let mut done = 0;
        // A full chunk at the end may be the last; the next byte tells.
        while self.held.len() - done > SEALED_CHUNK_BYTES {
            chunks.open(&self.held[done..done + SEALED_CHUNK_BYTES], false, &mut out)?;
            done += SEALED_CHUNK_BYTES;
        }
        self.held.drain(..done);
        Ok(out)
    }

    /// Ends the object: what its last chunk holds.
    ///
    /// # Errors
    /// [`VaultError::Sealed`] when the end is missing.
    pub fn finish(mut self) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let mut out = Zeroizing::new(Vec::new());
        let chunks = self.chunks.as_mut().ok_or(VaultError::Sealed)?;
        chunks.open(&self.held, true, &mut out)?;
        Ok(out)
    }
}
