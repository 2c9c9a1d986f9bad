//! Signing in: sessions, CSRF, roles, throttling, and what cannot be learned from outside.

use std::time::{Duration, Instant};

use medmesh_api_client::{ClientError, IdempotencyKey};
use medmesh_api_types::Secret;
use medmesh_api_types::person::{Locale, PersonCreate, PersonQuery, Role};
use medmesh_api_types::problem::Problem;
use medmesh_base::{Phi, ProblemCode};
use medmesh_tests::control::PASSWORD;
use serde_json::json;

use super::{World, plain_http, refused};

pub(super) fn newcomer(email: &str, password: &str) -> PersonCreate {
    PersonCreate {
        display_name: Phi::new("Nora Newcomer".into()),
        email: Phi::new(email.into()),
        password: Secret::new(password),
        roles: vec![Role::Patient],
        locale: Locale::Es,
    }
}

#[tokio::test]
async fn a_session_lasts_from_login_to_logout() {
    let world = World::new().await;
    let client = world.node.client();
    assert_eq!(refused(client.session().await), ProblemCode::Unauthenticated);
    // Addresses know no case.
    let session = client.login("CLINICIAN@riverside.test", PASSWORD).await.unwrap();
    assert_eq!(session.person.id, world.clinic.person("clinician"));
    assert_eq!(session.person.roles, [Role::Clinician]);
    assert_eq!(session.clinic.time_zone, "Europe/Berlin");
    assert_eq!(session.idle_timeout_seconds, 900);
    assert_eq!(client.session().await.unwrap().csrf_token, session.csrf_token);
    client.logout().await.unwrap();
    assert_eq!(refused(client.session().await), ProblemCode::Unauthenticated);
    world.node.stop().await;
}

