//! `medmesh keys`: what there is, how far a rotation is, and new ones for old.

use clap::Subcommand;
use medmesh_api_client::Operator;
use medmesh_api_types::job::Job;
use medmesh_api_types::key::{KeyList, KeyRotationCreate, KeySubject};
use medmesh_base::{ClinicId, PersonId};
use serde::Serialize;

use super::jobs::list_table;
use super::table::{NONE, table};
use super::{Connection, show};

/// The kind of a rotation's job.
const ROTATION: &str = "key_rotation";

/// What can be asked of keys.
#[derive(Subcommand, Clone, Debug)]
pub enum KeyVerb {
    /// Every version of every key, and what it has sealed
    Show,
    /// Rotations that are under way or were given up, and keys under an older root
    Status,
    /// Replace a key; what older versions hold is moved by a job
    #[command(subcommand)]
    Rotate(KeyRotate),
    /// Accept the keys of a database that was put back on purpose
    Restored {
        /// The clinic
        clinic: ClinicId,
    },
    /// Erase again whoever is in the register of the erased and came back with a backup
    Erased,
}

/// Which key.
#[derive(Subcommand, Clone, Copy, Debug)]
pub enum KeyRotate {
    /// The root, in the KMS
    Root {
        /// Only make the new version: its file has to be copied to the other nodes first
        #[arg(long, conflicts_with = "only_rewrap")]
        without_rewrap: bool,
        /// Only wrap anew by the version there is
        #[arg(long)]
        only_rewrap: bool,
    },
    /// The system's
    System,
    /// A clinic's
    Clinic {
        /// Whose
        clinic: ClinicId,
    },
    /// The key a clinic's patients are found by, and the clinic's own with it
    Index {
        /// Whose
        clinic: ClinicId,
    },
    /// A patient's
    Patient {
        /// Of which clinic
        #[arg(long)]
        clinic: ClinicId,
        /// Whose
        patient: PersonId,
    },
}

/// What `status` shows.
#[derive(Serialize)]
struct Status {
    rotations: Vec<Job>,
    /// Versions that an older root wraps.
    under_older_root: usize,
    /// Of the key that has sealed most: its part of what it may, in percent.
    most_worn_percent: f64,
}

pub(super) async fn run(
    connection: &Connection,
    operator: &Operator,
    verb: KeyVerb,
) -> anyhow::Result<String> {
    match verb {
        KeyVerb::Show => show(connection, &operator.key_list().await?, keys_table),
        KeyVerb::Status => {
            let keys = operator.key_list().await?;
            let jobs = operator.job_list(None).await?.items;
            show(connection, &status(&keys, jobs), status_text)
        }
        KeyVerb::Rotate(which) => {
            let begun = operator.key_rotate(&wanted(which)).await?;
            show(connection, &begun, |begun| match &begun.root {
                Some(root) => format!("the root is {root}\n"),
                None => format!("version {} seals from now on\n", begun.version),
            })
        }
        KeyVerb::Restored { clinic } => {
            operator.key_restored(clinic).await?;
            Ok(format!("what the database of {clinic} holds is accepted\n"))
        }
        KeyVerb::Erased => show(connection, &operator.erasure_enforce().await?, |held| {
            format!(
                "{} in the register, {} erased again, {} added, {} unknown, {} hidden\n",
                held.listed, held.erased_again, held.added, held.unknown, held.hidden
            )
        }),
    }
}

fn wanted(which: KeyRotate) -> KeyRotationCreate {
    let (mut without, mut only) = (false, false);
    let subject = match which {
        KeyRotate::Root {
            without_rewrap,
            only_rewrap,
        } => {
            (without, only) = (without_rewrap, only_rewrap);
            KeySubject::Root
        }
        KeyRotate::System => KeySubject::System,
        KeyRotate::Clinic { clinic } => KeySubject::Clinic { clinic_id: clinic },
        KeyRotate::Index { clinic } => KeySubject::Index { clinic_id: clinic },
        KeyRotate::Patient { clinic, patient } => KeySubject::Patient {
            clinic_id: clinic,
            patient_id: patient,
        },
    };
    KeyRotationCreate {
        subject,
        without_rewrap: without,
        only_rewrap: only,
    }
}

fn status(keys: &KeyList, jobs: Vec<Job>) -> Status {
    let stale = keys
        .keys
        .iter()
        .filter(|key| Some(&key.root) != keys.root.as_ref());
    let most = keys.keys.iter().map(|key| key.sealed).max().unwrap_or(0);
    Status {
        rotations: jobs.into_iter().filter(|job| job.kind == ROTATION).collect(),
        under_older_root: if keys.root.is_some() { stale.count() } else { 0 },
        most_worn_percent: 100.0 * most as f64 / keys.seals_max.max(1) as f64,
    }
}

fn status_text(status: &Status) -> String {
    let mut text = format!(
        "under an older root: {}\nmost worn key: {:.4} % of its bound\n",
        status.under_older_root, status.most_worn_percent
    );
    if status.rotations.is_empty() {
        text.push_str("no rotation is under way\n");
    } else {
        text.push_str(&list_table(&status.rotations));
    }
    text
}

fn keys_table(list: &KeyList) -> String {
    let mut rows = table(&[
        "OF", "VERSION", "ROOT", "SEALED", "PATIENTS", "INDEX", "SINCE", "STATE",
    ]);
    for (at, key) in list.keys.iter().enumerate() {
        let is_latest = list
            .keys
            .get(at + 1)
            .is_none_or(|next| next.clinic_id != key.clinic_id);
        let state = match (is_latest, key.has_ended) {
            (true, _) => "seals",
            (false, true) => "ended",
            (false, false) => "opens",
        };
        rows.add_row([
            key.clinic_id
                .map_or_else(|| "system".to_owned(), |id| id.to_string()),
            key.version.to_string(),
            key.root.clone(),
            key.sealed.to_string(),
            key.patients.to_string(),
            key.index_version.to_string(),
            key.created_at.date().to_string(),
            state.to_owned(),
        ]);
    }
    let root = list.root.as_deref().unwrap_or(NONE);
    format!("root: {root} ({})\n{rows}\n", list.kms)
}
