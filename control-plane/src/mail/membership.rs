//! Mail to somebody who became something else to a clinic.

use medmesh_base::RequestId;
use medmesh_clinic::identity::member_mail;
use medmesh_clinic::{Actor, SystemActor};
use medmesh_store::{MemberTell, Store, StoreError};

use super::{Mail, again};
use crate::jobs::{Handlers, JobFailure, Run};

impl Mail {
    /// Who does the jobs behind changed memberships.
    #[must_use]
    pub fn member_handlers(&self, store: &Store, handlers: Handlers) -> Handlers {
        let (mail, store) = (self.clone(), store.clone());
        handlers.on(move |run, job: MemberTell| {
            let (mail, store) = (mail.clone(), store.clone());
            async move { mail.tell_member(&store, run, &job).await }
        })
    }

    async fn tell_member(&self, store: &Store, run: Run, job: &MemberTell) -> Result<(), JobFailure> {
        let clinic = run.clinic_id.ok_or(JobFailure::Never("no_clinic"))?;
        let actor = Actor::System(SystemActor::Upkeep);
        let begun = store.begin(clinic, actor, RequestId::generate()).await;
        let mut tx = begun.map_err(again)?;
        let to = match tx.mail_to_former(job.person_id).await {
            Ok(to) => to,
            // Erased since.
            Err(StoreError::NotFound) => return Ok(()),
            Err(error) => return Err(again(error)),
        };
        let name = tx.clinic_get().await.map_err(again)?.name;
        tx.rollback().await.map_err(again)?;
        let link = format!("{}/{}/", self.0.base_url, to.portal());
        let (subject, text) = member_mail(job.news, to.locale, &name, &link);
        self.deliver(to.email.expose(), subject, text).await
    }
}
