//! Everything a caller can write to, one canary each.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Path, Query};
use axum::routing::post;
use futures::future::join_all;
use http::{HeaderMap, Method};
use medmesh_api_types::session::SESSION_COOKIE;
use medmesh_tests::control::{PASSWORD, TestClinic};
use medmesh_tests::postgres::Scratch;
use rand::Rng as _;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::sinks::{self, MARKER};

/// Letters of a canary after the marker: no two are the same.
const RANDOM_LETTERS: usize = 14;

/// Somebody signed in.
struct Who {
    cookie: String,
    csrf: String,
}

pub(super) struct Push {
    http: reqwest::Client,
    url: String,
    admin_database: String,
    operator_token: String,
    clinician: Who,
    patient: Who,
    admin: Who,
    clinician_id: String,
    patient_id: String,
    visit_id: String,
    appointment_id: String,
    passkey_id: String,
    count: AtomicUsize,
    panics: AtomicUsize,
    echoes: Mutex<Vec<String>>,
}

/// Where [`panicking`] is mounted.
const PANIC_PATH: &str = "/v1/panics";

/// A handler that reads all there is of a request and panics over it, quoting it.
pub(super) fn panicking() -> Router {
    async fn panics(
        Path(path): Path<String>,
        Query(query): Query<Vec<(String, String)>>,
        headers: HeaderMap,
        body: String,
    ) -> String {
        let text = format!("é{path} {query:?} {headers:?} {body}");
        // In the middle of the é: the message of this panic quotes the text.
        text[1..].to_owned()
    }
    Router::new().route(&format!("{PANIC_PATH}/{{path}}"), post(panics))
}

/// A request with a canary somewhere in it.
struct Call<'a> {
    method: Method,
    path: String,
    who: Option<&'a Who>,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl<'a> Call<'a> {
    fn new(method: Method, path: impl Into<String>, who: Option<&'a Who>) -> Self {
        let key = ("idempotency-key", Uuid::new_v4().to_string());
        Self {
            method,
            path: path.into(),
            who,
            headers: vec![("content-type", "application/json".into()), key],
            body: Vec::new(),
        }
    }

    fn get(path: impl Into<String>, who: &'a Who) -> Self {
        Self::new(Method::GET, path, Some(who))
    }

    fn post(path: impl Into<String>, who: &'a Who, body: &Value) -> Self {
        Self::new(Method::POST, path, Some(who)).json(body)
    }

    fn json(mut self, body: &Value) -> Self {
        self.body = serde_json::to_vec(body).unwrap();
        self
    }

    fn raw(mut self, body: String) -> Self {
        self.body = body.into_bytes();
        self
    }

    /// In place of what is there by that name.
    fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value));
        self
    }
}

impl Push {
    pub(super) async fn prepare(url: &str, clinic: &TestClinic, scratch: &Scratch, token: &str) -> Self {
        let mut push = Self {
            http: crate::clinic::plain_http(),
            url: url.to_owned(),
            admin_database: scratch.admin_url.clone(),
            operator_token: token.to_owned(),
            clinician: signed_in(url, clinic, "clinician").await,
            patient: signed_in(url, clinic, "patient").await,
            admin: signed_in(url, clinic, "admin").await,
            clinician_id: clinic.person("clinician").to_string(),
            patient_id: clinic.person("patient").to_string(),
            visit_id: String::new(),
            appointment_id: String::new(),
            passkey_id: String::new(),
            count: AtomicUsize::new(0),
            panics: AtomicUsize::new(0),
            echoes: Mutex::new(Vec::new()),
        };
        // The privacy officer, so that disclosures can be noted.
        let mut admin = PgConnection::connect(&scratch.admin_url).await.unwrap();
        let sql = "INSERT INTO privacy_officer (clinic_id, person_id, named_at, named_by) VALUES ($1, $2, now(), $2)";
        let officer = sqlx::query(sql)
            .bind(clinic.id.as_uuid())
            .bind(clinic.person("clinician").as_uuid());
        officer.execute(&mut admin).await.unwrap();
        let booking = push.booking(Duration::minutes(1), "a cough");
        let booked = push
            .call(Call::post("/v1/appointments", &push.clinician, &booking))
            .await;
        let booked: Value = serde_json::from_str(&booked.1).unwrap();
        push.visit_id = booked["visit_id"].as_str().unwrap().to_owned();
        push.appointment_id = booked["id"].as_str().unwrap().to_owned();
        let open = format!("/v1/visits/{}/open", push.visit_id);
        let (status, said) = push
            .call(Call::new(Method::POST, open, Some(&push.clinician)))
            .await;
        assert_eq!(status, 200, "{said}");
        let (_, factors) = push.call(Call::get("/v1/auth/mfa", &push.clinician)).await;
        let factors: Value = serde_json::from_str(&factors).unwrap();
        push.passkey_id = factors["passkeys"][0]["id"].as_str().unwrap().to_owned();
        push
    }

