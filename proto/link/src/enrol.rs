//! How a machine with nothing but a join token gets its certificate, and how it
//! gets the next one.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use medmesh_base::EdgeId;
use medmesh_wire::fleet::enrolment_client::EnrolmentClient;
use medmesh_wire::fleet::fleet_client::FleetClient;
use medmesh_wire::fleet::{EdgeDescriptor, EnrolRequest, EnrolResponse, RenewRequest};
use rustls_pki_types::CertificateDer;
use tonic::Code;
use tonic::transport::Channel;

use crate::ca::{CaFingerprint, KeyRequest};
use crate::endpoint::{quinn_client, resolve};
use crate::error::{IdentityError, LinkError};
use crate::identity::{Identity, Role};
use crate::join::{JoinToken, JoinTokenError};
use crate::stream::{PeerInfo, QuicStream, StreamClass};
use crate::tls;

/// Enrolment waits for a commit in the fleet's log: seconds while a leader is elected.
const ENROL_TIMEOUT: Duration = Duration::from_secs(10);

/// Enrolment did not lead to a certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The token is not one.
    #[error("join token")]
    Token(#[from] JoinTokenError),
    /// The control plane said no: the token is spent, expired or unknown.
    #[error("the control plane refused: {message}")]
    Refused {
        /// Its words.
        message: String,
    },
    /// No control node of the token could be reached or could decide; trying again later may help.
    #[error("no control node could enrol us")]
    Unavailable,
    /// The answer is not a certificate for our key from the pinned CA.
    #[error("the answer was refused")]
    Answer(#[from] IdentityError),
}

/// What enrolment leads to. Store both; the token is spent.
#[derive(Debug)]
pub struct Enrolled {
    /// Which edge this is from now on.
    pub edge: EdgeId,
    /// Its certificate and key.
    pub identity: Identity,
    /// The CA to trust.
    pub ca: CertificateDer<'static>,
}

/// Trades the join token for a certificate, asking the token's control nodes in turn.
///
/// # Errors
/// [`EnrolError`]; only [`EnrolError::Unavailable`] is worth trying again.
pub async fn enrol(token_text: &str, edge: EdgeDescriptor) -> Result<Enrolled, EnrolError> {
    let token: JoinToken = token_text.parse()?;
    let request = KeyRequest::generate()?;
    for address in &token.control {
        let ask = EnrolRequest {
            join_token: token_text.trim().to_owned(),
            csr_der: request.csr_der().to_vec(),
            edge: Some(edge.clone()),
        };
        match tokio::time::timeout(ENROL_TIMEOUT, ask_one(&token, address, ask)).await {
            Ok(Ok(Ok(response))) => return accept(&token, request, response),
            Ok(Ok(Err(status))) => match status.code() {
                Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown => {
                    tracing::info!(%address, code = ?status.code(), "enrolment: not answered");
                }
                _ => {
                    return Err(EnrolError::Refused {
                        message: status.message().to_owned(),
                    });
                }
            },
            Ok(Err(error)) => tracing::info!(%address, %error, "enrolment: no session"),
            Err(_) => tracing::info!(%address, "enrolment: no answer in time"),
        }
    }
    Err(EnrolError::Unavailable)
}

async fn ask_one(
    token: &JoinToken,
    address: &str,
    ask: EnrolRequest,
) -> Result<Result<EnrolResponse, tonic::Status>, LinkError> {
    let (endpoint, channel) = enrol_channel(token, address).await?;
    let answer = EnrolmentClient::new(channel).enrol(ask).await;
    endpoint.close(crate::CloseReason::Done.code(), b"");
    Ok(answer.map(tonic::Response::into_inner))
}

/// A channel over the enrolment protocol. It can call `Enrolment` and nothing else;
/// the returned endpoint must live as long as the channel is used.
///
/// # Errors
/// When nobody answers at `address`, or somebody whose CA is not the token's.
pub async fn enrol_channel(
    token: &JoinToken,
    address: &str,
) -> Result<(quinn::Endpoint, Channel), LinkError> {
    let any_v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let any_v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let (remote, local) = match resolve(address, any_v4).await {
        Ok(remote) => (remote, any_v4),
        Err(_) => (resolve(address, any_v6).await?, any_v6),
    };
    let endpoint = quinn::Endpoint::client(local).map_err(|source| LinkError::Bind {
        address: local,
        source,
    })?;
    let config = quinn_client(tls::enrol_config(token.cluster.clone(), token.ca)?)?;
    let connection = endpoint.connect_with(config, remote, tls::SERVER_NAME)?.await?;
    let connector = tower::service_fn(move |_: http::Uri| {
        let connection = connection.clone();
        async move {
            let (mut send, recv) = connection.open_bi().await?;
            send.write_all(&[StreamClass::Grpc.byte()])
                .await
                .map_err(std::io::Error::from)?;
            let info = PeerInfo {
                identity: None,
                remote: connection.remote_address(),
            };
            Ok::<_, LinkError>(TokioIo::new(QuicStream::new(send, recv, info)))
        }
    });
    let channel = tonic::transport::Endpoint::from_static("http://link.medmesh.invalid")
        .connect_with_connector_lazy(connector);
    Ok((endpoint, channel))
}

fn accept(token: &JoinToken, request: KeyRequest, response: EnrolResponse) -> Result<Enrolled, EnrolError> {
    let ca = CertificateDer::from(response.ca_der);
    if CaFingerprint::of(&ca) != token.ca {
        return Err(IdentityError::ForeignCa.into());
    }
    let chain = response.chain_der.into_iter().map(CertificateDer::from).collect();
    let identity = request.into_identity(chain)?;
    match identity.peer().role {
        Role::Edge(edge) if identity.peer().cluster == token.cluster => Ok(Enrolled { edge, identity, ca }),
        _ => Err(IdentityError::Uri.into()),
    }
}

/// Asks for the next certificate over a link that the present one opened
/// (a [`crate::Peer::channel`] to a control node). Give the result to
/// [`crate::Endpoint::swap_identity`] and save it.
///
/// # Errors
/// When the control plane cannot be reached or its answer is not for our key and name.
pub async fn renew(channel: Channel, current: &Identity) -> Result<Identity, EnrolError> {
    let request = KeyRequest::generate()?;
    let ask = RenewRequest {
        csr_der: request.csr_der().to_vec(),
    };
    let response = match FleetClient::new(channel).renew(ask).await {
        Ok(response) => response.into_inner(),
        Err(status) if status.code() == Code::PermissionDenied => {
            return Err(EnrolError::Refused {
                message: status.message().to_owned(),
            });
        }
        Err(_) => return Err(EnrolError::Unavailable),
    };
    let chain = response.chain_der.into_iter().map(CertificateDer::from).collect();
    let identity = request.into_identity(chain)?;
    if identity.peer() == current.peer() {
        Ok(identity)
    } else {
        Err(IdentityError::Uri.into())
    }
}
