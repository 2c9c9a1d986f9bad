//! The second step of signing in: apps, passkeys, recovery codes, step-up; and what a session without it may do.

use medmesh_api_client::{Clinic, IdempotencyKey};
use medmesh_api_types::Secret;
use medmesh_api_types::factor::{FactorKind, Proof, Standing};
use medmesh_api_types::visit::VisitQuery;
use medmesh_base::ProblemCode;
use medmesh_clinic::identity::{TotpSecret, totp_step};
use medmesh_tests::control::{ORIGIN, PASSWORD, TestClinic};
use medmesh_tests::passkey::SoftPasskey;

use super::{World, refused};

/// The code `steps` after the present one.
pub(super) fn code(secret: &TotpSecret, steps: i64) -> String {
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    let step = totp_step(u64::try_from(now).unwrap())
        .checked_add_signed(steps)
        .unwrap();
    secret.code(step)
}

fn totp(code: String) -> Proof {
    Proof::Totp {
        code: Secret::new(code),
    }
}

fn password() -> Proof {
    Proof::Password {
        password: Secret::new(PASSWORD),
    }
}

/// Sets up an app for somebody signed in, with the code before the present one.
async fn with_app(client: &Clinic) -> (TotpSecret, Vec<Secret>) {
    let setup = client.totp_begin().await.unwrap();
    let secret = TotpSecret::from_base32(setup.secret.expose()).unwrap();
    assert!(setup.uri.expose().contains(setup.secret.expose()));
    let enrolment = client.totp_confirm(&code(&secret, -1)).await.unwrap();
    assert_eq!(enrolment.session.standing, Standing::Full);
    (secret, enrolment.recovery_codes)
}

#[tokio::test]
async fn a_patient_sets_up_an_app_and_is_asked_for_it_from_then_on() {
    let world = World::new().await;
    let client = world.signed_in("patient").await;
    let session = client.session().await.unwrap();
    assert_eq!(
        (session.standing, session.second_factors.len()),
        (Standing::Full, 0)
    );
    let elsewhere = world.signed_in("patient").await;
    let (secret, recovery) = with_app(&client).await;
    assert_eq!(recovery.len(), 10);
    let factors = client.factor_list().await.unwrap();
    assert!(factors.totp.is_some() && factors.is_optional && factors.recovery_codes_left == 10);
    // The session that was open elsewhere owes it too, and so does the next one.
    let list = |client: &Clinic| {
        let client = client.clone();
        async move { client.visit_list(&VisitQuery::default()).await }
    };
    assert_eq!(refused(list(&elsewhere).await), ProblemCode::MfaRequired);
    let again = world.node.client();
    let session = again
        .login(&world.clinic.email("patient"), PASSWORD)
        .await
        .unwrap();
    assert_eq!(session.standing, Standing::MfaRequired);
    assert_eq!(
        session.second_factors,
        [FactorKind::Totp, FactorKind::RecoveryCode]
    );
    assert_eq!(session.factors, [FactorKind::Password]);
    assert_eq!(refused(list(&again).await), ProblemCode::MfaRequired);
    assert_eq!(refused(again.factor_list().await), ProblemCode::MfaRequired);
    assert_eq!(
        refused(again.totp_begin().await),
        ProblemCode::MfaRequired,
        "no second app without the first"
    );
    // Neither a wrong code nor the password again, nor the code that set it up.
    for wrong in [totp("000000".into()), password(), totp(code(&secret, -1))] {
        assert_eq!(
            refused(again.mfa_verify(&wrong).await),
            ProblemCode::SecondFactorRefused
        );
    }
    let session = again.mfa_verify(&totp(code(&secret, 0))).await.unwrap();
    assert_eq!((session.standing, session.factors.len()), (Standing::Full, 2));
    list(&again).await.unwrap();
    // The same code does not serve the other session; a recovery code does, once.
    let used = elsewhere.mfa_verify(&totp(code(&secret, 0))).await;
    assert_eq!(refused(used), ProblemCode::SecondFactorRefused);
    let spare = Proof::RecoveryCode {
        code: Secret::new(recovery[0].expose().to_lowercase()),
    };
    elsewhere.mfa_verify(&spare).await.unwrap();
    assert_eq!(elsewhere.factor_list().await.unwrap().recovery_codes_left, 9);
    assert_eq!(
        refused(elsewhere.step_up(&spare).await),
        ProblemCode::SecondFactorRefused
    );
}

#[tokio::test]
async fn proving_changes_the_cookie_and_the_old_one_is_worth_nothing() {
    let world = World::new().await;
    let client = world.signed_in("patient").await;
    let (secret, _) = with_app(&client).await;
    let partial = world.node.client();
    partial
        .login(&world.clinic.email("patient"), PASSWORD)
        .await
        .unwrap();
    let stolen = partial.copy();
    partial.mfa_verify(&totp(code(&secret, 0))).await.unwrap();
    assert_eq!(refused(stolen.session().await), ProblemCode::Unauthenticated);
    partial.session().await.unwrap();
}

