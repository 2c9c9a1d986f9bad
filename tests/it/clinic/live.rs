//! Chat and the stream of events: durable, in order, without loss, within a second.

use std::time::Duration;

use medmesh_api_client::{Clinic, Events, IdempotencyKey};
use medmesh_api_types::message::{Message, MessageQuery};
use medmesh_api_types::visit::{Visit, VisitEvent, VisitEventsQuery, VisitState};
use medmesh_base::{ProblemCode, VisitId};
use medmesh_tests::control::Wishes;
use tokio::time::timeout;

use super::{World, refused};

/// What the issue allows from sent to seen.
pub(super) const DELIVERY_MAX: Duration = Duration::from_secs(1);
/// For what has no such promise.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn say(client: &Clinic, visit: VisitId, text: &str) -> Message {
    client
        .message_create(&IdempotencyKey::fresh(), visit, text)
        .await
        .unwrap()
}

pub(super) async fn next_message(events: &mut Events, within: Duration) -> Message {
    let found = async {
        loop {
            match events.next().await.unwrap().expect("the stream goes on") {
                VisitEvent::Message(message) => return *message,
                VisitEvent::Visit(_) | VisitEvent::Ping => {}
            }
        }
    };
    timeout(within, found).await.expect("a message arrives in time")
}

pub(super) async fn next_visit(events: &mut Events, within: Duration) -> Visit {
    let found = async {
        loop {
            match events.next().await.unwrap().expect("the stream goes on") {
                VisitEvent::Visit(visit) => return *visit,
                VisitEvent::Message(_) | VisitEvent::Ping => {}
            }
        }
    };
    timeout(within, found).await.expect("the visit arrives in time")
}

#[tokio::test]
async fn a_stream_says_the_visit_its_changes_and_its_messages() {
    let world = World::new().await;
    let id = world.booked_now().await.visit_id;
    let (clinician, patient) = (
        world.signed_in("clinician").await,
        world.signed_in("patient").await,
    );
    let mut events = patient.visit_events(id, None).await.unwrap();
    assert_eq!(
        next_visit(&mut events, PATIENCE).await.state,
        VisitState::Scheduled
    );
    clinician.visit_open(id).await.unwrap();
    assert_eq!(
        next_visit(&mut events, DELIVERY_MAX).await.state,
        VisitState::Open
    );
    let sent = say(&clinician, id, "Can you hear me?").await;
    assert_eq!(next_message(&mut events, DELIVERY_MAX).await, sent);
    drop(events);
    world.node.stop().await;
}

#[tokio::test]
async fn a_stream_resumes_after_the_last_message_seen_without_loss_or_repeat() {
    let world = World::new().await;
    let id = world.booked_now().await.visit_id;
    let (clinician, patient) = (
        world.signed_in("clinician").await,
        world.signed_in("patient").await,
    );
    let mut sent = Vec::new();
    for n in 0..60 {
        sent.push(say(&clinician, id, &format!("message {n}")).await);
    }
    let mut events = patient.visit_events(id, None).await.unwrap();
    for expected in &sent[..10] {
        assert_eq!(next_message(&mut events, PATIENCE).await, *expected);
    }
    drop(events);
    let mut events = patient.visit_events(id, Some(sent[9].id)).await.unwrap();
    for expected in &sent[10..] {
        assert_eq!(next_message(&mut events, PATIENCE).await, *expected);
    }
    let last = say(&patient, id, "thank you").await;
    assert_eq!(next_message(&mut events, DELIVERY_MAX).await, last);
    let listed = patient
        .message_list(
            id,
            &MessageQuery {
                after: Some(sent[57].id),
                limit: Some(2),
            },
        )
        .await
        .unwrap();
    assert_eq!(listed.items, sent[58..]);
}

/// How often the patient's own portal left an entry for a visit, and for messages.
async fn readings(world: &World) -> (i64, i64) {
    sqlx::query_as(
        "SELECT count(*) FILTER (WHERE action = 'visit_read'), count(*) FILTER (WHERE action = 'message_read')
         FROM audit WHERE actor_id = $1",
    )
    .bind(world.clinic.person("patient").as_uuid())
    .fetch_one(&mut world.admin().await)
    .await
    .unwrap()
}

