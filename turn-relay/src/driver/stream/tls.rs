//! TLS of the stream listeners: one certificate, exchanged while connections live on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider, sign};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// What may run over our TLS (RFC 7443): a client that offers names at all must offer one of these.
const ALPN: [&[u8]; 2] = [b"stun.turn", b"stun.nat-discovery"];

/// The certificate files of the TLS listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM chain, leaf first.
    pub cert: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

/// The certificate files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {path}: {reason}")]
pub struct CertificateError {
    /// Which file.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// When the two files were last written.
type Modified = [Option<SystemTime>; 2];

/// The certificate in force. New handshakes take it; connections that stand do not notice.
#[derive(Debug)]
pub(in crate::driver) struct Certificate {
    files: TlsFiles,
    current: ArcSwap<CertifiedKey>,
    seen: Mutex<Modified>,
}

impl Certificate {
    pub(in crate::driver) fn load(files: &TlsFiles) -> Result<Arc<Self>, CertificateError> {
        let seen = modified(files);
        Ok(Arc::new(Self {
            current: ArcSwap::from_pointee(files.load()?),
            files: files.clone(),
            seen: Mutex::new(seen),
        }))
    }

    /// Takes the files again if one of them was written since; `true` if a new certificate
    /// is in force. Files that cannot be used leave the old one.
    pub(in crate::driver) fn reload(&self) -> Result<bool, CertificateError> {
        let mut seen = self.seen.lock();
        let now = modified(&self.files);
        if now == *seen {
            return Ok(false);
        }
        self.current.store(Arc::new(self.files.load()?));
        *seen = now;
        Ok(true)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

impl TlsFiles {
    /// Whether the files hold a certificate and its key.
    ///
    /// # Errors
    /// Which file is wrong and why.
    pub fn check(&self) -> Result<(), CertificateError> {
        self.load().map(|_| ())
    }

    fn load(&self) -> Result<CertifiedKey, CertificateError> {
        let chain = CertificateDer::pem_file_iter(&self.cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| fault(&self.cert, error.to_string()))?;
        if chain.is_empty() {
            return Err(fault(&self.cert, "no certificate in it".to_owned()));
        }
        let private =
            PrivateKeyDer::from_pem_file(&self.key).map_err(|error| fault(&self.key, error.to_string()))?;
        let signing =
            sign::any_supported_type(&private).map_err(|error| fault(&self.key, error.to_string()))?;
        let certified = CertifiedKey::new(chain, signing);
        certified
            .keys_match()
            .map_err(|error| fault(&self.key, error.to_string()))?;
        Ok(certified)
    }
}

fn fault(path: &Path, reason: String) -> CertificateError {
    CertificateError {
        path: path.to_owned(),
        reason,
    }
}

fn modified(files: &TlsFiles) -> Modified {
    [&files.cert, &files.key].map(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok())
}

/// TLS 1.3 and 1.2, no client certificates. Clients that come back resume by ticket: the
/// server remembers nothing of them.
pub(in crate::driver) fn server_config(
    certificate: &Arc<Certificate>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(certificate) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Ticketer::new()?;
    Ok(config)
}
