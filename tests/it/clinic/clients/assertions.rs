//! What is not believed, and that what is believed is believed once.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PSS_SHA384,
    RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use medmesh_api_types::client::{ASSERTION_TYPE, Client, ClientUpdate};
use medmesh_base::ClientId;
use medmesh_tests::control::{ControlNode, TestClinic, Wishes};
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{CALENDAR, Pkcs8, register};
use crate::clinic::{World, plain_http};

const ENDPOINT: &str = "http://portal.test/oauth/token";
/// Requests with one assertion at once.
const AT_ONCE: usize = 16;

fn claims(client: ClientId) -> Value {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    json!({
        "iss": client, "sub": client, "aud": ENDPOINT, "iat": now, "exp": now + 240, "jti": Uuid::new_v4(),
    })
}

/// The same with members changed; `null` takes one away.
fn with(mut value: Value, change: Value) -> Value {
    let Value::Object(change) = change else {
        panic!("a change names members");
    };
    for (name, member) in change {
        if member.is_null() {
            value.as_object_mut().unwrap().remove(&name);
        } else {
            value[name] = member;
        }
    }
    value
}

/// How a token is signed.
#[derive(Clone, Copy)]
enum By<'a> {
    Ec(&'a Pkcs8),
    Rsa(&'a Pkcs8, &'static dyn RsaEncoding),
    Mac(&'a [u8]),
    Nobody,
}

fn jwt(header: &Value, claims: &Value, by: By<'_>) -> String {
    let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encode(header), encode(claims));
    let random = SystemRandom::new();
    let signature = match by {
        By::Ec(key) => {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &key.der).unwrap();
            pair.sign(&random, text.as_bytes()).unwrap().as_ref().to_vec()
        }
        By::Rsa(key, how) => {
            let pair = RsaKeyPair::from_pkcs8(&key.der).unwrap();
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(how, &random, text.as_bytes(), &mut signature).unwrap();
            signature
        }
        By::Mac(secret) => {
            let key = hmac::Key::new(hmac::HMAC_SHA384, secret);
            hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
        }
        By::Nobody => Vec::new(),
    };
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn header(kid: &str) -> Value {
    json!({"alg": "ES384", "kid": kid, "typ": "JWT"})
}

fn good(client: ClientId, key: &Pkcs8) -> String {
    jwt(&header(key.id), &claims(client), By::Ec(key))
}

/// Asks with these parts of a form; gives status, error and the whole body.
async fn post(node: &ControlNode, parts: &[(&str, &str)]) -> (u16, String, Value) {
    let mut url = reqwest::Url::parse("form:").unwrap();
    url.query_pairs_mut().extend_pairs(parts);
    let request = plain_http()
        .post(format!("{}/oauth/token", node.url()))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(url.query().unwrap_or_default().to_owned());
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let body: Value = answer.json().await.unwrap();
    (
        status,
        body["error"].as_str().unwrap_or_default().to_owned(),
        body,
    )
}

async fn present(node: &ControlNode, assertion: &str) -> (u16, String, Value) {
    let parts = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", assertion),
    ];
    post(node, &parts).await
}

async fn tokens(world: &World) -> i64 {
    let count = sqlx::query_scalar("SELECT count(*) FROM oauth_token");
    count.fetch_one(&mut world.admin().await).await.unwrap()
}