#[tokio::test]
async fn what_a_stream_reads_is_one_entry_and_coming_again_without_news_is_none() {
    let world = World::new().await;
    let id = world.booked_now().await.visit_id;
    let (clinician, patient) = (
        world.signed_in("clinician").await,
        world.signed_in("patient").await,
    );
    let said = say(&clinician, id, "Can you hear me?").await;
    // All a page needs when it opens: the visit and what was said, each read once.
    let mut events = patient.visit_events(id, None).await.unwrap();
    let visit = next_visit(&mut events, PATIENCE).await;
    assert_eq!(next_message(&mut events, PATIENCE).await, said);
    assert_eq!(readings(&world).await, (1, 1));
    drop(events);
    // It comes again and again, as over a bad network: whoever is let in is answered after the look.
    let known = VisitEventsQuery {
        seen: Some(visit.version),
    };
    for _ in 0..3 {
        drop(
            patient
                .visit_events_after(id, Some(said.id), known)
                .await
                .unwrap(),
        );
    }
    assert_eq!(readings(&world).await, (1, 1), "nothing was read");
    // News are read, and only they.
    let more = say(&clinician, id, "Hello?").await;
    let mut events = patient
        .visit_events_after(id, Some(said.id), known)
        .await
        .unwrap();
    let first = timeout(PATIENCE, events.next()).await.unwrap().unwrap();
    assert_eq!(first, Some(VisitEvent::Message(Box::new(more.clone()))));
    assert_eq!(readings(&world).await, (1, 2));
    drop(events);
    clinician.visit_open(id).await.unwrap();
    let mut events = patient
        .visit_events_after(id, Some(more.id), known)
        .await
        .unwrap();
    assert_eq!(next_visit(&mut events, PATIENCE).await.state, VisitState::Open);
    assert_eq!(readings(&world).await, (2, 2));
    // A message of nowhere is refused although nothing would be read.
    let nowhere = Some(medmesh_base::MessageId::generate());
    assert_eq!(
        refused(patient.visit_events_after(id, nowhere, known).await),
        ProblemCode::InvalidRequest
    );
}

#[tokio::test]
async fn messages_reach_streams_of_another_node() {
    let (world, second) = World::of_two(&Wishes::default()).await;
    let id = world.booked_now().await.visit_id;
    let patient = second.signed_in(&world.clinic.email("patient")).await;
    let mut events = patient.visit_events(id, None).await.unwrap();
    next_visit(&mut events, PATIENCE).await;
    let clinician = world.signed_in("clinician").await;
    for n in 0..3 {
        let sent = say(&clinician, id, &format!("{n}")).await;
        assert_eq!(next_message(&mut events, DELIVERY_MAX).await, sent);
    }
}

#[tokio::test]
async fn only_participants_write_read_and_watch() {
    let world = World::new().await;
    let id = world.booked_now().await.visit_id;
    for (login, code) in [
        ("second", ProblemCode::NotFound),
        ("colleague", ProblemCode::NotFound),
        ("admin", ProblemCode::Forbidden),
    ] {
        let stranger = world.signed_in(login).await;
        assert_eq!(refused(stranger.visit_events(id, None).await), code);
        assert_eq!(
            refused(stranger.message_list(id, &MessageQuery::default()).await),
            code
        );
        let said = stranger
            .message_create(&IdempotencyKey::fresh(), id, "hello")
            .await;
        assert_eq!(refused(said), code);
    }
    let patient = world.signed_in("patient").await;
    let unknown = patient
        .visit_events(id, Some(medmesh_base::MessageId::generate()))
        .await;
    assert_eq!(refused(unknown), ProblemCode::InvalidRequest);
    let key = IdempotencyKey::fresh();
    let once = patient.message_create(&key, id, "hello").await.unwrap();
    assert_eq!(patient.message_create(&key, id, "hello").await.unwrap(), once);
    let all = patient.message_list(id, &MessageQuery::default()).await.unwrap();
    assert_eq!(all.items, [once]);
    world.signed_in("clinician").await.visit_open(id).await.unwrap();
    world.signed_in("clinician").await.visit_end(id).await.unwrap();
    let late = patient
        .message_create(&IdempotencyKey::fresh(), id, "one more thing")
        .await;
    assert_eq!(refused(late), ProblemCode::StateConflict);
}

#[tokio::test]
async fn a_stream_ends_with_its_session_and_shows_nothing_more() {
    let world = World::new().await;
    let id = world.booked_now().await.visit_id;
    let patient = world.signed_in("patient").await;
    let mut events = patient.visit_events(id, None).await.unwrap();
    next_visit(&mut events, PATIENCE).await;
    patient.logout().await.unwrap();
    say(&world.signed_in("clinician").await, id, "are you there?").await;
    let end = timeout(PATIENCE, async {
        loop {
            match events.next().await.unwrap() {
                Some(VisitEvent::Ping) => {}
                other => return other,
            }
        }
    });
    assert_eq!(end.await.unwrap(), None);
}

#[tokio::test]
async fn a_session_has_a_bounded_number_of_streams() {
    let world = World::new().await;
    let id = world.booked_now().await.visit_id;
    let patient = world.signed_in("patient").await;
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(patient.visit_events(id, None).await.unwrap());
    }
    assert_eq!(
        refused(patient.visit_events(id, None).await),
        ProblemCode::RateLimited
    );
    let metrics = super::plain_http()
        .get(format!("{}/metrics", world.node.admin_url()))
        .send()
        .await
        .unwrap();
    assert!(metrics.text().await.unwrap().contains("medmesh_event_streams 8"));
    // Open streams do not keep a process from stopping.
    world.node.stop().await;
}
