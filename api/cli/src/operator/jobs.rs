//! `medmesh jobs`: what waits, what was given up, and once more.

use clap::Subcommand;
use medmesh_api_types::job::Job;
use medmesh_base::JobId;
use time::format_description::well_known::Rfc3339;

use super::table::{NONE, table};

/// What can be asked of jobs.
#[derive(Subcommand, Clone, Debug)]
pub enum JobVerb {
    /// Jobs that are not done, oldest first
    List {
        /// Only those that were given up
        #[arg(long)]
        dead: bool,
    },
    /// Give a job that was given up all its tries again
    Retry {
        /// Which
        id: JobId,
    },
}

pub(super) fn list_table(jobs: &Vec<Job>) -> String {
    let mut rows = table(&["JOB", "KIND", "STATE", "DUE", "TRIES", "PROGRESS", "LAST ERROR"]);
    for job in jobs {
        rows.add_row([
            job.id.to_string(),
            job.kind.clone(),
            if job.dead_at.is_some() { "dead" } else { "waiting" }.to_owned(),
            job.due_at.format(&Rfc3339).unwrap_or_else(|_| NONE.to_owned()),
            format!("{}/{}", job.attempts, job.attempts_max),
            progress(job),
            job.last_error.clone().unwrap_or_else(|| NONE.to_owned()),
        ]);
    }
    format!("{rows}\n")
}

/// How far long work is.
fn progress(job: &Job) -> String {
    match (job.moved, job.remaining) {
        (Some(moved), Some(remaining)) => format!("{moved} done, {remaining} left"),
        (Some(moved), None) => format!("{moved} done"),
        _ => NONE.to_owned(),
    }
}
