//! A copy on its way to its patient: opened as it is sent.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt as _;
use medmesh_clinic::RecordExport;
use medmesh_store::{CopyForm, StoreError, Tx};
use medmesh_vault::stream::ObjectOpener;
use medmesh_vault::{Field, Header, Key};
use object_store::{GetResult, ObjectStore, ObjectStoreExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Pieces that wait for a slow reader, some 64 kB each.
const PIECES_AHEAD: usize = 4;

/// A copy cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    /// Its objects, or the key they were sealed with, are gone.
    #[error("the copy is gone")]
    Gone,
    /// The database or the keys failed.
    #[error(transparent)]
    Store(StoreError),
    /// Object storage failed.
    #[error("object storage")]
    Objects(#[from] object_store::Error),
    /// The object is not what was stored.
    #[error("the object is damaged")]
    Damaged,
}

/// The plain bytes of one form of a copy, as a body that is opened while it is read. One that breaks
/// off ends the connection without its end: it is never a shorter file.
pub(crate) async fn take(
    objects: &Arc<dyn ObjectStore>,
    tx: &mut Tx,
    export: &RecordExport,
    form: CopyForm,
) -> Result<Body, TakeError> {
    let (clinic, id) = (tx.clinic_id(), export.id);
    let object = export.object_id.ok_or(TakeError::Gone)?;
    let found = match objects.get(&super::place(clinic, export, object, form)).await {
        Ok(found) => found,
        Err(object_store::Error::NotFound { .. }) => return Err(TakeError::Gone),
        Err(error) => return Err(error.into()),
    };
    let mut pieces = found_stream(found);
    let first = pieces.next().await.ok_or(TakeError::Damaged)??;
    let header = Header::read(&first).map_err(|_| TakeError::Damaged)?;
    let key = match tx
        .record_export_key(export.patient_id, Some(header.key_version))
        .await
    {
        Ok(key) => key,
        Err(StoreError::NotFound) => return Err(TakeError::Gone),
        Err(error) => return Err(TakeError::Store(error)),
    };
    let (send, receive) = mpsc::channel(PIECES_AHEAD);
    tokio::spawn(async move {
        if let Err(error) = open(&key, form.field(clinic, id), first, pieces, &send).await {
            tracing::warn!(%error, "a copy broke off on its way");
            // Whoever reads sees an error, and not the end.
            let _ = send.send(Err(error)).await;
        }
    });
    Ok(Body::from_stream(ReceiverStream::new(receive)))
}

type Pieces = futures::stream::BoxStream<'static, Result<Bytes, object_store::Error>>;

fn found_stream(found: GetResult) -> Pieces {
    found.into_stream()
}

async fn open(
    key: &Key,
    field: Field<'static>,
    first: Bytes,
    mut pieces: Pieces,
    send: &mpsc::Sender<Result<Bytes, TakeError>>,
) -> Result<(), TakeError> {
    let mut opener = ObjectOpener::new(key, field);
    let mut next = Some(first);
    while let Some(piece) = next {
        let plain = opener.push(&piece).map_err(|_| TakeError::Damaged)?;
        if !plain.is_empty() && send.send(Ok(Bytes::copy_from_slice(&plain))).await.is_err() {
            // Whoever asked is gone.
            return Ok(());
        }
        next = pieces.next().await.transpose()?;
    }
    let last = opener.finish().map_err(|_| TakeError::Damaged)?;
    // As above.
    let _ = send.send(Ok(Bytes::copy_from_slice(&last))).await;
    Ok(())
}
