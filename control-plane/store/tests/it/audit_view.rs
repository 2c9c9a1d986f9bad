//! The audit log as people read it.

use std::collections::BTreeSet;

use medmesh_base::{PersonId, ProblemCode};
use medmesh_clinic::audit::{Action, Event, Outcome};
use medmesh_clinic::{Caller, DISCLOSED_CHARS_MAX, DisclosureBasis, DisclosureText, NewDisclosure};
use medmesh_store::{AuditFilter, PageRequest, StoreError};
use time::{Duration, OffsetDateTime};

use crate::audit::visit_story;
use crate::support::{World, told, world};

const fn pages_of(limit: u32) -> PageRequest {
    PageRequest {
        limit: Some(limit),
        cursor: None,
    }
}

/// The whole log as the caller finds it, in pages of seven; reading it is undone, so that the log
/// does not grow below.
async fn all(world: &World, caller: Caller, filter: AuditFilter) -> Result<Vec<Event>, StoreError> {
    let (mut events, mut page) = (Vec::new(), pages_of(7));
    loop {
        let found = world.begin(caller).await.audit_list(&filter, page).await?;
        events.extend(found.page.items);
        page.cursor = found.page.next_cursor;
        if page.cursor.is_none() {
            return Ok(events);
        }
    }
}

#[tokio::test]
async fn an_auditor_finds_what_they_look_for_and_nothing_else() {
    let world = world().await;
    visit_story(&world).await;
    let people = world.people;
    let everything = all(&world, people.admin, AuditFilter::default()).await.unwrap();
    assert_eq!(
        everything.len() as i64,
        world.count("SELECT count(*) FROM audit").await
    );
    assert!(everything.is_sorted_by(|a, b| a.id > b.id));
    let middle = everything[everything.len() / 2].at;
    let clinician = people.clinician.person_id;
    let patient = people.patient.person_id;
    let of = |id: PersonId| Some(id.as_uuid());
    type Keep<'a> = Box<dyn Fn(&Event) -> bool + 'a>;
    let filters: [(AuditFilter, Keep<'_>); 6] = [
        (
            AuditFilter {
                actor: Some(clinician),
                ..AuditFilter::default()
            },
            Box::new(|event| event.actor_id == of(clinician)),
        ),
        (
            AuditFilter {
                patient: Some(patient),
                ..AuditFilter::default()
            },
            Box::new(|event| event.patient_id == of(patient)),
        ),
        (
            AuditFilter {
                action: Some(Action::AppointmentCreate),
                ..AuditFilter::default()
            },
            Box::new(|event| event.action == "appointment_create"),
        ),
        (
            AuditFilter {
                outcome: Some(Outcome::Refused),
                ..AuditFilter::default()
            },
            Box::new(|event| event.denied_action.is_some()),
        ),
        (
            AuditFilter {
                from: Some(middle),
                ..AuditFilter::default()
            },
            Box::new(|event| event.at >= middle),
        ),
        (
            AuditFilter {
                to: Some(middle),
                patient: Some(patient),
                outcome: Some(Outcome::Done),
                ..AuditFilter::default()
            },
            Box::new(|event| {
                event.at < middle && event.patient_id == of(patient) && event.denied_action.is_none()
            }),
        ),
    ];
    // So that there is a refusal to be found.
    let denied = world
        .begin(people.clinician)
        .await
        .audit_list(&AuditFilter::default(), pages_of(1))
        .await;
    assert_eq!(told(denied), ProblemCode::Forbidden);
    let everything = all(&world, people.admin, AuditFilter::default()).await.unwrap();
    for (filter, keep) in filters {
        let expected: Vec<&Event> = everything.iter().filter(|event| keep(event)).collect();
        assert!(!expected.is_empty(), "{filter:?}");
        let found = all(&world, people.admin, filter).await.unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter:?}");
    }
}

