//! Copies of a whole record, and the keys that verify them.

use medmesh_api_types::page::{Page, PageQuery};
use medmesh_api_types::record_export::{ExportForm, PublicKeys, RecordExport, RecordExportCreate};
use medmesh_base::{PersonId, RecordExportId};

use crate::clinic::with_query;
use crate::{ClientError, Clinic, IdempotencyKey};

impl Clinic {
    /// Asks for a copy of everything one's record holds, with a fresh proof.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn record_export_create(
        &self,
        key: &IdempotencyKey,
        patient: PersonId,
    ) -> Result<RecordExport, ClientError> {
        let path = format!("/v1/patients/{patient}/exports");
        self.create(&path, key, &RecordExportCreate {}).await
    }

    /// Which copies there are, and were.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn record_export_list(
        &self,
        patient: PersonId,
        query: &PageQuery,
    ) -> Result<Page<RecordExport>, ClientError> {
        self.get(&with_query(&format!("/v1/patients/{patient}/exports"), query)?)
            .await
    }

    /// How one copy stands.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn record_export_get(
        &self,
        patient: PersonId,
        id: RecordExportId,
    ) -> Result<RecordExport, ClientError> {
        self.get(&format!("/v1/patients/{patient}/exports/{id}")).await
    }

    /// The bytes of a copy, with a fresh proof.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn record_export_download(
        &self,
        patient: PersonId,
        id: RecordExportId,
        form: ExportForm,
    ) -> Result<Vec<u8>, ClientError> {
        let form = match form {
            ExportForm::Json => "json",
            ExportForm::Fhir => "fhir",
        };
        let path = format!("/v1/patients/{patient}/exports/{id}/content?form={form}");
        Ok(self.download(&path).await?.0)
    }

    /// The public keys of the installation's signatures.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn jwks_get(&self) -> Result<PublicKeys, ClientError> {
        self.get("/v1/jwks").await
    }
}
