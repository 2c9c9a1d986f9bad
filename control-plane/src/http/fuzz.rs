//! What the fuzzer drives of requests: bodies, queries, headers, and texts that only we can tag.
//!
//! Compiled for tests and with `--cfg fuzzing` only.

use std::sync::OnceLock;

use aws_lc_rs::rand;
use axum::extract::FromRequestParts as _;
use futures::executor::block_on;
use garde::Validate;
use http::header::{ACCEPT, AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue, IF_MATCH, ORIGIN};
use http::{Request, Uri};
use medmesh_api_types::session::IDEMPOTENCY_HEADER;
use medmesh_api_types::{
    account, appointment, audit, audit_view, break_glass, care, client, clinic, consent, correction,
    credential, disclosure, factor, fleet, key, message, oidc, page, person, record_export, rights, session,
    signaling, visit,
};
use medmesh_base::SessionId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::challenge::Purpose;
use super::extract::{IfMatch, NESTING_MAX, nesting, parse};
use super::negotiate::{self, Chosen, JSON, MEDMESH_JSON};
use super::{ApiError, Challenges, IdempotencyKey, Throttle, caller, machine, observe, state};
use crate::ephemeral::Ephemeral;
use crate::fuzz::{MARK, split};
use crate::oidc::{Flow, FlowPurpose, Flows};

/// Headers of one input at most: the map itself has an end, at which it panics.
const HEADERS_MAX: usize = 64;

/// A type and what reads it.
type Reader = (&'static str, fn(&[u8]));

macro_rules! readers {
    ($read:ident: $($module:ident::$name:ident),* $(,)?) => {
        &[$((stringify!($name), $read::<$module::$name>)),*]
    };
}

/// Every body a route takes; tested against the descriptions of the API.
pub const BODIES: &[Reader] = readers![body:
    account::InvitationCreate, account::LinkRedeem, account::PasswordChange, account::RegistrationComplete,
    account::RegistrationRequest, account::ResetRequest,
    appointment::AppointmentCancel, appointment::AppointmentCreate, appointment::AppointmentUpdate,
    break_glass::BreakGlassOpen, break_glass::BreakGlassReview, break_glass::PrivacyOfficerSet,
    care::CareTeamAdd, care::ReferralCreate, client::ClientCreate, client::ClientUpdate,
    clinic::ClinicUpdate, consent::ConsentRecord, correction::CorrectionCreate,
    correction::CorrectionDecline, correction::CorrectionDisagree, credential::CredentialReject,
    credential::CredentialSubmit, disclosure::DisclosureCreate, factor::FactorRename,
    factor::PasskeyAssertion, factor::PasskeyRegistration, factor::Proof, factor::TotpConfirm,
    fleet::JoinTokenCreate, fleet::LearnerAdd, fleet::RaftNode, audit::AuditResumeCreate,
    key::KeyRestored, key::KeyRotationCreate,
    message::MessageCreate, oidc::OidcAccept, oidc::OidcProviderSet, person::PatientSearch,
    person::PersonCreate, person::PersonUpdate, record_export::RecordExportCreate,
    rights::RecordRightsSet, session::LoginRequest, signaling::SessionRequest, visit::ParticipantAdd,
    visit::VisitAdmit,
];

/// Every query a route takes, and the one form.
pub const QUERIES: &[Reader] = readers![query:
    appointment::AppointmentQuery, audit::AuditConsistencyQuery, audit_view::AuditFormatQuery,
    audit_view::AuditQuery, audit_view::RecordAccessQuery, break_glass::BreakGlassQuery,
    care::CareTeamQuery, client::ClientQuery, client::TokenRequest, consent::ConsentTextQuery,
    correction::CorrectionQuery, credential::CredentialQuery, fleet::SessionsQuery, message::MessageQuery,
    oidc::OidcCallbackQuery, oidc::OidcOfferQuery, oidc::OidcStartQuery, page::PageQuery,
    person::PersonQuery, record_export::ExportFormQuery, signaling::CandidateQuery, visit::VisitQuery,
];

/// Reads `data` as `which type u8 | body`.
pub fn bodies(data: &[u8]) {
    let (which, data) = split(data);
    let depth = nesting(data);
    if let Ok(value) = serde_json::from_slice::<Value>(data) {
        assert_eq!(depth_of(&value), depth, "exact for what is JSON");
    }
    let (_, read) = BODIES[usize::from(which) % BODIES.len()];
    read(data);
}

fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth_of).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth_of).max().unwrap_or(0),
        _ => 0,
    }
}

