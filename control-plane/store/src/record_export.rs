//! Copies of whole records: asked for, made, taken, gone.
//!
//! What a copy is made of is read through the listings everybody uses, by
//! [`SystemActor::Export`]; one leaf stands for all of these reads. The bytes are objects, sealed
//! with [`Tx::record_export_key`]: they go with the patient's key.

mod gather;

use std::sync::Arc;

use medmesh_base::{ClinicId, PersonId, RecordExportId, RequestId};
use medmesh_clinic::audit::Action;
use medmesh_clinic::authz;
use medmesh_clinic::{
    Actor, EXPORT_KEPT, EXPORTS_KEPT_MAX, ExportState, RecordExport, Refusal, RightsNews, SignedCopy,
    SystemActor,
};
use medmesh_vault::{Field, Key};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

pub use gather::{DeviceRow, FactorEntry, FactorRow, IdentityRow, WholePerson};

use crate::audit::Leaf;
use crate::keys::WRITTEN_ONCE;
use crate::relationship::Target;
use crate::{Cursor, JobKind, JobOptions, Page, PageRequest, Result, Store, StoreError, Tx};

/// The job that makes a copy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecordExportBuild {
    /// Which.
    pub export_id: RecordExportId,
}

impl JobKind for RecordExportBuild {
    const KIND: &'static str = "record_export_build";
}

/// The job that removes a copy whose time is over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecordExportRemove {
    /// Which.
    pub export_id: RecordExportId,
    /// Whose.
    pub patient_id: PersonId,
}

impl JobKind for RecordExportRemove {
    const KIND: &'static str = "record_export_remove";
}

/// The job that tells somebody by mail that there is something to look at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RightsMail {
    /// Whom.
    pub person_id: PersonId,
    /// What there is.
    pub news: RightsNews,
}

impl JobKind for RightsMail {
    const KIND: &'static str = "rights_mail";
}

/// In which form a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyForm {
    /// JSON of this API.
    Json,
    /// A FHIR R4 bundle.
    Fhir,
}

impl CopyForm {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Json, Self::Fhir];

    /// Its name in the object's and in what the object is bound to.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Fhir => "fhir",
        }
    }

    /// The place of a copy's object: what it is sealed for.
    #[must_use]
    pub fn field(self, clinic: ClinicId, export: RecordExportId) -> Field<'static> {
        Field {
            clinic: Some(clinic),
            table: "record_export",
            row: export.as_uuid(),
            column: self.as_str(),
            version: WRITTEN_ONCE.cast_unsigned(),
        }
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    patient_id: Uuid,
    state: String,
    requested_at: OffsetDateTime,
    ready_at: Option<OffsetDateTime>,
    expires_at: Option<OffsetDateTime>,
    object_id: Option<Uuid>,
    json_bytes: Option<i64>,
    json_signature: Option<String>,
    fhir_bytes: Option<i64>,
    fhir_signature: Option<String>,
}

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, patient_id, state, requested_at, ready_at, expires_at, object_id, json_bytes, json_signature,
                 fhir_bytes, fhir_signature FROM record_export ",
            $tail
        )
    };
}

fn export_from(row: Row) -> Result<RecordExport> {
    let copy = |bytes: Option<i64>, signature: Option<String>| {
        bytes.zip(signature).map(|(bytes, signature)| SignedCopy {
            size_bytes: bytes.cast_unsigned(),
            signature,
        })
    };
    Ok(RecordExport {
        id: RecordExportId::from_uuid(row.id),
        patient_id: PersonId::from_uuid(row.patient_id),
        state: row
            .state
            .parse()
            .map_err(|_| StoreError::corrupt("record_export.state"))?,
        requested_at: row.requested_at,
        ready_at: row.ready_at,
        expires_at: row.expires_at,
        object_id: row.object_id,
        json: copy(row.json_bytes, row.json_signature),
        fhir: copy(row.fhir_bytes, row.fhir_signature),
    })
}

