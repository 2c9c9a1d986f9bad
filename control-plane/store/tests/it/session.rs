//! Signing in, staying in, being out.

use medmesh_base::RequestId;
use medmesh_clinic::identity::{Factor, Proofs, STEP_UP_WITHIN, Standing};
use medmesh_clinic::{Actor, Role, SystemActor};
use medmesh_store::{
    Membership, ROTATE_AGAIN, ROTATE_EVERY, ROTATION_OVERLAP, SESSION_IDLE, SESSION_LIFETIME, Session,
    SessionToken, StoreError, TOUCH_EVERY,
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
    let session = tx
        .session_create(&who, token, Factor::Password, "Firefox on Linux")
        .await
        .unwrap();
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
    assert_ne!(session.csrf, token.expose());
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
        tx.session_end().await.unwrap();
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
    assert_eq!(
        tx.session_create(&who, &token, Factor::Password, "").await,
        Err(StoreError::NotFound)
    );
    let forged = Membership { clinic_id: b, ..who };
    assert_eq!(
        tx.session_create(&forged, &token, Factor::Password, "").await,
        Err(StoreError::NotFound)
    );
}

async fn rotate(
    world: &World,
    session: &Session,
    token: &SessionToken,
    now: OffsetDateTime,
) -> Option<SessionToken> {
    let mut tx = world.begin_at(session.caller(), now).await;
    let fresh = tx.session_rotate(session, token).await.unwrap();
    tx.commit().await.unwrap();
    fresh
}

#[tokio::test]
async fn a_token_is_changed_and_the_old_one_soon_forgotten() {
    let world = world().await;
    let (old, start) = (SessionToken::generate(), OffsetDateTime::now_utc());
    let opened = sign_in(&world, &old, start).await;
    assert!(!opened.is_rotation_due(start + ROTATE_EVERY - SECOND));
    let now = start + ROTATE_EVERY;
    let session = resume(&world, &old, now).await.unwrap();
    assert!(session.is_rotation_due(now));
    // Of two requests at once, one changes it.
    let fresh = rotate(&world, &session, &old, now).await.unwrap();
    assert_eq!(rotate(&world, &session, &old, now).await, None);
    // While nobody has used the new one the answer may have been lost: the old one is good.
    let late = now + ROTATION_OVERLAP * 3;
    let by_old = resume(&world, &old, late).await.unwrap();
    assert!(!by_old.is_present && by_old.is_rotation_due(late));
    assert_eq!(by_old.csrf, session.csrf, "a page need not learn a new one");
    let by_new = resume(&world, &fresh, late).await.unwrap();
    assert!(by_new.is_present && !by_new.is_rotation_due(late));
    // From the first use of the new one on, requests under way have a moment.
    let by_old = resume(&world, &old, late + ROTATION_OVERLAP - SECOND)
        .await
        .unwrap();
    assert!(!by_old.is_rotation_due(late + ROTATION_OVERLAP));
    assert!(resume(&world, &old, late + ROTATION_OVERLAP).await.is_none());
    assert!(resume(&world, &fresh, late + ROTATION_OVERLAP).await.is_some());
}

#[tokio::test]
async fn a_client_that_missed_its_new_token_is_given_another() {
    let world = world().await;
    let (old, start) = (SessionToken::generate(), OffsetDateTime::now_utc());
    sign_in(&world, &old, start).await;
    let mut now = start + ROTATE_EVERY;
    let session = resume(&world, &old, now).await.unwrap();
    let lost = rotate(&world, &session, &old, now).await.unwrap();
    now += ROTATE_AGAIN - SECOND;
    assert!(
        !resume(&world, &old, now).await.unwrap().is_rotation_due(now),
        "it may be on its way"
    );
    now += SECOND;
    let session = resume(&world, &old, now).await.unwrap();
    let arrived = rotate(&world, &session, &old, now).await.unwrap();
    assert!(resume(&world, &lost, now).await.is_none());
    assert!(resume(&world, &arrived, now).await.unwrap().is_present);
}

#[tokio::test]
async fn proving_more_changes_the_token_and_the_old_one_gains_nothing() {
    let world = world().await;
    let (first, start) = (SessionToken::generate(), OffsetDateTime::now_utc());
    let session = sign_in(&world, &first, start).await;
    assert_eq!(session.standing(), Standing::EnrolmentDue);
    assert!(session.is_fresh(start + STEP_UP_WITHIN - SECOND, STEP_UP_WITHIN));
    let now = start + STEP_UP_WITHIN * 2;
    let prove = async |factor, keeps_old, now| {
        let mut tx = world.begin_at(session.caller(), now).await;
        let proved = tx.session_prove(factor, keeps_old).await.unwrap();
        tx.commit().await.unwrap();
        proved
    };
    assert!(
        !resume(&world, &first, now)
            .await
            .unwrap()
            .is_fresh(now, STEP_UP_WITHIN)
    );
    // The second step of signing in: whoever knew the first token is out at once.
    let (session_two, second) = prove(Factor::Totp, false, now).await;
    assert_eq!(session_two.standing(), Standing::Full);
    assert_eq!(
        session_two.proofs,
        Proofs::only(Factor::Password).with(Factor::Totp)
    );
    assert!(resume(&world, &first, now).await.is_none());
    // A step-up: requests under way go on, but the old token is not fresh.
    let now = now + STEP_UP_WITHIN * 2;
    let (_, third) = prove(Factor::Totp, true, now).await;
    let by_old = resume(&world, &second, now).await.unwrap();
    assert!(by_old.standing() == Standing::Full && !by_old.is_fresh(now, STEP_UP_WITHIN));
    let by_new = resume(&world, &third, now).await.unwrap();
    assert!(by_new.is_fresh(now, STEP_UP_WITHIN));
    assert_eq!(by_new.proofs, session_two.proofs, "the same factor twice is one");
}

#[tokio::test]
async fn a_person_sees_and_ends_their_own_sessions() {
    let world = world().await;
    let now = OffsetDateTime::now_utc();
    let [one, two, three] = [(); 3].map(|()| SessionToken::generate());
    let mut sessions = Vec::new();
    for token in [&one, &two, &three] {
        sessions.push(sign_in(&world, token, now).await);
    }
    let mut tx = world.begin_at(sessions[0].caller(), now).await;
    let list = tx.session_list().await.unwrap();
    assert_eq!(list.len(), 3);
    assert!(list.iter().all(|entry| entry.device_label == "Firefox on Linux"));
    assert_eq!(list.iter().filter(|entry| entry.is_own).count(), 1);
    tx.session_revoke(sessions[1].id).await.unwrap();
    tx.commit().await.unwrap();
    assert!(resume(&world, &two, now).await.is_none());
    let mut tx = world.begin_at(world.people.colleague, now).await;
    assert_eq!(
        tx.session_revoke(sessions[0].id).await,
        Err(StoreError::NotFound),
        "somebody else's"
    );
    tx.rollback().await.unwrap();
    assert_eq!(world.store.sessions_revoked(now).await.unwrap(), [sessions[1].id]);
    assert!(
        world
            .store
            .sessions_revoked(now + SECOND)
            .await
            .unwrap()
            .is_empty()
    );
    let mut tx = world.begin_at(sessions[0].caller(), now).await;
    tx.session_revoke_others().await.unwrap();
    tx.commit().await.unwrap();
    assert!(resume(&world, &three, now).await.is_none());
    assert!(resume(&world, &one, now).await.is_some());
    assert_eq!(
        world
            .count("SELECT count(*) FROM audit WHERE action = 'session_revoke'")
            .await,
        2
    );
}