    /// A word nobody has said before; counted.
    pub(super) fn canary(&self) -> String {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut rng = rand::rng();
        let letters = (0..RANDOM_LETTERS).map(|_| char::from(rng.random_range(b'a'..=b'z')));
        MARKER.chars().chain(letters).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Problem documents that held a canary, and must not: they are logged by others.
    pub(super) fn echoes(&self) -> Vec<String> {
        self.echoes.lock().unwrap().clone()
    }

    /// Ends the service's connections in the middle of what they do.
    pub(super) async fn break_connections(&self) {
        let mut admin = PgConnection::connect(&self.admin_database).await.unwrap();
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'medmesh_service'";
        let (ended, _) = tokio::join!(sqlx::raw_sql(end).execute(&mut admin), self.round(usize::MAX));
        ended.unwrap();
    }

    pub(super) async fn save(&self, url: &str, file: &std::path::Path) {
        let text = self.http.get(url).send().await.unwrap().text().await.unwrap();
        assert!(text.contains("medmesh_http_requests_total"));
        std::fs::write(file, text).unwrap();
    }

    /// Handlers that panicked.
    pub(super) fn panics(&self) -> usize {
        self.panics.load(Ordering::Relaxed)
    }

    /// Every way once.
    pub(super) async fn round(&self, n: usize) {
        let mut calls = self.fields(n);
        calls.extend(self.headers());
        calls.extend(self.paths_and_queries());
        calls.extend(self.errors());
        // Some at a time: this is about what is kept, not about load.
        let mut calls = calls.into_iter().peekable();
        while calls.peek().is_some() {
            join_all(calls.by_ref().take(6).map(|call| self.call(call))).await;
        }
    }

    async fn call(&self, call: Call<'_>) -> (u16, String) {
        let mut request = self
            .http
            .request(call.method, format!("{}{}", self.url, call.path));
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        if let Some(who) = call.who {
            request = request
                .header("cookie", &who.cookie)
                .header("x-csrf-token", &who.csrf);
        }
        let Ok(answer) = request.body(call.body).send().await else {
            return (0, String::new());
        };
        let status = answer.status().as_u16();
        if call.path.starts_with(PANIC_PATH) {
            assert_eq!(status, 500, "it panics");
            self.panics.fetch_add(1, Ordering::Relaxed);
        }
        let said = answer.text().await.unwrap_or_default();
        if status >= 400 && said.contains(MARKER) {
            self.echoes.lock().unwrap().push(format!("{}: {said}", call.path));
        }
        (status, said)
    }

    fn booking(&self, from_now: Duration, reason: &str) -> Value {
        let starts_at = OffsetDateTime::now_utc() + from_now;
        let ends_at = starts_at + Duration::minutes(30);
        json!({
            "patient_id": self.patient_id, "clinician_id": self.clinician_id,
            "starts_at": starts_at.format(&Rfc3339).unwrap(), "ends_at": ends_at.format(&Rfc3339).unwrap(),
            "reason": reason, "segment": "general",
        })
    }

    /// What the API is made to take, in its place.
    fn fields(&self, n: usize) -> Vec<Call<'_>> {
        let (clinician, admin) = (&self.clinician, &self.admin);
        let hour = Duration::hours(24 + i64::try_from(n % 1_000).unwrap());
        let visit = format!("/v1/visits/{}", self.visit_id);
        let disclosures = format!("/v1/patients/{}/disclosures", self.patient_id);
        let name = format!("{} {}", self.canary(), self.canary());
        let person = json!({"display_name": name, "email": format!("{}@riverside.test", self.canary()),
            "roles": ["patient"], "password": format!("{} {}", self.canary(), self.canary())});
        let invited = json!({"display_name": self.canary(), "email": format!("{}@riverside.test", self.canary()),
            "roles": ["nurse"]});
        let yesterday = (OffsetDateTime::now_utc() - Duration::days(1))
            .format(&Rfc3339)
            .unwrap();
        let disclosed = json!({"disclosed_at": yesterday, "recipient": self.canary(), "address": self.canary(),
            "description": self.canary(), "purpose": self.canary(), "basis": "judicial"});
        let login = json!({"email": format!("{}@riverside.test", self.canary()), "password": self.canary()});
        let reset = json!({"email": format!("{}@riverside.test", self.canary())});
        let link = json!({"token": self.canary(), "password": format!("{} a long one", self.canary())});
        let update = json!({"reason": self.canary()});
        let appointment = format!("/v1/appointments/{}", self.appointment_id);
        vec![
            Call::post("/v1/people", admin, &person),
            Call::post("/v1/invitations", admin, &invited),
            Call::post("/v1/appointments", clinician, &self.booking(hour, &self.canary())),
            // The same time again: refused, with a reason on the way.
            Call::post("/v1/appointments", clinician, &self.booking(hour, &self.canary())),
            Call::new(Method::PATCH, &*appointment, Some(clinician))
                .json(&update)
                .header("if-match", "\"1\"".into()),
            Call::post(
                format!("{appointment}/cancel"),
                clinician,
                &json!({"reason": self.canary()}),
            )
            .header("if-match", "\"999\"".into()),
            Call::post(
                format!("{visit}/messages"),
                clinician,
                &json!({"body": self.canary()}),
            ),
            Call::post(
                format!("{visit}/messages"),
                &self.patient,
                &json!({"body": self.canary()}),
            ),
            Call::post("/v1/patients/search", clinician, &json!({"q": self.canary()})),
            Call::post(
                "/v1/patients/search",
                admin,
                &json!({"q": format!("{}@riverside.test", self.canary())}),
            ),
            // Each round names it anew.
            Call::new(
                Method::PATCH,
                format!("/v1/auth/mfa/passkeys/{}", self.passkey_id),
                Some(clinician),
            )
            .json(&json!({"name": self.canary()}))
            .header("if-match", format!("\"{n}\"")),
            Call::post(disclosures, clinician, &disclosed),
            Call::new(Method::POST, "/v1/auth/login", None).json(&login),
            Call::new(Method::POST, "/v1/auth/reset", None).json(&reset),
            Call::new(Method::POST, "/v1/auth/link", None).json(&link),
            Call::post(
                "/v1/auth/mfa/totp/confirm",
                clinician,
                &json!({"code": self.canary()}),
            ),
            // A region's name is how the clinic is set up, and kept as it is; this is none.
            Call::new(Method::PATCH, "/v1/clinic", Some(admin))
                .json(&json!({"media_regions": [format!("{}!", self.canary())]}))
                .header("if-match", "\"1\"".into()),
        ]
    }

