//! The cluster's own certificate authority: ECDSA P-256, one self-signed root,
//! leaves that live for hours.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::digest;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    SanType, SerialNumber,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

use crate::error::IdentityError;
use crate::files;
use crate::identity::{ClusterName, Identity, PeerIdentity, Role};

/// Life of an edge's or control node's certificate. A day: a stolen key is of little
/// use, and renewal at two thirds leaves eight hours for a control plane that is away.
pub const LEAF_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Shortest life a cluster may give its certificates: one for drills, in which a renewal still has
/// time for a try that fails.
pub const LEAF_LIFE_MIN: Duration = Duration::from_secs(6);

/// Longest life: removed edges are refused by name for a little longer than this.
pub const LEAF_LIFE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Life of the root. Replacing it means enrolling again, so it outlives the hardware.
const CA_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Certificates begin a little in the past, because clocks of machines differ.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// Largest certificate request looked at; ours have about 250 bytes.
const REQUEST_BYTES_MAX: usize = 4096;

/// SHA-256 of the CA certificate's DER: what a join token pins.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CaFingerprint([u8; 32]);

impl CaFingerprint {
    /// The fingerprint of a certificate.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let hash = digest::digest(&digest::SHA256, certificate);
        Self(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        // `from_str_radix` would take a sign; a fingerprint has one spelling of each digit pair.
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for CaFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CaFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CaFingerprint({self})")
    }
}

/// A fresh P-256 key and the request that asks for its certificate.
///
/// The CA takes nothing but the key from the request: the name is the CA's to give.
pub struct KeyRequest {
    key: KeyPair,
    csr_der: Vec<u8>,
}

impl KeyRequest {
    /// Makes a key and a PKCS#10 request (RFC 2986) signed with it.
    ///
    /// # Errors
    /// When the random source or the signer fails.
    pub fn generate() -> Result<Self, IdentityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IdentityError::Generate)?;
        let csr = CertificateParams::default()
            .serialize_request(&key)
            .map_err(IdentityError::Generate)?;
        Ok(Self {
            csr_der: csr.der().to_vec(),
            key,
        })
    }

    /// The request.
    #[must_use]
    pub fn csr_der(&self) -> &[u8] {
        &self.csr_der
    }

    /// Joins the key with the chain that came back for it (leaf first).
    ///
    /// # Errors
    /// When the chain is not for this key.
    pub fn into_identity(self, chain: Vec<CertificateDer<'static>>) -> Result<Identity, IdentityError> {
        Identity::new(chain, self.key.serialize_der())
    }
}

/// A certificate as the CA hands it out.
#[derive(Clone, Debug)]
pub struct SignedChain {
    /// Leaf first, the CA last.
    pub chain: Vec<CertificateDer<'static>>,
    /// When the holder should ask for the next one.
    pub renew_at: OffsetDateTime,
}

/// The cluster's certificate authority. Only control nodes hold one.
pub struct ClusterCa {
    cluster: ClusterName,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for ClusterCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterCa({}, {})", self.cluster, self.fingerprint())
    }
}

