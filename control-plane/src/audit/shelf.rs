//! Where tiles and heads are published: object storage, one folder per log.

use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use medmesh_tlog::proof::Node;
use medmesh_tlog::tile::{Tile, Tiles, holding};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};

use super::names::Place;
use crate::objects::{Kept, Lock, LockError, local};

/// Objects fetched or stored at once for one log.
const AT_ONCE: usize = 8;

/// Name of the newest signed head (C2SP tlog-tiles).
const CHECKPOINT: &str = "checkpoint";

/// Object storage failed, or holds what it should not.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// The storage itself.
    #[error("object storage")]
    Store(#[from] object_store::Error),
    /// The bucket does not lock what is put there, and should.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A tile that should be there is not.
    #[error("{0} is missing")]
    Missing(String),
    /// A tile is not as large as its name says, or a head is not text.
    #[error("{0} is malformed")]
    Malformed(String),
}

/// The published part of all logs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shelf {
    store: Arc<dyn ObjectStore>,
    lock: Option<Lock>,
}

impl From<Kept> for Shelf {
    fn from(place: Kept) -> Self {
        Self {
            store: place.store,
            lock: place.lock,
        }
    }
}

impl Shelf {
    /// Over any object store.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, lock: None }
    }

    /// In a directory, which is made if need be. Several control nodes must see the same one.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn local(dir: &FilePath) -> Result<Self, ShelfError> {
        Ok(Self::new(local(dir)?))
    }

    /// Whether what is put here is locked, if it should be; asked now.
    ///
    /// # Errors
    /// [`LockError`].
    pub async fn check_lock(&self) -> Result<(), LockError> {
        match &self.lock {
            Some(lock) => lock.check().await,
            None => Ok(()),
        }
    }

    fn path(place: Place, name: &str) -> Path {
        let Place { clinic, generation } = place;
        match generation {
            0 => Path::from(format!("audit/{clinic}/{name}")),
            again => Path::from(format!("audit/{clinic}.{again}/{name}")),
        }
    }

    /// An object's bytes, if it is there.
    pub(super) async fn get(&self, place: Place, name: &str) -> Result<Option<Bytes>, ShelfError> {
        match self.store.get(&Self::path(place, name)).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn put(&self, place: Place, name: &str, bytes: Vec<u8>) -> Result<(), ShelfError> {
        // What was put into an unlocked bucket could be changed for ever after: better no head than that.
        if let Some(lock) = &self.lock {
            lock.believed().await?;
        }
        self.store.put(&Self::path(place, name), bytes.into()).await?;
        Ok(())
    }

    /// Stores objects, several at once.
    pub(super) async fn put_all(
        &self,
        place: Place,
        objects: Vec<(String, Vec<u8>)>,
    ) -> Result<(), ShelfError> {
        futures::stream::iter(objects)
            .map(|(name, bytes)| async move { self.put(place, &name, bytes).await })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Removes the narrower states of a tile that is full now. Where objects are locked they
    /// stay, which harms nobody.
    pub(super) async fn prune(&self, place: Place, full: &str) {
        if self.lock.is_some() {
            return;
        }
        let narrower = Self::path(place, &format!("{full}.p"));
        let names = self.store.list(Some(&narrower)).map_ok(|found| found.location);
        let gone = self.store.delete_stream(names.boxed()).try_collect::<Vec<_>>();
        if let Err(error) = gone.await {
            tracing::debug!(%error, "narrower tiles stay");
        }
    }

    /// The newest published head.
    pub(super) async fn head(&self, place: Place) -> Result<Option<String>, ShelfError> {
        let Some(bytes) = self.get(place, CHECKPOINT).await? else {
            return Ok(None);
        };
        let text = String::from_utf8(bytes.to_vec());
        text.map(Some)
            .map_err(|_| ShelfError::Malformed(CHECKPOINT.to_owned()))
    }

    pub(super) async fn put_head(&self, place: Place, note: &str) -> Result<(), ShelfError> {
        self.put(place, CHECKPOINT, note.as_bytes().to_vec()).await
    }

    /// The tiles that hold these nodes of a tree of `size`.
    pub(super) async fn tiles(&self, place: Place, nodes: &[Node], size: u64) -> Result<Tiles, ShelfError> {
        let wanted = holding(nodes, size).ok_or_else(|| ShelfError::Missing(format!("tree of {size}")))?;
        let fetched: Vec<(Tile, Bytes)> = futures::stream::iter(wanted)
            .map(|tile| async move { Ok::<_, ShelfError>((tile, self.tile(place, tile).await?)) })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let mut tiles = Tiles::default();
        for (tile, bytes) in fetched {
            tiles
                .insert(tile, &bytes)
                .map_err(|_| ShelfError::Malformed(tile.path()))?;
        }
        Ok(tiles)
    }

    /// A tile, or the beginning of a wider state of it: narrower ones go when it is full.
    async fn tile(&self, place: Place, tile: Tile) -> Result<Bytes, ShelfError> {
        if let Some(bytes) = self.get(place, &tile.path()).await? {
            return Ok(bytes);
        }
        let full = Tile {
            width: medmesh_tlog::tile::WIDTH,
            ..tile
        };
        let bytes = self.get(place, &full.path()).await?;
        let length = usize::try_from(tile.width * 32).unwrap_or(usize::MAX);
        match bytes {
            Some(bytes) if bytes.len() >= length => Ok(bytes.slice(..length)),
            _ => Err(ShelfError::Missing(tile.path())),
        }
    }
}
