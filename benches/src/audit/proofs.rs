//! How long a proof takes out of a log of millions.
//!
//! The leaves that are proved are real rows; those around them are generated: random commitments
//! in the tiles, random ids in the order. What a proof reads is the same either way.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use medmesh_base::{AuditId, ClinicId, RequestId};
use medmesh_clinic::{Actor, SystemActor};
use medmesh_control::audit::{Evidence, LogKeys, Shelf, provable, prove};
use medmesh_tlog::tile::{Tiles, changed};
use medmesh_tlog::{Checkpoint, Frontier, Hash, leaf_hash};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::writes::{Voter, sql};
use super::{Options, Place};
use crate::report::{self, Better, Row};

/// Leaves whose tiles are in memory at once.
const STEP: u64 = 65_536;
/// Real leaves in the log.
const REAL: usize = 200;

pub(super) async fn row(place: &Place, clinic: ClinicId, options: &Options) -> anyhow::Result<Row> {
    let (size, began) = (options.audit_leaves, Instant::now());
    let real = real_leaves(place, clinic, size).await?;
    let rows_took = began.elapsed();
    // Apart from what the writes published.
    let objects = place.dir.path().join("millions");
    let dir = objects.join(format!("audit/{clinic}"));
    let keys = &place.keys;
    tokio::task::block_in_place(|| grow(&dir, size, &real, keys, clinic))?;
    report::print(&format!(
        "  a log of {size} leaves: rows in {:.0} s, tiles in {:.0} s",
        rows_took.as_secs_f64(),
        (began.elapsed() - rows_took).as_secs_f64()
    ));
    let shelf = Shelf::local(&objects)?;
    let evidence = Evidence {
        keys,
        shelf: &shelf,
        witness: &Voter::default(),
        cosigner: None,
    };
    let leaves: Vec<AuditId> = real.values().map(|(id, _)| *id).collect();
    let mut rng = StdRng::seed_from_u64(1);
    let mut runs = Vec::new();
    for run in 0..=options.audit_runs {
        let mut millis = Vec::new();
        for _ in 0..options.audit_proofs {
            let leaf = leaves[rng.random_range(0..leaves.len())];
            let started = Instant::now();
            let actor = Actor::System(SystemActor::Upkeep);
            let mut tx = place.store.begin(clinic, actor, RequestId::generate()).await?;
            let found = tx.audit_leaf(leaf).await?;
            let asked = provable(&mut tx, found).await?;
            tx.rollback().await?;
            let proof = prove(&evidence, asked).await?;
            millis.push(started.elapsed().as_secs_f64() * 1e3);
            anyhow::ensure!(
                proof.path.len() as u32 >= size.ilog2() / 2,
                "a proof without a path"
            );
        }
        millis.sort_by(f64::total_cmp);
        // The first run warms files and caches.
        if run > 0 {
            runs.push(millis[millis.len() * 95 / 100]);
        }
    }
    Ok(Row {
        bench: format!("audit_proof_p95_{}k", size / 1_000),
        unit: "ms".to_owned(),
        better: Better::Lower,
        us: runs,
        peer: None,
        limit: None,
    })
}

/// Leaves at random places: by place, which and what they commit to.
async fn real_leaves(
    place: &Place,
    clinic: ClinicId,
    size: u64,
) -> anyhow::Result<BTreeMap<u64, (AuditId, Hash)>> {
    let actor = Actor::System(SystemActor::Upkeep);
    let mut tx = place.store.begin(clinic, actor, RequestId::generate()).await?;
    for _ in 0..REAL {
        tx.audit_verified().await?;
    }
    tx.commit().await?;
    // What the writes left has its place already; the log begins anew for this.
    let select = format!(
        "SET session_replication_role = replica;
         TRUNCATE audit_pending, audit_order, audit_tree;
         SELECT id || ' ' || encode(commitment, 'hex') FROM audit
         WHERE clinic_id = '{clinic}' AND action = 'audit_verify' ORDER BY id DESC LIMIT {REAL}"
    );
    let said = sql(place, &select)?;
    let mut rng = StdRng::seed_from_u64(2);
    let mut real = BTreeMap::new();
    for line in said.lines().filter(|line| line.contains(' ')) {
        let Some((id, hex)) = line.split_once(' ').filter(|(id, _)| id.len() == 36) else {
            continue;
        };
        real.insert(
            rng.random_range(0..size),
            (id.parse()?, Hash(bytes(hex).context("a hash")?)),
        );
    }
    anyhow::ensure!(real.len() > REAL / 2, "{} real leaves", real.len());
    let values: Vec<String> = real
        .iter()
        .map(|(index, (id, _))| format!("({index}, '{id}'::uuid)"))
        .collect();
    // As in a log that grew: ids in the order of time. Indexes are built when the rows are there.
    let fill = format!(
        "SET session_replication_role = replica;
         ALTER TABLE audit_order DROP CONSTRAINT audit_order_pkey;
         DROP INDEX audit_order_by_leaf;
         CREATE TEMP TABLE kept (tree_index bigint PRIMARY KEY, leaf_id uuid);
         INSERT INTO kept VALUES {};
         INSERT INTO audit_order (clinic_id, tree_index, leaf_id)
         SELECT '{clinic}', n, coalesce(k.leaf_id,
             (lpad(to_hex(1600000000000 + n * 10), 12, '0') || '7' || lpad(to_hex(n), 19, '0'))::uuid)
         FROM generate_series(0, {size} - 1) n LEFT JOIN kept k ON k.tree_index = n;
         ALTER TABLE audit_order ADD PRIMARY KEY (clinic_id, tree_index);
         CREATE UNIQUE INDEX audit_order_by_leaf ON audit_order (clinic_id, leaf_id);
         INSERT INTO audit_tree (clinic_id, size, published_size) VALUES ('{clinic}', {size}, {size});
         ANALYZE audit_order; ANALYZE audit; CHECKPOINT",
        values.join(", ")
    );
    sql(place, &fill)?;
    Ok(real)
}

fn bytes(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * n..2 * n + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// Writes the tiles and the signed head of such a log.
fn grow(
    dir: &Path,
    size: u64,
    real: &BTreeMap<u64, (AuditId, Hash)>,
    keys: &LogKeys,
    clinic: ClinicId,
) -> anyhow::Result<()> {
    let (mut frontier, mut tiles) = (Frontier::new(), Tiles::default());
    let mut rng = StdRng::seed_from_u64(3);
    let mut from = 0;
    while from < size {
        let to = size.min(from + STEP);
        for index in from..to {
            let commitment = real
                .get(&index)
                .map_or_else(|| rng.random::<[u8; 32]>(), |(_, hash)| hash.0);
            frontier.append(leaf_hash(&commitment), |level, index, hash| {
                tiles.push(level, index, hash);
            });
        }
        for tile in changed(from, to) {
            let bytes = tiles.bytes(tile).context("a tile that changed is in memory")?;
            let path = dir.join(tile.path());
            std::fs::create_dir_all(path.parent().context("tiles lie in folders")?)?;
            std::fs::write(path, bytes)?;
            if tile.is_full() {
                tiles.forget(tile);
            }
        }
        from = to;
    }
    let log = keys.log(clinic, None);
    let head = Checkpoint {
        origin: log.origin.clone(),
        size,
        root: frontier.root(),
    };
    std::fs::write(dir.join("checkpoint"), head.sign(&log.signer()))?;
    Ok(())
}
