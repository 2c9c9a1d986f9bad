//! TLS 1.3 as links use it. The cryptography and the chain building are rustls' and
//! webpki's; what is added here is one question: *whose* certificate is it?
//!
//! Session tickets and early data are off: a resumed session would not look at the
//! peer's certificate again, and a certificate that lives for hours is the revocation.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::ca::CaFingerprint;
use crate::error::IdentityError;
use crate::identity::{ClusterName, Identity, PeerIdentity, Role};
use medmesh_base::{ControlId, EdgeId};

/// ALPN of sessions between machines that both have a certificate.
pub const ALPN_LINK: &[u8] = b"medmesh/1";
/// ALPN of the one thing a machine without a certificate may do.
pub const ALPN_ENROL: &[u8] = b"medmesh-enrol/1";

/// Goes into SNI, where something must stand; nobody looks at it.
pub(crate) const SERVER_NAME: &str = "link.medmesh.invalid";

/// The one crypto provider of the house.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// What a dialer will accept at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// This edge and no other.
    Edge(EdgeId),
    /// This control node and no other.
    Control(ControlId),
    /// Any control node of the cluster.
    AnyControl,
}

impl Expect {
    /// Whether `role` is what was expected.
    #[must_use]
    pub fn accepts(&self, role: Role) -> bool {
        match (self, role) {
            (Self::Edge(expected), Role::Edge(actual)) => *expected == actual,
            (Self::Control(expected), Role::Control(actual)) => *expected == actual,
            (Self::AnyControl, Role::Control(_)) => true,
            _ => false,
        }
    }
}

/// Whom an endpoint trusts: certificates of one cluster, signed by its CA.
#[derive(Clone, Debug)]
pub struct Trust {
    cluster: ClusterName,
    roots: Arc<RootCertStore>,
}

impl Trust {
    /// Trusts certificates of `cluster` signed by `ca`.
    ///
    /// # Errors
    /// When the CA certificate does not parse.
    pub fn new(cluster: ClusterName, ca: &CertificateDer<'static>) -> Result<Self, IdentityError> {
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone()).map_err(|_| IdentityError::Certificate)?;
        Ok(Self {
            cluster,
            roots: Arc::new(roots),
        })
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    fn role_of(&self, certificate: &CertificateDer<'_>) -> Result<Role, Error> {
        let refused = || Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        let peer = PeerIdentity::from_certificate(certificate).map_err(|_| refused())?;
        if peer.cluster == self.cluster {
            Ok(peer.role)
        } else {
            Err(refused())
        }
    }
}

pub(crate) fn certified_key(identity: &Identity) -> Result<CertifiedKey, IdentityError> {
    CertifiedKey::from_der(identity.chain().to_vec(), identity.key().clone_key(), &provider())
        .map_err(|_| IdentityError::KeyMismatch)
}

/// The certificate in use; swapped while sessions go on.
#[derive(Debug)]
pub(crate) struct OwnCertificate(ArcSwap<CertifiedKey>);

impl OwnCertificate {
    pub(crate) fn new(identity: &Identity) -> Result<Arc<Self>, IdentityError> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(certified_key(identity)?))))
    }

    pub(crate) fn swap(&self, identity: &Identity) -> Result<(), IdentityError> {
        self.0.store(Arc::new(certified_key(identity)?));
        Ok(())
    }
}

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl ResolvesClientCert for OwnCertificate {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The listening side. A client certificate is asked for; the endpoint turns away
/// [`ALPN_LINK`] sessions that came without one, since only after the handshake is
/// it known which protocol was chosen.
pub(crate) fn server_config(
    trust: &Trust,
    own: &Arc<OwnCertificate>,
    enrolment: bool,
) -> Result<rustls::ServerConfig, Error> {
    let verifier = ClientVerifier::new(trust.clone(), enrolment)
        .map_err(|_| Error::General("the CA cannot verify clients".to_owned()))?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(own.clone());
    config.alpn_protocols = vec![ALPN_LINK.to_vec()];
    if enrolment {
        config.alpn_protocols.push(ALPN_ENROL.to_vec());
    }
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// The dialing side, with a certificate, expecting one particular peer.
pub(crate) fn client_config(
    trust: &Trust,
    own: &Arc<OwnCertificate>,
    expect: Expect,
) -> Result<rustls::ClientConfig, Error> {
    let verifier = ServerVerifier {
        anchor: Anchor::Trust(trust.clone()),
        expect,
        provider: provider(),
    };
    let mut config = client_builder(verifier)?.with_client_cert_resolver(own.clone());
    config.alpn_protocols = vec![ALPN_LINK.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The dialing side of a machine that has nothing but a join token.
pub(crate) fn enrol_config(cluster: ClusterName, ca: CaFingerprint) -> Result<rustls::ClientConfig, Error> {
    let verifier = ServerVerifier {
        anchor: Anchor::Pinned { cluster, ca },
        expect: Expect::AnyControl,
        provider: provider(),
    };
    let mut config = client_builder(verifier)?.with_no_client_auth();
    config.alpn_protocols = vec![ALPN_ENROL.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn client_builder(
    verifier: ServerVerifier,
) -> Result<rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert>, Error> {
    Ok(rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier)))
}

/// webpki's client verification, and then a role of this cluster.
#[derive(Debug)]
struct ClientVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    trust: Trust,
}

impl ClientVerifier {
    fn new(trust: Trust, anonymous: bool) -> Result<Self, VerifierBuilderError> {
        let builder = WebPkiClientVerifier::builder_with_provider(trust.roots.clone(), provider());
        let builder = if anonymous {
            builder.allow_unauthenticated()
        } else {
            builder
        };
        Ok(Self {
            chain: builder.build()?,
            trust,
        })
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        self.trust.role_of(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

#[derive(Debug)]
enum Anchor {
    /// The CA is known.
    Trust(Trust),
    /// Only its SHA-256 is; the server sends the certificate along in its chain.
    Pinned { cluster: ClusterName, ca: CaFingerprint },
}

/// webpki's server verification, with the role in the place of the host name.
#[derive(Debug)]
struct ServerVerifier {
    anchor: Anchor,
    expect: Expect,
    provider: Arc<CryptoProvider>,
}

impl ServerVerifier {
    fn trust(&self, intermediates: &[CertificateDer<'_>]) -> Result<Trust, Error> {
        match &self.anchor {
            Anchor::Trust(trust) => Ok(trust.clone()),
            Anchor::Pinned { cluster, ca } => {
                let unknown = || Error::InvalidCertificate(CertificateError::UnknownIssuer);
                let pinned = intermediates
                    .iter()
                    .find(|certificate| CaFingerprint::of(certificate) == *ca)
                    .ok_or_else(unknown)?;
                Trust::new(cluster.clone(), &pinned.clone().into_owned()).map_err(|_| unknown())
            }
        }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let trust = self.trust(intermediates)?;
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &trust.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        if self.expect.accepts(trust.role_of(end_entity)?) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::NotValidForName))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