#[tokio::test]
async fn reading_the_log_is_on_it_for_each_patient_who_was_named() {
    let world = world().await;
    visit_story(&world).await;
    let mut tx = world.begin(world.people.admin).await;
    let request = tx.request_id();
    let view = tx
        .audit_list(&AuditFilter::default(), pages_of(200))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let named: BTreeSet<_> = view
        .page
        .items
        .iter()
        .filter_map(|event| event.patient_id)
        .collect();
    assert!(named.len() >= 2);
    let sql = "SELECT patient_id FROM audit WHERE action = 'audit_read' AND request_id = $1";
    let left: Vec<uuid::Uuid> = sqlx::query_scalar(sql)
        .bind(request.as_uuid())
        .fetch_all(&mut world.admin().await)
        .await
        .unwrap();
    assert_eq!(left.into_iter().collect::<BTreeSet<_>>(), named);
    assert!(view.people.values().all(|named| named.display_name.is_some()));
}

#[tokio::test]
async fn patients_see_who_saw_their_record_and_nothing_else() {
    let world = world().await;
    visit_story(&world).await;
    let people = world.people;
    let patient = people.patient.person_id;
    // Another patient who tries learns nothing, and neither does the patient of them.
    let stranger = world
        .begin(people.other_patient)
        .await
        .record_access_list(patient, false, pages_of(1))
        .await;
    assert_eq!(told(stranger), ProblemCode::NotFound);
    let view = world
        .begin(people.patient)
        .await
        .record_access_list(patient, false, pages_of(200))
        .await
        .unwrap();
    assert!(view.page.items.len() >= 10);
    assert!(
        view.page
            .items
            .iter()
            .all(|event| event.patient_id == Some(patient.as_uuid()))
    );
    let clinician = &view.people[&people.clinician.person_id];
    assert_eq!(
        clinician.display_name.as_ref().unwrap().expose(),
        "Name of clinician"
    );
    assert!(!view.people.contains_key(&people.other_patient.person_id));
    let refusal = view
        .page
        .items
        .iter()
        .find(|event| event.denied_action.is_some())
        .unwrap();
    assert_eq!(refusal.actor_id, Some(people.other_patient.person_id.as_uuid()));
    let others = world
        .begin(people.patient)
        .await
        .record_access_list(patient, true, pages_of(200))
        .await
        .unwrap();
    assert!(
        others
            .page
            .items
            .iter()
            .all(|event| event.actor_id != Some(patient.as_uuid()))
    );
    assert!(others.page.items.len() < view.page.items.len());
    // The seed added them, and nobody looked since.
    let other = people.other_patient;
    let quiet = world
        .begin(other)
        .await
        .record_access_list(other.person_id, false, pages_of(9))
        .await
        .unwrap();
    assert_eq!(quiet.page.items.len(), 1);
    let admin = world
        .begin(people.admin)
        .await
        .record_access_list(patient, false, pages_of(1))
        .await;
    assert_eq!(told(admin), ProblemCode::Forbidden, "not the privacy officer");
}

#[tokio::test]
async fn a_copy_is_for_those_who_have_just_proved_themselves() {
    let world = world().await;
    visit_story(&world).await;
    let now = OffsetDateTime::now_utc();
    let mut admin = world.people.admin;
    let refused = world
        .begin(admin)
        .await
        .audit_export(&AuditFilter::default(), None)
        .await;
    assert_eq!(told(refused), ProblemCode::MfaRequired);
    admin.second_factor = true;
    let refused = world
        .begin(admin)
        .await
        .audit_export(&AuditFilter::default(), None)
        .await;
    assert_eq!(told(refused), ProblemCode::StepUpRequired);
    admin.stepped_up_at = Some(now);
    let copy = world
        .begin(admin)
        .await
        .audit_export(&AuditFilter::default(), None)
        .await
        .unwrap();
    assert!(copy.page.items.len() > 10);
    let staff = copy.people.values().all(|named| named.roles.is_staff());
    assert!(staff, "patients are ids");
    let mut patient = world.people.patient;
    (patient.second_factor, patient.stepped_up_at) = (true, Some(now));
    let refused = world
        .begin(patient)
        .await
        .audit_export(&AuditFilter::default(), None)
        .await;
    assert_eq!(told(refused), ProblemCode::Forbidden);
}

fn disclosure(disclosed_at: OffsetDateTime) -> NewDisclosure {
    let text = |text: &str| DisclosureText::new(text, DISCLOSED_CHARS_MAX).unwrap();
    NewDisclosure {
        disclosed_at,
        recipient: text("County health department"),
        address: Some(text("1 Main Street")),
        description: text("one laboratory report"),
        purpose: text("a notifiable disease"),
        basis: DisclosureBasis::PublicHealth,
    }
}

