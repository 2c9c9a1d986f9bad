use medmesh_store::embedded::scratch::Scratch;
use object_store::local::LocalFileSystem;
use tempfile::TempDir;

use super::*;

fn storage(dir: &TempDir) -> Sharing {
    Sharing::of(Arc::new(LocalFileSystem::new_with_prefix(dir.path()).unwrap()))
}

fn behind(sharing: &Sharing) -> Arc<dyn ObjectStore> {
    sharing.guard(Arc::clone(&sharing.inner))
}

fn state(sharing: &Sharing) -> State {
    *sharing.state.borrow()
}

#[tokio::test]
async fn nodes_that_start_at_once_agree_on_one_storage_and_another_is_refused() {
    let scratch = Scratch::database().await.unwrap();
    let store = scratch.store(4).await.unwrap();
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let nodes = [0; 3].map(|_| storage(&dir));
    let closed = behind(&nodes[0]).put(&Path::from("a"), "b".into()).await;
    assert!(closed.is_err(), "nothing is put where nobody looked");
    futures::future::join_all(nodes.iter().map(|node| node.begin(&store))).await;
    for node in &nodes {
        assert_eq!((state(node), node.gauge.get()), (State::Shared, 1));
    }
    behind(&nodes[0]).put(&Path::from("a"), "b".into()).await.unwrap();
    assert!(behind(&nodes[2]).get(&Path::from("a")).await.is_ok());

    let stray = storage(&other);
    assert!(!stray.begin(&store).await);
    let wanted = store.object_storage().await.unwrap().unwrap();
    assert_eq!(stray.refused().await, Unshared::Other { wanted });
    assert_eq!(stray.gauge.get(), 0);
    let at = Path::from("c");
    assert!(behind(&stray).put(&at, "d".into()).await.is_err());
    assert!(behind(&stray).get(&at).await.is_err());
    assert!(behind(&stray).list(None).next().await.unwrap().is_err());
    assert_eq!(
        std::fs::read_dir(other.path()).unwrap().count(),
        0,
        "nothing was left there"
    );

    // Moved on purpose: everything was copied, the number with it.
    std::fs::copy(dir.path().join(MARK), other.path().join(MARK)).unwrap();
    assert!(storage(&other).begin(&store).await);
    store.close().await;
}

#[tokio::test]
async fn a_storage_that_goes_away_is_closed_until_it_is_back() {
    let scratch = Scratch::database().await.unwrap();
    let store = scratch.store(2).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (mark, aside) = (dir.path().join(MARK), dir.path().join("aside"));
    let node = storage(&dir);
    assert!(node.begin(&store).await);
    std::fs::rename(&mark, &aside).unwrap();
    node.look_and_tell(&store).await;
    assert!(matches!(state(&node), State::Not(Unshared::Other { .. })));
    assert_eq!(node.gauge.get(), 0);
    assert!(behind(&node).get(&Path::from("aside")).await.is_err());
    std::fs::rename(&aside, &mark).unwrap();
    node.look_and_tell(&store).await;
    assert_eq!((state(&node), node.gauge.get()), (State::Shared, 1));
    // What is no number of ours is none.
    std::fs::write(&mark, "elsewhere\n").unwrap();
    node.look_and_tell(&store).await;
    assert!(matches!(state(&node), State::Not(_)));
    // Without the database nothing new is known, and what was known stays.
    std::fs::remove_file(&mark).unwrap();
    store.close().await;
    let before = state(&node);
    node.look_and_tell(&store).await;
    assert_eq!(state(&node), before);
}
