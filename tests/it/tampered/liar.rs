//! Somebody who may do anything to one clinic's rows and files, one lie at a time, and puts it all back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use medmesh_base::ClinicId;
use medmesh_control::audit::Log;
use medmesh_tlog::note::Signer;
use medmesh_tlog::tile::{Tiles, bundle, changed};
use medmesh_tlog::{Checkpoint, Frontier, Hash, leaf_hash};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// Where the log lies, with the column that names a leaf.
const TABLES: [(&str, &str); 4] = [
    ("audit", "id"),
    ("audit_order", "leaf_id"),
    ("audit_pending", "leaf_id"),
    ("audit_tree", ""),
];

/// What can be done to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Edit,
    Delete,
    Insert,
    Reorder,
    Truncate,
    RollBack,
    Fork,
    ReplaceHead,
    Bend,
}

pub(super) const KINDS: [Kind; 9] = [
    Kind::Edit,
    Kind::Delete,
    Kind::Insert,
    Kind::Reorder,
    Kind::Truncate,
    Kind::RollBack,
    Kind::Fork,
    Kind::ReplaceHead,
    Kind::Bend,
];

/// What a lie is, and where it must be found, if that can be told.
pub(super) type Told = (String, Option<u64>);

/// What was published, the database's head, and how many leaves that was.
#[derive(Clone, Default)]
pub(super) struct Published {
    files: BTreeMap<PathBuf, Vec<u8>>,
    note: String,
    pub(super) size: u64,
}

pub(super) struct Liar {
    pub(super) db: PgConnection,
    rng: StdRng,
    clinic: ClinicId,
    log: Log,
    folder: PathBuf,
    now: Published,
    earlier: Published,
}

impl Liar {
    /// `folder`: where the clinic's log is published.
    pub(super) async fn new(admin_url: &str, log: Log, folder: PathBuf, seed: u64) -> Self {
        let mut db = PgConnection::connect(admin_url).await.unwrap();
        // What the append-only triggers are worth against a superuser.
        let kept =
            TABLES.map(|(table, _)| format!("CREATE TEMP TABLE kept_{table} AS TABLE {table} WITH NO DATA;"));
        let setup = format!("SET session_replication_role = replica; {}", kept.concat());
        sqlx::raw_sql(AssertSqlSafe(setup))
            .execute(&mut db)
            .await
            .unwrap();
        Self {
            db,
            rng: StdRng::seed_from_u64(seed),
            clinic: log.place.clinic,
            log,
            folder,
            now: Published::default(),
            earlier: Published::default(),
        }
    }

