//! Authenticator apps, recovery codes, passkeys.

use medmesh_base::RequestId;
use medmesh_clinic::identity::passkey::{Asserted, Credential};
use medmesh_clinic::identity::{RECOVERY_CODE_BYTES, RecoveryCode, TOTP_STEP_SECONDS, TotpSecret, totp_step};
use medmesh_clinic::{Actor, Refusal, SystemActor};
use medmesh_store::{PASSKEYS_MAX, StoreError, TOTP_PENDING_FOR};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::{World, add_clinic, world};

const SECRET: TotpSecret = TotpSecret::new([7; 20]);

fn code(now: OffsetDateTime, steps: i64) -> String {
    let step = totp_step(u64::try_from(now.unix_timestamp()).unwrap());
    SECRET.code(step.checked_add_signed(steps).unwrap())
}

async fn with_app(world: &World, now: OffsetDateTime) {
    let mut tx = world.begin_at(world.people.clinician, now).await;
    tx.totp_begin(&SECRET).await.unwrap();
    assert!(tx.totp_confirm(&code(now, -1)).await.unwrap());
    tx.commit().await.unwrap();
}

fn passkey(id: &[u8]) -> Credential {
    Credential {
        id: id.to_vec(),
        public_key: vec![1],
        sign_count: 1,
        backup_eligible: true,
        backed_up: false,
        aaguid: Uuid::nil(),
    }
}

#[tokio::test]
async fn an_app_counts_from_its_first_right_code_on() {
    let world = world().await;
    let now = OffsetDateTime::now_utc();
    let mut tx = world.begin_at(world.people.clinician, now).await;
    assert_eq!(
        tx.totp_confirm("000000").await,
        Err(Refusal::EnrolmentNotBegun.into())
    );
    tx.rollback().await.unwrap();
    let mut tx = world.begin_at(world.people.clinician, now).await;
    tx.totp_begin(&TotpSecret::new([1; 20])).await.unwrap();
    tx.totp_begin(&SECRET).await.unwrap();
    assert!(!tx.totp_use(&code(now, 0)).await.unwrap(), "not yet");
    assert!(!tx.factors().await.unwrap().enrolled.totp);
    assert!(!tx.totp_confirm("000000").await.unwrap());
    tx.commit().await.unwrap();
    let late = now + TOTP_PENDING_FOR;
    let mut tx = world.begin_at(world.people.clinician, late).await;
    assert_eq!(
        tx.totp_confirm(&code(late, 0)).await,
        Err(Refusal::EnrolmentNotBegun.into())
    );
    tx.rollback().await.unwrap();
    with_app(&world, now).await;
    let mut tx = world.begin_at(world.people.clinician, now).await;
    assert!(tx.factors().await.unwrap().enrolled.totp);
    assert!(!tx.totp_use(&code(now, -1)).await.unwrap(), "used to confirm");
    assert!(tx.totp_use(&code(now, 0)).await.unwrap());
    // A second app takes the place of the first.
    tx.totp_begin(&TotpSecret::new([9; 20])).await.unwrap();
    let step = totp_step(u64::try_from(now.unix_timestamp()).unwrap());
    assert!(
        tx.totp_confirm(&TotpSecret::new([9; 20]).code(step))
            .await
            .unwrap()
    );
    assert!(!tx.totp_use(&code(now, 1)).await.unwrap(), "of the old app");
}

#[tokio::test]
async fn of_many_requests_with_one_code_one_gets_through() {
    let world = world().await;
    let now = OffsetDateTime::now_utc();
    with_app(&world, now).await;
    let tries = (0..8).map(|_| async {
        let mut tx = world.begin_at(world.people.clinician, now).await;
        let is_right = tx.totp_use(&code(now, 0)).await.unwrap();
        tx.commit().await.unwrap();
        usize::from(is_right)
    });
    let passed: usize = futures::future::join_all(tries).await.into_iter().sum();
    assert_eq!(passed, 1);
    // Nor does an older one afterwards; the next does.
    let mut tx = world.begin_at(world.people.clinician, now).await;
    assert!(!tx.totp_use(&code(now, -1)).await.unwrap());
    tx.rollback().await.unwrap();
    let later = now + Duration::seconds(i64::try_from(TOTP_STEP_SECONDS).unwrap());
    let mut tx = world.begin_at(world.people.clinician, later).await;
    assert!(tx.totp_use(&code(later, 0)).await.unwrap());
}

#[tokio::test]
async fn a_recovery_code_is_good_once_for_its_owner_until_there_are_new_ones() {
    let world = world().await;
    let codes: Vec<_> = (0..3)
        .map(|n| RecoveryCode::new([n; RECOVERY_CODE_BYTES]))
        .collect();
    let mut tx = world.begin(world.people.clinician).await;
    tx.recovery_codes_replace(&codes).await.unwrap();
    assert_eq!(tx.factors().await.unwrap().enrolled.recovery_codes, 3);
    assert!(tx.recovery_code_use(&codes[0]).await.unwrap());
    assert!(!tx.recovery_code_use(&codes[0]).await.unwrap());
    assert_eq!(tx.factors().await.unwrap().enrolled.recovery_codes, 2);
    tx.commit().await.unwrap();
    let mut tx = world.begin(world.people.colleague).await;
    assert!(!tx.recovery_code_use(&codes[1]).await.unwrap());
    tx.rollback().await.unwrap();
    let mut tx = world.begin(world.people.clinician).await;
    tx.recovery_codes_replace(&[RecoveryCode::new([9; RECOVERY_CODE_BYTES])])
        .await
        .unwrap();
    assert!(!tx.recovery_code_use(&codes[1]).await.unwrap());
    // Nothing that is kept opens anything.
    let kept: Vec<u8> = sqlx::query_scalar("SELECT code_sha256 FROM recovery_code")
        .fetch_one(&mut world.admin().await)
        .await
        .unwrap();
    assert!(
        !kept
            .windows(RECOVERY_CODE_BYTES)
            .any(|window| window == [0; RECOVERY_CODE_BYTES])
    );
}

