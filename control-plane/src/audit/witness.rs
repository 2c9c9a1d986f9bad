//! Who remembers heads where no database administrator reaches: the ledger.

use std::sync::Arc;

use futures::future::BoxFuture;
use medmesh_base::ClinicId;
use medmesh_ledger::{AuditAlarm, AuditLog, Command, Response};

use crate::fleet::Fleet;

/// The ledger, as far as the audit log goes.
pub trait Witness: Send + Sync {
    /// What was witnessed of a clinic's log.
    fn log(&self, clinic: ClinicId) -> Option<Arc<AuditLog>>;
    /// Leaves of a clinic that were committed and did not come into its log.
    fn alarms(&self, clinic: ClinicId) -> Vec<AuditAlarm>;
    /// Brings a command to all voters. The error is for the log.
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Response, String>>;
}

impl Witness for Fleet {
    fn log(&self, clinic: ClinicId) -> Option<Arc<AuditLog>> {
        self.state().audit_logs.get(&clinic).cloned()
    }

    fn alarms(&self, clinic: ClinicId) -> Vec<AuditAlarm> {
        let state = self.state();
        let alarms = state.audit_alarms.iter();
        alarms.filter(|alarm| alarm.clinic == clinic).copied().collect()
    }

    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Response, String>> {
        Box::pin(async move {
            let committed = self.consensus().propose(command).await;
            let committed = committed.map_err(|error| error.to_string())?;
            Ok(committed.response)
        })
    }
}
