//! The keys behind the sealed columns.
//!
//! A [`Keyring`] holds what was unwrapped for a bounded time. A transaction takes
//! the keys of its clinic along when it begins, so that the KMS is asked before
//! any row is locked; the keys of patients come from `patient_key`, unwrapped by
//! the clinic's, in one query for all that a listing needs.
//!
//! When the KMS is away, keys that are in memory work until their time is over;
//! then what needs them fails as *unavailable*. Nothing is ever written or read
//! in plain text instead.

mod column;
mod count;
mod load;
mod overview;
mod reseal;
mod ring;
mod root;
mod rotate;
mod seal;
mod step;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use medmesh_base::{ClinicId, PersonId};
use medmesh_vault::{Cache, Kms, KmsError, SealCount, VaultError};

pub(crate) use column::WRITTEN_ONCE;
pub use column::{Column, Owner};
pub(crate) use load::PatientKeyRow;
pub use overview::KeySummary;
pub(crate) use ring::{Ring, Scope, version_from};
pub use rotate::{Rotation, RotationSubject};
pub(crate) use seal::{Opener, Sealed};
pub use step::{ROTATION_STEP_MAX, RotationStep};

use crate::StoreError;
use crate::error::Fault;

/// Clinics whose keys are kept at once.
const CLINICS_MAX: usize = 4_096;

/// After a failure of the KMS, how long others fail with it at once instead of waiting for it too.
const FAILURE_HELD: Duration = Duration::from_secs(1);

/// How long keys stay in memory, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyringSettings {
    /// How long an unwrapped key may be used. An erased patient's key is gone from every node
    /// after this long, and a KMS may be away this long before anyone notices.
    pub lifetime: Duration,
    /// Patients whose keys are kept at once, about 1 kB each.
    pub patients_max: usize,
    /// Whether patients' keys stay shut until [`Keyring::open_patients`]: a database that was put back
    /// holds keys that were destroyed, and only the register outside of it says whose.
    pub waits_for_register: bool,
}

impl Default for KeyringSettings {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(300),
            patients_max: 16_384,
            waits_for_register: false,
        }
    }
}

/// Keys in memory, and the KMS they come from. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Keyring(Arc<Inner>);

/// Whose keys: a clinic's, or the system's.
type ScopeId = Option<ClinicId>;

#[derive(Debug)]
struct Inner {
    kms: Arc<dyn Kms>,
    scopes: Cache<ScopeId, Arc<Scope>>,
    patients: Cache<(ClinicId, PersonId), Ring>,
    /// When the KMS failed last for somebody, and how.
    failures: Mutex<HashMap<ScopeId, (Instant, KmsError)>>,
    /// How often it failed since the start, and whether it did the last time it was asked.
    failed: AtomicU64,
    is_away: AtomicBool,
    /// How much was sealed under which version, longer than the key itself is in memory. One small
    /// entry for each version that was ever used here.
    counts: Mutex<HashMap<(ScopeId, u32), Arc<SealCount>>>,
    /// What the control nodes agreed on: below these versions of a clinic's key nothing is opened
    /// but what keeps its key.
    floors: RwLock<HashMap<ClinicId, u32>>,
    /// Whose keys were destroyed for good, as the register outside of the database says: a key that a
    /// restored backup holds opens nothing.
    erased: RwLock<HashSet<(ClinicId, PersonId)>>,
    /// Whether it is known whose keys are destroyed. It never closes again: what is added later is
    /// heard of while the process lives.
    patients_open: AtomicBool,
}

impl Keyring {
    /// An empty ring over a KMS.
    #[must_use]
    pub fn new(kms: Arc<dyn Kms>, settings: KeyringSettings) -> Self {
        Self(Arc::new(Inner {
            kms,
            scopes: Cache::new(settings.lifetime, CLINICS_MAX),
            patients: Cache::new(settings.lifetime, settings.patients_max),
            failures: Mutex::default(),
            failed: AtomicU64::new(0),
            is_away: AtomicBool::new(false),
            counts: Mutex::default(),
            floors: RwLock::default(),
            erased: RwLock::default(),
            patients_open: AtomicBool::new(!settings.waits_for_register),
        }))
    }

    /// The KMS.
    #[must_use]
    pub fn kms(&self) -> &Arc<dyn Kms> {
        &self.0.kms
    }

