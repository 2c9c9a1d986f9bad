//! The mail that proves the mailbox of a patient who registers.

use medmesh_base::{ClinicId, RequestId};
use medmesh_clinic::identity::{RegistrationMail, registration_mail};
use medmesh_clinic::{Actor, SystemActor};
use medmesh_store::{LinkToken, RegistrationSend, Store, StoreError};

use super::{Mail, again};
use crate::jobs::JobFailure;

impl Mail {
    /// Writes to whoever asked to register: the link that completes it, or, to somebody who has an
    /// account, where they sign in. Then nothing of what was asked for is kept.
    pub(super) async fn send_registration(
        &self,
        store: &Store,
        clinic: ClinicId,
        job: &RegistrationSend,
    ) -> Result<(), JobFailure> {
        let actor = Actor::System(SystemActor::Registration);
        let token = LinkToken::generate();
        let mut tx = store
            .begin(clinic, actor, RequestId::generate())
            .await
            .map_err(again)?;
        let registration = match tx.registration_get(job.id).await {
            Ok(found) => found,
            // Asked for again, completed or too old.
            Err(StoreError::NotFound) => return Ok(()),
            Err(error) => return Err(again(error)),
        };
        if !self.is_configured() {
            return Ok(());
        }
        let name = tx.clinic_get().await.map_err(again)?.name;
        let base = &self.0.base_url;
        let link = if registration.is_known {
            format!("{base}/patient/")
        } else {
            tx.registration_link(job.id, &token).await.map_err(again)?;
            format!("{base}/patient/#register={}", token.expose())
        };
        let kind = if registration.is_known {
            RegistrationMail::Known(&link)
        } else {
            RegistrationMail::Complete(&link)
        };
        let mail = registration_mail(kind, registration.locale, &name);
        tx.commit().await.map_err(again)?;
        // A try that fails is repeated, with a link of its own.
        self.deliver(registration.email.expose(), mail.subject, mail.text)
            .await?;
        if registration.is_known {
            let mut tx = store
                .begin(clinic, actor, RequestId::generate())
                .await
                .map_err(again)?;
            tx.registration_forget(job.id).await.map_err(again)?;
            tx.commit().await.map_err(again)?;
        }
        Ok(())
    }
}