impl Tx {
    /// Asks for a copy of the whole record.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Denied`]; [`Refusal::TooManyExports`].
    pub async fn record_export_create(&mut self, patient: PersonId) -> Result<RecordExport> {
        self.authorise(authz::Action::RecordExportCreate, Target::Patient(patient))
            .await?;
        // The person's row is the queue: counting and adding are one.
        sqlx::query("SELECT FROM person WHERE id = $1 FOR NO KEY UPDATE")
            .bind(patient.as_uuid())
            .execute(self.db())
            .await?;
        let (clinic, now, id) = (self.clinic(), self.now(), RecordExportId::generate());
        let kept: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM record_export
             WHERE patient_id = $1 AND (state = 'queued' OR state = 'ready' AND expires_at > $2)",
        )
        .bind(patient.as_uuid())
        .bind(now)
        .fetch_one(self.db())
        .await?;
        if kept >= EXPORTS_KEPT_MAX {
            return Err(Refusal::TooManyExports.into());
        }
        sqlx::query(
            "INSERT INTO record_export (clinic_id, id, patient_id, state, requested_at) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(clinic)
        .bind(id.as_uuid())
        .bind(patient.as_uuid())
        .bind(ExportState::Queued.as_str())
        .bind(now)
        .execute(self.db())
        .await?;
        self.audit(Action::RecordExportCreate, id, Some(patient)).await?;
        let work = RecordExportBuild { export_id: id };
        self.job_add(&work, JobOptions::default()).await?;
        Ok(RecordExport {
            id,
            patient_id: patient,
            state: ExportState::Queued,
            requested_at: now,
            ready_at: None,
            expires_at: None,
            object_id: None,
            json: None,
            fhir: None,
        })
    }

    /// Which copies there are, and were, the latest first.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Denied`].
    pub async fn record_export_list(
        &mut self,
        patient: PersonId,
        page: PageRequest,
    ) -> Result<Page<RecordExport>> {
        self.authorise(authz::Action::RecordExportList, Target::Patient(patient))
            .await?;
        let rows: Vec<Row> = sqlx::query_as(select!(
            "WHERE patient_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3"
        ))
        .bind(patient.as_uuid())
        .bind(page.id())
        .bind(page.fetch())
        .fetch_all(self.db())
        .await?;
        self.audit(Action::RecordExportRead, patient, Some(patient))
            .await?;
        Page::of(rows, page, |row| Cursor::by_id(row.id)).try_map(export_from)
    }

    /// How one copy stands.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Denied`].
    pub async fn record_export_get(&mut self, patient: PersonId, id: RecordExportId) -> Result<RecordExport> {
        self.authorise(authz::Action::RecordExportGet, Target::Patient(patient))
            .await?;
        let export = self.export_load(Some(patient), id).await?;
        self.audit(Action::RecordExportRead, id, Some(patient)).await?;
        Ok(export)
    }

    /// Leave to take a copy away, and its leaf. The key that opens it is
    /// [`Tx::record_export_key`]'s.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] also when its time is over, [`StoreError::Denied`];
    /// [`Refusal::ExportNotReady`].
    pub async fn record_export_download(
        &mut self,
        patient: PersonId,
        id: RecordExportId,
    ) -> Result<RecordExport> {
        self.authorise(authz::Action::RecordExportDownload, Target::Patient(patient))
            .await?;
        let export = self.export_load(Some(patient), id).await?;
        match export.state_at(self.now()) {
            ExportState::Queued => return Err(Refusal::ExportNotReady.into()),
            ExportState::Gone => return Err(StoreError::NotFound),
            ExportState::Ready => {}
        }
        self.audit(Action::RecordExport, id, Some(patient)).await?;
        Ok(export)
    }

    /// The key a copy is sealed with: of this version, or the one that seals now.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it was destroyed or replaced; [`StoreError::Unavailable`].
    pub async fn record_export_key(&mut self, patient: PersonId, version: Option<u32>) -> Result<Arc<Key>> {
        let rings = self.patient_rings(&[(patient, version)]).await?;
        let ring = rings.get(&patient).ok_or(StoreError::NotFound)?;
        let key = match version {
            Some(version) => ring.version(version).ok_or(StoreError::NotFound)?,
            None => ring.current(),
        };
        Ok(Arc::clone(key))
    }

