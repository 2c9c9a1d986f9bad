//! The schema itself: migrations, roles, constraints.

use medmesh_store::embedded::scratch::Scratch;
use medmesh_store::{Constraint, SetupError, Store};
use sqlx::{Connection as _, PgConnection};

#[tokio::test]
async fn migrating_again_changes_nothing() {
    let scratch = Scratch::database().await.unwrap();
    let at_once = [&scratch.owner_url; 3].map(|url| Store::migrate(url));
    for outcome in futures::future::join_all(at_once).await {
        outcome.unwrap();
    }
    scratch.store(2).await.unwrap();
}

#[tokio::test]
async fn roles_that_could_look_across_clinics_are_refused() {
    let scratch = Scratch::database().await.unwrap();
    for url in [&scratch.admin_url, &scratch.owner_url] {
        assert!(matches!(
            Store::connect(url, 2, scratch.keyring()).await,
            Err(SetupError::UnsafeRole)
        ));
    }
    assert!(matches!(
        Store::connect("not a url", 2, scratch.keyring()).await,
        Err(SetupError::Url)
    ));
}

#[tokio::test]
async fn an_empty_database_is_refused() {
    let scratch = Scratch::database().await.unwrap();
    let mut admin = PgConnection::connect(&scratch.admin_url).await.unwrap();
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version > 1")
        .execute(&mut admin)
        .await
        .unwrap();
    let refused = Store::connect(&scratch.service_url, 2, scratch.keyring()).await;
    assert!(matches!(
        refused,
        Err(SetupError::Schema {
            found: 1,
            wanted: 2..
        })
    ));
}

#[tokio::test]
async fn every_constraint_has_a_meaning() {
    let scratch = Scratch::database().await.unwrap();
    let mut admin = PgConnection::connect(&scratch.admin_url).await.unwrap();
    let mut found: Vec<String> = sqlx::query_scalar(
        "SELECT conname::text FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
         WHERE c.connamespace = 'public'::regnamespace AND c.contype IN ('u', 'x', 'c', 't')
             AND t.relname <> '_sqlx_migrations' AND c.conislocal",
    )
    .fetch_all(&mut admin)
    .await
    .unwrap();
    let mut known: Vec<String> = Constraint::ALL
        .iter()
        .map(|constraint| constraint.name().to_owned())
        .collect();
    found.sort();
    known.sort();
    assert_eq!(found, known);
}

#[tokio::test]
async fn every_table_with_a_tenant_forces_row_level_security() {
    let scratch = Scratch::database().await.unwrap();
    let mut admin = PgConnection::connect(&scratch.admin_url).await.unwrap();
    let open: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
             AND NOT (relrowsecurity AND relforcerowsecurity)",
    )
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert_eq!(open, ["_sqlx_migrations"]);
}

/// A function that looks across clinics may be called by the service and by nobody else.
#[tokio::test]
async fn gates_open_for_the_service_alone() {
    let scratch = Scratch::database().await.unwrap();
    let mut admin = PgConnection::connect(&scratch.admin_url).await.unwrap();
    let open: Vec<String> = sqlx::query_scalar(
        "SELECT p.oid::regprocedure::text FROM pg_proc p
         WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef
           AND (p.proacl IS NULL
                OR EXISTS (SELECT FROM aclexplode(p.proacl) WHERE grantee = 0)
                OR NOT has_function_privilege('medmesh_service', p.oid, 'EXECUTE'))",
    )
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert!(open.is_empty(), "{open:?}");
}
