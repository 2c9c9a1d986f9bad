//! Machines of the clinic: registered, let in by a signed assertion, and held to their scopes.

mod assertions;
mod keeping;
mod limits;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, RsaKeyPair};
use medmesh_api_client::{ClientError, Clinic, IdempotencyKey, Machine, MachineKey};
use medmesh_api_types::appointment::{AppointmentCancel, AppointmentQuery, AppointmentUpdate};
use medmesh_api_types::audit_view::{AuditQuery, RecordAccessQuery};
use medmesh_api_types::client::{Client, ClientCreate, ClientScope, Jwks, TokenErrorCode};
use medmesh_api_types::session::SESSION_COOKIE;
use medmesh_base::{ClientId, ProblemCode};
use medmesh_tests::control::ControlNode;
use uuid::Uuid;

use super::{World, plain_http, refused};

const CALENDAR: [ClientScope; 2] = [ClientScope::AppointmentRead, ClientScope::AppointmentWrite];

/// A private key as a machine holds it.
#[derive(Clone)]
pub(crate) struct Pkcs8 {
    id: &'static str,
    der: Vec<u8>,
}

impl Pkcs8 {
    pub(crate) fn es384(id: &'static str) -> Self {
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &SystemRandom::new());
        let der = made.unwrap().as_ref().to_vec();
        Self { id, der }
    }

    fn rs384(id: &'static str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let der = der.as_ref().to_vec();
        Self { id, der }
    }

    fn key(&self) -> MachineKey {
        MachineKey::from_pkcs8(self.id, &self.der).unwrap()
    }
}

fn jwks(keys: &[&Pkcs8]) -> Jwks {
    let keys = keys.iter().map(|key| key.key().public_jwk()).collect();
    Jwks { keys }
}

/// Registers a machine as the clinic's admin.
pub(crate) async fn register(admin: &Clinic, scopes: &[ClientScope], keys: &[&Pkcs8]) -> Client {
    let new = ClientCreate {
        name: "Riverside EHR".to_owned(),
        scopes: scopes.to_vec(),
        jwks: jwks(keys),
    };
    admin.client_create(&IdempotencyKey::fresh(), &new).await.unwrap()
}

pub(crate) fn machine(node: &ControlNode, id: ClientId, key: &Pkcs8) -> Machine {
    Machine::new(&node.url(), id, key.key(), None, None).unwrap()
}

#[track_caller]
fn no_token<T: std::fmt::Debug>(result: Result<T, ClientError>) -> TokenErrorCode {
    match result {
        Err(ClientError::NoToken(refusal)) => refusal.error,
        other => panic!("expected a refusal of the token endpoint, got {other:?}"),
    }
}

