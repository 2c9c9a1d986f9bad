//! Two clinics on a few connections: whatever becomes of the requests before, nobody sees a row of
//! the other.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use medmesh_api_client::IdempotencyKey;
use medmesh_api_types::appointment::{AppointmentCreate, Segment};
use medmesh_base::Phi;
use medmesh_tests::control::{TestClinic, Wishes};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{World, plain_http};

/// Fewer than there are requests at once: each connection serves both clinics in turn.
const CONNECTIONS: u32 = 4;
/// Requests under way.
const AT_ONCE: usize = 32;
/// Requests in all, of both clinics.
const REQUESTS: u64 = 3_000;
/// Longest life of a request that is to be given up: somewhere in its transaction.
const PATIENCE_MICROS_MAX: u64 = 12_000;

/// One side: who asks, for what, and the words that only its people may see.
struct Side {
    cookies: [(String, String); 3],
    visit: String,
    appointment: String,
    own_words: Vec<String>,
}

async fn side(world: &World, clinic: &TestClinic) -> Side {
    let clinician = world.node.signed_in_as(clinic, "clinician").await;
    let starts_at = OffsetDateTime::now_utc() + time::Duration::minutes(1);
    let booking = AppointmentCreate {
        patient_id: clinic.person("patient"),
        clinician_id: clinic.person("clinician"),
        starts_at,
        ends_at: starts_at + time::Duration::minutes(30),
        reason: Some(Phi::new(format!("the {} secret", clinic.name))),
        segment: Segment::General,
    };
    let booked = clinician
        .appointment_create(&IdempotencyKey::fresh(), &booking)
        .await
        .unwrap();
    clinician.visit_open(booked.visit_id).await.unwrap();
    let message = format!("said at {}", clinic.name);
    clinician
        .message_create(&IdempotencyKey::fresh(), booked.visit_id, &message)
        .await
        .unwrap();
    let mut cookies = Vec::new();
    for login in ["admin", "clinician", "patient"] {
        let client = world.node.signed_in_as(clinic, login).await;
        let csrf = client.session().await.unwrap().csrf_token.expose().to_owned();
        let name = medmesh_api_types::session::SESSION_COOKIE;
        cookies.push((format!("{name}={}", client.cookie().unwrap().expose()), csrf));
    }
    let people = ["admin", "clinician", "colleague", "patient", "second", "third"];
    let mut own_words: Vec<String> = people
        .iter()
        .map(|login| clinic.person(login).to_string())
        .collect();
    own_words.extend([
        clinic.id.to_string(),
        clinic.name.to_owned(),
        booked.id.to_string(),
        booked.visit_id.to_string(),
    ]);
    Side {
        cookies: cookies.try_into().unwrap(),
        visit: booked.visit_id.to_string(),
        appointment: booked.id.to_string(),
        own_words,
    }
}

/// One request of `own`, chosen by `n`; gives its status and what it said, if it was waited for.
async fn ask(http: &reqwest::Client, url: &str, own: &Side, other: &Side, n: u64) -> Option<(u16, String)> {
    let mut rng = StdRng::seed_from_u64(n);
    let who = &own.cookies[rng.random_range(0..3)];
    let get = |path: String| http.get(format!("{url}{path}"));
    let visit = &own.visit;
    let request = match rng.random_range(0..12) {
        0 => get("/v1/people".into()),
        1 => get("/v1/appointments".into()),
        2 => get(format!("/v1/visits/{visit}")),
        3 => get(format!("/v1/visits/{visit}/messages")),
        4 => get("/v1/visits".into()),
        // Not the audit log: it tells a clinic of the foreign ids that its own people asked for.
        5 => get("/v1/people?role=patient".into()),
        // What is not theirs, and what is not at all: errors after the transaction began.
        6 => get(format!("/v1/visits/{}", other.visit)),
        7 => get(format!("/v1/appointments/{}", other.appointment)),
        8 => get(format!("/v1/visits/{}/messages", Uuid::now_v7())),
        9 => http
            .patch(format!("{url}/v1/appointments/{}", own.appointment))
            .header("if-match", "\"999999\"")
            .json(&json!({"reason": "another"})),
        10 => http
            .post(format!("{url}/v1/patients/search"))
            .json(&json!({"q": "Paula"})),
        _ => http
            .post(format!("{url}/v1/visits/{visit}/messages"))
            .header("idempotency-key", Uuid::new_v4().to_string())
            .json(&json!({"body": "one more"})),
    };
    let answer = async {
        let answer = request
            .header("cookie", &who.0)
            .header("x-csrf-token", &who.1)
            .send()
            .await;
        let answer = answer.unwrap();
        let status = answer.status().as_u16();
        (status, answer.text().await.unwrap())
    };
    if rng.random_bool(0.3) {
        // Given up on the way: the connection closes, and the node lets go of the transaction.
        let patience = Duration::from_micros(rng.random_range(0..PATIENCE_MICROS_MAX));
        tokio::time::timeout(patience, answer).await.ok()
    } else {
        Some(answer.await)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clinics_that_share_connections_share_nothing_else() {
    let world = World::with(&Wishes {
        max_connections: Some(CONNECTIONS),
        ..Wishes::default()
    })
    .await;
    let hillside = TestClinic::open(&world.scratch, "hillside").await;
    let sides = [side(&world, &world.clinic).await, side(&world, &hillside).await];
    let (http, url) = (plain_http(), world.node.url());
    let outcomes = futures::stream::iter(0..REQUESTS).map(|n| {
        let (http, url, sides) = (&http, &url, &sides);
        async move {
            let own = usize::from(n % 2 == 1);
            let answer = ask(http, url, &sides[own], &sides[1 - own], n).await;
            (n, own, answer)
        }
    });
    let mut outcomes = std::pin::pin!(outcomes.buffer_unordered(AT_ONCE));
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    let mut given_up = 0;
    while let Some((n, own, answer)) = outcomes.next().await {
        let Some((status, said)) = answer else {
            given_up += 1;
            continue;
        };
        *statuses.entry(status).or_default() += 1;
        let foreign = &sides[1 - own].own_words;
        let leak = foreign.iter().find(|word| said.contains(word.as_str()));
        assert!(leak.is_none(), "request {n} was told {leak:?}: {said}");
    }
    println!("{REQUESTS} requests, {given_up} given up: {statuses:?}");
    assert!(given_up > 50, "{given_up}");
    for (status, least) in [(200, 200), (404, 100), (412, 20), (403, 50)] {
        let seen = statuses.get(&status).copied().unwrap_or_default();
        assert!(seen >= least, "{status}: {statuses:?}");
    }
    world.node.stop().await;
}
