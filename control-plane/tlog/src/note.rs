//! Signed notes (C2SP signed-note) with Ed25519, and witnesses' cosignatures
//! (C2SP tlog-cosignature, `cosignature/v1`).

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::hash::Hash;

/// Longest note read: a checkpoint with some dozen witnesses is about 3 kB.
pub const NOTE_BYTES_MAX: usize = 16 * 1024;
/// Most signatures of a note looked at.
const SIGNATURES_MAX: usize = 64;

const ALGORITHM_ED25519: u8 = 1;
const ALGORITHM_COSIGNATURE: u8 = 4;

/// The text is not a note, a key or a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not of the form of a signed note.
    #[error("not a signed note")]
    Malformed,
    /// Not of the form of a verifier key.
    #[error("not a verifier key")]
    Key,
    /// None of its signatures is by that key, or the one that is does not hold.
    #[error("not signed by this key")]
    NotSigned,
}

/// What a signature is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Note,
    Cosignature,
}

impl Kind {
    const fn algorithm(self) -> u8 {
        match self {
            Self::Note => ALGORITHM_ED25519,
            Self::Cosignature => ALGORITHM_COSIGNATURE,
        }
    }
}

/// Whom to believe: a name and a public key. As text `NAME+ID+KEY` ("vkey").
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    public: [u8; 32],
    kind: Kind,
}

impl Verifier {
    /// Of a log's own key.
    ///
    /// # Errors
    /// [`NoteError::Key`] for a name with spaces or a plus.
    pub fn new(name: &str, public: [u8; 32]) -> Result<Self, NoteError> {
        name_check(name)?;
        Ok(Self {
            name: name.to_owned(),
            public,
            kind: Kind::Note,
        })
    }

    /// Whose.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is a witness's, who signs what others' logs say.
    #[must_use]
    pub const fn is_witness(&self) -> bool {
        matches!(self.kind, Kind::Cosignature)
    }

    /// The key itself.
    #[must_use]
    pub const fn public(&self) -> [u8; 32] {
        self.public
    }

    /// Four bytes that tell keys of one name apart.
    #[must_use]
    pub fn key_id(&self) -> [u8; 4] {
        let hash = Hash::of(&[
            self.name.as_bytes(),
            b"\n",
            &[self.kind.algorithm()],
            &self.public,
        ]);
        *hash.0.first_chunk().expect("a hash has more than four bytes")
    }

    /// Checks that the note is signed by this key; gives its text. For a witness, also when
    /// it signed, Unix seconds.
    ///
    /// # Errors
    /// [`NoteError::Malformed`], [`NoteError::NotSigned`].
    pub fn verify<'a>(&self, note: &'a str) -> Result<(&'a str, Option<u64>), NoteError> {
        let (text, signatures) = parse(note)?;
        for (name, blob) in signatures {
            let Some(signature) = blob.strip_prefix(&self.key_id()).filter(|_| name == self.name) else {
                continue;
            };
            let at = self.check(text, signature)?;
            return Ok((text, at));
        }
        Err(NoteError::NotSigned)
    }

    fn check(&self, text: &str, signature: &[u8]) -> Result<Option<u64>, NoteError> {
        let (message, signature, at) = match self.kind {
            Kind::Note => (text.to_owned(), signature, None),
            Kind::Cosignature => {
                let (at, signature) = signature.split_first_chunk::<8>().ok_or(NoteError::NotSigned)?;
                let at = u64::from_be_bytes(*at);
                (cosigned(text, at), signature, Some(at))
            }
        };
        UnparsedPublicKey::new(&ED25519, self.public)
            .verify(message.as_bytes(), signature)
            .map_err(|_| NoteError::NotSigned)?;
        Ok(at)
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u32::from_be_bytes(self.key_id());
        let key: Vec<u8> = [&[self.kind.algorithm()], &self.public[..]].concat();
        write!(f, "{}+{id:08x}+{}", self.name, STANDARD.encode(key))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({self})")
    }
}