fn body<T: DeserializeOwned + Serialize + Validate<Context = ()>>(data: &[u8]) {
    let refused = match parse::<T>(data) {
        Ok(value) => {
            assert!(nesting(data) <= NESTING_MAX);
            value.validate().err().map(ApiError::from)
        }
        Err(error) => Some(error),
    };
    if let Some(error) = refused {
        says_nothing_of_it(&error);
    }
}

/// A refusal names places and rules, and never what was sent.
fn says_nothing_of_it(error: &ApiError) {
    let said = format!("{error:?}");
    assert!(!said.contains(MARK), "{said}");
}

/// Reads `data` as `which type u8 | query string`.
pub fn queries(data: &[u8]) {
    let (which, data) = split(data);
    let (_, read) = QUERIES[usize::from(which) % QUERIES.len()];
    read(data);
}

fn query<T: DeserializeOwned>(data: &[u8]) {
    let text = format!("/?{}", String::from_utf8_lossy(data));
    let Ok(uri) = text.parse::<Uri>() else {
        return;
    };
    let (mut parts, ()) = Request::builder()
        .uri(uri)
        .body(())
        .expect("an address and nothing else")
        .into_parts();
    if let Err(error) = block_on(super::extract::Query::<T>::from_request_parts(&mut parts, &())) {
        says_nothing_of_it(&error);
    }
}

/// Reads `data` as lines of `which header u8 | value`.
pub fn headers(data: &[u8]) {
    let names = [
        ACCEPT,
        AUTHORIZATION,
        COOKIE,
        IF_MATCH,
        ORIGIN,
        HeaderName::from_static(IDEMPOTENCY_HEADER),
        HeaderName::from_static("x-forwarded-for"),
        HeaderName::from_static("x-purpose-of-use"),
        HeaderName::from_static("x-request-id"),
    ];
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(HEADERS_MAX) {
        let (which, value) = split(line);
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(names[usize::from(which) % names.len()].clone(), value);
        }
    }
    let has = |name: HeaderName, text: &str| {
        let mut values = headers.get_all(name).iter();
        values.any(|value| String::from_utf8_lossy(value.as_bytes()).contains(text))
    };
    if let Some(token) = machine::bearer(&headers) {
        assert!(has(AUTHORIZATION, &token.expose()));
    }
    if let Some(token) = caller::cookie(&headers) {
        assert!(has(COOKIE, &token.expose()));
    }
    if let Err(error) = caller::purpose(&headers) {
        says_nothing_of_it(&error);
    }
    let allowed = ["https://portal.test".to_owned()];
    if caller::check_origin(&headers, &allowed).is_ok() && headers.contains_key(ORIGIN) {
        let first = headers[ORIGIN].as_bytes();
        assert!(first.eq_ignore_ascii_case(allowed[0].as_bytes()));
    }
    let _ = (observe::request_id(&headers), state::forwarded_for(&headers));
    chooses(&headers);
    conditions(&headers);
}

/// What is chosen was offered.
fn chooses(headers: &HeaderMap) {
    for offers in [
        &[][..],
        &[JSON],
        &[JSON, MEDMESH_JSON],
        &["text/csv", "image/png"],
    ] {
        let offers: Vec<String> = offers.iter().map(|offer| (*offer).to_owned()).collect();
        if negotiate::choose(headers, &offers) == Chosen::MedmeshJson {
            assert!(offers.iter().any(|offer| offer == MEDMESH_JSON));
        }
    }
}

