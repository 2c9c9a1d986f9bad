//! The same rules for the operator's routes, walked from their own description.

use medmesh_api_types::session::IDEMPOTENCY_HEADER;
use medmesh_control::fleet;
use reqwest::{Client, Method, Response};
use serde_json::json;

use super::super::{World, plain_http};
use super::{Operation, code, operations_of};

/// Operations that answer 201 and need no key, and why.
const WITHOUT_KEY: &[(&str, &str)] = &[
    (
        "audit_key_rotate",
        "of two at once the ledger takes one; one more after it is one more announced key",
    ),
    (
        "audit_log_resume",
        "once it went on, the database is not behind any more and a repetition is refused",
    ),
];

/// Headers of every answer, with what they must say.
const ALWAYS: [(&str, &str); 3] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
];

fn operations() -> Vec<Operation> {
    let all = operations_of(&serde_json::to_value(fleet::openapi::fleet()).unwrap());
    assert!(all.len() > 15, "the description was read: {}", all.len());
    all
}

/// A request of nothing that exists, with an empty body where there is one.
async fn ask(http: &Client, base: &str, operation: &Operation, header: Option<(&str, &str)>) -> Response {
    let url = format!("{base}{}", operation.made_up_path());
    let mut request = http.request(operation.method.clone(), url);
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    if operation.value.get("requestBody").is_some() {
        request = request.json(&json!({}));
    }
    request.send().await.unwrap()
}

#[test]
fn what_creates_takes_a_key_and_what_updates_a_version() {
    for operation in operations() {
        let id = &operation.id;
        let is_exempt = WITHOUT_KEY.iter().any(|(exempt, _)| exempt == id);
        if operation.answers("201") {
            assert!(is_exempt != operation.takes(IDEMPOTENCY_HEADER), "{id}");
        }
        if [Method::PATCH, Method::PUT].contains(&operation.method) {
            assert!(operation.takes("if-match"), "{id} takes no version");
        }
    }
}

#[tokio::test]
async fn operators_routes_are_closed_to_everybody_else_and_answer_as_they_are_described() {
    let world = World::new().await;
    let (http, base) = (plain_http(), world.node.url());
    let (cookie, _) = world.credentials("admin").await;
    let token = format!("Bearer {}", world.node.site().operator_token().trim());
    let stranger = format!("Bearer {}", "0".repeat(64));
    let mut walked = 0;
    for operation in operations() {
        let id = &operation.id;
        // Nobody, somebody else, and a person of a clinic, whatever they are there.
        for header in [
            None,
            Some(("authorization", stranger.as_str())),
            Some(("authorization", "Basic b3BlcmF0b3I6")),
            Some(("cookie", cookie.as_str())),
        ] {
            let refused = ask(&http, &base, &operation, header).await;
            assert_eq!(refused.headers()["www-authenticate"], "Bearer", "{id}");
            assert_eq!(code(refused).await, (401, "unauthenticated".to_owned()), "{id}");
        }
        let answer = ask(&http, &base, &operation, Some(("authorization", &token))).await;
        let status = answer.status();
        assert!(
            operation.answers(status.as_str()),
            "{id}: {status} is not described"
        );
        for (name, value) in ALWAYS {
            let given = answer.headers().get(name).map(|given| given.to_str().unwrap());
            assert_eq!(given, Some(value), "{id} {name}");
        }
        let cors = answer
            .headers()
            .keys()
            .find(|name| name.as_str().starts_with("access-control-"));
        assert_eq!(cors, None, "{id}");
        if status.is_client_error() || status.is_server_error() {
            code(answer).await;
        }
        walked += 1;
    }
    assert!(walked > 15, "{walked}");
    let metrics = http
        .get(format!("{}/metrics", world.node.admin_url()))
        .send()
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    let undescribed = metrics
        .lines()
        .find(|line| line.starts_with("medmesh_http_undescribed_total{"));
    assert_eq!(undescribed, None);
}

/// What is asked badly is refused as the description says, and does nothing.
#[tokio::test]
async fn operators_are_told_what_is_wrong_with_a_request() {
    let world = World::new().await;
    let (http, base) = (plain_http(), world.node.url());
    let token = format!("Bearer {}", world.node.site().operator_token().trim());
    for operation in operations() {
        let id = &operation.id;
        if operation.value.get("requestBody").is_none() {
            continue;
        }
        let url = format!("{base}{}", operation.made_up_path());
        let request = |kind: &str, body: &'static str| {
            http.request(operation.method.clone(), &url)
                .header("authorization", &token)
                .header(IDEMPOTENCY_HEADER, uuid::Uuid::new_v4().to_string())
                .header("content-type", kind)
                .body(body)
        };
        for (kind, body, wanted) in [
            ("text/plain", "{}", 415),
            ("application/json", "{", 400),
            ("application/json", "[]", 400),
            ("application/json", r#"{"nobody_knows": 1}"#, 400),
        ] {
            let (status, _) = code(request(kind, body).send().await.unwrap()).await;
            assert_eq!(status, wanted, "{id} {kind} {body}");
            assert!(operation.answers(&wanted.to_string()), "{id}");
        }
    }
    let tokens = http
        .get(format!("{base}/v1/fleet/nodes"))
        .header("authorization", &token)
        .header("accept", "image/png");
    assert_eq!(code(tokens.send().await.unwrap()).await.0, 406);
}
