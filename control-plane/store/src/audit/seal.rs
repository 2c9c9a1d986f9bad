//! How an event lies in its row: sealed under the clinic's key, with the salt of its commitment.

use aws_lc_rs::rand;
use medmesh_clinic::audit::{Event, SALT_BYTES};
use medmesh_tlog::Hash;
use medmesh_vault::{Header, KeyKind};
use uuid::Uuid;

use crate::keys::{Column, Opener, Owner, Sealed, WRITTEN_ONCE};
use crate::{Result, StoreError, Tx};

/// A leaf as its row keeps it.
pub(super) struct Leaf {
    pub(super) sealed: Vec<u8>,
    /// What the tree holds: it says nothing about the event to whoever has not the salt.
    pub(super) commitment: Hash,
}

/// What a commitment is over.
pub(super) struct Opened {
    pub(super) salt: [u8; SALT_BYTES],
    pub(super) encoding: Vec<u8>,
}

impl Opened {
    pub(super) fn commitment(&self) -> Hash {
        Hash::of(&[&self.salt, &self.encoding])
    }
}

impl Tx {
    /// The clinic's key and never a patient's: the log outlives what it is about, and holds
    /// no more of a patient than an id.
    pub(super) async fn audit_seal(&mut self, event: &Event) -> Result<Leaf> {
        let mut salt = [0; SALT_BYTES];
        rand::fill(&mut salt).expect("the system has random numbers");
        let encoding = event.encode();
        let plain = [&salt[..], &encoding].concat();
        Ok(Leaf {
            commitment: Hash::of(&[&plain]),
            sealed: self
                .seal(Column::AuditEvent, event.id, WRITTEN_ONCE, Owner::Clinic, &plain)
                .await?,
        })
    }
}

/// Which of the clinic's keys it is under. `None` when it is under no key of a clinic.
pub(super) fn key_version(bytes: &[u8]) -> Option<u32> {
    let header = Header::read(bytes).ok()?;
    (header.kind == KeyKind::Clinic).then_some(header.key_version)
}

/// A sealed event where it was found.
pub(super) fn place(leaf: Uuid, bytes: &[u8]) -> Sealed<'_> {
    Sealed {
        column: Column::AuditEvent,
        row: leaf,
        version: WRITTEN_ONCE,
        patient: None,
        bytes,
    }
}

pub(super) fn open(opener: &Opener, leaf: Uuid, bytes: &[u8]) -> Result<Opened> {
    let plain = opener.open(&place(leaf, bytes))?;
    let (salt, encoding) = plain
        .split_first_chunk()
        .ok_or(StoreError::corrupt(Column::AuditEvent.path()))?;
    Ok(Opened {
        salt: *salt,
        encoding: encoding.to_vec(),
    })
}
