//! Mail to somebody who became something else to a clinic.

use medmesh_clinic::identity::member_mail;
use medmesh_store::{MemberTell, Store};

use super::Mail;
use super::addressed::{Whom, addressed};
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
        let Some((to, name)) = addressed(store, run, Whom::AlsoFormer(job.person_id)).await? else {
            return Ok(());
        };
        let link = format!("{}/{}/", self.0.base_url, to.portal());
        let (subject, text) = member_mail(job.news, to.locale, &name, &link);
        self.deliver(to.email.expose(), subject, text).await
    }
}
