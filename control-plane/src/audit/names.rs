//! What a clinic's log is called, where it is published, and who signs its heads.

use medmesh_base::ClinicId;
use medmesh_ledger::AuditLog;
use medmesh_tlog::note::{Signer, Verifier};
use medmesh_tlog::{Checkpoint, CheckpointError};
use medmesh_vault::ClusterSecret;

/// The keys of all logs of a cluster: each is derived, none is stored.
#[derive(Clone, Debug)]
pub struct LogKeys {
    cluster: String,
    secret: ClusterSecret,
}

/// Where a log is published: in a folder of its own for each of its names, so that what was published
/// under an earlier one stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whose log.
    pub clinic: ClinicId,
    /// How often it went on under another name.
    pub generation: u32,
}

/// A log as it is called and signed now.
#[derive(Clone, Debug)]
pub struct Log {
    keys: LogKeys,
    /// Where it is published.
    pub place: Place,
    /// The log's name, first line of its checkpoints and name of its key.
    pub origin: String,
    /// Which of its keys signs.
    pub key_epoch: u32,
}

impl LogKeys {
    /// Of a cluster.
    #[must_use]
    pub const fn new(cluster: String, secret: ClusterSecret) -> Self {
        Self { cluster, secret }
    }

    /// A clinic's log as the control nodes know it; a new one where they know none.
    #[must_use]
    pub fn log(&self, clinic: ClinicId, witnessed: Option<&AuditLog>) -> Log {
        let generation = witnessed.map_or(0, AuditLog::generation);
        self.log_at(
            Place { clinic, generation },
            witnessed.map_or(0, |log| log.key_epoch),
        )
    }

    pub(super) fn log_at(&self, place: Place, key_epoch: u32) -> Log {
        let first = format!("medmesh/{}/audit/{}", self.cluster, place.clinic);
        Log {
            keys: self.clone(),
            place,
            origin: match place.generation {
                0 => first,
                again => format!("{first}#{again}"),
            },
            key_epoch,
        }
    }
}

impl Log {
    /// Who signs its heads now.
    #[must_use]
    pub fn signer(&self) -> Signer {
        self.signer_of(self.key_epoch)
    }

    fn signer_of(&self, epoch: u32) -> Signer {
        let seed = self.keys.secret.audit_seed(self.place.clinic, epoch);
        Signer::from_seed(&self.origin, &seed).expect("cluster names have neither spaces nor a plus")
    }

    /// Who believes its heads now.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        self.signer().verifier().clone()
    }

    /// The same log under its next key.
    pub(super) fn with_next_key(&self) -> Self {
        Self {
            key_epoch: self.key_epoch + 1,
            ..self.clone()
        }
    }

    /// The same log, under the same key and its next name.
    pub(super) fn again(&self) -> Self {
        let place = Place {
            generation: self.place.generation + 1,
            ..self.place
        };
        self.keys.log_at(place, self.key_epoch)
    }

    /// Reads a head that this log signed, with the key in force or one before it; says with which.
    ///
    /// # Errors
    /// [`CheckpointError`] as the key in force has it.
    pub fn open(&self, note: &str) -> Result<(Checkpoint, Verifier), CheckpointError> {
        let newest = self.verifier();
        let refused = match Checkpoint::open(note, &newest) {
            Ok(head) => return Ok((head, newest)),
            Err(error) => error,
        };
        for epoch in (0..self.key_epoch).rev() {
            let verifier = self.signer_of(epoch).verifier().clone();
            if let Ok(head) = Checkpoint::open(note, &verifier) {
                return Ok((head, verifier));
            }
        }
        Err(refused)
    }
}
