//! Nobody overwrites what they have not seen.

use medmesh_clinic::identity::TotpSecret;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::World;
use super::super::factors::code as code_of_app;
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

/// What there is to update.
struct Ground {
    appointment: String,
    member: String,
    referral: String,
    glass: String,
    credential: String,
    client: String,
    correction: String,
    passkey: Uuid,
    patient: Uuid,
    colleague: Uuid,
}

impl Ground {
    async fn lay(world: &World, desk: &Desk<'_>) -> Self {
        let appointment = world.booked_now().await.id.to_string();
        let person = |login| world.clinic.person(login).as_uuid();
        let (patient, colleague) = (person("patient"), person("colleague"));
        let made = async |login, path: String, body: Value| {
            let create = operations()
                .into_iter()
                .find(|one| one.id == "appointment_create")
                .unwrap();
            let request = desk
                .request(&create, &Said { login, path, body })
                .header("idempotency-key", Uuid::now_v7().to_string());
            let made: Value = request.send().await.unwrap().json().await.unwrap();
            made["id"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
        };
        let of = |patient: Uuid, what: &str| format!("/v1/patients/{patient}/{what}");
        let team = json!({"person_id": colleague, "role": "clinician"});
        let licence = json!({"kind": "license", "profession": "clinician", "state": "TX", "number": "T1",
            "expires_on": "2030-06-30"});
        let second = of(person("second"), "break-glass");
        // The admin looks after privacy, and the clinician has an app beside their passkey.
        let admin = world.signed_in("admin").await;
        admin
            .privacy_officer_set(world.clinic.person("admin"), 0)
            .await
            .unwrap();
        let clinician = world.signed_in("clinician").await;
        let setup = clinician.totp_begin().await.unwrap();
        let secret = TotpSecret::from_base32(setup.secret.expose()).unwrap();
        clinician.totp_confirm(&code_of_app(&secret, 0)).await.unwrap();
        Self {
            appointment,
            member: made("admin", of(patient, "care-team"), team).await,
            referral: made("clinician", of(patient, "referrals"), json!({"to_id": colleague})).await,
            glass: made("clinician", second, json!({"reason": "found unconscious"})).await,
            credential: made("clinician", "/v1/credentials".to_owned(), licence).await,
            client: made("admin", "/v1/clients".to_owned(), machine()).await,
            correction: {
                let wrong = json!({"what": "the left knee", "why": "it is the right one"});
                made("patient", of(patient, "corrections"), wrong).await
            },
            passkey: clinician.factor_list().await.unwrap().passkeys[0].id,
            patient,
            colleague,
        }
    }

    /// Who may update it, where, and a change that would be made.
    fn say(&self, operation: &str) -> Said {
        let appointment = format!("/v1/appointments/{}", self.appointment);
        let credential = |what: &str| format!("/v1/credentials/{}/{what}", self.credential);
        let correction = |what: &str| format!("/v1/corrections/{}/{what}", self.correction);
        let (login, path, body) = match operation {
            "appointment_update" => ("clinician", appointment, json!({"reason": "another"})),
            "appointment_cancel" => ("clinician", format!("{appointment}/cancel"), json!({})),
            "clinic_update" => ("admin", "/v1/clinic".to_owned(), json!({"media_regions": []})),
            "care_team_end" => ("admin", format!("/v1/care-team/{}/end", self.member), json!({})),
            "referral_end" => (
                "clinician",
                format!("/v1/referrals/{}/end", self.referral),
                json!({}),
            ),
            "correction_accept" => ("clinician", correction("accept"), json!({})),
            "correction_decline" => {
                let why = json!({"reason": "it was the left one"});
                ("clinician", correction("decline"), why)
            }
            "correction_disagree" => {
                let said = json!({"statement": "it was not"});
                ("patient", correction("disagree"), said)
            }
            "privacy_officer_set" => {
                let body = json!({"person_id": self.colleague});
                ("admin", "/v1/privacy-officer".to_owned(), body)
            }
            "person_update" => (
                "admin",
                format!("/v1/people/{}", self.colleague),
                json!({"active": false}),
            ),
            "passkey_rename" => {
                let path = format!("/v1/auth/mfa/passkeys/{}", self.passkey);
                ("clinician", path, json!({"name": "desk"}))
            }
            "totp_rename" => (
                "clinician",
                "/v1/auth/mfa/totp".to_owned(),
                json!({"name": "phone"}),
            ),
            "break_glass_review" => {
                let path = format!("/v1/break-glass/{}/review", self.glass);
                ("admin", path, json!({"finding": "justified"}))
            }
            "credential_verify" => ("admin", credential("verify"), json!({})),
            "credential_reject" => ("admin", credential("reject"), json!({"reason": "unknown there"})),
            "credential_withdraw" => ("clinician", credential("withdraw"), json!({})),
            "record_rights_set" => {
                let path = format!("/v1/patients/{}/rights", self.patient);
                ("patient", path, json!({"restricted": true, "erasure": false}))
            }
            "oidc_provider_set" => {
                let body = json!({"issuer": "https://id.example.org", "client_id": "clinic",
                    "client_secret": "a secret of twenty", "enabled": true});
                ("admin", "/v1/clinic/oidc".to_owned(), body)
            }
            "client_update" => {
                let path = format!("/v1/clients/{}", self.client);
                ("admin", path, json!({"enabled": false}))
            }
            other => panic!("{other} updates something: say here whom to ask, and for what change"),
        };
        Said { login, path, body }
    }
}

#[tokio::test]
async fn an_update_without_the_version_it_was_made_against_changes_nothing() {
    let world = World::new().await;
    let desk = Desk::open(&world).await;
    let ground = Ground::lay(&world, &desk).await;
    let before = versions(&world).await;
    let mut walked = 0;
    for operation in operations() {
        if !operation.takes("if-match") {
            continue;
        }
        let id = operation.id.as_str();
        let said = ground.say(id);
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
    assert!(walked >= 16, "{walked}");
    assert_eq!(versions(&world).await, before);
}

/// A machine of the clinic to register.
fn machine() -> Value {
    let jwk = json!({"kid": "one", "kty": "RSA", "n": format!("{}w", "_".repeat(341)), "e": "AQAB"});
    json!({"name": "a system", "scopes": ["system/Appointment.rs"], "jwks": {"keys": [jwk]}})
}

/// Every version there is, and how much of what is updated.
async fn versions(world: &World) -> Vec<(String, i64)> {
    let mut found = Vec::new();
    let mut admin = world.admin().await;
    for table in [
        "appointment",
        "clinic",
        "care_team",
        "referral",
        "privacy_officer",
        "person",
        "factor_name",
        "break_glass",
        "credential",
        "record_rights",
        "correction",
        "oidc_provider",
        "oauth_client",
    ] {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT coalesce(sum(version), 0)::bigint + count(*) FROM {table}"
        ));
        let sum = sqlx::query_scalar(sql).fetch_one(&mut admin).await.unwrap();
        found.push((table.to_owned(), sum));
    }
    found
}