/// Assertions with something wrong about them, each with what it is.
#[allow(clippy::too_many_lines, reason = "a table")]
fn bad(client: &Client, ec: &Pkcs8, rsa: &Pkcs8, stranger: &Pkcs8) -> Vec<(&'static str, String)> {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let id = client.id;
    let by_header = |change: Value| jwt(&with(header("ec"), change), &claims(id), By::Ec(ec));
    let by_claims = |change: Value| jwt(&header("ec"), &with(claims(id), change), By::Ec(ec));
    let rs = |alg: &str, how| {
        let header = with(header("rsa"), json!({"alg": alg}));
        jwt(&header, &claims(id), By::Rsa(rsa, how))
    };
    let point = client.jwks.keys[0]["x"].as_str().unwrap().as_bytes();
    let public = serde_json::to_vec(&client.jwks.keys[0]).unwrap();
    let hs = |secret| {
        jwt(
            &with(header("ec"), json!({"alg": "HS384"})),
            &claims(id),
            By::Mac(secret),
        )
    };
    let whole = good(id, ec);
    let (signed, signature) = whole.rsplit_once('.').unwrap();
    let mut flipped = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    flipped[10] ^= 1;
    let other = with(claims(id), json!({"jti": "changed"}));
    let mut parts: Vec<&str> = whole.split('.').collect();
    let encoded = BASE64_URL_SAFE_NO_PAD.encode(other.to_string());
    parts[1] = &encoded;
    vec![
        ("nothing", String::new()),
        ("no token", "not.a.token".into()),
        ("two parts", signed.to_owned()),
        ("four parts", format!("{whole}.AA")),
        ("too long", format!("{whole}{}", "A".repeat(9_000))),
        ("no signature", format!("{signed}.")),
        (
            "a signature with a bit changed",
            format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(flipped)),
        ),
        ("claims changed after signing", parts.join(".")),
        (
            "alg none",
            jwt(
                &with(header("ec"), json!({"alg": "none"})),
                &claims(id),
                By::Nobody,
            ),
        ),
        (
            "alg None",
            jwt(
                &with(header("ec"), json!({"alg": "None"})),
                &claims(id),
                By::Nobody,
            ),
        ),
        ("alg none with a signature", by_header(json!({"alg": "none"}))),
        ("no alg", by_header(json!({"alg": null}))),
        ("HMAC with the public point", hs(point)),
        ("HMAC with the public JWK", hs(&public)),
        ("ES256 by name", by_header(json!({"alg": "ES256"}))),
        ("RS384 by name, EC by key", by_header(json!({"alg": "RS384"}))),
        ("ES384 by name, RSA by key", by_header(json!({"kid": "rsa"}))),
        ("RS256", rs("RS256", &RSA_PKCS1_SHA256)),
        ("PS384", rs("PS384", &RSA_PSS_SHA384)),
        ("RS384 by name, SHA-256 in truth", rs("RS384", &RSA_PKCS1_SHA256)),
        (
            "another's key under this name",
            jwt(&header("ec"), &claims(id), By::Ec(stranger)),
        ),
        (
            "a key nobody registered",
            jwt(&header("stranger"), &claims(id), By::Ec(stranger)),
        ),
        ("no kid", by_header(json!({"kid": null}))),
        ("a kid that is no text", by_header(json!({"kid": 1}))),
        (
            "what must be understood",
            by_header(json!({"crit": ["b64"], "b64": false})),
        ),
        ("another kind of token", by_header(json!({"typ": "at+jwt"}))),
        ("a key of its own in the header", {
            let jwk = stranger.key().public_jwk();
            jwt(
                &with(header("ec"), json!({"jwk": jwk})),
                &claims(id),
                By::Ec(stranger),
            )
        }),
        ("said by somebody else", by_claims(json!({"iss": Uuid::now_v7()}))),
        (
            "about somebody unknown",
            by_claims(json!({"sub": Uuid::now_v7(), "iss": Uuid::now_v7()})),
        ),
        ("no issuer", by_claims(json!({"iss": null}))),
        ("no subject", by_claims(json!({"sub": null}))),
        ("no audience", by_claims(json!({"aud": null}))),
        ("to the issuer", by_claims(json!({"aud": "http://portal.test"}))),
        (
            "to another",
            by_claims(json!({"aud": "https://evil.example.org/oauth/token"})),
        ),
        (
            "to us and another",
            by_claims(json!({"aud": [ENDPOINT, "https://evil.example.org"]})),
        ),
        ("no end", by_claims(json!({"exp": null}))),
        ("an end that is text", by_claims(json!({"exp": "tomorrow"}))),
        ("over", by_claims(json!({"exp": now - 40}))),
        ("good for too long", by_claims(json!({"exp": now + 3_600}))),
        ("good for ever", by_claims(json!({"exp": i64::MAX}))),
        ("not yet", by_claims(json!({"nbf": now + 120}))),
        ("made in the future", by_claims(json!({"iat": now + 120}))),
        ("made long ago", by_claims(json!({"iat": now - 3_600}))),
        ("no jti", by_claims(json!({"jti": null}))),
        ("an empty jti", by_claims(json!({"jti": ""}))),
        ("a long jti", by_claims(json!({"jti": "j".repeat(300)}))),
    ]
}

