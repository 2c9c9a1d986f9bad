//! A clinic with a log: a real database, real tiles, and the ledger's own state machine.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use medmesh_api_types::audit::AuditProof;
use medmesh_base::{AuditId, ClinicId, RequestId};
use medmesh_clinic::{Actor, Clinic, SystemActor};
use medmesh_ledger::{AuditAlarm, AuditLog, Command, Response, State};
use medmesh_store::embedded::scratch::Scratch;
use medmesh_store::seed::Seed;
use medmesh_store::{AuditTree, Store, Tx};
use medmesh_vault::ClusterSecret;
use tempfile::TempDir;

use crate::audit::{
    Evidence, Log, LogKeys, ProveError, Publisher, Shelf, Verification, Witness, provable, prove, verify,
};

/// The ledger without its replication: every node applies the same.
#[derive(Default)]
pub(super) struct Voter(pub(super) Mutex<State>);

impl Witness for Voter {
    fn log(&self, clinic: ClinicId) -> Option<Arc<AuditLog>> {
        self.0.lock().unwrap().audit_logs.get(&clinic).cloned()
    }

    fn alarms(&self, clinic: ClinicId) -> Vec<AuditAlarm> {
        let state = self.0.lock().unwrap();
        let alarms = state.audit_alarms.iter();
        alarms.filter(|alarm| alarm.clinic == clinic).copied().collect()
    }

    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Response, String>> {
        let response = self.0.lock().unwrap().apply(&command).response;
        Box::pin(async move { Ok(response) })
    }
}

pub(super) struct World {
    pub(super) scratch: Scratch,
    pub(super) store: Store,
    pub(super) clinic: ClinicId,
    pub(super) dir: TempDir,
    pub(super) keys: LogKeys,
    pub(super) shelf: Shelf,
    pub(super) voter: Arc<Voter>,
    pub(super) publisher: Publisher,
}

pub(super) async fn world() -> World {
    let scratch = Scratch::database().await.unwrap();
    let store = scratch.store(4).await.unwrap();
    let seed = Seed {
        clinic: Clinic {
            id: ClinicId::generate(),
            name: "Clinic".to_owned(),
            time_zone: "America/New_York".parse().unwrap(),
            home_region: "us-east".parse().unwrap(),
        },
        people: Vec::new(),
        appointments: Vec::new(),
    };
    store.seed(&scratch.owner_url, &seed).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let secret = ClusterSecret::load_or_create(&dir.path().join("cluster.secret")).unwrap();
    let keys = LogKeys::new("test".to_owned(), secret);
    let shelf = Shelf::local(&dir.path().join("objects")).unwrap();
    let voter = Arc::new(Voter::default());
    let publisher = Publisher::new(store.clone(), keys.clone(), shelf.clone(), voter.clone());
    World {
        scratch,
        store,
        clinic: seed.clinic.id,
        dir,
        keys,
        shelf,
        voter,
        publisher,
    }
}

impl World {
    pub(super) async fn begin(&self) -> Tx {
        let actor = Actor::System(SystemActor::Upkeep);
        let request = RequestId::generate();
        self.store.begin(self.clinic, actor, request).await.unwrap()
    }

    /// Commits this many leaves. The first time there is one more before them: that the clinic's key was fetched.
    pub(super) async fn act(&self, leaves: usize) {
        let mut tx = self.begin().await;
        for _ in 0..leaves {
            tx.audit_verified().await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// Gives every leaf its place and publishes the head.
    pub(super) async fn publish(&self) -> AuditTree {
        while self.store.audit_sequence().await.unwrap() > 0 {}
        for tree in self.store.audit_unpublished().await.unwrap() {
            self.publisher.publish(&tree).await.unwrap();
        }
        let tree = self.begin().await.audit_tree().await.unwrap();
        tree.unwrap()
    }

    pub(super) async fn verify(&self) -> Verification {
        let mut tx = self.begin().await;
        verify(&mut tx, &self.evidence(), Duration::ZERO).await.unwrap()
    }

    pub(super) async fn first_leaf(&self) -> AuditId {
        let mut tx = self.begin().await;
        tx.audit_leaves(0).await.unwrap()[0].id
    }

    pub(super) async fn prove(&self, leaf: AuditId) -> Result<AuditProof, ProveError> {
        let mut tx = self.begin().await;
        let found = tx.audit_leaf(leaf).await?;
        let asked = provable(&mut tx, found).await?;
        tx.rollback().await?;
        prove(&self.evidence(), asked).await
    }

    pub(super) fn log(&self) -> Log {
        self.evidence().log(self.clinic)
    }

    pub(super) fn evidence(&self) -> Evidence<'_> {
        Evidence {
            keys: &self.keys,
            shelf: &self.shelf,
            witness: &*self.voter,
            cosigner: None,
        }
    }

    /// Where the clinic's published files are.
    pub(super) fn published(&self) -> std::path::PathBuf {
        let name = format!("objects/audit/{}", self.clinic);
        self.dir.path().join(name)
    }
}

/// Every file under a directory.
pub(super) fn files(dir: &Path) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.clone(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}
