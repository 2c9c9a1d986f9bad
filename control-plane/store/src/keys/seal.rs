//! Sealing and opening, by typed columns.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use medmesh_base::{AccountId, ClinicId, PersonId, Phi};
use medmesh_clinic::Email;
use medmesh_vault::{Header, Key, KeyKind};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Column, Owner, Ring, Scope, failed};
use crate::{Fault, Result, Store, StoreError, Tx};

/// A sealed value where it was found: column, row, version of the row, and whose it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sealed<'a> {
    pub(crate) column: Column,
    pub(crate) row: Uuid,
    pub(crate) version: i64,
    /// The patient it would be of, if it is a patient's; the envelope says whether it is.
    pub(crate) patient: Option<PersonId>,
    pub(crate) bytes: &'a [u8],
}

/// The keys for a set of sealed values, fetched at once; opens without waiting.
#[derive(Debug)]
pub(crate) struct Opener {
    clinic: ClinicId,
    /// Only when something is under the clinic's own key.
    scope: Option<Arc<Scope>>,
    /// Only when something is under the system's key.
    accounts: Option<Arc<Scope>>,
    patients: HashMap<PersonId, Ring>,
    /// Patients whose key was destroyed: what it sealed reads as nothing.
    erased: HashSet<PersonId>,
    /// The clinic's versions below it open nothing but what keeps its key.
    floor: u32,
}

impl Opener {
    /// For patients' values alone.
    pub(crate) fn of_patients(clinic: ClinicId, patients: HashMap<PersonId, Ring>, floor: u32) -> Self {
        Self {
            clinic,
            scope: None,
            accounts: None,
            patients,
            erased: HashSet::new(),
            floor,
        }
    }

    /// Opens one of the values this was made for.
    pub(crate) fn open(&self, sealed: &Sealed<'_>) -> Result<Zeroizing<Vec<u8>>> {
        let column = sealed.column;
        let header = Header::read(sealed.bytes).map_err(|error| failed(&error, column))?;
        let is_stale = header.kind == KeyKind::Clinic && header.key_version < self.floor;
        if is_stale && !column.keeps_its_key() {
            // A rotation sealed every such value anew: this one was put back.
            return Err(StoreError::Internal(Fault::Sealed(column.path())));
        }
        let ring = match (header.kind, sealed.patient) {
            (KeyKind::System, _) => self.accounts.as_ref().map(|scope| &scope.ring),
            (KeyKind::Clinic, _) => self.scope.as_ref().map(|scope| &scope.ring),
            (KeyKind::Patient, Some(patient)) => self.patients.get(&patient),
            (KeyKind::Patient, None) => None,
        };
        let clinic = (header.kind != KeyKind::System).then_some(self.clinic);
        let key = ring.and_then(|ring| ring.version(header.key_version));
        let key = key.ok_or(StoreError::corrupt(column.path()))?;
        key.open(&column.field(clinic, sealed.row, sealed.version), sealed.bytes)
            .map_err(|error| failed(&error, column))
    }

    /// Opens a text; what an erased patient's key sealed is an empty one.
    pub(crate) fn text(&self, sealed: &Sealed<'_>) -> Result<Phi<String>> {
        let header = Header::read(sealed.bytes).map_err(|error| failed(&error, sealed.column))?;
        let is_erased = |patient| self.erased.contains(&patient);
        if header.kind == KeyKind::Patient && sealed.patient.is_some_and(is_erased) {
            return Ok(Phi::new(String::new()));
        }
        let bytes = self.open(sealed)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| StoreError::corrupt(sealed.column.path()))?;
        Ok(Phi::new(text.to_owned()))
    }
}

impl Tx {
    /// Seals a value for one place. `version` grows whenever the row's sealed columns are
    /// written, all of them together; `1` where they are written once.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the keys cannot be had; [`StoreError::NotFound`] for a
    /// patient whose key was destroyed.
    pub(crate) async fn seal(
        &mut self,
        column: Column,
        row: Uuid,
        version: i64,
        owner: Owner,
        plain: &[u8],
    ) -> Result<Vec<u8>> {
        let clinic = self.clinic_id();
        let (key, clinic): (Arc<Key>, _) = match owner {
            Owner::Account => (Arc::clone(self.account_scope(None).await?.ring.current()), None),
            Owner::Clinic => (Arc::clone(self.clinic_scope()?.ring.current()), Some(clinic)),
            Owner::Patient(patient) => {
                self.hold_patient(patient).await?;
                let rings = self.patient_rings(&[(patient, None)]).await?;
                let ring = rings.get(&patient).ok_or(StoreError::NotFound)?;
                (Arc::clone(ring.current()), Some(clinic))
            }
        };
        key.seal(&column.field(clinic, row, version), plain)
            .map_err(|error| failed(&error, column))
    }

    /// Seals a text that may be absent.
    pub(crate) async fn seal_text(
        &mut self,
        column: Column,
        row: Uuid,
        version: i64,
        owner: Owner,
        text: Option<&str>,
    ) -> Result<Option<Vec<u8>>> {
        match text {
            Some(text) => Ok(Some(
                self.seal(column, row, version, owner, text.as_bytes()).await?,
            )),
            None => Ok(None),
        }
    }

