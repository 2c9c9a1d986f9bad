//! Two nodes over one Redis: counters and news are shared, and nothing depends on Redis being there.

use medmesh_base::ProblemCode;
use medmesh_tests::control::{PASSWORD, Wishes};
use medmesh_tests::redis::Redis;

use super::live::{DELIVERY_MAX, PATIENCE, next_message, next_visit, say};
use super::{World, plain_http, refused};

fn over(redis: &Redis) -> Wishes {
    Wishes {
        redis_url: Some(redis.url()),
        ..Wishes::default()
    }
}

#[tokio::test]
async fn tries_to_sign_in_are_counted_over_all_nodes() {
    let redis = Redis::start();
    let (world, second) = World::of_two(&over(&redis)).await;
    let email = world.clinic.email("patient");
    for n in 0..10 {
        let node = if n % 2 == 0 { &world.node } else { &second };
        let refusal = refused(node.client().login(&email, "not the password").await);
        assert_eq!(refusal, ProblemCode::LoginFailed);
    }
    for node in [&world.node, &second] {
        assert_eq!(
            refused(node.client().login(&email, PASSWORD).await),
            ProblemCode::RateLimited
        );
    }
}

#[tokio::test]
async fn news_cross_nodes_and_outlive_redis() {
    let redis = Redis::start();
    let (world, second) = World::of_two(&over(&redis)).await;
    let id = world.booked_now().await.visit_id;
    let patient = second.signed_in(&world.clinic.email("patient")).await;
    let clinician = world.signed_in("clinician").await;
    let mut events = patient.visit_events(id, None).await.unwrap();
    next_visit(&mut events, PATIENCE).await;
    for n in 0..3 {
        let sent = say(&clinician, id, &format!("{n}")).await;
        assert_eq!(next_message(&mut events, DELIVERY_MAX).await, sent);
    }

    let port = redis.port();
    drop(redis);
    // Signing in and writing go on; a stream of another node looks for itself, if later.
    world.signed_in("patient").await;
    let sent = say(&clinician, id, "without redis").await;
    assert_eq!(next_message(&mut events, PATIENCE).await, sent);
    let ready = plain_http()
        .get(format!("{}/readyz", world.node.admin_url()))
        .send()
        .await
        .unwrap();
    assert_eq!(ready.status(), 200);
    assert_eq!(ready.json::<serde_json::Value>().await.unwrap()["redis"], false);

    // When it is back, news are fast again.
    let _redis = Redis::start_on(port);
    let mut n = 0;
    let deadline = tokio::time::Instant::now() + 3 * PATIENCE;
    loop {
        let sent = say(&clinician, id, &format!("again {n}")).await;
        let started = tokio::time::Instant::now();
        assert_eq!(next_message(&mut events, PATIENCE).await, sent);
        if started.elapsed() < DELIVERY_MAX / 2 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "redis is used again");
        n += 1;
    }
}