fn conditions(headers: &HeaderMap) {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.headers = headers.clone();
    match block_on(IdempotencyKey::from_request_parts(&mut parts, &())) {
        Ok(key) => assert!(key.0.parse::<medmesh_store::IdempotencyKey>().is_ok()),
        Err(error) => says_nothing_of_it(&error),
    }
    match block_on(IfMatch::from_request_parts(&mut parts, &())) {
        Ok(IfMatch(version)) => {
            let given = headers[IF_MATCH].to_str().expect("it was read");
            let digits = given.trim_matches('"');
            assert_eq!(digits.parse(), Ok(version));
        }
        Err(error) => says_nothing_of_it(&error),
    }
}

/// Reads `data` as a challenge of a passkey, a sign-in's cookie and a browser's, which nobody here
/// tagged; then as `at u16 | change u8`, done to some that we did.
pub fn tagged(data: &[u8]) {
    let (now, own) = (OffsetDateTime::UNIX_EPOCH + Duration::days(20_000), own());
    let text = String::from_utf8_lossy(data);
    let purposes = [
        Purpose::Login,
        Purpose::Prove(session()),
        Purpose::Register(session()),
    ];
    for purpose in purposes {
        assert!(
            own.challenges.check(purpose, data, now).is_none(),
            "nobody made it"
        );
    }
    assert!(own.flows.read(&text, &text, now).is_none(), "nobody made it");
    assert!(
        !own.throttle.is_known("a@example.org", Some(&text)),
        "nobody made it"
    );

    let [high, low, change, ..] = data else {
        return;
    };
    let at = usize::from(u16::from_be_bytes([*high, *low]));
    let mut challenge = own.challenges.issue(Purpose::Login, now);
    let place = at % challenge.len();
    challenge[place] ^= change;
    let is_known = own.challenges.check(Purpose::Login, &challenge, now).is_some();
    assert_eq!(is_known, *change == 0);
    assert!(own.challenges.check(purposes[1], &challenge, now).is_none());

    let flow = Flow::begin(medmesh_base::ClinicId::generate(), FlowPurpose::Login, now);
    let cookie = altered(own.flows.write(&flow), at, *change);
    let back = own.flows.read(&cookie, &flow.state, now);
    assert_eq!(back.is_some(), *change == 0);

    let email = "ana@example.org";
    let device = altered(own.throttle.device_token(email), at, *change);
    assert_eq!(own.throttle.is_known(email, Some(&device)), *change == 0);
}

/// The text with one of its bytes changed.
fn altered(text: String, at: usize, change: u8) -> String {
    let mut bytes = text.into_bytes();
    let place = at % bytes.len();
    bytes[place] ^= change;
    String::from_utf8_lossy(&bytes).into_owned()
}

fn session() -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(7))
}

/// What one cluster tags with.
struct Own {
    challenges: Challenges,
    flows: Flows,
    throttle: Throttle,
}

fn own() -> &'static Own {
    static OWN: OnceLock<Own> = OnceLock::new();
    OWN.get_or_init(|| {
        let mut secret = [0; 32];
        rand::fill(&mut secret).expect("the system has random bytes");
        let ephemeral = Ephemeral::open(None).expect("nothing is opened");
        Own {
            challenges: Challenges::new(&secret),
            flows: Flows::new(&secret),
            throttle: Throttle::new(ephemeral.counters(), &secret),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::BODIES;

    /// The names of the types that bodies are described as.
    fn described(json: &str) -> BTreeSet<String> {
        let document: Value = serde_json::from_str(json).unwrap();
        let operations = document["paths"].as_object().unwrap().values();
        let bodies = operations
            .flat_map(|path| path.as_object().unwrap().values())
            .filter_map(|operation| operation.get("requestBody"));
        let schemas = bodies.filter_map(|body| body["content"].get("application/json"));
        schemas
            .map(|media| {
                let name = media["schema"]["$ref"].as_str().expect("bodies are named types");
                name.rsplit('/').next().unwrap().to_owned()
            })
            .collect()
    }

    #[test]
    fn every_body_that_is_described_is_fuzzed() {
        let documents = [
            include_str!("../../../api/openapi/clinic.json"),
            include_str!("../../../api/openapi/fleet.json"),
        ];
        let described: BTreeSet<String> = documents.into_iter().flat_map(described).collect();
        let read: BTreeSet<String> = BODIES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(described, read);
        assert!(read.len() > 40);
    }
}
