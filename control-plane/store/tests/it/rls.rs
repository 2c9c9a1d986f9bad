//! The second wall, from a plain `psql` as the service's role: no filter of ours in the way,
//! every table of the catalogue, also those that come later.

use std::process::Command;

use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::support::{World, add_clinic, world};

/// Tables that belong to no clinic, and why that is no leak.
const NO_TENANT: &[(&str, &str)] = &[
    ("_sqlx_migrations", "names of migrations"),
    (
        "used_once",
        "digests of what was answered once, no rows of anybody",
    ),
    ("object_storage", "which one it is, a number"),
    ("system_key", "wrapped keys: noise without the KMS"),
    (
        "account",
        "one login may be a person in several clinics; shown through a person of the present one only",
    ),
];

/// A table of a tenant: its name, and the column that says whose a row is.
struct Tenant {
    table: String,
    column: &'static str,
    /// Its rows come through the table it is a part of.
    is_partition: bool,
}

async fn tenants(admin: &mut PgConnection) -> Vec<Tenant> {
    let rows: Vec<(String, bool, bool)> = sqlx::query_as(
        "SELECT c.relname::text, EXISTS (SELECT FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attname = 'clinic_id' AND NOT a.attisdropped),
             c.relispartition
         FROM pg_class c
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
         ORDER BY c.relname",
    )
    .fetch_all(admin)
    .await
    .unwrap();
    let mut tenants = Vec::new();
    for (table, has_clinic, is_partition) in rows {
        match (table.as_str(), has_clinic) {
            (_, true) => tenants.push(Tenant {
                table,
                column: "clinic_id",
                is_partition,
            }),
            ("clinic", false) => tenants.push(Tenant {
                table,
                column: "id",
                is_partition,
            }),
            (table, false) => assert!(
                NO_TENANT.iter().any(|(known, _)| *known == table),
                "{table} belongs to no clinic: say why in NO_TENANT"
            ),
        }
    }
    assert!(tenants.len() >= 15, "the catalogue was read");
    tenants
}

/// Puts a made-up row of each clinic into every table. What keeps rows sensible is taken away
/// first: this database is thrown away, and only whose a row is matters.
async fn fill(admin: &mut PgConnection, tenants: &[Tenant], clinics: [Uuid; 2]) {
    let constraints: Vec<(String, String)> = sqlx::query_as(
        "SELECT t.relname::text, c.conname::text FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
         WHERE t.relnamespace = 'public'::regnamespace AND c.contype IN ('c', 'x') AND NOT t.relispartition",
    )
    .fetch_all(&mut *admin)
    .await
    .unwrap();
    for (table, name) in constraints {
        run(admin, format!("ALTER TABLE {table} DROP CONSTRAINT {name}")).await;
    }
    // No triggers, so no foreign keys.
    run(admin, "SET session_replication_role = replica".to_owned()).await;
    for Tenant { table, column, .. } in tenants.iter().filter(|tenant| !tenant.is_partition) {
        let columns: Vec<(String, String)> = sqlx::query_as(
            "SELECT attname::text, atttypid::regtype::text FROM pg_attribute
             WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attidentity = '' AND attgenerated = ''",
        )
        .bind(table)
        .fetch_all(&mut *admin)
        .await
        .unwrap();
        for clinic in clinics {
            let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
            let values: Vec<String> = columns
                .iter()
                .map(|(name, kind)| match name == column {
                    true => format!("'{clinic}'"),
                    false => value(table, name, kind),
                })
                .collect();
            let (names, values) = (names.join(", "), values.join(", "));
            run(
                admin,
                format!("INSERT INTO {table} ({names}) VALUES ({values}) ON CONFLICT DO NOTHING"),
            )
            .await;
        }
    }
    run(admin, "SET session_replication_role = origin".to_owned()).await;
}

async fn run(admin: &mut PgConnection, sql: String) {
    let shown = sql.clone();
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(admin).await;
    done.unwrap_or_else(|error| panic!("{shown}: {error}"));
}

fn value(table: &str, name: &str, kind: &str) -> String {
    match kind {
        "uuid" => "gen_random_uuid()".to_owned(),
        "text" | "name" => format!("'{}'", Uuid::new_v4()),
        "bytea" => format!("'\\x{}'", Uuid::new_v4().simple()),
        "timestamp with time zone" => "now()".to_owned(),
        "date" => "current_date".to_owned(),
        "boolean" => "true".to_owned(),
        "bigint" | "integer" | "smallint" | "numeric" | "double precision" => "1".to_owned(),
        "jsonb" | "json" => "'{}'".to_owned(),
        "tstzrange" => "tstzrange(now(), now() + interval '1 hour')".to_owned(),
        array if array.ends_with("[]") => format!("'{{}}'::{array}"),
        other => panic!("{table}.{name} is a {other}: say what to put there"),
    }
}

