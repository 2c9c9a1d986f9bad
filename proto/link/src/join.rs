//! The one-time join token an operator carries to a new edge:
//! `mmj1.<base64url(json {"cluster","ca_sha256","control","secret"})>`.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::ca::CaFingerprint;
use crate::identity::ClusterName;

/// Longest token looked at: five addresses of 253 + 6 bytes each still fit twice.
const TOKEN_BYTES_MAX: usize = 8192;

/// Most control addresses in a token: the most control nodes there can be, and some spare.
const CONTROL_MAX: usize = 16;

const PREFIX: &str = "mmj1.";
const SECRET_BYTES: usize = 32;

/// The text is not a join token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a join token: mmj1.… expected")]
pub struct JoinTokenError;

/// A join token: where to enrol, which CA to expect there, and the secret that lets one edge in, once.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// The cluster to join.
    pub cluster: ClusterName,
    /// The CA that must have signed the control node's certificate.
    pub ca: CaFingerprint,
    /// `host:port` of the control nodes' link endpoints.
    pub control: Vec<String>,
    secret: [u8; SECRET_BYTES],
}

#[derive(Serialize, Deserialize)]
struct Content {
    cluster: String,
    ca_sha256: String,
    control: Vec<String>,
    secret: String,
}

impl JoinToken {
    /// A token with a fresh random secret.
    #[must_use]
    pub fn generate(cluster: ClusterName, ca: CaFingerprint, control: Vec<String>) -> Self {
        let mut secret = [0; SECRET_BYTES];
        rand::Rng::fill(&mut rand::rng(), &mut secret);
        Self::with_secret(cluster, ca, control, secret)
    }

    /// A token with a secret that nobody can guess.
    #[must_use]
    pub const fn with_secret(
        cluster: ClusterName,
        ca: CaFingerprint,
        control: Vec<String>,
        secret: [u8; SECRET_BYTES],
    ) -> Self {
        Self {
            cluster,
            ca,
            control,
            secret,
        }
    }

    /// SHA-256 of the secret: the only form of it that is stored. The secret has
    /// 256 random bits, so a plain hash cannot be searched.
    #[must_use]
    pub fn secret_hash(&self) -> [u8; 32] {
        let hash = digest::digest(&digest::SHA256, &self.secret);
        hash.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// The text form. Whoever reads it can join the fleet: treat it as a password.
    #[must_use]
    pub fn to_text(&self) -> String {
        let content = Content {
            cluster: self.cluster.to_string(),
            ca_sha256: self.ca.to_string(),
            control: self.control.clone(),
            secret: URL_SAFE_NO_PAD.encode(self.secret),
        };
        let json = serde_json::to_vec(&content).expect("strings always encode");
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json))
    }
}

impl FromStr for JoinToken {
    type Err = JoinTokenError;
    fn from_str(text: &str) -> Result<Self, JoinTokenError> {
        let text = text.trim();
        if text.len() > TOKEN_BYTES_MAX {
            return Err(JoinTokenError);
        }
        let body = text.strip_prefix(PREFIX).ok_or(JoinTokenError)?;
        let json = URL_SAFE_NO_PAD.decode(body).map_err(|_| JoinTokenError)?;
        let content: Content = serde_json::from_slice(&json).map_err(|_| JoinTokenError)?;
        let secret = URL_SAFE_NO_PAD
            .decode(content.secret)
            .map_err(|_| JoinTokenError)?;
        if content.control.len() > CONTROL_MAX {
            return Err(JoinTokenError);
        }
        Ok(Self {
            cluster: content.cluster.parse().map_err(|_| JoinTokenError)?,
            ca: CaFingerprint::from_hex(&content.ca_sha256).ok_or(JoinTokenError)?,
            control: content.control,
            secret: secret.try_into().map_err(|_| JoinTokenError)?,
        })
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("cluster", &self.cluster)
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}
