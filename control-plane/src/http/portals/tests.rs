use axum::body::Body;
use http::Request;
use http::header::{CONTENT_TYPE, HeaderName};
use http_body_util::BodyExt as _;

use super::*;

const BUILT: &str = r#"<meta property="csp-nonce" nonce="__MEDMESH_NONCE__"><script type="module" nonce="__MEDMESH_NONCE__" src="/patient/assets/a.js"></script>"#;

/// A folder with one built portal, removed with the value.
fn built() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let app = dir.path().join("patient");
    std::fs::create_dir_all(app.join("assets")).unwrap();
    std::fs::write(app.join("index.html"), BUILT).unwrap();
    std::fs::write(app.join("assets/a.js"), "1").unwrap();
    dir
}

async fn get(dir: &Path, path: &str) -> (StatusCode, http::HeaderMap, String) {
    let router: Router = routes(dir, &["https://edge.example".to_owned()]);
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (
        parts.status,
        parts.headers,
        String::from_utf8(bytes.to_vec()).unwrap(),
    )
}

fn policy(headers: &http::HeaderMap) -> &str {
    let name = HeaderName::from_static("content-security-policy");
    headers.get(name).unwrap().to_str().unwrap()
}

/// The sources of one directive.
fn sources<'a>(policy: &'a str, directive: &str) -> &'a str {
    let found = policy.split("; ").find_map(|part| part.strip_prefix(directive));
    found.expect(directive).trim()
}

#[tokio::test]
async fn every_answer_brings_a_nonce_of_its_own_and_allows_nothing_without_it() {
    let dir = built();
    let mut seen = std::collections::HashSet::new();
    for path in [
        "/patient/",
        "/patient/account",
        "/patient/visit/7/call",
        "/patient/",
    ] {
        let (status, headers, page) = get(dir.path(), path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert_eq!(headers[CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(headers[CACHE_CONTROL], "no-store");
        let policy = policy(&headers);
        let scripts = sources(policy, "script-src");
        let nonce = scripts
            .strip_prefix("'nonce-")
            .unwrap()
            .strip_suffix('\'')
            .unwrap();
        assert_eq!(nonce.len(), 22, "128 bits in base64");
        assert_eq!(sources(policy, "style-src"), scripts);
        assert_eq!(page.matches(nonce).count(), 2, "{page}");
        assert!(!page.contains("__MEDMESH"), "{page}");
        assert!(seen.insert(nonce.to_owned()), "a nonce came twice");
    }
}

#[tokio::test]
async fn no_string_becomes_script_and_no_page_frames_it() {
    let dir = built();
    let (_, headers, _) = get(dir.path(), "/patient/").await;
    let policy = policy(&headers);
    assert_eq!(sources(policy, "require-trusted-types-for"), "'script'");
    assert_eq!(sources(policy, "trusted-types"), "'none'");
    assert_eq!(sources(policy, "default-src"), "'none'");
    assert_eq!(sources(policy, "base-uri"), "'none'");
    assert_eq!(sources(policy, "frame-ancestors"), "'none'");
    assert_eq!(sources(policy, "connect-src"), "'self' https://edge.example");
    assert!(!policy.contains("unsafe"), "{policy}");
}

#[tokio::test]
async fn files_are_served_as_they_are_and_what_is_missing_is_not_a_page() {
    let dir = built();
    let (status, headers, _) = get(dir.path(), "/patient/assets/a.js").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers[CACHE_CONTROL], IMMUTABLE);
    for path in ["/patient/assets/b.js", "/patient/robots.txt", "/clinician/", "/"] {
        let router: Router = routes(dir.path(), &[]);
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
}
