//! The portals' routes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use medmesh_api_types::Secret;
use medmesh_api_types::appointment::{
    Appointment, AppointmentCancel, AppointmentCreate, AppointmentQuery, AppointmentUpdate,
};
use medmesh_api_types::clinic::{ClinicSettings, ClinicUpdate};
use medmesh_api_types::message::{Message, MessageCreate, MessageQuery};
use medmesh_api_types::page::{List, Page};
use medmesh_api_types::person::{PatientMatches, PatientSearch, Person, PersonCreate, PersonQuery};
use medmesh_api_types::session::{
    BACKGROUND, BACKGROUND_HEADER, CSRF_HEADER, IDEMPOTENCY_HEADER, LoginRequest, SESSION_COOKIE, Session,
};
use medmesh_api_types::signaling::{CandidateQuery, Candidates, SessionRequest, SignalingSession};
use medmesh_api_types::visit::{ParticipantAdd, Visit, VisitAdmit, VisitPulse, VisitQuery};
use medmesh_base::{AppointmentId, MessageId, ParticipantId, PersonId, Phi, VisitId};
use reqwest::Method;
use reqwest::header::{COOKIE, HeaderMap, HeaderName, HeaderValue, IF_MATCH, LINK, SET_COOKIE};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::transport::{Transport, encode};
use crate::{ClientError, Events};

/// Makes a creating request safe to repeat: the same key has the same effect and answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// A key nobody has used.
    #[must_use]
    pub fn fresh() -> Self {
        Self(Uuid::new_v4().to_string())
    }

    /// As it goes into the header.
    pub(crate) fn header(&self) -> Result<(HeaderName, HeaderValue), ClientError> {
        Ok((HeaderName::from_static(IDEMPOTENCY_HEADER), value(&self.0)?))
    }
}

impl From<String> for IdempotencyKey {
    /// A key somebody chose: 8 to 64 visible ASCII characters.
    fn from(key: String) -> Self {
        Self(key)
    }
}

/// One person at one control node. Clones share the session.
#[derive(Clone, Debug)]
pub struct Clinic {
    transport: Transport,
    signed: Arc<Mutex<Option<Signed>>>,
}

#[derive(Clone, Debug)]
struct Signed {
    cookie: Secret,
    csrf: Secret,
}

impl Clinic {
    /// Speaks to the control node at `base_url`, not signed in yet. With `ca_pem` only
    /// certificates under it are trusted, else the system's.
    ///
    /// # Errors
    /// When an argument is unusable.
    pub fn new(base_url: &str, ca_pem: Option<&[u8]>) -> Result<Self, ClientError> {
        Ok(Self {
            transport: Transport::new(base_url, None, ca_pem)?,
            signed: Arc::default(),
        })
    }

    /// Speaks as a machine of the clinic, with the access token it was given.
    ///
    /// # Errors
    /// When an argument is unusable.
    pub fn with_token(base_url: &str, token: &str, ca_pem: Option<&[u8]>) -> Result<Self, ClientError> {
        Ok(Self {
            transport: Transport::new(base_url, Some(token), ca_pem)?,
            signed: Arc::default(),
        })
    }

    /// The same person at another control node: sessions are the cluster's, not a node's.
    ///
    /// # Errors
    /// When the URL is unusable.
    pub fn at(&self, base_url: &str, ca_pem: Option<&[u8]>) -> Result<Self, ClientError> {
        Ok(Self {
            transport: Transport::new(base_url, None, ca_pem)?,
            signed: self.signed.clone(),
        })
    }

