//! `medmesh audit`: is the log whole, and proofs that need nobody's word.

use std::path::PathBuf;

use clap::Subcommand;
use medmesh_api_client::Operator;
use medmesh_api_types::audit::{AuditAnnouncement, AuditFinding, AuditLogHead, AuditVerification};
use medmesh_base::{AuditId, ClinicId};

use super::table::{NONE, table};

/// What can be asked of audit logs.
#[derive(Subcommand, Clone, Debug)]
pub enum AuditVerb {
    /// The logs and their witnessed heads
    Logs,
    /// Read logs again, every leaf, and say what is wrong; the exit code says whether something is
    Verify {
        /// Only this clinic's; all without
        #[arg(long)]
        clinic: Option<ClinicId>,
    },
    /// Make a proof of one leaf that somebody else can check without asking us
    Prove {
        /// Which leaf
        leaf: AuditId,
        /// Whose log
        #[arg(long)]
        clinic: ClinicId,
        /// Where to write it; printed without
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Give a log its next signing key; heads signed before stay good, proofs lead from the old key to the new
    RotateKey {
        /// Whose log
        #[arg(long)]
        clinic: ClinicId,
    },
    /// Let a log go on whose database was put back to an earlier time; every verification tells of the gap
    Resume {
        /// Whose log
        #[arg(long)]
        clinic: ClinicId,
        /// Kept for good and published: a ticket's number and the backup's time, nobody's name
        #[arg(long)]
        reason: String,
    },
    /// Check a proof, offline, and say what the proved event is
    Check {
        /// The proof
        file: PathBuf,
        /// Verifier key of the log, which came to you by another way than the proof
        #[arg(long)]
        key: String,
        /// Verifier key of an outside witness who must have signed the head, too
        #[arg(long)]
        witness: Option<String>,
    },
    /// Check, offline, that a later head extends one that was kept: nothing under it was changed
    Extends {
        /// The head that was kept, or a proof that was: JSON with a `checkpoint`, or the checkpoint itself
        kept: PathBuf,
        /// The proof of consistency
        file: PathBuf,
        /// Verifier key of the log, which came to you by another way than the proof
        #[arg(long)]
        key: String,
        /// The later head, where the proof does not bring it
        #[arg(long, value_name = "FILE")]
        later: Option<PathBuf>,
    },
}

/// A log that is not what it should be: printed as an answer, told by the exit code.
#[derive(Debug, thiserror::Error)]
#[error("the audit log is not what it should be")]
pub struct Unsound {
    /// What to print.
    pub text: String,
}

pub(super) async fn logs(operator: &Operator) -> anyhow::Result<Vec<AuditLogHead>> {
    Ok(operator.audit_logs().await?.items)
}

pub(super) fn logs_table(logs: &Vec<AuditLogHead>) -> String {
    let mut rows = table(&["CLINIC", "LEAVES", "KEY"]);
    for log in logs {
        rows.add_row([log.clinic_id.to_string(), log.size.to_string(), log.key.clone()]);
    }
    format!("{rows}\n")
}

pub(super) async fn verify(
    operator: &Operator,
    clinic: Option<ClinicId>,
) -> anyhow::Result<Vec<AuditVerification>> {
    let clinics = match clinic {
        Some(clinic) => vec![clinic],
        None => logs(operator).await?.iter().map(|log| log.clinic_id).collect(),
    };
    let mut reports = Vec::with_capacity(clinics.len());
    for clinic in clinics {
        reports.push(operator.audit_verify(clinic).await?);
    }
    Ok(reports)
}

pub(super) fn verify_table(reports: &Vec<AuditVerification>) -> String {
    let mut rows = table(&[
        "CLINIC",
        "LEAVES",
        "CHECKED",
        "WAITING",
        "WITNESSED",
        "OUTSIDE",
        "VERDICT",
    ]);
    for report in reports {
        let verdict = if report.is_sound { "whole" } else { "ALTERED" };
        rows.add_row([
            report.clinic_id.to_string(),
            report.size.to_string(),
            report.leaves_checked.to_string(),
            report.pending.to_string(),
            report.witnessed_size.to_string(),
            outside(report),
            verdict.to_owned(),
        ]);
    }
    let mut text = format!("{rows}\n");
    for report in reports {
        for gap in &report.gaps {
            let (from, to) = (gap.kept_size, gap.witnessed_size);
            let (clinic, at, why) = (report.clinic_id, gap.at, &gap.reason);
            text += &format!("\n{clinic}: leaves {from} to {to} are gone since {at}: {why}\n");
        }
    }
    for report in reports.iter().filter(|report| !report.is_sound) {
        if let Some(first) = &report.first_divergent {
            text += &format!("\n{}: first at {}\n", report.clinic_id, place(first));
        }
        for finding in &report.findings {
            text += &format!("  {} {}: {}\n", place(finding), finding.kind, finding.message);
        }
    }
    text
}

/// What the outside witness says: how much it signed, and its word where that is not what it should be.
fn outside(report: &AuditVerification) -> String {
    let size = report.cosigned_size.map(|size| size.to_string());
    match report.outside_witness.as_deref() {
        None => NONE.to_owned(),
        Some("signs") => size.unwrap_or_default(),
        Some(word) => format!("{} ({word})", size.as_deref().unwrap_or(NONE)),
    }
}

pub(super) fn announced(announcement: &AuditAnnouncement) -> String {
    let mut text = String::new();
    let (from, to) = (announcement.kept_size, announcement.witnessed_size);
    if from < to {
        text += &format!("The log goes on from leaf {from}; leaves up to {to} are gone.\n");
    }
    text + &format!(
        "Key from now on, to be told to the outside witness:\n{}\n\n{}",
        announcement.key, announcement.notice
    )
}

fn place(finding: &AuditFinding) -> String {
    let index = finding
        .leaf_index
        .map_or_else(|| NONE.to_owned(), |index| index.to_string());
    match finding.leaf_id {
        Some(leaf) => format!("leaf {index} ({leaf})"),
        None => format!("leaf {index}"),
    }
}
