//! Passwords: which are taken, how they are hashed, and at what rate.
//!
//! A try takes its place in the queue before anything is looked up or counted, so that a flood is
//! shed for next to nothing. Some places are kept for browsers that have signed in to the account
//! before, which nobody can claim who has not: a flood of strangers does not keep its victim out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use medmesh_base::ProblemCode;
use prometheus::IntGauge;
use tokio::sync::Semaphore;

use super::error::ApiError;

/// Argon2id memory per hash, KiB (OWASP's first choice with 2 passes: ~16 ms of a core here).
const MEMORY_KIB: u32 = 19 * 1024;
/// Argon2id passes over the memory.
const PASSES: u32 = 2;
/// Hashes that may wait for a core. At 16 ms each the last waits about a second on one core;
/// a longer queue would only serve callers who have given up.
const QUEUE_MAX: usize = 64;
/// Places beyond those, for whoever is known: more than mistype at once.
const KNOWN_MAX: usize = 16;
/// Of so many cores one hashes, at least one: the others serve while a flood is worked off.
const CORES_PER_HASH: usize = 2;
/// What the caller is told to wait when the queue is full, seconds.
const RETRY_SECONDS: u64 = 2;
/// Shortest word of the caller's own that a password may not be built around.
const CONTEXT_WORD_MIN: usize = 4;

/// Well-known passwords of 15 characters or more, one a line, lower case.
const BLOCKLIST: &str = include_str!("blocklist.txt");
/// Words every guesser of this service tries first.
const SERVICE_WORDS: [&str; 4] = ["medmesh", "password", "telemedicine", "healthcare"];

/// Hashes and verifies in a bounded number of blocking threads.
#[derive(Clone)]
pub(crate) struct Passwords {
    inner: Arc<Inner>,
}

struct Inner {
    cores: Semaphore,
    waiting: AtomicUsize,
    gauge: IntGauge,
    /// Verified against when there is no such account, so that both take as long.
    dummy: String,
}

impl Passwords {
    pub(crate) fn new(gauge: IntGauge) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let cores = (cores / CORES_PER_HASH).max(1);
        Self {
            inner: Arc::new(Inner {
                cores: Semaphore::new(cores),
                waiting: AtomicUsize::new(0),
                gauge,
                dummy: hash("no account has this password"),
            }),
        }
    }

    /// A place in the queue. `is_known`: who asks has a session, or the browser has signed in to this
    /// account before.
    ///
    /// # Errors
    /// 503 with a time to come again when there is none.
    pub(crate) fn place(&self, is_known: bool) -> Result<Place, ApiError> {
        let most = if is_known {
            QUEUE_MAX + KNOWN_MAX
        } else {
            QUEUE_MAX
        };
        Place::take(&self.inner, most)
    }

    /// The PHC string to store for a new password. Whoever gets this far came by a link or a session.
    pub(crate) async fn hash(&self, password: String) -> Result<String, ApiError> {
        let place = self.place(true)?;
        self.run(place, move || hash(&password)).await
    }

    /// Whether the password is the one of the stored hash; without a stored hash it
    /// takes as long and says no.
    pub(crate) async fn verify(
        &self,
        place: Place,
        password: String,
        stored: Option<String>,
    ) -> Result<bool, ApiError> {
        // Somebody who was invited has no password yet, which must not show by the clock.
        let stored = stored.filter(|phc| phc.starts_with('$'));
        let exists = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.inner.dummy.clone());
        let fits = self.run(place, move || verify(&password, &stored)).await?;
        Ok(fits && exists)
    }

    async fn run<T: Send + 'static>(
        &self,
        _place: Place,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let core = self.inner.cores.acquire().await;
        let _core = core.expect("the semaphore is never closed");
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| ApiError::new(ProblemCode::Internal).because(error))
    }
}

/// A place in the queue; given back also when the request goes away.
pub(crate) struct Place(Arc<Inner>);