#[tokio::test]
async fn the_cookie_is_bound_to_the_host_and_out_of_reach_of_scripts() {
    let world = World::new().await;
    let login = json!({"email": world.clinic.email("patient"), "password": PASSWORD});
    let answer = plain_http()
        .post(format!("{}/v1/auth/login", world.node.url()))
        .json(&login)
        .send()
        .await
        .unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.starts_with("__Host-medmesh_session="), "{cookie}");
    for part in ["; Path=/", "; Secure", "; HttpOnly", "; SameSite=Strict"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    assert_eq!(answer.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn unsafe_requests_need_the_csrf_token_and_a_portals_origin() {
    let world = World::new().await;
    let http = plain_http();
    let login = json!({"email": world.clinic.email("patient"), "password": PASSWORD});
    let url = |path: &str| format!("{}{path}", world.node.url());
    let answer = http
        .post(url("/v1/auth/login"))
        .json(&login)
        .send()
        .await
        .unwrap();
    let cookie = answer.headers()["set-cookie"]
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let csrf = answer.json::<serde_json::Value>().await.unwrap()["csrf_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let logout = || http.post(url("/v1/auth/logout")).header("cookie", &cookie);
    let code = |answer: reqwest::Response| async { answer.json::<Problem>().await.unwrap().code };

    assert_eq!(
        code(logout().send().await.unwrap()).await,
        ProblemCode::CsrfRefused
    );
    let wrong = logout().header("x-csrf-token", "x".repeat(csrf.len()));
    assert_eq!(code(wrong.send().await.unwrap()).await, ProblemCode::CsrfRefused);
    let foreign = logout()
        .header("x-csrf-token", &csrf)
        .header("origin", "https://evil.test");
    assert_eq!(
        code(foreign.send().await.unwrap()).await,
        ProblemCode::CsrfRefused
    );
    let foreign = http
        .post(url("/v1/auth/login"))
        .json(&login)
        .header("origin", "https://evil.test");
    assert_eq!(
        code(foreign.send().await.unwrap()).await,
        ProblemCode::CsrfRefused
    );
    let ours = logout()
        .header("x-csrf-token", &csrf)
        .header("origin", "http://portal.test");
    assert_eq!(ours.send().await.unwrap().status(), 204);
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_password_look_alike() {
    let world = World::new().await;
    let mut texts = Vec::new();
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..3 {
        for (kind, email) in [
            world.clinic.email("patient"),
            format!("nobody{round}@riverside.test"),
            "no address @ all".to_owned().replace(' ', "."),
        ]
        .into_iter()
        .enumerate()
        {
            let started = Instant::now();
            let error = world
                .node
                .client()
                .login(&email, "not the password")
                .await
                .unwrap_err();
            times[kind].push(started.elapsed());
            let ClientError::Problem(mut problem) = error else {
                panic!("{error}")
            };
            problem.request_id = medmesh_base::RequestId::from_uuid(uuid::Uuid::nil());
            texts.push(serde_json::to_string(&problem).unwrap());
        }
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
    // Every one of them costs a hash: none is answered from a shorter path.
    for kind in &times {
        let fastest = kind.iter().min().unwrap();
        assert!(*fastest > Duration::from_millis(4), "{times:?}");
    }
}

#[tokio::test]
async fn guessing_is_throttled_and_a_right_password_does_not_help_then() {
    let world = World::new().await;
    let (client, email) = (world.node.client(), world.clinic.email("patient"));
    for _ in 0..10 {
        assert_eq!(
            refused(client.login(&email, "not the password").await),
            ProblemCode::LoginFailed
        );
    }
    let error = client.login(&email, PASSWORD).await.unwrap_err();
    let ClientError::Problem(problem) = error else {
        panic!("{error}")
    };
    assert_eq!(problem.code, ProblemCode::RateLimited);
    assert!((1..=900).contains(&problem.details.retry_after_seconds.unwrap()));
    // Others at the same address still sign in.
    world.signed_in("clinician").await;
}

#[tokio::test]
async fn only_admins_add_people_and_nobody_chooses_their_own_role() {
    let world = World::new().await;
    let new = newcomer("nora@riverside.test", "a walk along the river");
    for login in ["patient", "clinician"] {
        let client = world.signed_in(login).await;
        let key = IdempotencyKey::fresh();
        assert_eq!(
            refused(client.person_create(&key, &new).await),
            ProblemCode::Forbidden
        );
    }
    let admin = world.signed_in("admin").await;
    let person = admin.person_create(&IdempotencyKey::fresh(), &new).await.unwrap();
    assert_eq!(person.roles, [Role::Patient]);
    let again = admin.person_create(&IdempotencyKey::fresh(), &new).await;
    assert_eq!(refused(again), ProblemCode::StateConflict);
    let session = world
        .node
        .client()
        .login("nora@riverside.test", "a walk along the river")
        .await
        .unwrap();
    assert_eq!((session.person.id, session.locale), (person.id, Locale::Es));
}

#[tokio::test]
async fn weak_passwords_are_refused_with_the_field_and_without_the_value() {
    let world = World::new().await;
    let admin = world.signed_in("admin").await;
    for (password, code) in [
        ("short", ProblemCode::InvalidRequest),
        ("passwordpassword", ProblemCode::Unprocessable),
        ("NoraNewcomer1234", ProblemCode::Unprocessable),
        ("riverside-riverside", ProblemCode::Unprocessable),
    ] {
        let new = newcomer("nora@riverside.test", password);
        let error = admin
            .person_create(&IdempotencyKey::fresh(), &new)
            .await
            .unwrap_err();
        let ClientError::Problem(problem) = error else {
            panic!("{error}")
        };
        assert_eq!(
            (problem.code, problem.details.fields[0].field.as_str()),
            (code, "password")
        );
        assert!(!serde_json::to_string(&problem).unwrap().contains(password));
    }
}

#[tokio::test]
async fn people_are_listed_by_role_in_pages_and_addresses_are_for_admins() {
    let world = World::new().await;
    let patient = world.signed_in("patient").await;
    assert_eq!(
        refused(patient.person_list(&PersonQuery::default()).await),
        ProblemCode::Forbidden
    );
    let clinician = world.signed_in("clinician").await;
    let seen = clinician.person_list(&PersonQuery::default()).await.unwrap();
    assert_eq!(seen.items.len(), 5, "patients and clinicians");
    assert!(seen.items.iter().all(|person| person.email.is_none()));
    let admin = world.signed_in("admin").await;
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let query = PersonQuery {
            role: None,
            cursor,
            limit: Some(4),
        };
        let page = admin.person_list(&query).await.unwrap();
        found.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found.len(), 6);
    assert!(found.iter().all(|person| person.email.is_some()));
    let bad = PersonQuery {
        cursor: Some("nonsense".into()),
        ..PersonQuery::default()
    };
    assert_eq!(
        refused(admin.person_list(&bad).await),
        ProblemCode::InvalidRequest
    );
    let bad = PersonQuery {
        limit: Some(201),
        ..PersonQuery::default()
    };
    assert_eq!(
        refused(admin.person_list(&bad).await),
        ProblemCode::InvalidRequest
    );
}
