//! The two KMS a network away, against simulators that hold real keys, check signatures, tokens and
//! contexts, and answer errors as the real ones do.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use medmesh_base::ClinicId;
use serde_json::{Value, json};
use uuid::Uuid;

use super::server::{Request, Response, serve};
use crate::DataKey;
use crate::kms::{
    AwsCredentials, AwsKms, AwsSettings, Context, Kms, KmsError, TransitAuth, TransitKms, TransitSettings,
    Wrapped,
};

fn context(n: u128) -> Context {
    Context {
        clinic: Some(ClinicId::from_uuid(Uuid::from_u128(n))),
        version: 1,
    }
}

/// Versions of one key: seals `version | nonce | text` bound to a context.
struct Versions(Mutex<Vec<RandomizedNonceKey>>);

impl Versions {
    fn new() -> Self {
        let versions = Self(Mutex::default());
        versions.add();
        versions
    }

    fn add(&self) {
        let key = RandomizedNonceKey::new(&AES_256_GCM, DataKey::generate().unwrap().expose()).unwrap();
        self.0.lock().unwrap().push(key);
    }

    fn latest(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        let keys = self.0.lock().unwrap();
        let mut text = plain.to_vec();
        let nonce = keys
            .last()
            .unwrap()
            .seal_in_place_append_tag(Aad::from(context), &mut text)
            .unwrap();
        [&[keys.len() as u8], nonce.as_ref().as_slice(), &text].concat()
    }

    fn open(&self, context: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let keys = self.0.lock().unwrap();
        let key = keys.get(usize::from(*sealed.first()?).checked_sub(1)?)?;
        let nonce = Nonce::try_assume_unique_for_key(sealed.get(1..=NONCE_LEN)?).ok()?;
        let mut text = sealed[1 + NONCE_LEN..].to_vec();
        Some(
            key.open_in_place(nonce, Aad::from(context), &mut text)
                .ok()?
                .to_vec(),
        )
    }
}

fn decoded(value: &Value) -> Vec<u8> {
    BASE64_STANDARD
        .decode(value.as_str().unwrap_or_default())
        .unwrap_or_default()
}

fn encoded(bytes: &[u8]) -> Value {
    BASE64_STANDARD.encode(bytes).into()
}

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// AWS KMS as its API reference has it.
struct Aws {
    versions: Versions,
    /// Answered to everything while it is not 0.
    broken: AtomicU16,
}

impl Aws {
    fn answer(&self, request: &Request) -> Response {
        let fault = |status, kind: &str| (status, json!({ "__type": format!("com.amazonaws.kms#{kind}") }));
        match self.broken.load(Ordering::SeqCst) {
            0 => {}
            400 => return fault(400, "ThrottlingException"),
            status => return fault(status, "KMSInternalException"),
        }
        if let Err(kind) = self.check_signature(request) {
            return fault(400, kind);
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let action = request.headers["x-amz-target"]
            .strip_prefix("TrentService.")
            .unwrap();
        let key = ["KeyId", "DestinationKeyId"]
            .iter()
            .find_map(|name| body[*name].as_str());
        if key != Some("alias/medmesh") {
            return fault(400, "NotFoundException");
        }
        let context = body["EncryptionContext"].to_string();
        let material = format!("material-{}", self.versions.latest());
        match action {
            "GenerateDataKey" => {
                assert_eq!(body["KeySpec"], "AES_256");
                let key = DataKey::generate().unwrap();
                let blob = self.versions.seal(&context, key.expose());
                (
                    200,
                    json!({ "Plaintext": encoded(key.expose()), "CiphertextBlob": encoded(&blob), "KeyMaterialId": material }),
                )
            }
            "Encrypt" => {
                let blob = self.versions.seal(&context, &decoded(&body["Plaintext"]));
                (
                    200,
                    json!({ "CiphertextBlob": encoded(&blob), "KeyMaterialId": material }),
                )
            }
            "Decrypt" => match self.versions.open(&context, &decoded(&body["CiphertextBlob"])) {
                Some(plain) => (200, json!({ "Plaintext": encoded(&plain) })),
                None => fault(400, "InvalidCiphertextException"),
            },
            "ReEncrypt" => {
                let source = body["SourceEncryptionContext"].to_string();
                match self.versions.open(&source, &decoded(&body["CiphertextBlob"])) {
                    Some(plain) => {
                        let blob = self
                            .versions
                            .seal(&body["DestinationEncryptionContext"].to_string(), &plain);
                        (
                            200,
                            json!({ "CiphertextBlob": encoded(&blob), "DestinationKeyMaterialId": material }),
                        )
                    }
                    None => fault(400, "InvalidCiphertextException"),
                }
            }
            "RotateKeyOnDemand" => {
                self.versions.add();
                (200, json!({ "KeyId": "alias/medmesh" }))
            }
            "DescribeKey" => (
                200,
                json!({ "KeyMetadata": { "CurrentKeyMaterialId": material } }),
            ),
            _ => fault(400, "UnknownOperationException"),
        }
    }

    /// Computes the signature anew from what came over the wire.
    fn check_signature(&self, request: &Request) -> Result<(), &'static str> {
        let given = request
            .headers
            .get("authorization")
            .ok_or("MissingAuthenticationTokenException")?;
        let signed = given
            .split("SignedHeaders=")
            .nth(1)
            .and_then(|rest| rest.split(',').next());
        let names: Vec<&str> = signed.ok_or("IncompleteSignatureException")?.split(';').collect();
        for required in ["host", "x-amz-date", "x-amz-target", "content-type"] {
            if !names.contains(&required) {
                return Err("IncompleteSignatureException");
            }
        }
        let headers: Vec<(&str, &str)> = names
            .iter()
            .map(|name| (*name, request.headers.get(*name).map_or("", String::as_str)))
            .collect();
        let signer = crate::kms::Signer {
            access_key_id: "AKIDEXAMPLE",
            secret_access_key: SECRET,
            region: "eu-central-1",
            service: "kms",
        };
        let right = signer.authorization(&request.method, &request.path, &headers, &request.body);
        if *given == right {
            Ok(())
        } else {
            Err("InvalidSignatureException")
        }
    }
}

