//! Nobody overwrites what they have not seen.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::World;
use super::{Desk, Said, code, operations};

/// Updating operations that take no version, and why.
const WITHOUT_VERSION: &[(&str, &str)] = &[];

#[test]
fn what_updates_takes_a_version() {
    for operation in operations() {
        let is_update = [Method::PATCH, Method::PUT].contains(&operation.method);
        let is_exempt = WITHOUT_VERSION.iter().any(|(id, _)| *id == operation.id);
        if is_update && !is_exempt {
            assert!(operation.takes("if-match"), "{} takes no version", operation.id);
        }
    }
}

/// Asked of nothing that exists, by whoever may ask at all.
#[tokio::test]
async fn every_update_wants_a_version_before_anything_else() {
    let world = World::new().await;
    let desk = Desk::open(&world).await;
    let mut walked = 0;
    for operation in operations() {
        if !operation.takes("if-match") {
            continue;
        }
        let mut answers = Vec::new();
        for login in ["admin", "clinician", "patient"] {
            let said = Said {
                login,
                path: operation.made_up_path(),
                body: json!({}),
            };
            let bare = desk.request(&operation, &said).send().await.unwrap();
            answers.push(code(bare).await);
            let wrong = desk.request(&operation, &said).header("if-match", "*");
            let (status, _) = code(wrong.send().await.unwrap()).await;
            assert!(status == 400 || status == 403, "{} {status}", operation.id);
        }
        let wanted = (428, "precondition_required".to_owned());
        assert!(answers.contains(&wanted), "{}: {answers:?}", operation.id);
        assert!(
            answers.iter().all(|one| *one == wanted || one.0 == 403),
            "{}: {answers:?}",
            operation.id
        );
        walked += 1;
    }
    assert!(walked >= 3, "{walked}");
}

#[tokio::test]
async fn an_update_without_the_version_it_was_made_against_changes_nothing() {
    let world = World::new().await;
    let desk = Desk::open(&world).await;
    let appointment = world.booked_now().await.id;
    let patient = world.clinic.person("patient");
    let colleague = world.clinic.person("colleague");
    let made = async |login, what: &str, body: Value| {
        let said = Said {
            login,
            path: format!("/v1/patients/{patient}/{what}"),
            body,
        };
        let create = operations()
            .into_iter()
            .find(|one| one.id == "appointment_create")
            .unwrap();
        let request = desk
            .request(&create, &said)
            .header("idempotency-key", Uuid::now_v7().to_string());
        let made: Value = request.send().await.unwrap().json().await.unwrap();
        made["id"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
    };
    let member = made(
        "admin",
        "care-team",
        json!({"person_id": colleague, "role": "clinician"}),
    )
    .await;
    let referral = made("clinician", "referrals", json!({"to_id": colleague})).await;
    let mut walked = 0;
    for operation in operations() {
        if !operation.takes("if-match") {
            continue;
        }
        let id = operation.id.as_str();
        let path = format!("/v1/appointments/{appointment}");
        let (login, path, body) = match id {
            "appointment_update" => ("clinician", path, json!({"reason": "another"})),
            "appointment_cancel" => ("clinician", format!("{path}/cancel"), json!({})),
            "clinic_update" => ("admin", "/v1/clinic".to_owned(), json!({"media_regions": []})),
            "care_team_end" => ("admin", format!("/v1/care-team/{member}/end"), json!({})),
            "referral_end" => ("clinician", format!("/v1/referrals/{referral}/end"), json!({})),
            "privacy_officer_set" => {
                let body = json!({"person_id": world.clinic.person("colleague")});
                ("admin", "/v1/privacy-officer".to_owned(), body)
            }
            // What needs a privacy officer, an admin's decision or a provider first is walked by the
            // tests of its own; that it wants a version at all is walked above.
            _ => continue,
        };
        let said = Said { login, path, body };
        let send = async |version: Option<&str>| {
            let mut request = desk.request(&operation, &said);
            if let Some(version) = version {
                request = request.header("if-match", version);
            }
            code(request.send().await.unwrap()).await
        };
        assert_eq!(
            send(None).await,
            (428, "precondition_required".to_owned()),
            "{id}"
        );
        for stale in ["\"998\"", "\"999\"", "\"9223372036854775807\""] {
            assert_eq!(
                send(Some(stale)).await,
                (412, "version_mismatch".to_owned()),
                "{id} {stale}"
            );
        }
        for wrong in [
            "1",
            "*",
            "W/\"1\"",
            "\"one\"",
            "\"1\", \"2\"",
            "\"99999999999999999999\"",
        ] {
            assert_eq!(
                send(Some(wrong)).await,
                (400, "invalid_request".to_owned()),
                "{id} {wrong}"
            );
        }
        walked += 1;
    }
    assert!(walked >= 6, "{walked}");
}