#[tokio::test]
async fn staff_sign_in_with_a_passkey_alone() {
    let world = World::new().await;
    let (client, clinic) = (world.node.client(), &world.clinic);
    let key = clinic.passkey("clinician").unwrap();
    let person = clinic.person("clinician");
    let options = client.passkey_options().await.unwrap();
    assert_eq!(
        (options.rp_id.as_str(), options.allow_credentials.len()),
        ("portal.test", 0)
    );
    let answer = key.get(&options, person);
    let session = client.passkey_login(&answer).await.unwrap();
    assert_eq!((session.standing, session.person.id), (Standing::Full, person));
    assert_eq!(session.factors, [FactorKind::Passkey]);
    // The same answer does not come through twice.
    let refuse = async |answer| refused(world.node.client().passkey_login(&answer).await);
    assert_eq!(refuse(answer).await, ProblemCode::SecondFactorRefused);
    // Nor one to a challenge made for something else, or made elsewhere, or for somebody else.
    let other = client.mfa_passkey_options().await.unwrap();
    assert_eq!(other.allow_credentials.len(), 1);
    assert_eq!(
        refuse(key.get(&other, person)).await,
        ProblemCode::SecondFactorRefused
    );
    let mut invented = client.passkey_options().await.unwrap();
    invented.challenge = invented.challenge.chars().rev().collect();
    assert_eq!(
        refuse(key.get(&invented, person)).await,
        ProblemCode::SecondFactorRefused
    );
    let fresh = || async { client.passkey_options().await.unwrap() };
    assert_eq!(
        refuse(key.get(&fresh().await, clinic.person("admin"))).await,
        ProblemCode::SecondFactorRefused
    );
    let stranger = SoftPasskey::generate(ORIGIN);
    assert_eq!(
        refuse(stranger.get(&fresh().await, person)).await,
        ProblemCode::SecondFactorRefused
    );
    let mut nameless = key.get(&fresh().await, person);
    nameless.response.user_handle = None;
    assert_eq!(refuse(nameless).await, ProblemCode::SecondFactorRefused);
}

#[tokio::test]
async fn a_passkey_is_the_second_step_too_and_bound_to_its_session() {
    let world = World::new().await;
    let (key, person) = (
        world.clinic.passkey("admin").unwrap(),
        world.clinic.person("admin"),
    );
    let client = world.node.client();
    let session = client
        .login(&world.clinic.email("admin"), PASSWORD)
        .await
        .unwrap();
    assert_eq!(session.standing, Standing::MfaRequired);
    let other = world.node.client();
    other.login(&world.clinic.email("admin"), PASSWORD).await.unwrap();
    let answer = key.get(&client.mfa_passkey_options().await.unwrap(), person);
    let proof = Proof::Passkey { credential: answer };
    assert_eq!(
        refused(other.mfa_verify(&proof).await),
        ProblemCode::SecondFactorRefused
    );
    assert_eq!(client.mfa_verify(&proof).await.unwrap().standing, Standing::Full);
    assert_eq!(
        refused(client.step_up(&proof).await),
        ProblemCode::SecondFactorRefused,
        "used"
    );
}

#[tokio::test]
async fn a_new_passkey_is_made_here_and_signs_in() {
    let world = World::new().await;
    let client = world.signed_in("patient").await;
    let person = world.clinic.person("patient");
    let key = SoftPasskey::generate(ORIGIN);
    let options = client.passkey_begin().await.unwrap();
    assert_eq!(options.authenticator_selection.user_verification, "required");
    let made = key.create(&options);
    let phished = SoftPasskey::generate("https://portal.test.evil.test").create(&options);
    assert_eq!(
        refused(client.passkey_add(&phished).await),
        ProblemCode::SecondFactorRefused
    );
    let enrolment = client.passkey_add(&made).await.unwrap();
    assert_eq!(
        (enrolment.session.standing, enrolment.recovery_codes.len()),
        (Standing::Full, 10)
    );
    assert_eq!(
        refused(client.passkey_add(&made).await),
        ProblemCode::SecondFactorRefused,
        "the challenge is used"
    );
    let other = client.passkey_begin().await.unwrap();
    assert_eq!(other.exclude_credentials.len(), 1);
    assert_eq!(
        refused(client.passkey_add(&key.create(&other)).await),
        ProblemCode::StateConflict,
        "it is known"
    );
    let again = world.node.client();
    let answer = key.get(&again.passkey_options().await.unwrap(), person);
    assert_eq!(again.passkey_login(&answer).await.unwrap().person.id, person);
    let listed = again.factor_list().await.unwrap().passkeys;
    assert!(listed.len() == 1 && listed[0].used_at.is_some());
    again.passkey_remove(listed[0].id).await.unwrap();
    let answer = key.get(&again.passkey_options().await.unwrap(), person);
    assert_eq!(
        refused(world.node.client().passkey_login(&answer).await),
        ProblemCode::SecondFactorRefused
    );
}

