//! HashiCorp Vault's (or OpenBao's) transit engine.
//!
//! The key there must be `derived`: the context of every call is [`Context::bytes`], so that a wrapped
//! key opens under its own clinic alone. Made once with
//! `vault write transit/keys/medmesh type=aes256-gcm96 derived=true`.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::future::BoxFuture;
use reqwest::Method;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::http::Http;
use super::{Context, Kms, KmsError, Wrapped};
use crate::{DataKey, VaultError, file};

/// How we sign in.
#[derive(Clone, Debug)]
pub enum TransitAuth {
    /// An owner-only file with a token, read for each sign-in so that an agent may renew it.
    TokenFile(PathBuf),
    /// AppRole: the role's id, and an owner-only file with the secret id.
    AppRole {
        /// Which role.
        role_id: String,
        /// Proof of it.
        secret_id_file: PathBuf,
    },
}

/// Which key, and where.
#[derive(Clone, Debug)]
pub struct TransitSettings {
    /// Base URL, `https://vault.example.org:8200`.
    pub url: String,
    /// Where the engine is mounted: `transit`.
    pub mount: String,
    /// Name of the key.
    pub key: String,
    /// Who we are.
    pub auth: TransitAuth,
    /// An authority the system does not know, PEM.
    pub ca_file: Option<PathBuf>,
}

/// The transit engine.
pub struct TransitKms {
    settings: TransitSettings,
    http: Http,
    token: Mutex<Option<Zeroizing<String>>>,
}

impl fmt::Debug for TransitKms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransitKms")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl TransitKms {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// When the authority's file cannot be used.
    pub fn new(settings: TransitSettings) -> Result<Self, VaultError> {
        let ca = match &settings.ca_file {
            Some(path) => Some(std::fs::read(path).map_err(|source| VaultError::File {
                path: path.clone(),
                source,
            })?),
            None => None,
        };
        Ok(Self {
            http: Http::new(ca.as_deref())?,
            settings,
            token: Mutex::default(),
        })
    }

    async fn call(&self, method: Method, path: &str, request: &Value) -> Result<Value, KmsError> {
        let known = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let was_known = known.is_some();
        let token = match known {
            Some(token) => token,
            None => self.sign_in().await?,
        };
        match self.send(method.clone(), path, Some(&token), request).await {
            // The token may have run out: once with a new one.
            Err((403, _)) if was_known => {
                let token = self.sign_in().await?;
                self.send(method, path, Some(&token), request)
                    .await
                    .map_err(|(_, error)| error)
            }
            outcome => outcome.map_err(|(_, error)| error),
        }
    }

    async fn sign_in(&self) -> Result<Zeroizing<String>, KmsError> {
        let read = |path: &PathBuf| {
            let bytes = file::load(path).map_err(|error| KmsError::Unavailable(error.to_string()))?;
            let text = String::from_utf8_lossy(&bytes).trim().to_owned();
            Ok(Zeroizing::new(text))
        };
        let token = match &self.settings.auth {
            TransitAuth::TokenFile(path) => read(path)?,
            TransitAuth::AppRole {
                role_id,
                secret_id_file,
            } => {
                let secret = read(secret_id_file)?;
                let request = json!({ "role_id": role_id, "secret_id": secret.as_str() });
                let answer = self
                    .send(Method::POST, "auth/approle/login", None, &request)
                    .await;
                let answer = answer.map_err(|(_, error)| error)?;
                Zeroizing::new(
                    answer["auth"]["client_token"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned(),
                )
            }
        };
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(token)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        request: &Value,
    ) -> Result<Value, (u16, KmsError)> {
        let url = format!("{}/v1/{path}", self.settings.url.trim_end_matches('/'));
        let mut headers = vec![("content-type", "application/json".to_owned())];
        headers.extend(token.map(|token| ("x-vault-token", token.to_owned())));
        let body = if method == Method::GET {
            Vec::new()
        } else {
            request.to_string().into_bytes()
        };
        let answer = self
            .http
            .send(method, &url, &headers, body)
            .await
            .map_err(|error| (0, error))?;
        match answer.status {
            200 | 204 => Ok(serde_json::from_slice(&answer.body).unwrap_or(Value::Null)),
            // 412, 472, 473: a replica that lags, a standby; 429 and 5xx: overload, sealed.
            status @ (412 | 429 | 472 | 473 | 500..) => {
                Err((status, KmsError::Unavailable(format!("status {status}"))))
            }
            status => Err((status, KmsError::Refused(format!("status {status}")))),
        }
    }

    fn path(&self, verb: &str) -> String {
        format!("{}/{verb}/{}", self.settings.mount, self.settings.key)
    }

    fn wrapped(&self, answer: &Value) -> Result<Wrapped, KmsError> {
        let text = answer["data"]["ciphertext"].as_str().unwrap_or_default();
        // `vault:v3:…`
        let version = text.split(':').nth(1).and_then(|part| part.strip_prefix('v'));
        let version =
            version.ok_or_else(|| KmsError::Unavailable("the answer is not of the protocol".into()))?;
        Ok(Wrapped {
            root: self.root_name(version),
            blob: text.as_bytes().to_vec(),
        })
    }

    fn root_name(&self, version: &str) -> String {
        format!("transit:{}/{}:{version}", self.settings.mount, self.settings.key)
    }
}

