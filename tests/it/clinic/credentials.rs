//! Licences: stated, verified by somebody else, taken away again, and what each lets one do.

use medmesh_api_client::{Clinic, IdempotencyKey};
use medmesh_api_types::credential::{CredentialKind, CredentialQuery, CredentialStatus, CredentialSubmit};
use medmesh_api_types::person::Role;
use medmesh_api_types::visit::VisitQuery;
use medmesh_base::{Phi, ProblemCode};
use time::Date;
use time::macros::date;

use super::{World, plain_http, refused};

fn license(number: &str, expires_on: Option<Date>) -> CredentialSubmit {
    CredentialSubmit {
        kind: CredentialKind::License,
        profession: Some(Role::Clinician),
        state: Some("CA".into()),
        number: Phi::new(number.into()),
        expires_on,
    }
}

fn npi(number: &str) -> CredentialSubmit {
    CredentialSubmit {
        kind: CredentialKind::Npi,
        profession: None,
        state: None,
        number: Phi::new(number.into()),
        expires_on: None,
    }
}

const END: Option<Date> = Some(date!(2030 - 06 - 30));

/// Takes away what the seed vouched for.
async fn without_papers(world: &World) {
    sqlx::query("UPDATE credential SET status = 'withdrawn' WHERE person_id = $1")
        .bind(world.clinic.person("clinician").as_uuid())
        .execute(&mut world.admin().await)
        .await
        .unwrap();
}

async fn may_act(clinician: &Clinic) -> bool {
    match clinician.visit_list(&VisitQuery::default()).await {
        Ok(_) => true,
        denied => {
            assert_eq!(refused(denied), ProblemCode::CredentialRequired);
            false
        }
    }
}

async fn submit(client: &Clinic, credential: &CredentialSubmit) -> medmesh_api_types::credential::Credential {
    client
        .credential_submit(&IdempotencyKey::fresh(), credential)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_clinician_acts_once_licence_and_npi_are_verified_and_no_longer() {
    let world = World::new().await;
    let (clinician, admin) = (world.signed_in("clinician").await, world.signed_in("admin").await);
    assert!(may_act(&clinician).await, "the seed vouches");
    without_papers(&world).await;
    assert!(!may_act(&clinician).await);
    let session = clinician.session().await.unwrap();
    assert_eq!(session.person.awaiting_credentials, [Role::Clinician]);
    let stated = submit(&clinician, &license("a-1234", END)).await;
    assert_eq!(
        (stated.status, stated.number.expose().as_str()),
        (CredentialStatus::Pending, "A-1234")
    );
    assert!(!may_act(&clinician).await, "one's own word is not enough");
    let twice = clinician
        .credential_submit(&IdempotencyKey::fresh(), &license("a-1234", END))
        .await;
    assert_eq!(refused(twice), ProblemCode::StateConflict);
    let pending = CredentialQuery {
        status: Some(CredentialStatus::Pending),
        ..CredentialQuery::default()
    };
    let waiting = admin.credential_list(&pending).await.unwrap().items;
    assert_eq!(waiting.iter().map(|one| one.id).collect::<Vec<_>>(), [stated.id]);
    let verified = admin.credential_verify(stated.id, stated.version).await.unwrap();
    assert_eq!(verified.status, CredentialStatus::Verified);
    assert!(!may_act(&clinician).await, "a clinician needs an NPI as well");
    let number = submit(&clinician, &npi("1234567893")).await;
    let number = admin.credential_verify(number.id, number.version).await.unwrap();
    assert!(may_act(&clinician).await);
    assert!(
        clinician
            .session()
            .await
            .unwrap()
            .person
            .awaiting_credentials
            .is_empty()
    );
    // The board takes the licence away.
    let rejected = admin
        .credential_reject(verified.id, verified.version, "suspended by the board")
        .await
        .unwrap();
    let history: Vec<_> = rejected
        .decisions
        .iter()
        .map(|decision| decision.status)
        .collect();
    assert_eq!(history, [CredentialStatus::Verified, CredentialStatus::Rejected]);
    assert_eq!(
        rejected.decisions[1].decided_by,
        Some(world.clinic.person("admin"))
    );
    assert!(
        !may_act(&clinician).await,
        "at once, in the session that was open"
    );
    let mine = clinician.credential_mine().await.unwrap().items;
    let reason = mine.iter().find(|one| one.id == rejected.id).unwrap().decisions[1]
        .reason
        .clone();
    assert_eq!(reason.unwrap().expose(), "suspended by the board");
    assert!(
        clinician
            .credential_withdraw(number.id, number.version)
            .await
            .unwrap()
            .status
            == CredentialStatus::Withdrawn
    );
    for (action, of) in [
        ("credential_submit", stated.id),
        ("credential_verify", stated.id),
        ("credential_reject", stated.id),
        ("credential_withdraw", number.id),
    ] {
        let leaves: i64 =
            sqlx::query_scalar("SELECT count(*) FROM audit WHERE action = $1 AND object_id = $2")
                .bind(action)
                .bind(of.as_uuid())
                .fetch_one(&mut world.admin().await)
                .await
                .unwrap();
        assert_eq!(leaves, 1, "{action}");
    }
}

#[tokio::test]
async fn an_expired_licence_is_none_and_nobody_is_booked_with_its_owner() {
    let world = World::new().await;
    let clinician = world.signed_in("clinician").await;
    let admin = world.signed_in("admin").await;
    sqlx::query(
        "UPDATE credential SET expires_on = date '2020-01-01' WHERE person_id = $1 AND kind = 'license'",
    )
    .bind(world.clinic.person("clinician").as_uuid())
    .execute(&mut world.admin().await)
    .await
    .unwrap();
    assert!(!may_act(&clinician).await);
    let booking = world.booking("patient", "clinician", 60);
    let booked = admin.appointment_create(&IdempotencyKey::fresh(), &booking).await;
    assert_eq!(refused(booked), ProblemCode::Unprocessable);
    let expired = CredentialQuery {
        status: Some(CredentialStatus::Expired),
        ..CredentialQuery::default()
    };
    let found = admin.credential_list(&expired).await.unwrap().items;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].person.id, world.clinic.person("clinician"));
    let verified = CredentialQuery {
        status: Some(CredentialStatus::Verified),
        person_id: Some(world.clinic.person("clinician")),
        ..CredentialQuery::default()
    };
    let left = admin.credential_list(&verified).await.unwrap().items;
    assert_eq!(
        left.iter().map(|one| one.kind).collect::<Vec<_>>(),
        [CredentialKind::Npi]
    );
    // A renewal stands beside it.
    let renewed = submit(&clinician, &license("a-99", END)).await;
    admin
        .credential_verify(renewed.id, renewed.version)
        .await
        .unwrap();
    assert!(may_act(&clinician).await);
}

