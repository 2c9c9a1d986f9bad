//! Who this edge is: from disk, or by enrolling once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use medmesh_base::EdgeId;
use medmesh_link::{
    Backoff, EnrolError, Identity, IdentityError, JoinToken, Role, Trust, enrol, load_certificate,
};
use medmesh_wire::fleet::EdgeDescriptor;
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::files;

/// Pauses between attempts to enrol while no control node answers.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_CEILING: Duration = Duration::from_secs(5);

/// Where the identity lives inside the data directory.
#[derive(Clone, Debug)]
pub struct IdentityFiles {
    /// Key and chain, PEM, 0600.
    pub identity: PathBuf,
    /// The cluster's CA, PEM.
    pub ca: PathBuf,
    /// Control nodes' addresses, one a line.
    pub nodes: PathBuf,
}

impl IdentityFiles {
    /// The files under `data_dir`.
    #[must_use]
    pub fn under(data_dir: &Path) -> Self {
        Self {
            identity: data_dir.join("identity.pem"),
            ca: data_dir.join("ca.pem"),
            nodes: data_dir.join("control-nodes"),
        }
    }
}

/// The edge has no identity and cannot get one.
#[derive(Debug, thiserror::Error)]
pub enum ObtainError {
    /// Neither an identity on disk nor a token to get one.
    #[error("this edge has not enrolled: control.join_token_file is needed")]
    NoToken,
    /// The certificate ended while the edge was away.
    #[error("the edge's certificate has ended: enrol again with a new join token")]
    Ended,
    /// The certificate ended while the edge was away, and the token that is there does not help.
    #[error(
        "the edge's certificate has ended, and the join token in {path} was refused: put a new one there"
    )]
    EndedAndRefused {
        /// The token's file.
        path: PathBuf,
        /// What the control plane says of it.
        #[source]
        source: EnrolError,
    },
    /// The token file cannot be read.
    #[error("cannot read the join token in {path}")]
    TokenFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The control plane said no.
    #[error("enrolment")]
    Enrol(#[from] EnrolError),
    /// What is on disk is not an edge's identity.
    #[error("identity on disk")]
    Identity(#[from] IdentityError),
    /// The files cannot be written.
    #[error("cannot store the identity")]
    File(#[from] std::io::Error),
}

/// An edge that may speak for itself.
pub(crate) struct EnrolledEdge {
    pub(crate) edge: EdgeId,
    pub(crate) identity: Identity,
    pub(crate) trust: Trust,
    pub(crate) nodes: Vec<String>,
}

/// The identity on disk, or a new one for the join token. While no control node answers it
/// keeps asking; drop the future to give up.
pub(crate) async fn obtain(
    data_dir: &Path,
    join_token_file: Option<&Path>,
    nodes: &[String],
    descriptor: &EdgeDescriptor,
) -> Result<EnrolledEdge, ObtainError> {
    let stored = IdentityFiles::under(data_dir);
    let mut ended = false;
    if stored.identity.exists() {
        let identity = Identity::load(&stored.identity)?;
        if identity.not_after() > OffsetDateTime::now_utc() {
            let ca = load_certificate(&stored.ca)?;
            return enrolled(identity, &ca, &stored, nodes);
        }
        // Many take the file away once it has served.
        if !join_token_file.is_some_and(Path::exists) {
            return Err(ObtainError::Ended);
        }
        ended = true;
    }
    let path = join_token_file.ok_or(ObtainError::NoToken)?;
    let token_text = std::fs::read_to_string(path).map_err(|source| ObtainError::TokenFile {
        path: path.to_owned(),
        source,
    })?;
    let token: JoinToken = token_text.parse().map_err(EnrolError::from)?;
    let answer = enrol_patiently(&token_text, descriptor)
        .await
        .map_err(|source| match source {
            EnrolError::Refused { .. } if ended => ObtainError::EndedAndRefused {
                path: path.to_owned(),
                source,
            },
            other => other.into(),
        })?;
    // The CA and the addresses first: an identity without them would look finished.
    files::write_private(&stored.ca, pem("CERTIFICATE", &answer.ca).as_bytes())?;
    files::write_private(&stored.nodes, token.control.join("\n").as_bytes())?;
    answer.identity.save(&stored.identity)?;
    tracing::info!(edge = %answer.edge, "enrolled");
    enrolled(answer.identity, &answer.ca, &stored, nodes)
}

async fn enrol_patiently(
    token: &str,
    descriptor: &EdgeDescriptor,
) -> Result<medmesh_link::Enrolled, EnrolError> {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_CEILING, rand::random());
    loop {
        match enrol(token, descriptor.clone()).await {
            Err(EnrolError::Unavailable) => tokio::time::sleep(backoff.next_pause()).await,
            settled => return settled,
        }
    }
}

fn enrolled(
    identity: Identity,
    ca: &CertificateDer<'static>,
    stored: &IdentityFiles,
    nodes: &[String],
) -> Result<EnrolledEdge, ObtainError> {
    let Role::Edge(edge) = identity.peer().role else {
        return Err(IdentityError::Uri.into());
    };
    let nodes = if nodes.is_empty() {
        match std::fs::read_to_string(&stored.nodes) {
            Ok(text) => text.lines().map(str::to_owned).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error.into()),
        }
    } else {
        nodes.to_vec()
    };
    Ok(EnrolledEdge {
        edge,
        trust: Trust::new(identity.peer().cluster.clone(), ca)?,
        identity,
        nodes,
    })
}

/// One PEM block (RFC 7468).
fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::prelude::BASE64_STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(64) {
        text.extend(line.iter().copied().map(char::from));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}