fn encoded(context: Context) -> String {
    BASE64_STANDARD.encode(context.bytes())
}

fn ciphertext(wrapped: &Wrapped) -> Result<&str, KmsError> {
    std::str::from_utf8(&wrapped.blob).map_err(|_| KmsError::Refused("wrapped by another KMS".into()))
}

fn key(answer: &Value) -> Result<DataKey, KmsError> {
    let text = answer["data"]["plaintext"].as_str().unwrap_or_default();
    let bytes = Zeroizing::new(BASE64_STANDARD.decode(text).unwrap_or_default());
    DataKey::from_slice(&bytes).map_err(|_| KmsError::Refused("not a key of 32 bytes".into()))
}

impl Kms for TransitKms {
    fn name(&self) -> &'static str {
        "transit"
    }

    fn generate(&self, context: Context) -> BoxFuture<'_, Result<(DataKey, Wrapped), KmsError>> {
        Box::pin(async move {
            let path = format!("{}/datakey/plaintext/{}", self.settings.mount, self.settings.key);
            let request = json!({ "context": encoded(context), "bits": 256 });
            let answer = self.call(Method::POST, &path, &request).await?;
            Ok((key(&answer)?, self.wrapped(&answer)?))
        })
    }

    fn wrap<'a>(&'a self, context: Context, key: &'a DataKey) -> BoxFuture<'a, Result<Wrapped, KmsError>> {
        Box::pin(async move {
            let request = json!({
                "context": encoded(context), "plaintext": BASE64_STANDARD.encode(key.expose()),
            });
            self.wrapped(&self.call(Method::POST, &self.path("encrypt"), &request).await?)
        })
    }

    fn unwrap<'a>(
        &'a self,
        context: Context,
        wrapped: &'a Wrapped,
    ) -> BoxFuture<'a, Result<DataKey, KmsError>> {
        Box::pin(async move {
            let request = json!({ "context": encoded(context), "ciphertext": ciphertext(wrapped)? });
            key(&self.call(Method::POST, &self.path("decrypt"), &request).await?)
        })
    }

    fn rewrap<'a>(
        &'a self,
        context: Context,
        wrapped: &'a Wrapped,
    ) -> BoxFuture<'a, Result<Wrapped, KmsError>> {
        Box::pin(async move {
            let request = json!({ "context": encoded(context), "ciphertext": ciphertext(wrapped)? });
            self.wrapped(&self.call(Method::POST, &self.path("rewrap"), &request).await?)
        })
    }

    fn rotate(&self) -> BoxFuture<'_, Result<(), KmsError>> {
        Box::pin(async move {
            let path = format!("{}/keys/{}/rotate", self.settings.mount, self.settings.key);
            self.call(Method::POST, &path, &json!({})).await.map(|_| ())
        })
    }

    fn root(&self) -> BoxFuture<'_, Result<String, KmsError>> {
        Box::pin(async move {
            let answer = self.call(Method::GET, &self.path("keys"), &Value::Null).await?;
            Ok(self.root_name(&answer["data"]["latest_version"].to_string()))
        })
    }
}