impl ClusterCa {
    /// Makes a new root for `cluster`.
    ///
    /// # Errors
    /// When the random source or the signer fails.
    pub fn create(cluster: ClusterName, now: OffsetDateTime) -> Result<Self, IdentityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IdentityError::Generate)?;
        let mut params = base_params(now, CA_LIFE);
        params.distinguished_name = common_name(&cluster);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(IdentityError::Generate)?;
        let certificate = certificate.der().clone();
        Self::from_parts(cluster, certificate, key)
    }

    /// Reads what [`ClusterCa::save`] wrote (or any P-256 root in PEM whose common name is the cluster's).
    ///
    /// # Errors
    /// When a file is away or malformed, or the CA is another cluster's.
    pub fn load(cluster: ClusterName, cert_file: &Path, key_file: &Path) -> Result<Self, IdentityError> {
        let certificate = load_certificate(cert_file)?;
        let key =
            PrivatePkcs8KeyDer::from_pem_slice(&files::read(key_file)?).map_err(|_| IdentityError::Pem)?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)
            .map_err(|_| IdentityError::Pem)?;
        Self::from_parts(cluster, certificate, key)
    }

    /// Writes certificate and key as PEM with mode 0600.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, cert_file: &Path, key_file: &Path) -> Result<(), IdentityError> {
        let key = files::pem("PRIVATE KEY", &self.issuer.key().serialize_der());
        files::write_private(key_file, key.as_bytes())?;
        files::write_private(cert_file, self.certificate_pem().as_bytes())?;
        Ok(())
    }

    fn from_parts(
        cluster: ClusterName,
        certificate: CertificateDer<'static>,
        key: KeyPair,
    ) -> Result<Self, IdentityError> {
        {
            let (_, parsed) =
                x509_parser::parse_x509_certificate(&certificate).map_err(|_| IdentityError::Certificate)?;
            let names_cluster = parsed
                .subject()
                .iter_common_name()
                .any(|name| name.as_str().is_ok_and(|text| text == ca_name(&cluster)));
            if !names_cluster {
                return Err(IdentityError::ForeignCa);
            }
            if parsed.public_key().subject_public_key.data.as_ref() != key.der_bytes() {
                return Err(IdentityError::KeyMismatch);
            }
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(IdentityError::Generate)?;
        Ok(Self {
            cluster,
            certificate,
            issuer,
        })
    }

    /// The cluster this CA speaks for.
    #[must_use]
    pub fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// The root certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The root certificate as PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        files::pem("CERTIFICATE", &self.certificate)
    }

    /// What join tokens pin.
    #[must_use]
    pub fn fingerprint(&self) -> CaFingerprint {
        CaFingerprint::of(&self.certificate)
    }

    /// Signs the key of a PKCS#10 request as `role`. Names, extensions and attributes
    /// of the request are ignored; that it is signed by its own key is checked.
    ///
    /// # Errors
    /// [`IdentityError::Request`] for anything but a well-formed, self-signed P-256 request.
    pub fn sign(
        &self,
        csr_der: &[u8],
        role: Role,
        now: OffsetDateTime,
        life: Duration,
    ) -> Result<SignedChain, IdentityError> {
        if csr_der.len() > REQUEST_BYTES_MAX {
            return Err(IdentityError::Request);
        }
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr_der))
            .map_err(|_| IdentityError::Request)?;
        let key = request.public_key;
        if PublicKeyData::algorithm(&key) != &PKCS_ECDSA_P256_SHA256 {
            return Err(IdentityError::Request);
        }
        let mut params = base_params(now, life);
        let uri = PeerIdentity {
            cluster: self.cluster.clone(),
            role,
        }
        .to_uri();
        let uri = uri.as_str().try_into().map_err(IdentityError::Generate)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        let renew_at = renew_at(params.not_before, params.not_after);
        let leaf = params
            .signed_by(&key, &self.issuer)
            .map_err(IdentityError::Generate)?;
        Ok(SignedChain {
            chain: vec![leaf.der().clone(), self.certificate.clone()],
            renew_at,
        })
    }

    /// Makes a key here and signs it: how a control node, which holds the CA, gets its own certificate.
    ///
    /// # Errors
    /// When the random source or the signer fails.
    pub fn issue(&self, role: Role, now: OffsetDateTime, life: Duration) -> Result<Identity, IdentityError> {
        let request = KeyRequest::generate()?;
        let signed = self.sign(request.csr_der(), role, now, life)?;
        request.into_identity(signed.chain)
    }
}

/// When to ask for the next certificate: after two thirds of the life it was given, which leaves
/// a third for a control plane that is away. That it begins [`CLOCK_SKEW`] early is no part of it.
pub(crate) fn renew_at(not_before: OffsetDateTime, not_after: OffsetDateTime) -> OffsetDateTime {
    let life = not_after - (not_before + CLOCK_SKEW);
    not_after - life.max(time::Duration::ZERO) / 3
}

/// Reads one PEM certificate, e.g. the CA's on an edge.
///
/// # Errors
/// When the file is away or not a PEM certificate.
pub fn load_certificate(path: &Path) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_slice(&files::read(path)?).map_err(|_| IdentityError::Pem)
}

fn ca_name(cluster: &ClusterName) -> String {
    format!("medmesh {cluster}")
}

fn common_name(cluster: &ClusterName) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, ca_name(cluster));
    name
}

fn base_params(now: OffsetDateTime, life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // RFC 5280 section 4.1.2.2: positive and unique; a v4 UUID has 122 random bits.
    let mut serial = uuid::Uuid::new_v4().into_bytes();
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = now - CLOCK_SKEW;
    params.not_after = now + life;
    params
}
