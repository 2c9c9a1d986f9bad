//! What people are to the clinic: given, taken, ended and taken up again, and all that hangs on it.

use std::time::Duration;

use medmesh_api_client::{Clinic, IdempotencyKey, Operator};
use medmesh_api_types::account::InvitationCreate;
use medmesh_api_types::audit_view::{AuditEntry, AuditFormat, AuditQuery};
use medmesh_api_types::person::{Locale, PatientSearch, Person, PersonQuery, PersonUpdate, Role};
use medmesh_api_types::visit::VisitQuery;
use medmesh_base::{PersonId, Phi, ProblemCode};
use medmesh_tests::control::{PASSWORD, TestClinic, Wishes};
use tokio::time::Instant;

use super::links::with_mail;
use super::live::{PATIENCE, next_visit};
use super::{World, refused};

/// How long a membership that was ended may be of any effect.
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(1);

const EVERY_ROLE: [Role; 10] = [
    Role::Patient,
    Role::Clinician,
    Role::Nurse,
    Role::Scheduler,
    Role::Pharmacist,
    Role::CareCoordinator,
    Role::Admin,
    Role::Support,
    Role::Auditor,
    Role::Sre,
];

fn roles(roles: &[Role]) -> PersonUpdate {
    PersonUpdate {
        roles: Some(roles.to_vec()),
        active: None,
    }
}

pub(super) fn active(active: bool) -> PersonUpdate {
    PersonUpdate {
        roles: None,
        active: Some(active),
    }
}

/// Somebody as the admin's list shows them.
pub(super) async fn seen(admin: &Clinic, id: PersonId) -> Person {
    let page = admin.person_list(&PersonQuery::default()).await.unwrap();
    page.items.into_iter().find(|person| person.id == id).unwrap()
}

async fn leaves(world: &World, action: &str, of: PersonId) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM audit WHERE action = $1 AND object_id = $2")
        .bind(action)
        .bind(of.as_uuid())
        .fetch_one(&mut world.admin().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_admin_gives_and_takes_roles_and_they_count_at_once() {
    let world = World::new().await;
    let admin = world.signed_in("admin").await;
    let id = world.clinic.person("colleague");
    let colleague = world.signed_in("colleague").await;
    colleague.visit_list(&VisitQuery::default()).await.unwrap();
    let mut person = seen(&admin, id).await;
    // More than before: whoever is signed in stays so, and may more at once.
    assert_eq!(refused(admin_page(&colleague).await), ProblemCode::Forbidden);
    person = admin
        .person_update(id, person.version, &roles(&[Role::Clinician, Role::Admin]))
        .await
        .unwrap();
    admin_page(&colleague).await.unwrap();
    // An admin and nothing else has no clinical read, and is signed out of what they had.
    person = admin
        .person_update(id, person.version, &roles(&[Role::Admin]))
        .await
        .unwrap();
    assert_eq!(refused(colleague.session().await), ProblemCode::Unauthenticated);
    let again = world.signed_in("colleague").await;
    assert_eq!(
        refused(again.visit_list(&VisitQuery::default()).await),
        ProblemCode::Forbidden
    );
    for role in EVERY_ROLE.into_iter().rev() {
        let wanted = roles(&[role]);
        person = admin.person_update(id, person.version, &wanted).await.unwrap();
        assert_eq!(person.roles, [role]);
        assert_eq!(seen(&admin, id).await, person);
    }
    assert_eq!(
        leaves(&world, "person_roles_change", id).await,
        12,
        "one leaf for each change"
    );
}

async fn admin_page(client: &Clinic) -> Result<(), medmesh_api_client::ClientError> {
    client.clinic_get().await.map(|_| ())
}

#[tokio::test]
async fn nobody_raises_themselves_and_a_clinic_keeps_an_admin() {
    let world = World::new().await;
    let admin = world.signed_in("admin").await;
    let own = seen(&admin, world.clinic.person("admin")).await;
    for role in EVERY_ROLE.into_iter().filter(|role| *role != Role::Admin) {
        let more = roles(&[Role::Admin, role]);
        let tried = admin.person_update(own.id, own.version, &more).await;
        assert_eq!(refused(tried), ProblemCode::Forbidden, "{role:?}");
    }
    let out = admin.person_update(own.id, own.version, &active(false)).await;
    assert_eq!(refused(out), ProblemCode::StateConflict);
    // An admin who was invited and never came is none who could run the clinic.
    let invited = InvitationCreate {
        display_name: Phi::new("Ivo Invited".into()),
        email: Phi::new("ivo@riverside.test".into()),
        roles: vec![Role::Admin],
        locale: Locale::En,
    };
    admin
        .invitation_create(&IdempotencyKey::fresh(), &invited)
        .await
        .unwrap();
    let out = admin.person_update(own.id, own.version, &active(false)).await;
    assert_eq!(refused(out), ProblemCode::StateConflict);
    assert_eq!(seen(&admin, own.id).await, own, "nothing came of all that");
    // Two admins who take leave of each other at the same time: one of them is too late.
    let other = seen(&admin, world.clinic.person("colleague")).await;
    let other = admin
        .person_update(other.id, other.version, &roles(&[Role::Admin]))
        .await
        .unwrap();
    let second = world.signed_in("colleague").await;
    let away = active(false);
    let (one, two) = tokio::join!(
        admin.person_update(other.id, other.version, &away),
        second.person_update(own.id, own.version, &away),
    );
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    let left: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM person p JOIN person_role r ON r.person_id = p.id AND r.clinic_id = p.clinic_id
         WHERE p.active AND r.role = 'admin' AND p.clinic_id = $1
             AND EXISTS (SELECT FROM passkey k WHERE k.person_id = p.id)",
    )
    .bind(world.clinic.id.as_uuid())
    .fetch_one(&mut world.admin().await)
    .await
    .unwrap();
    assert_eq!(left, 1);
}

