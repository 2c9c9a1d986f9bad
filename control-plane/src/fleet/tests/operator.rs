use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use medmesh_api_types::fleet::{JoinToken, Nodes, Raft, RaftRole, Sessions};
use serde::de::DeserializeOwned;
use tower::ServiceExt as _;

use super::node::Control;
use crate::fleet::operator::{OperatorToken, router};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

async fn ask(
    router: &Router,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &str,
) -> (StatusCode, Vec<u8>) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request
        .header("content-type", "application/json")
        // Those that create nothing take no notice of it.
        .header("idempotency-key", uuid::Uuid::new_v4().to_string())
        .body(Body::from(body.to_owned()))
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    (
        status,
        response.into_body().collect().await.unwrap().to_bytes().to_vec(),
    )
}

async fn read<T: DeserializeOwned>(router: &Router, method: &str, path: &str, body: &str) -> (StatusCode, T) {
    let (status, bytes) = ask(router, method, path, Some(TOKEN), body).await;
    (status, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_sees_and_steers_and_nobody_else() {
    let control = Control::start().await;
    let routes = router(control.fleet.clone(), Router::new(), OperatorToken::new(TOKEN));
    let paths = [
        ("GET", "/v1/fleet/nodes"),
        ("GET", "/v1/fleet/sessions"),
        ("GET", "/v1/fleet/raft"),
        ("POST", "/v1/fleet/join-tokens"),
        (
            "POST",
            "/v1/fleet/edges/01920000-0000-7000-8000-000000000001/cordon",
        ),
        (
            "POST",
            "/v1/fleet/edges/01920000-0000-7000-8000-000000000001/uncordon",
        ),
        (
            "POST",
            "/v1/fleet/edges/01920000-0000-7000-8000-000000000001/drain",
        ),
        (
            "POST",
            "/v1/fleet/edges/01920000-0000-7000-8000-000000000001/undrain",
        ),
        ("GET", "/v1/fleet/edges/01920000-0000-7000-8000-000000000001"),
        ("DELETE", "/v1/fleet/edges/01920000-0000-7000-8000-000000000001"),
        ("GET", "/v1/fleet/headroom"),
        (
            "GET",
            "/v1/fleet/rooms/01920000-0000-7000-8000-000000000001/explain",
        ),
        ("POST", "/v1/fleet/raft/add-learner"),
        ("POST", "/v1/fleet/raft/promote"),
        ("POST", "/v1/fleet/raft/remove"),
    ];
    let nobody = router(control.fleet.clone(), Router::new(), None);
    for (method, path) in paths {
        for token in [None, Some(""), Some("0123456789abcdef0123456789abcdeF")] {
            let (status, _) = ask(&routes, method, path, token, "{}").await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{path} {token:?}");
        }
        let (status, _) = ask(&nobody, method, path, Some(TOKEN), "{}").await;
        assert_eq!(
            status,
            StatusCode::UNAUTHORIZED,
            "{path} where no token is configured"
        );
    }
    assert!(OperatorToken::new("short").is_none());

    let edge = control.enrol("fra-1", "eu").await;
    let (status, nodes) = read::<Nodes>(&routes, "GET", "/v1/fleet/nodes", "").await;
    assert_eq!((status, nodes.edges[0].name.as_str()), (StatusCode::OK, "fra-1"));
    assert!(nodes.controls[0].is_this_node && nodes.controls[0].role == RaftRole::Leader);
    let cordon = format!("/v1/fleet/edges/{}/cordon", edge.id);
    assert_eq!(
        ask(&routes, "POST", &cordon, Some(TOKEN), "").await.0,
        StatusCode::NO_CONTENT
    );
    assert!(control.fleet.state().edges[&edge.id].cordoned);
    assert_eq!(
        ask(
            &routes,
            "POST",
            &format!("/v1/fleet/edges/{}/uncordon", edge.id),
            Some(TOKEN),
            ""
        )
        .await
        .0,
        StatusCode::NO_CONTENT
    );
    assert!(!control.fleet.state().edges[&edge.id].cordoned);
    for unknown in ["01920000-0000-7000-8000-000000000001", "fra-1"] {
        let path = format!("/v1/fleet/edges/{unknown}/cordon");
        assert_eq!(
            ask(&routes, "POST", &path, Some(TOKEN), "").await.0,
            StatusCode::NOT_FOUND,
            "{unknown}"
        );
    }

    let (status, token) =
        read::<JoinToken>(&routes, "POST", "/v1/fleet/join-tokens", r#"{"life_seconds":60}"#).await;
    assert_eq!(status, StatusCode::CREATED);
    let parsed: medmesh_link::JoinToken = token.token.expose().parse().unwrap();
    assert_eq!(parsed.control, std::slice::from_ref(&control.address));
    for bad in [
        r#"{"life_seconds":0}"#,
        r#"{"life_seconds":86401}"#,
        r#"{"life":5}"#,
        "5",
        "{",
    ] {
        let (status, _) = ask(&routes, "POST", "/v1/fleet/join-tokens", Some(TOKEN), bad).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}");
    }
    let (_, sessions) = read::<Sessions>(&routes, "GET", "/v1/fleet/sessions?limit=5", "").await;
    assert_eq!(sessions.rooms_total, 0);
    for bad in ["0", "1001", "x"] {
        let (status, _) = ask(
            &routes,
            "GET",
            &format!("/v1/fleet/sessions?limit={bad}"),
            Some(TOKEN),
            "",
        )
        .await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "limit={bad}");
    }
    let (_, raft) = read::<Raft>(&routes, "GET", "/v1/fleet/raft", "").await;
    assert_eq!((raft.leader, raft.members.len()), (Some(raft.node), 1));
    let (status, _) = ask(
        &routes,
        "POST",
        "/v1/fleet/raft/promote",
        Some(TOKEN),
        r#"{"node":9}"#,
    )
    .await;
    assert_eq!(status, StatusCode::NOT_FOUND, "an unknown member");
    edge.stop().await;
    control.stop().await;
}
