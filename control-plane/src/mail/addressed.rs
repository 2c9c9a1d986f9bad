//! Mail of a clinic to somebody who is in it, or was.

use medmesh_base::{PersonId, RequestId};
use medmesh_clinic::{Actor, SystemActor};
use medmesh_store::{MailTo, Store, StoreError};

use super::again;
use crate::jobs::{JobFailure, Run};

/// To whom.
#[derive(Clone, Copy)]
pub(super) enum Whom {
    /// Somebody who is active.
    Active(PersonId),
    /// Somebody, also when they no longer are.
    AlsoFormer(PersonId),
}

/// Where to write to them now, and what their clinic is called; `None` for who is not there (any more), or erased.
pub(super) async fn addressed(
    store: &Store,
    run: Run,
    whom: Whom,
) -> Result<Option<(MailTo, String)>, JobFailure> {
    let clinic = run.clinic_id.ok_or(JobFailure::Never("no_clinic"))?;
    let actor = Actor::System(SystemActor::Upkeep);
    let begun = store.begin(clinic, actor, RequestId::generate()).await;
    let mut tx = begun.map_err(again)?;
    let found = match whom {
        Whom::Active(person) => tx.mail_to(person).await,
        Whom::AlsoFormer(person) => tx.mail_to_former(person).await,
    };
    let to = match found {
        Ok(to) => to,
        Err(StoreError::NotFound) => return Ok(None),
        Err(error) => return Err(again(error)),
    };
    let name = tx.clinic_get().await.map_err(again)?.name;
    tx.rollback().await.map_err(again)?;
    Ok(Some((to, name)))
}
