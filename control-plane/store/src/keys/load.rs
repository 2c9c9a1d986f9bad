//! From wrapped keys in rows to keys in use.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use medmesh_base::{ClinicId, PersonId, RequestId};
use medmesh_clinic::audit::{Action, Object, ObjectKind};
use medmesh_clinic::{Actor, SystemActor};
use medmesh_vault::kms::{Context, Wrapped};
use medmesh_vault::{DataKey, Key, KeyKind};
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Column, Keyring, Ring, Scope, ScopeId, failed, unavailable, version_from};
use crate::{Fault, Result, Store, StoreError, Tx};

#[derive(sqlx::FromRow)]
struct ScopeRow {
    version: i32,
    root: String,
    wrapped: Vec<u8>,
    /// Gone where a newer one took its place.
    index_key: Option<Vec<u8>>,
    sealed: i64,
    index_version: i32,
    floor: i32,
}

/// One row of `patient_key`.
#[derive(sqlx::FromRow)]
pub(crate) struct PatientKeyRow {
    pub(crate) patient_id: Uuid,
    pub(crate) version: i32,
    pub(crate) clinic_key_version: i32,
    pub(crate) wrapped: Vec<u8>,
}

/// What an index key is bound to.
pub(super) fn index_field(id: ScopeId, key_version: u32) -> medmesh_vault::Field<'static> {
    let row = id.map_or(Uuid::nil(), |clinic| clinic.as_uuid());
    Column::IndexKey.field(id, row, i64::from(key_version))
}

pub(super) const fn kind_of(id: ScopeId) -> KeyKind {
    match id {
        Some(_) => KeyKind::Clinic,
        None => KeyKind::System,
    }
}

/// Reads a scope's keys on a connection that may see them and unwraps them. `None` without any. They are
/// remembered by [`Keyring::remember`], once the log says that they were fetched.
async fn read_scope(db: &mut PgConnection, keyring: &Keyring, id: ScopeId) -> Result<Option<Arc<Scope>>> {
    let sql = match id {
        Some(_) => {
            "SELECT version, root, wrapped, index_key, sealed, index_version, floor
             FROM clinic_key ORDER BY version"
        }
        None => {
            "SELECT version, root, wrapped, index_key, sealed, 1 AS index_version, 0 AS floor
             FROM system_key ORDER BY version"
        }
    };
    let rows: Vec<ScopeRow> = sqlx::query_as(sql).fetch_all(db).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let (mut keys, mut indexes, mut floor) = (Vec::with_capacity(rows.len()), BTreeMap::new(), 0);
    for row in rows {
        let index_version = version_from(row.index_version, Column::IndexKey)?;
        floor = floor.max(version_from(row.floor, Column::IndexKey)?);
        let wrapped = row.index_key.clone();
        let key = unwrap_scope_key(keyring, id, row).await?;
        if let Some(wrapped) = wrapped {
            let index = key
                .unwrap(&index_field(id, key.version()), &wrapped)
                .map_err(|error| failed(&error, Column::IndexKey))?;
            indexes.insert(index_version, index);
        }
        keys.push(Arc::new(key));
    }
    let ring = Ring::new(keys).expect("there was a row");
    Ok(Some(Arc::new(Scope::new(ring, floor, indexes)?)))
}

impl Keyring {
    /// Keeps keys that were asked for at `since`, for their time.
    fn remember(&self, id: ScopeId, scope: &Arc<Scope>, since: Instant) {
        self.0.scopes.put(id, Arc::clone(scope), since, None);
    }
}

async fn unwrap_scope_key(keyring: &Keyring, id: ScopeId, row: ScopeRow) -> Result<Key> {
    let version = version_from(row.version, Column::IndexKey)?;
    if let Some(error) = keyring.recent_failure(id) {
        return Err(unavailable(&error));
    }
    let context = Context { clinic: id, version };
    let wrapped = Wrapped {
        root: row.root,
        blob: row.wrapped,
    };
    let secret = keyring.kms().unwrap(context, &wrapped).await.map_err(|error| {
        keyring.note_failure(id, &error);
        unavailable(&error)
    })?;
    keyring.note_success();
    let count = keyring.seal_count(id, version);
    count.learn(row.sealed.cast_unsigned());
    Key::counted(kind_of(id), version, secret, count).map_err(|error| failed(&error, Column::IndexKey))
}