#[tokio::test]
async fn guessing_codes_stops_after_five_tries_of_a_session() {
    let world = World::new().await;
    let client = world.signed_in("patient").await;
    let (secret, _) = with_app(&client).await;
    let partial = world.node.client();
    partial
        .login(&world.clinic.email("patient"), PASSWORD)
        .await
        .unwrap();
    for _ in 0..5 {
        let refusal = refused(partial.mfa_verify(&totp("000000".into())).await);
        assert_eq!(refusal, ProblemCode::SecondFactorRefused);
    }
    let right = partial.mfa_verify(&totp(code(&secret, 0))).await;
    assert_eq!(refused(right), ProblemCode::RateLimited);
    // The person's other sessions go on.
    client.step_up(&totp(code(&secret, 0))).await.unwrap();
}

#[tokio::test]
async fn a_sensitive_act_wants_a_fresh_proof() {
    let world = World::new().await;
    let client = world.signed_in("patient").await;
    age_sessions(&world).await;
    assert_eq!(refused(client.totp_begin().await), ProblemCode::StepUpRequired);
    assert_eq!(
        refused(client.recovery_codes_replace().await),
        ProblemCode::StepUpRequired
    );
    let wrong = Proof::Password {
        password: Secret::new("not the password at all"),
    };
    assert_eq!(
        refused(client.step_up(&wrong).await),
        ProblemCode::SecondFactorRefused
    );
    client.step_up(&password()).await.unwrap();
    let (secret, _) = with_app(&client).await;
    age_sessions(&world).await;
    assert_eq!(refused(client.totp_remove().await), ProblemCode::StepUpRequired);
    // Where there is a second factor the password is no longer enough.
    assert_eq!(
        refused(client.step_up(&password()).await),
        ProblemCode::SecondFactorRefused
    );
    client.step_up(&totp(code(&secret, 0))).await.unwrap();
    assert_eq!(
        client
            .recovery_codes_replace()
            .await
            .unwrap()
            .recovery_codes
            .len(),
        10
    );
    client.totp_remove().await.unwrap();
    let staff = world.signed_in("clinician").await;
    let key = staff.factor_list().await.unwrap().passkeys[0].id;
    assert_eq!(
        refused(staff.passkey_remove(key).await),
        ProblemCode::StateConflict,
        "it is mandatory"
    );
}

/// As if everybody had proved themselves some time ago.
async fn age_sessions(world: &World) {
    let mut admin = world.admin().await;
    sqlx::query("UPDATE session SET authenticated_at = authenticated_at - interval '6 minutes'")
        .execute(&mut admin)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_token_is_changed_along_the_way_and_requests_beside_it_go_on() {
    let world = World::new().await;
    let client = world.signed_in("patient").await;
    let old = client.copy();
    let mut admin = world.admin().await;
    sqlx::query("UPDATE session SET rotated_at = rotated_at - interval '11 minutes'")
        .execute(&mut admin)
        .await
        .unwrap();
    let at_once = (0..8).map(|_| client.session());
    for answer in futures::future::join_all(at_once).await {
        answer.unwrap();
    }
    assert_ne!(client.cookie(), old.cookie());
    client.session().await.unwrap();
    old.session().await.unwrap();
    sqlx::query("UPDATE session SET confirmed_at = confirmed_at - interval '1 minute'")
        .execute(&mut admin)
        .await
        .unwrap();
    assert_eq!(refused(old.session().await), ProblemCode::Unauthenticated);
    client.logout().await.unwrap();
}

#[tokio::test]
async fn what_was_done_is_in_the_audit_log_and_no_secret_is() {
    let world = World::new().await;
    let client = world.signed_in("patient").await;
    let (secret, _) = with_app(&client).await;
    refused(client.step_up(&totp("000000".into())).await);
    client.step_up(&totp(code(&secret, 0))).await.unwrap();
    let mut admin = world.admin().await;
    let actions: Vec<String> = sqlx::query_scalar(
        "SELECT action FROM audit WHERE actor_id = $1 AND purpose = 'security' ORDER BY id",
    )
    .bind(world.clinic.person("patient").as_uuid())
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert_eq!(
        actions,
        [
            "login",
            "factor_enrol",
            "recovery_codes_create",
            "second_factor_refused",
            "second_factor_verify"
        ]
    );
}

#[tokio::test]
async fn a_passkey_of_one_clinic_opens_no_other() {
    let world = World::new().await;
    let other = TestClinic::open(&world.scratch, "hillside").await;
    let client = world.node.client();
    let answer = world
        .clinic
        .passkey("admin")
        .unwrap()
        .get(&client.passkey_options().await.unwrap(), other.person("admin"));
    assert_eq!(
        refused(client.passkey_login(&answer).await),
        ProblemCode::SecondFactorRefused
    );
    let admin = world.node.signed_in_as(&other, "admin").await;
    let new = super::auth::newcomer("nora@hillside.test", "a walk along the river");
    admin.person_create(&IdempotencyKey::fresh(), &new).await.unwrap();
}