#[tokio::test]
async fn who_is_deactivated_is_out_everywhere_within_a_second_and_comes_back_with_new_sessions() {
    // Without Redis, so that nobody tells the other node.
    let (world, second) = World::of_two(&Wishes::default()).await;
    let admin = world.signed_in("admin").await;
    let visit = world.booked_now().await.visit_id;
    let id = world.clinic.person("clinician");
    let here = world.signed_in("clinician").await;
    let there = second.signed_in_as(&world.clinic, "clinician").await;
    let mut stream = there.visit_events(visit, None).await.unwrap();
    next_visit(&mut stream, PATIENCE).await;

    let person = seen(&admin, id).await;
    let gone = admin
        .person_update(id, person.version, &active(false))
        .await
        .unwrap();
    let ended = Instant::now();
    assert!(!gone.active && gone.version == person.version + 1);
    for client in [&here, &there] {
        assert_eq!(refused(client.session().await), ProblemCode::Unauthenticated);
    }
    let end = async { while stream.next().await.unwrap().is_some() {} };
    tokio::time::timeout_at(ended + EFFECTIVE_WITHIN, end)
        .await
        .expect("the stream ends");
    let login = world.node.client();
    let tried = login.login(&world.clinic.email("clinician"), PASSWORD).await;
    assert_eq!(refused(tried), ProblemCode::LoginFailed);
    // Nobody books with them either.
    let booking = world.booking("second", "clinician", 90);
    let booked = admin.appointment_create(&IdempotencyKey::fresh(), &booking).await;
    assert_eq!(refused(booked), ProblemCode::Unprocessable);

    let back = admin
        .person_update(id, gone.version, &active(true))
        .await
        .unwrap();
    assert!(back.active);
    for client in [&here, &there] {
        assert_eq!(refused(client.session().await), ProblemCode::Unauthenticated);
    }
    let again = world.signed_in("clinician").await;
    again.visit_get(visit).await.unwrap();
    for (action, count) in [("person_deactivate", 1), ("person_reactivate", 1)] {
        assert_eq!(leaves(&world, action, id).await, count, "{action}");
    }
}

