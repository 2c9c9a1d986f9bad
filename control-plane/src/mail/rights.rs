//! Mail about what patients ask of their record.

use medmesh_clinic::rights_mail;
use medmesh_store::{RightsMail, Store};

use super::Mail;
use super::addressed::{Whom, addressed};
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
        let Some((to, name)) = addressed(store, run, Whom::Active(job.person_id)).await? else {
            return Ok(());
        };
        let link = format!("{}/{}/", self.0.base_url, job.news.portal());
        let (subject, text) = rights_mail(job.news, to.locale, &name, &link);
        self.deliver(to.email.expose(), subject, text).await
    }
}
