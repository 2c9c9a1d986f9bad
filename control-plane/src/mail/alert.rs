//! Mail to whoever looks after privacy.

use medmesh_clinic::alert_mail;
use medmesh_store::{BreakGlassAlert, Store};

use super::Mail;
use super::addressed::{Whom, addressed};
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
        let Some((to, name)) = addressed(store, run, Whom::Active(job.person_id)).await? else {
            return Ok(());
        };
        let link = format!("{}/{PORTAL}/", self.0.base_url);
        let (subject, text) = alert_mail(to.locale, &name, &link);
        self.deliver(to.email.expose(), subject, text).await
    }
}
