//! Licences, NPIs and DEA numbers.

use medmesh_api_types::credential::{Credential, CredentialQuery, CredentialReject, CredentialSubmit};
use medmesh_api_types::page::{List, Page};
use medmesh_base::{CredentialId, Phi};
use reqwest::Method;
use reqwest::header::HeaderMap;

use crate::clinic::{if_match, with_query};
use crate::transport::encode;
use crate::{ClientError, Clinic, IdempotencyKey};

impl Clinic {
    /// States a credential of one's own.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn credential_submit(
        &self,
        key: &IdempotencyKey,
        credential: &CredentialSubmit,
    ) -> Result<Credential, ClientError> {
        self.create("/v1/credentials", key, credential).await
    }

    /// What one has stated.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn credential_mine(&self) -> Result<List<Credential>, ClientError> {
        self.get("/v1/credentials/mine").await
    }

    /// The clinic's credentials.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn credential_list(&self, query: &CredentialQuery) -> Result<Page<Credential>, ClientError> {
        self.get(&with_query("/v1/credentials", query)?).await
    }

    /// Finds a credential true.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn credential_verify(&self, id: CredentialId, version: i64) -> Result<Credential, ClientError> {
        self.judge(id, "verify", version, None).await
    }

    /// Finds that a credential is not true.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn credential_reject(
        &self,
        id: CredentialId,
        version: i64,
        reason: &str,
    ) -> Result<Credential, ClientError> {
        let reject = CredentialReject {
            reason: Phi::new(reason.to_owned()),
        };
        self.judge(id, "reject", version, Some(encode(&reject)?)).await
    }

    /// Takes back what one stated.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn credential_withdraw(
        &self,
        id: CredentialId,
        version: i64,
    ) -> Result<Credential, ClientError> {
        self.judge(id, "withdraw", version, None).await
    }

    async fn judge(
        &self,
        id: CredentialId,
        verb: &str,
        version: i64,
        body: Option<Vec<u8>>,
    ) -> Result<Credential, ClientError> {
        let headers: HeaderMap = if_match(version);
        self.call(
            Method::POST,
            &format!("/v1/credentials/{id}/{verb}"),
            headers,
            body,
        )
        .await
    }
}
