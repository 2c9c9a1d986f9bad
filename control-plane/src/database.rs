//! The store, as soon as PostgreSQL is there.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use medmesh_base::ProblemCode;
use medmesh_base::drain::Drain;
use medmesh_store::{Keyring, Store};
use tokio::sync::Notify;

use crate::http::ApiError;

/// Between attempts to connect.
const RECONNECT: Duration = Duration::from_secs(1);

/// The store, once connected. The pool inside reconnects by itself later.
#[derive(Clone, Debug, Default)]
pub struct Database {
    store: Arc<OnceLock<Store>>,
    arrived: Arc<Notify>,
}

impl Database {
    /// The store.
    ///
    /// # Errors
    /// 503 while it was never reached.
    pub fn store(&self) -> Result<&Store, ApiError> {
        self.store
            .get()
            .ok_or_else(|| ApiError::new(ProblemCode::Unavailable).retry_after(RECONNECT.as_secs()))
    }

    /// Waits for the store.
    pub async fn connected(&self) -> Store {
        loop {
            let arrived = self.arrived.notified();
            if let Some(store) = self.store.get() {
                return store.clone();
            }
            arrived.await;
        }
    }

    /// Whether the database answers at this moment.
    pub async fn is_ready(&self) -> bool {
        match self.store.get() {
            Some(store) => store.ping().await.is_ok(),
            None => false,
        }
    }

    /// Connects, again and again until it works or the drain stops.
    pub async fn connect(self, url: String, max_connections: u32, keyring: Keyring, drain: Drain) {
        let mut was_told = false;
        loop {
            let attempt = tokio::select! {
                () = drain.stopping() => return,
                attempt = Store::connect(&url, max_connections, keyring.clone()) => attempt,
            };
            match attempt {
                Ok(store) => {
                    self.adopt(store);
                    tracing::info!("database connected");
                    return;
                }
                // Once is enough in the log; readiness tells the rest.
                Err(error) if !was_told => {
                    was_told = true;
                    tracing::warn!(%error, "database not usable yet");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = drain.stopping() => return,
                () = tokio::time::sleep(RECONNECT) => {}
            }
        }
    }

    /// Uses this store. A second one is ignored.
    pub fn adopt(&self, store: Store) {
        let _ = self.store.set(store);
        self.arrived.notify_waiters();
    }

    /// Closes the pool, if there ever was one.
    pub async fn close(&self) {
        if let Some(store) = self.store.get() {
            store.close().await;
        }
    }
}
