//! Streams end with their session, also when it was ended at another node.
//!
//! Every request asks the database for its session; a stream asks once, when it opens. So while
//! any stream is open this node looks which sessions were ended of late. It asks the database
//! rather than being told by other nodes: a lost message must not leave somebody watching.

use std::time::Duration;

use medmesh_base::drain::Drain;
use medmesh_store::Store;
use time::OffsetDateTime;

use super::Live;

/// How often is looked. An ended session must be without effect within a second.
const LOOK_EVERY: Duration = Duration::from_millis(400);
/// How far back is looked: a transaction that ended a session may commit as late as its
/// statement may take (15 s), and the clocks of nodes differ a little.
const LOOK_BACK: time::Duration = time::Duration::seconds(30);

/// Cuts streams until the drain stops.
pub async fn run(live: Live, store: Store, drain: Drain) {
    let mut was_told = false;
    loop {
        tokio::select! {
            () = drain.stopping() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if !live.is_watched() {
            continue;
        }
        match store
            .sessions_revoked(OffsetDateTime::now_utc() - LOOK_BACK)
            .await
        {
            Ok(ended) => {
                was_told = false;
                ended.into_iter().for_each(|session| live.end(session));
            }
            // Once is enough in the log. A stream shows nothing new without the database either.
            Err(error) if !was_told => {
                was_told = true;
                tracing::warn!(%error, "ended sessions not read");
            }
            Err(_) => {}
        }
    }
}