#[tokio::test]
async fn links_of_who_is_deactivated_are_void_and_they_are_told_by_mail() {
    let (world, sink) = with_mail().await;
    let admin = world.signed_in("admin").await;
    let invited = InvitationCreate {
        display_name: Phi::new("Nora Newcomer".into()),
        email: Phi::new("nora@riverside.test".into()),
        roles: vec![Role::Nurse],
        locale: Locale::Fr,
    };
    let nora = admin
        .invitation_create(&IdempotencyKey::fresh(), &invited)
        .await
        .unwrap()
        .person;
    let invitation = super::links::token(&sink.mail(0).await);
    let told = admin
        .person_update(nora.id, nora.version, &roles(&[Role::Nurse, Role::Support]))
        .await
        .unwrap();
    let gone = admin
        .person_update(nora.id, told.version, &active(false))
        .await
        .unwrap();
    let redeemed = world
        .node
        .client()
        .link_redeem(&invitation, "nine lamps by the water")
        .await;
    assert_eq!(refused(redeemed), ProblemCode::LinkSpent);
    let back = admin
        .person_update(nora.id, gone.version, &active(true))
        .await
        .unwrap();
    let redeemed = world
        .node
        .client()
        .link_redeem(&invitation, "nine lamps by the water")
        .await;
    assert_eq!(
        refused(redeemed),
        ProblemCode::LinkSpent,
        "coming back does not revive it"
    );
    let nothing = admin
        .person_update(nora.id, back.version, &PersonUpdate::default())
        .await
        .unwrap();
    assert_eq!(nothing, back, "nothing changed, nothing is told");
    let mut texts = Vec::new();
    for n in 1..=3 {
        let mail = sink.mail(n).await;
        assert_eq!(mail.to, ["nora@riverside.test"]);
        assert!(!mail.data.contains("Nora Newcomer"), "no name travels");
        texts.push(mail.data.replace("=\n", "").replace("\n", " "));
    }
    // The jobs run beside each other: by what they say, not by their order.
    for said in ["a chang", "de nouveau ouvert", "=C3=A9connect"] {
        assert!(texts.iter().any(|text| text.contains(said)), "{said}: {texts:?}");
    }
    assert_eq!(sink.count().await, 4);
}

#[tokio::test]
async fn only_admins_of_the_clinic_with_a_fresh_proof_and_the_latest_version_change_anybody() {
    let world = World::new().await;
    let admin = world.signed_in("admin").await;
    let id = world.clinic.person("colleague");
    let nurse = roles(&[Role::Nurse]);
    for login in ["clinician", "patient"] {
        let client = world.signed_in(login).await;
        let tried = client.person_update(id, 1, &nurse).await;
        assert_eq!(refused(tried), ProblemCode::Forbidden, "{login}");
    }
    let hillside = TestClinic::open(&world.scratch, "hillside").await;
    let other = world.node.signed_in_as(&hillside, "admin").await;
    assert_eq!(
        refused(other.person_update(id, 1, &nurse).await),
        ProblemCode::NotFound
    );
    assert_eq!(
        refused(admin.person_update(PersonId::generate(), 1, &nurse).await),
        ProblemCode::NotFound
    );
    for (bad, code) in [
        (roles(&[]), ProblemCode::InvalidRequest),
        (roles(&[Role::Nurse; 11]), ProblemCode::InvalidRequest),
    ] {
        assert_eq!(refused(admin.person_update(id, 1, &bad).await), code);
    }
    assert_eq!(
        refused(admin.person_update(id, 2, &nurse).await),
        ProblemCode::VersionMismatch
    );
    sqlx::query("UPDATE session SET authenticated_at = authenticated_at - interval '6 minutes'")
        .execute(&mut world.admin().await)
        .await
        .unwrap();
    assert_eq!(
        refused(admin.person_update(id, 1, &nurse).await),
        ProblemCode::StepUpRequired
    );
    let person = seen(&admin, id).await;
    assert_eq!(
        (person.roles.as_slice(), person.version),
        (&[Role::Clinician][..], 1)
    );
}