fn aws_credentials(dir: &tempfile::TempDir, secret: &str) -> AwsCredentials {
    let path = dir.path().join("credentials");
    let text = format!(
        "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = {secret}\naws_session_token = t0k\n"
    );
    write_private(&path, &text);
    AwsCredentials::File(path)
}

fn write_private(path: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// What every KMS must do, whichever it is.
async fn behaves(kms: &dyn Kms) {
    let (key, wrapped) = kms.generate(context(1)).await.unwrap();
    assert_eq!(
        kms.unwrap(context(1), &wrapped).await.unwrap().expose(),
        key.expose()
    );
    assert_eq!(wrapped.root, kms.root().await.unwrap());
    let own = DataKey::generate().unwrap();
    let own_wrapped = kms.wrap(context(2), &own).await.unwrap();
    assert_eq!(
        kms.unwrap(context(2), &own_wrapped).await.unwrap().expose(),
        own.expose()
    );
    let moved = [
        context(2),
        Context {
            clinic: None,
            ..context(1)
        },
        Context {
            version: 2,
            ..context(1)
        },
    ];
    for other in moved {
        let refused = kms.unwrap(other, &wrapped).await;
        assert!(matches!(refused, Err(KmsError::Refused(_))), "{refused:?}");
        assert!(matches!(
            kms.rewrap(other, &wrapped).await,
            Err(KmsError::Refused(_))
        ));
    }
    kms.rotate().await.unwrap();
    let root = kms.root().await.unwrap();
    assert_ne!(root, wrapped.root);
    assert_eq!(
        kms.unwrap(context(1), &wrapped).await.unwrap().expose(),
        key.expose()
    );
    let fresh = kms.rewrap(context(1), &wrapped).await.unwrap();
    assert_eq!(fresh.root, root);
    assert_ne!(fresh.blob, wrapped.blob);
    assert_eq!(
        kms.unwrap(context(1), &fresh).await.unwrap().expose(),
        key.expose()
    );
    let garbage = Wrapped {
        blob: b"vault:v1:AAAA".to_vec(),
        ..fresh
    };
    assert!(matches!(
        kms.unwrap(context(1), &garbage).await,
        Err(KmsError::Refused(_))
    ));
}

#[tokio::test]
async fn aws_signs_binds_rotates_and_tells_passing_faults_from_lasting_ones() {
    let dir = tempfile::tempdir().unwrap();
    let aws = Arc::new(Aws {
        versions: Versions::new(),
        broken: AtomicU16::new(0),
    });
    let answering = aws.clone();
    let url = serve(move |request| answering.answer(&request)).await;
    let settings = AwsSettings {
        region: "eu-central-1".into(),
        key_id: "alias/medmesh".into(),
        endpoint: Some(url),
        credentials: aws_credentials(&dir, SECRET),
    };
    let kms = AwsKms::new(settings.clone()).unwrap();
    behaves(&kms).await;
    let (_, wrapped) = kms.generate(context(1)).await.unwrap();
    for status in [400, 500, 503] {
        aws.broken.store(status, Ordering::SeqCst);
        let passing = kms.unwrap(context(1), &wrapped).await;
        assert!(
            matches!(passing, Err(KmsError::Unavailable(_))),
            "{status}: {passing:?}"
        );
    }
    aws.broken.store(0, Ordering::SeqCst);
    let no_key = AwsKms::new(AwsSettings {
        key_id: "alias/other".into(),
        ..settings.clone()
    });
    assert!(matches!(
        no_key.unwrap().generate(context(1)).await,
        Err(KmsError::Refused(_))
    ));
    aws_credentials(&dir, "another secret");
    let refused = kms.unwrap(context(1), &wrapped).await.unwrap_err();
    assert!(
        refused.to_string().contains("InvalidSignatureException"),
        "{refused}"
    );
    let gone = AwsKms::new(AwsSettings {
        endpoint: Some("http://127.0.0.1:9".into()),
        ..settings
    });
    assert!(matches!(
        gone.unwrap().root().await,
        Err(KmsError::Unavailable(_))
    ));
}

/// The transit engine as its API documentation has it.
struct Transit {
    versions: Versions,
    token: Mutex<String>,
    sealed: AtomicU16,
}

impl Transit {
    fn answer(&self, request: &Request) -> Response {
        let fault = |status, text: &str| (status, json!({ "errors": [text] }));
        if self.sealed.load(Ordering::SeqCst) > 0 {
            return fault(503, "Vault is sealed");
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        if request.path == "/v1/auth/approle/login" {
            if body["role_id"] != "role" || body["secret_id"] != "secret" {
                return fault(400, "invalid role or secret ID");
            }
            return (
                200,
                json!({ "auth": { "client_token": *self.token.lock().unwrap() } }),
            );
        }
        if request.headers.get("x-vault-token") != Some(&*self.token.lock().unwrap()) {
            return fault(403, "permission denied");
        }
        let context = body["context"].as_str().unwrap_or_default();
        if request.method == "POST" && !request.path.ends_with("/rotate") && context.is_empty() {
            return fault(400, "missing 'context' for key derivation");
        }
        let text = |sealed: Vec<u8>| format!("vault:v{}:{}", sealed[0], BASE64_STANDARD.encode(&sealed));
        let open = || {
            let part = body["ciphertext"]
                .as_str()
                .unwrap_or_default()
                .splitn(3, ':')
                .nth(2);
            self.versions
                .open(context, &BASE64_STANDARD.decode(part.unwrap_or_default()).ok()?)
        };
        match request.path.as_str() {
            "/v1/transit/datakey/plaintext/medmesh" => {
                let key = DataKey::generate().unwrap();
                let sealed = text(self.versions.seal(context, key.expose()));
                (
                    200,
                    json!({ "data": { "plaintext": encoded(key.expose()), "ciphertext": sealed } }),
                )
            }
            "/v1/transit/encrypt/medmesh" => {
                let sealed = text(self.versions.seal(context, &decoded(&body["plaintext"])));
                (200, json!({ "data": { "ciphertext": sealed } }))
            }
            "/v1/transit/decrypt/medmesh" => match open() {
                Some(plain) => (200, json!({ "data": { "plaintext": encoded(&plain) } })),
                None => fault(400, "cipher: message authentication failed"),
            },
            "/v1/transit/rewrap/medmesh" => match open() {
                Some(plain) => (
                    200,
                    json!({ "data": { "ciphertext": text(self.versions.seal(context, &plain)) } }),
                ),
                None => fault(400, "cipher: message authentication failed"),
            },
            "/v1/transit/keys/medmesh/rotate" => {
                self.versions.add();
                (204, Value::Null)
            }
            "/v1/transit/keys/medmesh" => (
                200,
                json!({ "data": { "latest_version": self.versions.latest(), "derived": true } }),
            ),
            _ => fault(404, "no handler for route"),
        }
    }
}

#[tokio::test]
async fn transit_signs_in_binds_rotates_and_comes_back_after_a_seal() {
    let dir = tempfile::tempdir().unwrap();
    let transit = Arc::new(Transit {
        versions: Versions::new(),
        token: Mutex::new("first".into()),
        sealed: AtomicU16::new(0),
    });
    let answering = transit.clone();
    let url = serve(move |request| answering.answer(&request)).await;
    let secret_id_file = dir.path().join("secret-id");
    write_private(&secret_id_file, "secret\n");
    let settings = TransitSettings {
        url,
        mount: "transit".into(),
        key: "medmesh".into(),
        auth: TransitAuth::AppRole {
            role_id: "role".into(),
            secret_id_file: secret_id_file.clone(),
        },
        ca_file: None,
    };
    let kms = TransitKms::new(settings.clone()).unwrap();
    behaves(&kms).await;
    let (key, wrapped) = kms.generate(context(1)).await.unwrap();

    // The token runs out: signed in anew, once, without anybody noticing.
    *transit.token.lock().unwrap() = "second".into();
    assert_eq!(
        kms.unwrap(context(1), &wrapped).await.unwrap().expose(),
        key.expose()
    );
    transit.sealed.store(1, Ordering::SeqCst);
    let sealed = kms.unwrap(context(1), &wrapped).await;
    assert!(matches!(sealed, Err(KmsError::Unavailable(_))), "{sealed:?}");
    transit.sealed.store(0, Ordering::SeqCst);
    kms.unwrap(context(1), &wrapped).await.unwrap();

    let token_file = dir.path().join("token");
    write_private(&token_file, "wrong\n");
    let by_token = TransitKms::new(TransitSettings {
        auth: TransitAuth::TokenFile(token_file.clone()),
        ..settings.clone()
    })
    .unwrap();
    assert!(matches!(by_token.root().await, Err(KmsError::Refused(_))));
    write_private(&token_file, "second\n");
    by_token.root().await.expect("a renewed token is read again");
    write_private(&secret_id_file, "guessed");
    let stranger = TransitKms::new(settings).unwrap();
    assert!(matches!(stranger.root().await, Err(KmsError::Refused(_))));
    assert!(!format!("{stranger:?} {by_token:?}").contains("second"));
}
