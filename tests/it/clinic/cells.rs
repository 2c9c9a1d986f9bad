//! Every route asked by every role, of either clinic, in every relation to the record, with
//! every consent and segment: more than 20,000 cells through the real HTTP stack, against
//! [`expected`], which was written from the requirements and not from the policy.

mod expected;
mod fixture;
mod further;
mod machines;
mod officer;
mod tally;
mod whole_record;
mod wider;

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use http::Method;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{World, plain_http};
use expected::{Answer, expected};
use fixture::{Caller, Fixture, Record};
use tally::Tally;

/// Requests under way at once: more than the node has connections to its database.
const AT_ONCE: usize = 16;
/// Cells the requirement asks for.
const CELLS_MIN: usize = 20_000;

/// How the caller stands to the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Relation {
    None,
    Own,
    Host,
    Participant,
    Treating,
    CareTeam,
    Referral,
    BreakGlass,
}

const RELATIONS: [Relation; 8] = [
    Relation::None,
    Relation::Own,
    Relation::Host,
    Relation::Participant,
    Relation::Treating,
    Relation::CareTeam,
    Relation::Referral,
    Relation::BreakGlass,
];

/// What the patient said about treatment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Consent {
    Unasked,
    Granted,
    Withdrawn,
}

const CONSENTS: [Consent; 3] = [Consent::Unasked, Consent::Granted, Consent::Withdrawn];
const SEGMENTS: [&str; 5] = ["general", "part2", "mental_health", "reproductive_health", "hiv"];
const ROLES: [&str; 10] = [
    "patient",
    "clinician",
    "nurse",
    "scheduler",
    "pharmacist",
    "care_coordinator",
    "admin",
    "support",
    "auditor",
    "sre",
];

/// Roles in which nobody may act before their licence is verified.
const LICENSED: [&str; 3] = ["clinician", "nurse", "pharmacist"];

/// A request about one record, chosen so that being let in changes nothing for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Route {
    AppointmentCreate,
    AppointmentGet,
    AppointmentUpdate,
    AppointmentLabel,
    AppointmentCancel,
    VisitGet,
    VisitCheckIn,
    VisitOpen,
    VisitAdmit,
    VisitEnd,
    ParticipantAdd,
    MessageList,
    MessageCreate,
    SignalingCandidates,
    SignalingSession,
}

const ROUTES: [Route; 15] = [
    Route::AppointmentCreate,
    Route::AppointmentGet,
    Route::AppointmentUpdate,
    Route::AppointmentLabel,
    Route::AppointmentCancel,
    Route::VisitGet,
    Route::VisitCheckIn,
    Route::VisitOpen,
    Route::VisitAdmit,
    Route::VisitEnd,
    Route::ParticipantAdd,
    Route::MessageList,
    Route::MessageCreate,
    Route::SignalingCandidates,
    Route::SignalingSession,
];

#[derive(Clone, Copy, Debug)]
struct Cell {
    route: Route,
    role: &'static str,
    is_foreign: bool,
    relation: Relation,
    consent: Consent,
    segment: &'static str,
    /// Has what their role needs, where it needs something.
    is_verified: bool,
}

fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for route in ROUTES {
        for role in ROLES {
            for consent in CONSENTS {
                for segment in SEGMENTS {
                    let cell = |is_foreign, relation| Cell {
                        route,
                        role,
                        is_foreign,
                        relation,
                        consent,
                        segment,
                        is_verified: true,
                    };
                    cells.extend(RELATIONS.map(|relation| cell(false, relation)));
                    cells.push(cell(true, Relation::None));
                }
            }
        }
        // Without a verified licence: in every relation that others can put somebody into.
        for (role, relation) in LICENSED
            .into_iter()
            .flat_map(|role| OTHERS_MAKE.map(|relation| (role, relation)))
        {
            cells.extend(SEGMENTS.map(|segment| Cell {
                route,
                role,
                is_foreign: false,
                relation,
                consent: Consent::Unasked,
                segment,
                is_verified: false,
            }));
        }
    }
    cells
}

