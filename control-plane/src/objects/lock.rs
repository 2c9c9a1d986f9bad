//! Does the bucket keep what is put into it from being changed? (S3 `GetObjectLockConfiguration`.)

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Deserialize;

use super::ask::{Answer, Asker, Unanswered};

/// How long an answer is believed before the bucket is asked again: whoever rules it can change its mind.
const BELIEVED_FOR: Duration = Duration::from_secs(600);
/// Largest answer read: a configuration has some three hundred bytes.
pub(super) const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Days of a year of retention, which is a rule's other unit.
const DAYS_PER_YEAR: u32 = 365;

/// What is put into the bucket is not locked as it should be, or nobody says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// It is not.
    #[error("the bucket does not lock what is put into it: {0}")]
    Unlocked(String),
    /// The bucket does not answer, or not us.
    #[error("the bucket does not say whether it locks: {0}")]
    Unknown(String),
}

impl From<Unanswered> for LockError {
    fn from(error: Unanswered) -> Self {
        Self::Unknown(error.0)
    }
}

/// What must be true of the bucket.
#[derive(Clone)]
pub struct Lock {
    asked: Arc<Asked>,
}

struct Asked {
    asker: Asker,
    days: u32,
    locked_at: Mutex<Option<Instant>>,
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lock({} days)", self.asked.days)
    }
}

/// What a bucket does with what is put into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Locked {
    /// Nothing, and why not.
    No(String),
    /// It is kept.
    For {
        /// For so long.
        days: u32,
        /// Also from whoever may go around a lock: GOVERNANCE binds only those who may not.
        binds_all: bool,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration {
    object_lock_enabled: Option<String>,
    rule: Option<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Rule {
    default_retention: Option<Retention>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Retention {
    mode: Option<String>,
    days: Option<u32>,
    years: Option<u32>,
}

impl Lock {
    /// For at least `days`.
    pub(super) fn new(asker: Asker, days: u32) -> Self {
        let asked = Asked {
            asker,
            days,
            locked_at: Mutex::new(None),
        };
        Self {
            asked: Arc::new(asked),
        }
    }

    /// Whether it locks, as of a few minutes ago.
    ///
    /// # Errors
    /// [`LockError`].
    pub async fn believed(&self) -> Result<(), LockError> {
        let at = *self.asked.locked_at.lock();
        if at.is_some_and(|at| at.elapsed() < BELIEVED_FOR) {
            return Ok(());
        }
        self.check().await
    }

    /// Whether it locks, now.
    ///
    /// # Errors
    /// [`LockError`].
    pub async fn check(&self) -> Result<(), LockError> {
        let answer = self.ask().await;
        *self.asked.locked_at.lock() = answer.is_ok().then(Instant::now);
        answer
    }

    async fn ask(&self) -> Result<(), LockError> {
        let Asked { asker, days, .. } = &*self.asked;
        let answer = asker.get(&[("object-lock", "")], ANSWER_BYTES_MAX).await?;
        enough(locked(&answer)?, *days)
    }
}

/// Whether a bucket locks so that nobody takes anything away for so many days.
fn enough(found: Locked, days: u32) -> Result<(), LockError> {
    let unlocked = |why: String| Err(LockError::Unlocked(why));
    match found {
        Locked::No(why) => unlocked(why),
        Locked::For { binds_all: false, .. } => {
            unlocked("its default retention is not COMPLIANCE".to_owned())
        }
        Locked::For { days: held, .. } if held < days => unlocked(format!("for {held} days, not for {days}")),
        Locked::For { .. } => Ok(()),
    }
}

/// What an answer says.
pub(super) fn locked(answer: &Answer) -> Result<Locked, Unanswered> {
    let Answer { status, body } = answer;
    if *status == reqwest::StatusCode::NOT_FOUND && body.contains("ObjectLockConfigurationNotFound") {
        return Ok(Locked::No("it has no object lock".to_owned()));
    }
    if !status.is_success() {
        return Err(Unanswered(format!("it answers {status}")));
    }
    let found: Configuration =
        quick_xml::de::from_str(body).map_err(|_| Unanswered("the answer is none".to_owned()))?;
    if found.object_lock_enabled.as_deref() != Some("Enabled") {
        return Ok(Locked::No("object lock is not enabled".to_owned()));
    }
    let Some(retention) = found.rule.and_then(|rule| rule.default_retention) else {
        return Ok(Locked::No("it has no default retention".to_owned()));
    };
    let years = retention.years.unwrap_or(0).saturating_mul(DAYS_PER_YEAR);
    Ok(Locked::For {
        days: retention.days.unwrap_or(0).max(years),
        binds_all: retention.mode.as_deref() == Some("COMPLIANCE"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(rule: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
             <ObjectLockConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">
             <ObjectLockEnabled>Enabled</ObjectLockEnabled>{rule}</ObjectLockConfiguration>"
        )
    }

    fn retention(mode: &str, unit: &str) -> String {
        configuration(&format!(
            "<Rule><DefaultRetention><Mode>{mode}</Mode>{unit}</DefaultRetention></Rule>"
        ))
    }

    fn judge(body: &str, days: u32) -> Result<(), LockError> {
        let answer = Answer {
            status: reqwest::StatusCode::OK,
            body: body.to_owned(),
        };
        enough(locked(&answer)?, days)
    }

    #[test]
    fn only_a_lock_that_binds_everybody_for_long_enough_is_one() {
        let years = retention("COMPLIANCE", "<Years>7</Years>");
        assert_eq!(judge(&years, 2192), Ok(()));
        assert_eq!(judge(&retention("COMPLIANCE", "<Days>2192</Days>"), 2192), Ok(()));
        for weak in [
            retention("COMPLIANCE", "<Days>2191</Days>"),
            retention("GOVERNANCE", "<Years>7</Years>"),
            configuration(""),
            years.replace("Enabled<", "Suspended<"),
        ] {
            assert!(
                matches!(judge(&weak, 2192), Err(LockError::Unlocked(_))),
                "{weak}"
            );
        }
        assert!(matches!(judge("<html>", 1), Err(LockError::Unknown(_))));
    }
}