#[tokio::test]
async fn a_machine_keeps_the_calendar_and_the_log_says_that_it_was_it() {
    let world = World::new().await;
    let admin = world.signed_in("admin").await;
    for (n, key) in [Pkcs8::es384("es"), Pkcs8::rs384("rs")].iter().enumerate() {
        let client = register(&admin, &CALENDAR, &[key]).await;
        assert_eq!((client.version, client.enabled), (1, true));
        let clinic = machine(&world.node, client.id, key).clinic().await.unwrap();

        let minutes = 60 + 120 * i64::try_from(n).unwrap();
        let (booking, once) = (
            world.booking("patient", "clinician", minutes),
            IdempotencyKey::fresh(),
        );
        let booked = clinic.appointment_create(&once, &booking).await.unwrap();
        // Who and when; why is between the patient and who treats them, also for whoever wrote it.
        assert_eq!((&booked.reason, booked.segment), (&None, None));
        assert_eq!(clinic.appointment_create(&once, &booking).await.unwrap(), booked);
        let seen = clinic.appointment_get(booked.id).await.unwrap();
        assert_eq!((&seen.reason, seen.starts_at), (&None, booked.starts_at));
        let listed = clinic
            .appointment_list(&AppointmentQuery::default())
            .await
            .unwrap();
        assert!(
            listed
                .items
                .iter()
                .any(|one| one.id == booked.id && one.reason.is_none())
        );
        let later = AppointmentUpdate {
            ends_at: Some(booked.ends_at + time::Duration::minutes(10)),
            ..AppointmentUpdate::default()
        };
        let stale = clinic.appointment_update(booked.id, 7, &later).await;
        assert_eq!(refused(stale), ProblemCode::VersionMismatch);
        let moved = clinic
            .appointment_update(booked.id, booked.version, &later)
            .await
            .unwrap();
        let off = AppointmentCancel::default();
        clinic
            .appointment_cancel(booked.id, moved.version, &off)
            .await
            .unwrap();

        let mut database = world.admin().await;
        let leaves: Vec<(String, String, Uuid, bool)> = sqlx::query_as(
            "SELECT action, actor_kind, actor_id, session_id IS NOT NULL FROM audit
             WHERE object_id = $1 ORDER BY id",
        )
        .bind(booked.id.as_uuid())
        .fetch_all(&mut database)
        .await
        .unwrap();
        let acts: Vec<&str> = leaves.iter().map(|leaf| leaf.0.as_str()).collect();
        for act in ["create", "read", "update", "cancel"] {
            let act = format!("appointment_{act}");
            assert!(acts.contains(&act.as_str()), "{act}: {acts:?}");
        }
        let id = client.id.as_uuid();
        assert!(
            leaves
                .iter()
                .all(|leaf| (leaf.1.as_str(), leaf.2, leaf.3) == ("client", id, true))
        );
    }
    // Auditor and patient read its name.
    let log = admin.audit_list(&AuditQuery::default()).await.unwrap();
    let cancelled = log
        .items
        .iter()
        .find(|entry| entry.action == "appointment_cancel")
        .unwrap();
    let named = cancelled.client.as_ref().unwrap();
    assert_eq!((named.name.as_str(), &cancelled.actor), ("Riverside EHR", &None));
    let patient = world.signed_in("patient").await;
    let whose = world.clinic.person("patient");
    let accesses = patient
        .record_access_list(whose, &RecordAccessQuery::default())
        .await
        .unwrap();
    assert!(accesses.items.iter().any(|one| {
        one.action == "appointment_read" && one.client.as_ref().is_some_and(|one| one.name == "Riverside EHR")
    }));
}

#[tokio::test]
async fn nobody_but_the_scopes_says_what_a_machine_may() {
    let world = World::new().await;
    let (admin, key) = (world.signed_in("admin").await, Pkcs8::es384("one"));
    let client = register(&admin, &CALENDAR, &[&key]).await;
    let ask = |scope| Machine::new(&world.node.url(), client.id, key.key(), scope, None).unwrap();
    for beyond in [
        "system/AuditEvent.rs",
        "system/Appointment.rs system/AuditEvent.rs",
        "system/*.cruds",
        "openid",
        "",
        "system/Appointment.rs  system/Appointment.cu",
    ] {
        assert_eq!(
            no_token(ask(Some(beyond)).token().await),
            TokenErrorCode::InvalidScope,
            "{beyond}"
        );
    }
    let whole = ask(None).token().await.unwrap();
    assert_eq!(whole.scope, "system/Appointment.rs system/Appointment.cu");
    assert_eq!((whole.token_type.as_str(), whole.expires_in), ("bearer", 300));
    let reading = ask(Some("system/Appointment.rs")).clinic().await.unwrap();
    reading
        .appointment_list(&AppointmentQuery::default())
        .await
        .unwrap();
    let booking = world.booking("patient", "clinician", 60);
    let written = reading
        .appointment_create(&IdempotencyKey::fresh(), &booking)
        .await;
    assert_eq!(refused(written), ProblemCode::Forbidden);
    // No scope opens these, and no machine ever steps up.
    assert_eq!(refused(reading.clinic_get().await), ProblemCode::Forbidden);
    assert_eq!(refused(reading.session().await), ProblemCode::Forbidden);
    let new = ClientCreate {
        name: "Another".to_owned(),
        scopes: CALENDAR.to_vec(),
        jwks: jwks(&[&key]),
    };
    let made = reading.client_create(&IdempotencyKey::fresh(), &new).await;
    assert_eq!(refused(made), ProblemCode::Forbidden);

    let denials: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT actor_kind, denied_action, denied_reason FROM audit WHERE action = 'denied' ORDER BY id",
    )
    .fetch_all(&mut world.admin().await)
    .await
    .unwrap();
    let denials: Vec<_> = denials
        .iter()
        .map(|(kind, action, reason)| (kind.as_str(), action.as_str(), reason.as_str()))
        .collect();
    let role = |action| ("client", action, "role");
    assert_eq!(
        denials,
        [
            ("client", "appointment_create", "scope"),
            role("clinic_get"),
            role("auth_session"),
            role("client_create"),
        ]
    );
}

