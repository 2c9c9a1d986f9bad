//! News that something changed in a visit. Only the visit's id travels: who hears
//! it reads the database, so that neither Redis nor a lost message can matter.

use std::time::Duration;

use futures::StreamExt as _;
use medmesh_base::VisitId;
use medmesh_base::drain::Drain;
use tokio::sync::broadcast;

use super::shared::Shared;

/// News a slow listener may be behind. One that misses some looks for itself.
const BACKLOG: usize = 1024;
/// Between attempts to hear Redis.
const RECONNECT: Duration = Duration::from_secs(1);

/// Says and hears which visits changed.
#[derive(Clone)]
pub struct News {
    local: broadcast::Sender<VisitId>,
    shared: Option<Shared>,
}

impl News {
    pub(super) fn new(shared: Option<Shared>) -> Self {
        Self {
            local: broadcast::Sender::new(BACKLOG),
            shared,
        }
    }

    /// Tells every listener of every node. A failure is harmless: listeners look for
    /// themselves now and then.
    pub async fn tell(&self, visit: VisitId) {
        // An error means that nobody listens here.
        let _ = self.local.send(visit);
        if let Some(shared) = &self.shared {
            shared.publish(&visit.to_string()).await;
        }
    }

    /// Hears every change from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<VisitId> {
        self.local.subscribe()
    }

    /// Whether changes on other nodes are heard.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Passes on what other nodes say, until the drain stops.
    pub async fn run(self, drain: Drain) {
        let Some(shared) = self.shared.clone() else { return };
        while !drain.is_stopping() {
            tokio::select! {
                () = drain.stopping() => return,
                () = self.relay(&shared) => {}
            }
            tokio::select! {
                () = drain.stopping() => return,
                () = tokio::time::sleep(RECONNECT) => {}
            }
        }
    }

    async fn relay(&self, shared: &Shared) {
        // The counters complain when Redis is away; here it is only tried again.
        let Ok(hearing) = shared.listen().await else {
            return;
        };
        let mut messages = hearing.into_on_message();
        while let Some(message) = messages.next().await {
            let visit = message.get_payload::<String>().ok();
            if let Some(visit) = visit.and_then(|text| text.parse().ok()) {
                let _ = self.local.send(visit);
            }
        }
    }
}