#[tokio::test]
async fn the_account_of_disclosures_goes_back_six_years() {
    let world = world().await;
    let (people, now) = (world.people, OffsetDateTime::now_utc());
    let (officer, patient) = (people.colleague, people.patient.person_id);
    let refused = world
        .begin(officer)
        .await
        .disclosure_create(patient, &disclosure(now))
        .await;
    assert_eq!(
        told(refused),
        ProblemCode::Forbidden,
        "not the privacy officer yet"
    );
    sqlx::query(
        "INSERT INTO privacy_officer (clinic_id, person_id, named_at, named_by) VALUES ($1, $2, now(), $2)",
    )
    .bind(world.clinic.as_uuid())
    .bind(officer.person_id.as_uuid())
    .execute(&mut world.admin().await)
    .await
    .unwrap();
    for (years, is_sound) in [(5, true), (3, true), (7, false), (-1, false)] {
        let mut tx = world.begin(officer).await;
        let at = now - Duration::days(365 * years);
        let noted = tx.disclosure_create(patient, &disclosure(at)).await;
        assert_eq!(noted.is_ok(), is_sound, "{years} years ago");
        if is_sound {
            tx.commit().await.unwrap();
        }
    }
    let mut tx = world.begin(people.patient).await;
    let request = tx.request_id();
    let first = tx.disclosure_list(patient, pages_of(1)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(first.items[0].recipient.expose(), "County health department");
    assert_eq!(first.items[0].address.as_ref().unwrap().expose(), "1 Main Street");
    let leaf: (String, uuid::Uuid) =
        sqlx::query_as("SELECT action, patient_id FROM audit WHERE request_id = $1")
            .bind(request.as_uuid())
            .fetch_one(&mut world.admin().await)
            .await
            .unwrap();
    assert_eq!(leaf, ("disclosure_read".to_owned(), patient.as_uuid()));
    let next = PageRequest {
        cursor: first.next_cursor,
        limit: Some(1),
    };
    let second = world
        .begin(people.patient)
        .await
        .disclosure_list(patient, next)
        .await
        .unwrap();
    assert!(second.items[0].disclosed_at < first.items[0].disclosed_at);
    assert_eq!(second.next_cursor, None);
    // Two years on, the older of them is no longer in the account.
    let mut later = world.begin_at(people.patient, now + Duration::days(800)).await;
    let account = later.disclosure_list(patient, pages_of(9)).await.unwrap();
    assert_eq!(account.items.len(), 1);
    let other = world
        .begin(people.other_patient)
        .await
        .disclosure_list(patient, pages_of(1))
        .await;
    assert_eq!(told(other), ProblemCode::NotFound);
}

/// A rare act lies further back than one look goes: pages may be empty on the way, and the way does not end there.
#[tokio::test]
async fn what_is_rare_is_found_however_far_back_it_lies() {
    let world = world().await;
    let people = world.people;
    let mut tx = world.begin(people.clinician).await;
    let denied = tx.audit_list(&AuditFilter::default(), pages_of(1)).await;
    assert_eq!(told(denied), ProblemCode::Forbidden);
    // More than are looked through for one page, past the service: it would take minutes.
    sqlx::query(
        "INSERT INTO audit (clinic_id, id, at, actor_kind, action, object_kind, purpose, request_id, sealed, commitment)
         SELECT $1, (left(uuid_at(now() + interval '1 minute')::text, 14) || '7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
             now(), 'upkeep', 'visit_read', 'clinic', 'operations', gen_random_uuid(), '\\x00', sha256('\\x00')
         FROM generate_series(1, 20500) n",
    )
    .bind(world.clinic.as_uuid())
    .execute(&mut world.admin().await)
    .await
    .unwrap();
    let refused = AuditFilter {
        action: Some(Action::Denied),
        ..AuditFilter::default()
    };
    let first = world
        .begin(people.admin)
        .await
        .audit_list(&refused, pages_of(7))
        .await;
    let first = first.unwrap().page;
    assert!(first.items.is_empty() && first.next_cursor.is_some(), "{first:?}");
    let found = all(&world, people.admin, refused).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
}
