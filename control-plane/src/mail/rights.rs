//! Mail about what patients ask of their record.

use medmesh_base::RequestId;
use medmesh_clinic::{Actor, SystemActor, rights_mail};
use medmesh_store::{RightsMail, Store, StoreError};

use super::{Mail, again};
use crate::jobs::{Handlers, JobFailure, Run};

impl Mail {
    /// Who does the jobs behind it.
    #[must_use]
    pub fn rights_handlers(&self, store: &Store, handlers: Handlers) -> Handlers {
        let (mail, store) = (self.clone(), store.clone());
        handlers.on(move |run, job: RightsMail| {
            let (mail, store) = (mail.clone(), store.clone());
            async move { mail.send_rights(&store, run, &job).await }
        })
    }

    async fn send_rights(&self, store: &Store, run: Run, job: &RightsMail) -> Result<(), JobFailure> {
        if !self.is_configured() {
            return Ok(());
        }
        let clinic = run.clinic_id.ok_or(JobFailure::Never("no_clinic"))?;
        let actor = Actor::System(SystemActor::Upkeep);
        let begun = store.begin(clinic, actor, RequestId::generate()).await;
        let mut tx = begun.map_err(again)?;
        let to = match tx.mail_to(job.person_id).await {
            Ok(to) => to,
            // No longer active, or erased.
            Err(StoreError::NotFound) => return Ok(()),
            Err(error) => return Err(again(error)),
        };
        let name = tx.clinic_get().await.map_err(again)?.name;
        tx.rollback().await.map_err(again)?;
        let link = format!("{}/{}/", self.0.base_url, job.news.portal());
        let (subject, text) = rights_mail(job.news, to.locale, &name, &link);
        self.deliver(to.email.expose(), subject, text).await
    }
}
