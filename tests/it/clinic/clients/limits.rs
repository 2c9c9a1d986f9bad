//! How often a machine may ask: counted by itself, beside its address and its clinic.

use medmesh_api_client::ClientError;
use medmesh_base::ProblemCode;
use medmesh_tests::control::Wishes;
use serde_json::Value;

use super::{CALENDAR, Pkcs8, machine, register};
use crate::clinic::{World, plain_http};

/// With this factor a machine may ask five times in two seconds, 25 times at once.
const SCALE: f64 = 0.05;
const BURST: usize = 25;

#[tokio::test]
async fn a_machine_that_asks_too_often_waits_and_nobody_with_it() {
    let wishes = Wishes {
        limits_scale: Some(SCALE),
        ..Wishes::default()
    };
    let world = World::with(&wishes).await;
    let (admin, key) = (world.signed_in("admin").await, Pkcs8::es384("one"));
    let client = register(&admin, &CALENDAR, &[&key]).await;
    let other = register(&admin, &CALENDAR, &[&key]).await;
    let asking = machine(&world.node, client.id, &key);
    let token = asking.token().await.unwrap().access_token;
    let theirs = machine(&world.node, other.id, &key)
        .token()
        .await
        .unwrap()
        .access_token;
    let http = plain_http();
    let ask = async |token: &str| {
        let request = http.get(format!("{}/v1/appointments?limit=1", world.node.url()));
        request.bearer_auth(token).send().await.unwrap()
    };
    let mut allowed = 1;
    let refusal = loop {
        let answer = ask(token.expose()).await;
        if answer.status() == 429 {
            break answer;
        }
        assert_eq!(answer.status(), 200);
        allowed += 1;
        assert!(allowed < 3 * BURST, "nobody was refused");
    };
    // A few more come free while the test asks.
    assert!(allowed >= BURST, "{allowed}");
    let header = |name: &str| refusal.headers()[name].to_str().unwrap().to_owned();
    assert!(header("retry-after").parse::<u64>().unwrap() >= 1);
    let policy = header("ratelimit-policy");
    assert!(policy.contains(r#""client";q=25;w=10"#), "{policy}");
    assert!(header("ratelimit").contains(r#""client";r=0;t="#));
    let problem: Value = refusal.json().await.unwrap();
    assert_eq!(problem["code"], ProblemCode::RateLimited.code());
    // Nor does it get another token meanwhile; the other machine and the people go on.
    match asking.token().await {
        Err(ClientError::Problem(problem)) => assert_eq!(problem.code, ProblemCode::RateLimited),
        // So slow that one came free: then it is the next that waits.
        Ok(_) => assert_eq!(ask(token.expose()).await.status(), 429),
        other => panic!("{other:?}"),
    }
    assert_eq!(ask(theirs.expose()).await.status(), 200);
    assert!(admin.session().await.is_ok());
    let metrics = http
        .get(format!("{}/metrics", world.node.admin_url()))
        .send()
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    for line in [
        r#"medmesh_rate_limit_total{counted="alone",layer="client",outcome="refused"}"#,
        r#"medmesh_client_tokens_total{outcome="given"} "#,
    ] {
        assert!(metrics.contains(line), "{line}");
    }
}
