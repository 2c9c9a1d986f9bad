//! Every route that tells of people leaves a leaf that says so: walked from the description of the
//! API, so that a route nobody thought of here fails the test.
//!
//! A new route is a step of [`life_of_a_record`] (or of a function beside it), or a line of
//! [`TELLS_NOTHING`] with its reason; and a reason does not help where the answer's schema holds
//! something about people.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use medmesh_control::http::openapi;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{World, plain_http};

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
    ("client_create", "a machine of the clinic; it has its own leaf"),
    ("client_list", "machines of the clinic"),
    ("client_get", "a machine of the clinic"),
    ("client_update", "a machine of the clinic; it has its own leaf"),
    ("oauth_token", "a machine's own token; it has its own leaf"),
    ("oauth_metadata", "how machines ask, to everybody"),
    ("smart_configuration", "how machines ask, to everybody"),
    ("jwks_get", "public keys of this installation"),
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

async fn life_of_a_record(walk: &mut Walk<'_>) {
    let world = walk.world;
    let patient_id = world.clinic.person("patient").to_string();
    let patient = Some(patient_id.as_str());
    let clinician = world.credentials("clinician").await;
    let theirs = world.credentials("patient").await;
    let starts_at = OffsetDateTime::now_utc() + Duration::minutes(1);
    let rfc3339 = &time::format_description::well_known::Rfc3339;
    let booking = json!({
        "patient_id": patient_id, "clinician_id": world.clinic.person("clinician").to_string(),
        "starts_at": starts_at.format(rfc3339).unwrap(),
        "ends_at": (starts_at + Duration::minutes(30)).format(rfc3339).unwrap(),
        "reason": "a persistent cough", "segment": "general",
    });
    let (get, post) = (Method::GET, Method::POST);
    let path = "/v1/appointments";
    let booked = walk
        .step(
            "appointment_create",
            &clinician,
            (post.clone(), path),
            booking,
            patient,
        )
        .await;
    let visit = format!("/v1/visits/{}", booked["visit_id"].as_str().unwrap());
    let appointment = format!("{path}/{}", booked["id"].as_str().unwrap());
    walk.step(
        "appointment_list",
        &clinician,
        (get.clone(), path),
        Value::Null,
        patient,
    )
    .await;
    walk.step(
        "appointment_get",
        &theirs,
        (get.clone(), &appointment),
        Value::Null,
        patient,
    )
    .await;
    let update = json!({"if_match": 1, "json": {"reason": "a worse cough"}});
    walk.step(
        "appointment_update",
        &clinician,
        (Method::PATCH, &appointment),
        update,
        patient,
    )
    .await;
    walk.step(
        "visit_list",
        &clinician,
        (get.clone(), "/v1/visits"),
        Value::Null,
        patient,
    )
    .await;
    walk.step("visit_get", &theirs, (get.clone(), &visit), Value::Null, patient)
        .await;
    let at = |tail: &str| format!("{visit}{tail}");
    let waiting = walk
        .step(
            "visit_check_in",
            &theirs,
            (post.clone(), &at("/check-in")),
            Value::Null,
            patient,
        )
        .await;
    walk.step(
        "visit_open",
        &clinician,
        (post.clone(), &at("/open")),
        Value::Null,
        patient,
    )
    .await;
    let admit = json!({"participant_id": waiting["you"]});
    walk.step(
        "visit_admit",
        &clinician,
        (post.clone(), &at("/admit")),
        admit,
        patient,
    )
    .await;
    let message = json!({"body": "it began on Monday"});
    walk.step(
        "message_create",
        &theirs,
        (post.clone(), &at("/messages")),
        message,
        patient,
    )
    .await;
    walk.step(
        "message_list",
        &clinician,
        (get.clone(), &at("/messages")),
        Value::Null,
        patient,
    )
    .await;
    walk.step(
        "visit_events",
        &clinician,
        (get.clone(), &at("/events")),
        Value::Null,
        patient,
    )
    .await;
    let colleague = json!({"person_id": world.clinic.person("colleague").to_string()});
    walk.step(
        "participant_add",
        &clinician,
        (post.clone(), &at("/participants")),
        colleague,
        patient,
    )
    .await;
    walk.step(
        "visit_end",
        &clinician,
        (post.clone(), &at("/end")),
        Value::Null,
        patient,
    )
    .await;

    let later = starts_at + Duration::days(2);
    let booking = json!({
        "patient_id": patient_id, "clinician_id": world.clinic.person("clinician").to_string(),
        "starts_at": later.format(rfc3339).unwrap(),
        "ends_at": (later + Duration::minutes(30)).format(rfc3339).unwrap(), "segment": "general",
    });
    let booked = walk
        .step(
            "appointment_create",
            &clinician,
            (post.clone(), path),
            booking,
            patient,
        )
        .await;
    let cancel = format!("{path}/{}/cancel", booked["id"].as_str().unwrap());
    let body = json!({"if_match": 1, "json": {"reason": "better"}});
    walk.step("appointment_cancel", &clinician, (post, &cancel), body, patient)
        .await;
}