    async fn export_load(&mut self, patient: Option<PersonId>, id: RecordExportId) -> Result<RecordExport> {
        let row: Option<Row> =
            sqlx::query_as(select!("WHERE id = $1 AND ($2::uuid IS NULL OR patient_id = $2)"))
                .bind(id.as_uuid())
                .bind(patient.map(|patient| patient.as_uuid()))
                .fetch_optional(self.db())
                .await?;
        export_from(row.ok_or(StoreError::NotFound)?)
    }

    /// Has somebody told by mail.
    pub(crate) async fn rights_news(&mut self, person_id: PersonId, news: RightsNews) -> Result<()> {
        self.job_add(&RightsMail { person_id, news }, JobOptions::default())
            .await?;
        Ok(())
    }

    /// Whether the leaf of the copy that is being made stands for these.
    pub(crate) fn is_covered(&self, leaves: &[Leaf]) -> bool {
        let Some(copied) = self.copying else { return false };
        leaves
            .iter()
            .all(|(_, patient, _)| patient.is_none_or(|patient| patient == copied))
    }
}

impl Store {
    /// The copy a job is to make; `None` when there is nothing to do. Writes the leaf that stands for
    /// everything [`Store::record_export_read`] reads.
    ///
    /// # Errors
    /// When the database or the keys fail.
    pub async fn record_export_begin(
        &self,
        clinic: ClinicId,
        id: RecordExportId,
    ) -> Result<Option<RecordExport>> {
        let mut tx = self.export_tx(clinic).await?;
        let export = match tx.export_load(None, id).await {
            Ok(export) if export.state == ExportState::Queued => export,
            Ok(_) | Err(StoreError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        tx.audit(Action::RecordExportBuild, id, Some(export.patient_id))
            .await?;
        tx.commit().await?;
        Ok(Some(export))
    }

    /// A transaction that reads for a copy: short, one of several.
    ///
    /// # Errors
    /// When the database or the keys fail.
    pub async fn record_export_read(&self, clinic: ClinicId, export: &RecordExport) -> Result<Tx> {
        let mut tx = self.export_tx(clinic).await?;
        tx.copying = Some(export.patient_id);
        Ok(tx)
    }

    /// The copy is made: it can be taken, and the patient is told. `false` when it was made, or its
    /// record erased, meanwhile: these objects are nobody's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record_export_ready(
        &self,
        clinic: ClinicId,
        export: &RecordExport,
        object_id: Uuid,
        json: &SignedCopy,
        fhir: &SignedCopy,
    ) -> Result<bool> {
        let mut tx = self.export_tx(clinic).await?;
        let (now, expires_at) = (tx.now(), tx.now() + EXPORT_KEPT);
        let done = sqlx::query(
            "UPDATE record_export e SET state = $2, ready_at = $3, expires_at = $4, json_bytes = $5,
                 json_signature = $6, fhir_bytes = $7, fhir_signature = $8, object_id = $9
             WHERE e.id = $1 AND e.state = 'queued' AND EXISTS (
                 SELECT FROM person p WHERE p.id = e.patient_id AND p.erased_at IS NULL FOR KEY SHARE)",
        )
        .bind(export.id.as_uuid())
        .bind(ExportState::Ready.as_str())
        .bind(now)
        .bind(expires_at)
        .bind(json.size_bytes.cast_signed())
        .bind(&json.signature)
        .bind(fhir.size_bytes.cast_signed())
        .bind(&fhir.signature)
        .bind(object_id)
        .execute(tx.db())
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let work = RecordExportRemove {
            export_id: export.id,
            patient_id: export.patient_id,
        };
        let options = JobOptions {
            due_at: Some(expires_at),
            dedupe_key: Some(export.id.to_string()),
        };
        tx.job_add(&work, options).await?;
        tx.rights_news(export.patient_id, RightsNews::ExportReady).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Notes that a copy's objects were removed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record_export_gone(&self, clinic: ClinicId, id: RecordExportId) -> Result<()> {
        let mut tx = self.export_tx(clinic).await?;
        sqlx::query("UPDATE record_export SET state = 'gone' WHERE id = $1 AND state = 'ready'")
            .bind(id.as_uuid())
            .execute(tx.db())
            .await?;
        tx.commit().await
    }

    async fn export_tx(&self, clinic: ClinicId) -> Result<Tx> {
        let actor = Actor::System(SystemActor::Export);
        self.begin(clinic, actor, RequestId::generate()).await
    }
}
