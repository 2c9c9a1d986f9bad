//! Visits, what is said in them, and the way into the media mesh.

use medmesh_api_types::message::{Message, MessageCreate, MessageQuery};
use medmesh_api_types::page::List;
use medmesh_api_types::session::{BACKGROUND, BACKGROUND_HEADER};
use medmesh_api_types::signaling::{CandidateQuery, Candidates, SessionRequest, SignalingSession};
use medmesh_api_types::visit::{ParticipantAdd, Visit, VisitAdmit, VisitEventsQuery, VisitPulse, VisitQuery};
use medmesh_base::{MessageId, ParticipantId, PersonId, Phi, VisitId};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue};

use crate::clinic::{value, with_query};
use crate::transport::encode;
use crate::{ClientError, Clinic, Events, IdempotencyKey};

impl Clinic {
    /// The person's visits of a day.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn visit_list(&self, query: &VisitQuery) -> Result<List<Visit>, ClientError> {
        self.get(&with_query("/v1/visits", query)?).await
    }

    /// How far each of the person's visits of a day is; asked for by itself, so that it keeps no
    /// session from its idle lock.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn visit_pulses(&self, query: &VisitQuery) -> Result<List<VisitPulse>, ClientError> {
        let path = with_query("/v1/visits/pulses", query)?;
        let mut headers = HeaderMap::new();
        headers.insert(BACKGROUND_HEADER, HeaderValue::from_static(BACKGROUND));
        self.call(Method::GET, &path, headers, None).await
    }

    /// One visit.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn visit_get(&self, id: VisitId) -> Result<Visit, ClientError> {
        self.get(&format!("/v1/visits/{id}")).await
    }

    /// Enters the waiting room.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn visit_check_in(&self, id: VisitId) -> Result<Visit, ClientError> {
        self.post(&format!("/v1/visits/{id}/check-in")).await
    }

    /// Opens the visit.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn visit_open(&self, id: VisitId) -> Result<Visit, ClientError> {
        self.post(&format!("/v1/visits/{id}/open")).await
    }

    /// Lets somebody in.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn visit_admit(
        &self,
        id: VisitId,
        participant_id: ParticipantId,
    ) -> Result<Visit, ClientError> {
        let path = format!("/v1/visits/{id}/admit");
        let body = encode(&VisitAdmit { participant_id })?;
        self.call(Method::POST, &path, HeaderMap::new(), Some(body)).await
    }

    /// Ends the visit for everyone.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn visit_end(&self, id: VisitId) -> Result<Visit, ClientError> {
        self.post(&format!("/v1/visits/{id}/end")).await
    }

    /// Asks one more person in.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn participant_add(
        &self,
        key: &IdempotencyKey,
        id: VisitId,
        person_id: PersonId,
    ) -> Result<Visit, ClientError> {
        let path = format!("/v1/visits/{id}/participants");
        self.create(&path, key, &ParticipantAdd { person_id }).await
    }

    /// Messages of a visit, oldest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn message_list(
        &self,
        id: VisitId,
        query: &MessageQuery,
    ) -> Result<List<Message>, ClientError> {
        self.get(&with_query(&format!("/v1/visits/{id}/messages"), query)?)
            .await
    }

    /// Writes a message.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn message_create(
        &self,
        key: &IdempotencyKey,
        id: VisitId,
        body: &str,
    ) -> Result<Message, ClientError> {
        let message = MessageCreate {
            body: Phi::new(body.to_owned()),
        };
        self.create(&format!("/v1/visits/{id}/messages"), key, &message)
            .await
    }

    /// What happens in a visit, from the first message or after `last`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn visit_events(&self, id: VisitId, last: Option<MessageId>) -> Result<Events, ClientError> {
        self.visit_events_after(id, last, VisitEventsQuery::default())
            .await
    }

    /// What happens in a visit of which something is known already.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn visit_events_after(
        &self,
        id: VisitId,
        last: Option<MessageId>,
        known: VisitEventsQuery,
    ) -> Result<Events, ClientError> {
        let mut headers = HeaderMap::new();
        if let Some(last) = last {
            headers.insert("last-event-id", value(&last.to_string())?);
        }
        let path = with_query(&format!("/v1/visits/{id}/events"), &known)?;
        let stream = self.stream(&path, headers).await?;
        Ok(Events::new(stream))
    }

    /// The edges worth timing.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn signaling_candidates(&self, visit_id: VisitId) -> Result<Candidates, ClientError> {
        self.get(&with_query(
            "/v1/signaling/candidates",
            &CandidateQuery { visit_id },
        )?)
        .await
    }

    /// A place in the visit's media.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn signaling_session(&self, request: &SessionRequest) -> Result<SignalingSession, ClientError> {
        let body = encode(request)?;
        self.call(
            Method::POST,
            "/v1/signaling/session",
            HeaderMap::new(),
            Some(body),
        )
        .await
    }
}
