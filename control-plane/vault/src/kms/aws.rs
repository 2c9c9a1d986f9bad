//! AWS KMS: its JSON protocol, signed with Signature Version 4.
//!
//! The encryption context of every call is [`Context::pairs`], so AWS itself refuses to unwrap a key
//! under another clinic, and CloudTrail says whose key was used. A symmetric key there has
//! material that is replaced ([`Kms::rotate`] asks for it); which material wrapped a key is in
//! [`Wrapped::root`].

use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::http::Http;
use super::sigv4::{Signer, amz_date};
use super::{Context, Kms, KmsError, Wrapped};
use crate::{DataKey, VaultError, file};

/// Errors that pass: everything else will be answered the same again.
const PASSING: [&str; 7] = [
    "ThrottlingException",
    "KMSInternalException",
    "DependencyTimeoutException",
    "KeyUnavailableException",
    "LimitExceededException",
    "ServiceUnavailableException",
    "InternalFailure",
];

/// Where credentials come from. Files are read for each call, so that an agent may renew them.
#[derive(Clone)]
pub enum AwsCredentials {
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`.
    Environment,
    /// An owner-only file in the form of `~/.aws/credentials`; its first profile counts.
    File(PathBuf),
}

impl fmt::Debug for AwsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "Environment",
            Self::File(_) => "File",
        })
    }
}

/// Which key, and where.
#[derive(Clone, Debug)]
pub struct AwsSettings {
    /// Region, `eu-central-1`.
    pub region: String,
    /// Id, ARN or alias of a symmetric key.
    pub key_id: String,
    /// Another address than the region's own (a VPC endpoint).
    pub endpoint: Option<String>,
    /// Who we are.
    pub credentials: AwsCredentials,
}

/// AWS KMS.
#[derive(Debug)]
pub struct AwsKms {
    settings: AwsSettings,
    url: String,
    host: String,
    http: Http,
}

struct Keys {
    id: String,
    secret: Zeroizing<String>,
    token: Option<Zeroizing<String>>,
}

impl AwsKms {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// [`VaultError::Crypto`] when no TLS client can be made.
    pub fn new(settings: AwsSettings) -> Result<Self, VaultError> {
        let base = settings
            .endpoint
            .clone()
            .unwrap_or_else(|| format!("https://kms.{}.amazonaws.com", settings.region));
        let base = base.trim_end_matches('/').to_owned();
        let host = base.split_once("://").map_or("", |(_, host)| host).to_owned();
        Ok(Self {
            url: format!("{base}/"),
            host,
            http: Http::new(None)?,
            settings,
        })
    }

    async fn call(&self, action: &str, request: &Value) -> Result<Value, KmsError> {
        let keys = credentials(&self.settings.credentials)?;
        let body = serde_json::to_vec(request).expect("strings are JSON");
        let target = format!("TrentService.{action}");
        let date = amz_date(OffsetDateTime::now_utc());
        let mut headers = vec![
            ("content-type", "application/x-amz-json-1.1"),
            ("host", &self.host),
            ("x-amz-date", &date),
        ];
        if let Some(token) = &keys.token {
            headers.push(("x-amz-security-token", token));
        }
        headers.push(("x-amz-target", &target));
        let signer = Signer {
            access_key_id: &keys.id,
            secret_access_key: &keys.secret,
            region: &self.settings.region,
            service: "kms",
        };
        let authorization = signer.authorization("POST", "/", &headers, &body);
        let mut sent: Vec<(&str, String)> = headers
            .into_iter()
            .map(|(name, value)| (name, value.to_owned()))
            .collect();
        sent.push(("authorization", authorization));
        let answer = self
            .http
            .send(reqwest::Method::POST, &self.url, &sent, body)
            .await?;
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        if answer.status == 200 {
            return Ok(value);
        }
        // `com.amazonaws.kms#NotFoundException` in some versions of the protocol.
        let kind = value["__type"].as_str().unwrap_or_default();
        let kind = kind.rsplit('#').next().unwrap_or_default();
        let word: String = kind
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(64)
            .collect();
        let said = format!("{action}: {} {word}", answer.status);
        if answer.status >= 500 || answer.status == 429 || PASSING.contains(&kind) {
            Err(KmsError::Unavailable(said))
        } else {
            Err(KmsError::Refused(said))
        }
    }

    fn wrapped(&self, answer: &Value) -> Result<Wrapped, KmsError> {
        Ok(Wrapped {
            root: self.root_name(
                answer["KeyMaterialId"]
                    .as_str()
                    .or(answer["DestinationKeyMaterialId"].as_str()),
            ),
            blob: bytes(&answer["CiphertextBlob"])?.to_vec(),
        })
    }

    fn root_name(&self, material: Option<&str>) -> String {
        format!("aws:{}:{}", self.settings.key_id, material.unwrap_or_default())
    }
}

