//! The same question for what ends care, for a record's rest and end, for credentials and for what
//! people are to the clinic.
//!
//! [`expected`] is written from the requirements; it shares nothing with the policy.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::expected::Answer;
use super::fixture::Fixture;
use super::wider::cell;
use super::{AT_ONCE, CONSENTS, Cell, Consent, LICENSED, RELATIONS, ROLES, Relation, answer};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ask {
    CareTeamEnd,
    ReferralEnd,
    RightsGet,
    RightsSet,
    PersonUpdate,
    CredentialSubmit,
    CredentialMine,
    CredentialWithdrawOwn,
    CredentialWithdrawOthers,
    CredentialList,
    CredentialVerify,
    CredentialReject,
}

const ABOUT_PATIENT: [Ask; 5] = [
    Ask::CareTeamEnd,
    Ask::ReferralEnd,
    Ask::RightsGet,
    Ask::RightsSet,
    Ask::PersonUpdate,
];
const ABOUT_CREDENTIALS: [Ask; 7] = [
    Ask::CredentialSubmit,
    Ask::CredentialMine,
    Ask::CredentialWithdrawOwn,
    Ask::CredentialWithdrawOthers,
    Ask::CredentialList,
    Ask::CredentialVerify,
    Ask::CredentialReject,
];

fn cells() -> Vec<(Ask, Cell)> {
    let mut cells = Vec::new();
    for ask in ABOUT_PATIENT {
        for role in ROLES {
            for consent in CONSENTS {
                cells.extend(RELATIONS.map(|relation| (ask, cell(role, false, relation, consent))));
                cells.push((ask, cell(role, true, Relation::None, consent)));
            }
        }
    }
    for ask in ABOUT_CREDENTIALS {
        for role in ROLES {
            cells.extend(
                [false, true].map(|foreign| (ask, cell(role, foreign, Relation::None, Consent::Unasked))),
            );
        }
        cells.extend(LICENSED.map(|role| {
            let waiting = Cell {
                is_verified: false,
                ..cell(role, false, Relation::None, Consent::Unasked)
            };
            (ask, waiting)
        }));
    }
    cells
}

/// Asks everything; gives how many cells there were and those that differ.
pub(super) async fn check(http: &reqwest::Client, url: &str, fixture: &Fixture) -> (usize, Vec<String>) {
    let cells = cells();
    let (mut wrong, mut seen) = (Vec::new(), BTreeMap::<(Ask, Answer), usize>::new());
    let outcomes = futures::stream::iter(&cells)
        .map(|(ask, cell)| async move { (ask, cell, send(http, url, *ask, cell, fixture).await) });
    let mut outcomes = std::pin::pin!(outcomes.buffer_unordered(AT_ONCE));
    while let Some((ask, cell, status)) = outcomes.next().await {
        let (given, wanted) = (answer(status), expected(*ask, cell));
        *seen.entry((*ask, given)).or_default() += 1;
        if given != wanted {
            wrong.push(format!("{status} instead of {wanted:?}: {ask:?} {cell:?}"));
        }
    }
    for ask in ABOUT_PATIENT.into_iter().chain(ABOUT_CREDENTIALS) {
        let nobody = ask == Ask::CredentialWithdrawOthers;
        let allowed = seen.contains_key(&(ask, Answer::Allowed));
        if allowed == nobody {
            wrong.push(format!("{ask:?} was answered in one way only: {seen:?}"));
        }
    }
    (cells.len(), wrong)
}

