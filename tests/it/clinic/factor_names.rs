//! What people call their second factors.

use medmesh_base::ProblemCode;
use medmesh_clinic::identity::TotpSecret;
use medmesh_tests::control::ORIGIN;
use medmesh_tests::passkey::SoftPasskey;

use super::factors::code;
use super::{World, refused};

#[tokio::test]
async fn a_passkey_is_named_by_its_owner_alone_and_kept_sealed() {
    let world = World::new().await;
    let (clinician, colleague) = (
        world.signed_in("clinician").await,
        world.signed_in("colleague").await,
    );
    let passkey = clinician.factor_list().await.unwrap().passkeys[0].clone();
    assert_eq!((passkey.name.clone(), passkey.version), (None, 0));
    let named = clinician
        .passkey_rename(passkey.id, 0, "  The blue key, Lindqvist ")
        .await
        .unwrap();
    assert_eq!(named.name.as_ref().unwrap().expose(), "The blue key, Lindqvist");
    assert_eq!(named.version, 1);
    assert_eq!(
        clinician.factor_list().await.unwrap().passkeys,
        std::slice::from_ref(&named)
    );
    assert_eq!(
        refused(clinician.passkey_rename(passkey.id, 0, "another").await),
        ProblemCode::VersionMismatch
    );
    assert_eq!(
        refused(colleague.passkey_rename(passkey.id, 1, "mine").await),
        ProblemCode::NotFound
    );
    for bad in ["", " ", "two\nlines", &"x".repeat(61)] {
        let tried = clinician.passkey_rename(passkey.id, 1, bad).await;
        assert_eq!(refused(tried), ProblemCode::InvalidRequest, "{bad:?}");
    }
    let again = clinician.passkey_rename(passkey.id, 1, "Desk").await.unwrap();
    assert_eq!(
        (again.name.unwrap().expose().as_str(), again.version),
        ("Desk", 2)
    );
    let mut database = world.admin().await;
    let rows: Vec<Vec<u8>> = sqlx::query_scalar("SELECT name FROM factor_name")
        .fetch_all(&mut database)
        .await
        .unwrap();
    assert!(rows.iter().all(|row| !row.windows(4).any(|part| part == b"Desk")));
    let leaves: i64 = sqlx::query_scalar("SELECT count(*) FROM audit WHERE action = 'factor_rename'")
        .fetch_one(&mut database)
        .await
        .unwrap();
    assert_eq!((rows.len(), leaves), (1, 2));
}

#[tokio::test]
async fn an_app_has_a_name_too_and_names_go_with_what_they_name() {
    let world = World::new().await;
    let client = world.signed_in("clinician").await;
    assert_eq!(
        refused(client.totp_rename(0, "no app yet").await),
        ProblemCode::NotFound
    );
    let setup = client.totp_begin().await.unwrap();
    let secret = TotpSecret::from_base32(setup.secret.expose()).unwrap();
    client.totp_confirm(&code(&secret, -1)).await.unwrap();
    let app = client.totp_rename(0, "Phone").await.unwrap();
    assert_eq!(
        (app.name.clone().unwrap().expose().as_str(), app.version),
        ("Phone", 1)
    );
    assert_eq!(client.factor_list().await.unwrap().totp, Some(app));
    assert_eq!(
        refused(client.totp_rename(0, "Tablet").await),
        ProblemCode::VersionMismatch
    );
    // Another app in its place begins without a name.
    let setup = client.totp_begin().await.unwrap();
    let secret = TotpSecret::from_base32(setup.secret.expose()).unwrap();
    client.totp_confirm(&code(&secret, -1)).await.unwrap();
    let app = client.factor_list().await.unwrap().totp.unwrap();
    assert_eq!((app.name, app.version), (None, 0));
    client.totp_rename(0, "Tablet").await.unwrap();
    client.totp_remove().await.unwrap();
    let passkey = client.factor_list().await.unwrap().passkeys[0].id;
    client.passkey_rename(passkey, 0, "The last one").await.unwrap();
    // Of staff the last one stays, and its name with it.
    assert_eq!(
        refused(client.passkey_remove(passkey).await),
        ProblemCode::StateConflict
    );
    let count = async || -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM factor_name")
            .fetch_one(&mut world.admin().await)
            .await
            .unwrap()
    };
    assert_eq!(count().await, 1);
    let second = SoftPasskey::generate(ORIGIN);
    let options = client.passkey_begin().await.unwrap();
    client.passkey_add(&second.create(&options)).await.unwrap();
    client.passkey_remove(passkey).await.unwrap();
    assert_eq!(count().await, 0);
}

#[tokio::test]
async fn somebody_at_an_unlocked_screen_names_and_removes_nothing() {
    let world = World::new().await;
    let client = world.signed_in("clinician").await;
    let passkey = client.factor_list().await.unwrap().passkeys[0].id;
    sqlx::query("UPDATE session SET authenticated_at = authenticated_at - interval '6 minutes'")
        .execute(&mut world.admin().await)
        .await
        .unwrap();
    for tried in [
        client.passkey_rename(passkey, 0, "mine now").await.map(|_| ()),
        client.totp_rename(0, "mine now").await.map(|_| ()),
        client.passkey_remove(passkey).await,
    ] {
        assert_eq!(refused(tried), ProblemCode::StepUpRequired);
    }
}
