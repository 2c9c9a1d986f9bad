//! Patients who register themselves: only where the clinic lets them, only with their mailbox, and
//! nobody learns who is known.

use medmesh_api_types::Secret;
use medmesh_api_types::account::{RegistrationComplete, RegistrationRequest};
use medmesh_api_types::clinic::ClinicUpdate;
use medmesh_api_types::person::{Locale, PersonQuery, Role};
use medmesh_base::{ClinicId, Phi, ProblemCode};
use medmesh_tests::smtp::{Mail, SmtpSink};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::links::with_mail;
use super::{World, plain_http, refused};

const PASSWORD: &str = "nine lamps by the water";

async fn open_for_registration() -> (World, SmtpSink) {
    let (world, sink) = with_mail().await;
    let admin = world.signed_in("admin").await;
    let before = admin.clinic_get().await.unwrap();
    assert!(!before.self_registration, "a clinic opts in");
    let update = ClinicUpdate {
        self_registration: Some(true),
        ..ClinicUpdate::default()
    };
    assert!(
        admin
            .clinic_update(before.version, &update)
            .await
            .unwrap()
            .self_registration
    );
    (world, sink)
}

fn request(clinic_id: ClinicId, email: &str) -> RegistrationRequest {
    RegistrationRequest {
        clinic_id,
        email: Phi::new(email.into()),
        locale: Locale::Es,
    }
}

fn complete(token: &str) -> RegistrationComplete {
    RegistrationComplete {
        token: Secret::new(token),
        display_name: Phi::new("Nils Newcomer".into()),
        password: Secret::new(PASSWORD),
    }
}

fn token(mail: &Mail) -> Option<String> {
    let text = mail.data.replace("=\n", "").replace("=3D", "=");
    let (_, after) = text.split_once("#register=")?;
    Some(after.chars().take(43).collect())
}

#[tokio::test]
async fn a_patient_registers_with_their_mailbox_and_is_a_patient_only() {
    let (world, sink) = open_for_registration().await;
    let client = world.node.client();
    client
        .registration_request(&request(world.clinic.id, "Nils@riverside.test"))
        .await
        .unwrap();
    let mail = sink.mail(0).await;
    assert_eq!(mail.to, ["nils@riverside.test".to_owned()]);
    let token = token(&mail).expect("the mail has a link");
    assert_eq!(
        refused(client.login("nils@riverside.test", PASSWORD).await),
        ProblemCode::LoginFailed,
        "nothing can be used before the mailbox is proved"
    );
    let mut weak = complete(&token);
    weak.password = Secret::new("nils-newcomer-riverside");
    assert_eq!(
        refused(client.registration_complete(&weak).await),
        ProblemCode::Unprocessable
    );
    client.registration_complete(&complete(&token)).await.unwrap();
    assert_eq!(
        refused(client.registration_complete(&complete(&token)).await),
        ProblemCode::LinkSpent
    );
    let session = client.login("nils@riverside.test", PASSWORD).await.unwrap();
    assert_eq!(session.person.roles, [Role::Patient]);
    assert_eq!(session.locale, Locale::Es);
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM registration")
        .fetch_one(&mut world.admin().await)
        .await
        .unwrap();
    assert_eq!(left, 0);
    let admin = world.signed_in("admin").await;
    let people = admin.person_list(&PersonQuery::default()).await.unwrap().items;
    assert!(people.iter().any(|person| person.id == session.person.id));
}

/// Answers differ in nothing but their request id, whoever asks for whatever address.
#[tokio::test]
async fn nobody_learns_by_asking_who_is_known() {
    let (world, sink) = open_for_registration().await;
    let client = world.node.client();
    for email in ["patient@riverside.test", "nobody@riverside.test"] {
        client
            .registration_request(&request(world.clinic.id, email))
            .await
            .unwrap();
    }
    let mails = [sink.mail(0).await, sink.mail(1).await];
    let to = |email: &str| mails.iter().find(|mail| mail.to == [email.to_owned()]).unwrap();
    assert!(token(to("nobody@riverside.test")).is_some());
    assert!(
        token(to("patient@riverside.test")).is_none(),
        "who is known is told so, by mail"
    );
    // Roles are the server's to give, in whatever way they are asked for.
    let body = json!({"clinic_id": world.clinic.id, "email": "a@riverside.test", "roles": ["admin"]});
    let url = format!("{}/v1/auth/registration", world.node.url());
    let asked = plain_http().post(&url).json(&body).send().await.unwrap();
    assert_eq!(asked.status(), 400);
    // The mailbox of one person is not flooded, and whoever asks does not notice.
    for _ in 0..7 {
        client
            .registration_request(&request(world.clinic.id, "flood@riverside.test"))
            .await
            .unwrap();
    }
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM registration")
        .fetch_one(&mut world.admin().await)
        .await
        .unwrap();
    assert!(rows <= 3, "one address waits once: {rows}");
    let mut limited = false;
    for n in 0..40 {
        let asked = client
            .registration_request(&request(world.clinic.id, &format!("{n}@x.test")))
            .await;
        limited |= asked.is_err_and(|error| matches!(error, medmesh_api_client::ClientError::Problem(problem) if problem.code == ProblemCode::RateLimited));
    }
    assert!(limited, "one address asks for many mailboxes");
}

#[tokio::test]
async fn only_where_the_clinic_lets_patients_register_and_only_for_a_day() {
    let (world, sink) = with_mail().await;
    let client = world.node.client();
    for clinic in [world.clinic.id, ClinicId::generate()] {
        let asked = client
            .registration_request(&request(clinic, "nils@riverside.test"))
            .await;
        assert_eq!(refused(asked), ProblemCode::NotFound);
    }
    let admin = world.signed_in("admin").await;
    let version = admin.clinic_get().await.unwrap().version;
    let open = |open| ClinicUpdate {
        self_registration: Some(open),
        ..ClinicUpdate::default()
    };
    let version = admin.clinic_update(version, &open(true)).await.unwrap().version;
    client
        .registration_request(&request(world.clinic.id, "nils@riverside.test"))
        .await
        .unwrap();
    let token = token(&sink.mail(0).await).unwrap();
    // The clinic thinks better of it.
    let version = admin.clinic_update(version, &open(false)).await.unwrap().version;
    assert_eq!(
        refused(client.registration_complete(&complete(&token)).await),
        ProblemCode::NotFound
    );
    admin.clinic_update(version, &open(true)).await.unwrap();
    let mut database = world.admin().await;
    sqlx::query("UPDATE registration SET expires_at = now() - interval '1 second'")
        .execute(&mut database)
        .await
        .unwrap();
    assert_eq!(
        refused(client.registration_complete(&complete(&token)).await),
        ProblemCode::LinkSpent
    );
    let store = world.scratch.store(2).await.unwrap();
    let removed = store
        .upkeep(OffsetDateTime::now_utc() + Duration::SECOND)
        .await
        .unwrap();
    assert_eq!(removed.registrations, 1);
    store.close().await;
}
