//! News that something changed in a visit, for whoever follows it at this node. Only the visit's
//! id travels: who hears it reads the database, so that a lost message does not matter.
//!
//! What other nodes wrote comes through the database's relay ([`crate::outbox::hear`]).

use medmesh_base::VisitId;
use tokio::sync::broadcast;

/// News a slow listener may be behind. One that misses some looks for itself.
const BACKLOG: usize = 1024;

/// Says and hears which visits changed.
#[derive(Clone)]
pub struct News(broadcast::Sender<VisitId>);

impl Default for News {
    fn default() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }
}

impl News {
    /// Tells every listener of this node.
    pub fn tell(&self, visit: VisitId) {
        // An error means that nobody listens here.
        let _ = self.0.send(visit);
    }

    /// Hears every change from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<VisitId> {
        self.0.subscribe()
    }
}