    async fn run(&mut self, sql: String) {
        let done = sqlx::raw_sql(AssertSqlSafe(sql.clone()))
            .execute(&mut self.db)
            .await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Looks at what is there, to lie about it and to put it back: the truth of now. What it was before is what
    /// is rolled back to.
    pub(super) async fn look(&mut self) {
        let (size, note): (i64, String) =
            sqlx::query_as("SELECT published_size, note FROM audit_tree WHERE clinic_id = $1")
                .bind(self.clinic.as_uuid())
                .fetch_one(&mut self.db)
                .await
                .unwrap();
        let size = u64::try_from(size).unwrap();
        if size > self.now.size {
            let files = files(&self.folder);
            self.earlier = std::mem::replace(&mut self.now, Published { files, note, size });
        }
        self.remember().await;
    }

    /// Keeps the rows as they are.
    async fn remember(&mut self) {
        let of = self.clinic;
        let kept = TABLES.map(|(table, _)| {
            format!("TRUNCATE kept_{table}; INSERT INTO kept_{table} SELECT * FROM {table} WHERE clinic_id = '{of}';")
        });
        self.run(kept.concat()).await;
    }

    /// `id` of the leaf at a place, as SQL.
    fn leaf(&self, at: u64) -> String {
        format!(
            "(SELECT leaf_id FROM audit_order WHERE clinic_id = '{}' AND tree_index = {at})",
            self.clinic
        )
    }

    fn place(&mut self) -> u64 {
        self.rng.random_range(0..self.now.size)
    }

    pub(super) async fn lie(&mut self, kind: Kind) -> Told {
        match kind {
            Kind::Edit => self.edit().await,
            Kind::Delete => self.delete().await,
            Kind::Insert => self.insert().await,
            Kind::Reorder => self.reorder().await,
            Kind::Truncate => self.truncate().await,
            Kind::RollBack => self.roll_back().await,
            Kind::Fork => self.fork().await,
            Kind::ReplaceHead => self.replace_head().await,
            Kind::Bend => self.bend(),
        }
    }

    async fn edit(&mut self) -> Told {
        const COLUMNS: [(&str, &str); 8] = [
            ("at", "at - interval '1 second'"),
            ("actor_id", "gen_random_uuid()"),
            ("action", "'visit_read'"),
            ("patient_id", "gen_random_uuid()"),
            ("purpose", "'treatment'"),
            ("break_glass_id", "gen_random_uuid()"),
            (
                "sealed",
                "set_byte(sealed, length(sealed) / 2, 255 - get_byte(sealed, length(sealed) / 2))",
            ),
            ("commitment", "sha256(commitment)"),
        ];
        let at = self.place();
        let (column, value) = COLUMNS[self.rng.random_range(0..COLUMNS.len())];
        let leaf = self.leaf(at);
        self.run(format!("UPDATE audit SET {column} = {value} WHERE id = {leaf}"))
            .await;
        (format!("edit {column} of {at}"), Some(at))
    }

    async fn delete(&mut self) -> Told {
        let (at, of) = (self.place(), self.clinic);
        let leaf = self.leaf(at);
        match self.rng.random_range(0..3) {
            0 => self.run(format!("DELETE FROM audit WHERE id = {leaf}")).await,
            1 => {
                let place = format!("DELETE FROM audit_order WHERE clinic_id = '{of}' AND tree_index = {at}");
                self.run(place).await;
            }
            _ => {
                // And closes the gap, so that nothing is missing.
                self.run(format!(
                    "DELETE FROM audit WHERE id = {leaf};
                     DELETE FROM audit_order WHERE clinic_id = '{of}' AND tree_index = {at};
                     UPDATE audit_order SET tree_index = -tree_index WHERE clinic_id = '{of}' AND tree_index > {at};
                     UPDATE audit_order SET tree_index = -tree_index - 1 WHERE clinic_id = '{of}' AND tree_index < 0;
                     UPDATE audit_tree SET size = size - 1 WHERE clinic_id = '{of}'"
                ))
                .await;
                return (format!("delete {at} and close the gap"), None);
            }
        }
        (format!("delete {at}"), Some(at))
    }

    async fn insert(&mut self) -> Told {
        let (at, of) = (self.place(), self.clinic);
        let leaf = self.leaf(at);
        let how = self.rng.random_range(0..3);
        let more = match how {
            0 => String::new(),
            1 => "INSERT INTO audit_pending SELECT clinic_id, id FROM rogue;".to_owned(),
            _ => format!(
                "INSERT INTO audit_order SELECT clinic_id, (SELECT size FROM audit_tree WHERE clinic_id = '{of}'), id FROM rogue;
                 UPDATE audit_tree SET size = size + 1 WHERE clinic_id = '{of}';"
            ),
        };
        self.run(format!(
            "CREATE TEMP TABLE rogue AS SELECT * FROM audit WHERE id = {leaf};
             UPDATE rogue SET id = overlay(id::text placing 'eeee' from 20)::uuid;
             INSERT INTO audit SELECT * FROM rogue; {more} DROP TABLE rogue"
        ))
        .await;
        (format!("insert, way {how}"), None)
    }

    async fn reorder(&mut self) -> Told {
        let (a, of) = (self.place(), self.clinic);
        let b = (a + self.rng.random_range(1..self.now.size)) % self.now.size;
        let (low, high) = (a.min(b), a.max(b));
        let turn = |from: &str, to: &str| {
            format!(
                "UPDATE audit_order SET tree_index = {to} WHERE clinic_id = '{of}' AND tree_index = {from};"
            )
        };
        let (low_text, high_text) = (low.to_string(), high.to_string());
        let turns = [
            turn(&low_text, "-1"),
            turn(&high_text, &low_text),
            turn("-1", &high_text),
        ];
        self.run(turns.concat()).await;
        (format!("swap {low} and {high}"), Some(low))
    }

    async fn truncate(&mut self) -> Told {
        let (left, of) = (self.place(), self.clinic);
        let claim = ["size", "published_size", ""][self.rng.random_range(0..3)];
        let claimed = match claim {
            "" => String::new(),
            column => format!("UPDATE audit_tree SET {column} = {left} WHERE clinic_id = '{of}'"),
        };
        self.run(format!(
            "DELETE FROM audit WHERE id IN (SELECT leaf_id FROM audit_order WHERE clinic_id = '{of}' AND tree_index >= {left});
             DELETE FROM audit_order WHERE clinic_id = '{of}' AND tree_index >= {left}; {claimed}"
        ))
        .await;
        (format!("truncate to {left}, saying so in {claim:?}"), Some(left))
    }

    /// Everything as it was one head ago: rows, tiles, both heads.
    async fn roll_back(&mut self) -> Told {
        let Published {
            files: older,
            note,
            size,
        } = self.earlier.clone();
        self.replace_files(&older);
        let of = self.clinic;
        self.run(format!(
            "DELETE FROM audit WHERE id IN (SELECT leaf_id FROM audit_order WHERE clinic_id = '{of}' AND tree_index >= {size});
             DELETE FROM audit_order WHERE clinic_id = '{of}' AND tree_index >= {size};
             UPDATE audit_tree SET size = {size}, published_size = {size}, note = '{note}' WHERE clinic_id = '{of}'"
        ))
        .await;
        (format!("roll back from {} to {size}", self.now.size), None)
    }

    /// Another story, told by somebody who even has our keys: only the voters know better.
    async fn fork(&mut self) -> Told {
        let (told, _) = self.reorder().await;
        let (of, size) = (self.clinic, self.now.size);
        let order: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT a.commitment FROM audit_order o JOIN audit a ON a.clinic_id = o.clinic_id AND a.id = o.leaf_id
             WHERE o.clinic_id = $1 AND o.tree_index < $2 ORDER BY o.tree_index",
        )
        .bind(of.as_uuid())
        .bind(i64::try_from(size).unwrap())
        .fetch_all(&mut self.db)
        .await
        .unwrap();
        let (mut frontier, mut tiles) = (Frontier::new(), Tiles::default());
        for commitment in &order {
            frontier.append(leaf_hash(commitment), |level, at, hash| {
                tiles.push(level, at, hash);
            });
        }
        for tile in changed(0, size) {
            std::fs::write(self.folder.join(tile.path()), tiles.bytes(tile).unwrap()).unwrap();
            if tile.level == 0 {
                let first = usize::try_from(tile.index * 256).unwrap();
                let entries = order
                    .iter()
                    .skip(first)
                    .take(usize::try_from(tile.width).unwrap());
                let bytes = bundle(entries.map(Vec::as_slice));
                std::fs::write(self.folder.join(tile.entries_path()), bytes).unwrap();
            }
        }
        let note = self.head(frontier.root()).sign(&self.log.signer());
        std::fs::write(self.folder.join("checkpoint"), &note).unwrap();
        self.run(format!(
            "UPDATE audit_tree SET note = '{note}' WHERE clinic_id = '{of}'"
        ))
        .await;
        (format!("fork: {told}"), None)
    }

