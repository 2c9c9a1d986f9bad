//! No row crosses clinics: proved from outside, as the service's role.

use std::collections::BTreeSet;

use medmesh_base::{ClinicId, ProblemCode, RequestId};
use medmesh_clinic::{Actor, SystemActor};
use medmesh_store::{AppointmentFilter, NewAppointment, PageRequest, StoreError};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use uuid::Uuid;

use crate::support::{People, World, add_clinic, slot, slot_now, told, world, world_with};

/// A second clinic beside the world's, both with rows in every table.
async fn two_clinics() -> (World, ClinicId, People) {
    let a = world().await;
    let (clinic, people) = add_clinic(&a.scratch, &a.store, "b").await;
    for (clinic, people) in [(a.clinic, a.people), (clinic, people)] {
        let actor = Actor::Person(people.clinician);
        let mut tx = a.store.begin(clinic, actor, RequestId::generate()).await.unwrap();
        let new = NewAppointment {
            patient_id: people.patient.person_id,
            clinician_id: people.clinician.person_id,
            slot: slot_now(),
            reason: None,
            segment: medmesh_clinic::Segment::General,
        };
        let visit = tx.appointment_create(&new).await.unwrap().visit_id;
        tx.message_create(visit, &"hello".parse().unwrap()).await.unwrap();
        tx.commit().await.unwrap();
    }
    // So that the leaves of both have places.
    a.store.audit_sequence().await.unwrap();
    (a, clinic, people)
}

async fn service(world: &World) -> PgConnection {
    PgConnection::connect(&world.scratch.service_url).await.unwrap()
}

/// The tables with a tenant column, and the name of that column.
async fn tenant_tables(world: &World) -> Vec<(String, &'static str)> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT attrelid::regclass::text FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
         WHERE attname = 'clinic_id' AND relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace",
    )
    .fetch_all(&mut world.admin().await)
    .await
    .unwrap();
    assert!(tables.len() >= 10, "{tables:?}");
    tables
        .into_iter()
        .map(|table| (table, "clinic_id"))
        .chain([("clinic".to_owned(), "id")])
        .collect()
}

