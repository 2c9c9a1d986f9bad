//! That a clinic's key was fetched is in its log, before anything is opened with it.

use medmesh_base::RequestId;
use medmesh_clinic::{Actor, SystemActor};

use crate::support::{World, world};

async fn opened(world: &World) -> i64 {
    let leaves = "SELECT count(*) FROM audit
        WHERE action = 'key_open' AND actor_kind = 'keyring' AND purpose = 'security' AND object_kind = 'key'";
    world.count(leaves).await
}

async fn read(world: &World) -> medmesh_store::Result<()> {
    let actor = Actor::System(SystemActor::Upkeep);
    let tx = world
        .store
        .begin(world.clinic, actor, RequestId::generate())
        .await?;
    tx.rollback().await
}

#[tokio::test]
async fn each_time_a_key_is_fetched_it_is_in_the_log_and_no_other() {
    let world = world().await;
    read(&world).await.unwrap();
    let before = opened(&world).await;
    assert!(before > 0);
    for _ in 0..5 {
        read(&world).await.unwrap();
    }
    assert_eq!(opened(&world).await, before, "what is in memory is not fetched");
    // As when its time is over.
    world.store.keyring().forget();
    read(&world).await.unwrap();
    assert_eq!(
        opened(&world).await,
        before + 1,
        "the reader's own undoing undoes no leaf"
    );
}

#[tokio::test]
async fn a_key_whose_fetching_cannot_be_logged_is_not_used() {
    let world = world().await;
    read(&world).await.unwrap();
    let people = world.count("SELECT count(*) FROM person").await;
    world.store.keyring().forget();
    let mut owner = world.admin().await;
    sqlx::raw_sql("REVOKE INSERT ON audit FROM medmesh_service")
        .execute(&mut owner)
        .await
        .unwrap();
    let actor = Actor::System(SystemActor::Upkeep);
    let mut tx = world
        .store
        .begin(world.clinic, actor, RequestId::generate())
        .await
        .unwrap();
    assert!(tx.audit_verified().await.is_err());
    drop(tx);
    assert_eq!(world.store.keyring().cached().0, 0, "nobody has it");
    sqlx::raw_sql("GRANT INSERT ON audit TO medmesh_service")
        .execute(&mut owner)
        .await
        .unwrap();
    read(&world).await.unwrap();
    assert_eq!(world.store.keyring().cached().0, 1);
    assert_eq!(world.count("SELECT count(*) FROM person").await, people);
}