/// Relations somebody comes into by what others do.
const OTHERS_MAKE: [Relation; 6] = [
    Relation::None,
    Relation::Participant,
    Relation::Treating,
    Relation::CareTeam,
    Relation::Referral,
    Relation::BreakGlass,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_cells_are_as_the_requirements_say() {
    let world = World::new().await;
    let fixture = Fixture::build(&world).await;
    let summary = Box::pin(proved_throughout(&world, all_cells(&world, &fixture))).await;
    println!("{summary}");
}

/// Asks all of them; how many, and how fast.
async fn all_cells(world: &World, fixture: &Fixture) -> String {
    let (cells, http, started) = (cells(), plain_http(), Instant::now());
    assert!(cells.len() >= CELLS_MIN, "{}", cells.len());
    let outcomes = futures::stream::iter(&cells).map(|cell| {
        let (http, url) = (&http, world.node.url());
        async move {
            let record = fixture.record(cell);
            let caller = fixture.caller(cell);
            let status = send(http, &url, cell, record, By::Person(caller)).await;
            (cell, status)
        }
    });
    let mut tally = Tally::default();
    let mut outcomes = std::pin::pin!(outcomes.buffer_unordered(AT_ONCE));
    while let Some((cell, status)) = outcomes.next().await {
        tally.count(status, expected(cell), cell);
    }
    let mut wrong = tally.wrong(500);
    let mut asked = cells.len();
    let (more, differing) = wider::check(&http, &world.node.url(), fixture).await;
    (asked, wrong) = (asked + more, [wrong, differing].concat());
    let (more, differing) = further::check(&http, &world.node.url(), fixture).await;
    (asked, wrong) = (asked + more, [wrong, differing].concat());
    let (more, differing) = machines::check(&http, world, fixture).await;
    (asked, wrong) = (asked + more, [wrong, differing].concat());
    let (more, differing) = whole_record::check(&http, world, fixture).await;
    (asked, wrong) = (asked + more, [wrong, differing].concat());
    // Last, because what the office opens is nobody's in the other cells.
    let (more, differing) = officer::check(&http, world, fixture).await;
    (asked, wrong) = (asked + more, [wrong, differing].concat());
    let seconds = started.elapsed().as_secs_f64();
    let shown: Vec<_> = wrong.iter().take(20).collect();
    assert!(wrong.is_empty(), "{} cells differ, e.g. {shown:#?}", wrong.len());
    format!(
        "{asked} cells in {seconds:.1} s, {:.0} a second",
        asked as f64 / seconds
    )
}

/// A fifth of the time a proof is good for: one that is renewed late is still good.
const PROVE_EVERY: Duration = Duration::from_secs(60);

/// Does the work while everybody's proof stays fresh and nobody's token is changed: how long ago somebody
/// proved themselves is not what is asked here, however slow the machine.
async fn proved_throughout<T>(world: &World, work: impl Future<Output = T>) -> T {
    let mut admin = world.admin().await;
    let mut due = tokio::time::interval(PROVE_EVERY);
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = due.tick() => prove_again(&mut admin).await,
        }
    }
}

async fn prove_again(admin: &mut PgConnection) {
    sqlx::query("UPDATE session SET authenticated_at = now(), seen_at = now(), rotated_at = now()")
        .execute(admin)
        .await
        .unwrap();
}

/// Anything but a denial is being let in: the request is made so that it then fails on its
/// content, or reads.
fn answer(status: u16) -> Answer {
    match status {
        403 => Answer::Forbidden,
        404 => Answer::NotThere,
        401 | 429 | 500.. => Answer::Broken,
        _ => Answer::Allowed,
    }
}

async fn send(http: &reqwest::Client, url: &str, cell: &Cell, record: &Record, caller: By<'_>) -> u16 {
    let (appointment, visit) = (record.appointment, record.visit);
    // A version nobody has: whoever is let in is told that it does not match.
    let no_version = Some(("if-match", "\"999999\"".to_owned()));
    let key = Some(("idempotency-key", Uuid::new_v4().to_string()));
    let visit_path = |tail: &str| format!("/v1/visits/{visit}{tail}");
    let appointment_path = format!("/v1/appointments/{appointment}");
    let (method, path, header, body) = match cell.route {
        Route::AppointmentCreate => (
            Method::POST,
            "/v1/appointments".to_owned(),
            key,
            past_booking(cell, record),
        ),
        Route::AppointmentGet => (Method::GET, appointment_path, None, Value::Null),
        Route::AppointmentUpdate => (Method::PATCH, appointment_path, no_version, json!({})),
        Route::AppointmentLabel => (
            Method::PATCH,
            appointment_path,
            no_version,
            json!({"segment": "hiv"}),
        ),
        Route::AppointmentCancel => (
            Method::POST,
            format!("{appointment_path}/cancel"),
            no_version,
            json!({}),
        ),
        Route::VisitGet => (Method::GET, visit_path(""), None, Value::Null),
        // Days before anything may begin.
        Route::VisitCheckIn => (Method::POST, visit_path("/check-in"), None, Value::Null),
        Route::VisitOpen => (Method::POST, visit_path("/open"), None, Value::Null),
        Route::VisitAdmit => (
            Method::POST,
            visit_path("/admit"),
            None,
            json!({"participant_id": Uuid::now_v7()}),
        ),
        Route::VisitEnd => (Method::POST, visit_path("/end"), None, Value::Null),
        Route::ParticipantAdd => (
            Method::POST,
            visit_path("/participants"),
            key,
            json!({"person_id": Uuid::now_v7()}),
        ),
        Route::MessageList => (Method::GET, visit_path("/messages"), None, Value::Null),
        Route::MessageCreate => (
            Method::POST,
            visit_path("/messages"),
            key,
            json!({"body": "hello"}),
        ),
        Route::SignalingCandidates => (
            Method::GET,
            format!("/v1/signaling/candidates?visit_id={visit}"),
            None,
            Value::Null,
        ),
        Route::SignalingSession => (
            Method::POST,
            "/v1/signaling/session".to_owned(),
            None,
            json!({"visit_id": visit, "probes": [], "key": super::visit::key()}),
        ),
    };
    let mut request = http.request(method, format!("{url}{path}"));
    request = match caller {
        By::Person(caller) => request
            .header("cookie", &caller.cookie)
            .header("x-csrf-token", &caller.csrf),
        By::Machine(token) => request.bearer_auth(token),
    };
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    if !body.is_null() {
        request = request.json(&body);
    }
    request.send().await.unwrap().status().as_u16()
}

/// Who sends a request.
#[derive(Clone, Copy)]
enum By<'a> {
    Person(&'a Caller),
    Machine(&'a str),
}

/// A time that has passed, so that nothing is booked.
fn past_booking(cell: &Cell, record: &Record) -> Value {
    json!({
        "patient_id": record.patient,
        "clinician_id": record.clinician,
        "starts_at": "2020-01-01T10:00:00Z",
        "ends_at": "2020-01-01T10:30:00Z",
        "segment": cell.segment,
    })
}
