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

/// Whoever is really called what was typed does not hide those who were meant.
#[tokio::test]
async fn who_is_called_like_a_slip_hides_nobody() {
    let world = world().await;
    add_patients(&world).await;
    let mut tx = world.begin(world.people.admin).await;
    let new = NewPerson {
        display_name: "Jhon Smith".parse().unwrap(),
        email: "jhon@found.example".parse().unwrap(),
        roles: Roles::only(Role::Patient),
        locale: Locale::En,
    };
    tx.person_create(&new, &PasswordHash::from_phc(PHC.to_owned()))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let found = names(&world, "jhon smith").await;
    assert_eq!(found[..2], ["Jhon Smith", "John Smith"]);
}

/// What the gate's function reads: `(table, primary key, index of tokens)`, by how often.
async fn scans(world: &World, call: &str) -> (Vec<uuid::Uuid>, i64, i64, i64) {
    let mut admin = world.admin().await;
    let mut tx = admin.begin().await.unwrap();
    let setup = format!(
        "SET LOCAL medmesh.clinic_id = '{}'; SET LOCAL ROLE medmesh_service",
        world.clinic
    );
    sqlx::raw_sql(AssertSqlSafe(setup))
        .execute(&mut *tx)
        .await
        .unwrap();
    let sql = format!("SELECT patient_id FROM {call}");
    let found = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut *tx).await;
    sqlx::raw_sql("RESET ROLE").execute(&mut *tx).await.unwrap();
    let of_index = "(SELECT coalesce(sum(pg_stat_get_xact_numscans(i.indexrelid)), 0)::bigint FROM pg_index i
         WHERE i.indrelid = 'patient_search'::regclass AND i.indisprimary";
    let sql = format!(
        "SELECT pg_stat_get_xact_numscans('patient_search'::regclass), {of_index}), {of_index} IS FALSE)"
    );
    let read: (i64, i64, i64) = sqlx::query_as(AssertSqlSafe(sql))
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    (found.unwrap(), read.0, read.1, read.2)
}

/// However few the rows and whatever the planner believes of a token: neither the table is read from
/// end to end nor the tenant's rows one by one.
#[tokio::test]
async fn a_search_reads_the_index_of_tokens_alone() {
    let world = world().await;
    let ids = add_patients(&world).await;
    let only_theirs = "SELECT t FROM patient_search s, unnest(s.tokens) t GROUP BY t
         HAVING array_agg(s.patient_id) = ARRAY[$1] LIMIT 1";
    let token: i64 = sqlx::query_scalar(only_theirs)
        .bind(ids[6].as_uuid())
        .fetch_one(&mut world.admin().await)
        .await
        .unwrap();
    // Two alternatives: with that token and another that nobody has, and with that one alone.
    let call = format!("patient_search_by('{{{token},1,{token}}}', '{{1,2,3}}', '{{f,f,t}}', '{{2,3}}', 10)");
    let (found, table, primary, tokens) = scans(&world, &call).await;
    assert_eq!(found, [ids[6].as_uuid()]);
    assert_eq!((table, primary, tokens), (0, 0, 2));
    let (found, ..) = scans(&world, "patient_search_by('{}', '{0}', '{t}', '{1}', 10)").await;
    assert!(found.is_empty(), "everybody has all of nothing");
    let (found, ..) = scans(&world, "patient_search_by('{}', '{}', '{}', '{}', 10)").await;
    assert!(found.is_empty());
}
