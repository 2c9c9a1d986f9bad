//! What is refused, how, and that nothing else changes.

use medmesh_base::RoomId;
use serde_json::Value;

use crate::browser::spare_offer;
use crate::fleet::Fleet;

/// Sends a request that must be refused, and checks how.
async fn refused(request: reqwest::RequestBuilder, status: u16, code: &str) {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), status, "{code}");
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(problem["status"], status);
    assert!(problem["request_id"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_no_offer_leave_the_token_usable() {
    let fleet = Fleet::start(1, false).await;
    let claims = fleet.claims(RoomId::generate(), 0);
    let token = fleet.issuer.sign(&claims);
    refused(
        fleet.post(0, &token, "v=0\r\nthis is no sdp"),
        400,
        "invalid_request",
    )
    .await;
    refused(fleet.post(0, &token, vec![0xff; 100]), 400, "invalid_request").await;
    refused(fleet.post(0, &token, "x".repeat(200_000)), 413, "body_too_large").await;
    let wrong_type = fleet
        .http
        .post(fleet.whip_url(0))
        .bearer_auth(&token)
        .header("content-type", "application/json")
        .body("{}");
    refused(wrong_type, 415, "unsupported_media_type").await;
    let joined = fleet.post(0, &token, spare_offer()).send().await.unwrap();
    assert_eq!(joined.status(), 201);
    refused(fleet.post(0, &token, spare_offer()), 401, "token_refused").await;
    assert_eq!(
        fleet
            .metric(0, "medmesh_edge_tokens_refused_total{reason=\"replayed\"}")
            .await,
        1.0
    );
    fleet.stop().await;
}
