//! Whose an identity is: theirs alone to forget, and worth nothing once they are gone.

use medmesh_base::ProblemCode;
use medmesh_tests::control::Wishes;
use medmesh_tests::smtp::SmtpSink;

use super::super::links::token;
use super::super::people::{active, seen};
use super::super::refused;
use super::{Outcome, Outside, said, session_cookie};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_forgets_the_identity_of_another() {
    let outside = Outside::new().await;
    assert!(matches!(outside.link("patient").await, Outcome::Portal(..)));
    let owner = outside.world.signed_in("patient").await;
    let linked = owner.identity_list().await.unwrap().items;
    for login in ["second", "admin"] {
        let other = outside.world.signed_in(login).await;
        assert!(other.identity_list().await.unwrap().items.is_empty(), "{login}");
        assert_eq!(
            refused(other.identity_unlink(linked[0].id).await),
            ProblemCode::NotFound,
            "{login}"
        );
    }
    session_cookie(outside.sign_in().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_deactivated_has_no_way_in_by_their_provider() {
    let outside = Outside::new().await;
    assert!(matches!(outside.link("patient").await, Outcome::Portal(..)));
    session_cookie(outside.sign_in().await);
    let admin = outside.world.signed_in("admin").await;
    let id = outside.world.clinic.person("patient");
    let person = seen(&admin, id).await;
    let gone = admin
        .person_update(id, person.version, &active(false))
        .await
        .unwrap();
    assert_eq!(said(outside.sign_in().await), "identity_unlinked");
    admin
        .person_update(id, gone.version, &active(true))
        .await
        .unwrap();
    session_cookie(outside.sign_in().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_for_a_forgotten_password_is_no_invitation() {
    let sink = SmtpSink::start().await;
    let wishes = Wishes {
        smtp_port: Some(sink.port()),
        ..Wishes::default()
    };
    let outside = Outside::wishing(wishes).await;
    let email = outside.world.clinic.email("patient");
    outside.world.node.client().reset_request(&email).await.unwrap();
    let token = token(&sink.mail(0).await);
    // Whoever holds it may set a password, and link nothing to whose it is.
    let begun = outside.accept(&token).await;
    if begun.status() == 200 {
        assert_eq!(said(outside.follow(begun).await), "link_spent");
    } else {
        assert_eq!(begun.status(), 410);
    }
    assert_eq!(said(outside.sign_in().await), "identity_unlinked");
}
