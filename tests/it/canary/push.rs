//! Everything a caller can write to, one canary each.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::Location;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use http::Method;
use medmesh_api_client::Clinic;
use medmesh_tests::control::{PASSWORD, TestClinic};
use medmesh_tests::postgres::Scratch;
use medmesh_tests::smtp::SmtpSink;
use rand::Rng as _;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use time::Duration;

use super::call::{Call, PANIC_PATH, Who};
use super::sinks::{self, MARKER};

/// Letters of a canary after the marker: no two are the same.
const RANDOM_LETTERS: usize = 14;

pub(super) struct Push {
    pub(super) http: reqwest::Client,
    pub(super) url: String,
    admin_database: String,
    pub(super) operator_token: String,
    pub(super) clinician: Who,
    pub(super) patient: Who,
    pub(super) admin: Who,
    pub(super) colleague: Who,
    pub(super) clinic_id: String,
    pub(super) colleague_id: String,
    pub(super) mail: SmtpSink,
    pub(super) clinician_id: String,
    pub(super) patient_id: String,
    pub(super) visit_id: String,
    pub(super) appointment_id: String,
    pub(super) passkey_id: String,
    count: AtomicUsize,
    panics: AtomicUsize,
    echoes: Mutex<Vec<String>>,
    /// Which place each canary was made for.
    made_for: Mutex<HashMap<String, String>>,
    /// Places whose canary was taken: answered with a 2xx.
    taken: Mutex<BTreeSet<String>>,
    /// What was said the last time to a canary for a place that was not.
    refused: Mutex<BTreeMap<String, String>>,
}

