//! Two thousand lies, one at a time, by somebody who may do anything to database and files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use medmesh_tlog::note::Signer;
use medmesh_tlog::tile::{Tiles, bundle, changed};
use medmesh_tlog::{Checkpoint, Frontier, Hash, leaf_hash};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::world::{World, files, world};

/// Lies told, as the log's promise is worded.
const LIES: u64 = 2_000;
/// Leaves of the log: more than one tile.
const LEAVES: u64 = 290;
/// Leaves of the head before the last.
const EARLIER: u64 = 270;
/// Leaves without a place yet.
const PENDING: usize = 3;

const TABLES: [&str; 4] = ["audit", "audit_order", "audit_pending", "audit_tree"];

/// The superuser, with what was there before.
struct Liar {
    db: PgConnection,
    rng: StdRng,
    before: BTreeMap<PathBuf, Vec<u8>>,
    /// Files and note as of the head before the last.
    earlier: (BTreeMap<PathBuf, Vec<u8>>, String),
}

/// What a lie is and where it must be found, if that can be told.
type Told = (String, Option<u64>);

impl Liar {
    async fn run(&mut self, sql: String) {
        sqlx::raw_sql(AssertSqlSafe(sql.clone()))
            .execute(&mut self.db)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    fn place(&mut self) -> u64 {
        self.rng.random_range(0..LEAVES)
    }

    /// `id` of the leaf at a place, as SQL.
    fn leaf(at: u64) -> String {
        format!("(SELECT leaf_id FROM audit_order WHERE tree_index = {at})")
    }

    async fn edit(&mut self) -> Told {
        const COLUMNS: [(&str, &str); 15] = [
            ("at", "at - interval '1 second'"),
            ("actor_kind", "'login'"),
            ("actor_id", "gen_random_uuid()"),
            ("session_id", "gen_random_uuid()"),
            ("action", "'visit_read'"),
            ("object_kind", "'person'"),
            ("object_id", "gen_random_uuid()"),
            ("patient_id", "gen_random_uuid()"),
            ("purpose", "'treatment'"),
            ("request_id", "gen_random_uuid()"),
            ("break_glass_id", "gen_random_uuid()"),
            ("id", "overlay(id::text placing 'ffff' from 20)::uuid"),
            (
                "sealed",
                "set_byte(sealed, length(sealed) / 2, 255 - get_byte(sealed, length(sealed) / 2))",
            ),
            ("commitment", "sha256(commitment)"),
            (
                "commitment",
                "(SELECT commitment FROM audit ORDER BY id DESC LIMIT 1)",
            ),
        ];
        let at = self.place();
        let (column, value) = COLUMNS[self.rng.random_range(0..COLUMNS.len())];
        let leaf = Self::leaf(at);
        self.run(format!("UPDATE audit SET {column} = {value} WHERE id = {leaf}"))
            .await;
        (format!("edit {column} of {at}"), Some(at))
    }

    async fn delete(&mut self) -> Told {
        let (at, leaf) = (self.place(), "leaf_id FROM audit_order WHERE tree_index");
        match self.rng.random_range(0..4) {
            0 => {
                self.run(format!("DELETE FROM audit WHERE id = (SELECT {leaf} = {at})"))
                    .await;
            }
            1 => {
                self.run(format!("DELETE FROM audit_order WHERE tree_index = {at}"))
                    .await;
            }
            2 => {
                // And closes the gap, so that nothing is missing.
                self.run(format!(
                    "DELETE FROM audit WHERE id = (SELECT {leaf} = {at});
                     DELETE FROM audit_order WHERE tree_index = {at};
                     UPDATE audit_order SET tree_index = -tree_index WHERE tree_index > {at};
                     UPDATE audit_order SET tree_index = -tree_index - 1 WHERE tree_index < 0;
                     UPDATE audit_tree SET size = size - 1"
                ))
                .await;
                return (format!("delete {at} and close the gap"), None);
            }
            _ => {
                let waiting = "(SELECT leaf_id FROM audit_pending ORDER BY random() LIMIT 1)";
                let table = ["audit WHERE id", "audit_pending WHERE leaf_id"][self.rng.random_range(0..2)];
                self.run(format!("DELETE FROM {table} = {waiting}")).await;
                return (format!("delete a waiting leaf from {table}"), None);
            }
        }
        (format!("delete {at}"), Some(at))
    }

    async fn insert(&mut self) -> Told {
        let at = self.place();
        let copy = format!(
            "CREATE TEMP TABLE rogue AS SELECT * FROM audit WHERE id = {};
             UPDATE rogue SET id = overlay(id::text placing 'eeee' from 20)::uuid;
             INSERT INTO audit SELECT * FROM rogue;",
            Self::leaf(at)
        );
        let how = self.rng.random_range(0..4);
        let more = match how {
            0 => "",
            1 => "INSERT INTO audit_pending SELECT clinic_id, id FROM rogue;",
            2 => {
                "INSERT INTO audit_order SELECT clinic_id, (SELECT size FROM audit_tree), id FROM rogue;
                  UPDATE audit_tree SET size = size + 1;"
            }
            _ => {
                "INSERT INTO audit_pending SELECT clinic_id, leaf_id FROM audit_order ORDER BY random() LIMIT 1;"
            }
        };
        self.run(format!("{copy} {more} DROP TABLE rogue")).await;
        (format!("insert, way {how}"), None)
    }

    async fn reorder(&mut self) -> Told {
        let a = self.place();
        let b = (a + self.rng.random_range(1..LEAVES)) % LEAVES;
        let (low, high) = (a.min(b), a.max(b));
        self.run(format!(
            "UPDATE audit_order SET tree_index = -1 WHERE tree_index = {low};
             UPDATE audit_order SET tree_index = {low} WHERE tree_index = {high};
             UPDATE audit_order SET tree_index = {high} WHERE tree_index = -1"
        ))
        .await;
        (format!("swap {low} and {high}"), Some(low))
    }

    async fn truncate(&mut self) -> Told {
        let left = self.rng.random_range(0..LEAVES);
        let claim = [
            "",
            "UPDATE audit_tree SET size = ",
            "UPDATE audit_tree SET published_size = ",
        ];
        let claim = claim[self.rng.random_range(0..3)];
        let claim = if claim.is_empty() {
            String::new()
        } else {
            format!("{claim}{left}")
        };
        self.run(format!(
            "DELETE FROM audit WHERE id IN (SELECT leaf_id FROM audit_order WHERE tree_index >= {left});
             DELETE FROM audit_order WHERE tree_index >= {left}; {claim}"
        ))
        .await;
        (format!("truncate to {left} {claim}"), Some(left))
    }

    /// Everything as it was one head ago: rows, tiles, both heads.
    async fn roll_back(&mut self) -> Told {
        let (older, note) = self.earlier.clone();
        for path in self.before.keys() {
            std::fs::remove_file(path).unwrap();
        }
        for (path, bytes) in older {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        let keep = self.rng.random_range(0..2) == 0;
        let size = if keep { LEAVES } else { EARLIER };
        self.run(format!(
            "DELETE FROM audit WHERE id IN (SELECT leaf_id FROM audit_order WHERE tree_index >= {size});
             DELETE FROM audit_order WHERE tree_index >= {size};
             UPDATE audit_tree SET size = {size}, published_size = {EARLIER}, note = '{note}'"
        ))
        .await;
        (format!("roll back, rows kept: {keep}"), None)
    }

    /// Another story, told by somebody who even has our keys: only the voters know better.
    async fn fork(&mut self, world: &World) -> Told {
        let (_, Some(at)) = Box::pin(self.reorder()).await else {
            return Box::pin(self.roll_back()).await;
        };
        let order: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT a.commitment FROM audit_order o JOIN audit a ON a.id = o.leaf_id ORDER BY o.tree_index",
        )
        .fetch_all(&mut self.db)
        .await
        .unwrap();
        let (mut frontier, mut tiles) = (Frontier::new(), Tiles::default());
        for commitment in &order {
            frontier.append(leaf_hash(commitment), |l, i, hash| tiles.push(l, i, hash));
        }
        for tile in changed(0, LEAVES) {
            std::fs::write(world.published().join(tile.path()), tiles.bytes(tile).unwrap()).unwrap();
            if tile.level == 0 {
                let entries = order
                    .iter()
                    .skip((tile.index * 256) as usize)
                    .take(tile.width as usize);
                let bytes = bundle(entries.map(Vec::as_slice));
                std::fs::write(world.published().join(tile.entries_path()), bytes).unwrap();
            }
        }
        let head = Checkpoint {
            origin: world.log().origin,
            size: LEAVES,
            root: frontier.root(),
        };
        let note = head.sign(&world.log().signer());
        std::fs::write(world.published().join("checkpoint"), &note).unwrap();
        self.run(format!("UPDATE audit_tree SET note = '{note}'")).await;
        (format!("fork at {at}"), None)
    }

    async fn replace_head(&mut self, world: &World) -> Told {
        let origin = world.log().origin;
        let stranger = Signer::from_seed(&origin, &[7; 32]).unwrap();
        let mut root = Hash([1; 32]);
        root.0[0] = self.rng.random();
        let forged = |size| {
            let origin = origin.clone();
            Checkpoint { origin, size, root }
        };
        let how = self.rng.random_range(0..5);
        let note = match how {
            0 => self.earlier.1.clone(),
            1 => forged(LEAVES).sign(&stranger),
            2 => forged(LEAVES).sign(&world.log().signer()),
            3 => "no head at all".to_owned(),
            _ => String::new(),
        };
        let file = world.published().join("checkpoint");
        let whose = self.rng.random_range(0..3);
        if whose != 1 {
            match note.as_str() {
                "" => std::fs::remove_file(&file).unwrap(),
                text => std::fs::write(&file, text).unwrap(),
            }
        }
        if whose != 0 {
            let value = if note.is_empty() {
                "NULL".to_owned()
            } else {
                format!("'{note}'")
            };
            self.run(format!("UPDATE audit_tree SET note = {value}")).await;
        }
        if whose == 1 && how == 4 && self.rng.random() {
            self.run("DELETE FROM audit_tree".to_owned()).await;
        }
        (format!("replace head {whose}, way {how}"), None)
    }

    fn bend_tile(&mut self) -> Told {
        let tiles: Vec<PathBuf> = self
            .before
            .keys()
            .filter(|path| !path.ends_with("checkpoint"))
            .cloned()
            .collect();
        let path = &tiles[self.rng.random_range(0..tiles.len())];
        let mut bytes = self.before[path].clone();
        let at = self.rng.random_range(0..bytes.len());
        let how = self.rng.random_range(0..4);
        match how {
            0 => bytes[at] ^= 1 << self.rng.random_range(0..8),
            1 => bytes.truncate(at),
            2 => bytes.extend_from_slice(&[0; 32]),
            _ => return self.remove(path),
        }
        std::fs::write(path, bytes).unwrap();
        (format!("bend {} at {at}, way {how}", path.display()), None)
    }

    fn remove(&self, path: &PathBuf) -> Told {
        std::fs::remove_file(path).unwrap();
        (format!("remove {}", path.display()), None)
    }

    async fn lie(&mut self, world: &World) -> Told {
        match self.rng.random_range(0..10) {
            0 | 1 => self.edit().await,
            2 => self.delete().await,
            3 => self.insert().await,
            4 => self.reorder().await,
            5 => self.truncate().await,
            6 => self.roll_back().await,
            7 => self.fork(world).await,
            8 => self.replace_head(world).await,
            _ => self.bend_tile(),
        }
    }

    /// Rows and files as they were.
    async fn undo(&mut self, world: &World) {
        let tables = TABLES.map(|table| {
            format!(
                "DELETE FROM {table} t WHERE t::text NOT IN (SELECT k::text FROM kept_{table} k);
                 INSERT INTO {table} SELECT k.* FROM kept_{table} k
                     WHERE k::text NOT IN (SELECT t::text FROM {table} t);"
            )
        });
        self.run(tables.concat()).await;
        let now = files(&world.published());
        for path in now.keys().filter(|path| !self.before.contains_key(*path)) {
            std::fs::remove_file(path).unwrap();
        }
        for (path, bytes) in &self.before {
            if now.get(path) != Some(bytes) {
                std::fs::write(path, bytes).unwrap();
            }
        }
    }
}

async fn liar(world: &World, earlier: (BTreeMap<PathBuf, Vec<u8>>, String)) -> Liar {
    let mut db = PgConnection::connect(&world.scratch.admin_url).await.unwrap();
    // What the append-only triggers are worth against a superuser.
    let mut setup = "SET session_replication_role = replica;".to_owned();
    for table in TABLES {
        setup += &format!("CREATE TABLE kept_{table} AS TABLE {table};");
    }
    sqlx::raw_sql(AssertSqlSafe(setup))
        .execute(&mut db)
        .await
        .unwrap();
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(1);
    Liar {
        db,
        rng: StdRng::seed_from_u64(seed),
        before: files(&world.published()),
        earlier,
    }
}

#[tokio::test]
async fn every_lie_is_found_and_the_truth_is_not_doubted() {
    let world = world().await;
    world.act(EARLIER as usize - 1).await;
    let tree = world.publish().await;
    let earlier = (files(&world.published()), tree.note.unwrap());
    world.act((LEAVES - tree.size) as usize).await;
    assert_eq!(world.publish().await.published_size, LEAVES);
    world.act(PENDING).await;
    let mut liar = liar(&world, earlier).await;
    let truth = world.verify().await;
    assert!(truth.is_sound, "{truth:#?}");
    assert_eq!((truth.leaves_checked, truth.pending), (LEAVES, PENDING as u64));
    let mut missed = Vec::new();
    for lie in 0..LIES {
        let (what, at) = liar.lie(&world).await;
        let report = world.verify().await;
        if report.is_sound {
            missed.push(format!("{lie}: {what}"));
        } else if let Some(at) = at {
            let first = report.first_divergent.as_ref().and_then(|found| found.leaf_index);
            assert_eq!(first, Some(at), "{lie}: {what}: {report:#?}");
        }
        liar.undo(&world).await;
        if lie % 100 == 0 {
            let truth = world.verify().await;
            assert!(truth.is_sound, "after {lie} ({what}): {truth:#?}");
        }
    }
    assert!(
        missed.is_empty(),
        "{} of {LIES} not found: {missed:#?}",
        missed.len()
    );
    let truth = world.verify().await;
    assert!(truth.is_sound, "{truth:#?}");
}