async fn clinics_seen(connection: &mut PgConnection, table: &str, column: &str) -> BTreeSet<Uuid> {
    let sql = format!("SELECT {column} FROM {table}");
    let rows = sqlx::query(AssertSqlSafe(sql))
        .fetch_all(connection)
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn without_a_clinic_there_are_no_rows() {
    let (world, ..) = two_clinics().await;
    let mut connection = service(&world).await;
    for (table, column) in tenant_tables(&world).await {
        assert!(
            clinics_seen(&mut connection, &table, column).await.is_empty(),
            "{table}"
        );
    }
    let accounts = sqlx::query("SELECT id FROM account")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert!(accounts.is_empty());
}

#[tokio::test]
async fn a_clinic_sees_its_own_rows_only() {
    let (world, b, people_b) = two_clinics().await;
    for clinic in [world.clinic, b] {
        let mut connection = service(&world).await;
        let mut tx = connection.begin().await.unwrap();
        sqlx::query("SELECT set_config('medmesh.clinic_id', $1, true)")
            .bind(clinic.to_string())
            .execute(&mut *tx)
            .await
            .unwrap();
        let mut filled = 0;
        for (table, column) in tenant_tables(&world).await {
            // What is there, seen from behind the scenes. Tables without rows in this world have
            // the catalogue test for their rule.
            let mut there = clinics_seen(&mut world.admin().await, &table, column).await;
            there.retain(|found| *found == clinic.as_uuid());
            filled += usize::from(!there.is_empty());
            assert_eq!(clinics_seen(&mut tx, &table, column).await, there, "{table}");
        }
        assert!(filled >= 10, "{filled} tables have rows");
        let accounts: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM account")
            .fetch_all(&mut *tx)
            .await
            .unwrap();
        assert_eq!(accounts.len(), 5);
        assert_eq!(
            accounts.contains(&people_b.patient.account_id.as_uuid()),
            clinic == b
        );
        drop(tx);
        for (table, column) in tenant_tables(&world).await {
            let after = clinics_seen(&mut connection, &table, column).await;
            assert!(after.is_empty(), "{table}: the clinic ended with its transaction");
        }
    }
}

/// Runs each statement as the service, in a transaction of the world's clinic,
/// and expects `insufficient_privilege`.
async fn refused(world: &World, url: &str, statements: &[&'static str]) {
    for statement in statements {
        let mut connection = PgConnection::connect(url).await.unwrap();
        let mut tx = connection.begin().await.unwrap();
        sqlx::query("SELECT set_config('medmesh.clinic_id', $1, true)")
            .bind(world.clinic.to_string())
            .execute(&mut *tx)
            .await
            .unwrap();
        let error = sqlx::raw_sql(*statement)
            .execute(&mut *tx)
            .await
            .expect_err(statement);
        let code = error.as_database_error().unwrap().code().unwrap().into_owned();
        assert_eq!(code, "42501", "{statement}");
    }
}

#[tokio::test]
async fn the_service_cannot_step_outside() {
    let (world, ..) = two_clinics().await;
    refused(
        &world,
        &world.scratch.service_url,
        &[
            "INSERT INTO person (clinic_id, id, account_id, display_name, email, locale, created_at)
                 SELECT gen_random_uuid(), gen_random_uuid(), id, 'x', 'x', 'en', now() FROM account LIMIT 1",
            "UPDATE person SET clinic_id = gen_random_uuid()",
            "SELECT password_phc FROM account",
            "SELECT * FROM account",
            "INSERT INTO account (id, email_index, password_phc, created_at)
                 VALUES (gen_random_uuid(), 'x', 'x', now())",
            "INSERT INTO clinic (id, name, time_zone, home_region, created_at)
                 VALUES (gen_random_uuid(), 'x', 'UTC', 'eu', now())",
            "SET ROLE medmesh_owner",
            "SET ROLE medmesh_gate",
            "ALTER TABLE person DISABLE ROW LEVEL SECURITY",
            "CREATE TABLE mine (x int)",
            "UPDATE audit SET action = 'login'",
            "DELETE FROM audit",
            "TRUNCATE audit",
            "DELETE FROM message",
            "UPDATE message SET body = 'x'",
            "DELETE FROM outbox",
            "CALL guard_tenant_table('clinic', 'id')",
        ],
    )
    .await;
}

#[tokio::test]
async fn the_owner_is_bound_as_well() {
    let (world, ..) = two_clinics().await;
    let mut owner = PgConnection::connect(&world.scratch.owner_url).await.unwrap();
    for (table, column) in tenant_tables(&world).await {
        assert!(
            clinics_seen(&mut owner, &table, column).await.is_empty(),
            "{table}"
        );
    }
    let rewrite = [
        "UPDATE audit SET action = 'login'",
        "DELETE FROM audit",
        "TRUNCATE audit",
    ];
    refused(&world, &world.scratch.owner_url, &rewrite).await;
}

#[tokio::test]
async fn ids_of_another_clinic_lead_nowhere() {
    let (world, b, people_b) = two_clinics().await;
    let foreign = world.book(slot(0)).await;
    let admin_b = Actor::Person(people_b.admin);
    let mut tx = world
        .store
        .begin(b, admin_b, RequestId::generate())
        .await
        .unwrap();
    assert_eq!(told(tx.appointment_get(foreign.id).await), ProblemCode::NotFound);
    assert_eq!(
        told(tx.appointment_cancel(foreign.id, foreign.version, None).await),
        ProblemCode::NotFound
    );
    let system = Actor::System(SystemActor::Media);
    let mut tx = world.store.begin(b, system, RequestId::generate()).await.unwrap();
    assert_eq!(told(tx.visit_get(foreign.visit_id).await), ProblemCode::NotFound);
    assert_eq!(
        told(tx.visit_pulse(foreign.visit_id).await),
        ProblemCode::NotFound
    );
    let mixed = NewAppointment {
        patient_id: world.people.patient.person_id,
        clinician_id: people_b.clinician.person_id,
        slot: slot(3),
        reason: None,
        segment: medmesh_clinic::Segment::General,
    };
    let mut tx = world
        .store
        .begin(b, admin_b, RequestId::generate())
        .await
        .unwrap();
    let refusal = medmesh_clinic::Refusal::PatientUnsuitable;
    assert_eq!(tx.appointment_create(&mixed).await, Err(refusal.into()));
}

/// Few connections, two clinics, every way a transaction can end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pooled_connections_forget_their_clinic() {
    let world = world_with(2).await;
    let (b, people_b) = add_clinic(&world.scratch, &world.store, "b").await;
    let sides = [(world.clinic, world.people), (b, people_b)];
    let rounds = (0..60).map(|n: usize| {
        let (clinic, people) = sides[n % 2];
        let store = world.store.clone();
        async move {
            let actor = Actor::Person(people.admin);
            let mut tx = store.begin(clinic, actor, RequestId::generate()).await.unwrap();
            let seen = tx.person_list(None, PageRequest::default()).await.unwrap();
            assert_eq!(seen.items.len(), 5);
            assert!(
                seen.items
                    .iter()
                    .any(|person| person.id == people.patient.person_id)
            );
            match n % 3 {
                0 => tx.commit().await.unwrap(),
                1 => tx.rollback().await.unwrap(),
                _ => drop(tx),
            }
        }
    });
    futures::future::join_all(rounds).await;
    for _ in 0..4 {
        world.store.ping().await.unwrap();
    }
    // A clinic that does not exist sees nothing on any of the used connections.
    for _ in 0..4 {
        let nobody = Actor::System(SystemActor::Upkeep);
        let mut tx = world
            .store
            .begin(ClinicId::generate(), nobody, RequestId::generate())
            .await
            .unwrap();
        assert_eq!(tx.clinic_get().await, Err(StoreError::NotFound));
        let list = tx
            .appointment_list(AppointmentFilter::default(), PageRequest::default())
            .await;
        // The leaf of the read has no clinic whose key could seal it.
        assert_eq!(list, Err(StoreError::NotFound));
    }
}