    /// In headers, ours and those of the web.
    fn headers(&self) -> Vec<Call<'_>> {
        let read = || Call::get(format!("/v1/visits/{}", self.visit_id), &self.patient);
        let message = || {
            let body = json!({"body": self.canary()});
            Call::post(
                format!("/v1/visits/{}/messages", self.visit_id),
                &self.patient,
                &body,
            )
        };
        let mut calls: Vec<Call<'_>> = [
            "user-agent",
            "referer",
            "accept",
            "accept-language",
            "x-request-id",
            "x-forwarded-for",
            "x-purpose-of-use",
            "last-event-id",
            "traceparent",
            "baggage",
            "if-none-match",
            "x-canary",
        ]
        .map(|name| read().header(name, self.canary()))
        .into();
        calls.push(message().header("idempotency-key", self.canary()));
        calls.push(message().header("origin", format!("https://{}.test", self.canary())));
        calls.push(message().header("content-type", self.canary()));
        let mut stranger = message();
        stranger.who = None;
        calls.push(stranger.header("cookie", format!("{SESSION_COOKIE}={}", self.canary())));
        let operator = Call::new(Method::GET, "/v1/fleet/nodes", None);
        calls.push(operator.header("authorization", format!("Bearer {}", self.canary())));
        calls
    }

    fn paths_and_queries(&self) -> Vec<Call<'_>> {
        let canary = || self.canary();
        let who = &self.clinician;
        let operator = |path: String| {
            let call = Call::new(Method::GET, path, None);
            call.header("authorization", format!("Bearer {}", self.operator_token))
        };
        vec![
            Call::get(format!("/{}", canary()), who),
            Call::get(format!("/v1/{}/{}", canary(), canary()), who),
            Call::get(format!("/v1/visits/{}", canary()), who),
            Call::get(format!("/v1/appointments/{}", canary()), who),
            Call::get(
                format!(
                    "/v1/people?role={}&cursor={}&limit={}",
                    canary(),
                    canary(),
                    canary()
                ),
                who,
            ),
            Call::get(format!("/v1/people?cursor={}", canary()), who),
            Call::get(format!("/v1/appointments?from={}&{}=1", canary(), canary()), who),
            Call::get(format!("/v1/visits?day={}", canary()), who),
            Call::get(
                format!("/v1/audit?action={}&actor_id={}", canary(), canary()),
                &self.admin,
            ),
            Call::get(format!("/v1/audit/export?format={}", canary()), &self.admin),
            Call::get(format!("/v1/audit/{}/proof", canary()), &self.admin),
            Call::get(
                format!("/v1/audit/consistency?from={}&to={}", canary(), canary()),
                &self.admin,
            ),
            Call::get(format!("/v1/signaling/candidates?visit_id={}", canary()), who),
            operator(format!("/v1/fleet/rooms/{}/explain", canary())),
            operator(format!("/v1/fleet/edges/{}", canary())),
            operator(format!("/v1/fleet/audit/{}/leaves/{}/proof", canary(), canary())),
            Call::new(
                Method::from_bytes(canary().to_uppercase().as_bytes()).unwrap(),
                "/v1/people",
                Some(who),
            ),
        ]
    }

    /// On the ways that end badly.
    fn errors(&self) -> Vec<Call<'_>> {
        let who = &self.clinician;
        let messages = format!("/v1/visits/{}/messages", self.visit_id);
        let post = |body: String| Call::new(Method::POST, messages.clone(), Some(who)).raw(body);
        // Used once and then again for something else.
        let key = Uuid::new_v4().to_string();
        let panic = format!(
            "{PANIC_PATH}/{}?{}={}",
            self.canary(),
            self.canary(),
            self.canary()
        );
        vec![
            Call::post(panic, who, &json!({"reason": self.canary()})).header("x-canary", self.canary()),
            post(format!("{{\"{}\": 1}}", self.canary())),
            post(format!("{{\"body\": [\"{}\"]}}", self.canary())),
            post(format!("{{\"body\": \"{}\"", self.canary())),
            post(format!("{{\"body\": \"{}\\u0000\"}}", self.canary())),
            post(format!("{{\"body\": \"{}\"}}", self.canary().repeat(300))),
            post(format!("{{\"body\": \"{}\"}}", self.canary().repeat(5_000))),
            post(format!("{{\"body\": \"{}\"}}", self.canary())).header("idempotency-key", key.clone()),
            post(format!("{{\"body\": \"{}\"}}", self.canary())).header("idempotency-key", key),
            Call::post(
                "/v1/patients/search",
                who,
                &json!({"q": "x", "limit": self.canary()}),
            ),
            Call::post(
                "/v1/signaling/session",
                who,
                &json!({"visit_id": self.canary(), "probes": [],
                "key": {"kty": self.canary(), "crv": "P-256", "x": self.canary(), "y": self.canary()}}),
            ),
            Call::post(
                "/v1/auth/mfa/passkeys",
                who,
                &json!({"id": self.canary(), "type": "public-key",
                "response": {"clientDataJSON": self.canary(), "attestationObject": self.canary()}}),
            ),
        ]
        .into_iter()
        .chain(self.machines())
        .collect()
    }

    /// What machines say about themselves, and what is said about them.
    fn machines(&self) -> Vec<Call<'_>> {
        let form = |body: String| {
            let kind = "application/x-www-form-urlencoded".to_owned();
            let call = Call::new(Method::POST, "/oauth/token", None);
            call.header("content-type", kind).raw(body)
        };
        let proof = "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let (one, two, three, four) = (self.canary(), self.canary(), self.canary(), self.canary());
        let key = json!({"kid": self.canary(), "kty": "EC", "crv": "P-384", "x": self.canary(), "d": self.canary()});
        let machine =
            json!({"name": "a system", "scopes": ["system/Appointment.rs"], "jwks": {"keys": [key]}});
        vec![
            form(format!(
                "grant_type={one}&scope={two}&client_id={three}&client_secret={four}"
            )),
            form(format!(
                "grant_type=client_credentials&{proof}&client_assertion={one}.{two}.{three}&scope={four}"
            )),
            form(self.canary()),
            Call::new(Method::GET, "/v1/appointments", None)
                .header("authorization", format!("Bearer mm_at_{}", self.canary())),
            Call::post("/v1/clients", &self.admin, &machine),
        ]
    }
}

async fn signed_in(url: &str, clinic: &TestClinic, login: &str) -> Who {
    let client = medmesh_api_client::Clinic::new(url, None).unwrap();
    match clinic.passkey(login) {
        Some(passkey) => {
            let options = client.passkey_options().await.unwrap();
            let assertion = passkey.get(&options, clinic.person(login));
            client.passkey_login(&assertion).await.unwrap();
        }
        None => {
            client.login(&clinic.email(login), PASSWORD).await.unwrap();
        }
    }
    let csrf = client.session().await.unwrap().csrf_token;
    Who {
        cookie: format!("{SESSION_COOKIE}={}", client.cookie().unwrap().expose()),
        csrf: csrf.expose().to_owned(),
    }
}

#[test]
fn a_canary_is_one_the_search_finds() {
    let text = format!("{MARKER}abcdefghijklmn");
    assert!(sinks::contains(text.as_bytes(), &sinks::forms()));
}
