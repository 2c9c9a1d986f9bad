//! Mail with links, over SMTP, by jobs.
//!
//! A link's token exists only here and in the mail: a job that fails and runs again makes a
//! new one, and those before are no longer good. Nothing of a mail is logged.

mod addressed;
mod alert;
mod membership;
mod registration;
mod rights;

use std::sync::Arc;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use medmesh_base::RequestId;
use medmesh_clinic::identity::{LinkPurpose, link_mail};
use medmesh_clinic::{Actor, SystemActor};
use medmesh_store::{InvitationSend, LinkToken, Membership, RegistrationSend, ResetSend, Store, StoreError};

use crate::config::{Config, MailTls};
use crate::jobs::{Handlers, JobFailure};

/// Longest a mail server may take for one step; below the time a job has.
const SMTP_TIMEOUT: Duration = Duration::from_secs(20);

/// The mail configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The sender is not an address.
    #[error("mail.from is not a mail address")]
    From,
    /// The password cannot be read.
    #[error("mail.password_file cannot be read")]
    Password,
    /// The host is not a name TLS can check.
    #[error("mail.host cannot be used with TLS")]
    Host,
}

/// Sends links, or says that nothing is configured to. Cheap to clone.
#[derive(Clone)]
pub struct Mail(Arc<Inner>);

struct Inner {
    sender: Option<Sender>,
    base_url: String,
}

struct Sender {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Mail {
    /// From the configuration; does not connect yet.
    ///
    /// # Errors
    /// [`MailError`].
    pub fn new(config: &Config) -> Result<Self, MailError> {
        let sender = config.mail.as_ref().map(|mail| {
            let tls = |()| TlsParameters::new(mail.host.clone()).map_err(|_| MailError::Host);
            let tls = match mail.tls {
                MailTls::Implicit => Tls::Wrapper(tls(())?),
                MailTls::Starttls => Tls::Required(tls(())?),
                MailTls::None => Tls::None,
            };
            let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&mail.host)
                .port(mail.port)
                .tls(tls)
                .timeout(Some(SMTP_TIMEOUT));
            if let (Some(user), Some(file)) = (&mail.username, &mail.password_file) {
                let password = std::fs::read_to_string(file).map_err(|_| MailError::Password)?;
                transport = transport.credentials(Credentials::new(user.clone(), password.trim().to_owned()));
            }
            let from = mail.from.parse().map_err(|_| MailError::From)?;
            Ok(Sender {
                transport: transport.build(),
                from,
            })
        });
        let sender = sender.transpose()?;
        if sender.is_none() {
            tracing::warn!(
                "no [mail] is configured: links are given to the admin, forgotten passwords cannot be reset"
            );
        }
        Ok(Self(Arc::new(Inner {
            sender,
            base_url: config.http.public_url.trim_end_matches('/').to_owned(),
        })))
    }

    /// Whether mail can be sent at all.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        self.0.sender.is_some()
    }

    /// Where browsers reach us, without a slash at the end.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.0.base_url
    }

    /// The link with this token. Browsers send a fragment to nobody, not even in `Referer`.
    #[must_use]
    pub fn link(&self, portal: &str, token: &LinkToken) -> String {
        format!("{}/{portal}/#set-password={}", self.0.base_url, token.expose())
    }

    /// Who does the jobs behind links.
    #[must_use]
    pub fn handlers(&self, store: &Store, handlers: Handlers) -> Handlers {
        let (mail, its_store) = (self.clone(), store.clone());
        let handlers = handlers.on(move |_, job: ResetSend| {
            let (mail, store) = (mail.clone(), its_store.clone());
            async move {
                let who = store.reset_lookup(&job).await.map_err(again)?;
                match who {
                    Some(who) => mail.send(&store, &who, LinkPurpose::Reset).await,
                    None => Ok(()),
                }
            }
        });
        let (mail, its_store) = (self.clone(), store.clone());
        let handlers = handlers.on(move |run, job: RegistrationSend| {
            let (mail, store) = (mail.clone(), its_store.clone());
            async move {
                let clinic_id = run.clinic_id.ok_or(JobFailure::Never("no_clinic"))?;
                mail.send_registration(&store, clinic_id, &job).await
            }
        });
        let (mail, its_store) = (self.clone(), store.clone());
        handlers.on(move |run, job: InvitationSend| {
            let (mail, store) = (mail.clone(), its_store.clone());
            async move {
                let clinic_id = run.clinic_id.ok_or(JobFailure::Never("no_clinic"))?;
                mail.send_to(&store, clinic_id, job.person_id, LinkPurpose::Invitation)
                    .await
            }
        })
    }

    async fn send(&self, store: &Store, who: &Membership, purpose: LinkPurpose) -> Result<(), JobFailure> {
        self.send_to(store, who.clinic_id, who.person_id, purpose).await
    }

    async fn send_to(
        &self,
        store: &Store,
        clinic: medmesh_base::ClinicId,
        person: medmesh_base::PersonId,
        purpose: LinkPurpose,
    ) -> Result<(), JobFailure> {
        // Nobody can be told; an operator was, at the start.
        if !self.is_configured() {
            return Ok(());
        }
        let actor = Actor::System(SystemActor::Login);
        let token = LinkToken::generate();
        let mut tx = store
            .begin(clinic, actor, RequestId::generate())
            .await
            .map_err(again)?;
        let to = match tx.mail_to(person).await {
            Ok(to) => to,
            // No longer active.
            Err(StoreError::NotFound) => return Ok(()),
            Err(error) => return Err(again(error)),
        };
        let name = tx.clinic_get().await.map_err(again)?.name;
        tx.link_issue(person, purpose, &token).await.map_err(again)?;
        tx.commit().await.map_err(again)?;
        let mail = link_mail(purpose, to.locale, &name, &self.link(to.portal(), &token));
        self.deliver(to.email.expose(), mail.subject, mail.text).await
    }

    /// Hands one mail to the mail server, if there is one.
    async fn deliver(&self, address: &str, subject: String, text: String) -> Result<(), JobFailure> {
        let Some(sender) = &self.0.sender else {
            return Ok(());
        };
        let address = address
            .parse()
            .map_err(|_| JobFailure::Never("address_unusable"))?;
        let message = Message::builder()
            .from(sender.from.clone())
            .to(Mailbox::new(None, address))
            .subject(subject)
            .header(ContentType::TEXT_PLAIN)
            .body(text)
            .map_err(|_| JobFailure::Never("mail_unusable"))?;
        match sender.transport.send(message).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_permanent() => Err(JobFailure::Never("mail_refused")),
            Err(_) => Err(JobFailure::Again("mail_not_sent")),
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the shape map_err wants")]
fn again(error: StoreError) -> JobFailure {
    tracing::warn!(%error, "mail not made");
    JobFailure::Again("database")
}
