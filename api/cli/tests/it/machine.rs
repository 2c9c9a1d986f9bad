//! `medmesh machine`: the whole life of a machine of a clinic, by who sets it up.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use medmesh_api_client::{Clinic, IdempotencyKey};
use medmesh_api_types::client::{Client, ClientCreate, ClientQuery, ClientScope, ClientUpdate, Jwks};
use medmesh_tests::control::{ControlNode, TestClinic, Wishes};
use medmesh_tests::postgres::Scratch;
use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

use super::{Said, medmesh};

const READS: &str = "system/Appointment.rs";
const WRITES: &str = "system/Appointment.cu";

/// Whoever sets up the machine, and the admin of its clinic.
struct Desk {
    node: ControlNode,
    admin: Clinic,
    dir: TempDir,
}

impl Desk {
    async fn new() -> Self {
        // Harmless if somebody was faster: there is one provider.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let scratch = Scratch::database().await.unwrap();
        let clinic = TestClinic::open(&scratch, "riverside").await;
        let node = ControlNode::start(&scratch, &Wishes::default()).await;
        let admin = signed_in(&node, &clinic).await;
        Self {
            node,
            admin,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self, name: &str) -> String {
        let path: PathBuf = self.dir.path().join(name);
        path.to_str().unwrap().to_owned()
    }

    /// Makes a key; gives its public half.
    async fn key(&self, kid: &str) -> Jwks {
        let file = self.file(kid);
        let said = medmesh(&["machine", "key", "--kid", kid, "--out", &file]).await;
        assert_eq!((said.code, said.err.as_str()), (0, ""));
        serde_json::from_str(&said.out).unwrap()
    }

    async fn token(&self, client: &str, kid: &str, file: &str, scope: Option<&str>) -> Said {
        let url = self.node.url();
        let mut arguments = vec!["machine", "token", "--url", &url, "--client-id", client];
        arguments.extend(["--kid", kid, "--key-file", file]);
        if let Some(scope) = scope {
            arguments.extend(["--scope", scope]);
        }
        medmesh(&arguments).await
    }

    /// A token by the key of this name, and what it is good for.
    async fn good(&self, client: &Client, kid: &str, scope: Option<&str>) -> (String, String) {
        let said = self
            .token(&client.id.to_string(), kid, &self.file(kid), scope)
            .await;
        assert_eq!((said.code, said.err.as_str()), (0, ""));
        let token: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(token["token_type"], "bearer");
        let word = |name: &str| token[name].as_str().unwrap().to_owned();
        (word("access_token"), word("scope"))
    }

    /// What a route answers to a token.
    async fn ask(&self, token: &str, path: &str) -> StatusCode {
        let url = format!("{}{path}", self.node.url());
        let sent = reqwest::Client::new().get(url).bearer_auth(token).send();
        sent.await.unwrap().status()
    }
}

async fn signed_in(node: &ControlNode, clinic: &TestClinic) -> Clinic {
    let ready = format!("{}/readyz", node.admin_url());
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while !reqwest::get(&ready).await.unwrap().status().is_success() {
        assert!(tokio::time::Instant::now() < deadline, "the node becomes ready");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    node.signed_in_as(clinic, "admin").await
}

/// Not done, and why, in one line that gives nothing away.
#[track_caller]
fn refused(said: &Said, code: i32, why: &str) {
    assert_eq!((said.code, said.out.as_str()), (code, ""), "{}", said.err);
    assert!(said.err.contains(why), "{:?} should say {why:?}", said.err);
    for secret in ["PRIVATE KEY", "eyJ", "panicked"] {
        assert!(!said.err.contains(secret), "{:?}", said.err);
    }
    if code == 1 {
        assert_eq!(said.err.lines().count(), 1, "{:?}", said.err);
        assert!(said.err.starts_with("medmesh: "), "{:?}", said.err);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_is_set_up_used_given_another_key_and_shut_out() {
    let desk = Desk::new().await;
    let first = desk.key("first").await;
    assert_eq!(first.keys.len(), 1);
    assert_eq!(
        (&first.keys[0]["kid"], &first.keys[0]["alg"]),
        (&"first".into(), &"ES384".into())
    );
    assert!(
        !first.keys[0].contains_key("d"),
        "the private half stays in its file"
    );
    let mode = std::fs::metadata(desk.file("first"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let new = ClientCreate {
        name: "Riverside calendar".to_owned(),
        scopes: vec![ClientScope::AppointmentRead, ClientScope::AppointmentWrite],
        jwks: first.clone(),
    };
    let client = desk
        .admin
        .client_create(&IdempotencyKey::fresh(), &new)
        .await
        .unwrap();
    let listed = desk.admin.client_list(&ClientQuery::default()).await.unwrap();
    assert_eq!(listed.items, std::slice::from_ref(&client));

    // All it may, some of it, and what it may not.
    let (token, scope) = desk.good(&client, "first", None).await;
    assert_eq!(scope.split(' ').count(), 2, "{scope}");
    assert_eq!(desk.ask(&token, "/v1/appointments").await, StatusCode::OK);
    assert_eq!(desk.ask(&token, "/v1/audit").await, StatusCode::FORBIDDEN);
    let (narrow, scope) = desk.good(&client, "first", Some(WRITES)).await;
    assert_eq!(scope, WRITES);
    assert_eq!(desk.ask(&narrow, "/v1/appointments").await, StatusCode::FORBIDDEN);
    let (id, file) = (client.id.to_string(), desk.file("first"));
    for scope in ["system/AuditEvent.rs", "everything"] {
        refused(
            &desk.token(&id, "first", &file, Some(scope)).await,
            1,
            "no token: ",
        );
    }
    // Scopes that are taken away are missing at once, also from the tokens there are.
    let fewer = ClientUpdate {
        scopes: Some(vec![ClientScope::AppointmentWrite]),
        ..ClientUpdate::default()
    };
    let client = desk
        .admin
        .client_update(client.id, client.version, &fewer)
        .await
        .unwrap();
    assert_eq!(desk.ask(&token, "/v1/appointments").await, StatusCode::FORBIDDEN);
    refused(
        &desk.token(&id, "first", &file, Some(READS)).await,
        1,
        "no token: ",
    );

    // Another key: both are good, then the next one alone.
    let second = desk.key("second").await;
    let keys = |sets: &[&Jwks]| ClientUpdate {
        jwks: Some(Jwks {
            keys: sets.iter().flat_map(|set| set.keys.clone()).collect(),
        }),
        scopes: Some(vec![ClientScope::AppointmentRead]),
        ..ClientUpdate::default()
    };
    let both = keys(&[&first, &second]);
    let client = desk
        .admin
        .client_update(client.id, client.version, &both)
        .await
        .unwrap();
    let (old, _) = desk.good(&client, "first", None).await;
    let (next, _) = desk.good(&client, "second", None).await;
    let only = keys(&[&second]);
    let client = desk
        .admin
        .client_update(client.id, client.version, &only)
        .await
        .unwrap();
    refused(&desk.token(&id, "first", &file, None).await, 1, "no token: ");
    assert_eq!(desk.ask(&old, "/v1/appointments").await, StatusCode::UNAUTHORIZED);
    assert_eq!(desk.ask(&next, "/v1/appointments").await, StatusCode::OK);
    // The name of one key with the other's file is no proof.
    refused(&desk.token(&id, "second", &file, None).await, 1, "no token: ");

    // Shut out, and let in again.
    let enabled = |enabled| ClientUpdate {
        enabled: Some(enabled),
        ..ClientUpdate::default()
    };
    let out = desk
        .admin
        .client_update(client.id, client.version, &enabled(false))
        .await
        .unwrap();
    let file = desk.file("second");
    refused(&desk.token(&id, "second", &file, None).await, 1, "no token: ");
    assert_eq!(
        desk.ask(&next, "/v1/appointments").await,
        StatusCode::UNAUTHORIZED
    );
    desk.admin
        .client_update(client.id, out.version, &enabled(true))
        .await
        .unwrap();
    let (again, _) = desk.good(&client, "second", None).await;
    assert_eq!(desk.ask(&again, "/v1/appointments").await, StatusCode::OK);
    desk.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_in_a_line_and_by_the_exit_code() {
    let desk = Desk::new().await;
    desk.key("own").await;
    let (own, id) = (desk.file("own"), "01990000-0000-7000-8000-000000000001");
    let before = std::fs::read(&own).unwrap();
    let again = medmesh(&["machine", "key", "--kid", "own", "--out", &own]).await;
    refused(&again, 1, "cannot make ");
    assert_eq!(
        std::fs::read(&own).unwrap(),
        before,
        "a key is never written over"
    );
    let nowhere = desk.file("no/such/folder");
    let said = medmesh(&["machine", "key", "--kid", "own", "--out", &nowhere]).await;
    refused(&said, 1, "cannot make ");

    refused(&desk.token(id, "own", &own, None).await, 1, "no token: ");
    refused(
        &desk.token(id, "own", &desk.file("none"), None).await,
        1,
        "cannot read ",
    );
    for (name, bytes, why) in [
        ("text", b"not a key".to_vec(), "holds no PKCS#8 key"),
        ("empty", Vec::new(), "holds no PKCS#8 key"),
        ("half", before[..before.len() / 2].to_vec(), "holds no PKCS#8 key"),
        ("large", vec![b'A'; 64 * 1024], "is too large for a key"),
    ] {
        std::fs::write(desk.file(name), bytes).unwrap();
        refused(&desk.token(id, "own", &desk.file(name), None).await, 1, why);
    }
    let closed = [
        "machine",
        "token",
        "--url",
        "http://127.0.0.1:9",
        "--client-id",
        id,
    ];
    let closed = [&closed[..], &["--kid", "own", "--key-file", own.as_str()]].concat();
    refused(&medmesh(&closed).await, 1, "medmesh: ");
    let no_ca = [&closed[..], &["--ca-file", nowhere.as_str()]].concat();
    refused(
        &medmesh(&no_ca).await,
        1,
        "cannot read the authority's certificate",
    );
    // Called wrongly: nothing was tried.
    refused(&desk.token("42", "own", &own, None).await, 2, "--client-id");
    for (arguments, missing) in [
        (&["machine"][..], "Usage"),
        (&["machine", "key", "--kid", "k"], "--out"),
        (&["machine", "token", "--kid", "k"], "--client-id"),
        (&["machine", "sing"], "sing"),
    ] {
        refused(&medmesh(arguments).await, 2, missing);
    }
    desk.node.stop().await;
}
