//! Who was erased, kept where a restored backup of the database does not reach: object storage.
//!
//! An entry is an object that is written once: `erasures/CLINIC/PATIENT.TAG`, ids that mean nothing
//! to anybody else and a tag under the cluster's secret, so that nobody erases a patient by writing
//! into a bucket. Objects and not the ledger: the register only grows, the ledger is in every
//! voter's memory; and what is written once can be locked against being removed
//! (`objects.s3.erasures_lock_days`). A bucket that should lock and does not gets no entry, and where it
//! locks every version is looked at: whoever hides an entry behind a delete marker hides nothing.
//!
//! What it says holds whatever the database says: a node opens nobody's record before it has read the
//! register once ([`medmesh_store::Keyring::open_patients`]), keys of those in it open nothing
//! ([`medmesh_store::Keyring::add_erased`]), and whoever came back with a backup is erased again, when a
//! node starts, every ten minutes, and when an operator asks (`medmesh keys erased`).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use medmesh_base::drain::Drain;
use medmesh_base::{ClinicId, PersonId};
use medmesh_store::{Store, StoreError};
use medmesh_vault::ClusterSecret;
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutOptions};
use time::OffsetDateTime;

use crate::objects::{Kept, LockError};

/// The register's folder.
const FOLDER: &str = "erasures";
/// How often the register is held against the database without being asked. A restore is a matter of
/// hours; listing a hundred thousand entries takes a hundred requests.
const HELD_EVERY: Duration = Duration::from_secs(600);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(15);
/// After a failure before the register was read for the first time: nobody's record opens here until then.
const AGAIN_FIRST: Duration = Duration::from_secs(1);
/// How often is looked whose keys were destroyed by other nodes. As ended sessions, so that an erasure
/// is done everywhere within a second.
const FOLLOW_EVERY: Duration = Duration::from_millis(400);
/// How far back is looked: an erasure may commit as late as its statements may take, and the clocks
/// of nodes differ a little.
const FOLLOW_BACK: time::Duration = time::Duration::seconds(90);

/// The register cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Object storage failed.
    #[error("object storage")]
    Objects(#[from] object_store::Error),
    /// What is written now could be taken away again.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What holding the register against the database came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Who is in the register.
    pub listed: u64,
    /// Who had come back, and was erased again.
    pub erased_again: u64,
    /// Who was erased and not in it yet.
    pub added: u64,
    /// Objects that are no entries of ours.
    pub unknown: u64,
    /// Entries somebody hid behind a delete marker. They count as if nobody had.
    pub hidden: u64,
}

/// The register. Cheap to clone.
#[derive(Clone)]
pub struct Register {
    place: Kept,
    copies: Arc<dyn ObjectStore>,
    secret: ClusterSecret,
}

type Who = (ClinicId, PersonId);

/// What is in the register.
#[derive(Debug, Default, PartialEq, Eq)]
struct Listed {
    who: HashSet<Who>,
    /// Objects that are no entries of ours.
    unknown: u64,
    /// Those of them that no plain listing shows.
    hidden: HashSet<Who>,
}

impl Register {
    /// In object storage; `copies` is where copies of records are.
    #[must_use]
    pub fn new(place: impl Into<Kept>, copies: Arc<dyn ObjectStore>, secret: ClusterSecret) -> Self {
        Self {
            place: place.into(),
            copies,
            secret,
        }
    }

    /// Whether what is put there is locked, if it should be; asked now.
    ///
    /// # Errors
    /// [`LockError`].
    pub async fn check_lock(&self) -> Result<(), LockError> {
        match &self.place.lock {
            Some(lock) => lock.check().await,
            None => Ok(()),
        }
    }

    fn place(&self, (clinic, patient): Who) -> Path {
        let tag = self.secret.erasure_tag(clinic, patient);
        Path::from(format!("{FOLDER}/{clinic}/{patient}.{}", *tag))
    }

    /// Whom an object's name says, if we wrote it.
    fn read(&self, name: &str) -> Option<Who> {
        let mut parts = name.split('/').skip(1);
        let clinic = parts.next()?.parse().ok()?;
        let patient = parts.next()?.split_once('.')?.0.parse().ok()?;
        (self.place((clinic, patient)).as_ref() == name).then_some((clinic, patient))
    }