    fn head(&self, root: Hash) -> Checkpoint {
        Checkpoint {
            origin: self.log.origin.clone(),
            size: self.now.size,
            root,
        }
    }

    async fn replace_head(&mut self) -> Told {
        let mut root = Hash([1; 32]);
        root.0[0] = self.rng.random();
        let stranger = Signer::from_seed(&self.log.origin, &[7; 32]).unwrap();
        let (how, whose) = (self.rng.random_range(0..5), self.rng.random_range(0..3));
        let note = match how {
            0 => Some(self.earlier.note.clone()),
            1 => Some(self.head(root).sign(&stranger)),
            2 => Some(self.head(root).sign(&self.log.signer())),
            3 => Some("no head at all".to_owned()),
            _ => None,
        };
        let file = self.folder.join("checkpoint");
        if whose != 1 {
            match &note {
                None => std::fs::remove_file(&file).unwrap(),
                Some(text) => std::fs::write(&file, text).unwrap(),
            }
        }
        if whose != 0 {
            let value = note.map_or("NULL".to_owned(), |note| format!("'{note}'"));
            let of = self.clinic;
            self.run(format!(
                "UPDATE audit_tree SET note = {value} WHERE clinic_id = '{of}'"
            ))
            .await;
        }
        (format!("replace head {whose}, way {how}"), None)
    }

    fn bend(&mut self) -> Told {
        let tiles = self.now.files.keys().filter(|path| !path.ends_with("checkpoint"));
        let tiles: Vec<PathBuf> = tiles.cloned().collect();
        let path = &tiles[self.rng.random_range(0..tiles.len())];
        let mut bytes = self.now.files[path].clone();
        let (at, how) = (self.rng.random_range(0..bytes.len()), self.rng.random_range(0..4));
        match how {
            0 => bytes[at] ^= 1 << self.rng.random_range(0..8),
            1 => bytes.truncate(at),
            2 => bytes.extend_from_slice(&[0; 32]),
            _ => {
                std::fs::remove_file(path).unwrap();
                return (format!("remove {}", path.display()), None);
            }
        }
        std::fs::write(path, bytes).unwrap();
        (format!("bend {} at {at}, way {how}", path.display()), None)
    }

    fn replace_files(&self, with: &BTreeMap<PathBuf, Vec<u8>>) {
        let there = files(&self.folder);
        for path in there.keys().filter(|path| !with.contains_key(*path)) {
            std::fs::remove_file(path).unwrap();
        }
        for (path, bytes) in with
            .iter()
            .filter(|(path, bytes)| there.get(*path) != Some(bytes))
        {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }

    /// Rows and files as they were; what the nodes wrote since `lied_at`, as every verification does, stays.
    pub(super) async fn undo(&mut self, lied_at: &str) {
        let of = self.clinic;
        let tables = TABLES.map(|(table, leaf)| {
            let since = match leaf {
                "" => String::new(),
                leaf => format!("AND t.{leaf} < '{lied_at}'"),
            };
            format!(
                "DELETE FROM {table} t WHERE t.clinic_id = '{of}' {since} AND t::text NOT IN (SELECT k::text FROM kept_{table} k);
                 INSERT INTO {table} SELECT k.* FROM kept_{table} k
                     WHERE k::text NOT IN (SELECT t::text FROM {table} t WHERE t.clinic_id = '{of}');"
            )
        });
        self.run(tables.concat()).await;
        self.replace_files(&self.now.files);
        self.remember().await;
    }
}

/// Every file under a directory.
fn files(dir: &std::path::Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut open) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                found.insert(path, bytes);
            }
        }
    }
    found
}