async fn those_who_run_the_clinic(walk: &mut Walk<'_>) {
    let world = walk.world;
    let patient_id = world.clinic.person("patient").to_string();
    let patient = Some(patient_id.as_str());
    let admin = world.credentials("admin").await;
    let (get, post) = (Method::GET, Method::POST);
    walk.step(
        "person_list",
        &admin,
        (get.clone(), "/v1/people"),
        Value::Null,
        patient,
    )
    .await;
    let search = json!({"q": "Paula"});
    walk.step(
        "patient_search",
        &admin,
        (post.clone(), "/v1/patients/search"),
        search,
        patient,
    )
    .await;
    let person = json!({"display_name": "Nora New", "email": "nora@riverside.test", "roles": ["patient"],
        "password": "eleven green lanterns"});
    walk.step(
        "person_create",
        &admin,
        (post.clone(), "/v1/people"),
        person,
        None,
    )
    .await;
    let third = world.clinic.person("third").to_string();
    let out = json!({"if_match": 1, "json": {"active": false}});
    let path = format!("/v1/people/{third}");
    let update = (Method::PATCH, path.as_str());
    walk.step("person_update", &admin, update, out, Some(&third))
        .await;
    let invitation =
        json!({"display_name": "Ivan Invited", "email": "ivan@riverside.test", "roles": ["nurse"]});
    walk.step(
        "invitation_create",
        &admin,
        (post.clone(), "/v1/invitations"),
        invitation,
        None,
    )
    .await;
    walk.step(
        "audit_list",
        &admin,
        (get.clone(), "/v1/audit"),
        Value::Null,
        patient,
    )
    .await;
    let mine = format!("/v1/audit/export?patient_id={patient_id}");
    walk.step("audit_export", &admin, (get, &mine), Value::Null, patient)
        .await;
}

async fn the_accounts_of_a_record(walk: &mut Walk<'_>) {
    let world = walk.world;
    let patient_id = world.clinic.person("patient").to_string();
    let patient = Some(patient_id.as_str());
    let officer = world.credentials("admin").await;
    let named = json!({"if_match": 0, "json": {"person_id": world.clinic.person("admin").to_string()}});
    let path = "/v1/privacy-officer";
    walk.step("privacy_officer_set", &officer, (Method::PUT, path), named, None)
        .await;
    let disclosures = format!("/v1/patients/{patient_id}/disclosures");
    let yesterday = OffsetDateTime::now_utc() - Duration::days(1);
    let yesterday = yesterday
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap();
    let disclosed = json!({"disclosed_at": yesterday, "recipient": "County court",
        "description": "the visit's summary", "purpose": "a subpoena", "basis": "judicial"});
    walk.step(
        "disclosure_create",
        &officer,
        (Method::POST, &disclosures),
        disclosed,
        patient,
    )
    .await;
    let theirs = world.credentials("patient").await;
    walk.step(
        "disclosure_list",
        &theirs,
        (Method::GET, &disclosures),
        Value::Null,
        patient,
    )
    .await;
    let accesses = format!("/v1/patients/{patient_id}/accesses");
    walk.step(
        "record_access_list",
        &theirs,
        (Method::GET, &accesses),
        Value::Null,
        patient,
    )
    .await;
}

