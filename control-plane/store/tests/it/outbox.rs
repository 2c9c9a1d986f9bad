//! Events are relayed by one at a time, in order, at least once, whoever dies.

use std::time::Duration;

use medmesh_base::VisitId;
use medmesh_store::{Event, EventKind, Listener, Relay};

use crate::support::{World, slot, slot_now, world};

async fn lead(world: &World) -> Relay {
    // Whoever was the relay may still be going.
    let leading = async {
        loop {
            if let Some(relay) = Relay::try_lead(&world.scratch.service_url).await.unwrap() {
                return relay;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), leading)
        .await
        .expect("nobody else is the relay")
}

async fn say(world: &World, visit: VisitId, text: &str) -> medmesh_clinic::Message {
    let mut tx = world.begin(world.people.patient).await;
    let message = tx.message_create(visit, &text.parse().unwrap()).await.unwrap();
    tx.commit().await.unwrap();
    message
}

/// What the sink would get, after everything was told.
async fn kept(relay: &mut Relay) -> Vec<Event> {
    while relay.notify(true).await.unwrap() > 0 {}
    relay.to_publish().await.unwrap()
}

#[tokio::test]
async fn an_event_comes_with_its_effect_and_goes_when_everybody_has_it() {
    let world = world().await;
    let mut relay = lead(&world).await;
    let booked = world.book(slot_now()).await;
    let visit_id = booked.visit_id;
    let mut tx = world.begin(world.people.patient).await;
    let message = tx
        .message_create(visit_id, &"hello".parse().unwrap())
        .await
        .unwrap();
    let events = kept(&mut relay).await;
    assert_eq!(
        events.len(),
        2,
        "what is not committed did not happen: {events:?}"
    );
    tx.commit().await.unwrap();
    let events = kept(&mut relay).await;
    let kinds: Vec<EventKind> = events.iter().map(|event| event.kind).collect();
    let expected = [
        EventKind::VisitChanged { visit_id },
        EventKind::AppointmentChanged {
            appointment_id: booked.id,
        },
        EventKind::MessageCreated {
            visit_id,
            message_id: message.id,
        },
    ];
    assert_eq!(kinds, expected);
    assert!(events.iter().all(|event| event.clinic_id == world.clinic));
    // What a consumer gets says what it is, and nothing about anybody.
    let said = serde_json::to_value(events[2]).unwrap();
    let mut keys: Vec<&String> = said.as_object().unwrap().keys().collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        ["at", "clinic_id", "data", "id", "kind", "subject", "version"]
    );
    assert_eq!(said["data"]["message_id"], message.id.to_string());
    let seqs: Vec<i64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(relay.published(&seqs).await.unwrap(), 3);
    assert_eq!(relay.published(&seqs).await.unwrap(), 0);
    assert_eq!(world.count("SELECT count(*) FROM outbox").await, 0);
    // Without a sink an event goes as soon as it was told.
    world.book(slot(3)).await;
    assert_eq!(relay.notify(false).await.unwrap(), 2);
    assert_eq!(world.count("SELECT count(*) FROM outbox").await, 0);
}

#[tokio::test]
async fn there_is_one_relay_and_another_when_it_dies() {
    let world = world().await;
    let mut first = lead(&world).await;
    let url = &world.scratch.service_url;
    assert!(Relay::try_lead(url).await.unwrap().is_none(), "one at a time");
    let booked = world.book(slot_now()).await;
    let events = kept(&mut first).await;
    // It publishes, and dies before it can say so.
    let backend = first.backend().await.unwrap();
    sqlx::query("SELECT pg_terminate_backend($1)")
        .bind(backend)
        .execute(&mut world.admin().await)
        .await
        .unwrap();
    let mut second = lead(&world).await;
    assert_eq!(second.term(), first.term() + 1);
    let seqs: Vec<i64> = events.iter().map(|event| event.seq).collect();
    assert!(first.published(&seqs).await.is_err(), "it has no power any more");
    assert!(first.notify(true).await.is_err());
    let again = second.to_publish().await.unwrap();
    assert_eq!(again, events, "they come again, under the same ids");
    assert_eq!(again[0].subject, booked.visit_id.as_uuid());
    second.resign().await;
    lead(&world).await;
}

#[tokio::test]
async fn every_node_hears_what_the_relay_tells() {
    let world = world().await;
    let url = &world.scratch.service_url;
    let mut ears = [
        Listener::open(url).await.unwrap(),
        Listener::open(url).await.unwrap(),
    ];
    let booked = world.book(slot_now()).await;
    lead(&world).await.notify(false).await.unwrap();
    for ear in &mut ears {
        let heard = tokio::time::timeout(Duration::from_secs(30), ear.heard());
        assert_eq!(heard.await.unwrap().unwrap(), Some(booked.visit_id));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_one_subject_keep_their_order() {
    const EACH: usize = 12;
    let world = world().await;
    let visit = world.book(slot_now()).await.visit_id;
    let writers = (0..4).map(|writer| {
        let world = &world;
        async move {
            let mut said = Vec::new();
            for n in 0..EACH {
                said.push(say(world, visit, &format!("{writer} says {n}")).await);
            }
            said
        }
    });
    let mut said: Vec<_> = futures::future::join_all(writers)
        .await
        .into_iter()
        .flatten()
        .collect();
    said.sort_by_key(|message| message.sequence);
    let events = kept(&mut lead(&world).await).await;
    let told: Vec<_> = events
        .iter()
        .filter_map(|event| match event.kind {
            EventKind::MessageCreated { message_id, .. } => Some(message_id),
            _ => None,
        })
        .collect();
    let written: Vec<_> = said.iter().map(|message| message.id).collect();
    assert_eq!(told, written);
    let ids: std::collections::BTreeSet<_> = events.iter().map(|event| event.event_id).collect();
    assert_eq!(ids.len(), events.len(), "each has an id of its own");
}

#[tokio::test]
async fn a_commit_wakes_the_relay_of_its_process() {
    let world = world().await;
    let long = Duration::from_secs(60);
    let woken = tokio::time::timeout(long / 2, async {
        tokio::join!(world.store.outbox_wait(long), world.book(slot(0)))
    });
    woken.await.expect("before the relay would have looked by itself");
    // A commit while nobody waits is not lost.
    world.book(slot(1)).await;
    tokio::time::timeout(long / 2, world.store.outbox_wait(long))
        .await
        .expect("at once");
}