/// The first key of a scope, for a row of its own. Another node may be faster; then its key is it.
async fn create_scope(db: &mut PgConnection, keyring: &Keyring, id: ScopeId) -> Result<()> {
    let context = Context {
        clinic: id,
        version: 1,
    };
    let (secret, wrapped) = keyring.kms().generate(context).await.map_err(|error| {
        keyring.note_failure(id, &error);
        unavailable(&error)
    })?;
    keyring.note_success();
    let failed = |error| failed(&error, Column::IndexKey);
    let key = Key::new(kind_of(id), 1, secret, 0).map_err(failed)?;
    let index = DataKey::generate().map_err(failed)?;
    let index_key = key.wrap(&index_field(id, 1), &index).map_err(failed)?;
    let now = OffsetDateTime::now_utc();
    let query = match id {
        Some(clinic) => sqlx::query(
            "INSERT INTO clinic_key (clinic_id, version, root, wrapped, index_key, created_at)
             SELECT c.id, 1, $1, $2, $3, $4 FROM clinic c WHERE c.id = $5 ON CONFLICT DO NOTHING",
        )
        .bind(wrapped.root)
        .bind(wrapped.blob)
        .bind(index_key)
        .bind(now)
        .bind(clinic.as_uuid()),
        None => sqlx::query(
            "INSERT INTO system_key (version, root, wrapped, index_key, created_at)
             VALUES (1, $1, $2, $3, $4) ON CONFLICT DO NOTHING",
        )
        .bind(wrapped.root)
        .bind(wrapped.blob)
        .bind(index_key)
        .bind(now),
    };
    query.execute(db).await?;
    Ok(())
}

impl Store {
    /// The keys of a clinic or of the system, made if it is the first time they are needed.
    /// `None` for a clinic that does not exist.
    pub(crate) async fn scope(&self, id: ScopeId) -> Result<Option<Arc<Scope>>> {
        if let Some(scope) = self.keyring.cached_scope(id) {
            return Ok(Some(scope));
        }
        let since = Instant::now();
        let mut tx = self.scope_begin(id).await?;
        let mut found = read_scope(&mut tx, &self.keyring, id).await?;
        if found.is_none() {
            create_scope(&mut tx, &self.keyring, id).await?;
            tx.commit().await?;
            tx = self.scope_begin(id).await?;
            found = read_scope(&mut tx, &self.keyring, id).await?;
        }
        let Some(scope) = found else { return Ok(None) };
        if let Some(clinic) = id {
            self.key_opened(tx, clinic, &scope).await?;
        }
        self.keyring.remember(id, &scope, since);
        Ok(Some(scope))
    }

    async fn scope_begin(&self, id: ScopeId) -> Result<Transaction<'static, Postgres>> {
        let begin = match id {
            // A UUID's text needs no quoting.
            Some(clinic) => format!("BEGIN; SET LOCAL medmesh.clinic_id = '{clinic}'"),
            None => "BEGIN".to_owned(),
        };
        Ok(self.pool.begin_with(AssertSqlSafe(begin)).await?)
    }

    /// No key is used here that the clinic's log does not say was fetched: the leaf is durable before
    /// anybody has the key. The system's keys are no clinic's, and open nobody's record.
    async fn key_opened(
        &self,
        tx: Transaction<'static, Postgres>,
        clinic: ClinicId,
        scope: &Arc<Scope>,
    ) -> Result<()> {
        let actor = Actor::System(SystemActor::Keyring);
        let (request, now) = (RequestId::generate(), OffsetDateTime::now_utc());
        let keys = Ok(Some(Arc::clone(scope)));
        let mut tx = Tx::new(tx, clinic, actor, request, now, self, keys);
        tx.audit(Action::KeyOpen, Object::none_of(ObjectKind::Key), None)
            .await?;
        tx.commit().await
    }

    /// The system's keys.
    pub(crate) async fn system_scope(&self) -> Result<Arc<Scope>> {
        self.scope(None).await?.ok_or(StoreError::corrupt("system_key"))
    }
}

