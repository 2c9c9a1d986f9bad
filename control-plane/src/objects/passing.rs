//! Does the bucket let go of what is removed? Copies of records hold personal data, for seven days.
//! (S3 `GetObjectLockConfiguration`, `GetBucketVersioning`.)

use medmesh_clinic::EXPORT_KEPT;
use serde::Deserialize;

use super::ask::{Asker, Unanswered};
use super::lock::{ANSWER_BYTES_MAX, Locked, locked};

/// What is removed from the bucket stays in it, or nobody says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassingError {
    /// It stays.
    #[error("the bucket keeps copies of records longer than they may lie there: {0}")]
    Kept(String),
    /// The bucket does not answer, or not us.
    #[error("the bucket does not say whether it keeps what is removed: {0}")]
    Unknown(String),
}

impl From<Unanswered> for PassingError {
    fn from(error: Unanswered) -> Self {
        Self::Unknown(error.0)
    }
}

/// What must be true of the bucket with the copies.
#[derive(Clone)]
pub(super) struct Passing {
    pub(super) asker: Asker,
    /// Whether the bucket is for copies alone: then it must not keep older versions either.
    pub(super) is_own: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Versioning {
    status: Option<String>,
}

impl Passing {
    pub(super) async fn check(&self) -> Result<(), PassingError> {
        let answer = self.asker.get(&[("object-lock", "")], ANSWER_BYTES_MAX).await?;
        let held = match locked(&answer).map_err(|error| PassingError::Unknown(error.0))? {
            Locked::For { days, .. } => i64::from(days),
            Locked::No(_) => 0,
        };
        if held > EXPORT_KEPT.whole_days() {
            let why = format!("it locks for {held} days");
            return Err(PassingError::Kept(why));
        }
        if !self.is_own {
            return Ok(());
        }
        let answer = self.asker.get(&[("versioning", "")], ANSWER_BYTES_MAX).await?;
        if !answer.status.is_success() {
            let why = format!("it answers {}", answer.status);
            return Err(PassingError::Unknown(why));
        }
        versions(&answer.body)
    }
}

pub(super) fn versions(body: &str) -> Result<(), PassingError> {
    let found: Versioning =
        quick_xml::de::from_str(body).map_err(|_| PassingError::Unknown("the answer is none".to_owned()))?;
    if found.status.as_deref() == Some("Enabled") {
        let why = "it keeps older versions of what is removed";
        return Err(PassingError::Kept(why.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_with_versions_keeps_what_is_removed() {
        let answer = |inside: &str| {
            format!(
                "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{inside}</VersioningConfiguration>"
            )
        };
        assert_eq!(versions(&answer("")), Ok(()));
        assert_eq!(versions(&answer("<Status>Suspended</Status>")), Ok(()));
        let kept = versions(&answer("<Status>Enabled</Status>"));
        assert!(matches!(kept, Err(PassingError::Kept(_))));
        assert!(matches!(versions("<html>"), Err(PassingError::Unknown(_))));
    }
}
