//! Events reach a relay at least once, whoever dies.

use std::collections::BTreeSet;
use std::time::Duration;

use medmesh_store::{Event, EventKind, OUTBOX_LEASE};
use time::OffsetDateTime;

use crate::support::{World, slot, slot_now, world};

async fn poll(world: &World, limit: u32) -> Vec<Event> {
    world
        .store
        .outbox_poll(OffsetDateTime::now_utc(), limit)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_event_comes_with_its_effect_and_goes_when_done() {
    let world = world().await;
    let booked = world.book(slot_now()).await;
    let mut tx = world.begin(world.people.patient).await;
    let message = tx
        .message_create(booked.visit_id, &"hello".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(
        poll(&world, 10).await.len(),
        1,
        "what is not committed did not happen"
    );
    tx.commit().await.unwrap();
    let later = OffsetDateTime::now_utc() + OUTBOX_LEASE * 2;
    let events = world.store.outbox_poll(later, 10).await.unwrap();
    let visit_id = booked.visit_id;
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    let created = EventKind::MessageCreated {
        visit_id,
        message_id: message.id,
    };
    assert_eq!(kinds, [EventKind::VisitChanged { visit_id }, created]);
    assert!(events.iter().all(|event| event.clinic_id == world.clinic));
    assert_eq!(
        events.iter().map(|event| event.attempts).collect::<Vec<_>>(),
        [2, 1]
    );
    let ids: Vec<_> = events.iter().map(|event| event.id).collect();
    assert_eq!(world.store.outbox_done(&ids).await.unwrap(), 2);
    assert_eq!(world.store.outbox_done(&ids).await.unwrap(), 0);
    assert_eq!(world.count("SELECT count(*) FROM outbox").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relays_do_not_get_in_each_others_way() {
    const EVENTS: i64 = 40;
    let world = world().await;
    for n in 0..EVENTS {
        world.book(slot(n)).await;
    }
    let claims = futures::future::join_all((0..8).map(|_| poll(&world, 7))).await;
    let mut seen = BTreeSet::new();
    for event in claims.iter().flatten() {
        assert!(seen.insert(event.id), "handed out once per lease");
    }
    while let rest @ [_, ..] = poll(&world, 7).await.as_slice() {
        for event in rest {
            assert!(seen.insert(event.id), "handed out once per lease");
        }
    }
    assert_eq!(i64::try_from(seen.len()).unwrap(), EVENTS);
    // The one who claimed them died.
    let later = OffsetDateTime::now_utc() + OUTBOX_LEASE * 2;
    let again = world.store.outbox_poll(later, 256).await.unwrap();
    assert_eq!(again.iter().map(|event| event.id).collect::<BTreeSet<_>>(), seen);
    assert!(again.iter().all(|event| event.attempts == 2));
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
