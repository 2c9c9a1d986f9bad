//! What handlers work with.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use http::HeaderMap;
use medmesh_base::RequestId;
use medmesh_base::drain::Drain;
use medmesh_store::Tx;
use object_store::ObjectStore;

use super::caller::Acting;
use super::challenge::Challenges;
use super::error::ApiError;
use super::limits::Limits;
use super::metrics::Metrics;
use super::password::Passwords;
use super::server::Peer;
use super::throttle::Throttle;
use crate::audit::Logs;
use crate::database::Database;
use crate::live::Live;
use crate::mail::Mail;
use crate::media::Media;
use crate::oidc::{Flows, Oidc};
use crate::record_export::TokenKeys;

/// Everything a handler may use. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Parts>);

/// The parts of [`Api`].
pub struct Parts {
    /// PostgreSQL.
    pub database: Database,
    /// Who changed what just now.
    pub live: Live,
    /// From a visit to its edges.
    pub media: Media,
    /// Counters.
    pub metrics: Metrics,
    /// Raised when the process stops; long answers end then.
    pub drain: Drain,
    /// Origins unsafe requests may come from.
    pub origins: Vec<String>,
    /// Whether the last entry of `X-Forwarded-For` is the client.
    pub trust_forwarded_for: bool,
    /// Mail with links.
    pub(crate) mail: Mail,
    /// The domain passkeys are made for.
    pub(crate) rp_id: String,
    /// Makes and knows the challenges behind passkeys.
    pub(crate) challenges: Challenges,
    /// Keys the digests of creating requests.
    pub(crate) digest_key: Vec<u8>,
    /// Outside providers.
    pub(crate) oidc: Oidc,
    /// Sign-ins there that are under way.
    pub(crate) flows: Flows,
    /// The audit logs as evidence.
    pub(crate) logs: Logs,
    /// Where copies of records are.
    pub(crate) objects: Arc<dyn ObjectStore>,
    /// What verifies them.
    pub(crate) token_keys: TokenKeys,
    pub(crate) passwords: Passwords,
    pub(crate) throttle: Throttle,
    pub(crate) limits: Limits,
}

impl Deref for Api {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Api {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// A transaction of the caller's clinic, for the caller, bound to the route's action.
    pub(super) async fn begin(&self, who: &dyn Acting) -> Result<Tx, ApiError> {
        let act = who.act();
        let store = self.database.store()?;
        let tx = store.begin(act.clinic_id, act.actor, act.request_id).await?;
        Ok(tx.declared(act.action, act.purpose))
    }

    /// The client's address: the peer's, or what a trusted proxy on this machine says.
    pub(super) fn client_address(&self, peer: Peer, headers: &HeaderMap) -> IpAddr {
        if self.trust_forwarded_for && peer.ip().is_loopback() {
            forwarded_for(headers).unwrap_or(peer.ip())
        } else {
            peer.ip()
        }
    }
}

/// Whom the nearest proxy names: the last one of the last header.
pub(super) fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?;
    last.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
}

/// The id of the request a handler works on.
pub(super) fn request_id(extensions: &http::Extensions) -> RequestId {
    *extensions
        .get::<RequestId>()
        .expect("the observing layer is outside of every handler")
}
