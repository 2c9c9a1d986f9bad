//! The same question for copies of whole records and for corrections.
//!
//! [`expected`] is written from the requirements: a copy is its patient's and nobody else's; corrections
//! are asked for and disagreed with by the patient, seen and answered by clinicians who treat them or
//! are on their team, and by the privacy officer, who is nobody here.

use std::collections::HashMap;

use futures::StreamExt as _;
use http::Method;
use medmesh_base::{AccountId, PersonId, RequestId, SessionId};
use medmesh_clinic::{Actor, NewCorrection, Role, Roles};
use medmesh_store::Store;
use serde_json::{Value, json};
use uuid::Uuid;

use super::expected::Answer;
use super::fixture::Fixture;
use super::tally::Tally;
use super::{AT_ONCE, CONSENTS, Cell, Consent, RELATIONS, ROLES, Relation, Route, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ask {
    ExportList,
    ExportGet,
    ExportDownload,
    ExportCreate,
    CorrectionList,
    CorrectionCreate,
    CorrectionAccept,
    CorrectionDecline,
    CorrectionDisagree,
    CorrectionQueue,
}

const ASKS: [Ask; 10] = [
    Ask::ExportList,
    Ask::ExportGet,
    Ask::ExportDownload,
    Ask::ExportCreate,
    Ask::CorrectionList,
    Ask::CorrectionCreate,
    Ask::CorrectionAccept,
    Ask::CorrectionDecline,
    Ask::CorrectionDisagree,
    Ask::CorrectionQueue,
];

fn cell(role: &'static str, is_foreign: bool, relation: Relation, consent: Consent) -> Cell {
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

fn cells() -> Vec<(Ask, Cell)> {
    let mut cells = Vec::new();
    for ask in ASKS {
        for role in ROLES {
            for consent in CONSENTS {
                cells.extend(RELATIONS.map(|relation| (ask, cell(role, false, relation, consent))));
                cells.push((ask, cell(role, true, Relation::None, consent)));
            }
        }
    }
    cells
}

/// A correction and an export for each patient, written past the service; and what they are called.
async fn lay(world: &World, fixture: &Fixture) -> HashMap<Uuid, Uuid> {
    let store = world.scratch.store(2).await.unwrap();
    let (mut admin, mut laid) = (world.admin().await, HashMap::new());
    for (_, cell) in cells() {
        let patient = fixture.record(&cell).patient;
        if laid.contains_key(&patient) {
            continue;
        }
        let id = match ask(&store, world, patient).await {
            Some(id) => id,
            // Staff who are nobody's patient: what cannot be opened is never shown to anybody.
            None => {
                let id = Uuid::now_v7();
                sqlx::query(
                    "INSERT INTO correction (clinic_id, id, patient_id, what, why, requested_at, due_at, state)
                     VALUES ($1, $2, $3, '\\x00', '\\x00', now(), now(), 'open')",
                )
                .bind(world.clinic.id.as_uuid())
                .bind(id)
                .bind(patient)
                .execute(&mut admin)
                .await
                .unwrap();
                id
            }
        };
        // Of another time: of those there may be any number.
        sqlx::query(
            "INSERT INTO record_export (clinic_id, id, patient_id, state, requested_at, ready_at, expires_at,
                 object_id, json_bytes, json_signature, fhir_bytes, fhir_signature)
             VALUES ($1, $2, $3, 'gone', now(), now() - interval '2 days', now() - interval '1 day', $2, 1, 'x', 1, 'x')",
        )
        .bind(world.clinic.id.as_uuid())
        .bind(id)
        .bind(patient)
        .execute(&mut admin)
        .await
        .unwrap();
        laid.insert(patient, id);
    }
    store.close().await;
    laid
}

/// Asks for a correction in a patient's name; `None` where there is no such patient.
async fn ask(store: &Store, world: &World, patient: Uuid) -> Option<Uuid> {
    let person = PersonId::from_uuid(patient);
    let caller = medmesh_clinic::Caller {
        account_id: AccountId::generate(),
        person_id: person,
        session_id: SessionId::generate(),
        roles: Roles::only(Role::Patient),
        licensed: Roles::default(),
        second_factor: false,
        stepped_up_at: None,
    };
    let new = NewCorrection {
        what: "line one".parse().unwrap(),
        why: "it never happened".parse().unwrap(),
    };
    let begun = store
        .begin(world.clinic.id, Actor::Person(caller), RequestId::generate())
        .await;
    let mut tx = begun.unwrap();
    let asked = tx.correction_create(person, &new).await.ok()?;
    tx.commit().await.unwrap();
    Some(asked.id.as_uuid())
}

/// Asks everything; gives how many cells there were and those that differ.
pub(super) async fn check(http: &reqwest::Client, world: &World, fixture: &Fixture) -> (usize, Vec<String>) {
    let (cells, laid, url) = (cells(), lay(world, fixture).await, world.node.url());
    let outcomes = futures::stream::iter(&cells).map(|(ask, cell)| {
        let (laid, url) = (&laid, url.as_str());
        async move {
            let patient = fixture.record(cell).patient;
            let status = send(http, url, *ask, cell, fixture, (patient, laid[&patient])).await;
            (ask, cell, status)
        }
    });
    let mut tally = Tally::default();
    let mut outcomes = std::pin::pin!(outcomes.buffer_unordered(AT_ONCE));
    while let Some((ask, cell, status)) = outcomes.next().await {
        tally.count(status, expected(*ask, cell), (ask, cell));
    }
    (cells.len(), tally.wrong(20))
}

fn expected(ask: Ask, cell: &Cell) -> Answer {
    let is_patient = cell.role == "patient";
    let asks_own = matches!(
        ask,
        Ask::ExportList
            | Ask::ExportGet
            | Ask::ExportDownload
            | Ask::ExportCreate
            | Ask::CorrectionCreate
            | Ask::CorrectionDisagree
    );
    let answers = matches!(
        ask,
        Ask::CorrectionAccept | Ask::CorrectionDecline | Ask::CorrectionQueue
    );
    // What this role can ask of nobody's record.
    if (asks_own && !is_patient) || (answers && is_patient) {
        return Answer::Forbidden;
    }
    // Everybody who works here has a list, most of them an empty one.
    if ask == Ask::CorrectionQueue {
        return Answer::Allowed;
    }
    let own = is_patient && cell.relation == Relation::Own && !cell.is_foreign;
    let leads = cell.role == "clinician"
        && !cell.is_foreign
        && matches!(
            cell.relation,
            Relation::Host | Relation::Treating | Relation::CareTeam
        );
    let is_allowed = match ask {
        // The one there is has had its time, which its patient is told as others are told of nothing.
        Ask::ExportDownload => false,
        Ask::CorrectionList => own || leads,
        _ if asks_own => own,
        _ => leads,
    };
    let names_patients = [
        "clinician",
        "nurse",
        "care_coordinator",
        "pharmacist",
        "scheduler",
        "admin",
        "support",
    ];
    let is_nobody = cell.is_foreign || (cell.relation == Relation::Own && !is_patient);
    if is_allowed {
        Answer::Allowed
    } else if ask == Ask::CorrectionList && names_patients.contains(&cell.role) && !is_nobody {
        // Who finds people by name knows that there is such a patient.
        Answer::Forbidden
    } else {
        Answer::NotThere
    }
}

async fn send(
    http: &reqwest::Client,
    url: &str,
    ask: Ask,
    cell: &Cell,
    fixture: &Fixture,
    (patient, id): (Uuid, Uuid),
) -> u16 {
    let caller = fixture.caller(cell);
    let (method, path, body) = request(ask, patient, id);
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

fn request(ask: Ask, patient: Uuid, id: Uuid) -> (Method, String, Value) {
    let of = |tail: &str| format!("/v1/patients/{patient}/{tail}");
    let one = |verb: &str| format!("/v1/corrections/{id}/{verb}");
    let (get, post, none) = (Method::GET, Method::POST, Value::Null);
    match ask {
        Ask::ExportList => (get, of("exports"), none),
        Ask::ExportGet => (get, of(&format!("exports/{id}")), none),
        Ask::ExportDownload => (get, of(&format!("exports/{id}/content")), none),
        Ask::ExportCreate => (post, of("exports"), json!({})),
        Ask::CorrectionList => (get, of("corrections?limit=1"), none),
        Ask::CorrectionCreate => (post, of("corrections"), json!({"what": "a", "why": "b"})),
        Ask::CorrectionAccept => (post, one("accept"), none),
        Ask::CorrectionDecline => (post, one("decline"), json!({"reason": "no"})),
        Ask::CorrectionDisagree => (post, one("disagree"), json!({"statement": "no"})),
        Ask::CorrectionQueue => (get, "/v1/corrections?state=declined".into(), none),
    }
}
