//! What a test's client speaks over.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A client's side of UDP, TCP or TLS; one message at a time, whichever it is.
pub(crate) enum Wire {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<RefCell<StreamOwned<ClientConnection, TcpStream>>>),
}

impl Wire {
    pub(crate) fn send(&self, bytes: &[u8]) -> std::io::Result<usize> {
        // On a stream channel data is padded (RFC 8656 §12.5); messages are by themselves.
        let padded = || {
            let mut bytes = bytes.to_vec();
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        match self {
            Self::Udp(socket) => return socket.send(bytes),
            Self::Tcp(stream) => (&mut &*stream).write_all(&padded())?,
            Self::Tls(stream) => {
                let mut stream = stream.borrow_mut();
                stream.write_all(&padded())?;
                stream.flush()?;
            }
        }
        Ok(bytes.len())
    }

    pub(crate) fn recv(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.recv(buffer),
            Self::Tcp(stream) => frame(&mut &*stream, buffer),
            Self::Tls(stream) => frame(&mut *stream.borrow_mut(), buffer),
        }
    }

    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> std::io::Result<()> {
        match self {
            Self::Udp(socket) => socket.set_read_timeout(timeout),
            Self::Tcp(stream) => stream.set_read_timeout(timeout),
            Self::Tls(stream) => stream.borrow().sock.set_read_timeout(timeout),
        }
    }

    pub(crate) fn local_addr(&self) -> std::io::Result<SocketAddr> {
        match self {
            Self::Udp(socket) => socket.local_addr(),
            Self::Tcp(stream) => stream.local_addr(),
            Self::Tls(stream) => stream.borrow().sock.local_addr(),
        }
    }

    pub(crate) fn try_clone(&self) -> std::io::Result<Self> {
        Ok(match self {
            Self::Udp(socket) => Self::Udp(socket.try_clone()?),
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
            Self::Tls(_) => return Err(std::io::ErrorKind::Unsupported.into()),
        })
    }
}

/// Reads one message without its padding.
fn frame(stream: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    stream.read_exact(&mut buffer[..4])?;
    let length = usize::from(u16::from_be_bytes([buffer[2], buffer[3]]));
    let whole = if buffer[0] >> 6 == 1 {
        4 + length
    } else {
        20 + length
    };
    let padded = whole.next_multiple_of(4);
    stream.read_exact(&mut buffer[4..padded])?;
    Ok(whole)
}

/// Begins TLS as a client that trusts `root` and offers `alpn`.
pub(crate) fn tls(
    stream: TcpStream,
    root: CertificateDer<'static>,
    alpn: &[&[u8]],
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(session, stream)
}
