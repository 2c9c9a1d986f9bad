//! The same question while somebody is the privacy officer: each role in turn.
//!
//! [`expected`] is written from the requirements: whoever of the staff holds the office finds patients by name,
//! sees who saw a record and what left it, notes what leaves, sees and settles emergencies, and knows what rests
//! and what is to be corrected. Nothing clinical comes with it, no copy of a record, and nothing for colleagues
//! in the same role or for another clinic.

use std::collections::HashMap;

use futures::StreamExt as _;
use http::Method;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::expected::Answer;
use super::fixture::{Caller, Fixture, Record};
use super::tally::Tally;
use super::wider::cell;
use super::{AT_ONCE, Consent, ROLES, Relation, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ask {
    PatientSearch,
    RecordAccessList,
    DisclosureList,
    DisclosureCreate,
    RightsGet,
    CorrectionList,
    CorrectionAccept,
    BreakGlassAlerts,
    BreakGlassReview,
    ExportList,
    VisitGet,
    MessageList,
    AuditList,
}

const ASKS: [Ask; 13] = [
    Ask::PatientSearch,
    Ask::RecordAccessList,
    Ask::DisclosureList,
    Ask::DisclosureCreate,
    Ask::RightsGet,
    Ask::CorrectionList,
    Ask::CorrectionAccept,
    Ask::BreakGlassAlerts,
    Ask::BreakGlassReview,
    Ask::ExportList,
    Ask::VisitGet,
    Ask::MessageList,
    Ask::AuditList,
];

/// How the caller stands to the office.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Officer,
    /// In the same role.
    Colleague,
    /// In the same role, of another clinic.
    Stranger,
}

/// Asks everything; gives how many cells there were and those that differ.
pub(super) async fn check(http: &reqwest::Client, world: &World, fixture: &Fixture) -> (usize, Vec<String>) {
    let mut admin = world.admin().await;
    // Laid past the service for other cells: what nobody sealed opens for nobody. And the glass that they broke is
    // whole again: what an emergency opens, no office has to.
    sqlx::raw_sql(
        r"DELETE FROM break_glass WHERE reason = '\x00'; DELETE FROM correction WHERE what = '\x00';
         UPDATE break_glass SET until_at = now()",
    )
    .execute(&mut admin)
    .await
    .unwrap();
    let (mut asked, mut tally) = (0, Tally::default());
    let corrections: HashMap<Uuid, Uuid> = sqlx::query_as("SELECT patient_id, id FROM correction")
        .fetch_all(&mut admin)
        .await
        .unwrap()
        .into_iter()
        .collect();
    for role in ROLES {
        let officer = fixture.caller(&cell(role, false, Relation::None, Consent::Unasked));
        appoint(&mut admin, world, officer.person()).await;
        let cells = ASKS
            .into_iter()
            .flat_map(|ask| [Who::Officer, Who::Colleague, Who::Stranger].map(|who| (ask, who)));
        let url = world.node.url();
        let outcomes = futures::stream::iter(cells).map(|(ask, who)| {
            let (url, corrections) = (&url, &corrections);
            async move {
                let (caller, record) = parties(fixture, role, who);
                let asked = request(ask, record, corrections[&record.patient]);
                (ask, who, send(http, url, asked, caller).await)
            }
        });
        let mut outcomes = std::pin::pin!(outcomes.buffer_unordered(AT_ONCE));
        while let Some((ask, who, status)) = outcomes.next().await {
            asked += 1;
            tally.count(status, expected(ask, who, role), (ask, who, role));
        }
    }
    sqlx::raw_sql("DELETE FROM privacy_officer")
        .execute(&mut admin)
        .await
        .unwrap();
    (asked, tally.wrong(20))
}

async fn appoint(admin: &mut PgConnection, world: &World, person: Uuid) {
    sqlx::query(
        "INSERT INTO privacy_officer (clinic_id, person_id, named_at, named_by) VALUES ($1, $2, now(), $2)
         ON CONFLICT (clinic_id) DO UPDATE SET person_id = excluded.person_id",
    )
    .bind(world.clinic.id.as_uuid())
    .bind(person)
    .execute(admin)
    .await
    .unwrap();
}

/// Who asks, and the record of a patient nobody of them has anything to do with.
fn parties<'a>(fixture: &'a Fixture, role: &'static str, who: Who) -> (&'a Caller, &'a Record) {
    let record = fixture.record(&cell(role, false, Relation::None, Consent::Unasked));
    let caller = match who {
        Who::Officer => cell(role, false, Relation::None, Consent::Unasked),
        Who::Colleague => cell(role, false, Relation::None, Consent::Granted),
        Who::Stranger => cell(role, true, Relation::None, Consent::Unasked),
    };
    (fixture.caller(&caller), record)
}

