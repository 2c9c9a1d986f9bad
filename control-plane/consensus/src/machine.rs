//! The ledger as openraft's state machine: in memory, rebuilt from the newest
//! snapshot and the log after it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use medmesh_ledger::{Command, Event, State};
use openraft::entry::RaftEntry as _;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use parking_lot::RwLock;
use tokio::sync::{broadcast, watch};

use crate::changes::Change;
use crate::log::replay::LogError;
use crate::metrics::MachineMetrics;
use crate::snapshot::SnapshotStore;
use crate::types::{LogId, Reply, Snapshot, SnapshotBytes, SnapshotMeta, StoredMembership, Types};

/// Changes a subscriber may lag behind before it is told to look at everything again.
const CHANGES_WAITING_MAX: usize = 4096;

/// The state machine; clones share it.
#[derive(Clone)]
pub(crate) struct Machine {
    held: Arc<RwLock<Held>>,
    applied: watch::Sender<u64>,
    changes: broadcast::Sender<Change>,
    snapshots: SnapshotStore,
    metrics: MachineMetrics,
}

struct Held {
    // Readers clone the Arc under the read lock; the writer copies the state
    // only while a reader still holds an older one.
    state: Arc<State>,
    applied: Option<LogId>,
    membership: StoredMembership,
}

impl Machine {
    /// A machine at the newest snapshot of `snapshots`.
    ///
    /// # Errors
    /// When the snapshot was written by a build this one cannot read.
    pub(crate) fn new(
        snapshots: SnapshotStore,
        newest: Option<Snapshot>,
        metrics: MachineMetrics,
    ) -> io::Result<Self> {
        let held = match newest {
            None => Held {
                state: Arc::default(),
                applied: None,
                membership: StoredMembership::default(),
            },
            Some(Snapshot { meta, snapshot }) => Held {
                state: Arc::new(decode(&snapshot)?),
                applied: meta.last_log_id,
                membership: meta.last_membership,
            },
        };
        let (changes, _) = broadcast::channel(CHANGES_WAITING_MAX);
        let (applied, _) = watch::channel(held.applied.map_or(0, |id| id.index()));
        Ok(Self {
            held: Arc::new(RwLock::new(held)),
            applied,
            changes,
            snapshots,
            metrics,
        })
    }

    /// The state as of the last applied entry.
    pub(crate) fn state(&self) -> Arc<State> {
        self.held.read().state.clone()
    }

    /// Resolves once the state is at `index` or beyond.
    pub(crate) async fn wait_applied(&self, index: u64) {
        // The sender lives as long as self.
        let _ = self
            .applied
            .subscribe()
            .wait_for(|applied| *applied >= index)
            .await;
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    fn apply_entry(&self, entry: &crate::types::Entry) -> io::Result<Reply> {
        let command = match &entry.payload {
            EntryPayload::Normal(proposal) => Some(Command::decode(&proposal.0).map_err(|error| {
                // Going on without it would make this node differ from its peers.
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "entry {} cannot be read by this build ({error}): upgrade this node",
                        entry.index()
                    ),
                )
            })?),
            _ => None,
        };
        let mut held = self.held.write();
        held.applied = Some(entry.log_id());
        if let Some(membership) = entry.get_membership() {
            held.membership = StoredMembership::new(Some(entry.log_id()), membership);
        }
        let applied = command.map(|command| Arc::make_mut(&mut held.state).apply(&command));
        drop(held);
        self.applied.send_replace(entry.index());
        let Some(applied) = applied else {
            return Ok(Reply(None));
        };
        self.publish(entry.index(), applied.events);
        Ok(Reply(Some(applied.response)))
    }

    fn publish(&self, index: u64, events: Vec<Event>) {
        if !events.is_empty() {
            // Nobody listening is fine.
            let _ = self.changes.send(Change {
                index,
                events: events.into(),
            });
        }
    }
}

fn decode(bytes: &[u8]) -> io::Result<State> {
    State::decode(bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("snapshot: {error}")))
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = SnapshotBytes;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let held = self.held.read();
        Ok((held.applied, held.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let reply = self.apply_entry(&entry)?;
            if let Some(responder) = responder {
                responder.send(reply);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let held = self.held.read();
        Builder {
            state: held.state.clone(),
            meta: SnapshotMeta {
                last_log_id: held.applied,
                last_membership: held.membership.clone(),
            },
            snapshots: self.snapshots.clone(),
            metrics: self.metrics.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Bytes) -> Result<(), io::Error> {
        let snapshots = self.snapshots.clone();
        let saved = meta.clone();
        let state = blocking(move || {
            let state = decode(&snapshot)?;
            snapshots.save(&saved, &snapshot).map_err(io::Error::other)?;
            Ok(state)
        })
        .await?;
        {
            let mut held = self.held.write();
            held.state = Arc::new(state);
            held.applied = meta.last_log_id;
            held.membership = meta.last_membership.clone();
        }
        self.metrics.snapshot("installed");
        let index = meta.last_log_id.map_or(0, |id| id.index());
        self.applied.send_replace(index);
        self.publish(index, vec![Event::Replaced]);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let snapshots = self.snapshots.clone();
        blocking(move || snapshots.load().map_err(io::Error::other)).await
    }
}

/// A view of the state, to be written out while the machine goes on.
pub(crate) struct Builder {
    state: Arc<State>,
    meta: SnapshotMeta,
    snapshots: SnapshotStore,
    metrics: MachineMetrics,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotBytes;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let (state, meta, snapshots) = (self.state.clone(), self.meta.clone(), self.snapshots.clone());
        let bytes = blocking(move || {
            let bytes = Bytes::from(state.encode());
            snapshots.save(&meta, &bytes).map_err(io::Error::other)?;
            Ok(bytes)
        })
        .await?;
        self.metrics.snapshot("built");
        Ok(Snapshot {
            meta: self.meta.clone(),
            snapshot: bytes,
        })
    }
}

/// Runs what blocks away from the runtime's workers.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

impl From<LogError> for io::Error {
    fn from(error: LogError) -> Self {
        Self::other(error)
    }
}