async fn those_who_care(walk: &mut Walk<'_>) {
    let world = walk.world;
    let patient_id = world.clinic.person("patient").to_string();
    let patient = Some(patient_id.as_str());
    let (clinician, colleague) = (
        world.credentials("clinician").await,
        world.credentials("colleague").await,
    );
    let (theirs, officer) = (
        world.credentials("patient").await,
        world.credentials("admin").await,
    );
    let colleague_id = world.clinic.person("colleague").to_string();
    let (get, post) = (Method::GET, Method::POST);
    let at = |tail: &str| format!("/v1/patients/{patient_id}/{tail}");
    let id = |answer: &Value| answer["id"].as_str().unwrap().to_owned();
    let at_first = || json!({"if_match": 1, "json": null});

    let member = json!({"person_id": colleague_id, "role": "clinician"});
    let member = walk
        .step(
            "care_team_add",
            &clinician,
            (post.clone(), &at("care-team")),
            member,
            patient,
        )
        .await;
    walk.step(
        "care_team_list",
        &theirs,
        (get.clone(), &at("care-team")),
        Value::Null,
        patient,
    )
    .await;
    let end = format!("/v1/care-team/{}/end", id(&member));
    walk.step(
        "care_team_end",
        &clinician,
        (post.clone(), &end),
        at_first(),
        patient,
    )
    .await;

    let referral = json!({"to_id": colleague_id, "reason": "a second opinion"});
    let referral = walk
        .step(
            "referral_create",
            &clinician,
            (post.clone(), &at("referrals")),
            referral,
            patient,
        )
        .await;
    walk.step(
        "referral_list",
        &theirs,
        (get.clone(), &at("referrals")),
        Value::Null,
        patient,
    )
    .await;
    let end = format!("/v1/referrals/{}/end", id(&referral));
    walk.step(
        "referral_end",
        &clinician,
        (post.clone(), &end),
        at_first(),
        patient,
    )
    .await;

    let said = json!({"purpose": "treatment", "segment": "general", "decision": "granted", "signed_by": "witness",
        "document": "treatment/1"});
    walk.step(
        "consent_record",
        &clinician,
        (post.clone(), &at("consents")),
        said,
        patient,
    )
    .await;
    walk.step(
        "consent_list",
        &theirs,
        (get.clone(), &at("consents")),
        Value::Null,
        patient,
    )
    .await;

    let emergency = json!({"reason": "unconscious, no history known"});
    let glass = walk
        .step(
            "break_glass_open",
            &colleague,
            (post.clone(), &at("break-glass")),
            emergency,
            patient,
        )
        .await;
    walk.step(
        "break_glass_list",
        &theirs,
        (get.clone(), &at("break-glass")),
        Value::Null,
        patient,
    )
    .await;
    walk.step(
        "break_glass_alerts",
        &officer,
        (get, "/v1/break-glass"),
        Value::Null,
        patient,
    )
    .await;
    let review = format!("/v1/break-glass/{}/review", id(&glass));
    let finding = json!({"if_match": 1, "json": {"finding": "justified"}});
    walk.step("break_glass_review", &officer, (post, &review), finding, patient)
        .await;

    what_patients_ask_of_it(walk, &theirs, &clinician, &patient_id).await;

    // Last, because a record that rests is reached by few.
    walk.step(
        "record_rights_get",
        &theirs,
        (Method::GET, &at("rights")),
        Value::Null,
        patient,
    )
    .await;
    let wish = json!({"if_match": 0, "json": {"restricted": true, "erasure": false}});
    walk.step(
        "record_rights_set",
        &theirs,
        (Method::PUT, &at("rights")),
        wish,
        patient,
    )
    .await;
}

