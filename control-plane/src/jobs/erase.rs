//! Records that are to go.

use medmesh_store::{Erased, RecordErase, Store};
use time::OffsetDateTime;

use super::{Handlers, JobFailure, Run};

/// Who erases records once the law lets them go.
#[must_use]
pub fn erase_handlers(store: &Store, handlers: Handlers) -> Handlers {
    let store = store.clone();
    handlers.on(move |run: Run, job: RecordErase| {
        let store = store.clone();
        async move {
            let clinic = run.clinic_id.ok_or(JobFailure::Never("no_clinic"))?;
            let now = OffsetDateTime::now_utc();
            match store.record_erase(clinic, job.patient_id, now).await {
                Ok(Erased::Now) => tracing::info!(%clinic, "a record was erased"),
                Ok(Erased::Nothing | Erased::Kept(_)) => {}
                Err(error) => {
                    tracing::warn!(%error, %clinic, "a record was not erased");
                    return Err(JobFailure::Again("database"));
                }
            }
            Ok(())
        }
    })
}
