//! Machines whose certificates count no more, before they have ended by themselves.

use std::collections::BTreeSet;

use tokio::sync::watch;

use crate::identity::Role;

/// Who is refused. Sessions that are served end when their peer comes onto the list.
#[derive(Debug)]
pub(crate) struct Refused(watch::Sender<BTreeSet<Role>>);

impl Default for Refused {
    fn default() -> Self {
        Self(watch::Sender::new(BTreeSet::new()))
    }
}

impl Refused {
    /// Replaces the list.
    pub(crate) fn set(&self, roles: BTreeSet<Role>) {
        self.0.send_if_modified(|refused| {
            let changed = *refused != roles;
            *refused = roles;
            changed
        });
    }

    pub(crate) fn has(&self, role: Role) -> bool {
        self.0.borrow().contains(&role)
    }

    /// Resolves when this machine is on the list.
    pub(crate) async fn comes_to(&self, role: Role) {
        let mut refused = self.0.subscribe();
        // Fails only when the sender is gone, which is this.
        let _ = refused.wait_for(|refused| refused.contains(&role)).await;
    }
}
