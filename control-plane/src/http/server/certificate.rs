//! The HTTPS certificate, from files that may change while running.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use medmesh_base::drain::Drain;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// How often the files are looked at: soon enough for any renewal, and costs nothing.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The certificate in force.
#[derive(Debug)]
pub(crate) struct Certificates {
    cert_file: PathBuf,
    key_file: PathBuf,
    current: ArcSwap<CertifiedKey>,
}

/// The certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {0}")]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// A file holds no certificate or key.
    #[error("{0} is not such a PEM file")]
    NotPem(PathBuf, #[source] rustls_pki_types::pem::Error),
    /// The key is not the certificate's, or of an unknown kind.
    #[error("the certificate and its key do not fit")]
    Misfit(#[source] rustls::Error),
}

type Files = (Vec<u8>, Vec<u8>);

impl Certificates {
    /// Loads the files.
    ///
    /// # Errors
    /// When they are away, malformed or do not fit each other.
    pub(crate) fn load(cert_file: &Path, key_file: &Path) -> Result<Arc<Self>, CertificateError> {
        let key = parse(cert_file, key_file, &read(cert_file, key_file)?)?;
        Ok(Arc::new(Self {
            cert_file: cert_file.to_owned(),
            key_file: key_file.to_owned(),
            current: ArcSwap::from_pointee(key),
        }))
    }

    /// TLS 1.3 for these protocols (ALPN, RFC 7301), always with the certificate in force.
    pub(crate) fn server_config(self: &Arc<Self>, protocols: &[&str]) -> ServerConfig {
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("aws-lc-rs speaks TLS 1.3")
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    /// Picks up changed files until the drain stops. Files that do not fit leave the old ones in force.
    pub(crate) async fn watch(self: Arc<Self>, drain: Drain) {
        let mut last = self.read_blocking().await;
        loop {
            tokio::select! {
                () = drain.stopping() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let files = self.read_blocking().await;
            if let Some(changed) = files.as_ref().filter(|_| files != last) {
                self.adopt(changed);
                last = files;
            }
        }
    }

    fn adopt(&self, files: &Files) {
        match parse(&self.cert_file, &self.key_file, files) {
            Ok(key) => {
                self.current.store(Arc::new(key));
                tracing::info!("https certificate replaced");
            }
            Err(error) => tracing::warn!(%error, "changed https certificate not used"),
        }
    }

    async fn read_blocking(self: &Arc<Self>) -> Option<Files> {
        let own = self.clone();
        let files = tokio::task::spawn_blocking(move || read(&own.cert_file, &own.key_file).ok());
        files.await.ok().flatten()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn read(cert_file: &Path, key_file: &Path) -> Result<Files, CertificateError> {
    let bytes =
        |path: &Path| std::fs::read(path).map_err(|error| CertificateError::Unreadable(path.into(), error));
    Ok((bytes(cert_file)?, bytes(key_file)?))
}

fn parse(cert_file: &Path, key_file: &Path, (cert, key): &Files) -> Result<CertifiedKey, CertificateError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(cert)
        .collect::<Result<_, _>>()
        .map_err(|error| CertificateError::NotPem(cert_file.into(), error))?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| CertificateError::NotPem(key_file.into(), error))?;
    CertifiedKey::from_der(chain, key, &default_provider()).map_err(CertificateError::Misfit)
}
