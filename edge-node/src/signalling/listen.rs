//! The listener: HTTPS (TLS 1.3 alone: every browser that can join a visit speaks it) with certificates that are read again when they change, or plain
//! HTTP on loopback; HTTP/1.1 and HTTP/2.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::ConnectInfo;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use medmesh_base::drain::Drain;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::config::SignallingSection;

/// Open connections: one per participant of a full host, browsers' spare ones, and scanners.
const CONNECTIONS_MAX: usize = 4096;
/// A handshake, or a request's head, that takes longer is no browser's.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often certificate files are looked at. ACME clients renew weeks ahead.
const RELOAD_INTERVAL: Duration = Duration::from_secs(30);
/// How long open requests may take to finish when the edge stops.
const GRACE: Duration = Duration::from_secs(5);
/// HTTP/2 streams of one connection; a participant needs two.
const STREAMS_MAX: u32 = 16;

/// The listener could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The certificate files cannot be used.
    #[error("cannot use certificate {path}: {reason}")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// TLS could not be configured.
    #[error("TLS configuration")]
    Tls(#[from] rustls::Error),
}

/// A bound signalling listener.
pub(crate) struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    tls: Option<(TlsAcceptor, Arc<Certificate>)>,
}

impl Listener {
    pub(crate) async fn bind(config: &SignallingSection) -> Result<Self, ListenError> {
        let bound = async {
            let tcp = TcpListener::bind(config.listen).await?;
            let address = tcp.local_addr()?;
            Ok((tcp, address))
        };
        let (tcp, address) = bound.await.map_err(|source| ListenError::Bind {
            address: config.listen,
            source,
        })?;
        let tls = match (&config.cert_file, &config.key_file) {
            (Some(cert), Some(key)) => Some(acceptor(cert, key)?),
            _ => None,
        };
        Ok(Self { tcp, address, tls })
    }

    /// Base URL of this listener as bound.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Serves until the drain, then lets open requests finish.
    pub(crate) async fn serve(self, router: Router, drain: Drain) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        if let Some((_, certificate)) = &self.tls {
            let (certificate, stop) = (Arc::clone(certificate), drain.clone());
            drain.spawn(async move { certificate.follow(stop).await });
        }
        loop {
            let permit = tokio::select! {
                () = drain.stopping() => break,
                permit = Arc::clone(&permits).acquire_owned() => permit.expect("never closed"),
            };
            let accepted = tokio::select! {
                () = drain.stopping() => break,
                accepted = self.tcp.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, mostly: wait for some to come back.
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let connection = Connection {
                peer,
                router: router.clone(),
                drain: drain.clone(),
                _permit: permit,
            };
            let acceptor = self.tls.as_ref().map(|(acceptor, _)| acceptor.clone());
            drain.spawn(connection.start(stream, acceptor));
        }
    }
}

struct Connection {
    peer: SocketAddr,
    router: Router,
    drain: Drain,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    async fn start(self, stream: TcpStream, acceptor: Option<TlsAcceptor>) {
        // Small answers must not wait for an acknowledgement; failing that, they merely do.
        let _ = stream.set_nodelay(true);
        match acceptor {
            None => self.serve(stream).await,
            // A failed or slow handshake is a scanner's; the browser would say so itself.
            Some(acceptor) => {
                if let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
                    self.serve(stream).await;
                }
            }
        }
    }

    async fn serve<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let peer = self.peer;
        let service = self.router.map_request(move |mut request: http::Request<_>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            request
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX);
        let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        tokio::pin!(connection);
        // Errors here are the peer's: it hung up or spoke no HTTP.
        tokio::select! {
            _ = connection.as_mut() => {}
            () = self.drain.stopping() => {
                connection.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(GRACE, connection).await;
            }
        }
    }
}

fn acceptor(cert: &Path, key: &Path) -> Result<(TlsAcceptor, Arc<Certificate>), ListenError> {
    let certificate = Arc::new(Certificate {
        current: ArcSwap::from_pointee(load(cert, key)?),
        cert: cert.to_owned(),
        key: key.to_owned(),
    });
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), certificate))
}

/// When the certificate and the key were last written.
type Modified = [Option<SystemTime>; 2];

#[derive(Debug)]
struct Certificate {
    current: ArcSwap<CertifiedKey>,
    cert: PathBuf,
    key: PathBuf,
}

