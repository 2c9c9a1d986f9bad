//! Asking a relay over the network whether it serves.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use medmesh_turn::Secrets;
use medmesh_turn::codec::{FRAME_BYTES_MAX, Frames};
use medmesh_turn::probe::{Outcome, Probe, Step};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio_rustls::TlsConnector;

use super::url::TurnUrl;

/// For one conversation, name look-up and handshakes included: a round trip takes a few hundred
/// milliseconds at most, and there are up to seven.
const PATIENCE: Duration = Duration::from_secs(3);
/// When a request over UDP is sent again (RFC 8489 §6.2.1); it doubles.
const RETRANSMIT: Duration = Duration::from_millis(500);
/// Largest answer over UDP that is looked at; ours are a fifth of it.
const ANSWER_BYTES: usize = 1500;
/// RFC 7443: what is spoken inside TLS.
const ALPN: &[u8] = b"stun.turn";

/// How a relay is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Udp,
    Tcp,
    Tls,
}

/// Why nothing was learned from a relay.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("no answer in time")]
    Silent,
    #[error("cannot be reached")]
    Unreachable(#[from] io::Error),
}

/// TLS towards a relay, trusting what the system trusts or what this authority signed.
///
/// # Errors
/// When the file is no certificate, or the system's trust cannot be used.
pub(super) fn tls(ca_file: Option<&Path>) -> Result<TlsConnector, TrustError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?;
    let mut config = match ca_file {
        None => builder.with_platform_verifier()?.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(path)? {
                roots.add(certificate?)?;
            }
            if roots.is_empty() {
                return Err(TrustError::Empty);
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// An authority's certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read, or is not PEM.
    #[error("it is not a readable PEM file")]
    Unreadable(#[from] rustls_pki_types::pem::Error),
    /// What is in it is no authority.
    #[error("it cannot be trusted")]
    Unusable(#[from] rustls::Error),
    /// Nothing is in it.
    #[error("no certificate is in it")]
    Empty,
}

/// One conversation with the relay at `url`, in the name `username`.
pub(super) async fn ask(
    url: &TurnUrl,
    connector: Option<&TlsConnector>,
    secrets: &Secrets,
    username: &str,
) -> Result<Outcome, AskError> {
    let asked = async {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        // The addresses of a name are one relay's: the first that answers speaks for it.
        for address in lookup_host((url.host.as_str(), url.port)).await? {
            let probe = Probe::new(secrets, username.to_owned());
            match ask_at(address, url, connector, probe).await {
                Ok(outcome) => return Ok(outcome),
                Err(error) => last = error,
            }
        }
        Err(AskError::Unreachable(last))
    };
    tokio::time::timeout(PATIENCE, asked)
        .await
        .unwrap_or(Err(AskError::Silent))
}

async fn ask_at(
    address: SocketAddr,
    url: &TurnUrl,
    connector: Option<&TlsConnector>,
    probe: Probe,
) -> io::Result<Outcome> {
    match url.over {
        Over::Udp => over_udp(address, probe).await,
        Over::Tcp => over_stream(TcpStream::connect(address).await?, probe).await,
        Over::Tls => {
            let name = ServerName::try_from(url.host.clone()).map_err(io::Error::other)?;
            let connector = connector.expect("a relay with such a URL has one");
            let stream = TcpStream::connect(address).await?;
            over_stream(connector.connect(name, stream).await?, probe).await
        }
    }
}

async fn over_udp(address: SocketAddr, mut probe: Probe) -> io::Result<Outcome> {
    let any: SocketAddr = if address.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any).await?;
    // From nobody else; and a relay that is gone is told by ICMP.
    socket.connect(address).await?;
    let mut buffer = [0; ANSWER_BYTES];
    let mut request = probe.first(rand::random());
    loop {
        let size = answered(&socket, &request, &mut buffer).await?;
        match probe.handle(&buffer[..size], rand::random()) {
            Some(Step::Send(next)) => request = next,
            Some(Step::Done(outcome)) => return Ok(outcome),
            // An answer to a request that was sent twice.
            None => {}
        }
    }
}

/// Sends a request until something comes back.
async fn answered(socket: &UdpSocket, request: &[u8], buffer: &mut [u8]) -> io::Result<usize> {
    let mut pause = RETRANSMIT;
    loop {
        socket.send(request).await?;
        match tokio::time::timeout(pause, socket.recv(buffer)).await {
            Ok(received) => return received,
            Err(_) => pause *= 2,
        }
    }
}

async fn over_stream(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    mut probe: Probe,
) -> io::Result<Outcome> {
    stream.write_all(&probe.first(rand::random())).await?;
    let mut read = Vec::with_capacity(ANSWER_BYTES);
    loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut frames = Frames::new(&read, ANSWER_BYTES.min(FRAME_BYTES_MAX));
        let mut steps = Vec::new();
        loop {
            match frames.next() {
                Ok(Some(range)) => steps.extend(probe.handle(&read[range], rand::random())),
                Ok(None) => break,
                Err(_) => return Ok(Outcome::Nonsense),
            }
        }
        let rest = frames.rest().to_vec();
        read.clear();
        read.extend_from_slice(&rest);
        for step in steps {
            match step {
                Step::Send(next) => stream.write_all(&next).await?,
                Step::Done(outcome) => return Ok(outcome),
            }
        }
    }
}