/// Corrections, and a copy of everything.
async fn what_patients_ask_of_it(walk: &mut Walk<'_>, theirs: &Who, clinician: &Who, patient_id: &str) {
    let patient = Some(patient_id);
    let (get, post) = (Method::GET, Method::POST);
    let at = |tail: &str| format!("/v1/patients/{patient_id}/{tail}");
    let corrections = at("corrections");
    let wrong = json!({"what": "the left knee", "why": "it is the right one"});
    for (then, said) in [
        ("accept", Value::Null),
        ("decline", json!({"reason": "it was the left one"})),
    ] {
        let asked = (post.clone(), corrections.as_str());
        let asked = walk
            .step("correction_create", theirs, asked, wrong.clone(), patient)
            .await;
        let path = format!("/v1/corrections/{}/{then}", asked["id"].as_str().unwrap());
        let body = json!({"if_match": 1, "json": said});
        let operation = if then == "accept" {
            "correction_accept"
        } else {
            "correction_decline"
        };
        walk.step(operation, clinician, (post.clone(), &path), body, patient)
            .await;
        if then == "decline" {
            let path = path.replace("/decline", "/disagree");
            let body = json!({"if_match": 2, "json": {"statement": "it was not"}});
            walk.step(
                "correction_disagree",
                theirs,
                (post.clone(), &path),
                body,
                patient,
            )
            .await;
        }
    }
    walk.step(
        "correction_list",
        theirs,
        (get.clone(), &corrections),
        Value::Null,
        patient,
    )
    .await;
    let queue = (get.clone(), "/v1/corrections");
    walk.step("correction_queue", clinician, queue, Value::Null, patient)
        .await;

    let exports = at("exports");
    let asked = (post, exports.as_str());
    let asked = walk
        .step("record_export_create", theirs, asked, json!({}), patient)
        .await;
    walk.step(
        "record_export_list",
        theirs,
        (get.clone(), &exports),
        Value::Null,
        patient,
    )
    .await;
    let one = format!("{exports}/{}", asked["id"].as_str().unwrap());
    super::eventually(async || {
        let step = (get.clone(), one.as_str());
        walk.step("record_export_get", theirs, step, Value::Null, patient)
            .await["state"]
            == "ready"
    })
    .await;
    let content = format!("{one}/content?form=fhir");
    walk.step(
        "record_export_download",
        theirs,
        (get, &content),
        Value::Null,
        patient,
    )
    .await;
}

async fn what_staff_may_act_upon(walk: &mut Walk<'_>) {
    let world = walk.world;
    let (clinician, admin) = (
        world.credentials("clinician").await,
        world.credentials("admin").await,
    );
    let (get, post, path) = (Method::GET, Method::POST, "/v1/credentials");
    for (state, then, reason) in [
        ("NY", "verify", Value::Null),
        ("TX", "reject", json!({"reason": "not in the register"})),
        ("FL", "withdraw", Value::Null),
    ] {
        let licence = json!({"kind": "license", "profession": "clinician", "state": state,
            "number": "W1001", "expires_on": "2030-06-30"});
        let submit = (post.clone(), path);
        let stated = walk
            .step("credential_submit", &clinician, submit, licence, None)
            .await;
        let (operation, who) = match then {
            "verify" => ("credential_verify", &admin),
            "reject" => ("credential_reject", &admin),
            _ => ("credential_withdraw", &clinician),
        };
        let decide = format!("{path}/{}/{then}", stated["id"].as_str().unwrap());
        let body = json!({"if_match": stated["version"], "json": reason});
        walk.step(operation, who, (post.clone(), &decide), body, None)
            .await;
    }
    let mine = format!("{path}/mine");
    walk.step(
        "credential_mine",
        &clinician,
        (get.clone(), &mine),
        Value::Null,
        None,
    )
    .await;
    walk.step("credential_list", &admin, (get, path), Value::Null, None)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_tells_of_people_leaves_a_leaf() {
    let world = World::new().await;
    let mut walk = Walk {
        world: &world,
        http: plain_http(),
        walked: BTreeSet::new(),
    };
    life_of_a_record(&mut walk).await;
    those_who_run_the_clinic(&mut walk).await;
    the_accounts_of_a_record(&mut walk).await;
    those_who_care(&mut walk).await;
    what_staff_may_act_upon(&mut walk).await;

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
