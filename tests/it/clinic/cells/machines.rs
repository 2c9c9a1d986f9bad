//! The same question for the clinic's machines: every operation of the description by every scope of
//! either clinic, and the records' routes by scope, clinic, segment and consent.
//!
//! [`opened_by`] is written from the requirements; it shares nothing with the policy.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use medmesh_base::ClinicId;
use medmesh_control::http::openapi;
use medmesh_store::AccessToken;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::expected::Answer;
use super::fixture::Fixture;
use super::{AT_ONCE, By, CONSENTS, Cell, ROUTES, Relation, Route, SEGMENTS, answer, send};
use crate::clinic::World;

/// Every scope there is, and what it opens: nothing else is open to a machine.
const SCOPES: [(&str, &[&str]); 6] = [
    ("system/Appointment.rs", &["appointment_list", "appointment_get"]),
    (
        "system/Appointment.cu",
        &["appointment_create", "appointment_update", "appointment_cancel"],
    ),
    ("system/Patient.s", &["patient_search"]),
    ("system/Person.rs", &["person_list"]),
    ("system/CareTeam.rs", &["care_team_list"]),
    (
        "system/AuditEvent.rs",
        &[
            "audit_list",
            "audit_prove",
            "audit_head_get",
            "audit_consistency_get",
        ],
    ),
];
/// Stands for a machine with all of them.
const ALL: &str = "all";

fn opened_by(scope: &str) -> Vec<&'static str> {
    let opening = SCOPES.iter().filter(|(known, _)| scope == ALL || *known == scope);
    opening.flat_map(|(_, opened)| opened.iter().copied()).collect()
}

/// A machine with a token.
struct Machine {
    scope: &'static str,
    is_foreign: bool,
    token: String,
}

/// Rows written past the service: a machine, a key nobody has, and a token.
async fn machine(
    admin: &mut PgConnection,
    clinic: ClinicId,
    is_foreign: bool,
    scope: &'static str,
) -> Machine {
    let scopes: Vec<&str> = match scope {
        ALL => SCOPES.iter().map(|(scope, _)| *scope).collect(),
        one => vec![one],
    };
    let (token, client, key) = (AccessToken::generate().expose(), Uuid::now_v7(), Uuid::now_v7());
    let encoded = token
        .trim_start_matches("mm_at_")
        .replace('-', "+")
        .replace('_', "/");
    sqlx::query(
        "WITH client AS (INSERT INTO oauth_client (clinic_id, id, name, scopes, created_by, created_at)
             SELECT $1, $2, 'a system', $4, p.id, now() FROM person p WHERE p.clinic_id = $1 LIMIT 1),
         key AS (INSERT INTO oauth_client_key (clinic_id, id, client_id, kid, jwk, added_at)
             VALUES ($1, $3, $2, 'none', '{}', now()))
         INSERT INTO oauth_token (clinic_id, id, client_id, key_id, token_sha256, scopes, created_at, expires_at)
         VALUES ($1, gen_random_uuid(), $2, $3, sha256(decode($5 || '=', 'base64')), $4, now(), now() + interval '1 day')",
    )
    .bind(clinic.as_uuid())
    .bind(client)
    .bind(key)
    .bind(scopes)
    .bind(encoded)
    .execute(admin)
    .await
    .unwrap();
    Machine {
        scope,
        is_foreign,
        token,
    }
}

/// One operation with a path that names nothing, and a body that will do.
struct Operation {
    id: String,
    method: reqwest::Method,
    path: String,
}

/// What asks who it is.
fn operations() -> Vec<Operation> {
    let api = serde_json::to_value(openapi::clinic()).unwrap();
    let mut all = Vec::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, value) in item.as_object().unwrap() {
            if value.get("x-medmesh-action").is_some() {
                let parts = path.split('/').map(|part| match part.starts_with('{') {
                    true => "01890000-0000-7000-8000-000000000000",
                    false => part,
                });
                all.push(Operation {
                    id: value["operationId"].as_str().unwrap().to_owned(),
                    method: method.to_uppercase().parse().unwrap(),
                    path: parts.collect::<Vec<_>>().join("/"),
                });
            }
        }
    }
    assert!(all.len() > 60, "the description was read: {}", all.len());
    all
}

/// Asks everything; gives how many cells there were and those that differ.
pub(super) async fn check(http: &reqwest::Client, world: &World, fixture: &Fixture) -> (usize, Vec<String>) {
    let mut admin = world.admin().await;
    let mut machines = Vec::new();
    for (is_foreign, clinic) in [(false, fixture.clinics[0]), (true, fixture.clinics[1])] {
        for scope in SCOPES.iter().map(|(scope, _)| *scope).chain([ALL]) {
            machines.push(machine(&mut admin, clinic, is_foreign, scope).await);
        }
    }
    let url = world.node.url();
    let (routes, mut wrong) = every_operation(http, &url, &machines).await;
    let (records, differing) = every_record(http, &url, &machines, fixture).await;
    wrong.extend(differing);
    (routes + records, wrong)
}