#[tokio::test]
async fn nobody_verifies_their_own_or_another_clinics_and_only_the_latest_version_counts() {
    let world = World::new().await;
    let (clinician, admin) = (world.signed_in("clinician").await, world.signed_in("admin").await);
    // An admin who is a clinician too.
    sqlx::query("INSERT INTO person_role (clinic_id, person_id, role, granted_at) VALUES ($1, $2, 'clinician', now())")
        .bind(world.clinic.id.as_uuid())
        .bind(world.clinic.person("admin").as_uuid())
        .execute(&mut world.admin().await)
        .await
        .unwrap();
    let own = submit(&admin, &npi("1234567893")).await;
    assert_eq!(
        refused(admin.credential_verify(own.id, own.version).await),
        ProblemCode::Forbidden
    );
    let stated = submit(&clinician, &license("77", END)).await;
    assert_eq!(
        refused(clinician.credential_verify(stated.id, stated.version).await),
        ProblemCode::Forbidden
    );
    assert_eq!(
        refused(admin.credential_verify(stated.id, stated.version + 1).await),
        ProblemCode::VersionMismatch
    );
    let colleague = world.signed_in("colleague").await;
    assert_eq!(
        refused(colleague.credential_withdraw(stated.id, stated.version).await),
        ProblemCode::NotFound
    );
    let hillside = medmesh_tests::control::TestClinic::open(&world.scratch, "hillside").await;
    let other = world.node.signed_in_as(&hillside, "admin").await;
    assert_eq!(
        refused(other.credential_verify(stated.id, stated.version).await),
        ProblemCode::NotFound
    );
    let listed = other
        .credential_list(&CredentialQuery::default())
        .await
        .unwrap()
        .items;
    assert!(listed.iter().all(|one| one.id != stated.id));
    let patient = world.signed_in("patient").await;
    assert_eq!(
        refused(
            patient
                .credential_submit(&IdempotencyKey::fresh(), &npi("1234567893"))
                .await
        ),
        ProblemCode::Forbidden
    );
    assert_eq!(
        refused(clinician.credential_list(&CredentialQuery::default()).await),
        ProblemCode::Forbidden
    );
}

#[tokio::test]
async fn what_is_stated_is_checked_and_stated_once() {
    let world = World::new().await;
    let clinician = world.signed_in("clinician").await;
    for (bad, code) in [
        (npi("1234567890"), ProblemCode::InvalidRequest),
        (license("", END), ProblemCode::InvalidRequest),
        (license("12", None), ProblemCode::InvalidRequest),
        (
            license("12", Some(date!(2020 - 01 - 01))),
            ProblemCode::Unprocessable,
        ),
        (
            license("12", Some(date!(2090 - 01 - 01))),
            ProblemCode::Unprocessable,
        ),
    ] {
        let tried = clinician.credential_submit(&IdempotencyKey::fresh(), &bad).await;
        assert_eq!(refused(tried), code, "{bad:?}");
    }
    let key = IdempotencyKey::fresh();
    let first = clinician
        .credential_submit(&key, &license("12", END))
        .await
        .unwrap();
    let again = clinician
        .credential_submit(&key, &license("12", END))
        .await
        .unwrap();
    assert_eq!(first, again);
    let other = clinician.credential_submit(&key, &license("13", END)).await;
    assert_eq!(refused(other), ProblemCode::IdempotencyKeyReused);
    // Sealed at rest, and every act in the log.
    let mut database = world.admin().await;
    let rows: Vec<Vec<u8>> = sqlx::query_scalar("SELECT number FROM credential")
        .fetch_all(&mut database)
        .await
        .unwrap();
    assert!(
        rows.iter()
            .all(|bytes| !bytes.windows(4).any(|part| part == b"DEMO"))
    );
    let leaves: i64 = sqlx::query_scalar("SELECT count(*) FROM audit WHERE action = 'credential_submit'")
        .fetch_one(&mut database)
        .await
        .unwrap();
    assert_eq!(leaves, 1);
    // The update needs its version.
    let (cookie, csrf) = world.credentials("clinician").await;
    let url = format!("{}/v1/credentials/{}/withdraw", world.node.url(), first.id);
    let bare = plain_http()
        .post(url)
        .header("cookie", cookie)
        .header("x-csrf-token", csrf);
    assert_eq!(bare.send().await.unwrap().status(), 428);
}