impl Tx {
    /// The keys of this transaction's clinic.
    pub(crate) fn clinic_scope(&self) -> Result<Arc<Scope>> {
        match &self.keys.scope {
            Ok(Some(scope)) => Ok(Arc::clone(scope)),
            Ok(None) => Err(StoreError::NotFound),
            Err(error) => Err(error.clone()),
        }
    }

    /// The clinic's keys with this version among them: read again when another node has rotated.
    pub(crate) async fn clinic_scope_with(&mut self, version: u32) -> Result<Arc<Scope>> {
        let scope = self.clinic_scope()?;
        if scope.ring.version(version).is_some() {
            return Ok(scope);
        }
        let (id, since) = (Some(self.clinic_id()), Instant::now());
        let keyring = self.keys.keyring.clone();
        let scope = read_scope(self.db(), &keyring, id).await?;
        self.keys.scope = Ok(scope);
        let scope = self.clinic_scope()?;
        self.key_opened_here().await?;
        keyring.remember(id, &scope, since);
        Ok(scope)
    }

    /// In a transaction that is under way its leaf is one of the transaction's. Boxed, because sealing a leaf
    /// may itself ask for keys.
    fn key_opened_here(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.audit(Action::KeyOpen, Object::none_of(ObjectKind::Key), None))
    }

    /// The system's keys with this version among them, the latest without one.
    pub(crate) async fn account_scope(&mut self, version: Option<u32>) -> Result<Arc<Scope>> {
        let knows = |scope: &Scope| version.is_none_or(|version| scope.ring.version(version).is_some());
        if let Some(scope) = self.keys.keyring.cached_scope(None).filter(|scope| knows(scope)) {
            return Ok(scope);
        }
        let (keyring, since) = (self.keys.keyring.clone(), Instant::now());
        let mut found = read_scope(self.db(), &keyring, None).await?;
        if found.is_none() {
            create_scope(self.db(), &keyring, None).await?;
            found = read_scope(self.db(), &keyring, None).await?;
        }
        let scope = found.ok_or(StoreError::corrupt("system_key"))?;
        keyring.remember(None, &scope, since);
        Ok(scope)
    }

    /// The keys of these patients, by patient; those who have none are left out. One query for
    /// all that are not in memory, or in memory without the version that is wanted.
    pub(crate) async fn patient_rings(
        &mut self,
        wanted: &[(PersonId, Option<u32>)],
    ) -> Result<HashMap<PersonId, Ring>> {
        let (clinic, now) = (self.clinic_id(), Instant::now());
        let mut found = HashMap::with_capacity(wanted.len());
        let mut missing: Vec<Uuid> = Vec::new();
        for (patient, version) in wanted {
            if found.contains_key(patient) || self.keys.keyring.is_erased(clinic, *patient) {
                continue;
            }
            let own = self.keys.fresh.get(patient).cloned();
            let ring = own.or_else(|| self.keys.keyring.0.patients.get(&(clinic, *patient), now));
            match ring {
                Some(ring) if version.is_none_or(|version| ring.version(version).is_some()) => {
                    found.insert(*patient, ring);
                }
                _ => missing.push(patient.as_uuid()),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        missing.sort_unstable();
        missing.dedup();
        let rows: Vec<PatientKeyRow> = sqlx::query_as(
            "SELECT patient_id, version, clinic_key_version, wrapped FROM patient_key
             WHERE patient_id = ANY ($1)",
        )
        .bind(missing)
        .fetch_all(self.db())
        .await?;
        for (patient, ring) in self.unwrap_patients(rows).await? {
            self.keys
                .keyring
                .0
                .patients
                .put((clinic, patient), ring.clone(), now, None);
            found.insert(patient, ring);
        }
        Ok(found)
    }

    /// Unwraps rows of `patient_key`, whichever versions of the clinic's key they are under.
    pub(crate) async fn unwrap_patients(
        &mut self,
        rows: Vec<PatientKeyRow>,
    ) -> Result<HashMap<PersonId, Ring>> {
        let clinic = self.clinic_id();
        if !rows.is_empty() && !self.keys.keyring.is_open() {
            let why = "the register of the erased was not read yet";
            return Err(StoreError::Unavailable(Fault::Keys(why.to_owned())));
        }
        let mut keys: HashMap<PersonId, Vec<Arc<Key>>> = HashMap::new();
        for row in rows {
            let clinic_version = version_from(row.clinic_key_version, Column::PatientKeyWrapped)?;
            let scope = self.clinic_scope_with(clinic_version).await?;
            let floor = self.keys.keyring.floor(clinic).max(scope.floor);
            let key = unwrap_patient(clinic, &scope, floor, &row)?;
            keys.entry(PersonId::from_uuid(row.patient_id))
                .or_default()
                .push(Arc::new(key));
        }
        let rings = keys
            .into_iter()
            .filter_map(|(patient, keys)| Some((patient, Ring::new(keys)?)));
        Ok(rings.collect())
    }

    /// A first key for somebody who becomes a patient. Stored by [`Tx::patient_key_insert`] once the
    /// person's row is there.
    pub(crate) fn patient_key_create(&mut self, patient: PersonId) -> Result<DataKey> {
        let secret = DataKey::generate().map_err(|error| failed(&error, Column::PatientKeyWrapped))?;
        let key = Key::new(KeyKind::Patient, 1, secret.clone(), 0)
            .map_err(|error| failed(&error, Column::PatientKeyWrapped))?;
        let ring = Ring::new([Arc::new(key)]).expect("one key");
        // Not for other transactions yet: this one may be undone.
        self.keys.fresh.insert(patient, ring);
        Ok(secret)
    }

    /// A patient's key under the clinic's, and the clinic's version.
    pub(crate) fn patient_key_wrap(
        &self,
        patient: PersonId,
        version: u32,
        secret: &DataKey,
    ) -> Result<(i32, Vec<u8>)> {
        let scope = self.clinic_scope()?;
        let key = scope.ring.current();
        let field = patient_key_field(self.clinic_id(), patient, version);
        let wrapped = key.wrap(&field, secret);
        let wrapped = wrapped.map_err(|error| failed(&error, Column::PatientKeyWrapped))?;
        Ok((key.version().cast_signed(), wrapped))
    }

    /// Stores a version of a patient's key.
    pub(crate) async fn patient_key_insert(
        &mut self,
        patient: PersonId,
        version: u32,
        secret: &DataKey,
    ) -> Result<()> {
        let (clinic, now) = (self.clinic_id(), self.now());
        let (clinic_version, wrapped) = self.patient_key_wrap(patient, version, secret)?;
        sqlx::query(
            "INSERT INTO patient_key (clinic_id, patient_id, version, clinic_key_version, wrapped, created_at)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(clinic.as_uuid())
        .bind(patient.as_uuid())
        .bind(version.cast_signed())
        .bind(clinic_version)
        .bind(wrapped)
        .bind(now)
        .execute(self.db())
        .await?;
        Ok(())
    }
}

/// What a patient's wrapped key is bound to.
pub(crate) fn patient_key_field(
    clinic: ClinicId,
    patient: PersonId,
    version: u32,
) -> medmesh_vault::Field<'static> {
    Column::PatientKeyWrapped.field(Some(clinic), patient.as_uuid(), i64::from(version))
}

fn unwrap_patient(clinic: ClinicId, scope: &Scope, floor: u32, row: &PatientKeyRow) -> Result<Key> {
    let corrupt = || StoreError::corrupt(Column::PatientKeyWrapped.path());
    let version = version_from(row.version, Column::PatientKeyWrapped)?;
    let clinic_version = version_from(row.clinic_key_version, Column::PatientKeyWrapped)?;
    if clinic_version < floor {
        // A rotation moved every patient's key: this one was put back.
        return Err(StoreError::Internal(Fault::Sealed(
            Column::PatientKeyWrapped.path(),
        )));
    }
    let above = scope.ring.version(clinic_version).ok_or_else(corrupt)?;
    let field = patient_key_field(clinic, PersonId::from_uuid(row.patient_id), version);
    let secret = above
        .unwrap(&field, &row.wrapped)
        .map_err(|error| failed(&error, Column::PatientKeyWrapped))?;
    // A patient's key seals what one person's record holds: far below any bound.
    Key::new(KeyKind::Patient, version, secret, 0).map_err(|error| failed(&error, Column::PatientKeyWrapped))
}