fn expected(ask: Ask, cell: &Cell) -> Answer {
    let role = cell.role;
    let roles: &[&str] = match ask {
        // Whoever leads care, and admins, who assign teams but refer nobody.
        Ask::CareTeamEnd => &["clinician", "admin"],
        Ask::ReferralEnd => &["clinician"],
        // The patient; and anybody of the staff could be the privacy officer, but nobody here is.
        Ask::RightsGet => &ROLES,
        Ask::RightsSet => &["patient"],
        Ask::PersonUpdate | Ask::CredentialList | Ask::CredentialVerify | Ask::CredentialReject => &["admin"],
        // Before their licence is verified as well as after, or it never could be.
        Ask::CredentialSubmit
        | Ask::CredentialMine
        | Ask::CredentialWithdrawOwn
        | Ask::CredentialWithdrawOthers => &LICENSED,
    };
    if !roles.contains(&role) {
        return Answer::Forbidden;
    }
    let allowed = match ask {
        Ask::CareTeamEnd => !cell.is_foreign && (role == "admin" || leads(cell)),
        Ask::ReferralEnd => !cell.is_foreign && leads(cell),
        Ask::RightsGet | Ask::RightsSet => {
            !cell.is_foreign && role == "patient" && cell.relation == Relation::Own
        }
        Ask::PersonUpdate => !cell.is_foreign,
        Ask::CredentialSubmit | Ask::CredentialMine | Ask::CredentialWithdrawOwn | Ask::CredentialList => {
            true
        }
        // Another's is as good as not there, and another clinic's is not there.
        Ask::CredentialWithdrawOthers => false,
        Ask::CredentialVerify | Ask::CredentialReject => !cell.is_foreign,
    };
    if allowed {
        Answer::Allowed
    } else if ask == Ask::RightsGet && knows_patients(cell) {
        // Who finds people by name knows that there is such a patient, and no more.
        Answer::Forbidden
    } else {
        Answer::NotThere
    }
}

/// Clinicians who treat the patient, or are on their team.
fn leads(cell: &Cell) -> bool {
    cell.role == "clinician"
        && matches!(
            cell.relation,
            Relation::Host | Relation::Treating | Relation::CareTeam
        )
}

/// Finds the clinic's patients by name; staff are not among them.
fn knows_patients(cell: &Cell) -> bool {
    let directory = [
        "clinician",
        "nurse",
        "care_coordinator",
        "pharmacist",
        "scheduler",
        "admin",
        "support",
    ];
    directory.contains(&cell.role) && !cell.is_foreign && cell.relation != Relation::Own
}

async fn send(http: &reqwest::Client, url: &str, ask: Ask, cell: &Cell, fixture: &Fixture) -> u16 {
    let caller = fixture.caller(cell);
    let (method, path, body) = request(ask, cell, fixture);
    let mut request = http
        .request(method, format!("{url}{path}"))
        .header("cookie", &caller.cookie)
        .header("x-csrf-token", &caller.csrf)
        .header("idempotency-key", Uuid::new_v4().to_string())
        // A version nobody has: whoever is let in is told that it does not match.
        .header("if-match", "\"999999\"");
    if !body.is_null() {
        request = request.json(&body);
    }
    request.send().await.unwrap().status().as_u16()
}

/// A request that, where it is let in, reads, or fails on its version or content.
fn request(ask: Ask, cell: &Cell, fixture: &Fixture) -> (Method, String, Value) {
    let patient = fixture.record(cell).patient;
    let (member, referral) = fixture.ends(patient);
    let rights = format!("/v1/patients/{patient}/rights");
    let credential = |of: Uuid, what: &str| format!("/v1/credentials/{}/{what}", fixture.credential(of));
    let waiting = fixture.waiting();
    let (get, post) = (Method::GET, Method::POST);
    match ask {
        Ask::CareTeamEnd => (post, format!("/v1/care-team/{member}/end"), Value::Null),
        Ask::ReferralEnd => (post, format!("/v1/referrals/{referral}/end"), Value::Null),
        Ask::RightsGet => (get, rights, Value::Null),
        Ask::RightsSet => (Method::PUT, rights, json!({"restricted": true, "erasure": true})),
        Ask::PersonUpdate => (
            Method::PATCH,
            format!("/v1/people/{patient}"),
            json!({"active": false}),
        ),
        Ask::CredentialSubmit => (
            post,
            "/v1/credentials".into(),
            json!({"kind": "npi", "number": "none"}),
        ),
        Ask::CredentialMine => (get, "/v1/credentials/mine".into(), Value::Null),
        Ask::CredentialWithdrawOwn => (
            post,
            credential(fixture.caller(cell).person(), "withdraw"),
            Value::Null,
        ),
        Ask::CredentialWithdrawOthers => {
            // Not even of somebody in the same role: theirs is the one of the other caller.
            let other = if cell.is_verified {
                waiting
            } else {
                fixture.verified("nurse")
            };
            (post, credential(other, "withdraw"), Value::Null)
        }
        Ask::CredentialList => (get, "/v1/credentials".into(), Value::Null),
        Ask::CredentialVerify => (post, credential(waiting, "verify"), Value::Null),
        Ask::CredentialReject => (post, credential(waiting, "reject"), json!({"reason": "unknown"})),
    }
}
