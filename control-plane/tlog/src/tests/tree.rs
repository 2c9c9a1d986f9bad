//! The tree against the definition of RFC 9162, written down as it stands there.

use proptest::prelude::*;

use crate::proof::{
    self, Node, consistency, consistency_nodes, inclusion, inclusion_nodes, verify_consistency,
    verify_inclusion,
};
use crate::tile::{self, Tile, Tiles};
use crate::{Frontier, Hash, leaf_hash, node_hash};

/// MTH of RFC 9162 section 2.1.1.
fn naive_root(leaves: &[Vec<u8>]) -> Hash {
    match leaves {
        [] => Hash::empty(),
        [one] => leaf_hash(one),
        many => {
            let mut k = 1;
            while k * 2 < many.len() {
                k *= 2;
            }
            node_hash(&naive_root(&many[..k]), &naive_root(&many[k..]))
        }
    }
}

fn grow(leaves: &[Vec<u8>]) -> (Frontier, Tiles) {
    let (mut frontier, mut tiles) = (Frontier::new(), Tiles::default());
    for leaf in leaves {
        frontier.append(leaf_hash(leaf), |level, index, hash| {
            tiles.push(level, index, hash);
        });
    }
    (frontier, tiles)
}

fn hex(hash: Hash) -> String {
    hash.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The leaves and roots that implementations of RFC 6962 and 9162 are tested with everywhere.
#[test]
fn known_roots() {
    let leaves: Vec<Vec<u8>> = vec![
        vec![],
        vec![0x00],
        vec![0x10],
        vec![0x20, 0x21],
        vec![0x30, 0x31],
        vec![0x40, 0x41, 0x42, 0x43],
        vec![0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
        vec![
            0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f,
        ],
    ];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    for (size, root) in roots.iter().enumerate() {
        assert_eq!(hex(grow(&leaves[..size]).0.root()), *root, "{size} leaves");
    }
}

/// Paths of C2SP tlog-tiles.
#[test]
fn tiles_have_the_paths_of_the_specification() {
    let tile = |level, index, width| Tile { level, index, width };
    assert_eq!(tile(0, 1_234_067, 256).path(), "tile/0/x001/x234/067");
    assert_eq!(tile(1, 0, 17).path(), "tile/1/000.p/17");
    assert_eq!(tile(0, 273, 112).entries_path(), "tile/entries/273.p/112");
    // The example of the specification: a tree of 70,000.
    let all = tile::changed(0, 70_000);
    assert_eq!(all.len(), 274 + 2 + 1);
    for (level, index, width) in [(0, 273, 112), (1, 1, 17), (2, 0, 1), (1, 0, 256)] {
        assert!(all.contains(&tile(level, index, width)));
    }
}

#[test]
fn entries_of_a_bundle_come_back() {
    let entries: [&[u8]; 3] = [b"one", b"", &[7; 300]];
    let bytes = tile::bundle(entries);
    assert_eq!(tile::entries(&bytes).unwrap(), entries);
    assert_eq!(tile::entries(&bytes[..bytes.len() - 1]), None);
    assert_eq!(tile::entries(&[0]), None);
}

fn leaves(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|n| n.to_be_bytes().to_vec()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_grown_tree_is_the_defined_one(count in 0_u64..700) {
        let leaves = leaves(count);
        let (frontier, tiles) = grow(&leaves);
        prop_assert_eq!(frontier.root(), naive_root(&leaves));
        prop_assert_eq!(proof::root(count, &tiles).unwrap(), frontier.root());
        let bytes = frontier.to_bytes();
        prop_assert_eq!(&Frontier::from_nodes(count, &tiles).unwrap(), &frontier);
        prop_assert_eq!(Frontier::from_bytes(count, &bytes).unwrap(), frontier);
        prop_assert!(Frontier::from_bytes(count, &[&bytes[..], &[0; 32]].concat()).is_err());
    }

    #[test]
    fn proofs_hold_for_what_is_and_for_nothing_else(size in 1_u64..700, at: u64, other: u64, bit in 0_usize..256) {
        let leaves = leaves(size);
        let (frontier, tiles) = grow(&leaves);
        let (index, old) = (at % size, other % size + 1);
        let root = frontier.root();
        let leaf = leaf_hash(&leaves[index as usize]);
        let path = inclusion(index, size, &tiles).unwrap();
        prop_assert!(verify_inclusion(&leaf, index, size, &path, &root).is_ok());
        let old_root = naive_root(&leaves[..old as usize]);
        let steps = consistency(old, size, &tiles).unwrap();
        prop_assert!(verify_consistency(old, &old_root, size, &root, &steps).is_ok());

        let mut bent = leaf;
        bent.0[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(verify_inclusion(&bent, index, size, &path, &root).is_err());
        if size > 1 {
            let elsewhere = (index + 1 + other % (size - 1)) % size;
            prop_assert!(verify_inclusion(&leaf, elsewhere, size, &path, &root).is_err());
        }
        let mut bent = old_root;
        bent.0[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(verify_consistency(old, &bent, size, &root, &steps).is_err());
        for short in [&path[..path.len().saturating_sub(1)], &[&path[..], &[root]].concat()] {
            if short != path {
                prop_assert!(verify_inclusion(&leaf, index, size, short, &root).is_err());
            }
        }
        for n in 0..steps.len() {
            let mut steps = steps.clone();
            steps[n].0[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(verify_consistency(old, &old_root, size, &root, &steps).is_err());
        }
    }

    /// What is fetched before a proof is made is what the proof needs.
    #[test]
    fn the_named_tiles_suffice(size in 1_u64..70_000, at: u64, other: u64) {
        let (frontier, all) = grow(&leaves(size));
        let (index, old) = (at % size, other % size + 1);
        for nodes in [inclusion_nodes(index, size).unwrap(), consistency_nodes(old, size).unwrap()] {
            let mut few = Tiles::default();
            for tile in tile::holding(&nodes, size).unwrap() {
                few.insert(tile, &all.bytes(tile).unwrap()).unwrap();
            }
            for node in &nodes {
                prop_assert_eq!(proof::Nodes::node(&few, *node), proof::Nodes::node(&all, *node));
            }
        }
        let path = inclusion(index, size, &all).unwrap();
        let leaf = leaf_hash(&index.to_be_bytes());
        prop_assert!(verify_inclusion(&leaf, index, size, &path, &frontier.root()).is_ok());
        prop_assert_eq!(Tile::of(Node { level: 0, index: size }, size), None);
    }

    /// Publishing in steps gives every tile its last width.
    #[test]
    fn changed_tiles_add_up(sizes in proptest::collection::vec(1_u64..400, 1..12)) {
        let mut published = std::collections::BTreeMap::new();
        let mut size = 0;
        for more in sizes {
            for tile in tile::changed(size, size + more) {
                published.insert((tile.level, tile.index), tile.width);
            }
            size += more;
        }
        let whole: std::collections::BTreeMap<_, _> =
            tile::changed(0, size).into_iter().map(|t| ((t.level, t.index), t.width)).collect();
        prop_assert_eq!(published, whole);
    }

    #[test]
    fn garbage_proves_nothing_and_never_panics(
        old: u64, new: u64, hashes in proptest::collection::vec(any::<[u8; 32]>(), 0..70)
    ) {
        let hashes: Vec<Hash> = hashes.into_iter().map(Hash).collect();
        let root = Hash([7; 32]);
        prop_assert!(verify_inclusion(&root, old, new, &hashes, &Hash([8; 32])).is_err());
        prop_assert!(verify_consistency(old, &root, new, &Hash([8; 32]), &hashes).is_err());
        let _ = inclusion_nodes(old, new);
        let _ = consistency_nodes(old, new);
        let _ = Tile::of(Node { level: (old % 64) as u32, index: new }, old);
    }
}
