//! Every write and every read of health data has its leaf, in the same transaction.

use medmesh_base::{PersonId, RequestId};
use medmesh_clinic::audit::Action;
use medmesh_clinic::identity::Factor;
use medmesh_clinic::{Role, Roles, Visit};
use medmesh_store::{AppointmentChange, AppointmentFilter, PageRequest, PasswordHash, SessionToken, Tx};
use sqlx::Row as _;
use uuid::Uuid;

use crate::support::{PHC, World, new_person, slot, slot_now, world};

/// What the log says about one request, through the superuser.
async fn leaves(
    world: &World,
    request: RequestId,
) -> Vec<(String, Option<Uuid>, Option<Uuid>, Option<Uuid>)> {
    let rows = sqlx::query(
        "SELECT action, actor_id, object_id, patient_id FROM audit WHERE request_id = $1 ORDER BY id",
    )
    .bind(request.as_uuid())
    .fetch_all(&mut world.admin().await)
    .await
    .unwrap();
    rows.iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3)))
        .collect()
}

/// Commits and checks the one leaf of the transaction.
async fn one_leaf(world: &World, tx: Tx, action: Action, object: Option<Uuid>, patient: Option<PersonId>) {
    let (request, actor) = (
        tx.request_id(),
        tx.actor().caller().map(|caller| caller.person_id.as_uuid()),
    );
    tx.commit().await.unwrap();
    let expected = (action.to_string(), actor, object, patient.map(|id| id.as_uuid()));
    assert_eq!(leaves(world, request).await, [expected]);
}

/// Every operation on a visit, in the order of a visit's life.
pub(crate) async fn visit_story(world: &World) -> Visit {
    let people = world.people;
    let patient = Some(people.patient.person_id);
    let mut tx = world.begin(people.clinician).await;
    let booked = tx
        .appointment_create(&world.new_appointment(slot_now()))
        .await
        .unwrap();
    one_leaf(
        world,
        tx,
        Action::AppointmentCreate,
        Some(booked.id.as_uuid()),
        patient,
    )
    .await;
    let id = booked.visit_id;
    let object = Some(id.as_uuid());

    let mut tx = world.begin(people.patient).await;
    tx.visit_check_in(id).await.unwrap();
    one_leaf(world, tx, Action::VisitCheckIn, object, patient).await;
    let mut tx = world.begin(people.clinician).await;
    let visit = tx.visit_open(id).await.unwrap();
    one_leaf(world, tx, Action::VisitOpen, object, patient).await;
    let participant = visit.patient().unwrap().id;
    let mut tx = world.begin(people.clinician).await;
    tx.visit_admit(id, participant).await.unwrap();
    one_leaf(
        world,
        tx,
        Action::VisitAdmit,
        Some(participant.as_uuid()),
        patient,
    )
    .await;
    let mut tx = world.begin(people.patient).await;
    tx.signaling_session(id).await.unwrap();
    one_leaf(
        world,
        tx,
        Action::SignalingSession,
        Some(participant.as_uuid()),
        patient,
    )
    .await;
    let mut tx = world.begin(people.patient).await;
    let message = tx
        .message_create(id, &"a very private message".parse().unwrap())
        .await
        .unwrap();
    one_leaf(
        world,
        tx,
        Action::MessageCreate,
        Some(message.id.as_uuid()),
        patient,
    )
    .await;
    let mut tx = world.begin(people.clinician).await;
    tx.message_list(id, None, None).await.unwrap();
    one_leaf(world, tx, Action::MessageRead, object, patient).await;
    let mut tx = world.begin(people.clinician).await;
    let visit = tx.participant_add(id, people.colleague.person_id).await.unwrap();
    let guest = visit.of_person(people.colleague.person_id).unwrap().id;
    one_leaf(world, tx, Action::ParticipantAdd, Some(guest.as_uuid()), patient).await;
    let media = medmesh_clinic::Actor::System(medmesh_clinic::SystemActor::Media);
    let request = RequestId::generate();
    let mut tx = world.store.begin(world.clinic, media, request).await.unwrap();
    tx.participant_presence(id, participant, true)
        .await
        .unwrap()
        .unwrap();
    one_leaf(
        world,
        tx,
        Action::ParticipantConnect,
        Some(participant.as_uuid()),
        patient,
    )
    .await;
    let mut tx = world.begin(people.clinician).await;
    let visit = tx.visit_end(id).await.unwrap();
    one_leaf(world, tx, Action::VisitEnd, object, patient).await;
    visit
}

#[tokio::test]
async fn each_step_of_a_visit_has_its_leaf() {
    let world = world().await;
    let visit = visit_story(&world).await;
    let patient = Some(world.people.patient.person_id);
    let mut tx = world.begin(world.people.patient).await;
    tx.visit_get(visit.id).await.unwrap();
    one_leaf(&world, tx, Action::VisitRead, Some(visit.id.as_uuid()), patient).await;
    let mut tx = world.begin(world.people.admin).await;
    tx.appointment_get(visit.appointment_id).await.unwrap();
    one_leaf(
        &world,
        tx,
        Action::AppointmentRead,
        Some(visit.appointment_id.as_uuid()),
        patient,
    )
    .await;

    let booked = world.book(slot(0)).await;
    let object = Some(booked.id.as_uuid());
    let mut tx = world.begin(world.people.clinician).await;
    let changed = tx
        .appointment_update(booked.id, booked.version, &AppointmentChange::default())
        .await
        .unwrap();
    one_leaf(&world, tx, Action::AppointmentUpdate, object, patient).await;
    let mut tx = world.begin(world.people.clinician).await;
    tx.appointment_cancel(booked.id, changed.version, Some(&"gone away".parse().unwrap()))
        .await
        .unwrap();
    one_leaf(&world, tx, Action::AppointmentCancel, object, patient).await;
}

