//! Mail to whoever looks after privacy.

use medmesh_base::RequestId;
use medmesh_clinic::{Actor, SystemActor, alert_mail};
use medmesh_store::{BreakGlassAlert, Store, StoreError};

use super::{Mail, again};
use crate::jobs::{Handlers, JobFailure, Run};

/// The portal where broken glass is reviewed.
const PORTAL: &str = "admin";

impl Mail {
    /// Who does the jobs behind alerts.
    #[must_use]
    pub fn alert_handlers(&self, store: &Store, handlers: Handlers) -> Handlers {
        let (mail, store) = (self.clone(), store.clone());
        handlers.on(move |run, job: BreakGlassAlert| {
            let (mail, store) = (mail.clone(), store.clone());
            async move { mail.send_alert(&store, run, &job).await }
        })
    }

    async fn send_alert(&self, store: &Store, run: Run, job: &BreakGlassAlert) -> Result<(), JobFailure> {
        let clinic = run.clinic_id.ok_or(JobFailure::Never("no_clinic"))?;
        let actor = Actor::System(SystemActor::Upkeep);
        let begun = store.begin(clinic, actor, RequestId::generate()).await;
        let mut tx = begun.map_err(again)?;
        let to = match tx.mail_to(job.person_id).await {
            Ok(to) => to,
            // No longer active.
            Err(StoreError::NotFound) => return Ok(()),
            Err(error) => return Err(again(error)),
        };
        let name = tx.clinic_get().await.map_err(again)?.name;
        tx.rollback().await.map_err(again)?;
        let link = format!("{}/{PORTAL}/", self.0.base_url);
        let (subject, text) = alert_mail(to.locale, &name, &link);
        self.deliver(to.email.expose(), subject, text).await
    }
}