impl Place {
    fn take(inner: &Arc<Inner>, most: usize) -> Result<Self, ApiError> {
        let one_more = |waiting: usize| (waiting < most).then_some(waiting + 1);
        let taken = inner
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        if taken.is_err() {
            return Err(ApiError::new(ProblemCode::Unavailable).retry_after(RETRY_SECONDS));
        }
        inner.gauge.inc();
        Ok(Self(Arc::clone(inner)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.gauge.dec();
    }
}

/// The PHC string of a password, at once and without the queue: for seeding, not for requests.
#[must_use]
pub fn password_hash(password: &str) -> medmesh_store::PasswordHash {
    medmesh_store::PasswordHash::from_phc(hash(password))
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).expect("constants within Argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(password: &str) -> String {
    argon2()
        .hash_password(password.as_bytes())
        .expect("constants within Argon2's bounds and the system has randomness")
        .to_string()
}

fn verify(password: &str, stored: &str) -> bool {
    PasswordHash::new(stored)
        .is_ok_and(|stored| argon2().verify_password(password.as_bytes(), &stored).is_ok())
}

/// Whether a new password is too easy to guess: on the list, one thing repeated, or built
/// around the service's, the clinic's or the person's own words (NIST SP 800-63B-4 section 3.1.1.2).
/// Length is checked with the request's type.
pub(crate) fn is_guessable(password: &str, own_words: &[&str]) -> bool {
    let lower = password.to_lowercase();
    if BLOCKLIST.lines().any(|line| line == lower) || is_pattern(&lower) {
        return true;
    }
    let own = own_words
        .iter()
        .flat_map(|words| words.split(|c: char| !c.is_alphanumeric()))
        .filter(|word| word.chars().count() >= CONTEXT_WORD_MIN)
        .map(str::to_lowercase);
    let mut rest = lower;
    for word in SERVICE_WORDS.iter().map(|word| (*word).to_owned()).chain(own) {
        rest = rest.replace(&word, "");
    }
    // What is left must still be a password of its own.
    rest.chars().count() < PASSWORD_REST_MIN
}

/// Characters that must remain when the obvious words are taken out.
const PASSWORD_REST_MIN: usize = 8;

/// A short unit repeated, or one straight run up or down the alphabet or the digits.
fn is_pattern(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    let repeats = (1..=chars.len() / 3).any(|unit| chars.iter().zip(&chars[unit..]).all(|(a, b)| a == b));
    let step = |by: i64| {
        let steps = chars
            .windows(2)
            .filter(|pair| i64::from(u32::from(pair[1])) - i64::from(u32::from(pair[0])) == by);
        steps.count() * 4 >= chars.len() * 3
    };
    repeats || step(1) || step(-1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwords() -> Passwords {
        Passwords::new(IntGauge::new("queue", "test").unwrap())
    }

    #[tokio::test]
    async fn a_password_verifies_against_its_own_hash_only() {
        let passwords = passwords();
        let stored = passwords.hash("correct horse battery".into()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        for (password, stored, is_right) in [
            ("correct horse battery", Some(stored.clone()), true),
            ("correct horse batterz", Some(stored), false),
            ("no account has this password", None, false),
        ] {
            let place = passwords.place(false).unwrap();
            let fits = passwords.verify(place, password.into(), stored).await;
            assert_eq!(fits.unwrap(), is_right, "{password}");
        }
    }

    #[tokio::test]
    async fn a_full_queue_is_said_and_empties_again() {
        let passwords = passwords();
        let strangers: Vec<_> = (0..QUEUE_MAX).map(|_| passwords.place(false).unwrap()).collect();
        let refused = passwords.place(false).err().unwrap();
        assert_eq!(refused.code, ProblemCode::Unavailable);
        let known: Vec<_> = (0..KNOWN_MAX).map(|_| passwords.place(true).unwrap()).collect();
        assert!(passwords.place(true).is_err(), "these are bounded too");
        drop(known);
        assert!(passwords.hash("correct horse battery".into()).await.is_ok());
        assert!(
            passwords.place(false).is_err(),
            "what was kept is not for strangers"
        );
        drop(strangers);
        assert!(passwords.place(false).is_ok());
        assert_eq!(passwords.inner.gauge.get(), 0);
    }

    #[test]
    fn guessable_passwords_are_found() {
        let own = ["Grace Hopper", "grace.hopper@example.org", "Riverside Clinic"];
        for bad in [
            "passwordpassword",
            "PasswordPassword",
            "aaaaaaaaaaaaaaaa",
            "abcabcabcabcabcabc",
            "abcdefghijklmnopq",
            "1234567890123456",
            "98765432109876543",
            "medmesh-password-1",
            "gracehopper12345",
            "Riverside2026!!",
            "qwertyuiopasdfgh",
        ] {
            assert!(is_guessable(bad, &own), "{bad}");
        }
        for good in [
            "correct horse battery",
            "Tr0ub4dor&3-and-more",
            "grace likes long walks",
            "ümläut sind auch gut",
        ] {
            assert!(!is_guessable(good, &own), "{good}");
        }
    }

    #[test]
    fn the_list_is_lower_case_and_long_enough_to_matter() {
        for line in BLOCKLIST.lines() {
            assert_eq!(line, line.to_lowercase());
            assert!(
                line.chars().count() >= medmesh_api_types::rules::PASSWORD_MIN,
                "{line}"
            );
        }
    }
}