    /// Opens one value.
    ///
    /// # Errors
    /// [`StoreError::Internal`] when it does not belong there; [`StoreError::Unavailable`].
    pub(crate) async fn open(&mut self, sealed: &Sealed<'_>) -> Result<Zeroizing<Vec<u8>>> {
        self.opener([*sealed]).await?.open(sealed)
    }

    /// Fetches what it takes to open these values: at most one query.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the keys cannot be had.
    pub(crate) async fn opener<'a>(
        &mut self,
        sealed: impl IntoIterator<Item = Sealed<'a>>,
    ) -> Result<Opener> {
        let mut patients = Vec::new();
        let (mut clinic_version, mut account_version) = (None, None);
        for value in sealed {
            let header = Header::read(value.bytes).map_err(|error| failed(&error, value.column))?;
            match (header.kind, value.patient) {
                (KeyKind::Patient, Some(patient)) => patients.push((patient, Some(header.key_version))),
                (KeyKind::Clinic, _) => clinic_version = clinic_version.max(Some(header.key_version)),
                (KeyKind::System, _) => account_version = account_version.max(Some(header.key_version)),
                (KeyKind::Patient, None) => return Err(StoreError::corrupt(value.column.path())),
            }
        }
        let wanted: HashSet<PersonId> = patients.iter().map(|(patient, _)| *patient).collect();
        let patients = self.patient_rings(&patients).await?;
        let (clinic, keyring) = (self.clinic_id(), self.keys.keyring.clone());
        let keyless = wanted
            .into_iter()
            .filter(|patient| !patients.contains_key(patient));
        let (registered, unknown): (HashSet<_>, HashSet<_>) =
            keyless.partition(|patient| keyring.is_erased(clinic, *patient));
        let mut erased = self
            .erased_among(unknown.into_iter().map(|patient| patient.as_uuid()).collect())
            .await?;
        erased.extend(registered);
        let scope = match clinic_version {
            Some(version) => Some(self.clinic_scope_with(version).await?),
            None => None,
        };
        let accounts = match account_version {
            Some(_) => Some(self.account_scope(account_version).await?),
            None => None,
        };
        let own = scope.as_ref().map_or(0, |scope| scope.floor);
        Ok(Opener {
            clinic,
            floor: self.keys.keyring.floor(clinic).max(own),
            scope,
            accounts,
            patients,
            erased,
        })
    }

    /// Keeps a patient from being erased until this transaction ends: nothing is sealed under a key
    /// that somebody else destroys meanwhile, whatever is in this node's memory.
    async fn hold_patient(&mut self, patient: PersonId) -> Result<()> {
        if self.keys.fresh.contains_key(&patient) || self.keys.held.contains(&patient) {
            return Ok(());
        }
        let held = sqlx::query("SELECT FROM person WHERE id = $1 AND erased_at IS NULL FOR KEY SHARE")
            .bind(patient.as_uuid())
            .fetch_optional(self.db())
            .await?;
        if held.is_none() {
            return Err(StoreError::NotFound);
        }
        self.keys.held.insert(patient);
        Ok(())
    }

    /// Who of these was erased. Whoever has no key and was not, lost it some other way.
    async fn erased_among(&mut self, people: Vec<Uuid>) -> Result<HashSet<PersonId>> {
        if people.is_empty() {
            return Ok(HashSet::new());
        }
        let erased: Vec<Uuid> =
            sqlx::query_scalar("SELECT id FROM person WHERE id = ANY ($1) AND erased_at IS NOT NULL")
                .bind(people)
                .fetch_all(self.db())
                .await?;
        Ok(erased.into_iter().map(PersonId::from_uuid).collect())
    }
}

fn open_account(
    scope: &Scope,
    column: Column,
    row: Uuid,
    version: i64,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>> {
    let header = Header::read(sealed).map_err(|error| failed(&error, column))?;
    let key = scope
        .ring
        .version(header.key_version)
        .ok_or(StoreError::corrupt(column.path()))?;
    key.open(&column.field(None, row, version), sealed)
        .map_err(|error| failed(&error, column))
}

impl Store {
    /// The blind index of an address: the same for everybody who knows the address and nobody else.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the system's key cannot be had.
    pub(crate) async fn email_index(&self, email: &Email) -> Result<Vec<u8>> {
        Ok(self.system_scope().await?.email_index(email.expose()))
    }

    /// Seals a value of an account, outside of any clinic: `version` grows whenever the sealed
    /// columns of its row are written, all of them together.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn seal_account(
        &self,
        column: Column,
        account: AccountId,
        version: i64,
        plain: &[u8],
    ) -> Result<Vec<u8>> {
        let scope = self.system_scope().await?;
        let field = column.field(None, account.as_uuid(), version);
        scope
            .ring
            .current()
            .seal(&field, plain)
            .map_err(|error| failed(&error, column))
    }

    /// Opens what [`Store::seal_account`] made.
    ///
    /// # Errors
    /// [`StoreError::Internal`] when it does not belong there; [`StoreError::Unavailable`].
    pub async fn open_account(
        &self,
        column: Column,
        account: AccountId,
        version: i64,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>> {
        let scope = self.system_scope().await?;
        open_account(&scope, column, account.as_uuid(), version, sealed)
    }
}
