//! What patients want corrected.

use medmesh_api_types::correction::{
    Correction, CorrectionCreate, CorrectionDecline, CorrectionDisagree, CorrectionQuery,
};
use medmesh_api_types::page::{Page, PageQuery};
use medmesh_base::{CorrectionId, PersonId};
use reqwest::Method;

use crate::clinic::{if_match, with_query};
use crate::transport::encode;
use crate::{ClientError, Clinic, IdempotencyKey};

impl Clinic {
    /// Asks for a correction.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn correction_create(
        &self,
        key: &IdempotencyKey,
        patient: PersonId,
        new: &CorrectionCreate,
    ) -> Result<Correction, ClientError> {
        self.create(&format!("/v1/patients/{patient}/corrections"), key, new)
            .await
    }

    /// What a patient wants corrected.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn correction_list(
        &self,
        patient: PersonId,
        query: &PageQuery,
    ) -> Result<Page<Correction>, ClientError> {
        self.get(&with_query(
            &format!("/v1/patients/{patient}/corrections"),
            query,
        )?)
        .await
    }

    /// What patients in reach want corrected.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn correction_queue(&self, query: &CorrectionQuery) -> Result<Page<Correction>, ClientError> {
        self.get(&with_query("/v1/corrections", query)?).await
    }

    /// Agrees that something is to be corrected.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn correction_accept(&self, id: CorrectionId, version: i64) -> Result<Correction, ClientError> {
        let path = format!("/v1/corrections/{id}/accept");
        self.call(Method::POST, &path, if_match(version), None).await
    }

    /// Declines to correct it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn correction_decline(
        &self,
        id: CorrectionId,
        version: i64,
        decline: &CorrectionDecline,
    ) -> Result<Correction, ClientError> {
        let path = format!("/v1/corrections/{id}/decline");
        self.call(Method::POST, &path, if_match(version), Some(encode(decline)?))
            .await
    }

    /// Puts on record that one disagrees.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn correction_disagree(
        &self,
        id: CorrectionId,
        version: i64,
        disagree: &CorrectionDisagree,
    ) -> Result<Correction, ClientError> {
        let path = format!("/v1/corrections/{id}/disagree");
        self.call(Method::POST, &path, if_match(version), Some(encode(disagree)?))
            .await
    }
}
