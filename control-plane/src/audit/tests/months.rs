//! A month that the schema's owner takes off the log.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use time::OffsetDateTime;

use super::world::world;

const LEAVES: usize = 20;

async fn run(db: &mut PgConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(db).await.unwrap();
}

#[tokio::test]
async fn a_month_that_was_taken_off_is_found_and_named() {
    let world = world().await;
    world.act(LEAVES).await;
    world.publish().await;
    let truth = world.verify().await;
    assert!(truth.is_sound, "{truth:#?}");
    let now = OffsetDateTime::now_utc();
    let table = format!("audit_{:04}_{:02}", now.year(), u8::from(now.month()));
    // The owner, whom no trigger stops: they detach a table, and do with it what they like.
    let mut owner = PgConnection::connect(&world.scratch.owner_url).await.unwrap();
    let bounds: String =
        sqlx::query_scalar("SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = $1")
            .bind(&table)
            .fetch_one(&mut owner)
            .await
            .unwrap();
    run(&mut owner, format!("ALTER TABLE audit DETACH PARTITION {table}")).await;
    for gone_for_good in [false, true] {
        let report = world.verify().await;
        let first = report.first_divergent.clone().unwrap();
        assert_eq!(
            (first.kind.as_str(), first.leaf_index),
            ("month_missing", Some(0)),
            "{report:#?}"
        );
        assert!(
            first.leaf_id.is_some() && first.message.contains(&table),
            "{first:?}"
        );
        let kinds: Vec<_> = report
            .findings
            .iter()
            .map(|finding| finding.kind.as_str())
            .collect();
        assert!(
            kinds.contains(&"leaf_altered") && kinds.contains(&"head_differs"),
            "{kinds:?}"
        );
        if gone_for_good {
            break;
        }
        // Put back as it was, nothing is amiss; the next time it does not come back.
        run(
            &mut owner,
            format!("ALTER TABLE audit ATTACH PARTITION {table} {bounds}"),
        )
        .await;
        let again = world.verify().await;
        assert!(again.is_sound, "{again:#?}");
        run(
            &mut owner,
            format!("ALTER TABLE audit DETACH PARTITION {table}; DROP TABLE {table}"),
        )
        .await;
    }
}
