//! What is refused for what it asks, whoever asks it.

use medmesh_base::RecordExportId;
use medmesh_clinic::{CORRECTIONS_OPEN_MAX, NewCorrection, Refusal, Role};
use medmesh_store::StoreError;
use time::{Duration, OffsetDateTime};

use crate::support::{slot, world};

#[tokio::test]
async fn nobody_cares_for_themselves_and_no_care_begins_when_it_is_over() {
    let world = world().await;
    let people = world.people;
    let (clinician, colleague) = (people.clinician.person_id, people.colleague.person_id);
    let patient = people.patient.person_id;
    let mut tx = world.begin(people.admin).await;
    let themselves = tx.care_team_add(patient, patient, Role::Clinician, None).await;
    assert_eq!(themselves.unwrap_err(), Refusal::NotThemselves.into());
    let over = Some(OffsetDateTime::now_utc() - Duration::minutes(1));
    let mut tx = world.begin(people.admin).await;
    let over = tx.care_team_add(patient, colleague, Role::Clinician, over).await;
    assert_eq!(over.unwrap_err(), Refusal::PeriodUnsuitable.into());
    let mut tx = world.begin(people.admin).await;
    tx.care_team_add(patient, colleague, Role::Clinician, None)
        .await
        .unwrap();

    world.book(slot(1)).await;
    for to in [clinician, patient] {
        let mut tx = world.begin(people.clinician).await;
        let themselves = tx.referral_create(patient, to, None, None).await;
        assert_eq!(themselves.unwrap_err(), Refusal::NotThemselves.into());
    }
    let mut tx = world.begin(people.clinician).await;
    tx.referral_create(patient, colleague, None, None).await.unwrap();
}

#[tokio::test]
async fn a_patient_has_so_many_corrections_open_and_takes_nothing_from_another() {
    let world = world().await;
    let new = NewCorrection {
        what: "line one".parse().unwrap(),
        why: "it never happened".parse().unwrap(),
    };
    let (one, other) = (world.people.patient, world.people.other_patient);
    for _ in 0..CORRECTIONS_OPEN_MAX {
        let mut tx = world.begin(one).await;
        tx.correction_create(one.person_id, &new).await.unwrap();
        tx.commit().await.unwrap();
    }
    let more = world
        .begin(one)
        .await
        .correction_create(one.person_id, &new)
        .await;
    assert_eq!(more.unwrap_err(), Refusal::TooManyCorrections.into());
    let theirs = world
        .begin(other)
        .await
        .correction_create(other.person_id, &new)
        .await;
    theirs.unwrap();
}

#[tokio::test]
async fn a_copy_whose_week_is_over_is_not_taken_though_nobody_has_cleared_it_away() {
    let world = world().await;
    let (patient, id) = (world.people.patient, RecordExportId::generate());
    sqlx::query(
        "INSERT INTO record_export (clinic_id, id, patient_id, state, requested_at, ready_at, expires_at,
             object_id, json_bytes, json_signature, fhir_bytes, fhir_signature)
         VALUES ($1, $2, $3, 'ready', now() - interval '8 days', now() - interval '8 days', now() - interval '1 day',
             $2, 1, 'x', 1, 'x')",
    )
    .bind(world.clinic.as_uuid())
    .bind(id.as_uuid())
    .bind(patient.person_id.as_uuid())
    .execute(&mut world.admin().await)
    .await
    .unwrap();
    let in_time = OffsetDateTime::now_utc() - Duration::days(2);
    let mut tx = world.begin_at(patient, in_time).await;
    tx.record_export_download(patient.person_id, id).await.unwrap();
    let mut tx = world.begin(patient).await;
    let late = tx.record_export_download(patient.person_id, id).await;
    assert_eq!(late.unwrap_err(), StoreError::NotFound);
}
