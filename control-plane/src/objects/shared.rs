//! Is this the object storage the other control nodes use?
//!
//! In each storage lies a number, written once by the first node that found none; the database holds
//! the number of the one the cluster uses. A node that finds another, or none, would publish what
//! nobody else sees, and miss who was erased: what it asks of such a storage fails ([`Guarded`]). At
//! its start it ends; later (a file system that is no longer mounted) it waits, and says so.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use medmesh_base::StorageId;
use medmesh_base::drain::Drain;
use medmesh_store::{Store, StoreError};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use prometheus::{IntGauge, Registry};
use tokio::sync::watch;

/// Where the number lies.
const MARK: &str = "storage.id";
/// Between looks: a file system that went away is noticed before much is missed, and a look is one
/// small object.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// After a look that came to nothing.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long background work waits for the first look; work that needs no objects must not wait for
/// a bucket that is away.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// Why nothing is asked of the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unshared {
    /// Nobody knows yet.
    #[error("whether the other nodes use this object storage is not known yet")]
    Unknown,
    /// It is another one.
    #[error(
        "[objects] is not the storage the cluster uses: its storage.id should say {wanted}; every control node \
         must see the same directory or bucket"
    )]
    Other {
        /// The number of the cluster's.
        wanted: StorageId,
    },
}

/// A look came to nothing.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("object storage")]
    Objects(#[from] Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Shared,
    Not(Unshared),
    /// From the start: this node is set up wrongly.
    Refused(Unshared),
}

/// What is known about whether the storage is shared. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sharing {
    inner: Arc<dyn ObjectStore>,
    state: Arc<watch::Sender<State>>,
    gauge: IntGauge,
}

impl Sharing {
    pub(super) fn of(inner: Arc<dyn ObjectStore>) -> Self {
        let help = "1 where this node sees the object storage that the cluster uses.";
        let gauge = IntGauge::new("medmesh_objects_shared", help).expect("metric names are valid");
        Self {
            inner,
            state: Arc::new(watch::Sender::new(State::Not(Unshared::Unknown))),
            gauge,
        }
    }

    /// A place of the storage, of which nothing is had before it is known to be shared.
    pub(super) fn guard(&self, inner: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        Arc::new(Guarded {
            inner,
            sharing: self.clone(),
        })
    }

    /// Puts its gauge among the others.
    ///
    /// # Panics
    /// When registered twice in one registry.
    pub fn register(&self, registry: &Registry) {
        let gauge = Box::new(self.gauge.clone());
        registry.register(gauge).expect("each metric is registered once");
    }

    /// Resolves when the node has to end, with the reason: it never saw the cluster's storage.
    pub async fn refused(&self) -> Unshared {
        let mut states = self.state.subscribe();
        loop {
            if let State::Refused(why) = *states.borrow_and_update() {
                return why;
            }
            states.changed().await.expect("the sender is ours");
        }
    }

    /// The first look. Whether work with objects may begin: not where the node has to end.
    pub async fn begin(&self, store: &Store) -> bool {
        // Work begins all the same when nobody answers in time, and the storage stays closed to it.
        let _ = tokio::time::timeout(FIRST_LOOK, self.look_and_tell(store)).await;
        !matches!(*self.state.borrow(), State::Refused(_))
    }

    /// Looks every now and then, until the drain stops or the node has to end.
    pub async fn watch(self, store: Store, drain: Drain) {
        loop {
            let pause = match *self.state.borrow() {
                State::Shared => LOOK_EVERY,
                State::Not(_) => LOOK_AGAIN,
                State::Refused(_) => return,
            };
            tokio::select! {
                () = drain.stopping() => return,
                () = tokio::time::sleep(pause) => {}
            }
            tokio::select! {
                () = drain.stopping() => return,
                () = self.look_and_tell(&store) => {}
            }
        }
    }

    async fn look_and_tell(&self, store: &Store) {
        let before = *self.state.borrow();
        let now = match self.look(store).await {
            Ok(Ok(())) => State::Shared,
            Ok(Err(why)) if before == State::Not(Unshared::Unknown) => State::Refused(why),
            Ok(Err(why)) => State::Not(why),
            // Whatever is asked of it fails by itself; what was known stays true.
            Err(error) => {
                tracing::warn!(%error, "whether object storage is shared is not known");
                return;
            }
        };
        if now != before {
            match now {
                State::Shared => tracing::info!("object storage is the cluster's"),
                State::Not(why) | State::Refused(why) => {
                    tracing::error!(%why, "object storage is not shared");
                }
            }
        }
        self.gauge.set(i64::from(now == State::Shared));
        self.state.send_replace(now);
    }

    async fn look(&self, store: &Store) -> Result<Result<(), Unshared>, LookError> {
        let wanted = match (store.object_storage().await?, self.mark().await?) {
            (Some(wanted), Some(found)) if wanted == found => return Ok(Ok(())),
            (Some(wanted), _) => wanted,
            (None, Some(found)) => store.object_storage_agree(found).await?,
            // Nobody said yet which it is: this one, if no other node is faster.
            (None, None) => store.object_storage_agree(self.make_mark().await?).await?,
        };
        let found = self.mark().await?;
        let is_same = found == Some(wanted);
        Ok(is_same.then_some(()).ok_or(Unshared::Other { wanted }))
    }

    /// The number that lies there, if one does.
    async fn mark(&self) -> Result<Option<StorageId>, Error> {
        let bytes = match self.inner.get(&Path::from(MARK)).await {
            Ok(found) => found.bytes().await?,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        Ok(text.trim().parse().ok())
    }

    /// Puts a number there, unless one is, and gives the one that holds.
    async fn make_mark(&self) -> Result<StorageId, Error> {
        let (ours, once) = (StorageId::generate(), PutOptions::from(PutMode::Create));
        let mark = format!("{ours}\n");
        match self.inner.put_opts(&Path::from(MARK), mark.into(), once).await {
            Ok(_) => Ok(ours),
            Err(Error::AlreadyExists { .. }) => Ok(self.mark().await?.unwrap_or(ours)),
            Err(error) => Err(error),
        }
    }
}

/// A place behind the question whether it is the right one.
#[derive(Debug)]
struct Guarded {
    inner: Arc<dyn ObjectStore>,
    sharing: Sharing,
}

impl Guarded {
    fn open(&self) -> Result<&Arc<dyn ObjectStore>, Error> {
        match *self.sharing.state.borrow() {
            State::Shared => Ok(&self.inner),
            State::Not(why) | State::Refused(why) => Err(Error::Generic {
                store: "objects",
                source: Box::new(why),
            }),
        }
    }
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// One failure, as a listing says it.
fn failed<T: Send + 'static>(error: Error) -> BoxStream<'static, Result<T, Error>> {
    futures::stream::once(async move { Err(error) }).boxed()
}

#[async_trait]
impl ObjectStore for Guarded {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult, Error> {
        self.open()?.put_opts(at, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>, Error> {
        self.open()?.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult, Error> {
        self.open()?.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        gone: BoxStream<'static, Result<Path, Error>>,
    ) -> BoxStream<'static, Result<Path, Error>> {
        match self.open() {
            Ok(inner) => inner.delete_stream(gone),
            Err(error) => failed(error),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta, Error>> {
        match self.open() {
            Ok(inner) => inner.list(prefix),
            Err(error) => failed(error),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult, Error> {
        self.open()?.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<(), Error> {
        self.open()?.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests;
