//! One router over HTTP/1.1, 2 and 3, and the portals' files.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use medmesh_tests::control::Wishes;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tempfile::TempDir;

use super::{World, plain_http};

const PAGE: &str = "<!doctype html><title>patient</title>";

struct Files {
    dir: TempDir,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for app in ["home", "patient", "clinician", "admin"] {
            std::fs::create_dir_all(dir.path().join(app).join("assets")).unwrap();
            let page = PAGE.replace("patient", app);
            std::fs::write(dir.path().join(app).join("index.html"), page).unwrap();
            std::fs::write(dir.path().join(app).join("assets/index-3f2a.js"), "export {};").unwrap();
        }
        std::fs::write(dir.path().join("outside.txt"), "CANARY").unwrap();
        let files = Self { dir };
        files.renew_certificate();
        files
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn certificate(&self) -> (PathBuf, PathBuf) {
        (self.path().join("cert.pem"), self.path().join("key.pem"))
    }

    fn renew_certificate(&self) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (cert, key) = self.certificate();
        std::fs::write(cert, made.cert.pem()).unwrap();
        std::fs::write(key, made.signing_key.serialize_pem()).unwrap();
    }

    fn pem(&self) -> Vec<u8> {
        std::fs::read(self.certificate().0).unwrap()
    }

    fn wishes(&self) -> Wishes {
        Wishes {
            portals: Some(self.path().to_owned()),
            https: Some(self.certificate()),
            ..Wishes::default()
        }
    }
}

fn https(files: &Files, only_h1: bool) -> reqwest::Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let certificates = reqwest::Certificate::from_pem_bundle(&files.pem()).unwrap();
    let mut builder = reqwest::Client::builder().tls_certs_only(certificates);
    if only_h1 {
        builder = builder.http1_only();
    }
    builder.build().unwrap()
}

#[tokio::test]
async fn http_1_2_and_3_serve_the_same_router() {
    let files = Files::new();
    let world = World::with(&files.wishes()).await;
    let port = world.node.https().port();
    for (only_h1, version) in [
        (true, reqwest::Version::HTTP_11),
        (false, reqwest::Version::HTTP_2),
    ] {
        let client = https(&files, only_h1);
        let answer = client
            .get(format!("https://localhost:{port}/v1/auth/session"))
            .send()
            .await
            .unwrap();
        assert_eq!((answer.version(), answer.status().as_u16()), (version, 401));
        assert_eq!(
            answer.headers()["alt-svc"],
            format!("h3=\":{port}\"; ma=86400").as_str()
        );
        let page = client
            .get(format!("https://localhost:{port}/patient/"))
            .send()
            .await
            .unwrap();
        assert_eq!(page.text().await.unwrap(), PAGE);
    }
    // Prior-knowledge HTTP/2 on the plain listener.
    let h2c = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let answer = h2c
        .get(format!("{}/v1/auth/session", world.node.url()))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (answer.version(), answer.status().as_u16()),
        (reqwest::Version::HTTP_2, 401)
    );

    let mut h3 = H3::connect(&files, world.node.https()).await;
    let (status, body) = h3.get("/v1/auth/session").await;
    assert_eq!(status, 401);
    assert!(
        String::from_utf8(body)
            .unwrap()
            .contains("\"code\":\"unauthenticated\"")
    );
    assert_eq!(h3.get("/patient/").await, (200, PAGE.as_bytes().to_vec()));
    assert_eq!(h3.post_json("/v1/auth/login", b"{\"email\":1").await.0, 400);
    assert_eq!(h3.post_json("/v1/auth/login", &vec![b' '; 80_000]).await.0, 413);
    drop(h3);
    world.node.stop().await;
}