#[tokio::test]
async fn whatever_is_wrong_with_an_assertion_the_answer_is_the_same_and_there_is_no_token() {
    let world = World::new().await;
    let other = TestClinic::open(&world.scratch, "hillside").await;
    let admin = world.signed_in("admin").await;
    let elsewhere = world.node.signed_in_as(&other, "admin").await;
    let (ec, rsa, stranger) = (Pkcs8::es384("ec"), Pkcs8::rs384("rsa"), Pkcs8::es384("stranger"));
    let client = register(&admin, &CALENDAR, &[&ec, &rsa]).await;
    let foreign = register(&elsewhere, &CALENDAR, &[&stranger]).await;
    let off = register(&admin, &CALENDAR, &[&ec]).await;
    let update = ClientUpdate {
        enabled: Some(false),
        ..ClientUpdate::default()
    };
    admin.client_update(off.id, off.version, &update).await.unwrap();
    let mut cases = bad(&client, &ec, &rsa, &stranger);
    cases.push(("shut out", good(off.id, &ec)));
    // Another clinic's machine with this one's key, and the other way round.
    cases.push(("of another clinic", good(foreign.id, &ec)));
    cases.push(("with a key of another clinic", good(client.id, &stranger)));
    assert!(cases.len() >= 45);
    let first = present(&world.node, &cases[0].1).await;
    assert_eq!((first.0, first.1.as_str()), (401, "invalid_client"));
    for (what, assertion) in &cases {
        assert_eq!(present(&world.node, assertion).await, first, "{what}");
    }
    assert_eq!(tokens(&world).await, 0);
    // What named a machine is in its clinic's log, without a word of what was wrong.
    let noted: Vec<(String, Uuid)> =
        sqlx::query_as("SELECT actor_kind, object_id FROM audit WHERE action = 'client_refused' ORDER BY id")
            .fetch_all(&mut world.admin().await)
            .await
            .unwrap();
    assert!(noted.len() >= 25, "{}", noted.len());
    for id in [client.id, foreign.id, off.id] {
        assert!(
            noted
                .iter()
                .any(|(kind, object)| kind == "login" && *object == id.as_uuid()),
            "{id}"
        );
    }
    for (key, by) in [(&ec, By::Ec(&ec)), (&rsa, By::Rsa(&rsa, &RSA_PKCS1_SHA384))] {
        let alg = if key.id == "ec" { "ES384" } else { "RS384" };
        let header = json!({"alg": alg, "kid": key.id});
        let given = present(&world.node, &jwt(&header, &claims(client.id), by)).await;
        assert_eq!(
            (given.0, &given.2["token_type"]),
            (200, &"bearer".into()),
            "{given:?}"
        );
    }
    assert_eq!(tokens(&world).await, 2);
}

