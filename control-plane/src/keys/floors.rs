//! Which versions of clinics' keys have ended, where no database administrator reaches: the ledger.
//!
//! When a rotation is done, its clinic's row says below which version nothing is opened any
//! more. Every node brings that to the ledger, where it only rises, and obeys the ledger: a
//! database that is put back does not bring the older versions back. After a backup was
//! restored on purpose an operator says so (`medmesh keys restored`).

use std::collections::HashMap;
use std::time::Duration;

use medmesh_base::ClinicId;
use medmesh_base::drain::Drain;
use medmesh_ledger::State;
use medmesh_store::Store;

use crate::fleet::{Fleet, OperateError};

/// Before the clinic's id in the name of its checkpoint.
const NAME: &str = "key-floor/";
/// How often the ledger is obeyed, and told what is new.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What the ledger says.
fn agreed(state: &State) -> HashMap<ClinicId, u32> {
    let named = state.checkpoints.iter().filter_map(|(name, checkpoint)| {
        let clinic = name.strip_prefix(NAME)?.parse().ok()?;
        let version = checkpoint.bytes.as_slice().try_into().ok()?;
        Some((clinic, u32::from_be_bytes(version)))
    });
    named.collect()
}

/// Obeys the ledger, and tells it of rotations that are done, until the drain stops.
pub async fn watch(fleet: Fleet, store: Store, drain: Drain) {
    loop {
        let floors = agreed(&fleet.state());
        store.keyring().set_floors(floors.clone());
        if let Err(error) = tell(&fleet, &store, &floors).await {
            tracing::debug!(%error, "ended keys are told to the ledger later");
        }
        tokio::select! {
            () = drain.stopping() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn tell(fleet: &Fleet, store: &Store, agreed: &HashMap<ClinicId, u32>) -> anyhow::Result<()> {
    if !fleet.has_leader() {
        return Ok(());
    }
    for (clinic, floor) in store.key_floors().await? {
        if agreed.get(&clinic).is_none_or(|held| *held < floor) {
            set(fleet, clinic, floor).await?;
        }
    }
    Ok(())
}

/// Brings a clinic's floor to all voters.
pub(super) async fn set(fleet: &Fleet, clinic: ClinicId, floor: u32) -> Result<(), OperateError> {
    fleet
        .checkpoint_put(format!("{NAME}{clinic}"), floor.to_be_bytes().to_vec())
        .await
}
