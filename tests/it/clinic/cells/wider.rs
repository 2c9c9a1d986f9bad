//! The same question for what is about a patient rather than an appointment, for lists, and for
//! one's own account. What the segment says plays no part here, so one of them stands for all.
//!
//! [`expected`] is written from the requirements; it shares nothing with the policy.

use futures::StreamExt as _;
use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::expected::Answer;
use super::fixture::Fixture;
use super::tally::Tally;
use super::{AT_ONCE, CONSENTS, Cell, Consent, RELATIONS, ROLES, Relation, Route};

/// What is asked: about a patient, about the clinic, about oneself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ask {
    CareTeamList,
    CareTeamAdd,
    ReferralList,
    ReferralCreate,
    ConsentList,
    ConsentRecord,
    BreakGlassList,
    BreakGlassOpen,
    PersonList,
    PatientSearch,
    AppointmentList,
    VisitList,
    VisitPulses,
    BreakGlassAlerts,
    BreakGlassReview,
    PrivacyOfficerGet,
    PrivacyOfficerSet,
    ConsentTextGet,
    ClinicGet,
    ClinicUpdate,
    PersonCreate,
    AuthSession,
    SessionList,
    FactorList,
    AuditList,
    AuditProve,
    AuditHeadGet,
    AuditConsistencyGet,
}

const ABOUT_PATIENT: [Ask; 7] = [
    Ask::CareTeamList,
    Ask::CareTeamAdd,
    Ask::ReferralList,
    Ask::ReferralCreate,
    Ask::ConsentList,
    Ask::ConsentRecord,
    Ask::BreakGlassList,
];
const ABOUT_CLINIC: [Ask; 20] = [
    Ask::PersonList,
    Ask::PatientSearch,
    Ask::AppointmentList,
    Ask::VisitList,
    Ask::VisitPulses,
    Ask::BreakGlassAlerts,
    Ask::BreakGlassReview,
    Ask::PrivacyOfficerGet,
    Ask::PrivacyOfficerSet,
    Ask::ConsentTextGet,
    Ask::ClinicGet,
    Ask::ClinicUpdate,
    Ask::PersonCreate,
    Ask::AuthSession,
    Ask::SessionList,
    Ask::FactorList,
    Ask::AuditList,
    Ask::AuditProve,
    Ask::AuditHeadGet,
    Ask::AuditConsistencyGet,
];

/// The callers and records of the first cells, with another question.
pub(super) fn cell(role: &'static str, is_foreign: bool, relation: Relation, consent: Consent) -> Cell {
    Cell {
        route: Route::VisitGet,
        role,
        is_foreign,
        relation,
        consent,
        segment: "general",
        is_verified: true,
    }
}

fn about_patients(asks: &[Ask]) -> Vec<(Ask, Cell)> {
    let mut cells = Vec::new();
    for ask in asks {
        for role in ROLES {
            for consent in CONSENTS {
                cells.extend(RELATIONS.map(|relation| (*ask, cell(role, false, relation, consent))));
                cells.push((*ask, cell(role, true, Relation::None, consent)));
            }
        }
    }
    cells
}

fn about_clinics() -> Vec<(Ask, Cell)> {
    let clinics = [false, true];
    let of = |ask| {
        ROLES.into_iter().flat_map(move |role| {
            clinics.map(|foreign| (ask, cell(role, foreign, Relation::None, Consent::Unasked)))
        })
    };
    ABOUT_CLINIC.into_iter().flat_map(of).collect()
}

/// Asks everything; gives how many cells there were and those that differ.
pub(super) async fn check(http: &reqwest::Client, url: &str, fixture: &Fixture) -> (usize, Vec<String>) {
    let mut first = about_patients(&ABOUT_PATIENT);
    first.extend(about_clinics());
    // Last, because whoever broke the glass may then read: the others must not find it broken.
    let last = about_patients(&[Ask::BreakGlassOpen]);
    let mut tally = Tally::default();
    for cells in [&first, &last] {
        let outcomes = futures::stream::iter(cells)
            .map(|(ask, cell)| async move { (ask, cell, send(http, url, *ask, cell, fixture).await) });
        let mut outcomes = std::pin::pin!(outcomes.buffer_unordered(AT_ONCE));
        while let Some((ask, cell, status)) = outcomes.next().await {
            tally.count(status, expected(*ask, cell), (ask, cell));
        }
    }
    (first.len() + last.len(), tally.wrong(100))
}

