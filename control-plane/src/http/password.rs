//! Passwords: which are taken, how they are hashed, and at what rate.
//!
//! A try takes its place in the queue before anything is looked up or counted, so that a flood is
//! shed for next to nothing. Some places are kept for browsers that have signed in to the account
//! before, which nobody can claim who has not, and they have a core of their own: a flood of strangers
//! neither keeps its victim out nor lets it wait behind them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Block, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use medmesh_base::ProblemCode;
use parking_lot::Mutex;
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
    /// For whoever asks.
    cores: Arc<Semaphore>,
    /// For whoever is known.
    known_core: Arc<Semaphore>,
    /// Memory for as many verifications as have ever run at once. Asking the allocator for 19 MiB at
    /// each try leaves it with gigabytes in the end.
    tables: Mutex<Vec<Vec<Block>>>,
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
                cores: Arc::new(Semaphore::new(cores)),
                known_core: Arc::new(Semaphore::new(1)),
                tables: Mutex::new(Vec::new()),
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
        Place::take(&self.inner, is_known)
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
        let inner = Arc::clone(&self.inner);
        let verify = move || {
            let mut table = inner.tables.lock().pop().unwrap_or_default();
            let fits = verify(&password, &stored, &mut table);
            inner.tables.lock().push(table);
            fits
        };
        let fits = self.run(place, verify).await?;
        Ok(fits && exists)
    }

    /// Whoever goes away meanwhile keeps core and place until the work is done: it cannot be stopped, and
    /// callers who hang up early would otherwise start as much of it as they like.
    async fn run<T: Send + 'static>(
        &self,
        place: Place,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let cores = if place.is_known {
            &self.inner.known_core
        } else {
            &self.inner.cores
        };
        let core = Arc::clone(cores).acquire_owned().await;
        let core = core.expect("the semaphore is never closed");
        let held = move || {
            let done = work();
            drop((core, place));
            done
        };
        tokio::task::spawn_blocking(held)
            .await
            .map_err(|error| ApiError::new(ProblemCode::Internal).because(error))
    }
}

/// A place in the queue; given back also when the request goes away.
pub(crate) struct Place {
    inner: Arc<Inner>,
    is_known: bool,
}

impl Place {
    fn take(inner: &Arc<Inner>, is_known: bool) -> Result<Self, ApiError> {
        let most = if is_known {
            QUEUE_MAX + KNOWN_MAX
        } else {
            QUEUE_MAX
        };
        let one_more = |waiting: usize| (waiting < most).then_some(waiting + 1);
        let taken = inner
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        if taken.is_err() {
            return Err(ApiError::new(ProblemCode::Unavailable).retry_after(RETRY_SECONDS));
        }
        inner.gauge.inc();
        Ok(Self {
            inner: Arc::clone(inner),
            is_known,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.inner.waiting.fetch_sub(1, Ordering::Relaxed);
        self.inner.gauge.dec();
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

/// `table` is what Argon2 works in; it grows to what is needed and is worth nothing afterwards.
fn verify(password: &str, stored: &str, table: &mut Vec<Block>) -> bool {
    let Ok(stored) = PasswordHash::new(stored) else {
        return false;
    };
    let Some(expected) = like_ours(&stored) else {
        // Of other parameters: from before they were changed.
        return argon2().verify_password(password.as_bytes(), &stored).is_ok();
    };
    let argon2 = argon2();
    table.resize(argon2.params().block_count(), Block::new());
    let mut found = vec![0; expected.output.len()];
    let hashed = argon2.hash_password_into_with_memory(
        password.as_bytes(),
        expected.salt,
        &mut found,
        table.as_mut_slice(),
    );
    // The comparison takes the same time wherever they differ.
    hashed.is_ok() && Output::new(&found).is_ok_and(|found| found == *expected.output)
}

struct Expected<'a> {
    salt: &'a [u8],
    output: &'a Output,
}

/// Salt and output of a stored hash that was made as hashes are made here.
fn like_ours(stored: &PasswordHash) -> Option<Expected<'_>> {
    let ours = argon2();
    let params = Params::try_from(stored).ok()?;
    let same = stored.algorithm == Algorithm::Argon2id.ident()
        && stored.version == Some(Version::V0x13.into())
        && params.m_cost() == ours.params().m_cost()
        && params.t_cost() == ours.params().t_cost()
        && params.p_cost() == ours.params().p_cost()
        && params.keyid().is_empty()
        && params.data().is_empty();
    let (salt, output) = (stored.salt.as_ref()?, stored.hash.as_ref()?);
    same.then_some(Expected { salt, output })
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
    async fn whoever_is_known_does_not_wait_behind_strangers() {
        let passwords = passwords();
        let stored = passwords.hash("correct horse battery".into()).await.unwrap();
        let strangers = u32::try_from(passwords.inner.cores.available_permits()).unwrap();
        let _busy = passwords.inner.cores.acquire_many(strangers).await.unwrap();
        let place = passwords.place(true).unwrap();
        let fits = passwords.verify(place, "correct horse battery".into(), Some(stored));
        assert!(fits.await.unwrap());
    }

    #[tokio::test]
    async fn who_hangs_up_holds_a_core_until_the_work_is_done() {
        let passwords = passwords();
        let free = passwords.inner.cores.available_permits();
        let (begun, is_begun) = tokio::sync::oneshot::channel();
        let (finish, is_to_finish) = std::sync::mpsc::channel::<()>();
        let place = passwords.place(false).unwrap();
        let here = passwords.clone();
        let request = tokio::spawn(async move {
            let work = move || {
                begun.send(()).unwrap();
                is_to_finish.recv().unwrap();
            };
            here.run(place, work).await.unwrap();
        });
        is_begun.await.unwrap();
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        assert_eq!(passwords.inner.cores.available_permits(), free - 1);
        assert_eq!(passwords.inner.gauge.get(), 1);
        finish.send(()).unwrap();
        let all = u32::try_from(free).unwrap();
        drop(passwords.inner.cores.acquire_many(all).await.unwrap());
    }

    #[tokio::test]
    async fn verifications_share_their_memory() {
        let passwords = passwords();
        let stored = passwords.hash("correct horse battery".into()).await.unwrap();
        for wanted in ["correct horse battery", "correct horse batterz"].repeat(3) {
            let place = passwords.place(false).unwrap();
            let fits = passwords.verify(place, wanted.into(), Some(stored.clone())).await;
            assert_eq!(fits.unwrap(), wanted == "correct horse battery");
            assert_eq!(passwords.inner.tables.lock().len(), 1);
        }
    }

    /// A hash from before the parameters were changed, and one that is cut short.
    #[test]
    fn hashes_of_other_parameters_still_verify() {
        let params = Params::new(8 * 1024, 3, 1, None).unwrap();
        let other = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let stored = other.hash_password(b"correct horse battery").unwrap().to_string();
        let mut table = Vec::new();
        assert!(verify("correct horse battery", &stored, &mut table));
        assert!(!verify("correct horse batterz", &stored, &mut table));
        assert!(table.is_empty(), "such are rare, and have memory of their own");
        let stored = hash("correct horse battery");
        assert!(!verify(
            "correct horse battery",
            &stored[..stored.len() - 4],
            &mut table
        ));
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