impl FromStr for Verifier {
    type Err = NoteError;
    fn from_str(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.splitn(3, '+');
        let mut part = || parts.next().ok_or(NoteError::Key);
        let (name, id, key) = (part()?, part()?, part()?);
        name_check(name)?;
        let key = STANDARD.decode(key).map_err(|_| NoteError::Key)?;
        let (algorithm, public) = key.split_first().ok_or(NoteError::Key)?;
        let kind = match *algorithm {
            ALGORITHM_ED25519 => Kind::Note,
            ALGORITHM_COSIGNATURE => Kind::Cosignature,
            _ => return Err(NoteError::Key),
        };
        let public = public.try_into().map_err(|_| NoteError::Key)?;
        let verifier = Self {
            name: name.to_owned(),
            public,
            kind,
        };
        let is_right = id == format!("{:08x}", u32::from_be_bytes(verifier.key_id()));
        if is_right {
            Ok(verifier)
        } else {
            Err(NoteError::Key)
        }
    }
}

/// One who signs. Deterministic: Ed25519 needs no randomness.
pub struct Signer {
    verifier: Verifier,
    pair: Ed25519KeyPair,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.verifier)
    }
}

impl Signer {
    /// A log's key from its secret seed (RFC 8032).
    ///
    /// # Errors
    /// [`NoteError::Key`] for a name with spaces or a plus.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        Self::of_kind(name, seed, Kind::Note)
    }

    /// A witness's key from its secret seed.
    ///
    /// # Errors
    /// [`NoteError::Key`] for a name with spaces or a plus.
    pub fn witness_from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        Self::of_kind(name, seed, Kind::Cosignature)
    }

    fn of_kind(name: &str, seed: &[u8; 32], kind: Kind) -> Result<Self, NoteError> {
        name_check(name)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| NoteError::Key)?;
        let public = pair.public_key().as_ref();
        let verifier = Verifier {
            name: name.to_owned(),
            public: public.try_into().map_err(|_| NoteError::Key)?,
            kind,
        };
        Ok(Self { verifier, pair })
    }

    /// Who believes this signer.
    #[must_use]
    pub const fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// A note of `text` (which ends in a newline) with this one signature.
    #[must_use]
    pub fn sign(&self, text: &str) -> String {
        let signature = self.pair.sign(text.as_bytes());
        format!("{text}\n{}", self.line(signature.as_ref()))
    }

    /// A witness's signature line for a note's text at `at`, Unix seconds.
    #[must_use]
    pub fn cosign(&self, text: &str, at: u64) -> String {
        let signature = self.pair.sign(cosigned(text, at).as_bytes());
        self.line(&[&at.to_be_bytes(), signature.as_ref()].concat())
    }

    fn line(&self, signature: &[u8]) -> String {
        let blob = [&self.verifier.key_id(), signature].concat();
        format!("\u{2014} {} {}\n", self.verifier.name, STANDARD.encode(blob))
    }
}

/// What a witness signs.
fn cosigned(text: &str, at: u64) -> String {
    format!("cosignature/v1\ntime {at}\n{text}")
}

fn name_check(name: &str) -> Result<(), NoteError> {
    let fits = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+');
    if fits { Ok(()) } else { Err(NoteError::Key) }
}

/// A note's text and its signatures as (name, key id and signature).
type Parsed<'a> = (&'a str, Vec<(&'a str, Vec<u8>)>);

fn parse(note: &str) -> Result<Parsed<'_>, NoteError> {
    let has_controls = note.bytes().any(|byte| byte < b' ' && byte != b'\n');
    if note.len() > NOTE_BYTES_MAX || has_controls {
        return Err(NoteError::Malformed);
    }
    let middle = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
    let (text, lines) = (&note[..=middle], &note[middle + 2..]);
    let lines = lines.strip_suffix('\n').ok_or(NoteError::Malformed)?;
    let mut signatures = Vec::new();
    for line in lines.split('\n') {
        let line = line.strip_prefix("\u{2014} ").ok_or(NoteError::Malformed)?;
        let (name, blob) = line.split_once(' ').ok_or(NoteError::Malformed)?;
        let blob = STANDARD.decode(blob).map_err(|_| NoteError::Malformed)?;
        if name_check(name).is_err() || blob.len() < 5 || signatures.len() == SIGNATURES_MAX {
            return Err(NoteError::Malformed);
        }
        signatures.push((name, blob));
    }
    Ok((text, signatures))
}