#[tokio::test]
async fn portals_are_pages_with_views_inside_and_hashed_files() {
    let files = Files::new();
    let world = World::with(&files.wishes()).await;
    let http = plain_http();
    let get = |path: &str| http.get(format!("{}{path}", world.node.url())).send();
    let mut policies = BTreeSet::new();
    for (path, page) in [
        ("/", "home"),
        ("/patient/", "patient"),
        ("/patient/visits/0193/call", "patient"),
        ("/clinician/login", "clinician"),
        ("/admin/", "admin"),
    ] {
        let answer = get(path).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let policy = answer.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(
            policy.contains("script-src 'nonce-") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert!(
            policies.insert(policy),
            "each page has a nonce of its own: {path}"
        );
        assert!(
            answer.headers()["content-type"]
                .to_str()
                .unwrap()
                .starts_with("text/html")
        );
        assert_eq!(answer.text().await.unwrap(), PAGE.replace("patient", page));
    }
    assert_eq!(get("/patient").await.unwrap().headers()["location"], "/patient/");
    let script = get("/patient/assets/index-3f2a.js").await.unwrap();
    assert_eq!(
        script.headers()["cache-control"],
        "public, max-age=31536000, immutable"
    );
    assert!(
        script.headers()["content-type"]
            .to_str()
            .unwrap()
            .contains("javascript")
    );
    for missing in [
        "/patient/assets/index-0000.js",
        "/patient/missing.png",
        "/patient/..%2foutside.txt",
        "/patient/%2e%2e/outside.txt",
        "/patient/assets/..%2f..%2f..%2foutside.txt",
        "/outside.txt",
    ] {
        let answer = get(missing).await.unwrap();
        assert_eq!(answer.status(), 404, "{missing}");
        assert!(!answer.text().await.unwrap().contains("CANARY"), "{missing}");
    }
}

/// TLS 1.3 only; the edge's listener has a test of its own, the relay's takes 1.2 as well.
#[tokio::test]
async fn nothing_older_than_tls_1_3_is_spoken() {
    let files = Files::new();
    let world = World::with(&files.wishes()).await;
    let url = format!("https://localhost:{}/v1/auth/session", world.node.https().port());
    let certificate = reqwest::Certificate::from_pem(&files.pem()).unwrap();
    let speaking = |newest| {
        let client = reqwest::Client::builder().tls_certs_only([certificate.clone()]);
        client.tls_version_max(newest).build().unwrap()
    };
    let old = speaking(reqwest::tls::Version::TLS_1_2);
    let refused = old.get(&url).send().await.unwrap_err();
    assert!(refused.is_connect(), "{refused:?}");
    assert!(
        format!("{refused:?}").contains("ProtocolVersion"),
        "not for another reason: {refused:?}"
    );
    let new = speaking(reqwest::tls::Version::TLS_1_3);
    assert_eq!(new.get(&url).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let files = Files::new();
    let world = World::with(&files.wishes()).await;
    let url = format!("https://localhost:{}/v1/auth/session", world.node.https().port());
    assert!(https(&files, false).get(&url).send().await.is_ok());
    // A torn write is not adopted.
    std::fs::write(files.certificate().1, "no key").unwrap();
    files.renew_certificate();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while https(&files, false).get(&url).send().await.is_err() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the new certificate comes into force"
        );
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

/// A bare HTTP/3 client.
struct H3 {
    requests: h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>,
    _endpoint: quinn::Endpoint,
}

impl H3 {
    async fn connect(files: &Files, server: SocketAddr) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(&files.pem()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        endpoint.set_default_client_config(config);
        let connection = endpoint.connect(server, "localhost").unwrap().await.unwrap();
        let (mut driver, requests) = h3::client::new(h3_quinn::Connection::new(connection))
            .await
            .unwrap();
        tokio::spawn(async move { driver.wait_idle().await });
        Self {
            requests,
            _endpoint: endpoint,
        }
    }

    async fn get(&mut self, path: &str) -> (u16, Vec<u8>) {
        self.send("GET", path, &[]).await
    }

    async fn post_json(&mut self, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        self.send("POST", path, body).await
    }

    async fn send(&mut self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("https://localhost{path}"))
            .header("content-type", "application/json")
            .body(())
            .unwrap();
        let mut stream = self.requests.send_request(request).await.unwrap();
        if !body.is_empty() {
            // The server may have answered and stopped reading before it has everything.
            let _ = stream.send_data(Bytes::copy_from_slice(body)).await;
        }
        let _ = stream.finish().await;
        let status = stream.recv_response().await.unwrap().status().as_u16();
        let mut bytes = Vec::new();
        while let Ok(Some(mut chunk)) = stream.recv_data().await {
            bytes.extend_from_slice(&chunk.copy_to_bytes(chunk.remaining()));
        }
        (status, bytes)
    }
}
