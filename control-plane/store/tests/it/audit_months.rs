//! The log by months: each is there before it comes, and what is in it stays.

use sqlx::{Connection as _, PgConnection};
use time::{Duration, OffsetDateTime};

use crate::support::{World, world};

/// What a log has to be kept for at the least (45 CFR 164.316(b)(2)), and a year that is being filled.
const MONTHS: i32 = 12 * 7;

/// A leaf in the middle of each of so many months to come, past the service, as upkeep's clock passes them.
async fn fill(world: &World, months: i32) {
    sqlx::query(
        "INSERT INTO audit (clinic_id, id, at, actor_kind, action, object_kind, purpose, request_id, sealed, commitment)
         SELECT $1, uuid_at(month + interval '14 days'), month + interval '14 days', 'upkeep', 'upkeep', 'clinic',
             'operations', gen_random_uuid(), '\\x00', sha256('\\x00')
         FROM generate_series(date_trunc('month', now(), 'UTC'), now() + make_interval(months => $2), '1 month') month",
    )
    .bind(world.clinic.as_uuid())
    .bind(months)
    .execute(&mut world.admin().await)
    .await
    .unwrap();
}

#[tokio::test]
async fn seven_years_of_upkeep_leave_no_month_without_its_place() {
    let world = world().await;
    let mut now = OffsetDateTime::now_utc();
    let mut added = 0;
    for _ in 0..MONTHS {
        added += world.store.audit_months(now).await.unwrap();
        // No month is shorter.
        now += Duration::days(28);
    }
    assert!(added > MONTHS / 2, "{added}");
    assert_eq!(
        world.store.audit_months(now - Duration::days(28)).await.unwrap(),
        0,
        "asked again, there is nothing to do"
    );
    let reach = MONTHS * 28 / 31;
    fill(&world, reach).await;
    assert_eq!(world.count("SELECT count(*) FROM audit_rest").await, 0);
    // Every month in a table of its own, guarded as the whole.
    let own =
        "SELECT count(*) FROM (SELECT tableoid FROM audit WHERE action = 'upkeep' GROUP BY tableoid) month";
    assert_eq!(world.count(own).await, i64::from(reach) + 1);
    let open = "SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'audit'::regclass AND NOT (c.relrowsecurity AND c.relforcerowsecurity AND EXISTS (
            SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'audit_append_only'))";
    assert_eq!(world.count(open).await, 0);
}

#[tokio::test]
async fn nothing_of_the_log_goes_by_anything_the_service_or_its_migrations_may_do() {
    let world = world().await;
    world.store.audit_months(OffsetDateTime::now_utc()).await.unwrap();
    fill(&world, 2).await;
    let before = world.count("SELECT count(*) FROM audit").await;
    let month: String =
        sqlx::query_scalar("SELECT tableoid::regclass::text FROM audit WHERE action = 'upkeep' LIMIT 1")
            .fetch_one(&mut world.admin().await)
            .await
            .unwrap();
    let rewrites = ["audit", "audit_rest", "audit_order", month.as_str()].map(|table| {
        [
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table} CASCADE"),
            format!("UPDATE {table} SET clinic_id = clinic_id"),
        ]
    });
    for url in [&world.scratch.service_url, &world.scratch.owner_url] {
        let mut database = PgConnection::connect(url).await.unwrap();
        for statement in rewrites.iter().flatten() {
            let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone()))
                .execute(&mut database)
                .await;
            assert!(done.is_err(), "{statement}");
        }
    }
    // To take a month off is the owner's, whom no service uses: a person, with a copy made first.
    let mut service = PgConnection::connect(&world.scratch.service_url).await.unwrap();
    for statement in [
        format!("ALTER TABLE audit DETACH PARTITION {month}"),
        format!("DROP TABLE {month}"),
        "DROP TABLE audit".to_owned(),
    ] {
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone()))
            .execute(&mut service)
            .await;
        assert!(done.is_err(), "{statement}");
    }
    assert_eq!(world.count("SELECT count(*) FROM audit").await, before);
}
