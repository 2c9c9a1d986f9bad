//! What holds for every route, whatever it does.

use medmesh_tests::control::ORIGIN;
use reqwest::Method;
use serde_json::{Value, json};

use super::super::{World, plain_http};
use super::{Desk, Said, code, operations};

/// Headers of every answer, with what they must say.
const ALWAYS: [(&str, &str); 7] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cache-control", "no-store"),
    ("strict-transport-security", "max-age=63072000; includeSubDomains"),
];

/// Operations whose refusals are no problem documents, and why.
const OTHER_REFUSALS: &[(&str, &str)] = &[("oauth_token", "RFC 6749 section 5.2 has its own form")];

#[tokio::test]
async fn every_route_is_closed_to_other_origins_and_says_so_in_one_form() {
    let world = World::new().await;
    let http = plain_http();
    for operation in operations() {
        let id = &operation.id;
        let url = format!("{}{}", world.node.url(), operation.made_up_path());
        let foreign = |method: Method| http.request(method, &url).header("origin", "https://evil.test");
        let preflight = foreign(Method::OPTIONS)
            .header("access-control-request-method", operation.method.as_str())
            .header("access-control-request-headers", "x-csrf-token")
            .send()
            .await
            .unwrap();
        assert_eq!(preflight.status(), 405, "{id}");
        let asked = foreign(operation.method.clone()).send().await.unwrap();
        for answer in [&preflight, &asked] {
            let headers = answer.headers();
            let cors = headers
                .keys()
                .find(|name| name.as_str().starts_with("access-control-"));
            assert_eq!(cors, None, "{id}");
            for (name, value) in ALWAYS {
                assert_eq!(
                    headers.get(name).map(|v| v.to_str().unwrap()),
                    Some(value),
                    "{id} {name}"
                );
            }
            let policy = headers["content-security-policy"].to_str().unwrap();
            assert!(policy.contains("default-src 'none'"), "{id} {policy}");
            assert!(headers.contains_key("x-request-id"), "{id}");
        }
        // What is open to everybody may answer, or send a browser on; never to anywhere but the portals.
        let is_open = operation.value.get("x-medmesh-open").is_some();
        match asked.status().as_u16() {
            303 => {
                assert!(is_open && operation.answers("303"), "{id}");
                let to = asked.headers()["location"].to_str().unwrap();
                assert!(to.starts_with(&format!("{ORIGIN}/")), "{id} {to}");
            }
            200 => assert!(is_open && operation.method == Method::GET, "{id}"),
            400 if OTHER_REFUSALS.iter().any(|(known, _)| known == id) => {
                let refusal: Value = asked.json().await.unwrap();
                assert_eq!(refusal["error"], "invalid_request", "{id}");
            }
            _ => {
                let (status, _) = code(asked).await;
                assert!((400..500).contains(&status), "{id} {status}");
            }
        }

        let has_content = operation.value["responses"]
            .as_object()
            .unwrap()
            .iter()
            .any(|(status, answer)| status.starts_with('2') && answer.get("content").is_some());
        let wanted = http
            .request(operation.method.clone(), &url)
            .header("accept", "image/png");
        let answer = wanted.send().await.unwrap();
        assert!(answer.headers().contains_key("ratelimit-policy"), "{id}");
        let status = answer.status();
        assert_eq!(status == 406, has_content, "{id} {status}");
        if status.is_client_error() {
            code(answer).await;
        }
        assert_eq!(operation.answers("406"), has_content, "{id}");
    }
    assert_described(&world).await;
}

/// The version's own media type is given where it is asked for, and taken.
#[tokio::test]
async fn json_goes_by_the_name_of_its_version_too() {
    const MEDMESH: &str = "application/vnd.medmesh.v1+json";
    let world = World::new().await;
    let desk = Desk::open(&world).await;
    let operation = operations()
        .into_iter()
        .find(|one| one.id == "patient_search")
        .unwrap();
    let said = Said {
        login: "admin",
        path: operation.path.clone(),
        body: json!({"q": "Paula"}),
    };
    let send = async |accept: &str, kind: &str, packed: Option<&str>| {
        let request = desk.request(&operation, &said).header("accept", accept);
        let mut request = request.build().unwrap();
        request
            .headers_mut()
            .insert("content-type", kind.parse().unwrap());
        if let Some(packed) = packed {
            request
                .headers_mut()
                .insert("content-encoding", packed.parse().unwrap());
        }
        desk.http.execute(request).await.unwrap()
    };
    for (accept, kind) in [
        (MEDMESH, MEDMESH),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
    ] {
        let taken = if accept == "*/*" { MEDMESH } else { accept };
        let answer = send(accept, taken, None).await;
        assert_eq!(answer.status(), 200, "{accept}: {}", answer.text().await.unwrap());
        assert_eq!(answer.headers()["content-type"], kind);
        assert_eq!(answer.headers()["vary"], "accept");
        let found: Value = answer.json().await.unwrap();
        assert!(found["items"].is_array());
    }
    let unsupported = (415, "unsupported_media_type".to_owned());
    assert_eq!(code(send("*/*", "text/json", None).await).await, unsupported);
    assert_eq!(code(send("*/*", MEDMESH, Some("gzip")).await).await, unsupported);
    assert_eq!(code(send("text/html", MEDMESH, None).await).await.0, 406);
    assert_described(&world).await;
}

/// No answer of this node had a status that the description does not know.
async fn assert_described(world: &World) {
    let metrics = plain_http()
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
