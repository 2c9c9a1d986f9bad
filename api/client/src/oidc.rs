//! Signing in with an outside provider: which one, and one's identities there. The sign-in itself
//! is a browser's.

use medmesh_api_types::oidc::{OidcProvider, OidcProviderSet, OutsideIdentity};
use medmesh_api_types::page::List;
use medmesh_base::IdentityId;
use reqwest::Method;
use reqwest::header::HeaderMap;

use crate::clinic::if_match;
use crate::transport::encode;
use crate::{ClientError, Clinic};

impl Clinic {
    /// The provider the clinic's people may sign in with.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn oidc_provider_get(&self) -> Result<OidcProvider, ClientError> {
        self.get("/v1/clinic/oidc").await
    }

    /// Says which; `version` 0 when there is none yet.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn oidc_provider_set(
        &self,
        version: i64,
        provider: &OidcProviderSet,
    ) -> Result<OidcProvider, ClientError> {
        let body = encode(provider)?;
        self.call(Method::PUT, "/v1/clinic/oidc", if_match(version), Some(body))
            .await
    }

    /// One's identities at outside providers.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn identity_list(&self) -> Result<List<OutsideIdentity>, ClientError> {
        self.get("/v1/auth/oidc/identities").await
    }

    /// Forgets one of them.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn identity_unlink(&self, id: IdentityId) -> Result<(), ClientError> {
        let path = format!("/v1/auth/oidc/identities/{id}");
        self.call(Method::DELETE, &path, HeaderMap::new(), None).await
    }
}