    /// The same session, held apart: what one learns of a new token the other does not.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self {
            transport: self.transport.clone(),
            signed: Arc::new(Mutex::new(self.signed().clone())),
        }
    }

    /// The cookie's value while signed in.
    #[must_use]
    pub fn cookie(&self) -> Option<Secret> {
        self.signed().as_ref().map(|signed| signed.cookie.clone())
    }

    /// Signs in.
    ///
    /// # Errors
    /// [`ClientError`], as for every call below.
    pub async fn login(&self, email: &str, password: &str) -> Result<Session, ClientError> {
        let request = LoginRequest {
            email: Phi::new(email.to_owned()),
            password: Secret::new(password),
        };
        self.sign_in("/v1/auth/login", encode(&request)?).await
    }

    /// Opens a session by one of the ways there are.
    pub(crate) async fn sign_in(&self, path: &str, body: Vec<u8>) -> Result<Session, ClientError> {
        let headers = HeaderMap::new();
        let answer = self
            .transport
            .send(Method::POST, path, headers, Some(body))
            .await?;
        let session: Session = answer.json()?;
        let cookie = session_cookie(&answer.headers).ok_or(ClientError::Unexpected {
            status: answer.status,
        })?;
        *self.signed() = Some(Signed {
            cookie,
            csrf: session.csrf_token.clone(),
        });
        Ok(session)
    }

    /// Who is signed in.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn session(&self) -> Result<Session, ClientError> {
        self.get("/v1/auth/session").await
    }

    /// Signs out.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn logout(&self) -> Result<(), ClientError> {
        self.post("/v1/auth/logout").await
    }

    /// A page of the clinic's people.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn person_list(&self, query: &PersonQuery) -> Result<Page<Person>, ClientError> {
        self.get(&with_query("/v1/people", query)?).await
    }

    /// The patients whose name is closest to `q`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn patient_search(&self, search: &PatientSearch) -> Result<PatientMatches, ClientError> {
        let body = Some(encode(search)?);
        self.call(Method::POST, "/v1/patients/search", HeaderMap::new(), body)
            .await
    }

    /// Adds a person.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn person_create(
        &self,
        key: &IdempotencyKey,
        new: &PersonCreate,
    ) -> Result<Person, ClientError> {
        self.create("/v1/people", key, new).await
    }

    /// Books a time.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn appointment_create(
        &self,
        key: &IdempotencyKey,
        new: &AppointmentCreate,
    ) -> Result<Appointment, ClientError> {
        self.create("/v1/appointments", key, new).await
    }

    /// A page of appointments.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn appointment_list(&self, query: &AppointmentQuery) -> Result<Page<Appointment>, ClientError> {
        self.get(&with_query("/v1/appointments", query)?).await
    }

    /// One appointment.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn appointment_get(&self, id: AppointmentId) -> Result<Appointment, ClientError> {
        self.get(&format!("/v1/appointments/{id}")).await
    }

    /// How the clinic is set up. Admins only.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn clinic_get(&self) -> Result<ClinicSettings, ClientError> {
        self.get("/v1/clinic").await
    }

    /// Changes settings that are still at `version`. Admins only.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn clinic_update(
        &self,
        version: i64,
        update: &ClinicUpdate,
    ) -> Result<ClinicSettings, ClientError> {
        self.call(
            Method::PATCH,
            "/v1/clinic",
            if_match(version),
            Some(encode(update)?),
        )
        .await
    }

    /// Changes an appointment that is still at `version`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn appointment_update(
        &self,
        id: AppointmentId,
        version: i64,
        update: &AppointmentUpdate,
    ) -> Result<Appointment, ClientError> {
        let path = format!("/v1/appointments/{id}");
        self.call(Method::PATCH, &path, if_match(version), Some(encode(update)?))
            .await
    }

    /// Calls an appointment off that is still at `version`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn appointment_cancel(
        &self,
        id: AppointmentId,
        version: i64,
        cancel: &AppointmentCancel,
    ) -> Result<Appointment, ClientError> {
        let path = format!("/v1/appointments/{id}/cancel");
        self.call(Method::POST, &path, if_match(version), Some(encode(cancel)?))
            .await
    }

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
        let mut headers = self.credentials(&Method::GET)?;
        if let Some(last) = last {
            headers.insert("last-event-id", value(&last.to_string())?);
        }
        let path = format!("/v1/visits/{id}/events");
        let stream = self.transport.stream(&path, headers).await?;
        self.renew(stream.headers());
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

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path, HeaderMap::new(), None).await
    }

    /// The body as it came, and the `Link` beside it.
    pub(crate) async fn download(&self, path: &str) -> Result<(Vec<u8>, Option<String>), ClientError> {
        let headers = self.credentials(&Method::GET)?;
        let answer = self.transport.send(Method::GET, path, headers, None).await?;
        self.renew(&answer.headers);
        let link = answer.headers.get(LINK).and_then(|link| link.to_str().ok());
        let link = link.map(str::to_owned);
        Ok((answer.bytes, link))
    }

    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::POST, path, HeaderMap::new(), None).await
    }

    pub(crate) async fn create<T: DeserializeOwned>(
        &self,
        path: &str,
        key: &IdempotencyKey,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let headers = HeaderMap::from_iter([key.header()?]);
        self.call(Method::POST, path, headers, Some(encode(body)?)).await
    }

    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<Vec<u8>>,
    ) -> Result<T, ClientError> {
        let mut all = self.credentials(&method)?;
        all.extend(headers);
        let answer = self.transport.send(method, path, all, body).await?;
        self.renew(&answer.headers);
        answer.json()
    }

    /// Sessions change their token now and then; the answer that says so brings the new one.
    fn renew(&self, headers: &HeaderMap) {
        if let (Some(cookie), Some(signed)) = (session_cookie(headers), self.signed().as_mut()) {
            signed.cookie = cookie;
        }
    }

    /// The cookie, and for unsafe methods the CSRF token; nothing before signing in.
    fn credentials(&self, method: &Method) -> Result<HeaderMap, ClientError> {
        let mut headers = HeaderMap::new();
        let Some(signed) = self.signed().clone() else {
            return Ok(headers);
        };
        let mut cookie = value(&format!("{SESSION_COOKIE}={}", signed.cookie.expose()))?;
        cookie.set_sensitive(true);
        headers.insert(COOKIE, cookie);
        if method != Method::GET {
            headers.insert(CSRF_HEADER, value(signed.csrf.expose())?);
        }
        Ok(headers)
    }

    fn signed(&self) -> MutexGuard<'_, Option<Signed>> {
        // Whoever panicked while holding it left a whole value behind.
        self.signed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn value(text: &str) -> Result<HeaderValue, ClientError> {
    HeaderValue::from_str(text).map_err(|_| ClientError::Configuration("header"))
}

