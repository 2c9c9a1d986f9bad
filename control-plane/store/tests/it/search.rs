//! Patients are found by names nobody wrote down.

use medmesh_base::{PersonId, ProblemCode, RequestId};
use medmesh_clinic::{Actor, Invalid, Locale, NewPerson, Role, Roles};
use medmesh_store::{PasswordHash, StoreError};
use sqlx::{AssertSqlSafe, Connection as _};

use crate::support::{PHC, World, add_clinic, told, world};

const NAMES: [&str; 8] = [
    "María Fernández López",
    "Mario Fernandes",
    "John Smith",
    "Joan Smythe",
    "Philippe Dupont",
    "Li Wei",
    "Siobhán O’Brien",
    "Jean-Luc Beaulieu",
];

async fn add_patients(world: &World) -> Vec<PersonId> {
    let mut ids = Vec::new();
    for (n, name) in NAMES.iter().enumerate() {
        let mut tx = world.begin(world.people.admin).await;
        let new = NewPerson {
            display_name: name.parse().unwrap(),
            email: format!("n{n}@found.example").parse().unwrap(),
            roles: Roles::only(Role::Patient),
            locale: Locale::En,
        };
        let person = tx
            .person_create(&new, &PasswordHash::from_phc(PHC.to_owned()))
            .await;
        ids.push(person.unwrap().id);
        tx.commit().await.unwrap();
    }
    ids
}

async fn names(world: &World, text: &str) -> Vec<String> {
    let mut tx = world.begin(world.people.clinician).await;
    let found = tx.patient_search(text, None).await.unwrap();
    tx.commit().await.unwrap();
    assert!(
        found.iter().all(|person| person.email.is_none()),
        "not for clinicians"
    );
    found
        .iter()
        .map(|person| person.display_name.expose().clone())
        .collect()
}

#[tokio::test]
async fn roughly_spelt_names_find_their_people() {
    let world = world().await;
    add_patients(&world).await;
    for (query, first) in [
        ("maria fernandez", NAMES[0]),
        ("Fernandez Lopez, Maria", NAMES[0]),
        ("maira fernandez lopez", NAMES[0]),
        ("jhon smith", NAMES[2]),
        ("jon smyth", NAMES[2]),
        ("filip dupond", NAMES[4]),
        ("li wie", NAMES[5]),
        ("obrien", NAMES[6]),
        ("siobhan obrein", NAMES[6]),
        ("jeanluc beaulieu", NAMES[7]),
        ("beauli", NAMES[7]),
    ] {
        let found = names(&world, query).await;
        assert!(
            found.iter().take(2).any(|name| name == first),
            "{query}: {found:?}"
        );
    }
    assert!(names(&world, "zachariah quill").await.is_empty());
    let mut tx = world.begin(world.people.clinician).await;
    let one = tx.patient_search("smith", Some(1)).await.unwrap();
    assert_eq!(one.len(), 1);
}

#[tokio::test]
async fn what_is_found_is_what_the_caller_may_see_and_is_in_the_log() {
    let world = world().await;
    let ids = add_patients(&world).await;
    let (clinic_b, people_b) = add_clinic(&world.scratch, &world.store, "b").await;
    let abroad = Actor::Person(people_b.clinician);
    let mut tx = world
        .store
        .begin(clinic_b, abroad, RequestId::generate())
        .await
        .unwrap();
    assert!(
        tx.patient_search("maria fernandez", None)
            .await
            .unwrap()
            .is_empty()
    );
    drop(tx);
    let mut tx = world.begin(world.people.patient).await;
    let refused = tx.patient_search("maria", None).await;
    assert_eq!(told(refused), ProblemCode::Forbidden);
    drop(tx);
    let mut tx = world.begin(world.people.clinician).await;
    for nothing in ["", "…", &"x".repeat(121)] {
        let refused = tx.patient_search(nothing, None).await;
        assert_eq!(refused, Err(StoreError::Invalid(Invalid::Search)));
    }
    // Whose address it is, is for admins.
    assert!(
        tx.patient_search("n3@found.example", None)
            .await
            .unwrap()
            .is_empty()
    );
    drop(tx);
    let before = world
        .count("SELECT count(*) FROM audit WHERE action = 'person_read'")
        .await;
    let mut tx = world.begin(world.people.admin).await;
    let found = tx.patient_search("N3@found.example", None).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(found[0].id, ids[3]);
    assert_eq!(found[0].email.as_ref().unwrap().expose(), "n3@found.example");
    let after = world
        .count("SELECT count(*) FROM audit WHERE action = 'person_read'")
        .await;
    assert_eq!(after, before + 1);
}

/// Behind the tenant's policy an array's overlap is tested row by row; the gate's way has the index.
#[tokio::test]
async fn only_the_gate_searches_through_the_index() {
    let world = world().await;
    add_patients(&world).await;
    for (role, has_index) in [("medmesh_gate", true), ("medmesh_service", false)] {
        let mut admin = world.admin().await;
        let mut tx = admin.begin().await.unwrap();
        let setup = format!(
            // Few rows: the primary key would do. In a transaction that is undone.
            "ALTER TABLE patient_search DROP CONSTRAINT patient_search_pkey;
             SET LOCAL enable_seqscan = off; SET LOCAL medmesh.clinic_id = '{}'; SET LOCAL ROLE {role}",
            world.clinic
        );
        sqlx::raw_sql(AssertSqlSafe(setup))
            .execute(&mut *tx)
            .await
            .unwrap();
        let plan: Vec<String> = sqlx::query_scalar(
            "EXPLAIN SELECT s.patient_id FROM patient_search s
             WHERE s.clinic_id = current_clinic() AND s.tokens && '{1,2}'::bigint[] LIMIT 10",
        )
        .fetch_all(&mut *tx)
        .await
        .unwrap();
        let plan = plan.join("\n");
        assert_eq!(
            plan.contains("patient_search_tokens"),
            has_index,
            "{role}: {plan}"
        );
    }
}
