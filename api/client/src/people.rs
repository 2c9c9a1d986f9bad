//! What people are to the clinic, and what they call their second factors.

use medmesh_api_types::factor::{FactorRename, Passkey, TotpFactor};
use medmesh_api_types::person::{Person, PersonUpdate};
use medmesh_base::{PersonId, Phi};
use reqwest::Method;
use uuid::Uuid;

use crate::clinic::if_match;
use crate::transport::encode;
use crate::{ClientError, Clinic};

impl Clinic {
    /// Changes what a person is to the clinic.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn person_update(
        &self,
        id: PersonId,
        version: i64,
        update: &PersonUpdate,
    ) -> Result<Person, ClientError> {
        let path = format!("/v1/people/{id}");
        self.call(Method::PATCH, &path, if_match(version), Some(encode(update)?))
            .await
    }

    /// Names one of one's passkeys.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn passkey_rename(&self, id: Uuid, version: i64, name: &str) -> Result<Passkey, ClientError> {
        let path = format!("/v1/auth/mfa/passkeys/{id}");
        let body = encode(&rename(name))?;
        self.call(Method::PATCH, &path, if_match(version), Some(body))
            .await
    }

    /// Names one's authenticator app.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn totp_rename(&self, version: i64, name: &str) -> Result<TotpFactor, ClientError> {
        let body = encode(&rename(name))?;
        self.call(Method::PATCH, "/v1/auth/mfa/totp", if_match(version), Some(body))
            .await
    }
}

fn rename(name: &str) -> FactorRename {
    FactorRename {
        name: Phi::new(name.to_owned()),
    }
}