/// What a statement gave.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// Lines of unaligned output.
    Lines(String),
    /// The service has no right to it at all.
    Refused,
}

/// Runs it in a plain `psql` as the service, in a transaction of that clinic if one is named.
fn psql(world: &World, clinic: Option<Uuid>, statement: &str) -> Seen {
    let tenant = clinic.map_or_else(String::new, |id| format!("SET LOCAL medmesh.clinic_id = '{id}';"));
    let output = Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d"])
        .arg(&world.scratch.service_url)
        .args(["-c", &format!("BEGIN; {tenant} {statement}; ROLLBACK")])
        .output()
        .expect("psql comes with PostgreSQL");
    let (told, complaint) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    if output.status.success() {
        Seen::Lines(told.trim().to_owned())
    } else {
        let denied = ["permission denied", "row-level security policy"];
        assert!(
            denied.iter().any(|text| complaint.contains(text)),
            "{statement}: {complaint}"
        );
        Seen::Refused
    }
}

#[tokio::test]
async fn a_plain_psql_sees_one_clinic_or_nothing() {
    let world = world().await;
    let (b, _) = add_clinic(&world.scratch, &world.store, "b").await;
    let (a, b) = (world.clinic.as_uuid(), b.as_uuid());
    let mut admin = world.admin().await;
    let tenants = tenants(&mut admin).await;
    fill(&mut admin, &tenants, [a, b]).await;

    let mut read = 0;
    for Tenant {
        table,
        column,
        is_partition,
    } in &tenants
    {
        // The rows are there, for whoever is above the wall.
        let both: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT count(DISTINCT {column}) FROM {table} WHERE {column} IN ('{a}', '{b}')"
        )))
        .fetch_one(&mut admin)
        .await
        .unwrap();
        assert!(both == 2 || *is_partition, "{table} was filled for both");

        let whose = format!("SELECT DISTINCT {column} FROM {table}");
        let nobody = psql(&world, None, &whose);
        assert!(
            [Seen::Lines(String::new()), Seen::Refused].contains(&nobody),
            "{table} without a clinic: {nobody:?}"
        );
        for own in [a, b] {
            match psql(&world, Some(own), &whose) {
                Seen::Lines(lines) => assert_eq!(lines, own.to_string(), "{table} of {own}"),
                Seen::Refused => assert_eq!(nobody, Seen::Refused, "{table}"),
            }
        }
        read += usize::from(nobody != Seen::Refused);

        // Nor can it reach out: nothing of B changes from A's side, and nothing is put there.
        for reach in [
            format!(
                "WITH hit AS (UPDATE {table} SET {column} = {column} WHERE {column} = '{b}' RETURNING 1) SELECT count(*) FROM hit"
            ),
            format!(
                "WITH hit AS (DELETE FROM {table} WHERE {column} = '{b}' RETURNING 1) SELECT count(*) FROM hit"
            ),
        ] {
            let hit = psql(&world, Some(a), &reach);
            assert!(
                [Seen::Lines("0".to_owned()), Seen::Refused].contains(&hit),
                "{reach}: {hit:?}"
            );
        }
        let planted = psql(
            &world,
            Some(a),
            &format!("INSERT INTO {table} ({column}) VALUES ('{b}')"),
        );
        assert_eq!(planted, Seen::Refused, "{table}: a row for another clinic");
    }
    assert!(read >= 12, "most tables are the service's to read: {read}");
}

/// The test itself can fail: a table without its rule is found.
#[tokio::test]
async fn a_table_that_forgot_its_rule_is_found() {
    let world = world().await;
    let mut admin = world.admin().await;
    run(
        &mut admin,
        "CREATE TABLE forgotten (clinic_id uuid NOT NULL); GRANT SELECT ON forgotten TO medmesh_service;
         INSERT INTO forgotten VALUES (gen_random_uuid())"
            .to_owned(),
    )
    .await;
    let found = tenants(&mut admin).await;
    assert!(found.iter().any(|tenant| tenant.table == "forgotten"));
    let leak = psql(&world, None, "SELECT clinic_id FROM forgotten");
    assert!(matches!(leak, Seen::Lines(lines) if !lines.is_empty()));
}
