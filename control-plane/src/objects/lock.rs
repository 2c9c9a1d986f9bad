//! Does the bucket keep what is put into it from being changed? (S3 `GetObjectLockConfiguration`.)

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpRequest, HttpRequestBody};
use parking_lot::Mutex;
use serde::Deserialize;

use super::{ANSWER_TIMEOUT, CONNECT_TIMEOUT};

/// How long an answer is believed before the bucket is asked again: whoever rules it can change its mind.
const BELIEVED_FOR: Duration = Duration::from_secs(600);
/// Largest answer read: a configuration has some three hundred bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
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

/// What must be true of the bucket.
#[derive(Clone)]
pub struct Lock {
    asked: Arc<Asked>,
}

struct Asked {
    credentials: AwsCredentialProvider,
    region: String,
    url: String,
    days: u32,
    http: reqwest::Client,
    locked_at: Mutex<Option<Instant>>,
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lock({} days)", self.asked.days)
    }
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
    /// Of the bucket at `url`, for at least `days`.
    pub(super) fn new(
        credentials: AwsCredentialProvider,
        region: &str,
        url: &str,
        days: u32,
        ca_pem: Option<&[u8]>,
    ) -> Result<Self, reqwest::Error> {
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(pem) = ca_pem {
            http = http.add_root_certificate(reqwest::Certificate::from_pem(pem)?);
        }
        let asked = Asked {
            credentials,
            region: region.to_owned(),
            url: format!("{url}/?object-lock"),
            days,
            http: http.build()?,
            locked_at: Mutex::new(None),
        };
        Ok(Self {
            asked: Arc::new(asked),
        })
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
        let unknown = |why: &str| LockError::Unknown(why.to_owned());
        let Asked {
            credentials,
            region,
            url,
            http,
            ..
        } = &*self.asked;
        let credentials = credentials.get_credential().await;
        let credentials = credentials.map_err(|_| unknown("there are no credentials"))?;
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = url.parse().map_err(|_| unknown("its address is none"))?;
        AwsAuthorizer::new(&credentials, "s3", region)
            .try_authorize(&mut request, None)
            .map_err(|_| unknown("the request cannot be signed"))?;
        let headers = std::mem::take(request.headers_mut());
        let sent = http.get(url).headers(headers).send().await;
        let mut answer = sent.map_err(|_| unknown("it cannot be reached"))?;
        let (status, mut body) = (answer.status(), Vec::new());
        while let Some(part) = answer.chunk().await.map_err(|_| unknown("it broke off"))? {
            if body.len() + part.len() > ANSWER_BYTES_MAX {
                return Err(unknown("the answer is too long"));
            }
            body.extend_from_slice(&part);
        }
        let body = String::from_utf8_lossy(&body);
        if status == reqwest::StatusCode::NOT_FOUND && body.contains("ObjectLockConfigurationNotFound") {
            return Err(LockError::Unlocked("it has no object lock".to_owned()));
        }
        if !status.is_success() {
            return Err(unknown(&format!("it answers {status}")));
        }
        judge(&body, self.asked.days)
    }
}

/// Whether a configuration locks for so many days.
fn judge(body: &str, days: u32) -> Result<(), LockError> {
    let found: Configuration =
        quick_xml::de::from_str(body).map_err(|_| LockError::Unknown("the answer is none".to_owned()))?;
    let unlocked = |why: String| Err(LockError::Unlocked(why));
    if found.object_lock_enabled.as_deref() != Some("Enabled") {
        return unlocked("object lock is not enabled".to_owned());
    }
    let Some(retention) = found.rule.and_then(|rule| rule.default_retention) else {
        return unlocked("it has no default retention".to_owned());
    };
    // GOVERNANCE binds only those without the permission to go around it.
    if retention.mode.as_deref() != Some("COMPLIANCE") {
        return unlocked("its default retention is not COMPLIANCE".to_owned());
    }
    let years = retention.years.unwrap_or(0).saturating_mul(DAYS_PER_YEAR);
    let held = retention.days.unwrap_or(0).max(years);
    if held < days {
        return unlocked(format!("for {held} days, not for {days}"));
    }
    Ok(())
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
