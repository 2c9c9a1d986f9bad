//! Invitations, forgotten passwords, new ones: links by mail, once, and nothing learned by asking.

use medmesh_api_client::IdempotencyKey;
use medmesh_api_types::account::InvitationCreate;
use medmesh_api_types::factor::Standing;
use medmesh_api_types::person::{Locale, Role};
use medmesh_base::{Phi, ProblemCode};
use medmesh_tests::control::{PASSWORD, Wishes};
use medmesh_tests::smtp::{Mail, SmtpSink};

use super::{World, plain_http, refused};

const NEW: &str = "nine lamps by the water";

pub(super) async fn with_mail() -> (World, SmtpSink) {
    let sink = SmtpSink::start().await;
    let wishes = Wishes {
        smtp_port: Some(sink.port()),
        ..Wishes::default()
    };
    (World::with(&wishes).await, sink)
}

fn nora(locale: Locale) -> InvitationCreate {
    InvitationCreate {
        display_name: Phi::new("Nora Newcomer".into()),
        email: Phi::new("nora@riverside.test".into()),
        roles: vec![Role::Nurse],
        locale,
    }
}

/// The token in the link of a mail, with the mail's soft line breaks undone (RFC 2045 section 6.7).
pub(super) fn token(mail: &Mail) -> String {
    let text = mail.data.replace("=\n", "").replace("=3D", "=");
    let (_, after) = text.split_once("#set-password=").expect("a mail has a link");
    after.chars().take(43).collect()
}

#[tokio::test]
async fn an_invited_person_chooses_their_password_and_then_a_second_factor() {
    let (world, sink) = with_mail().await;
    let admin = world.signed_in("admin").await;
    let key = IdempotencyKey::fresh();
    let invitation = admin.invitation_create(&key, &nora(Locale::Fr)).await.unwrap();
    assert!(invitation.link.is_none(), "it goes by mail");
    let again = admin.invitation_create(&key, &nora(Locale::Fr)).await.unwrap();
    assert_eq!(again.person.id, invitation.person.id);
    let mail = sink.mail(0).await;
    assert_eq!(
        (mail.from.as_str(), mail.to.as_slice()),
        ("no-reply@portal.test", &["nora@riverside.test".to_owned()][..])
    );
    assert!(
        mail.data.contains("http://portal.test/clinician/#set-password"),
        "{}",
        mail.data
    );
    assert!(!mail.data.contains("Nora"), "no name travels");
    // No password is no password, whatever is tried.
    let client = world.node.client();
    for guess in ["!", "nine lamps by the water"] {
        assert_eq!(
            refused(client.login("nora@riverside.test", guess).await),
            ProblemCode::LoginFailed
        );
    }
    let token = token(&mail);
    assert_eq!(
        refused(client.link_redeem(&token, "short").await),
        ProblemCode::InvalidRequest
    );
    assert_eq!(
        refused(client.link_redeem(&token, "riverside-riverside").await),
        ProblemCode::Unprocessable
    );
    client.link_redeem(&token, NEW).await.unwrap();
    assert_eq!(
        refused(client.link_redeem(&token, NEW).await),
        ProblemCode::LinkSpent
    );
    let session = client.login("nora@riverside.test", NEW).await.unwrap();
    assert_eq!(session.standing, Standing::MfaEnrolmentRequired);
    let list = client
        .visit_list(&medmesh_api_types::visit::VisitQuery::default())
        .await;
    assert_eq!(refused(list), ProblemCode::MfaEnrolmentRequired);
    assert_eq!(sink.count().await, 1, "one mail for two requests");
}

#[tokio::test]
async fn without_mail_the_admin_hands_the_link_over() {
    let world = World::new().await;
    let admin = world.signed_in("admin").await;
    let invitation = admin
        .invitation_create(&IdempotencyKey::fresh(), &nora(Locale::En))
        .await
        .unwrap();
    let url = invitation.link.unwrap().url;
    let (page, token) = url.expose().split_once("#set-password=").unwrap();
    assert_eq!(page, "http://portal.test/clinician/");
    world.node.client().link_redeem(token, NEW).await.unwrap();
    for login in ["clinician", "patient"] {
        let client = world.signed_in(login).await;
        let tried = client
            .invitation_create(&IdempotencyKey::fresh(), &nora(Locale::En))
            .await;
        assert_eq!(refused(tried), ProblemCode::Forbidden);
    }
    let mut database = world.admin().await;
    sqlx::query("UPDATE session SET authenticated_at = authenticated_at - interval '6 minutes'")
        .execute(&mut database)
        .await
        .unwrap();
    let tried = admin
        .invitation_create(&IdempotencyKey::fresh(), &nora(Locale::En))
        .await;
    assert_eq!(refused(tried), ProblemCode::StepUpRequired);
    // Nor is anybody added at once.
    let newcomer = super::auth::newcomer("nora.newcomer@riverside.test", "eleven green lanterns");
    let tried = admin.person_create(&IdempotencyKey::fresh(), &newcomer).await;
    assert_eq!(refused(tried), ProblemCode::StepUpRequired);
}

