//! What can go wrong on a link.

use std::net::SocketAddr;

use quinn::{ConnectionError, TransportErrorCode};

use crate::identity::PeerIdentity;

/// TLS says so of a certificate whose time is over or has not begun (RFC 8446 section 6.2,
/// `certificate_expired`); QUIC carries it as it is (RFC 9001 section 4.8).
const CERTIFICATE_EXPIRED: u8 = 45;

/// Whether a handshake failed because a certificate is out of its time: the peer's as we
/// found, or ours as the peer says.
pub(crate) fn is_expiry(error: &ConnectionError) -> bool {
    let expired = TransportErrorCode::crypto(CERTIFICATE_EXPIRED);
    match error {
        ConnectionError::TransportError(ours) => ours.code == expired,
        ConnectionError::ConnectionClosed(theirs) => theirs.error_code == expired,
        _ => false,
    }
}

/// A certificate, key or CA is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Not a cluster name.
    #[error("not a cluster name: 1 to 63 of a-z, 0-9 and '-' expected")]
    ClusterName,
    /// The certificate does not parse.
    #[error("not an X.509 certificate")]
    Certificate,
    /// No role in it.
    #[error("the certificate does not carry exactly one medmesh:// name")]
    Uri,
    /// The file is not PEM with a PKCS#8 key and a chain.
    #[error("not a PEM file with the expected parts")]
    Pem,
    /// Key and certificate do not belong together.
    #[error("the key is not the certificate's")]
    KeyMismatch,
    /// The certificate request is malformed or not signed by its own key.
    #[error("the certificate request was refused")]
    Request,
    /// The name in the CA certificate is another cluster's.
    #[error("the CA belongs to another cluster")]
    ForeignCa,
    /// Making a key or signing failed.
    #[error("certificate generation failed")]
    Generate(#[source] rcgen::Error),
    /// Reading or writing a file failed.
    #[error("identity file")]
    File(#[from] std::io::Error),
}

/// A link could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The identity cannot be used.
    #[error("identity")]
    Identity(#[from] IdentityError),
    /// TLS could not be configured.
    #[error("TLS configuration")]
    Tls(#[from] rustls::Error),
    /// The UDP socket could not be opened.
    #[error("cannot listen on {address}")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The peer was taken out of the cluster.
    #[error("this machine was removed from the cluster")]
    Removed,
    /// The address does not resolve.
    #[error("cannot resolve {address}")]
    Resolve {
        /// `host:port` as configured.
        address: String,
    },
    /// The handshake could not be started (the endpoint is closed).
    #[error("cannot dial")]
    Dial(#[from] quinn::ConnectError),
    /// The handshake failed or the session ended: wrong CA, wrong role, timeout, closed.
    #[error("session: {0}")]
    Session(#[from] ConnectionError),
    /// No answer within the time a dial may take.
    #[error("no answer within the dial timeout")]
    DialTimeout,
    /// The last dial failed and its pause is not over.
    #[error("waiting before the next dial")]
    BackingOff,
    /// The new certificate is for another machine than the endpoint's.
    #[error("expected a certificate for {expected:?}")]
    OtherIdentity {
        /// Who the endpoint is.
        expected: PeerIdentity,
    },
    /// The stream ended before it carried anything.
    #[error("stream")]
    Stream(#[from] std::io::Error),
}
