//! What is read by a page itself does not keep its session from the idle lock, whatever is read.

use medmesh_api_types::session::BACKGROUND_HEADER;
use reqwest::Method;
use serde_json::Value;

use super::super::World;
use super::{Desk, Said, operations};

#[tokio::test]
async fn no_route_that_reads_takes_a_page_for_a_person() {
    let world = World::new().await;
    let desk = Desk::open(&world).await;
    sqlx::query("UPDATE session SET seen_at = now() - interval '14 minutes'")
        .execute(&mut world.admin().await)
        .await
        .unwrap();
    let mut read = 0;
    for operation in operations() {
        let id = &operation.id;
        let asks_who = operation.value.get("x-medmesh-open").is_none();
        let reads = operation.method == Method::GET;
        assert_eq!(operation.takes(BACKGROUND_HEADER), reads && asks_who, "{id}");
        if !operation.takes(BACKGROUND_HEADER) {
            continue;
        }
        read += 1;
        for login in ["admin", "clinician", "patient"] {
            let said = Said {
                login,
                path: operation.made_up_path(),
                body: Value::Null,
            };
            let request = desk.request(&operation, &said).header(BACKGROUND_HEADER, "1");
            let status = request.send().await.unwrap().status();
            assert_ne!(status, 401, "{id} {login}");
            assert!(!status.is_server_error(), "{id} {login} {status}");
        }
    }
    assert!(read > 20, "the reading routes were walked: {read}");
    let seen: i64 =
        sqlx::query_scalar("SELECT count(*) FROM session WHERE seen_at > now() - interval '13 minutes'")
            .fetch_one(&mut world.admin().await)
            .await
            .unwrap();
    assert_eq!(seen, 0);
}
