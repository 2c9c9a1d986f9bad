//! Records that are to go.
//!
//! Three steps, each of which may be done twice, so that a worker that dies between them leaves
//! nothing half done: the key is destroyed in the database, the register outside of it is told, the
//! copies that were made for the patient are removed. A job that runs again finds the first done and
//! does the others.

use medmesh_store::{Erased, RecordErase, Store};
use time::OffsetDateTime;

use super::{Handlers, JobFailure, Run};
use crate::erasures::{Register, RegisterError};

/// Who erases records once the law lets them go.
#[must_use]
pub fn erase_handlers(store: &Store, register: &Register, handlers: Handlers) -> Handlers {
    let (store, register) = (store.clone(), register.clone());
    handlers.on(move |run: Run, job: RecordErase| {
        let (store, register) = (store.clone(), register.clone());
        async move {
            let clinic = run.clinic_id.ok_or(JobFailure::Never("no_clinic"))?;
            match erase(&store, &register, clinic, &job).await {
                Ok(Erased::Now | Erased::Before) => tracing::info!(%clinic, "a record was erased"),
                Ok(Erased::Nothing | Erased::Kept(_)) => {}
                Ok(Erased::Needed(why)) => {
                    tracing::warn!(%why, %clinic, "a record is not erased yet: its patient works here");
                }
                Err(error) => {
                    tracing::warn!(%error, %clinic, "a record was not erased, or not to the end");
                    return Err(JobFailure::Again("erase_failed"));
                }
            }
            Ok(())
        }
    })
}

async fn erase(
    store: &Store,
    register: &Register,
    clinic: medmesh_base::ClinicId,
    job: &RecordErase,
) -> Result<Erased, RegisterError> {
    let outcome = store
        .record_erase(clinic, job.patient_id, OffsetDateTime::now_utc())
        .await?;
    if matches!(outcome, Erased::Now | Erased::Before) {
        store.keyring().add_erased(&[(clinic, job.patient_id)]);
        register.add(clinic, job.patient_id).await?;
        register.remove_copies(clinic, job.patient_id).await?;
    }
    Ok(outcome)
}