pub(crate) fn if_match(version: i64) -> HeaderMap {
    let etag = HeaderValue::from_str(&format!("\"{version}\"")).expect("digits are header text");
    HeaderMap::from_iter([(IF_MATCH, etag)])
}

fn session_cookie(headers: &HeaderMap) -> Option<Secret> {
    let cookies = headers
        .get_all(SET_COOKIE)
        .into_iter()
        .filter_map(|cookie| cookie.to_str().ok());
    let mut pairs = cookies.filter_map(|cookie| cookie.split(';').next()?.split_once('='));
    pairs
        .find(|(name, _)| *name == SESSION_COOKIE)
        .map(|(_, value)| Secret::new(value))
}

/// The path with the members of a flat query; absent ones are left out.
pub(crate) fn with_query(path: &str, query: &impl Serialize) -> Result<String, ClientError> {
    let unusable = || ClientError::Configuration("query");
    let query = serde_json::to_value(query).map_err(|_| unusable())?;
    let mut url = reqwest::Url::parse("http://query").map_err(|_| unusable())?;
    let members = query.as_object().ok_or_else(unusable)?;
    if members.is_empty() {
        return Ok(path.to_owned());
    }
    for (name, member) in members {
        let text = member.as_str().map_or_else(|| member.to_string(), str::to_owned);
        url.query_pairs_mut().append_pair(name, &text);
    }
    Ok(format!("{path}?{}", url.query().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded_and_absent_members_left_out() {
        let query = AppointmentQuery {
            from: Some(time::OffsetDateTime::UNIX_EPOCH),
            limit: Some(7),
            ..AppointmentQuery::default()
        };
        let path = with_query("/v1/appointments", &query).unwrap();
        assert_eq!(path, "/v1/appointments?from=1970-01-01T00%3A00%3A00Z&limit=7");
        assert_eq!(
            with_query("/v1/people", &PersonQuery::default()).unwrap(),
            "/v1/people"
        );
    }

    #[test]
    fn the_session_cookie_is_found_among_others() {
        let text = format!("{SESSION_COOKIE}=abc; Path=/; Secure");
        let headers = HeaderMap::from_iter([
            (SET_COOKIE, HeaderValue::from_static("other=1")),
            (SET_COOKIE, HeaderValue::from_str(&text).unwrap()),
        ]);
        // from_iter keeps the last of a name; append keeps both.
        let mut both = HeaderMap::new();
        both.append(SET_COOKIE, HeaderValue::from_static("other=1"));
        both.extend(headers);
        assert_eq!(session_cookie(&both).unwrap().expose(), "abc");
    }
}