async fn every_operation(http: &reqwest::Client, url: &str, machines: &[Machine]) -> (usize, Vec<String>) {
    let operations = operations();
    let cells: Vec<_> = machines
        .iter()
        .flat_map(|machine| operations.iter().map(move |operation| (machine, operation)))
        .collect();
    let asked = futures::stream::iter(&cells).map(|(machine, operation)| async move {
        let Operation { method, path, .. } = operation;
        let mut request = http
            .request(method.clone(), format!("{url}{path}"))
            .bearer_auth(&machine.token)
            .header("if-match", "\"999999\"")
            .header("idempotency-key", Uuid::new_v4().to_string());
        if *method != reqwest::Method::GET {
            request = request.json(&body(&operation.id));
        }
        (
            machine,
            operation,
            request.send().await.unwrap().status().as_u16(),
        )
    });
    let (mut wrong, mut let_in) = (Vec::new(), BTreeMap::<&str, usize>::new());
    let mut asked = std::pin::pin!(asked.buffer_unordered(AT_ONCE));
    while let Some((machine, operation, status)) = asked.next().await {
        let id = operation.id.as_str();
        let is_open = opened_by(machine.scope).contains(&id);
        // What is let in then reads, or fails on its content, or on what is not there.
        let is_as_expected = match answer(status) {
            Answer::Forbidden => !is_open,
            Answer::Broken => false,
            Answer::Allowed | Answer::NotThere => is_open,
        };
        if is_as_expected {
            *let_in.entry(id).or_default() += usize::from(is_open);
        } else {
            let Machine {
                scope, is_foreign, ..
            } = machine;
            wrong.push(format!("{status} of {id} for {scope}, foreign {is_foreign}"));
        }
    }
    let opened = let_in.values().filter(|count| **count == 4).count();
    assert!(opened == opened_by(ALL).len() || !wrong.is_empty(), "{let_in:?}");
    (cells.len(), wrong)
}

/// A body that is read before it is found that nothing is there, or that fails by itself.
fn body(operation: &str) -> Value {
    match operation {
        "appointment_create" => json!({
            "patient_id": Uuid::now_v7(), "clinician_id": Uuid::now_v7(),
            "starts_at": "2020-01-01T10:00:00Z", "ends_at": "2020-01-01T10:30:00Z",
        }),
        "patient_search" => json!({"q": "nobody at all"}),
        _ => json!({}),
    }
}

async fn every_record(
    http: &reqwest::Client,
    url: &str,
    machines: &[Machine],
    fixture: &Fixture,
) -> (usize, Vec<String>) {
    let mut cells = Vec::new();
    for machine in machines {
        for route in ROUTES {
            for consent in CONSENTS {
                cells.extend(SEGMENTS.map(|segment| {
                    let cell = Cell {
                        route,
                        role: "machine",
                        is_foreign: machine.is_foreign,
                        relation: Relation::None,
                        consent,
                        segment,
                        is_verified: true,
                    };
                    (machine, cell)
                }));
            }
        }
    }
    let asked = futures::stream::iter(&cells).map(|(machine, cell)| async move {
        let record = fixture.record(cell);
        let status = send(http, url, cell, record, By::Machine(&machine.token)).await;
        (machine, cell, status)
    });
    let mut wrong = Vec::new();
    let mut asked = std::pin::pin!(asked.buffer_unordered(AT_ONCE));
    while let Some((machine, cell, status)) = asked.next().await {
        let (given, wanted) = (answer(status), expected(machine, cell.route));
        if given != wanted {
            wrong.push(format!(
                "{status} instead of {wanted:?}: {} {cell:?}",
                machine.scope
            ));
        }
    }
    (cells.len(), wrong)
}

/// Segment and consent play no part: a machine sees who and when, as the desk does, and never why.
fn expected(machine: &Machine, route: Route) -> Answer {
    let operation = match route {
        Route::AppointmentCreate => "appointment_create",
        Route::AppointmentGet => "appointment_get",
        Route::AppointmentUpdate => "appointment_update",
        Route::AppointmentCancel => "appointment_cancel",
        // Which part of a record it is, and all of a visit, is for people.
        _ => return Answer::Forbidden,
    };
    let is_open = opened_by(machine.scope).contains(&operation);
    match (is_open, machine.is_foreign) {
        (false, _) => Answer::Forbidden,
        // Booking names people by id before anything is known of them.
        (true, true) if route != Route::AppointmentCreate => Answer::NotThere,
        (true, _) => Answer::Allowed,
    }
}
