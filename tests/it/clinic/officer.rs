//! The privacy officer who is nothing else here that finds patients: an auditor. They have to say who saw a
//! record, note what left it, and find a record that rests; by name, and no further than their duties go.

use medmesh_api_client::{Clinic, IdempotencyKey};
use medmesh_api_types::audit_view::{AuditQuery, RecordAccessQuery};
use medmesh_api_types::disclosure::{DisclosureBasis, DisclosureCreate};
use medmesh_api_types::page::PageQuery;
use medmesh_api_types::person::{PatientSearch, PersonQuery, PersonUpdate, Role};
use medmesh_api_types::rights::RecordRightsSet;
use medmesh_base::{PersonId, Phi, ProblemCode};
use time::{Duration, OffsetDateTime};

use super::{World, refused};

fn spelt(q: &str) -> PatientSearch {
    PatientSearch {
        q: Phi::new(q.to_owned()),
        limit: None,
    }
}

async fn found(who: &Clinic, q: &str) -> Vec<PersonId> {
    let found = who.patient_search(&spelt(q)).await.unwrap().items;
    assert!(found.iter().all(|person| person.email.is_none()), "{found:?}");
    found.iter().map(|person| person.id).collect()
}

/// Makes the colleague an auditor and nothing else.
async fn auditor(world: &World, admin: &Clinic) -> Clinic {
    let only = PersonUpdate {
        roles: Some(vec![Role::Auditor]),
        active: None,
    };
    let colleague = world.clinic.person("colleague");
    admin.person_update(colleague, 1, &only).await.unwrap();
    world.signed_in("colleague").await
}

fn sent_to_the_court() -> DisclosureCreate {
    DisclosureCreate {
        disclosed_at: OffsetDateTime::now_utc() - Duration::days(1),
        recipient: Phi::new("County court".into()),
        address: None,
        description: Phi::new("the visit's summary".into()),
        purpose: Phi::new("a subpoena".into()),
        basis: DisclosureBasis::Judicial,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auditor_who_is_the_privacy_officer_finds_whose_record_it_is() {
    let world = World::new().await;
    let (admin, patient) = (world.signed_in("admin").await, world.clinic.person("patient"));
    world.booked_now().await;
    let officer = auditor(&world, &admin).await;
    // An auditor reads the log and knows nobody but from it.
    assert_eq!(
        refused(officer.patient_search(&spelt("Paula Patient")).await),
        ProblemCode::Forbidden
    );
    let colleague = world.clinic.person("colleague");
    admin.privacy_officer_set(colleague, 0).await.unwrap();
    assert_eq!(found(&officer, "Paola Pattient").await, [patient]);
    // Not by an address, and nobody who works here.
    assert!(found(&officer, &world.clinic.email("patient")).await.is_empty());
    assert!(found(&officer, "Clara Clinician").await.is_empty());
    assert_eq!(
        refused(officer.person_list(&PersonQuery::default()).await),
        ProblemCode::Forbidden
    );

    // Who saw it, what left it, what the log says of it.
    let seen = officer
        .record_access_list(patient, &RecordAccessQuery::default())
        .await;
    let seen = seen.unwrap().items;
    assert!(
        seen.iter().any(|access| access.action == "appointment_create"),
        "{seen:?}"
    );
    let noted = officer
        .disclosure_create(&IdempotencyKey::fresh(), patient, &sent_to_the_court())
        .await
        .unwrap();
    let account = officer.disclosure_list(patient, &PageQuery::default()).await;
    assert_eq!(account.unwrap().items[0].id, noted.id);
    let of_the_patient = AuditQuery {
        patient_id: Some(patient),
        ..AuditQuery::default()
    };
    assert!(
        !officer
            .audit_list(&of_the_patient)
            .await
            .unwrap()
            .items
            .is_empty()
    );

    // A record that rests has to be found by whom its patient turns to.
    let rests = RecordRightsSet {
        restricted: true,
        erasure: false,
    };
    let own = world.signed_in("patient").await;
    own.record_rights_set(patient, 0, rests).await.unwrap();
    assert_eq!(found(&officer, "Paula Patient").await, [patient]);
    assert!(
        admin
            .patient_search(&spelt("Paula Patient"))
            .await
            .unwrap()
            .items
            .is_empty()
    );

    // Being found is a read that the patient sees; being looked for in vain is a leaf, too.
    let leaves: (i64, i64) = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE action = 'person_read' AND patient_id = $2),
             count(*) FILTER (WHERE action = 'denied' AND denied_action = 'patient_search')
         FROM audit WHERE actor_id = $1",
    )
    .bind(colleague.as_uuid())
    .bind(patient.as_uuid())
    .fetch_one(&mut world.admin().await)
    .await
    .unwrap();
    assert_eq!(leaves, (2, 1));

    // The office goes, and what came with it.
    admin
        .privacy_officer_set(world.clinic.person("clinician"), 1)
        .await
        .unwrap();
    assert_eq!(
        refused(officer.patient_search(&spelt("Paula Patient")).await),
        ProblemCode::Forbidden
    );
    world.node.stop().await;
}