fn context_json(context: Context) -> Value {
    Value::Object(
        context
            .pairs()
            .map(|(name, value)| (name.to_owned(), Value::String(value)))
            .into_iter()
            .collect(),
    )
}

fn bytes(value: &Value) -> Result<Zeroizing<Vec<u8>>, KmsError> {
    let text = value.as_str().unwrap_or_default();
    let bytes = BASE64_STANDARD.decode(text).unwrap_or_default();
    if bytes.is_empty() {
        return Err(KmsError::Unavailable("the answer is not of the protocol".into()));
    }
    Ok(Zeroizing::new(bytes))
}

fn key(value: &Value) -> Result<DataKey, KmsError> {
    DataKey::from_slice(&bytes(value)?).map_err(|_| KmsError::Refused("not a key of 32 bytes".into()))
}

fn credentials(from: &AwsCredentials) -> Result<Keys, KmsError> {
    let missing = || KmsError::Unavailable("no AWS credentials".into());
    match from {
        AwsCredentials::Environment => {
            let get = |name| std::env::var(name).ok();
            Ok(Keys {
                id: get("AWS_ACCESS_KEY_ID").ok_or_else(missing)?,
                secret: Zeroizing::new(get("AWS_SECRET_ACCESS_KEY").ok_or_else(missing)?),
                token: get("AWS_SESSION_TOKEN").map(Zeroizing::new),
            })
        }
        AwsCredentials::File(path) => {
            let text = file::load(path).map_err(|error| KmsError::Unavailable(error.to_string()))?;
            let text = std::str::from_utf8(&text).map_err(|_| missing())?;
            let get = |wanted: &str| {
                let lines = text.lines().filter_map(|line| line.split_once('='));
                let mut values = lines.filter(|(name, _)| name.trim() == wanted);
                values.next().map(|(_, value)| value.trim().to_owned())
            };
            Ok(Keys {
                id: get("aws_access_key_id").ok_or_else(missing)?,
                secret: Zeroizing::new(get("aws_secret_access_key").ok_or_else(missing)?),
                token: get("aws_session_token").map(Zeroizing::new),
            })
        }
    }
}

impl Kms for AwsKms {
    fn name(&self) -> &'static str {
        "aws"
    }

    fn generate(&self, context: Context) -> BoxFuture<'_, Result<(DataKey, Wrapped), KmsError>> {
        Box::pin(async move {
            let request = json!({
                "KeyId": self.settings.key_id, "KeySpec": "AES_256", "EncryptionContext": context_json(context),
            });
            let answer = self.call("GenerateDataKey", &request).await?;
            Ok((key(&answer["Plaintext"])?, self.wrapped(&answer)?))
        })
    }

    fn wrap<'a>(&'a self, context: Context, key: &'a DataKey) -> BoxFuture<'a, Result<Wrapped, KmsError>> {
        Box::pin(async move {
            let request = json!({
                "KeyId": self.settings.key_id, "Plaintext": BASE64_STANDARD.encode(key.expose()),
                "EncryptionContext": context_json(context),
            });
            let answer = self.call("Encrypt", &request).await?;
            self.wrapped(&answer)
        })
    }

    fn unwrap<'a>(
        &'a self,
        context: Context,
        wrapped: &'a Wrapped,
    ) -> BoxFuture<'a, Result<DataKey, KmsError>> {
        Box::pin(async move {
            // Naming the key refuses blobs that somebody wrapped under a key of their own.
            let request = json!({
                "KeyId": self.settings.key_id, "CiphertextBlob": BASE64_STANDARD.encode(&wrapped.blob),
                "EncryptionContext": context_json(context),
            });
            key(&self.call("Decrypt", &request).await?["Plaintext"])
        })
    }

    fn rewrap<'a>(
        &'a self,
        context: Context,
        wrapped: &'a Wrapped,
    ) -> BoxFuture<'a, Result<Wrapped, KmsError>> {
        Box::pin(async move {
            let request = json!({
                "SourceKeyId": self.settings.key_id, "DestinationKeyId": self.settings.key_id,
                "CiphertextBlob": BASE64_STANDARD.encode(&wrapped.blob),
                "SourceEncryptionContext": context_json(context),
                "DestinationEncryptionContext": context_json(context),
            });
            let answer = self.call("ReEncrypt", &request).await?;
            self.wrapped(&answer)
        })
    }

    fn rotate(&self) -> BoxFuture<'_, Result<(), KmsError>> {
        Box::pin(async move {
            let request = json!({ "KeyId": self.settings.key_id });
            self.call("RotateKeyOnDemand", &request).await.map(|_| ())
        })
    }

    fn root(&self) -> BoxFuture<'_, Result<String, KmsError>> {
        Box::pin(async move {
            let answer = self
                .call("DescribeKey", &json!({ "KeyId": self.settings.key_id }))
                .await?;
            Ok(self.root_name(answer["KeyMetadata"]["CurrentKeyMaterialId"].as_str()))
        })
    }
}