    /// Adds somebody. Adding them again is fine.
    ///
    /// # Errors
    /// When object storage fails, or does not lock what it should.
    pub async fn add(&self, clinic: ClinicId, patient: PersonId) -> Result<(), RegisterError> {
        // An entry in an unlocked bucket could be taken away for ever after, and is not written twice.
        if let Some(lock) = &self.place.lock {
            lock.believed().await?;
        }
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        let place = self.place((clinic, patient));
        let put = self.place.store.put_opts(&place, "erased\n".into(), options);
        match put.await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes every copy of a record that was made for its patient.
    ///
    /// # Errors
    /// When object storage fails.
    pub async fn remove_copies(&self, clinic: ClinicId, patient: PersonId) -> Result<(), RegisterError> {
        Ok(crate::record_export::remove_all(&*self.copies, clinic, patient).await?)
    }

    /// Who is in it.
    async fn list(&self) -> Result<Listed, RegisterError> {
        let (mut listed, mut unknown) = (Listed::default(), HashSet::new());
        for version in self.place.names(FOLDER).await? {
            match self.read(&version.name) {
                Some(who) => {
                    listed.who.insert(who);
                    if version.hides {
                        listed.hidden.insert(who);
                    }
                }
                None => {
                    unknown.insert(version.name);
                }
            }
        }
        listed.unknown = unknown.len() as u64;
        Ok(listed)
    }

    /// Holds the register against the database: whoever is in it and came back is erased again, and
    /// whoever was erased and is not in it is added.
    ///
    /// # Errors
    /// [`RegisterError`]; what was done until then is done.
    pub async fn hold(&self, store: &Store) -> Result<Held, RegisterError> {
        let Listed {
            who: listed,
            unknown,
            hidden,
        } = self.list().await?;
        if !hidden.is_empty() {
            tracing::error!(
                hidden = hidden.len(),
                "somebody tried to take entries out of the register of the erased"
            );
        }
        if unknown > 0 {
            tracing::error!(
                unknown,
                "the register of the erased holds what this cluster did not write"
            );
        }
        // Before anything else: their keys open nothing from here on, and those of everybody else do.
        let all: Vec<Who> = listed.iter().copied().collect();
        store.keyring().add_erased(&all);
        store.keyring().open_patients();
        let erased: HashSet<Who> = store
            .patients_erased(OffsetDateTime::UNIX_EPOCH)
            .await?
            .into_iter()
            .collect();
        let mut held = Held {
            listed: listed.len() as u64,
            unknown,
            hidden: hidden.len() as u64,
            ..Held::default()
        };
        let mut back: HashSet<Who> = listed.difference(&erased).copied().collect();
        back.extend(store.patients_erased_with_keys().await?);
        for (clinic, patient) in back {
            match store.record_erase_again(clinic, patient).await {
                Ok(true) => {
                    tracing::warn!(%clinic, "a record that was erased had come back and is erased again");
                    held.erased_again += 1;
                    self.remove_copies(clinic, patient).await?;
                }
                // Of a clinic, or from a time, that this database does not know.
                Ok(false) | Err(StoreError::NotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for (clinic, patient) in erased.difference(&listed) {
            self.add(*clinic, *patient).await?;
            store.keyring().add_erased(&[(*clinic, *patient)]);
            held.added += 1;
        }
        Ok(held)
    }
}

/// Holds the register against the database until the drain stops: at once, and every now and then.
pub async fn watch(register: Register, store: Store, drain: Drain) {
    let mut was_told = false;
    loop {
        // Given up half way when the node stops: whoever starts next does the rest.
        let held = tokio::select! {
            () = drain.stopping() => return,
            held = register.hold(&store) => held,
        };
        let pause = match held {
            Ok(held) => {
                tracing::debug!(?held, "the register of the erased was held against the database");
                HELD_EVERY
            }
            Err(error) => {
                let is_open = store.keyring().is_open();
                if is_open || !was_told {
                    was_told = true;
                    tracing::warn!(%error, is_open, "the register of the erased is not held against the database");
                }
                if is_open { AGAIN } else { AGAIN_FIRST }
            }
        };
        tokio::select! {
            () = drain.stopping() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Forgets the keys that other nodes destroy, until the drain stops.
///
/// The database is asked rather than nodes telling each other, as for ended sessions: a lost message
/// must not leave a destroyed key in use.
pub async fn follow(store: Store, drain: Drain) {
    let mut was_told = false;
    loop {
        tokio::select! {
            () = drain.stopping() => return,
            () = tokio::time::sleep(FOLLOW_EVERY) => {}
        }
        match store.keys_follow(OffsetDateTime::now_utc() - FOLLOW_BACK).await {
            Ok(()) => was_told = false,
            Err(error) if !was_told => {
                was_told = true;
                tracing::warn!(%error, "destroyed keys are not followed; they end with their time in memory");
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt as _;

    use super::*;

    fn register() -> (tempfile::TempDir, Register) {
        let dir = tempfile::tempdir().unwrap();
        let secret = ClusterSecret::load_or_create(&dir.path().join("secret")).unwrap();
        let objects = object_store::local::LocalFileSystem::new_with_prefix(dir.path()).unwrap();
        let objects: Arc<dyn ObjectStore> = Arc::new(objects);
        let register = Register::new(objects.clone(), objects, secret);
        (dir, register)
    }

    #[tokio::test]
    async fn entries_are_written_once_and_only_by_us() {
        let (_dir, register) = register();
        let who = (ClinicId::generate(), PersonId::generate());
        for _ in 0..2 {
            register.add(who.0, who.1).await.unwrap();
        }
        let listed = |unknown| Listed {
            who: HashSet::from([who]),
            unknown,
            hidden: HashSet::new(),
        };
        assert_eq!(register.list().await.unwrap(), listed(0));
        // Somebody else's: no tag, the tag of another, one that is cut off.
        let tag = register.place(who).to_string();
        let tag = tag.rsplit_once('.').unwrap().1.to_owned();
        for name in [
            format!("{FOLDER}/{}/{}", who.0, PersonId::generate()),
            format!("{FOLDER}/{}/{}.{tag}", who.0, PersonId::generate()),
            format!("{FOLDER}/{}/{}.{}", who.0, who.1, &tag[1..]),
        ] {
            let place = Path::from(name);
            let put = register.place.store.put(&place, "erased\n".into());
            put.await.unwrap();
        }
        assert_eq!(register.list().await.unwrap(), listed(3));
    }
}
