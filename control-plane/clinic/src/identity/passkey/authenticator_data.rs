//! What the authenticator says (WebAuthn L3 section 6.1).

use aws_lc_rs::digest::{SHA256, digest};
use ciborium::Value;
use uuid::Uuid;

use super::{CREDENTIAL_ID_BYTES_MAX, PasskeyError};

/// Bytes before the attested credential: hash, flags, counter.
const HEAD: usize = 37;

const USER_PRESENT: u8 = 1;
const USER_VERIFIED: u8 = 1 << 2;
const BACKUP_ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const ATTESTED: u8 = 1 << 6;
const EXTENSIONS: u8 = 1 << 7;

/// A new credential inside it.
pub(super) struct Attested {
    pub(super) aaguid: Uuid,
    pub(super) credential_id: Vec<u8>,
    pub(super) public_key: Vec<u8>,
}

pub(super) struct AuthenticatorData {
    rp_id_sha256: [u8; 32],
    is_present: bool,
    is_verified: bool,
    pub(super) backup_eligible: bool,
    pub(super) backed_up: bool,
    pub(super) sign_count: u32,
    pub(super) attested: Option<Attested>,
}

impl AuthenticatorData {
    /// Reads all of it; bytes left over are an error.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, PasskeyError> {
        let bad = PasskeyError::AuthenticatorData;
        let (head, mut rest) = bytes.split_at_checked(HEAD).ok_or(bad)?;
        let flags = head[32];
        let attested = if flags & ATTESTED == 0 {
            None
        } else {
            Some(attested(&mut rest)?)
        };
        if flags & EXTENSIONS != 0 {
            // Asked for none; what comes anyway is skipped, as section 7.1 step 26 allows.
            let extensions: Value = ciborium::from_reader(&mut rest).map_err(|_| bad)?;
            if !extensions.is_map() {
                return Err(bad);
            }
        }
        if !rest.is_empty() {
            return Err(bad);
        }
        Ok(Self {
            rp_id_sha256: head[..32].try_into().expect("the head has 37 bytes"),
            is_present: flags & USER_PRESENT != 0,
            is_verified: flags & USER_VERIFIED != 0,
            backup_eligible: flags & BACKUP_ELIGIBLE != 0,
            backed_up: flags & BACKED_UP != 0,
            sign_count: u32::from_be_bytes(head[33..HEAD].try_into().expect("four bytes")),
            attested,
        })
    }

    /// What both ceremonies demand of it.
    pub(super) fn check(&self, rp_id: &str) -> Result<(), PasskeyError> {
        if self.rp_id_sha256 != digest(&SHA256, rp_id.as_bytes()).as_ref() {
            return Err(PasskeyError::RelyingParty);
        }
        if !self.is_present {
            return Err(PasskeyError::NotPresent);
        }
        if !self.is_verified {
            return Err(PasskeyError::NotVerified);
        }
        if self.backed_up && !self.backup_eligible {
            return Err(PasskeyError::Backup);
        }
        Ok(())
    }
}

/// The attested credential data (section 6.5.1); `rest` is left behind it.
fn attested(rest: &mut &[u8]) -> Result<Attested, PasskeyError> {
    let bad = PasskeyError::AuthenticatorData;
    let (head, tail) = rest.split_at_checked(18).ok_or(bad)?;
    let aaguid = Uuid::from_slice(&head[..16]).expect("sixteen bytes");
    let length = usize::from(u16::from_be_bytes([head[16], head[17]]));
    if length == 0 || length > CREDENTIAL_ID_BYTES_MAX {
        return Err(bad);
    }
    let (credential_id, tail) = tail.split_at_checked(length).ok_or(bad)?;
    let mut after = tail;
    // How long the key is only its own encoding says.
    let _: Value = ciborium::from_reader(&mut after).map_err(|_| bad)?;
    let public_key = &tail[..tail.len() - after.len()];
    *rest = after;
    Ok(Attested {
        aaguid,
        credential_id: credential_id.to_vec(),
        public_key: public_key.to_vec(),
    })
}