#[tokio::test]
async fn a_passkey_is_one_persons_and_found_without_knowing_whose() {
    let world = world().await;
    let mut tx = world.begin(world.people.clinician).await;
    let entry = tx.passkey_add(&passkey(b"one"), "Chrome on Mac").await.unwrap();
    tx.commit().await.unwrap();
    let who = world.store.passkey_lookup(b"one").await.unwrap().unwrap();
    assert_eq!(
        (who.clinic_id, who.person_id),
        (world.clinic, world.people.clinician.person_id)
    );
    assert_eq!(world.store.passkey_lookup(b"two").await.unwrap(), None);
    let mut tx = world.begin(world.people.colleague).await;
    assert_eq!(
        tx.passkey_add(&passkey(b"one"), "").await,
        Err(StoreError::PasskeyKnown)
    );
    tx.rollback().await.unwrap();
    let mut tx = world.begin(world.people.colleague).await;
    assert_eq!(tx.passkey_remove(entry.id).await, Err(StoreError::NotFound));
    assert_eq!(
        tx.passkey_get(world.people.colleague.person_id, b"one").await,
        Err(StoreError::NotFound)
    );
    tx.rollback().await.unwrap();
    let mut tx = world.begin(world.people.clinician).await;
    let (id, stored) = tx
        .passkey_get(world.people.clinician.person_id, b"one")
        .await
        .unwrap();
    assert_eq!(stored, passkey(b"one"));
    tx.passkey_used(
        id,
        Asserted {
            sign_count: 5,
            backed_up: true,
        },
    )
    .await
    .unwrap();
    let listed = tx.passkey_list().await.unwrap();
    assert!(listed[0].backed_up && listed[0].used_at.is_some() && listed[0].device_label == "Chrome on Mac");
    for n in 1..PASSKEYS_MAX {
        tx.passkey_add(&passkey(&[u8::try_from(n).unwrap()]), "")
            .await
            .unwrap();
    }
    assert_eq!(
        tx.passkey_add(&passkey(b"more"), "").await,
        Err(Refusal::TooManyPasskeys.into())
    );
    tx.commit().await.unwrap();
    sqlx::query("UPDATE person SET active = false")
        .execute(&mut world.admin().await)
        .await
        .unwrap();
    assert_eq!(world.store.passkey_lookup(b"one").await.unwrap(), None);
}

#[tokio::test]
async fn staff_keep_one_second_factor_and_patients_need_none() {
    let world = world().await;
    let now = OffsetDateTime::now_utc();
    with_app(&world, now).await;
    let mut tx = world.begin(world.people.clinician).await;
    assert_eq!(tx.totp_remove().await, Err(Refusal::LastFactor.into()));
    tx.rollback().await.unwrap();
    let mut tx = world.begin(world.people.clinician).await;
    let key = tx.passkey_add(&passkey(b"key"), "").await.unwrap();
    tx.totp_remove().await.unwrap();
    assert_eq!(tx.passkey_remove(key.id).await, Err(Refusal::LastFactor.into()));
    tx.rollback().await.unwrap();
    let mut tx = world.begin_at(world.people.patient, now).await;
    tx.totp_begin(&SECRET).await.unwrap();
    tx.totp_confirm(&code(now, 0)).await.unwrap();
    tx.totp_remove().await.unwrap();
    assert_eq!(tx.totp_remove().await, Err(StoreError::NotFound));
}

#[tokio::test]
async fn what_may_be_used_once_is_used_once_by_whomever() {
    let world = world().await;
    let (b, _) = add_clinic(&world.scratch, &world.store, "b").await;
    let (now, hash) = (OffsetDateTime::now_utc(), [3; 32]);
    let until = now + Duration::minutes(5);
    let first_in = async |clinic, at| {
        let actor = Actor::System(SystemActor::Login);
        let mut tx = world
            .store
            .begin_at(clinic, actor, RequestId::generate(), at)
            .await
            .unwrap();
        let first = tx.use_once(hash, until).await.unwrap();
        tx.commit().await.unwrap();
        first
    };
    assert!(first_in(world.clinic, now).await);
    assert!(!first_in(world.clinic, now).await && !first_in(b, now).await);
    assert_eq!(
        world
            .store
            .upkeep(until - Duration::SECOND)
            .await
            .unwrap()
            .used_once,
        0
    );
    assert_eq!(world.store.upkeep(until).await.unwrap().used_once, 1);
}

#[tokio::test]
async fn factors_do_not_cross_clinics() {
    let world = world().await;
    with_app(&world, OffsetDateTime::now_utc()).await;
    let mut tx = world.begin(world.people.clinician).await;
    tx.passkey_add(&passkey(b"one"), "").await.unwrap();
    tx.recovery_codes_replace(&[RecoveryCode::new([1; RECOVERY_CODE_BYTES])])
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let (b, people) = add_clinic(&world.scratch, &world.store, "b").await;
    let actor = Actor::Person(medmesh_clinic::Caller {
        person_id: world.people.clinician.person_id,
        ..people.clinician
    });
    let mut tx = world.store.begin(b, actor, RequestId::generate()).await.unwrap();
    let factors = tx.factors().await.unwrap();
    assert_eq!(factors.enrolled, medmesh_clinic::identity::Enrolled::default());
    assert!(tx.passkey_list().await.unwrap().is_empty());
}
