//! How often somebody may ask: over all nodes while Redis is there, on each node while it is not.

use medmesh_api_types::session::SESSION_COOKIE;
use medmesh_base::ProblemCode;
use medmesh_control::ephemeral::{Counted, Ephemeral, Quota, Standing};
use medmesh_tests::control::{ControlNode, TestClinic, Wishes};
use medmesh_tests::redis::Redis;
use serde_json::Value;

use super::{World, plain_http};

/// With this factor a person may ask once a second, ten times at once.
const SCALE: f64 = 0.05;
const ACCOUNT_BURST: usize = 10;

async fn ask(node: &ControlNode, cookie: &str) -> reqwest::Response {
    let http = plain_http();
    let request = http.get(format!("{}/v1/auth/session", node.url()));
    request.header("cookie", cookie).send().await.unwrap()
}

async fn cookie(world: &World, login: &str) -> String {
    let client = world.signed_in(login).await;
    format!("{SESSION_COOKIE}={}", client.cookie().unwrap().expose())
}

/// Asks in turn until refused, and gives how often it was let in and the refusal.
async fn exhaust(nodes: &[&ControlNode], cookie: &str) -> (usize, reqwest::Response) {
    for n in 0..10 * ACCOUNT_BURST {
        let answer = ask(nodes[n % nodes.len()], cookie).await;
        if answer.status() == 429 {
            return (n, answer);
        }
        assert_eq!(answer.status(), 200);
    }
    panic!("nobody was refused");
}

/// What Redis computes is what this process computes, from one key or several.
#[tokio::test]
async fn redis_and_memory_say_the_same() {
    let redis = Redis::start();
    let shared = Ephemeral::open(Some(&redis.url())).unwrap().buckets();
    let alone = Ephemeral::open(None).unwrap().buckets();
    // So slow that the time the test takes frees nothing.
    let quota = |burst| Quota {
        interval_us: 600_000_000,
        burst,
    };
    let mut refused = 0;
    for n in 0_u32..200 {
        let wanted: Vec<_> = (0..4)
            .filter(|key| ((n % 11) >> key) & 1 == 1)
            .map(|key| (format!("k{key}"), quota(5 * (key + 1))))
            .collect();
        let ((a, together), (b, by_itself)) = (shared.take(&wanted).await, alone.take(&wanted).await);
        assert_eq!((together, by_itself), (Counted::Together, Counted::Alone));
        let said = |standings: &[Standing]| -> Vec<_> {
            let said = standings.iter().map(|one| (one.is_allowed, one.remaining));
            said.collect()
        };
        assert_eq!(said(&a), said(&b), "{n}: {wanted:?}");
        refused += a.iter().filter(|standing| !standing.is_allowed).count();
    }
    assert!(refused > 10, "{refused}");
}

