//! The idle lock comes though pages look by themselves, and looking by themselves does not fill
//! anybody's audit log.

use medmesh_api_client::{Clinic, IdempotencyKey};
use medmesh_api_types::appointment::AppointmentUpdate;
use medmesh_api_types::session::BACKGROUND_HEADER;
use medmesh_api_types::visit::{ParticipantState, VisitEventsQuery, VisitPulse, VisitQuery};
use medmesh_base::{PersonId, VisitId};
use medmesh_clinic::OVERRUN_MAX;
use medmesh_store::SESSION_IDLE;
use reqwest::{Method, Response};
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::live::{PATIENCE, next_message, next_visit, say};
use super::{World, plain_http};

/// Somebody at a browser, whose requests are made by hand.
struct Page<'a> {
    world: &'a World,
    http: reqwest::Client,
    cookie: String,
    csrf: String,
}

impl<'a> Page<'a> {
    async fn of(world: &'a World, login: &str) -> Self {
        let (cookie, csrf) = world.credentials(login).await;
        Self {
            world,
            http: plain_http(),
            cookie,
            csrf,
        }
    }

    async fn send(&self, method: Method, path: &str, background: Option<&str>) -> Response {
        let url = format!("{}{path}", self.world.node.url());
        let mut request = self
            .http
            .request(method, url)
            .header("cookie", &self.cookie)
            .header("x-csrf-token", &self.csrf);
        if let Some(value) = background {
            request = request.header(BACKGROUND_HEADER, value);
        }
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str, background: Option<&str>) -> u16 {
        self.send(Method::GET, path, background).await.status().as_u16()
    }
}

/// As if nobody had touched anything for so long.
async fn pass(world: &World, idle: Duration) {
    sqlx::query("UPDATE session SET seen_at = now() - make_interval(secs => $1)")
        .bind(idle.as_seconds_f64())
        .execute(&mut world.admin().await)
        .await
        .unwrap();
}

/// So long that the lock is a minute away.
const NEARLY: Duration = SESSION_IDLE.saturating_sub(Duration::minutes(1));

#[tokio::test]
async fn what_a_page_asks_by_itself_does_not_keep_a_session_from_its_lock() {
    let world = World::new().await;
    let visit = world.booked_now().await.visit_id;
    let page = Page::of(&world, "patient").await;
    let (visit, list) = (format!("/v1/visits/{visit}"), "/v1/visits/pulses");

    pass(&world, NEARLY).await;
    for path in [list, "/v1/visits", &visit, "/v1/auth/session"] {
        assert_eq!(page.get(path, Some("1")).await, 200, "{path}: it still lives");
        assert!(!patient_is_seen(&world).await, "{path}");
    }
    // A stream that a page opens is no person either.
    let stream = page
        .send(Method::GET, &format!("{visit}/events"), Some("1"))
        .await;
    assert_eq!(stream.status(), 200);
    drop(stream);
    assert!(!patient_is_seen(&world).await);
    // What is no value of the header is refused, and nothing is noted.
    assert_eq!(page.get(list, Some("yes")).await, 400);
    assert!(!patient_is_seen(&world).await);

    // A person's request does count, and so does whatever changes something, whatever is said.
    assert_eq!(page.get(list, None).await, 200);
    assert!(patient_is_seen(&world).await);
    pass(&world, NEARLY).await;
    let act = page
        .send(Method::POST, &format!("{visit}/check-in"), Some("1"))
        .await;
    assert_eq!(act.status(), 200);
    assert!(patient_is_seen(&world).await);

    pass(&world, SESSION_IDLE).await;
    for background in [Some("1"), None] {
        let refusal = page.send(Method::GET, list, background).await;
        assert_eq!(refusal.status(), 401);
        let problem: Value = refusal.json().await.unwrap();
        assert_eq!(problem["code"], "unauthenticated");
    }
    assert_eq!(page.get("/v1/visits", None).await, 401, "and it stays locked");
}

/// Whoever only listens touches nothing; whoever merely has the page open is idle.
#[tokio::test]
async fn a_conversation_and_the_waiting_room_keep_a_session_and_an_open_page_does_not() {
    let world = World::new().await;
    let id = world.booked_now().await.visit_id;
    let (patient, clinician) = (
        world.signed_in("patient").await,
        world.signed_in("clinician").await,
    );
    clinician.visit_open(id).await.unwrap();
    let mut events = patient.visit_events(id, None).await.unwrap();
    next_visit(&mut events, PATIENCE).await;

    // The visit is open and the page follows it, but nobody is there. Every message wakes the
    // stream, which then looks at its session.
    for (state, keeps) in [
        (ParticipantState::Expected, false),
        (ParticipantState::Waiting, true),
        (ParticipantState::InCall, true),
        (ParticipantState::Left, false),
        (ParticipantState::Waiting, true),
    ] {
        place(&world, id, state).await;
        while next_visit(&mut events, PATIENCE).await.participants[0].state != state {}
        pass(&world, NEARLY).await;
        let said = say(&clinician, id, "can you hear me?").await;
        assert_eq!(next_message(&mut events, PATIENCE).await, said);
        assert_eq!(patient_is_seen(&world).await, keeps, "{state:?}");
    }
    // A stream that comes again and has nothing to read knows it, too.
    let known = VisitEventsQuery {
        seen: Some(patient.visit_get(id).await.unwrap().version),
    };
    let last = say(&clinician, id, "one moment").await;
    let mut events = patient
        .visit_events_after(id, Some(last.id), known)
        .await
        .unwrap();
    pass(&world, NEARLY).await;
    let said = say(&clinician, id, "I am looking").await;
    assert_eq!(next_message(&mut events, PATIENCE).await, said);
    assert!(patient_is_seen(&world).await);

    // Waiting has its end: when nobody gets in any more.
    let long_ago = OffsetDateTime::now_utc() - OVERRUN_MAX - Duration::hours(1);
    sqlx::query("UPDATE appointment SET starts_at = $1, ends_at = $1 + interval '30 minutes'")
        .bind(long_ago)
        .execute(&mut world.admin().await)
        .await
        .unwrap();
    touch(&world, id).await;
    next_visit(&mut events, PATIENCE).await;
    pass(&world, NEARLY).await;
    let said = say(&clinician, id, "is anybody there?").await;
    assert_eq!(next_message(&mut events, PATIENCE).await, said);
    assert!(!patient_is_seen(&world).await);
    drop(events);
    world.node.stop().await;
}

