//! A certificate lives a day; at two thirds of its life the edge asks for the next one.

use std::path::PathBuf;
use std::time::Duration;

use medmesh_base::drain::Drain;
use medmesh_link::{Backoff, Endpoint, EnrolError, Identity, Peer, TrafficClass, renew};
use time::OffsetDateTime;

/// Pauses between attempts: a third of the life, eight hours, is left for them.
const RETRY_FIRST: Duration = Duration::from_secs(5);
const RETRY_CEILING: Duration = Duration::from_secs(300);

/// Renews until the drain.
pub(crate) async fn keep_fresh(
    endpoint: Endpoint,
    mut identity: Identity,
    file: PathBuf,
    peers: Vec<Peer>,
    drain: Drain,
) {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_CEILING, rand::random());
    loop {
        let due = identity.renew_at() - OffsetDateTime::now_utc();
        // A negative wait is due now.
        let pause = Duration::try_from(due).unwrap_or_default();
        tokio::select! {
            () = drain.stopping() => return,
            () = tokio::time::sleep(pause) => {}
        }
        match ask(&peers, &identity).await {
            Ok(next) => {
                backoff.reset();
                install(&endpoint, &next, &file);
                identity = next;
            }
            Err(error) => {
                tracing::warn!(%error, "certificate not renewed");
                tokio::select! {
                    () = drain.stopping() => return,
                    () = tokio::time::sleep(backoff.next_pause()) => {}
                }
            }
        }
    }
}

/// Asks the control nodes in turn.
async fn ask(peers: &[Peer], identity: &Identity) -> Result<Identity, EnrolError> {
    let mut last = EnrolError::Unavailable;
    for peer in peers {
        match renew(peer.channel(TrafficClass::Fleet), identity).await {
            Ok(next) => return Ok(next),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn install(endpoint: &Endpoint, identity: &Identity, file: &std::path::Path) {
    // On disk first: a crash in between must not leave the edge with the older one only.
    if let Err(error) = identity.save(file) {
        tracing::error!(%error, "renewed certificate not stored");
    }
    match endpoint.swap_identity(identity) {
        Ok(()) => tracing::info!("certificate renewed"),
        Err(error) => tracing::error!(%error, "renewed certificate not usable"),
    }
}