#[tokio::test]
async fn limits_hold_over_all_nodes_and_on_each_while_redis_is_away() {
    let redis = Redis::start();
    let wishes = Wishes {
        redis_url: Some(redis.url()),
        limits_scale: Some(SCALE),
        ..Wishes::default()
    };
    let (world, second) = World::of_two(&wishes).await;
    let patient = cookie(&world, "patient").await;
    let other = cookie(&world, "second").await;

    let (allowed, refusal) = exhaust(&[&world.node, &second], &patient).await;
    // A few more come free while the test asks; each node for itself would be twice as many.
    assert!((ACCOUNT_BURST..2 * ACCOUNT_BURST).contains(&allowed), "{allowed}");
    let header = |name: &str| refusal.headers()[name].to_str().unwrap().to_owned();
    assert!(header("retry-after").parse::<u64>().unwrap() >= 1);
    let policy = header("ratelimit-policy");
    assert!(policy.contains(r#""address";q=100;w=10"#), "{policy}");
    assert!(policy.contains(r#""account";q=10;w=10"#), "{policy}");
    assert!(policy.contains(r#""clinic";q=250;w=10"#), "{policy}");
    assert!(header("ratelimit").contains(r#""account";r=0;t="#));
    assert_eq!(header("content-type"), "application/problem+json");
    let problem: Value = refusal.json().await.unwrap();
    assert_eq!(problem["code"], ProblemCode::RateLimited.code());
    assert!(problem["details"]["retry_after_seconds"].as_u64().unwrap() >= 1);
    // Somebody else, same clinic, same address.
    assert_eq!(ask(&second, &other).await.status(), 200);

    drop(redis);
    // The first answer without it may take a moment; it is one, and the count begins anew on each node.
    let (allowed, _) = exhaust(&[&second], &other).await;
    assert!((ACCOUNT_BURST..3 * ACCOUNT_BURST).contains(&allowed), "{allowed}");
    let metrics = plain_http()
        .get(format!("{}/metrics", second.admin_url()))
        .send()
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    for line in [
        r#"medmesh_rate_limit_total{counted="alone",layer="account",outcome="refused"}"#,
        r#"medmesh_rate_limit_total{counted="together",layer="account",outcome="allowed"}"#,
    ] {
        assert!(metrics.contains(line), "{line}");
    }
}

/// What is left of a layer, as the answer says.
fn left(answer: &reqwest::Response, layer: &str) -> String {
    let header = answer.headers()["ratelimit"].to_str().unwrap().to_owned();
    let of = format!("\"{layer}\";");
    header
        .split(", ")
        .find(|part| part.starts_with(&of))
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn one_clinic_that_asks_too_often_takes_nothing_from_another() {
    let wishes = Wishes {
        limits_scale: Some(SCALE),
        // Half of what one of its people may.
        limits: Some("clinic_per_second = 10.0"),
        ..Wishes::default()
    };
    let world = World::with(&wishes).await;
    let other = TestClinic::open(&world.scratch, "hillside").await;
    let patient = cookie(&world, "patient").await;
    let colleague = cookie(&world, "second").await;
    let stranger = world.node.signed_in_as(&other, "patient").await;
    let stranger = format!("{SESSION_COOKIE}={}", stranger.cookie().unwrap().expose());
    let (allowed, refusal) = exhaust(&[&world.node], &patient).await;
    assert!(allowed < ACCOUNT_BURST, "it was the clinic's limit: {allowed}");
    assert!(
        left(&refusal, "clinic").contains(";r=0;"),
        "{:?}",
        refusal.headers()
    );
    assert!(
        !left(&refusal, "account").contains(";r=0;"),
        "{:?}",
        refusal.headers()
    );
    let same = ask(&world.node, &colleague).await;
    assert_eq!(same.status(), 429, "everybody in the clinic together");
    assert_eq!(ask(&world.node, &stranger).await.status(), 200);
    world.node.stop().await;
}

#[tokio::test]
async fn one_address_that_asks_too_often_takes_nothing_from_another() {
    let wishes = Wishes {
        limits_scale: Some(SCALE),
        limits: Some("address_per_second = 10.0"),
        trust_forwarded_for: true,
        ..Wishes::default()
    };
    let world = World::with(&wishes).await;
    let http = plain_http();
    // Nobody who is known: whoever is not signed in is counted, too.
    let from = async |address: &str| {
        let request = http.get(format!("{}/v1/jwks", world.node.url()));
        request.header("x-forwarded-for", address).send().await.unwrap()
    };
    let mut refusal = None;
    for _ in 0..100 {
        let answer = from("2001:db8:1:2::3").await;
        if answer.status() == 429 {
            refusal = Some(answer);
            break;
        }
        assert_eq!(answer.status(), 200);
    }
    let refusal = refusal.expect("nobody was refused");
    assert!(
        left(&refusal, "address").contains(";r=0;"),
        "{:?}",
        refusal.headers()
    );
    assert!(
        refusal.headers()["retry-after"]
            .to_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            >= 1
    );
    // A subscriber has a /64; what a proxy was told by whoever came to it counts for nothing.
    assert_eq!(from("2001:db8:1:2:ffff::9").await.status(), 429);
    assert_eq!(from("198.51.100.7, 2001:db8:1:2::3").await.status(), 429);
    assert_eq!(from("2001:db8:1:3::3").await.status(), 200);
    assert_eq!(from("198.51.100.7").await.status(), 200);
    world.node.stop().await;
}
