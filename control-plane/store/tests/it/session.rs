//! Signing in, staying in, being out.

use medmesh_base::RequestId;
use medmesh_clinic::{Actor, Role, SystemActor};
use medmesh_store::{
    Membership, SESSION_IDLE, SESSION_LIFETIME, Session, SessionToken, StoreError, TOUCH_EVERY,
};
use time::{Duration, OffsetDateTime};

use crate::support::{PHC, World, add_clinic, world};

const SECOND: Duration = Duration::SECOND;

async fn membership(world: &World, email: &str) -> Membership {
    world
        .store
        .login_lookup(&email.parse().unwrap())
        .await
        .unwrap()
        .unwrap()
        .memberships[0]
}

async fn sign_in(world: &World, token: &SessionToken, now: OffsetDateTime) -> Session {
    let who = membership(world, "clinician@a.example").await;
    let actor = Actor::System(SystemActor::Login);
    let mut tx = world
        .store
        .begin_at(who.clinic_id, actor, RequestId::generate(), now)
        .await
        .unwrap();
    let session = tx.session_create(&who, token).await.unwrap();
    tx.commit().await.unwrap();
    session
}

async fn resume(world: &World, token: &SessionToken, now: OffsetDateTime) -> Option<Session> {
    world.store.session_resume(token, now, true).await.unwrap()
}

#[tokio::test]
async fn an_address_finds_its_account_whatever_its_case() {
    let world = world().await;
    let login = world
        .store
        .login_lookup(&" Clinician@A.Example ".parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(login.password.expose(), PHC);
    assert!(!format!("{login:?}").contains("argon2"), "never in a log");
    assert_eq!(login.memberships.len(), 1);
    assert_eq!(login.memberships[0].clinic_id, world.clinic);
    assert!(
        world
            .store
            .login_lookup(&"nobody@a.example".parse().unwrap())
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_session_says_who_and_where() {
    let world = world().await;
    let (token, now) = (SessionToken::generate(), OffsetDateTime::now_utc());
    let opened = sign_in(&world, &token, now).await;
    let session = resume(&world, &token.expose().parse().unwrap(), now)
        .await
        .unwrap();
    assert_eq!(session, opened);
    assert_eq!(session.clinic.time_zone.as_str(), "America/New_York");
    assert!(session.person.roles.contains(Role::Clinician));
    assert_eq!(session.caller().person_id, world.people.clinician.person_id);
    assert_eq!(resume(&world, &SessionToken::generate(), now).await, None);
    assert_eq!("short".parse::<SessionToken>(), Err(StoreError::NotFound));
    // A copy of the database opens no session.
    let kept: Vec<u8> = sqlx::query_scalar("SELECT token_sha256 FROM session")
        .fetch_one(&mut world.admin().await)
        .await
        .unwrap();
    let stolen = SessionToken::from_bytes(&kept).unwrap();
    assert_eq!(resume(&world, &stolen, now).await, None);
    assert_ne!(token.csrf(), token.expose());
    assert_eq!(
        token.csrf(),
        token.expose().parse::<SessionToken>().unwrap().csrf()
    );
}

#[tokio::test]
async fn an_idle_session_locks() {
    let world = world().await;
    let (token, start) = (SessionToken::generate(), OffsetDateTime::now_utc());
    sign_in(&world, &token, start).await;
    // Use keeps it alive, over and over.
    let mut now = start;
    for _ in 0..4 {
        now += SESSION_IDLE - SECOND;
        assert!(resume(&world, &token, now).await.is_some());
    }
    // What a page does by itself does not.
    now += SESSION_IDLE - SECOND;
    assert!(
        world
            .store
            .session_resume(&token, now, false)
            .await
            .unwrap()
            .is_some()
    );
    assert!(resume(&world, &token, now + SECOND).await.is_none());
    // Use within TOUCH_EVERY of the last is not written down: the lock may come that much early.
    let token = SessionToken::generate();
    sign_in(&world, &token, start).await;
    assert!(
        resume(&world, &token, start + TOUCH_EVERY - SECOND)
            .await
            .is_some()
    );
    assert!(resume(&world, &token, start + SESSION_IDLE).await.is_none());
}

#[tokio::test]
async fn a_session_ends_after_its_lifetime_however_busy() {
    let world = world().await;
    let (token, start) = (SessionToken::generate(), OffsetDateTime::now_utc());
    sign_in(&world, &token, start).await;
    let mut now = start;
    while now + SESSION_IDLE / 2 < start + SESSION_LIFETIME {
        now += SESSION_IDLE / 2;
        assert!(resume(&world, &token, now).await.is_some());
    }
    assert!(resume(&world, &token, start + SESSION_LIFETIME).await.is_none());
    assert_eq!(
        world
            .store
            .upkeep(start + SESSION_LIFETIME + SECOND)
            .await
            .unwrap()
            .sessions,
        1
    );
}

#[tokio::test]
async fn signing_out_ends_this_session_only() {
    let world = world().await;
    let now = OffsetDateTime::now_utc();
    let (one, two) = (SessionToken::generate(), SessionToken::generate());
    let session = sign_in(&world, &one, now).await;
    sign_in(&world, &two, now).await;
    for _ in 0..2 {
        let mut tx = world.begin(session.caller()).await;
        tx.session_revoke().await.unwrap();
        tx.commit().await.unwrap();
    }
    assert!(resume(&world, &one, now).await.is_none());
    assert!(resume(&world, &two, now).await.is_some());
}

#[tokio::test]
async fn the_inactive_are_out_at_once() {
    let world = world().await;
    let (token, now) = (SessionToken::generate(), OffsetDateTime::now_utc());
    sign_in(&world, &token, now).await;
    for (off, on) in [
        (
            "UPDATE person SET active = false",
            "UPDATE person SET active = true",
        ),
        (
            "UPDATE account SET active = false",
            "UPDATE account SET active = true",
        ),
    ] {
        sqlx::query(off).execute(&mut world.admin().await).await.unwrap();
        assert!(resume(&world, &token, now).await.is_none(), "{off}");
        let email = "clinician@a.example".parse().unwrap();
        assert!(world.store.login_lookup(&email).await.unwrap().is_none(), "{off}");
        sqlx::query(on).execute(&mut world.admin().await).await.unwrap();
    }
    assert!(resume(&world, &token, now).await.is_some());
}

#[tokio::test]
async fn a_membership_opens_its_own_clinic_only() {
    let world = world().await;
    let (b, _) = add_clinic(&world.scratch, &world.store, "b").await;
    let who = membership(&world, "clinician@a.example").await;
    let actor = Actor::System(SystemActor::Login);
    let mut tx = world.store.begin(b, actor, RequestId::generate()).await.unwrap();
    let token = SessionToken::generate();
    assert_eq!(tx.session_create(&who, &token).await, Err(StoreError::NotFound));
    let forged = Membership { clinic_id: b, ..who };
    assert_eq!(
        tx.session_create(&forged, &token).await,
        Err(StoreError::NotFound)
    );
}
