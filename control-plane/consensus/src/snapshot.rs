//! Snapshot files: the whole state at one log id, checksummed, replaced atomically.
//!
//! ```text
//! file = "MMSNAP\0\x01" meta_length:u32 state_length:u64 crc:u32 meta state
//! ```
//!
//! Integers are little-endian; the CRC32C covers lengths, meta and state.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::log::record::Damage;
use crate::log::replay::{LogError, sync_directory};
use crate::types::{Snapshot, SnapshotMeta};

const MAGIC: &[u8; 8] = b"MMSNAP\0\x01";
const HEADER_BYTES: usize = 24;
/// Largest state, on disk and over the wire: a full ledger (65,536 rooms of 16
/// people, as JSON) is about 200 MB.
pub(crate) const SNAPSHOT_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// The snapshots of one node: at most one counts, the newest.
#[derive(Clone)]
pub(crate) struct SnapshotStore {
    directory: Arc<Path>,
    current: Arc<Mutex<Option<Current>>>,
}

#[derive(Clone)]
struct Current {
    meta: SnapshotMeta,
    path: PathBuf,
}

impl SnapshotStore {
    /// Opens `directory` (made if absent) and reads the newest snapshot in it.
    ///
    /// # Errors
    /// When it is unusable or the snapshot is damaged.
    pub(crate) fn open(directory: &Path) -> Result<(Self, Option<Snapshot>), LogError> {
        fs::create_dir_all(directory).map_err(LogError::io("create", directory))?;
        let mut found: Vec<(u64, PathBuf)> = Vec::new();
        for item in fs::read_dir(directory).map_err(LogError::io("list", directory))? {
            let path = item.map_err(LogError::io("list", directory))?.path();
            let extension = path.extension().and_then(|it| it.to_str());
            let index = path
                .file_stem()
                .and_then(|it| it.to_str())
                .and_then(|it| it.parse().ok());
            match (extension, index) {
                (Some("snapshot"), Some(index)) => found.push((index, path)),
                // A snapshot that was being written when the process ended.
                (Some("tmp"), _) => fs::remove_file(&path).map_err(LogError::io("remove", &path))?,
                _ => {}
            }
        }
        found.sort();
        let store = Self {
            directory: directory.into(),
            current: Arc::default(),
        };
        let Some((_, path)) = found.pop() else {
            return Ok((store, None));
        };
        let snapshot = read(&path, directory)?;
        // Left by a process that ended between writing the newest and removing them.
        for (_, older) in found {
            fs::remove_file(&older).map_err(LogError::io("remove", &older))?;
        }
        *store.current.lock() = Some(Current {
            meta: snapshot.meta.clone(),
            path,
        });
        Ok((store, Some(snapshot)))
    }

    /// Reads the newest snapshot from disk. Blocks.
    pub(crate) fn load(&self) -> Result<Option<Snapshot>, LogError> {
        let current = self.current.lock().clone();
        current
            .map(|current| read(&current.path, &self.directory))
            .transpose()
    }

    /// Writes a snapshot, makes it the current one and removes the others. Blocks.
    pub(crate) fn save(&self, meta: &SnapshotMeta, state: &[u8]) -> Result<(), LogError> {
        let index = meta.last_log_id.map_or(0, |id| id.index());
        let path = self.directory.join(format!("{index:020}.snapshot"));
        let temporary = self.directory.join(format!("{index:020}.tmp"));
        let mut current = self.current.lock();
        if current
            .as_ref()
            .is_some_and(|held| held.meta.last_log_id > meta.last_log_id)
        {
            return Ok(());
        }
        let head = encode_head(meta, state);
        let mut file = File::create(&temporary).map_err(LogError::io("create", &temporary))?;
        file.write_all(&head).map_err(LogError::io("write", &temporary))?;
        file.write_all(state).map_err(LogError::io("write", &temporary))?;
        file.sync_all().map_err(LogError::io("sync", &temporary))?;
        fs::rename(&temporary, &path).map_err(LogError::io("rename", &temporary))?;
        sync_directory(&self.directory)?;
        let old = current.replace(Current {
            meta: meta.clone(),
            path: path.clone(),
        });
        if let Some(old) = old.filter(|old| old.path != path) {
            fs::remove_file(&old.path).map_err(LogError::io("remove", &old.path))?;
        }
        Ok(())
    }
}

/// Everything of the file before the state.
pub(crate) fn encode_head(meta: &SnapshotMeta, state: &[u8]) -> Vec<u8> {
    let meta = postcard::to_allocvec(meta).expect("plain data always encodes into memory");
    head(&meta, state)
}

/// A file of these parts, whatever they are, under a right checksum.
#[cfg(any(test, fuzzing))]
pub(crate) fn dressed(meta: &[u8], state: &[u8]) -> Bytes {
    [&head(meta, state), state].concat().into()
}

fn head(meta: &[u8], state: &[u8]) -> Vec<u8> {
    let meta_length = u32::try_from(meta.len()).expect("a membership is a few hundred bytes");
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&meta_length.to_le_bytes());
    head.extend_from_slice(&(state.len() as u64).to_le_bytes());
    let crc = checksum(&head[8..20], meta, state);
    head.extend_from_slice(&crc.to_le_bytes());
    head.extend_from_slice(meta);
    head
}

fn checksum(lengths: &[u8], meta: &[u8], state: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(lengths), meta), state)
}

/// Reads a snapshot file's bytes. Pure.
pub(crate) fn parse(bytes: &Bytes) -> Result<Snapshot, Damage> {
    let header = bytes.get(..HEADER_BYTES).ok_or(Damage::Short)?;
    if &header[..8] != MAGIC {
        return Err(Damage::Foreign);
    }
    let number = |range: std::ops::Range<usize>| {
        header[range]
            .iter()
            .rev()
            .fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte))
    };
    let (meta_length, state_length, crc) = (number(8..12), number(12..20), number(20..24));
    if state_length > SNAPSHOT_BYTES_MAX {
        return Err(Damage::Length);
    }
    let (meta_end, rest) = (
        HEADER_BYTES + meta_length as usize,
        (bytes.len() - HEADER_BYTES) as u64,
    );
    if rest != meta_length + state_length {
        return Err(Damage::Short);
    }
    let state = bytes.slice(meta_end..);
    let meta = &bytes[HEADER_BYTES..meta_end];
    if u64::from(checksum(&header[8..20], meta, &state)) != crc {
        return Err(Damage::Checksum);
    }
    let meta = postcard::from_bytes(meta).map_err(|_| Damage::Contents)?;
    Ok(Snapshot {
        meta,
        snapshot: state,
    })
}

fn read(path: &Path, directory: &Path) -> Result<Snapshot, LogError> {
    let bytes = Bytes::from(fs::read(path).map_err(LogError::io("read", path))?);
    parse(&bytes).map_err(|damage| LogError::Snapshot {
        path: path.to_owned(),
        directory: directory.parent().unwrap_or(directory).to_owned(),
        damage,
    })
}
