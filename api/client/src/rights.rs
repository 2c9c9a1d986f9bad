//! What patients may ask of their record as a whole.

use medmesh_api_types::rights::{RecordRights, RecordRightsSet};
use medmesh_base::PersonId;
use reqwest::Method;

use crate::clinic::if_match;
use crate::transport::encode;
use crate::{ClientError, Clinic};

impl Clinic {
    /// What a patient asked.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn record_rights_get(&self, patient: PersonId) -> Result<RecordRights, ClientError> {
        self.get(&format!("/v1/patients/{patient}/rights")).await
    }

    /// Lets the record rest, or go; or takes that back.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn record_rights_set(
        &self,
        patient: PersonId,
        version: i64,
        set: RecordRightsSet,
    ) -> Result<RecordRights, ClientError> {
        let path = format!("/v1/patients/{patient}/rights");
        self.call(Method::PUT, &path, if_match(version), Some(encode(&set)?))
            .await
    }
}