#[tokio::test]
async fn staff_who_become_patients_have_a_record_of_their_own_and_keep_it() {
    let world = World::new().await;
    let admin = world.signed_in("admin").await;
    let id = world.clinic.person("colleague");
    let find = PatientSearch {
        q: Phi::new("Colin Colleague".into()),
        limit: None,
    };
    assert!(admin.patient_search(&find).await.unwrap().items.is_empty());
    let both = admin
        .person_update(id, 1, &roles(&[Role::Clinician, Role::Patient]))
        .await
        .unwrap();
    let found = admin.patient_search(&find).await.unwrap().items;
    assert_eq!(found.first().map(|person| person.id), Some(id));
    let keys: i64 = sqlx::query_scalar("SELECT count(*) FROM patient_key WHERE patient_id = $1")
        .bind(id.as_uuid())
        .fetch_one(&mut world.admin().await)
        .await
        .unwrap();
    assert_eq!(keys, 1);
    // Booked as a patient, by another clinician.
    let mut booking = world.booking("patient", "clinician", 60);
    booking.patient_id = id;
    admin
        .appointment_create(&IdempotencyKey::fresh(), &booking)
        .await
        .unwrap();
    let tried = admin
        .person_update(id, both.version, &roles(&[Role::Clinician]))
        .await;
    assert_eq!(refused(tried), ProblemCode::Unprocessable);
    let again = world.signed_in("colleague").await.session().await.unwrap();
    assert_eq!(again.person.display_name.expose(), "Colin Colleague");
}

#[tokio::test]
async fn the_privacy_officer_is_replaced_before_they_go_and_the_erased_stay_gone() {
    let world = World::new().await;
    let admin = world.signed_in("admin").await;
    let id = world.clinic.person("colleague");
    let officer = admin.privacy_officer_set(id, 0).await.unwrap();
    for change in [active(false), roles(&[Role::Patient])] {
        let tried = admin.person_update(id, 1, &change).await;
        assert_eq!(refused(tried), ProblemCode::StateConflict);
    }
    let next = world.clinic.person("clinician");
    admin.privacy_officer_set(next, officer.version).await.unwrap();
    admin.person_update(id, 1, &active(false)).await.unwrap();
    let third = world.clinic.person("third");
    sqlx::query("UPDATE person SET active = false, erased_at = now() WHERE id = $1")
        .bind(third.as_uuid())
        .execute(&mut world.admin().await)
        .await
        .unwrap();
    let tried = admin.person_update(third, 1, &active(true)).await;
    assert_eq!(refused(tried), ProblemCode::StateConflict);
}

/// What the log says of an act on somebody: the roles they had, and have from then on.
fn told(page: &[AuditEntry], action: &str, of: PersonId) -> Vec<(Vec<String>, Vec<String>)> {
    let acts = page
        .iter()
        .filter(|entry| entry.action == action && entry.object_id == Some(of.as_uuid()));
    acts.map(|entry| {
        let roles = entry.roles.clone().expect("it says which");
        (roles.before, roles.after)
    })
    .collect()
}

