//! Mail to whoever looks after privacy.

use medmesh_base::PersonId;
use medmesh_clinic::{Locale, alert_mail, held_mail};
use medmesh_store::{BreakGlassAlert, ErasureHeld, Store};

use super::Mail;
use super::addressed::{Whom, addressed};
use crate::jobs::{Handlers, JobFailure, Run};

/// The portal where broken glass is reviewed, and people are given roles.
const PORTAL: &str = "admin";

impl Mail {
    /// Who does the jobs behind alerts.
    #[must_use]
    pub fn alert_handlers(&self, store: &Store, handlers: Handlers) -> Handlers {
        let (mail, store) = (self.clone(), store.clone());
        let (held, held_store) = (mail.clone(), store.clone());
        let handlers = handlers.on(move |run, job: BreakGlassAlert| {
            let (mail, store) = (mail.clone(), store.clone());
            async move { mail.tell(&store, run, job.person_id, alert_mail).await }
        });
        handlers.on(move |run, job: ErasureHeld| {
            let (mail, store) = (held.clone(), held_store.clone());
            async move { mail.tell(&store, run, job.person_id, held_mail).await }
        })
    }

    async fn tell(
        &self,
        store: &Store,
        run: Run,
        person: PersonId,
        words: fn(Locale, &str, &str) -> (String, String),
    ) -> Result<(), JobFailure> {
        let Some((to, name)) = addressed(store, run, Whom::Active(person)).await? else {
            return Ok(());
        };
        let link = format!("{}/{PORTAL}/", self.0.base_url);
        let (subject, text) = words(to.locale, &name, &link);
        self.deliver(to.email.expose(), subject, text).await
    }
}