/// A browser adds cookies by itself; a machine has none. Neither's token is the other's.
#[tokio::test]
async fn a_bearer_counts_alone_and_in_its_own_place() {
    let world = World::new().await;
    let (admin, key) = (world.signed_in("admin").await, Pkcs8::es384("one"));
    let client = register(&admin, &CALENDAR, &[&key]).await;
    let token = machine(&world.node, client.id, &key)
        .token()
        .await
        .unwrap()
        .access_token;
    let (cookie, csrf) = world.credentials("admin").await;
    let session = cookie.split_once('=').unwrap().1.to_owned();
    let http = plain_http();
    let ask = async |path: &str, cookie: Option<&str>, authorization: Option<String>| {
        let mut request = http
            .get(format!("{}{path}", world.node.url()))
            .header("x-csrf-token", &csrf);
        if let Some(cookie) = cookie {
            request = request.header("cookie", cookie);
        }
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let answer = request.send().await.unwrap();
        let has_cookie = answer.headers().contains_key("set-cookie");
        let challenge = answer
            .headers()
            .get("www-authenticate")
            .map(|one| one.to_str().unwrap().to_owned());
        (answer.status().as_u16(), has_cookie, challenge)
    };
    let bearer = |token: &str| Some(format!("Bearer {token}"));
    let (list, clinic) = ("/v1/appointments", "/v1/clinic");
    assert_eq!(ask(list, None, bearer(token.expose())).await.0, 200);
    assert_eq!(ask(clinic, Some(&cookie), None).await.0, 200);
    // With the admin's cookie beside it, it is the machine that asks.
    assert_eq!(
        ask(list, Some(&cookie), bearer(token.expose())).await,
        (200, false, None)
    );
    assert_eq!(ask(clinic, Some(&cookie), bearer(token.expose())).await.0, 403);
    let unauthenticated = (401, false, Some("Bearer realm=\"medmesh\"".to_owned()));
    for (cookie, authorization) in [
        (None, None),
        (None, bearer(&session)),
        (Some(cookie.as_str()), bearer(&session)),
        (Some(cookie.as_str()), bearer("mm_at_AAAA")),
        (Some(cookie.as_str()), Some("Basic YTpi".to_owned())),
        (Some(cookie.as_str()), Some(String::new())),
        (Some(&format!("{SESSION_COOKIE}={}", token.expose())), None),
    ] {
        let said = format!("{cookie:?} {authorization:?}");
        for path in [list, clinic] {
            assert_eq!(
                ask(path, cookie, authorization.clone()).await,
                unauthenticated,
                "{path} {said}"
            );
        }
    }
}

#[tokio::test]
async fn a_key_to_repeat_with_is_the_machine_s_and_not_the_token_s() {
    let world = World::new().await;
    let (admin, key) = (world.signed_in("admin").await, Pkcs8::es384("one"));
    let first = register(&admin, &CALENDAR, &[&key]).await;
    let second = register(&admin, &CALENDAR, &[&key]).await;
    let (booking, once) = (world.booking("patient", "clinician", 60), IdempotencyKey::fresh());
    let asking = machine(&world.node, first.id, &key);
    let booked = asking
        .clinic()
        .await
        .unwrap()
        .appointment_create(&once, &booking)
        .await
        .unwrap();
    asking.forget();
    let again = asking
        .clinic()
        .await
        .unwrap()
        .appointment_create(&once, &booking)
        .await
        .unwrap();
    assert_eq!(again, booked);
    // Another machine's request of that key is another request: the time is taken.
    let other = machine(&world.node, second.id, &key).clinic().await.unwrap();
    let taken = other.appointment_create(&once, &booking).await;
    assert_eq!(refused(taken), ProblemCode::SlotTaken);
}

#[tokio::test]
async fn the_service_says_how_to_ask() {
    let world = World::new().await;
    for path in ["oauth-authorization-server", "smart-configuration"] {
        let url = format!("{}/.well-known/{path}", world.node.url());
        let answer = plain_http().get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let told: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(told["issuer"], "http://portal.test");
        assert_eq!(told["token_endpoint"], "http://portal.test/oauth/token");
        assert_eq!(
            told["token_endpoint_auth_methods_supported"][0],
            "private_key_jwt"
        );
        let algorithms = &told["token_endpoint_auth_signing_alg_values_supported"];
        assert_eq!(*algorithms, serde_json::json!(["ES384", "RS384"]));
        assert_eq!(told["scopes_supported"].as_array().unwrap().len(), 6);
    }
}