impl Push {
    pub(super) async fn prepare(
        url: &str,
        clinic: &TestClinic,
        scratch: &Scratch,
        token: &str,
        mail: SmtpSink,
    ) -> Self {
        let mut push = Self {
            http: crate::clinic::plain_http(),
            url: url.to_owned(),
            admin_database: scratch.admin_url.clone(),
            operator_token: token.to_owned(),
            clinician: signed_in(url, clinic, "clinician").await,
            patient: signed_in(url, clinic, "patient").await,
            admin: signed_in(url, clinic, "admin").await,
            colleague: signed_in(url, clinic, "colleague").await,
            clinic_id: clinic.id.to_string(),
            colleague_id: clinic.person("colleague").to_string(),
            mail,
            clinician_id: clinic.person("clinician").to_string(),
            patient_id: clinic.person("patient").to_string(),
            visit_id: String::new(),
            appointment_id: String::new(),
            passkey_id: String::new(),
            count: AtomicUsize::new(0),
            panics: AtomicUsize::new(0),
            echoes: Mutex::default(),
            made_for: Mutex::default(),
            taken: Mutex::default(),
            refused: Mutex::default(),
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
        push.admit_the_patient().await;
        let open = json!({"self_registration": true});
        let clinic = Call::new(Method::PATCH, "/v1/clinic", Some(&push.admin)).json(&open);
        let version = push.version("/v1/clinic", &push.admin).await;
        let (status, said) = push.call(clinic.header("if-match", version)).await;
        assert_eq!(status, 200, "{said}");
        let (_, factors) = push.call(Call::get("/v1/auth/mfa", &push.clinician)).await;
        let factors: Value = serde_json::from_str(&factors).unwrap();
        push.passkey_id = factors["passkeys"][0]["id"].as_str().unwrap().to_owned();
        push
    }

    async fn admit_the_patient(&self) {
        let at = |tail: &str| format!("/v1/visits/{}/{tail}", self.visit_id);
        let check_in = Call::new(Method::POST, at("check-in"), Some(&self.patient));
        let (_, waiting) = self.call(check_in).await;
        let waiting: Value = serde_json::from_str(&waiting).unwrap();
        let admit = json!({"participant_id": waiting["you"]});
        let (status, said) = self.call(Call::post(at("admit"), &self.clinician, &admit)).await;
        assert_eq!(status, 200, "{said}");
    }

    /// A word nobody has said before, for the line that asks for it; counted.
    #[track_caller]
    pub(super) fn canary(&self) -> String {
        let line = Location::caller();
        self.word(&format!("{}:{}", line.file(), line.line()))
    }

    /// A word for this place.
    pub(super) fn word(&self, place: &str) -> String {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut rng = rand::rng();
        let letters = (0..RANDOM_LETTERS).map(|_| char::from(rng.random_range(b'a'..=b'z')));
        let word: String = MARKER.chars().chain(letters).collect();
        self.made_for
            .lock()
            .unwrap()
            .insert(word.clone(), place.to_owned());
        word
    }

    /// What each canary was made for.
    pub(super) fn made_for(&self) -> HashMap<String, String> {
        self.made_for.lock().unwrap().clone()
    }

    /// Something was taken there that is not seen by [`Push::call`].
    pub(super) fn took(&self, place: &str) {
        self.taken.lock().unwrap().insert(place.to_owned());
    }

    /// Places whose canary was taken, and what was said to the last one that was not.
    pub(super) fn taken(&self) -> (BTreeSet<String>, BTreeMap<String, String>) {
        (
            self.taken.lock().unwrap().clone(),
            self.refused.lock().unwrap().clone(),
        )
    }

    /// Remembers how the places of the canaries in a request fared.
    fn note(&self, texts: &[&[u8]], status: u16, said: &str) {
        let made_for = self.made_for.lock().unwrap();
        let length = MARKER.len() + RANDOM_LETTERS;
        for text in texts {
            let text = String::from_utf8_lossy(text);
            for (at, _) in text.match_indices(MARKER) {
                let Some(place) = text.get(at..at + length).and_then(|word| made_for.get(word)) else {
                    continue;
                };
                if (200..300).contains(&status) {
                    self.taken.lock().unwrap().insert(place.clone());
                } else {
                    let said = format!("{status}: {said}");
                    self.refused.lock().unwrap().insert(place.clone(), said);
                }
            }
        }
    }

    /// A tag for `If-Match` with the version of what is read there.
    pub(super) async fn version(&self, path: &str, who: &Who) -> String {
        let (_, said) = self.call(Call::get(path, who)).await;
        let read: Value = serde_json::from_str(&said).unwrap_or_default();
        format!("\"{}\"", read["version"])
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Problem documents that held a canary, and must not: they are logged by others.
    pub(super) fn echoes(&self) -> Vec<String> {
        self.echoes.lock().unwrap().clone()
    }

    /// Looks for canaries in what was said by a refusal.
    pub(super) fn echo(&self, to: &str, said: &str) {
        if said.contains(MARKER) {
            self.echoes.lock().unwrap().push(format!("{to}: {said}"));
        }
    }

    /// Ends the service's connections in the middle of what they do.
    pub(super) async fn break_connections(&self) {
        let mut admin = PgConnection::connect(&self.admin_database).await.unwrap();
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'medmesh_service'";
        let (ended, _) = tokio::join!(sqlx::raw_sql(end).execute(&mut admin), self.round(usize::MAX));
        ended.unwrap();
    }

    pub(super) async fn save(&self, url: &str, counted: &str, file: &std::path::Path) {
        let text = self.http.get(url).send().await.unwrap().text().await.unwrap();
        assert!(text.contains(counted), "{text}");
        std::fs::write(file, text).unwrap();
    }

    /// Handlers that panicked.
    pub(super) fn panics(&self) -> usize {
        self.panics.load(Ordering::Relaxed)
    }

    /// Every way once.
    pub(super) async fn round(&self, n: usize) {
        self.everything_taken(n).await;
        let mut calls = self.headers();
        calls.extend(self.paths_and_queries());
        calls.extend(self.errors());
        self.all(calls).await;
    }

    /// Some at a time: this is about what is kept, not about load.
    pub(super) async fn all(&self, calls: Vec<Call<'_>>) {
        let mut calls = calls.into_iter().peekable();
        while calls.peek().is_some() {
            join_all(calls.by_ref().take(6).map(|call| self.call(call))).await;
        }
    }

    pub(super) async fn call(&self, call: Call<'_>) -> (u16, String) {
        let mut request = self
            .http
            .request(call.method, format!("{}{}", self.url, call.path));
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        if let Some(who) = call.who {
            request = request
                .header("cookie", &who.cookie)
                .header("x-csrf-token", call.csrf.as_ref().unwrap_or(&who.csrf));
        }
        let Ok(answer) = request.body(call.body.clone()).send().await else {
            return (0, String::new());
        };
        let status = answer.status().as_u16();
        if call.path.starts_with(PANIC_PATH) {
            assert_eq!(status, 500, "it panics");
            self.panics.fetch_add(1, Ordering::Relaxed);
        }
        let said = answer.text().await.unwrap_or_default();
        if status >= 400 {
            self.echo(&call.path, &said);
        }
        let mut texts = vec![call.path.as_bytes(), &call.body];
        texts.extend(call.headers.iter().map(|(_, value)| value.as_bytes()));
        texts.extend(call.csrf.as_ref().map(String::as_bytes));
        self.note(&texts, status, &said);
        (status, said)
    }
}

pub(super) async fn signed_in(url: &str, clinic: &TestClinic, login: &str) -> Who {
    let client = Clinic::new(url, None).unwrap();
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
    Who::of(&client).await
}

#[test]
fn a_canary_is_one_the_search_finds() {
    let text = format!("{MARKER}abcdefghijklmn");
    assert!(sinks::contains(text.as_bytes(), &sinks::forms()));
}
