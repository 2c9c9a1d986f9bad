//! Every route that tells of people leaves a leaf that says so: walked from the description of the
//! API, so that a route nobody thought of here fails the test.
//!
//! A new route is one of the [`steps`], or a line of
//! [`TELLS_NOTHING`] with its reason; and a reason does not help where the answer's schema holds
//! something about people.

mod steps;

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use medmesh_control::http::openapi;
use serde_json::Value;
use uuid::Uuid;

use super::{World, eventually, plain_http};

/// Members of answers that are about somebody.
const TELLING: &[&str] = &[
    "display_name",
    "email",
    "reason",
    "body",
    "recipient",
    "patient_id",
    "patient",
    "participants",
];

/// Operations whose answers are about nobody but who asks, and why that is so.
const TELLS_NOTHING: &[(&str, &str)] = &[
    ("auth_login", "one's own name; signing in has its own leaf"),
    ("auth_session", "one's own name and roles, from the session"),
    ("auth_logout", "nothing"),
    ("passkey_login", "one's own name; signing in has its own leaf"),
    ("passkey_options", "a challenge"),
    ("reset_request", "nothing, whoever exists"),
    ("link_redeem", "nothing"),
    ("mfa_verify", "one's own name; the proof has its own leaf"),
    ("mfa_passkey_options", "a challenge"),
    ("step_up", "one's own name; the proof has its own leaf"),
    ("factor_list", "one's own factors"),
    ("totp_begin", "a secret of one's own"),
    ("totp_confirm", "one's own recovery codes"),
    ("totp_remove", "nothing"),
    ("totp_rename", "what one calls one's own app"),
    ("passkey_rename", "what one calls one's own passkey"),
    ("passkey_begin", "a challenge"),
    ("passkey_add", "one's own recovery codes"),
    ("passkey_remove", "nothing"),
    ("recovery_codes_replace", "one's own recovery codes"),
    ("password_change", "nothing"),
    ("session_list", "one's own devices"),
    ("session_revoke", "nothing"),
    ("session_revoke_others", "nothing"),
    ("consent_text_get", "the words of a form"),
    (
        "privacy_officer_get",
        "whom to turn to: one of the staff, known to everybody",
    ),
    ("registration_request", "nothing, whoever exists"),
    ("registration_complete", "nothing"),
    ("oidc_offers", "what a clinic calls itself"),
    ("oidc_start", "where to go to sign in"),
    ("oidc_accept", "where to go to sign in"),
    ("oidc_link", "where to go to sign in"),
    ("oidc_callback", "nothing; signing in has its own leaf"),
    ("oidc_provider_get", "how the clinic is set up"),
    ("oidc_provider_set", "how the clinic is set up"),
    ("identity_list", "one's own accounts elsewhere"),
    ("identity_unlink", "nothing"),
    ("clinic_get", "how the clinic is set up"),
    ("clinic_update", "how the clinic is set up"),
    ("audit_head_get", "sizes, hashes and signatures"),
    ("audit_consistency_get", "sizes, hashes and signatures"),
    ("client_create", "a machine of the clinic; it has its own leaf"),
    ("client_list", "machines of the clinic"),
    ("client_get", "a machine of the clinic"),
    ("client_update", "a machine of the clinic; it has its own leaf"),
    ("oauth_token", "a machine's own token; it has its own leaf"),
    ("oauth_metadata", "how machines ask, to everybody"),
    ("smart_configuration", "how machines ask, to everybody"),
    ("jwks_get", "public keys of this installation"),
    (
        "visit_pulses",
        "opaque ids and counters; what changed is read by a route that leaves its leaf",
    ),
    ("signaling_candidates", "media servers"),
    ("signaling_session", "media servers and tokens of opaque ids"),
];

/// Of those above, the ones whose schema holds a name: the caller's own or the privacy officer's, and no
/// other.
const NO_RECORD: &[&str] = &[
    "auth_login",
    "auth_session",
    "passkey_login",
    "mfa_verify",
    "step_up",
    "totp_confirm",
    "passkey_add",
    "privacy_officer_get",
];

struct Walk<'a> {
    world: &'a World,
    http: reqwest::Client,
    walked: BTreeSet<&'static str>,
}

/// Whom a request is from: cookie and CSRF token.
type Who = (String, String);

