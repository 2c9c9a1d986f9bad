//! Copies of whole records: made by a job, kept as sealed objects for a week, taken by their patients.
//!
//! A copy is two files, JSON of this API and a FHIR R4 bundle, written in one pass over the record:
//! pages of it are read in short transactions, signed, sealed under the patient's key and sent to object
//! storage piece by piece, so that a record of any size takes a bounded amount of memory; with each page
//! the job says that it moves on, so that a large one takes its time ([`crate::jobs::Pace`]). Nothing of it
//! is ever plain outside of this process. `control-plane/rights.md` says what is in it and how it is
//! verified.

mod build;
mod keys;
mod take;
mod write;

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use medmesh_base::{ClinicId, PersonId, RecordExportId};
use medmesh_clinic::RecordExport;
use medmesh_store::{CopyForm, RecordExportBuild, RecordExportRemove, Store, StoreError};
use medmesh_vault::{TokenSigner, VaultError};
use object_store::ObjectStore;
use object_store::path::Path;
use uuid::Uuid;

use crate::jobs::{Handlers, JobFailure, Run};

pub(crate) use keys::TokenKeys;
pub(crate) use take::{TakeError, take};

/// A copy could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    /// Another worker makes it by now.
    #[error("somebody else makes it")]
    Lost(JobFailure),
    /// The database or the keys failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Object storage failed.
    #[error("object storage")]
    Objects(#[from] object_store::Error),
    /// Sealing or signing failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A value that is no JSON: a defect.
    #[error("not JSON")]
    Json(#[from] serde_json::Error),
}

impl From<JobFailure> for CopyError {
    fn from(failure: JobFailure) -> Self {
        Self::Lost(failure)
    }
}

/// What copies are made with.
#[derive(Clone)]
pub struct Copyist {
    /// Whose records.
    pub store: Store,
    /// Where copies go.
    pub objects: Arc<dyn ObjectStore>,
    /// Who signs them.
    pub signer: TokenSigner,
    /// Base URL of this installation, for FHIR's sources.
    pub url: String,
}

/// Where the copies of one record are.
fn folder(clinic: ClinicId, patient: PersonId) -> Path {
    Path::from(format!("exports/{clinic}/{patient}"))
}

/// Where one copy is, whoever made it and however often it was begun.
fn folder_of(clinic: ClinicId, patient: PersonId, export: RecordExportId) -> Path {
    folder(clinic, patient).join(export.to_string())
}

/// Where one form of a copy is, of one making of it.
fn place(clinic: ClinicId, export: &RecordExport, object: Uuid, form: CopyForm) -> Path {
    let folder = folder_of(clinic, export.patient_id, export.id);
    folder.join(format!("{object}.{}", form.as_str()))
}

/// Who makes copies and removes them.
#[must_use]
pub fn handlers(copyist: &Copyist, handlers: Handlers) -> Handlers {
    let (maker, remover) = (copyist.clone(), copyist.clone());
    handlers
        .on(move |run: Run, job: RecordExportBuild| {
            let maker = maker.clone();
            async move {
                let clinic = run.clinic_id.ok_or(JobFailure::Never("no_clinic"))?;
                match maker.make(clinic, job.export_id, &run).await {
                    Err(CopyError::Lost(failure)) => Err(failure),
                    made => made.map_err(|error| {
                        tracing::warn!(%error, %clinic, "a copy of a record was not made");
                        JobFailure::Again("copy_failed")
                    }),
                }
            }
        })
        .on(move |run: Run, job: RecordExportRemove| {
            let remover = remover.clone();
            async move {
                let clinic = run.clinic_id.ok_or(JobFailure::Never("no_clinic"))?;
                let removed = remover.remove(clinic, job.patient_id, job.export_id).await;
                removed.map_err(|error| {
                    tracing::warn!(%error, %clinic, "a copy of a record was not removed");
                    JobFailure::Again("remove_failed")
                })
            }
        })
}

impl Copyist {
    async fn remove(
        &self,
        clinic: ClinicId,
        patient: PersonId,
        export: RecordExportId,
    ) -> Result<(), CopyError> {
        remove_in(&*self.objects, &folder_of(clinic, patient, export)).await?;
        self.store.record_export_gone(clinic, export).await?;
        Ok(())
    }
}

/// Removes every copy of a record, whatever the database says of them.
///
/// # Errors
/// When object storage fails.
pub(crate) async fn remove_all(
    objects: &dyn ObjectStore,
    clinic: ClinicId,
    patient: PersonId,
) -> Result<(), object_store::Error> {
    remove_in(objects, &folder(clinic, patient)).await
}

async fn remove_in(objects: &dyn ObjectStore, folder: &Path) -> Result<(), object_store::Error> {
    let found: Vec<_> = objects.list(Some(folder)).try_collect().await?;
    let places = futures::stream::iter(found.into_iter().map(|found| Ok(found.location)));
    let mut removed = objects.delete_stream(places.boxed());
    while let Some(one) = removed.next().await {
        gone(one.map(drop))?;
    }
    Ok(())
}

/// What is not there need not be removed.
fn gone(removed: Result<(), object_store::Error>) -> Result<(), object_store::Error> {
    match removed {
        Err(object_store::Error::NotFound { .. }) => Ok(()),
        removed => removed,
    }
}
