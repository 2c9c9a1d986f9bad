//! What is not a valid request is answered with a problem document that says why and repeats nothing.

use medmesh_api_types::problem::Problem;
use medmesh_base::ProblemCode;
use medmesh_tests::control::{ControlNode, PASSWORD, Wishes};
use medmesh_tests::postgres::Scratch;
use reqwest::{Method, Response};
use serde_json::json;

use super::{World, plain_http};

async fn problem(answer: Response) -> Problem {
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    assert!(!text.contains("CANARY"), "{text}");
    let problem: Problem = serde_json::from_str(&text).unwrap();
    assert_eq!((problem.status, problem.request_id.to_string()), (status, id));
    assert_eq!(
        problem.kind,
        format!("urn:medmesh:problem:{}", problem.code.code())
    );
    problem
}

#[tokio::test]
async fn garbage_is_answered_with_problems() {
    let world = World::new().await;
    let http = plain_http();
    let url = |path: &str| format!("{}{path}", world.node.url());
    let post = |kind: &str, body: Vec<u8>| {
        http.post(url("/v1/auth/login"))
            .header("content-type", kind)
            .body(body)
            .send()
    };
    let deep = [b"[".repeat(60), b"]".repeat(60)].concat();
    let login = |email: &str| serde_json::to_vec(&json!({"email": email, "password": "x"})).unwrap();
    for (kind, body, code) in [
        (
            "application/json",
            b"{\"email\": CANARY".to_vec(),
            ProblemCode::InvalidRequest,
        ),
        (
            "application/json",
            b"\xff\xfe\x00CANARY".to_vec(),
            ProblemCode::InvalidRequest,
        ),
        (
            "application/json",
            b"{\"email\":\"CANARY\"}".to_vec(),
            ProblemCode::InvalidRequest,
        ),
        (
            "application/json",
            b"{\"email\":\"a@b\",\"password\":\"x\",\"CANARY\":1}".to_vec(),
            ProblemCode::InvalidRequest,
        ),
        (
            "application/json",
            b"{\"email\":[\"CANARY\"],\"password\":\"x\"}".to_vec(),
            ProblemCode::InvalidRequest,
        ),
        ("application/json", deep, ProblemCode::InvalidRequest),
        ("application/json", Vec::new(), ProblemCode::InvalidRequest),
        ("application/json", login("CANARY"), ProblemCode::InvalidRequest),
        ("text/plain", login("a@b"), ProblemCode::UnsupportedMediaType),
        (
            "application/x-www-form-urlencoded",
            login("a@b"),
            ProblemCode::UnsupportedMediaType,
        ),
        (
            "application/json",
            login(&"C".repeat(100_000)),
            ProblemCode::BodyTooLarge,
        ),
    ] {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        assert_eq!(
            problem(post(kind, body).await.unwrap()).await.code,
            code,
            "{kind} {shown}"
        );
    }
    for (method, path, code) in [
        (Method::GET, "/v1/nothing", ProblemCode::NotFound),
        (Method::GET, "/CANARY", ProblemCode::NotFound),
        (Method::GET, "/v1/auth/login", ProblemCode::MethodNotAllowed),
        (Method::DELETE, "/v1/auth/session", ProblemCode::MethodNotAllowed),
        (Method::GET, "/v1/visits/CANARY", ProblemCode::Unauthenticated),
    ] {
        let answer = http.request(method, url(path)).send().await.unwrap();
        assert_eq!(problem(answer).await.code, code, "{path}");
    }
}

#[tokio::test]
async fn bad_parameters_of_signed_in_people_are_problems_too() {
    let world = World::new().await;
    let http = plain_http();
    let (cookie, csrf) = world.credentials("clinician").await;
    let send = |method: Method, path: &str, header: Option<(&str, &str)>| {
        let mut request = http
            .request(method, format!("{}{path}", world.node.url()))
            .header("cookie", &cookie)
            .header("x-csrf-token", &csrf);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        request.json(&json!({})).send()
    };
    let id = uuid::Uuid::now_v7();
    let appointment = format!("/v1/appointments/{id}");
    for (method, path, header, code) in [
        (Method::GET, "/v1/visits/CANARY", None, ProblemCode::NotFound),
        (
            Method::GET,
            "/v1/people?role=CANARY",
            None,
            ProblemCode::InvalidRequest,
        ),
        (
            Method::GET,
            "/v1/people?limit=-1",
            None,
            ProblemCode::InvalidRequest,
        ),
        (
            Method::GET,
            "/v1/appointments?from=CANARY",
            None,
            ProblemCode::InvalidRequest,
        ),
        (
            Method::GET,
            "/v1/signaling/candidates",
            None,
            ProblemCode::InvalidRequest,
        ),
        (
            Method::PATCH,
            &appointment,
            None,
            ProblemCode::PreconditionRequired,
        ),
        (
            Method::PATCH,
            &appointment,
            Some(("if-match", "CANARY")),
            ProblemCode::InvalidRequest,
        ),
        (
            Method::PATCH,
            &appointment,
            Some(("if-match", "\"1\"")),
            ProblemCode::NotFound,
        ),
        (
            Method::POST,
            "/v1/appointments",
            None,
            ProblemCode::IdempotencyKeyMissing,
        ),
        (
            Method::POST,
            "/v1/appointments",
            Some(("idempotency-key", "has a blank in it")),
            ProblemCode::InvalidRequest,
        ),
    ] {
        let answer = send(method, path, header).await.unwrap();
        assert_eq!(problem(answer).await.code, code, "{path}");
    }
}

#[tokio::test]
async fn every_answer_is_hardened_and_carries_the_callers_request_id_if_it_is_one() {
    let world = World::new().await;
    let http = plain_http();
    let get = || http.get(format!("{}/v1/auth/session", world.node.url()));
    let id = uuid::Uuid::now_v7().to_string();
    let answer = get()
        .header("x-request-id", &id)
        .header("origin", "https://evil.test")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["x-request-id"], id.as_str());
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(answer.headers()[name], value);
    }
    assert!(
        answer.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .starts_with("default-src 'none'")
    );
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
    let answer = get().header("x-request-id", "CANARY").send().await.unwrap();
    let given = answer.headers()["x-request-id"].to_str().unwrap();
    assert!(uuid::Uuid::parse_str(given).is_ok(), "{given}");
}

#[tokio::test]
async fn a_node_without_a_database_starts_says_so_and_recovers() {
    let scratch = Scratch::database().await.unwrap();
    let wishes = Wishes {
        database_url: Some("postgres://medmesh@127.0.0.1:9/nowhere".into()),
        ..Wishes::default()
    };
    let node = ControlNode::start(&scratch, &wishes).await;
    let http = plain_http();
    let get = |url: String| http.get(url).send();
    assert_eq!(
        get(format!("{}/healthz", node.admin_url()))
            .await
            .unwrap()
            .status(),
        200
    );
    let ready = get(format!("{}/readyz", node.admin_url())).await.unwrap();
    assert_eq!(ready.status(), 503);
    assert_eq!(
        ready.json::<serde_json::Value>().await.unwrap()["database"],
        false
    );
    let login = json!({"email": "a@b.c", "password": PASSWORD});
    let answer = http
        .post(format!("{}/v1/auth/login", node.url()))
        .json(&login)
        .send()
        .await
        .unwrap();
    assert_eq!(problem(answer).await.code, ProblemCode::Unavailable);
    node.stop().await;
}
