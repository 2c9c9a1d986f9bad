//! Proving who one is, and looking after one's second factors and devices.

use medmesh_api_types::Secret;
use medmesh_api_types::account::{
    Invitation, InvitationCreate, LinkRedeem, PasswordChange, RegistrationComplete, RegistrationRequest,
    ResetRequest,
};
use medmesh_api_types::factor::{
    Device, Enrolment, Factors, PasskeyAssertion, PasskeyCreation, PasskeyRegistration, PasskeyRequest,
    Proof, RecoveryCodes, TotpConfirm, TotpSetup,
};
use medmesh_api_types::page::List;
use medmesh_api_types::session::Session;
use medmesh_base::{Phi, SessionId};
use reqwest::Method;
use reqwest::header::HeaderMap;
use uuid::Uuid;

use crate::transport::encode;
use crate::{ClientError, Clinic, IdempotencyKey};

impl Clinic {
    /// What to ask a passkey for, to sign in with it alone.
    ///
    /// # Errors
    /// [`ClientError`], as for every call below.
    pub async fn passkey_options(&self) -> Result<PasskeyRequest, ClientError> {
        self.post("/v1/auth/passkey/options").await
    }

    /// Signs in with a passkey.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn passkey_login(&self, credential: &PasskeyAssertion) -> Result<Session, ClientError> {
        self.sign_in("/v1/auth/passkey/login", encode(credential)?).await
    }

    /// What to ask a passkey for, to prove oneself within a session.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn mfa_passkey_options(&self) -> Result<PasskeyRequest, ClientError> {
        self.post("/v1/auth/mfa/passkey/options").await
    }

    /// The second step of signing in.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn mfa_verify(&self, proof: &Proof) -> Result<Session, ClientError> {
        self.send_body("/v1/auth/mfa/verify", encode(proof)?).await
    }

    /// Proves again that it is the person.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn step_up(&self, proof: &Proof) -> Result<Session, ClientError> {
        self.send_body("/v1/auth/step-up", encode(proof)?).await
    }

    /// What the person can prove themselves with.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn factor_list(&self) -> Result<Factors, ClientError> {
        self.get("/v1/auth/mfa").await
    }

    /// Begins to set up an authenticator app.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn totp_begin(&self) -> Result<TotpSetup, ClientError> {
        self.post("/v1/auth/mfa/totp").await
    }

    /// Puts it into use with its first code.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn totp_confirm(&self, code: &str) -> Result<Enrolment, ClientError> {
        let confirm = TotpConfirm {
            code: Secret::new(code),
        };
        self.send_body("/v1/auth/mfa/totp/confirm", encode(&confirm)?)
            .await
    }

    /// Forgets the authenticator app.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn totp_remove(&self) -> Result<(), ClientError> {
        self.delete("/v1/auth/mfa/totp").await
    }

    /// What to ask a device for, to make a passkey.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn passkey_begin(&self) -> Result<PasskeyCreation, ClientError> {
        self.post("/v1/auth/mfa/passkeys/options").await
    }

    /// Keeps a new passkey.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn passkey_add(&self, credential: &PasskeyRegistration) -> Result<Enrolment, ClientError> {
        self.send_body("/v1/auth/mfa/passkeys", encode(credential)?).await
    }

    /// Forgets a passkey.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn passkey_remove(&self, id: Uuid) -> Result<(), ClientError> {
        self.delete(&format!("/v1/auth/mfa/passkeys/{id}")).await
    }

    /// New recovery codes.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn recovery_codes_replace(&self) -> Result<RecoveryCodes, ClientError> {
        self.post("/v1/auth/mfa/recovery-codes").await
    }

    /// Invites a person.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn invitation_create(
        &self,
        key: &IdempotencyKey,
        new: &InvitationCreate,
    ) -> Result<Invitation, ClientError> {
        self.create("/v1/invitations", key, new).await
    }

    /// Asks for a link that sets a new password.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reset_request(&self, email: &str) -> Result<(), ClientError> {
        let request = ResetRequest {
            email: Phi::new(email.to_owned()),
        };
        self.send_body("/v1/auth/reset", encode(&request)?).await
    }

    /// Sets the password by a link.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn link_redeem(&self, token: &str, password: &str) -> Result<(), ClientError> {
        let redeem = LinkRedeem {
            token: Secret::new(token),
            password: Secret::new(password),
        };
        self.send_body("/v1/auth/link", encode(&redeem)?).await
    }

    /// Asks to register as a patient.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn registration_request(&self, request: &RegistrationRequest) -> Result<(), ClientError> {
        self.send_body("/v1/auth/registration", encode(request)?).await
    }

    /// Completes a registration by its link.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn registration_complete(&self, complete: &RegistrationComplete) -> Result<(), ClientError> {
        self.send_body("/v1/auth/registration/complete", encode(complete)?)
            .await
    }

    /// Changes the password.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn password_change(&self, password: &str) -> Result<(), ClientError> {
        let change = PasswordChange {
            password: Secret::new(password),
        };
        self.send_body("/v1/auth/password", encode(&change)?).await
    }

    /// Where the person is signed in.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn session_list(&self) -> Result<List<Device>, ClientError> {
        self.get("/v1/auth/sessions").await
    }

    /// Signs one device out.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn session_revoke(&self, id: SessionId) -> Result<(), ClientError> {
        self.delete(&format!("/v1/auth/sessions/{id}")).await
    }

    /// Signs every device out but this one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn session_revoke_others(&self) -> Result<(), ClientError> {
        self.post("/v1/auth/sessions/revoke-others").await
    }

    async fn send_body<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        body: Vec<u8>,
    ) -> Result<T, ClientError> {
        self.call(Method::POST, path, HeaderMap::new(), Some(body)).await
    }

    async fn delete(&self, path: &str) -> Result<(), ClientError> {
        self.call(Method::DELETE, path, HeaderMap::new(), None).await
    }
}