#[tokio::test]
async fn a_forgotten_password_is_set_anew_and_every_session_ends() {
    let (world, sink) = with_mail().await;
    let there = world.signed_in("patient").await;
    let email = world.clinic.email("patient");
    let client = world.node.client();
    client.reset_request(&email.to_uppercase()).await.unwrap();
    let first = token(&sink.mail(0).await);
    // While the first request is still worked on a second one is the same one.
    let mut database = world.admin().await;
    let deadline = tokio::time::Instant::now() + super::live::PATIENCE;
    while sqlx::query_scalar::<_, bool>("SELECT EXISTS (SELECT FROM job WHERE kind = 'reset_send')")
        .fetch_one(&mut database)
        .await
        .unwrap()
    {
        assert!(tokio::time::Instant::now() < deadline, "the job is done");
        tokio::task::yield_now().await;
    }
    client.reset_request(&email).await.unwrap();
    let second = token(&sink.mail(1).await);
    assert_eq!(
        refused(client.link_redeem(&first, NEW).await),
        ProblemCode::LinkSpent,
        "the newest counts"
    );
    // Of many at once, one gets through.
    let at_once = (0..4).map(|_| client.link_redeem(&second, NEW));
    let done = futures::future::join_all(at_once).await;
    assert_eq!(done.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(refused(there.session().await), ProblemCode::Unauthenticated);
    assert_eq!(
        refused(client.login(&email, PASSWORD).await),
        ProblemCode::LoginFailed
    );
    client.login(&email, NEW).await.unwrap();
}

#[tokio::test]
async fn a_link_ends_after_its_time() {
    let (world, sink) = with_mail().await;
    let client = world.node.client();
    client
        .reset_request(&world.clinic.email("patient"))
        .await
        .unwrap();
    let token = token(&sink.mail(0).await);
    let mut database = world.admin().await;
    sqlx::query("UPDATE account_link SET expires_at = expires_at - interval '15 minutes'")
        .execute(&mut database)
        .await
        .unwrap();
    assert_eq!(
        refused(client.link_redeem(&token, NEW).await),
        ProblemCode::LinkSpent
    );
    assert_eq!(
        refused(client.link_redeem(&"A".repeat(43), NEW).await),
        ProblemCode::LinkSpent
    );
}

/// Asking does the same for every address: the answer is alike to the byte, and the only thing
/// the request leaves behind is one job of one shape. Whether anybody has the address is looked
/// up later, by a worker, when nobody waits.
#[tokio::test]
async fn asking_for_a_new_password_tells_nothing_about_the_address() {
    let world = World::new().await;
    // Nobody works on the jobs, so that what the requests left can be compared.
    let mut database = world.admin().await;
    sqlx::query("CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.due_at := NEW.due_at + interval '1 hour'; RETURN NEW; END $$")
        .execute(&mut database).await.unwrap();
    sqlx::query("CREATE TRIGGER hold BEFORE INSERT ON job FOR EACH ROW EXECUTE FUNCTION hold()")
        .execute(&mut database)
        .await
        .unwrap();
    let mut answers = Vec::new();
    for email in [
        world.clinic.email("patient"),
        "nobody@riverside.test".into(),
        world.clinic.email("admin"),
        "a@b@c".into(),
    ] {
        let answer = plain_http()
            .post(format!("{}/v1/auth/reset", world.node.url()))
            .json(&serde_json::json!({"email": email}))
            .send()
            .await
            .unwrap();
        let mut headers: Vec<_> = answer
            .headers()
            .iter()
            .filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()))
            .map(|(name, value)| (name.to_string(), value.clone()))
            .collect();
        headers.sort_by(|a, b| a.0.cmp(&b.0));
        answers.push((answer.status(), headers, answer.bytes().await.unwrap()));
    }
    assert_eq!(answers[0].0, 202);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let jobs: Vec<(String, i32, i32)> = sqlx::query_as(
        "SELECT kind, jsonb_array_length(payload->'index'), length(dedupe_key) FROM job WHERE kind = 'reset_send'",
    ).fetch_all(&mut database).await.unwrap();
    assert_eq!(jobs, vec![("reset_send".to_owned(), 32, 64); 4]);
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM account_link")
        .fetch_one(&mut database)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_new_password_signs_other_devices_out_and_wants_a_fresh_proof() {
    let world = World::new().await;
    let (here, there) = (world.signed_in("patient").await, world.signed_in("patient").await);
    assert_eq!(
        refused(here.password_change("passwordpassword").await),
        ProblemCode::Unprocessable
    );
    here.password_change(NEW).await.unwrap();
    here.session().await.unwrap();
    assert_eq!(refused(there.session().await), ProblemCode::Unauthenticated);
    world
        .node
        .client()
        .login(&world.clinic.email("patient"), NEW)
        .await
        .unwrap();
    let mut database = world.admin().await;
    sqlx::query("UPDATE session SET authenticated_at = authenticated_at - interval '6 minutes'")
        .execute(&mut database)
        .await
        .unwrap();
    assert_eq!(
        refused(here.password_change(PASSWORD).await),
        ProblemCode::StepUpRequired
    );
}