/// Those who find patients by name without the office, and so know that there is this one.
const DIRECTORY: [&str; 7] = [
    "clinician",
    "nurse",
    "care_coordinator",
    "pharmacist",
    "scheduler",
    "admin",
    "support",
];

fn expected(ask: Ask, who: Who, role: &str) -> Answer {
    let is_staff = role != "patient";
    let is_officer = who == Who::Officer && is_staff;
    let allowed_if = |allowed: bool| {
        if allowed {
            Answer::Allowed
        } else {
            Answer::Forbidden
        }
    };
    match ask {
        Ask::PatientSearch => allowed_if(is_officer || DIRECTORY.contains(&role)),
        Ask::BreakGlassAlerts => allowed_if(is_officer),
        // Of an emergency there never was.
        Ask::BreakGlassReview if is_officer => Answer::NotThere,
        Ask::BreakGlassReview => Answer::Forbidden,
        Ask::AuditList => allowed_if(["admin", "auditor"].contains(&role)),
        // A copy of the record is its patient's, and this patient is another.
        Ask::ExportList if role == "patient" => Answer::NotThere,
        Ask::ExportList => Answer::Forbidden,
        // Nothing clinical: as if there were no office.
        Ask::VisitGet | Ask::MessageList => {
            let treats = ["patient", "clinician", "nurse", "care_coordinator", "pharmacist"].contains(&role);
            if treats {
                Answer::NotThere
            } else {
                Answer::Forbidden
            }
        }
        Ask::DisclosureCreate | Ask::CorrectionAccept if !is_staff => Answer::Forbidden,
        Ask::CorrectionAccept if is_officer => Answer::Allowed,
        // A correction is no patient: finding people by name says nothing of it.
        Ask::CorrectionAccept => Answer::NotThere,
        _ if is_officer => Answer::Allowed,
        _ if who == Who::Colleague && DIRECTORY.contains(&role) => Answer::Forbidden,
        _ => Answer::NotThere,
    }
}

async fn send(
    http: &reqwest::Client,
    url: &str,
    (method, path, body): (Method, String, Value),
    caller: &Caller,
) -> u16 {
    let mut request = http
        .request(method.clone(), format!("{url}{path}"))
        .header("cookie", &caller.cookie)
        .header("x-csrf-token", &caller.csrf);
    if method == Method::POST {
        request = request.header("idempotency-key", Uuid::new_v4().to_string());
        // A version nobody has.
        request = request.header("if-match", "\"999999\"");
    }
    if !body.is_null() {
        request = request.json(&body);
    }
    request.send().await.unwrap().status().as_u16()
}

fn request(ask: Ask, record: &Record, correction: Uuid) -> (Method, String, Value) {
    let of = |tail: &str| format!("/v1/patients/{}/{tail}", record.patient);
    let (get, post, none) = (Method::GET, Method::POST, Value::Null);
    match ask {
        Ask::PatientSearch => (post, "/v1/patients/search".into(), json!({"q": "nobody at all"})),
        Ask::RecordAccessList => (get, of("accesses?limit=1"), none),
        Ask::DisclosureList => (get, of("disclosures"), none),
        Ask::DisclosureCreate => (
            post,
            of("disclosures"),
            json!({"disclosed_at": "2026-01-01T10:00:00Z", "recipient": "County court",
                "description": "a summary", "purpose": "a subpoena", "basis": "judicial"}),
        ),
        Ask::RightsGet => (get, of("rights"), none),
        Ask::CorrectionList => (get, of("corrections?limit=1"), none),
        Ask::CorrectionAccept => (post, format!("/v1/corrections/{correction}/accept"), none),
        Ask::BreakGlassAlerts => (get, "/v1/break-glass?limit=1".into(), none),
        Ask::BreakGlassReview => (
            post,
            format!("/v1/break-glass/{}/review", Uuid::now_v7()),
            json!({"finding": "justified"}),
        ),
        Ask::ExportList => (get, of("exports"), none),
        Ask::VisitGet => (get, format!("/v1/visits/{}", record.visit), none),
        Ask::MessageList => (get, format!("/v1/visits/{}/messages", record.visit), none),
        Ask::AuditList => (get, "/v1/audit?limit=1".into(), none),
    }
}