const DIRECTORY: [&str; 7] = [
    "clinician",
    "nurse",
    "care_coordinator",
    "pharmacist",
    "scheduler",
    "admin",
    "support",
];

fn expected(ask: Ask, cell: &Cell) -> Answer {
    let role = cell.role;
    if let Some(roles) = clinic_roles(ask) {
        let allowed = roles.is_none_or(|roles| roles.contains(&role));
        return if allowed && ask == Ask::AuditProve {
            // Asked of an entry there is not.
            Answer::NotThere
        } else if allowed {
            Answer::Allowed
        } else {
            Answer::Forbidden
        };
    }
    if !patient_roles(ask).contains(&role) {
        return Answer::Forbidden;
    }
    // In another clinic there is no such patient; and staff who are nobody's patient have no record.
    if cell.is_foreign || (cell.relation == Relation::Own && role != "patient") {
        return Answer::NotThere;
    }
    if is_allowed(ask, cell) {
        Answer::Allowed
    } else if DIRECTORY.contains(&role) {
        // Who finds people by name knows that there is such a patient.
        Answer::Forbidden
    } else {
        Answer::NotThere
    }
}

/// Who may do what is about no patient; the inner `None` is everybody, the outer that it is.
fn clinic_roles(ask: Ask) -> Option<Option<&'static [&'static str]>> {
    Some(match ask {
        Ask::PersonList | Ask::PatientSearch => Some(&DIRECTORY),
        Ask::AppointmentList => Some(&[
            "patient",
            "clinician",
            "nurse",
            "care_coordinator",
            "scheduler",
            "admin",
        ]),
        Ask::VisitList | Ask::VisitPulses => {
            Some(&["patient", "clinician", "nurse", "care_coordinator", "pharmacist"])
        }
        // Nobody here is the privacy officer.
        Ask::BreakGlassAlerts | Ask::BreakGlassReview => Some(&[]),
        Ask::AuditList | Ask::AuditProve | Ask::AuditHeadGet | Ask::AuditConsistencyGet => {
            Some(&["admin", "auditor"])
        }
        Ask::PrivacyOfficerSet | Ask::ClinicGet | Ask::ClinicUpdate | Ask::PersonCreate => Some(&["admin"]),
        Ask::PrivacyOfficerGet
        | Ask::ConsentTextGet
        | Ask::AuthSession
        | Ask::SessionList
        | Ask::FactorList => None,
        _ => return None,
    })
}

/// Which roles can do this about some patient or other.
fn patient_roles(ask: Ask) -> &'static [&'static str] {
    match ask {
        Ask::CareTeamList => &["patient", "clinician", "nurse", "care_coordinator", "admin"],
        Ask::CareTeamAdd => &["clinician", "admin"],
        Ask::ReferralList | Ask::ConsentList => &["patient", "clinician", "nurse", "care_coordinator"],
        Ask::ReferralCreate => &["clinician"],
        Ask::ConsentRecord => &["patient", "clinician"],
        Ask::BreakGlassList => &["patient"],
        Ask::BreakGlassOpen => &["clinician", "nurse", "care_coordinator"],
        _ => &[],
    }
}

/// Patients see and decide about themselves; who treats them or is on their team sees it too, and
/// clinicians among those act; admins assign teams. In an emergency everybody who gives care may.
fn is_allowed(ask: Ask, cell: &Cell) -> bool {
    let own = cell.role == "patient" && cell.relation == Relation::Own;
    let treats = cell.role == "clinician" && matches!(cell.relation, Relation::Host | Relation::Treating);
    let on_team = cell.relation == Relation::CareTeam;
    let leads = treats || (on_team && cell.role == "clinician");
    let knows = treats || (on_team && ["clinician", "nurse", "care_coordinator"].contains(&cell.role));
    match ask {
        Ask::CareTeamList => own || knows || cell.role == "admin",
        Ask::CareTeamAdd => leads || cell.role == "admin",
        Ask::ReferralList | Ask::ConsentList => own || knows,
        Ask::ReferralCreate => leads,
        Ask::ConsentRecord => own || leads,
        Ask::BreakGlassList => own,
        Ask::BreakGlassOpen => true,
        _ => false,
    }
}

