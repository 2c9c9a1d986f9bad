//! One file of a copy on its way to object storage: signed in plain, sealed, sent.

use medmesh_clinic::SignedCopy;
use medmesh_vault::stream::ObjectSealer;
use medmesh_vault::{DetachedSigner, Field, Key};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, WriteMultipart};
use serde::Serialize;

use super::CopyError;

/// Parts under way at once: with five megabytes each, what one file holds in memory.
const PARTS_AT_ONCE: usize = 2;

/// A file in the making. Dropped unfinished, nothing of it is kept.
pub(super) struct SealedFile {
    upload: WriteMultipart,
    sealer: ObjectSealer,
    signer: DetachedSigner,
    size_bytes: u64,
}

impl SealedFile {
    pub(super) async fn begin(
        objects: &dyn ObjectStore,
        place: &Path,
        key: &Key,
        field: &Field<'_>,
        signer: DetachedSigner,
    ) -> Result<Self, CopyError> {
        let (sealer, head) = ObjectSealer::begin(key, field)?;
        let mut upload = WriteMultipart::new(objects.put_multipart(place).await?);
        upload.write(&head);
        Ok(Self {
            upload,
            sealer,
            signer,
            size_bytes: 0,
        })
    }

    pub(super) async fn write(&mut self, plain: &[u8]) -> Result<(), CopyError> {
        self.signer.update(plain);
        self.size_bytes += plain.len() as u64;
        let sealed = self.sealer.push(plain)?;
        self.upload.wait_for_capacity(PARTS_AT_ONCE).await?;
        self.upload.write(&sealed);
        Ok(())
    }

    pub(super) async fn finish(mut self) -> Result<SignedCopy, CopyError> {
        let last = self.sealer.finish()?;
        self.upload.write(&last);
        self.upload.finish().await?;
        Ok(SignedCopy {
            size_bytes: self.size_bytes,
            signature: self.signer.finish()?,
        })
    }
}

/// A JSON object with lists in it that need not be in memory: `{head…, "name": [item, …], …}`.
pub(super) struct JsonFile {
    file: SealedFile,
    is_empty: bool,
}

impl JsonFile {
    /// Begins with the members of `head`, which is an object with at least one.
    pub(super) async fn begin(mut file: SealedFile, head: &impl Serialize) -> Result<Self, CopyError> {
        let mut text = serde_json::to_vec(head)?;
        debug_assert_eq!(text.last(), Some(&b'}'), "an object");
        text.pop();
        file.write(&text).await?;
        Ok(Self { file, is_empty: true })
    }

    /// Begins a list.
    pub(super) async fn list(&mut self, name: &str) -> Result<(), CopyError> {
        self.is_empty = true;
        self.file.write(format!(",\n\"{name}\":[").as_bytes()).await
    }

    /// Adds to the list.
    pub(super) async fn items<T: Serialize>(&mut self, items: &[T]) -> Result<(), CopyError> {
        let mut text = Vec::new();
        for item in items {
            if !std::mem::take(&mut self.is_empty) {
                text.push(b',');
            }
            text.push(b'\n');
            serde_json::to_writer(&mut text, item)?;
        }
        self.file.write(&text).await
    }

    /// Ends the list.
    pub(super) async fn end(&mut self) -> Result<(), CopyError> {
        self.file.write(b"]").await
    }

    /// Ends the object.
    pub(super) async fn finish(mut self) -> Result<SignedCopy, CopyError> {
        self.file.write(b"}\n").await?;
        self.file.finish().await
    }
}