    /// How long a key is used before it is fetched anew.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.0.scopes.lifetime()
    }

    /// Keys in memory: of clinics (and the system), and of patients. For metrics.
    #[must_use]
    pub fn cached(&self) -> (usize, usize) {
        (self.0.scopes.len(), self.0.patients.len())
    }

    /// Forgets a patient's key, which was destroyed.
    pub(crate) fn forget_patient(&self, clinic: ClinicId, patient: PersonId) {
        self.0.patients.forget(|key| *key == (clinic, patient));
    }

    /// Forgets every key, as if their time were over.
    pub fn forget(&self) {
        self.0.scopes.forget(|_| true);
        self.0.patients.forget(|_| true);
    }

    /// Forgets the keys whose time is over, so that an idle process does not keep them.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.0.scopes.sweep(now);
        self.0.patients.sweep(now);
    }

    /// Takes over what the control nodes agreed on, in place of what was agreed before.
    pub fn set_floors(&self, floors: HashMap<ClinicId, u32>) {
        *self.0.floors.write().unwrap_or_else(PoisonError::into_inner) = floors;
    }

    /// Adds to those whose keys are destroyed for good, and forgets what is in memory of them.
    pub fn add_erased(&self, gone: &[(ClinicId, PersonId)]) {
        let mut erased = self.0.erased.write().unwrap_or_else(PoisonError::into_inner);
        erased.extend(gone);
        self.0.patients.forget(|key| erased.contains(key));
    }

    /// From now on patients' keys open, but for those of [`Keyring::add_erased`].
    pub fn open_patients(&self) {
        // Whoever sees it sees what was added before.
        self.0.patients_open.store(true, Ordering::Release);
    }

    /// Whether patients' keys open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.patients_open.load(Ordering::Acquire)
    }

    /// Whether a patient's key is destroyed for good, whatever the database holds.
    #[must_use]
    pub fn is_erased(&self, clinic: ClinicId, patient: PersonId) -> bool {
        let erased = self.0.erased.read().unwrap_or_else(PoisonError::into_inner);
        erased.contains(&(clinic, patient))
    }

    /// The oldest version of a clinic's key that opens what a rotation seals anew; 0: all do.
    #[must_use]
    pub fn floor(&self, clinic: ClinicId) -> u32 {
        let floors = self.0.floors.read().unwrap_or_else(PoisonError::into_inner);
        floors.get(&clinic).copied().unwrap_or(0)
    }

    /// The count of one version, the same as long as the process lives.
    fn seal_count(&self, id: ScopeId, version: u32) -> Arc<SealCount> {
        let mut counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(counts.entry((id, version)).or_default())
    }

    fn seal_counts(&self) -> Vec<(ScopeId, u32, Arc<SealCount>)> {
        let counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let each = counts.iter();
        each.map(|((id, version), count)| (*id, *version, Arc::clone(count)))
            .collect()
    }

    fn cached_scope(&self, id: ScopeId) -> Option<Arc<Scope>> {
        self.0.scopes.get(&id, Instant::now())
    }

    fn recent_failure(&self, id: ScopeId) -> Option<KmsError> {
        let failures = self.0.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, error) = failures.get(&id)?;
        (at.elapsed() < FAILURE_HELD).then(|| error.clone())
    }

    /// How often the KMS did not do what it was asked for since the start. For metrics.
    #[must_use]
    pub fn kms_failures(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// Whether the KMS did what it was asked for the last time; also before it was asked at all.
    #[must_use]
    pub fn has_kms(&self) -> bool {
        !self.0.is_away.load(Ordering::Relaxed)
    }

    fn note_success(&self) {
        self.0.is_away.store(false, Ordering::Relaxed);
    }

    fn note_failure(&self, id: ScopeId, error: &KmsError) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
        self.0.is_away.store(true, Ordering::Relaxed);
        let mut failures = self.0.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|_, (at, _)| at.elapsed() < FAILURE_HELD);
        failures.insert(id, (Instant::now(), error.clone()));
    }
}

/// A KMS's answer as an operation's failure.
pub(crate) fn unavailable(error: &KmsError) -> StoreError {
    StoreError::Unavailable(Fault::Keys(error.to_string()))
}

/// What the vault says about one column's value.
pub(crate) fn failed(error: &VaultError, column: Column) -> StoreError {
    match error {
        VaultError::Exhausted => StoreError::Unavailable(Fault::Keys(error.to_string())),
        _ => StoreError::Internal(Fault::Sealed(column.path())),
    }
}