#[tokio::test]
async fn a_list_has_a_leaf_for_each_row_it_gave() {
    let world = world().await;
    let mut tx = world.begin(world.people.patient).await;
    tx.appointment_list(AppointmentFilter::default(), PageRequest::default())
        .await
        .unwrap();
    one_leaf(&world, tx, Action::AppointmentRead, None, None).await;
    for n in 0..3 {
        world.book(slot(n)).await;
    }
    let mut tx = world.begin(world.people.patient).await;
    let limit = PageRequest {
        limit: Some(2),
        cursor: None,
    };
    let page = tx
        .appointment_list(AppointmentFilter::default(), limit)
        .await
        .unwrap();
    let request = tx.request_id();
    tx.commit().await.unwrap();
    let seen: Vec<_> = leaves(&world, request)
        .await
        .into_iter()
        .map(|leaf| leaf.2.unwrap())
        .collect();
    assert_eq!(
        seen,
        page.items
            .iter()
            .map(|item| item.id.as_uuid())
            .collect::<Vec<_>>()
    );

    let mut tx = world.begin(world.people.clinician).await;
    let people = tx
        .person_list(Some(Role::Patient), PageRequest::default())
        .await
        .unwrap();
    let request = tx.request_id();
    tx.commit().await.unwrap();
    assert_eq!(people.items.len(), 2);
    let whose: Vec<_> = leaves(&world, request)
        .await
        .into_iter()
        .map(|leaf| leaf.3.unwrap())
        .collect();
    assert_eq!(
        whose,
        people
            .items
            .iter()
            .map(|person| person.id.as_uuid())
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn effect_and_leaf_are_undone_together() {
    let world = world().await;
    let before = world.count("SELECT count(*) FROM audit").await;
    let accounts = world.count("SELECT count(*) FROM account").await;
    let keys = world.count("SELECT count(*) FROM patient_key").await;
    let mut tx = world.begin(world.people.clinician).await;
    tx.appointment_create(&world.new_appointment(slot(0)))
        .await
        .unwrap();
    drop(tx);
    let mut tx = world.begin(world.people.admin).await;
    let new = new_person("late@a.example", Roles::only(Role::Patient));
    tx.person_create(&new, &PasswordHash::from_phc(PHC.to_owned()))
        .await
        .unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM audit").await, before);
    assert_eq!(world.count("SELECT count(*) FROM account").await, accounts);
    assert_eq!(world.count("SELECT count(*) FROM patient_key").await, keys);
    for nothing in [
        "SELECT count(*) FROM appointment",
        "SELECT count(*) FROM slot_claim",
        "SELECT count(*) FROM outbox",
    ] {
        assert_eq!(world.count(nothing).await, 0, "{nothing}");
    }
}

#[tokio::test]
async fn the_log_holds_no_health_data() {
    let world = world().await;
    visit_story(&world).await;
    let rows: Vec<String> =
        sqlx::query_scalar("SELECT audit::text FROM audit UNION ALL SELECT outbox::text FROM outbox")
            .fetch_all(&mut world.admin().await)
            .await
            .unwrap();
    assert!(rows.len() > 10);
    for row in rows {
        for secret in ["private", "Name of", "@", "example"] {
            assert!(!row.contains(secret), "{row}");
        }
    }
}

#[tokio::test]
async fn signing_in_and_out_is_in_the_log() {
    let world = world().await;
    let email = "clinician@a.example".parse().unwrap();
    let who = world
        .store
        .login_lookup(&email)
        .await
        .unwrap()
        .unwrap()
        .memberships[0];
    let actor = medmesh_clinic::Actor::System(medmesh_clinic::SystemActor::Login);
    let mut tx = world
        .store
        .begin(world.clinic, actor, RequestId::generate())
        .await
        .unwrap();
    tx.login_refused(&who).await.unwrap();
    one_leaf(
        &world,
        tx,
        Action::LoginRefused,
        Some(who.person_id.as_uuid()),
        None,
    )
    .await;
    let mut tx = world
        .store
        .begin(world.clinic, actor, RequestId::generate())
        .await
        .unwrap();
    let session = tx
        .session_create(&who, &SessionToken::generate(), Factor::Password, "")
        .await
        .unwrap();
    one_leaf(&world, tx, Action::Login, Some(session.id.as_uuid()), None).await;
    let mut tx = world.begin(session.caller()).await;
    tx.session_end().await.unwrap();
    one_leaf(
        &world,
        tx,
        Action::SessionRevoke,
        Some(session.id.as_uuid()),
        None,
    )
    .await;
}
