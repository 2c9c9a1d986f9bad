//! The portals' routes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use medmesh_api_types::Secret;
use medmesh_api_types::clinic::{ClinicSettings, ClinicUpdate};
use medmesh_api_types::page::Page;
use medmesh_api_types::person::{PatientMatches, PatientSearch, Person, PersonCreate, PersonQuery};
use medmesh_api_types::session::{CSRF_HEADER, IDEMPOTENCY_HEADER, LoginRequest, SESSION_COOKIE, Session};
use medmesh_base::Phi;
use reqwest::header::{COOKIE, HeaderMap, HeaderName, HeaderValue, IF_MATCH, LINK, SET_COOKIE};
use reqwest::{Method, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::ClientError;
use crate::transport::{Transport, encode};

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

    /// An answer that goes on.
    pub(crate) async fn stream(&self, path: &str, headers: HeaderMap) -> Result<Response, ClientError> {
        let mut all = self.credentials(&Method::GET)?;
        all.extend(headers);
        let stream = self.transport.stream(path, all).await?;
        self.renew(stream.headers());
        Ok(stream)
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

pub(crate) fn value(text: &str) -> Result<HeaderValue, ClientError> {
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
    use medmesh_api_types::appointment::AppointmentQuery;

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
