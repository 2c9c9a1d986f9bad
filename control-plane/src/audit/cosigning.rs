//! The node that leads has the outside witness sign heads, in its own time.

use medmesh_base::drain::Drain;
use medmesh_store::AuditLogState;
use time::OffsetDateTime;

use super::cosigner::{CosignError, Cosigner};
use super::metrics::AuditMetrics;
use super::publish::Publisher;

/// Asks for each log that has grown, until the drain stops.
pub async fn cosign(publisher: Publisher, cosigner: Cosigner, metrics: AuditMetrics, drain: Drain) {
    loop {
        tokio::select! {
            () = drain.stopping() => return,
            () = tokio::time::sleep(cosigner.every()) => {}
        }
        if !metrics.is_leading() {
            continue;
        }
        tokio::select! {
            () = drain.stopping() => return,
            () = publisher.cosign_all(&cosigner, &metrics) => {}
        }
    }
}

impl Publisher {
    /// One question for each log with a head that the witness has not signed.
    pub(super) async fn cosign_all(&self, cosigner: &Cosigner, metrics: &AuditMetrics) {
        let logs = match self.store.audit_uncosigned().await {
            Ok(logs) => logs,
            Err(error) => {
                tracing::warn!(%error, "audit heads not shown to the outside witness");
                return;
            }
        };
        let mut refused = 0;
        for log in logs {
            let asked = cosigner
                .cosign(
                    self.log(log.clinic_id).place,
                    &*self.witness,
                    &self.shelf,
                    log.cosigned_size,
                )
                .await;
            match asked {
                Ok(cosigned) => {
                    metrics.cosigned("signed");
                    let (size, note) = (cosigned.head.size, cosigned.note);
                    if let Err(error) = self.store.audit_cosigned(log.clinic_id, size, &note).await {
                        tracing::warn!(%error, "a cosignature was not kept");
                    }
                }
                Err(error) => {
                    refused += i64::from(matches!(error, CosignError::Refused(_)));
                    self.not_cosigned(&log, &error, metrics).await;
                    if matches!(error, CosignError::Away(_)) {
                        // It will be away for the others, too.
                        break;
                    }
                }
            }
        }
        metrics.refused_logs.set(refused);
    }

    async fn not_cosigned(&self, log: &AuditLogState, error: &CosignError, metrics: &AuditMetrics) {
        let clinic = log.clinic_id;
        match error {
            CosignError::Refused(_) => {
                metrics.cosigned("refused");
                tracing::error!(%clinic, %error, "the audit log is not the one the outside witness knows");
                let now = OffsetDateTime::now_utc();
                if let Err(error) = self.store.audit_cosign_refused(clinic, now).await {
                    tracing::warn!(%error, "a refusal was not kept");
                }
            }
            CosignError::Away(_) => {
                metrics.cosigned("away");
                tracing::warn!(%clinic, %error, "audit head not signed outside");
            }
            CosignError::Unknown(_) => {
                metrics.cosigned("unknown");
                tracing::warn!(%clinic, %error, "audit head not signed outside");
            }
            CosignError::NotYet => {}
            CosignError::Shelf(_) | CosignError::Proof(_) | CosignError::Head(_) => {
                metrics.cosigned("failed");
                tracing::warn!(%clinic, %error, "audit head not shown to the outside witness");
            }
        }
    }
}
