//! What somebody takes away from the log: proofs of leaves, heads, and that heads extend each other.

use medmesh_api_types::audit::AuditHead;
use medmesh_store::AuditCosigned;
use medmesh_tlog::proof::{ProofError, verify_consistency};
use medmesh_tlog::{Checkpoint, Hash};

use super::world::{World, world};
use crate::audit::{ProveError, extends, head, provable};

fn newest(world: &World) -> AuditHead {
    head(&world.evidence(), world.clinic, AuditCosigned::default()).unwrap()
}

fn root(head: &AuditHead) -> Hash {
    head.root.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kept_head_is_extended_by_each_later_one() {
    let world = world().await;
    let none = head(&world.evidence(), world.clinic, AuditCosigned::default());
    assert!(matches!(none, Err(ProveError::NotYet)));
    // Over the edges of tiles, whose narrower states are gone by then.
    let mut kept = Vec::new();
    for more in [0, 2, 197, 56, 1, 300, 43] {
        world.act(more).await;
        world.publish().await;
        kept.push(newest(&world));
    }
    assert_eq!(kept.last().unwrap().size, 600);
    let (evidence, clinic) = (world.evidence(), world.clinic);
    for (n, old) in kept.iter().enumerate() {
        let opened = Checkpoint::open(&old.checkpoint, &world.log().verifier()).unwrap();
        assert_eq!((opened.size, opened.root), (old.size, root(old)));
        for new in &kept[n..] {
            let proof = extends(&evidence, clinic, old.size, Some(new.size))
                .await
                .unwrap();
            assert_eq!((proof.from_size, proof.to_size), (old.size, new.size));
            let is_newest = new == kept.last().unwrap();
            assert_eq!(proof.checkpoint.is_some(), is_newest);
            let path: Vec<Hash> = proof.path.iter().map(|hash| hash.parse().unwrap()).collect();
            let check = |from: &Hash, to: &Hash| verify_consistency(old.size, from, new.size, to, &path);
            assert_eq!(check(&root(old), &root(new)), Ok(()), "{} {}", old.size, new.size);
            assert!(check(&root(new), &root(old)).is_err() || old.size == new.size);
        }
    }
    let newest = extends(&evidence, clinic, 3, None).await.unwrap();
    assert_eq!((newest.to_size, newest.checkpoint.is_some()), (600, true));
    for (from, to) in [(0, None), (0, Some(3)), (4, Some(3))] {
        let refused = extends(&evidence, clinic, from, to).await;
        assert!(
            matches!(refused, Err(ProveError::Proof(ProofError::OutOfRange))),
            "{from} {to:?}"
        );
    }
    for (from, to) in [(601, None), (3, Some(601)), (u64::MAX, Some(u64::MAX))] {
        let refused = extends(&evidence, clinic, from, to).await;
        assert!(matches!(refused, Err(ProveError::NotYet)), "{from} {to:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaf_is_proved_once_a_head_covers_it_and_never_when_it_was_altered() {
    let world = world().await;
    world.act(2).await;
    while world.store.audit_sequence().await.unwrap() > 0 {}
    let leaf = world.first_leaf().await;
    // It has a place, and nothing signed says so.
    let mut tx = world.begin().await;
    let found = tx.audit_leaf(leaf).await.unwrap();
    assert!(matches!(provable(&mut tx, found).await, Err(ProveError::NotYet)));
    drop(tx);
    world.publish().await;
    assert_eq!(world.prove(leaf).await.unwrap().leaf_index, 0);

    // Another leaf in its place: sound in itself, and not what was signed.
    world
        .sql(
            "UPDATE audit_order SET tree_index = -1 WHERE tree_index = 0;
             UPDATE audit_order SET tree_index = 0 WHERE tree_index = 1;
             UPDATE audit_order SET tree_index = 1 WHERE tree_index = -1",
        )
        .await;
    assert!(matches!(world.prove(leaf).await, Err(ProveError::Altered)));
    world.sql("UPDATE audit SET purpose = 'treatment'").await;
    assert!(matches!(world.prove(leaf).await, Err(ProveError::Altered)));
    // A database that says more is published than is.
    world.act(1).await;
    while world.store.audit_sequence().await.unwrap() > 0 {}
    world.sql("UPDATE audit_tree SET published_size = size").await;
    let mut tx = world.begin().await;
    let last = tx.audit_leaves(3).await.unwrap()[0].id;
    drop(tx);
    assert!(matches!(world.prove(last).await, Err(ProveError::NotYet)));
}