impl Walk<'_> {
    /// [`Walk::step`] that reads.
    async fn get(&mut self, operation: &'static str, who: &Who, path: &str, patient: Option<&str>) -> Value {
        self.step(operation, who, (Method::GET, path), Value::Null, patient)
            .await
    }

    /// [`Walk::step`] that makes something or lets something happen.
    async fn post(
        &mut self,
        operation: &'static str,
        who: &Who,
        path: &str,
        body: Value,
        patient: Option<&str>,
    ) -> Value {
        self.step(operation, who, (Method::POST, path), body, patient)
            .await
    }

    /// Waits until a signed head covers an entry of the audit log.
    async fn covered(&self, entry: &str) {
        let entry: Uuid = entry.parse().unwrap();
        let covered = "SELECT EXISTS (SELECT FROM audit_order o JOIN audit_tree t USING (clinic_id)
            WHERE o.leaf_id = $1 AND o.tree_index < t.published_size)";
        eventually(async || {
            let mut admin = self.world.admin().await;
            let covered = sqlx::query_scalar(covered).bind(entry);
            covered.fetch_one(&mut admin).await.unwrap()
        })
        .await;
    }

    /// One request that succeeds; gives its answer. Its leaves must name `patient`, where one is
    /// told of.
    async fn step(
        &mut self,
        operation: &'static str,
        who: &Who,
        (method, path): (Method, &str),
        body: Value,
        patient: Option<&str>,
    ) -> Value {
        let request = Uuid::now_v7();
        let mut call = self
            .http
            .request(method.clone(), format!("{}{path}", self.world.node.url()))
            .header("cookie", &who.0)
            .header("x-csrf-token", &who.1)
            .header("x-request-id", request.to_string());
        if method == Method::POST {
            call = call.header("idempotency-key", Uuid::new_v4().to_string());
        }
        if let Some(version) = body.get("if_match") {
            call = call.header("if-match", format!("\"{version}\""));
        }
        let body = body.get("json").cloned().unwrap_or(body);
        if !body.is_null() {
            call = call.json(&body);
        }
        let mut answer = call.send().await.unwrap();
        let status = answer.status();
        let is_stream = answer.headers()["content-type"] == "text/event-stream";
        let answer = if is_stream {
            answer.chunk().await.unwrap();
            Value::Null
        } else {
            let text = answer.text().await.unwrap();
            assert!(status.is_success(), "{operation}: {status} {text}");
            serde_json::from_str(&text).unwrap_or_default()
        };
        let leaves: Vec<(String, Option<Uuid>)> =
            sqlx::query_as("SELECT action, patient_id FROM audit WHERE request_id = $1")
                .bind(request)
                .fetch_all(&mut self.world.admin().await)
                .await
                .unwrap();
        assert!(!leaves.is_empty(), "{operation} told of people and left no leaf");
        if let Some(patient) = patient {
            let named = leaves
                .iter()
                .any(|(_, of)| of.is_some_and(|of| of.to_string() == patient));
            assert!(named, "{operation}: {patient} cannot see it in {leaves:?}");
        }
        self.walked.insert(operation);
        answer
    }
}

/// By name, the answers of each operation that are no problems: those name fields, never values.
fn operations(document: &Value) -> BTreeMap<String, Vec<&Value>> {
    let paths = document["paths"].as_object().unwrap().values();
    let operations = paths.flat_map(|path| path.as_object().unwrap().values());
    operations
        .map(|operation| {
            let answers = operation["responses"].as_object().unwrap().iter();
            let good = answers.filter(|(status, _)| status.starts_with('2'));
            let id = operation["operationId"].as_str().unwrap().to_owned();
            (id, good.map(|(_, answer)| answer).collect())
        })
        .collect()
}

/// Whether a schema, or one it refers to, has a member that is about somebody.
fn tells(document: &Value, schema: &Value, seen: &mut BTreeSet<String>) -> bool {
    match schema {
        Value::Object(members) => members
            .iter()
            .any(|(name, member)| match (name.as_str(), member) {
                ("$ref", Value::String(target)) => {
                    let pointer = target.trim_start_matches('#').to_owned();
                    let fresh = seen.insert(pointer.clone());
                    fresh && tells(document, document.pointer(&pointer).unwrap(), seen)
                }
                ("properties", Value::Object(properties)) => {
                    properties.keys().any(|name| TELLING.contains(&name.as_str()))
                        || properties.values().any(|member| tells(document, member, seen))
                }
                _ => tells(document, member, seen),
            }),
        Value::Array(members) => members.iter().any(|member| tells(document, member, seen)),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_tells_of_people_leaves_a_leaf() {
    let world = World::new().await;
    let mut walk = Walk {
        world: &world,
        http: plain_http(),
        walked: BTreeSet::new(),
    };
    steps::life_of_a_record(&mut walk).await;
    steps::those_who_run_the_clinic(&mut walk).await;
    steps::the_accounts_of_a_record(&mut walk).await;
    steps::those_who_care(&mut walk).await;
    steps::what_staff_may_act_upon(&mut walk).await;

    let document = serde_json::to_value(openapi::clinic()).unwrap();
    let (mut forgotten, mut lies) = (Vec::new(), Vec::new());
    for (id, answers) in operations(&document) {
        let reason = TELLS_NOTHING.iter().find(|(quiet, _)| *quiet == id);
        if walk.walked.contains(id.as_str()) {
            assert!(reason.is_none(), "{id} is on both lists");
        } else if reason.is_none() {
            forgotten.push(id);
        } else if !NO_RECORD.contains(&id.as_str()) {
            let mut seen = BTreeSet::new();
            if answers.iter().any(|answer| tells(&document, answer, &mut seen)) {
                lies.push(id);
            }
        }
    }
    assert!(
        forgotten.is_empty(),
        "routes that are walked nowhere: {forgotten:?}"
    );
    assert!(lies.is_empty(), "these do tell of people: {lies:?}");
    assert!(walk.walked.len() >= 20, "{:?}", walk.walked);
}
