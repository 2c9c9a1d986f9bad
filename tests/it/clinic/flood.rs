//! A flood of wrong passwords is shed: others go on, and the account's owner gets in.

use futures::StreamExt as _;
use medmesh_base::ProblemCode;
use medmesh_tests::control::PASSWORD;
use serde_json::json;

use super::{World, plain_http};

/// Tries of the flood.
const TRIES: usize = 600;
/// Tries under way at once: many more than may wait for a hash.
const AT_ONCE: usize = 200;
/// Passwords that may wait to be hashed.
const QUEUE_MAX: f64 = 64.0;

#[tokio::test]
async fn others_go_on_and_the_victim_still_gets_in() {
    let world = World::new().await;
    let (http, url) = (plain_http(), format!("{}/v1/auth/login", world.node.url()));
    let victim = world.clinic.email("patient");
    let right = json!({"email": victim, "password": PASSWORD});
    // The victim's browser has signed in before.
    let answer = http.post(&url).json(&right).send().await.unwrap();
    let device = answer
        .headers()
        .get_all("set-cookie")
        .iter()
        .map(|cookie| cookie.to_str().unwrap());
    let device = device
        .filter_map(|cookie| cookie.split(';').next())
        .find(|cookie| cookie.starts_with("__Host-medmesh_device="));
    let device = device.expect("a browser that signed in is known").to_owned();
    let bystander = world.signed_in("second").await;

    let flood = futures::stream::iter(0..TRIES).map(|n| {
        // Half against the victim, half against whoever might exist, all from the victim's own address.
        let email = if n % 2 == 0 {
            victim.clone()
        } else {
            format!("{n}@riverside.test")
        };
        let request = http
            .post(&url)
            .json(&json!({"email": email, "password": "not the password"}));
        async move { request.send().await.unwrap().status().as_u16() }
    });
    let flood = flood.buffer_unordered(AT_ONCE).collect::<Vec<u16>>();
    let others = async {
        let mut deepest = 0.0_f64;
        for _ in 0..40 {
            bystander.session().await.expect("whoever is signed in goes on");
            deepest = deepest.max(queue(&world).await);
        }
        deepest
    };
    let (answers, deepest) = tokio::join!(flood, others);
    assert!(deepest <= QUEUE_MAX, "{deepest} passwords waited");
    assert!(
        answers.iter().all(|status| [401, 429, 503].contains(status)),
        "{answers:?}"
    );
    let hashed = answers.iter().filter(|status| **status == 401).count();
    assert!(
        hashed <= 100,
        "no more hashes than one address may cost: {hashed}"
    );

    let refused = http.post(&url).json(&right).send().await.unwrap();
    assert_eq!(
        refused.status(),
        ProblemCode::RateLimited.status(),
        "a stranger at this address waits"
    );
    let known = http
        .post(&url)
        .header("cookie", device)
        .json(&right)
        .send()
        .await
        .unwrap();
    assert_eq!(known.status(), 200, "the victim does not");
}

/// How many passwords wait to be hashed at this moment.
async fn queue(world: &World) -> f64 {
    let metrics = plain_http()
        .get(format!("{}/metrics", world.node.admin_url()))
        .send()
        .await
        .unwrap();
    let text = metrics.text().await.unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("medmesh_password_hash_queue "));
    line.and_then(|line| line.rsplit(' ').next())
        .unwrap()
        .parse()
        .unwrap()
}