async fn send(http: &reqwest::Client, url: &str, ask: Ask, cell: &Cell, fixture: &Fixture) -> u16 {
    let (caller, patient) = (fixture.caller(cell), fixture.record(cell).patient);
    let (method, path, body) = request(ask, patient);
    let mut request = http
        .request(method.clone(), format!("{url}{path}"))
        .header("cookie", &caller.cookie)
        .header("x-csrf-token", &caller.csrf);
    if method == Method::POST {
        request = request.header("idempotency-key", Uuid::new_v4().to_string());
    }
    if method != Method::GET {
        // A version nobody has.
        request = request.header("if-match", "\"999999\"");
    }
    if !body.is_null() {
        request = request.json(&body);
    }
    request.send().await.unwrap().status().as_u16()
}

/// A request that, where it is let in, reads or fails on its content.
fn request(ask: Ask, patient: Uuid) -> (Method, String, Value) {
    let of = |tail: &str| format!("/v1/patients/{patient}/{tail}");
    let (get, post, someone) = (Method::GET, Method::POST, Uuid::now_v7());
    let (method, path, body) = match ask {
        Ask::CareTeamList => (get, of("care-team"), Value::Null),
        Ask::CareTeamAdd => (
            post,
            of("care-team"),
            json!({"person_id": someone, "role": "nurse"}),
        ),
        Ask::ReferralList => (get, of("referrals"), Value::Null),
        Ask::ReferralCreate => (post, of("referrals"), json!({"to_id": someone})),
        Ask::ConsentList => (get, of("consents"), Value::Null),
        Ask::ConsentRecord => (post, of("consents"), unsigned()),
        Ask::BreakGlassList => (get, of("break-glass"), Value::Null),
        Ask::BreakGlassOpen => (post, of("break-glass"), json!({"reason": "an emergency"})),
        _ => return about_clinic(ask, someone),
    };
    (method, path, body)
}

fn about_clinic(ask: Ask, someone: Uuid) -> (Method, String, Value) {
    let (get, post) = (Method::GET, Method::POST);
    let get_of = |path: &str| (get.clone(), path.to_owned(), Value::Null);
    match ask {
        Ask::PersonList => get_of("/v1/people"),
        Ask::PatientSearch => (post, "/v1/patients/search".into(), json!({"q": "nobody at all"})),
        Ask::AppointmentList => get_of("/v1/appointments"),
        Ask::VisitList => get_of("/v1/visits"),
        Ask::VisitPulses => get_of("/v1/visits/pulses"),
        Ask::BreakGlassAlerts => get_of("/v1/break-glass"),
        Ask::BreakGlassReview => (
            post,
            format!("/v1/break-glass/{someone}/review"),
            json!({"finding": "justified"}),
        ),
        Ask::PrivacyOfficerGet => get_of("/v1/privacy-officer"),
        Ask::PrivacyOfficerSet => (
            Method::PUT,
            "/v1/privacy-officer".into(),
            json!({"person_id": someone}),
        ),
        Ask::ConsentTextGet => get_of("/v1/consent-text?purpose=treatment&decision=granted"),
        Ask::ClinicGet => get_of("/v1/clinic"),
        Ask::ClinicUpdate => (Method::PATCH, "/v1/clinic".into(), json!({})),
        Ask::PersonCreate => (post, "/v1/people".into(), guessable()),
        Ask::SessionList => get_of("/v1/auth/sessions"),
        Ask::FactorList => get_of("/v1/auth/mfa"),
        Ask::AuditList => get_of("/v1/audit?limit=1"),
        Ask::AuditProve => get_of(&format!("/v1/audit/{someone}/proof")),
        Ask::AuditHeadGet => get_of("/v1/audit/head"),
        Ask::AuditConsistencyGet => get_of("/v1/audit/consistency?from=1"),
        _ => get_of("/v1/auth/session"),
    }
}

/// Signed under words nobody was shown.
fn unsigned() -> Value {
    json!({"purpose": "treatment", "decision": "granted", "signed_by": "session", "document": "none",
        "text_sha256": "0".repeat(64)})
}

/// Refused for its password.
fn guessable() -> Value {
    json!({"display_name": "Nobody", "email": "nobody@example.test", "password": "aaaaaaaaaaaaaaaa", "roles": ["nurse"]})
}
