//! What the relay tells, passed on to whoever listens at this node.

use std::time::Duration;

use medmesh_base::drain::Drain;
use medmesh_store::{Listener, StoreError};

use crate::ephemeral::News;

/// Between attempts to hear the database. Streams look for themselves meanwhile.
const RECONNECT: Duration = Duration::from_secs(1);

/// Listens until the drain stops. `url` reaches the database past any pooler.
pub async fn hear(url: String, news: News, drain: Drain) {
    let mut was_told = false;
    while !drain.is_stopping() {
        tokio::select! {
            () = drain.stopping() => return,
            ended = listen(&url, &news) => {
                if let Err(error) = ended && !std::mem::replace(&mut was_told, true) {
                    tracing::warn!(%error, "events are not heard; streams look for themselves");
                }
            }
        }
        tokio::select! {
            () = drain.stopping() => return,
            () = tokio::time::sleep(RECONNECT) => {}
        }
    }
}

async fn listen(url: &str, news: &News) -> Result<(), StoreError> {
    let mut listener = Listener::open(url).await?;
    loop {
        // After a lost connection something may have been missed: streams look every now and then.
        if let Some(visit) = listener.heard().await? {
            news.tell(visit);
        }
    }
}
