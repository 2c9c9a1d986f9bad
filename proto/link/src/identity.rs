//! Who a machine is: one URI in its certificate, `medmesh://CLUSTER/edge/<uuid>`
//! or `medmesh://CLUSTER/control/<u64>`. Nothing else gives a role.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use medmesh_base::{ControlId, EdgeId};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;

use crate::error::IdentityError;
use crate::files;

/// The name of a cluster: 1 to 63 of `a-z`, `0-9` and `-`, so that it is one label of a URI's authority.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName(Arc<str>);

impl ClusterName {
    /// Longest name: one DNS label (RFC 1035 section 2.3.4).
    pub const LENGTH_MAX: usize = 63;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClusterName {
    type Err = IdentityError;
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let fits = (1..=Self::LENGTH_MAX).contains(&text.len());
        let plain = text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits && plain {
            Ok(Self(text.into()))
        } else {
            Err(IdentityError::ClusterName)
        }
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterName({})", self.0)
    }
}

/// What a machine is allowed to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// An edge host.
    Edge(EdgeId),
    /// A node of the control plane.
    Control(ControlId),
}

impl Role {
    /// The word for metrics and logs: `edge` or `control`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Edge(_) => "edge",
            Self::Control(_) => "control",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edge(id) => write!(f, "edge/{id}"),
            Self::Control(id) => write!(f, "control/{id}"),
        }
    }
}

/// A role in a cluster: the meaning of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerIdentity {
    /// The cluster that issued the certificate.
    pub cluster: ClusterName,
    /// What the peer may be.
    pub role: Role,
}

impl PeerIdentity {
    /// The URI form, e.g. `medmesh://demo/control/1`.
    #[must_use]
    pub fn to_uri(&self) -> String {
        format!("medmesh://{}/{}", self.cluster, self.role)
    }

    /// Reads the URI form; only the exact text [`PeerIdentity::to_uri`] writes is accepted.
    ///
    /// # Errors
    /// [`IdentityError::Uri`] for anything else.
    pub fn from_uri(uri: &str) -> Result<Self, IdentityError> {
        let rest = uri.strip_prefix("medmesh://").ok_or(IdentityError::Uri)?;
        let mut parts = rest.split('/');
        let (Some(cluster), Some(kind), Some(id), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(IdentityError::Uri);
        };
        let role = match kind {
            "edge" => Role::Edge(id.parse().map_err(|_| IdentityError::Uri)?),
            "control" => Role::Control(id.parse().map_err(|_| IdentityError::Uri)?),
            _ => return Err(IdentityError::Uri),
        };
        let identity = Self {
            cluster: cluster.parse()?,
            role,
        };
        // Other spellings of the same id (upper case, leading zeros) would be two names for one machine.
        if identity.to_uri() == uri {
            Ok(identity)
        } else {
            Err(IdentityError::Uri)
        }
    }

    /// Reads the identity out of a certificate. It says nothing about who signed it:
    /// chain verification is TLS's job and has happened before this is called.
    ///
    /// # Errors
    /// When the certificate does not parse or does not carry exactly one subject
    /// alternative name, a `medmesh://` URI.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let (rest, parsed) =
            x509_parser::parse_x509_certificate(certificate).map_err(|_| IdentityError::Certificate)?;
        if !rest.is_empty() {
            return Err(IdentityError::Certificate);
        }
        let names = parsed
            .subject_alternative_name()
            .map_err(|_| IdentityError::Certificate)?
            .ok_or(IdentityError::Uri)?;
        match names.value.general_names.as_slice() {
            [GeneralName::URI(uri)] => Self::from_uri(uri),
            _ => Err(IdentityError::Uri),
        }
    }
}

/// A machine's own certificate chain (leaf first, CA last) and key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    peer: PeerIdentity,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            peer: self.peer.clone(),
            not_before: self.not_before,
            not_after: self.not_after,
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("peer", &self.peer)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Joins a chain (leaf first) with its PKCS#8 key.
    ///
    /// # Errors
    /// When the leaf names no role or the key is not the leaf's.
    pub fn new(chain: Vec<CertificateDer<'static>>, key_pkcs8: Vec<u8>) -> Result<Self, IdentityError> {
        let leaf = chain.first().ok_or(IdentityError::Certificate)?;
        let peer = PeerIdentity::from_certificate(leaf)?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(leaf).map_err(|_| IdentityError::Certificate)?;
        let not_before = parsed.validity().not_before.to_datetime();
        let not_after = parsed.validity().not_after.to_datetime();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key_pkcs8));
        let identity = Self {
            chain,
            key,
            peer,
            not_before,
            not_after,
        };
        crate::tls::certified_key(&identity)?;
        Ok(identity)
    }

    /// Reads what [`Identity::save`] wrote.
    ///
    /// # Errors
    /// When the file is away, is not PEM, or [`Identity::new`] refuses its content.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let pem = files::read(path)?;
        let chain = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| IdentityError::Pem)?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(|_| IdentityError::Pem)?;
        Self::new(chain, key.secret_pkcs8_der().to_vec())
    }

    /// Writes key and chain into one PEM file with mode 0600, whole or not at all,
    /// so that a crash can never leave a key beside another key's certificate.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), IdentityError> {
        let mut pem = files::pem("PRIVATE KEY", self.key.secret_der());
        for certificate in &self.chain {
            pem.push_str(&files::pem("CERTIFICATE", certificate));
        }
        files::write_private(path, pem.as_bytes())?;
        Ok(())
    }

    /// Who this is.
    #[must_use]
    pub fn peer(&self) -> &PeerIdentity {
        &self.peer
    }

    /// The chain, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// When the certificate ends.
    #[must_use]
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// When to ask for a new one: two thirds of its life, which leaves a third for
    /// a control plane that is away.
    #[must_use]
    pub fn renew_at(&self) -> OffsetDateTime {
        crate::ca::renew_at(self.not_before, self.not_after)
    }

    pub(crate) fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }
}