/// The media plane says where the patient is.
async fn place(world: &World, visit: VisitId, state: ParticipantState) {
    let word = serde_json::to_value(state).unwrap();
    sqlx::query("UPDATE visit_participant SET state = $2 WHERE visit_id = $1 AND role = 'patient'")
        .bind(visit.as_uuid())
        .bind(word.as_str())
        .execute(&mut world.admin().await)
        .await
        .unwrap();
    touch(world, visit).await;
}

async fn touch(world: &World, visit: VisitId) {
    sqlx::query("UPDATE visit SET version = version + 1 WHERE id = $1")
        .bind(visit.as_uuid())
        .execute(&mut world.admin().await)
        .await
        .unwrap();
}

/// Whether the patient's session was used within the last seconds.
async fn patient_is_seen(world: &World) -> bool {
    sqlx::query_scalar(
        "SELECT bool_or(seen_at > now() - interval '1 minute') FROM session WHERE person_id = $1",
    )
    .bind(world.clinic.person("patient").as_uuid())
    .fetch_one(&mut world.admin().await)
    .await
    .unwrap()
}

async fn reads(world: &World, patient: PersonId) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM audit WHERE action = 'visit_read' AND patient_id = $1")
        .bind(patient.as_uuid())
        .fetch_one(&mut world.admin().await)
        .await
        .unwrap()
}

async fn pulses(client: &Clinic, query: &VisitQuery) -> Vec<VisitPulse> {
    client.visit_pulses(query).await.unwrap().items
}

#[tokio::test]
async fn a_hundred_looks_without_news_leave_one_leaf_and_news_one_more() {
    let world = World::new().await;
    let booked = world.booked_now().await;
    let (clinician, patient) = (
        world.signed_in("clinician").await,
        world.signed_in("patient").await,
    );
    let other = world.booking("second", "clinician", 40);
    let key = IdempotencyKey::fresh();
    clinician.appointment_create(&key, &other).await.unwrap();
    let people = [world.clinic.person("patient"), world.clinic.person("second")];
    let leaves = async || [reads(&world, people[0]).await, reads(&world, people[1]).await];
    // The clinic's day; near midnight the second visit is of the next.
    let day = (booked.starts_at + Duration::hours(1)).date().to_string();
    let query = VisitQuery { day: Some(day) };

    let before = pulses(&clinician, &query).await;
    assert_eq!(leaves().await, [0, 0], "a pulse tells of nobody");
    let listed = clinician.visit_list(&query).await.unwrap().items;
    let order: Vec<_> = listed.iter().map(|visit| visit.id).collect();
    assert_eq!(before.iter().map(|pulse| pulse.id).collect::<Vec<_>>(), order);
    let read_once = [1, i64::from(listed.len() == 2)];
    assert_eq!(leaves().await, read_once);
    for _ in 0..100 {
        assert_eq!(pulses(&clinician, &query).await, before);
    }
    assert_eq!(leaves().await, read_once);

    // Whatever the list shows of a visit moves its pulse, and no other's.
    let mut seen = before;
    for step in ["check in", "move", "open", "add"] {
        match step {
            "check in" => drop(patient.visit_check_in(booked.visit_id).await.unwrap()),
            "move" => {
                let update = AppointmentUpdate {
                    ends_at: Some(booked.ends_at + Duration::MINUTE),
                    ..AppointmentUpdate::default()
                };
                let moved = clinician.appointment_update(booked.id, 1, &update).await;
                assert_eq!(moved.unwrap().version, 2);
            }
            "open" => drop(clinician.visit_open(booked.visit_id).await.unwrap()),
            _ => {
                let (key, whom) = (IdempotencyKey::fresh(), world.clinic.person("colleague"));
                let added = clinician.participant_add(&key, booked.visit_id, whom).await;
                assert_eq!(added.unwrap().participants.len(), 3);
            }
        }
        let next = pulses(&clinician, &query).await;
        let changed: Vec<_> = next.iter().filter(|pulse| !seen.contains(pulse)).collect();
        assert_eq!(changed.len(), 1, "{step}");
        let (now, old) = (changed[0], seen.iter().find(|old| old.id == booked.visit_id));
        assert!(
            now.id == booked.visit_id && now.pulse > old.unwrap().pulse,
            "{step}"
        );
        let read_before = leaves().await;
        clinician.visit_get(now.id).await.unwrap();
        assert_eq!(leaves().await, [read_before[0] + 1, read_before[1]], "{step}");
        seen = next;
    }

    // Nobody sees the pulse of a visit they take no part in.
    let stranger = world.signed_in("second").await;
    let theirs = pulses(&stranger, &query).await;
    assert!(theirs.iter().all(|pulse| pulse.id != booked.visit_id));
}