impl Certificate {
    /// Reads the files again whenever one of them changes. A pair that cannot be used
    /// leaves the old one in force.
    async fn follow(&self, drain: Drain) {
        let mut seen = self.modified();
        loop {
            tokio::select! {
                () = drain.stopping() => return,
                () = tokio::time::sleep(RELOAD_INTERVAL) => {}
            }
            self.reload_if_changed(&mut seen);
        }
    }

    fn reload_if_changed(&self, seen: &mut Modified) {
        let now = self.modified();
        if now == *seen {
            return;
        }
        match load(&self.cert, &self.key) {
            Ok(certified) => {
                self.current.store(Arc::new(certified));
                *seen = now;
                tracing::info!("certificate reloaded");
            }
            // Perhaps only one of the two files has been written so far.
            Err(error) => tracing::warn!(%error, "certificate not reloaded"),
        }
    }

    fn modified(&self) -> Modified {
        [&self.cert, &self.key].map(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok())
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn load(cert: &Path, key: &Path) -> Result<CertifiedKey, ListenError> {
    let fault = |path: &Path, reason: String| ListenError::Certificate {
        path: path.to_owned(),
        reason,
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| fault(cert, error.to_string()))?;
    if chain.is_empty() {
        return Err(fault(cert, "no certificate in it".into()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| fault(key, error.to_string()))?;
    let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&private)
        .map_err(|error| fault(key, error.to_string()))?;
    let certified = CertifiedKey::new(chain, signing);
    certified
        .keys_match()
        .map_err(|error| fault(key, error.to_string()))?;
    Ok(certified)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use axum::Router;
    use axum::extract::ConnectInfo;
    use axum::routing::get;
    use medmesh_base::drain::Drain;

    use super::{Listener, SignallingSection};

    /// Writes a fresh self-signed pair; returns the certificate for the client.
    fn write_pair(dir: &Path) -> reqwest::Certificate {
        let pair = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        std::fs::write(dir.join("cert.pem"), pair.cert.pem()).unwrap();
        std::fs::write(dir.join("key.pem"), pair.signing_key.serialize_pem()).unwrap();
        reqwest::Certificate::from_pem(pair.cert.pem().as_bytes()).unwrap()
    }

    fn client(root: reqwest::Certificate) -> reqwest::Client {
        reqwest::Client::builder().tls_certs_only([root]).build().unwrap()
    }

    #[tokio::test]
    async fn https_speaks_http2_and_takes_up_a_new_certificate() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let first = write_pair(dir.path());
        let config: SignallingSection = toml::from_str(&format!(
            "listen = '127.0.0.1:0'\ncert_file = '{0}/cert.pem'\nkey_file = '{0}/key.pem'",
            dir.path().display()
        ))
        .unwrap();
        let listener = Listener::bind(&config).await.unwrap();
        let url = format!("https://localhost:{}/", listener.address.port());
        assert!(listener.url().starts_with("https://"));
        let certificate = Arc::clone(&listener.tls.as_ref().unwrap().1);
        let mut seen = certificate.modified();
        let answer =
            |ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>| async move { peer.ip().to_string() };
        let drain = Drain::new();
        drain.spawn(listener.serve(Router::new().route("/", get(answer)), drain.clone()));

        // Who speaks nothing newer than TLS 1.2 is refused; TLS 1.3 is what everybody else gets.
        let old = reqwest::Client::builder()
            .tls_certs_only([first.clone()])
            .tls_version_max(reqwest::tls::Version::TLS_1_2)
            .build()
            .unwrap();
        let refused = old.get(&url).send().await.unwrap_err();
        assert!(refused.is_connect(), "{refused:?}");
        assert!(
            format!("{refused:?}").contains("ProtocolVersion"),
            "not for another reason: {refused:?}"
        );

        let response = client(first).get(&url).send().await.unwrap();
        assert_eq!(response.version(), reqwest::Version::HTTP_2);
        assert_eq!(response.text().await.unwrap(), "127.0.0.1");

        std::fs::write(dir.path().join("key.pem"), "half written").unwrap();
        certificate.reload_if_changed(&mut seen);
        let second = write_pair(dir.path());
        certificate.reload_if_changed(&mut seen);
        let renewed = client(second);
        assert_eq!(renewed.get(&url).send().await.unwrap().status(), 200);
        // Idle connections do not hold a stop up.
        assert_eq!(drain.finish(Duration::from_secs(3)).await, 0);
    }
}
