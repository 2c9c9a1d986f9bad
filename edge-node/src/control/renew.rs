//! A certificate lives a day; at two thirds of its life the edge asks for the next one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use medmesh_base::drain::Drain;
use medmesh_link::{Backoff, Endpoint, EnrolError, Identity, Peer, TrafficClass, renew};
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::metrics::Metrics;

/// Pauses between attempts: a third of the life, eight hours, is left for them.
const RETRY_FIRST: Duration = Duration::from_secs(5);
const RETRY_CEILING: Duration = Duration::from_secs(300);

/// Tries that fit into what is left of a certificate, however short it lives.
const TRIES_LEFT: u32 = 8;
/// And no closer together than this.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// Renews until the drain. `renewed` counts.
pub(crate) async fn keep_fresh(
    endpoint: Endpoint,
    mut identity: Identity,
    file: PathBuf,
    peers: Vec<Peer>,
    renewed: watch::Sender<u64>,
    metrics: Arc<Metrics>,
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
                metrics.certificate_renewal(true);
                // The attachments move to sessions of the new certificate, one beside the other.
                renewed.send_modify(|count| *count += 1);
            }
            Err(error) => {
                metrics.certificate_renewal(false);
                let left = identity.not_after() - OffsetDateTime::now_utc();
                if left.is_positive() {
                    tracing::warn!(%error, left_seconds = left.whole_seconds(), "certificate not renewed");
                } else {
                    tracing::error!(
                        "the edge's certificate has ended and no control node takes it any more: \
                         enrol again with a new join token"
                    );
                }
                let pause = pause_within(backoff.next_pause(), left);
                tokio::select! {
                    () = drain.stopping() => return,
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }
}

/// A pause that leaves time for some more tries before the certificate ends.
fn pause_within(pause: Duration, left: time::Duration) -> Duration {
    match Duration::try_from(left) {
        Ok(left) if !left.is_zero() => pause.min(left / TRIES_LEFT).max(PAUSE_MIN),
        // It has ended: nothing is urgent any more.
        _ => pause,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_fit_into_what_is_left() {
        let long = time::Duration::hours(8);
        assert_eq!(pause_within(RETRY_FIRST, long), RETRY_FIRST);
        assert_eq!(
            pause_within(RETRY_CEILING, time::Duration::seconds(80)),
            Duration::from_secs(10)
        );
        assert_eq!(
            pause_within(RETRY_FIRST, time::Duration::milliseconds(5)),
            PAUSE_MIN
        );
        assert_eq!(
            pause_within(RETRY_CEILING, time::Duration::seconds(-1)),
            RETRY_CEILING
        );
    }
}
