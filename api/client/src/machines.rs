//! The clinic's machines, as its admins keep them.

use medmesh_api_types::client::{Client, ClientCreate, ClientQuery, ClientUpdate};
use medmesh_api_types::page::Page;
use medmesh_base::ClientId;
use reqwest::Method;

use crate::clinic::{if_match, with_query};
use crate::transport::encode;
use crate::{ClientError, Clinic, IdempotencyKey};

impl Clinic {
    /// Registers a machine.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn client_create(
        &self,
        key: &IdempotencyKey,
        new: &ClientCreate,
    ) -> Result<Client, ClientError> {
        self.create("/v1/clients", key, new).await
    }

    /// A page of the clinic's machines.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn client_list(&self, query: &ClientQuery) -> Result<Page<Client>, ClientError> {
        self.get(&with_query("/v1/clients", query)?).await
    }

    /// One of them.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn client_get(&self, id: ClientId) -> Result<Client, ClientError> {
        self.get(&format!("/v1/clients/{id}")).await
    }

    /// Changes one that is still at `version`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn client_update(
        &self,
        id: ClientId,
        version: i64,
        update: &ClientUpdate,
    ) -> Result<Client, ClientError> {
        let path = format!("/v1/clients/{id}");
        self.call(Method::PATCH, &path, if_match(version), Some(encode(update)?))
            .await
    }
}