#[tokio::test]
async fn a_request_that_is_no_request_of_a_token_says_why() {
    let world = World::new().await;
    let admin = world.signed_in("admin").await;
    let key = Pkcs8::es384("one");
    let client = register(&admin, &CALENDAR, &[&key]).await;
    let (grant, kind) = (
        ("grant_type", "client_credentials"),
        ("client_assertion_type", ASSERTION_TYPE),
    );
    let (id, stranger) = (client.id.to_string(), Uuid::now_v7().to_string());
    for (parts, status, error) in [
        (vec![], 400, "invalid_request"),
        (vec![kind], 400, "invalid_request"),
        (
            vec![("grant_type", "password"), kind],
            400,
            "unsupported_grant_type",
        ),
        (
            vec![("grant_type", "authorization_code")],
            400,
            "unsupported_grant_type",
        ),
        (vec![grant, grant, kind], 400, "invalid_request"),
        (vec![grant], 401, "invalid_client"),
        (
            vec![grant, ("client_id", id.as_str()), ("client_secret", "secret")],
            401,
            "invalid_client",
        ),
        (
            vec![
                grant,
                (
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
                ),
            ],
            401,
            "invalid_client",
        ),
        (
            vec![grant, kind, ("client_id", stranger.as_str())],
            400,
            "invalid_request",
        ),
    ] {
        let assertion = good(client.id, &key);
        let mut parts = parts;
        if parts.iter().any(|(name, _)| *name == "client_assertion_type") {
            parts.push(("client_assertion", &assertion));
        }
        let answer = post(&world.node, &parts).await;
        assert_eq!((answer.0, answer.1.as_str()), (status, error), "{parts:?}");
    }
    let assertion = good(client.id, &key);
    let parts = [
        grant,
        kind,
        ("client_assertion", &assertion),
        ("client_id", &id),
        ("unknown", "part"),
    ];
    assert_eq!(
        post(&world.node, &parts).await.0,
        200,
        "what is not known is left aside"
    );

    let url = format!("{}/oauth/token", world.node.url());
    let json = plain_http()
        .post(&url)
        .json(&json!({"grant_type": "client_credentials"}));
    assert_eq!(json.send().await.unwrap().status(), 400);
    let both = plain_http()
        .post(&url)
        .header("authorization", "Basic YTpi")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!(
            "grant_type=client_credentials&client_assertion_type={ASSERTION_TYPE}&client_assertion=a.b.c"
        ));
    assert_eq!(both.send().await.unwrap().status(), 400);
    assert_eq!(tokens(&world).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assertion_is_good_once_on_all_nodes_together() {
    let (world, second) = World::of_two(&Wishes::default()).await;
    let admin = world.signed_in("admin").await;
    let key = Pkcs8::es384("one");
    let client = register(&admin, &CALENDAR, &[&key]).await;
    let nodes = [&world.node, &second];

    let assertion = good(client.id, &key);
    assert_eq!(present(nodes[0], &assertion).await.0, 200);
    for node in [nodes[0], nodes[1], nodes[0]] {
        let again = present(node, &assertion).await;
        assert_eq!((again.0, again.1.as_str()), (401, "invalid_client"));
    }
    // The same jti under another signature is the same assertion.
    let mut twice = claims(client.id);
    twice["jti"] = "chosen".into();
    assert_eq!(
        present(nodes[0], &jwt(&header("one"), &twice, By::Ec(&key)))
            .await
            .0,
        200
    );
    assert_eq!(
        present(nodes[1], &jwt(&header("one"), &twice, By::Ec(&key)))
            .await
            .0,
        401
    );
    // Another machine's jti is its own.
    let other = register(&admin, &CALENDAR, &[&key]).await;
    let theirs = with(claims(other.id), json!({"jti": "chosen"}));
    assert_eq!(
        present(nodes[1], &jwt(&header("one"), &theirs, By::Ec(&key)))
            .await
            .0,
        200
    );

    for _ in 0..4 {
        let (before, assertion) = (tokens(&world).await, good(client.id, &key));
        let asked = (0..AT_ONCE).map(|n| present(nodes[n % 2], &assertion));
        let answers = futures::future::join_all(asked).await;
        let given = answers.iter().filter(|answer| answer.0 == 200).count();
        let refused = answers
            .iter()
            .filter(|answer| answer.1 == "invalid_client")
            .count();
        assert_eq!((given, refused), (1, AT_ONCE - 1));
        assert_eq!(tokens(&world).await, before + 1);
    }
}