#[tokio::test]
async fn a_leaf_of_changed_roles_says_which_and_only_to_who_may_open_it() {
    let world = World::new().await;
    let admin = world.signed_in("admin").await;
    let invited = InvitationCreate {
        display_name: Phi::new("Petra Pharmacist".into()),
        email: Phi::new("petra@riverside.test".into()),
        roles: vec![Role::Pharmacist],
        locale: Locale::En,
    };
    let petra = admin
        .invitation_create(&IdempotencyKey::fresh(), &invited)
        .await
        .unwrap()
        .person;
    let both = roles(&[Role::Pharmacist, Role::CareCoordinator]);
    let changed = admin.person_update(petra.id, petra.version, &both).await.unwrap();
    let gone = PersonUpdate {
        roles: Some(vec![Role::Sre]),
        active: Some(false),
    };
    let gone = admin
        .person_update(petra.id, changed.version, &gone)
        .await
        .unwrap();
    admin
        .person_update(petra.id, gone.version, &active(true))
        .await
        .unwrap();
    let page = admin.audit_list(&AuditQuery::default()).await.unwrap().items;
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let pair = words(&["pharmacist", "care_coordinator"]);
    assert_eq!(
        told(&page, "person_roles_change", petra.id),
        [(pair.clone(), words(&["sre"])), (words(&["pharmacist"]), pair)],
        "newest first"
    );
    assert_eq!(
        told(&page, "person_create", petra.id),
        [(Vec::new(), words(&["pharmacist"]))]
    );
    for action in ["person_deactivate", "person_reactivate"] {
        let same = (words(&["sre"]), words(&["sre"]));
        assert_eq!(told(&page, action, petra.id), [same], "{action}");
    }
    let others = page.iter().filter(|entry| !entry.action.starts_with("person_"));
    assert!(others.clone().count() > 0 && others.clone().all(|entry| entry.roles.is_none()));
    // The same in the copies people and systems take away.
    let only = AuditQuery {
        action: Some("person_roles_change".into()),
        ..AuditQuery::default()
    };
    let csv = admin.audit_export(AuditFormat::Csv, &only).await.unwrap().bytes;
    let csv = String::from_utf8(csv).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert!(lines[0].ends_with(",roles_before,roles_after"), "{}", lines[0]);
    assert!(lines[1].ends_with(",sre"), "{}", lines[1]);
    assert!(lines[2].contains(",pharmacist,"), "{}", lines[2]);
    let fhir = admin.audit_export(AuditFormat::Fhir, &only).await.unwrap().bytes;
    let fhir: serde_json::Value = serde_json::from_slice(&fhir).unwrap();
    let detail = &fhir["entry"][1]["resource"]["entity"][0]["detail"];
    assert_eq!(
        detail[0],
        serde_json::json!({"type": "roles-before", "valueString": "pharmacist"})
    );
    // It lies in the sealed event alone, which is part of the log like the rest.
    let plain: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM audit a WHERE a::text ~ 'pharmacist|care_coordinator|Petra'",
    )
    .fetch_one(&mut world.admin().await)
    .await
    .unwrap();
    assert_eq!(plain, 0);
    let token = world.node.site().operator_token();
    let operator = Operator::new(&world.node.url(), token.trim(), None).unwrap();
    super::eventually(async || {
        let verdict = operator.audit_verify(world.clinic.id).await;
        verdict.is_ok_and(|verdict| verdict.is_sound && verdict.leaves_checked > 5)
    })
    .await;
    // What nobody of us wrote shows nothing, and stops nobody from reading the rest.
    sqlx::raw_sql(
        "SET session_replication_role = replica;
         UPDATE audit SET sealed = overlay(sealed PLACING '\\xff'::bytea FROM 40) WHERE action = 'person_deactivate'",
    )
    .execute(&mut world.admin().await)
    .await
    .unwrap();
    // Each verification before has left an entry too: the latest of all need not be these.
    let of = async |action: &str| {
        let only = AuditQuery {
            action: Some(action.into()),
            ..AuditQuery::default()
        };
        admin.audit_list(&only).await.unwrap().items
    };
    let torn = of("person_deactivate").await;
    assert_eq!((torn.len(), &torn[0].roles), (1, &None));
    assert_eq!(
        told(&of("person_reactivate").await, "person_reactivate", petra.id).len(),
        1
    );
}
