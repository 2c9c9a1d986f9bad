//! How often someone may try to sign in.
//!
//! Three counters, each a window of its own: the pair of account and address
//! (a person mistyping), the address (one machine trying many accounts), and the
//! account (many machines trying one account). The last could be used to lock a
//! victim out, so it does not hold for an address the account has signed in
//! from before.
//!
//! A browser that has signed in before carries a cookie that says so, for one account. Its tries
//! are counted by themselves and by nothing else: whatever others do to the account, or behind
//! the same address, its owner gets in (OWASP's device cookies).
//!
//! Keys are keyed hashes: neither Redis nor memory holds a mail address.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use medmesh_base::{ClientId, PersonId, ProblemCode, SessionId};

use super::error::ApiError;
use crate::ephemeral::Counters;

/// Window of the pair and of the address.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Tries of one account from one address: a person who has forgotten stops earlier.
const PAIR_MAX: u64 = 10;
/// Tries from one address: a clinic behind one NAT at eight in the morning.
const ADDRESS_MAX: u64 = 100;
/// Failed tries of all machines from one address: a hospital's are behind one, and one that was given
/// the wrong key and tries again and again must not keep the others out.
const MACHINES_ADDRESS_MAX: u64 = 1_000;
/// Window of the account.
const ACCOUNT_WINDOW: Duration = Duration::from_secs(60 * 60);
/// Tries of one account from unknown addresses (NIST SP 800-63B-4 section 3.2.2 caps at 100).
const ACCOUNT_MAX: u64 = 50;
/// How long an address stays known after signing in.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Tries of one session at a second factor; after that only time helps.
const SESSION_MAX: u64 = 5;
/// Tries of one person at a second factor, over all their sessions. A code that is one in a
/// million, three of which are good, is guessed in an hour with a chance of one in ten thousand.
const PERSON_MAX: u64 = 30;
/// Links asked for from one address: a reception that helps a waiting room.
const RESET_ADDRESS_MAX: u64 = 30;
/// Registrations asked for from one address in a window: a waiting room's tablet.
const REGISTRATION_ADDRESS_MAX: u64 = 30;
/// Links sent to one account in an hour: nobody's mailbox is flooded through us.
const RESET_ACCOUNT_MAX: u64 = 5;
/// Random bytes that tell one browser from another.
const DEVICE_NONCE_BYTES: usize = 16;
/// Bits of an IPv6 address that tell one subscriber from another (RFC 6177).
const SUBSCRIBER_BITS_V6: u32 = 64;

/// Counts tries.
#[derive(Clone)]
pub(crate) struct Throttle {
    counters: Counters,
    key: Arc<hmac::Key>,
}

/// One try, counted when made.
pub(crate) enum Attempt {
    /// From a browser that has signed in to this account before.
    Device(String),
    /// From anywhere.
    Elsewhere(Elsewhere),
}

/// The counters of a try from a browser we do not know.
pub(crate) struct Elsewhere {
    pair: String,
    address: String,
    account: String,
    known: String,
}

/// One try at a second factor, counted when made.
pub(crate) struct FactorAttempt {
    session: String,
    person: String,
}

/// One try to prove to be a machine, counted when made.
pub(crate) struct MachineAttempt {
    pair: String,
    address: String,
}

/// Somebody asking for a mail, counted when asked.
pub(crate) struct MailAttempt {
    address: String,
    mailbox: String,
    /// Whether the mailbox has not had its share yet. Only its owner would notice.
    pub(crate) may_send: bool,
}

/// Somebody going to an outside provider, counted when going.
pub(crate) struct ProviderAttempt(String);

/// Something that was counted before it was looked at.
pub(crate) trait Counted {
    /// Every counter it is in.
    fn counters(self) -> Vec<String>;
}

impl Counted for Attempt {
    fn counters(self) -> Vec<String> {
        match self {
            Self::Device(key) => vec![key],
            Self::Elsewhere(attempt) => vec![attempt.pair, attempt.address, attempt.account],
        }
    }
}

impl Counted for FactorAttempt {
    fn counters(self) -> Vec<String> {
        vec![self.session, self.person]
    }
}

impl Counted for MachineAttempt {
    fn counters(self) -> Vec<String> {
        vec![self.pair, self.address]
    }
}

impl Counted for MailAttempt {
    fn counters(self) -> Vec<String> {
        vec![self.address, self.mailbox]
    }
}

impl Counted for ProviderAttempt {
    fn counters(self) -> Vec<String> {
        vec![self.0]
    }
}

impl Throttle {
    pub(crate) fn new(counters: Counters, secret: &[u8]) -> Self {
        Self {
            counters,
            key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret)),
        }
    }

    /// Whether this browser has signed in to this account before.
    pub(crate) fn is_known(&self, email: &str, device: Option<&str>) -> bool {
        device.is_some_and(|token| self.known_device(email, token).is_some())
    }

    /// Counts a try before the password is looked at, so that concurrent tries count too.
    ///
    /// # Errors
    /// 429 with the time the fullest window has left.
    pub(crate) async fn enter(
        &self,
        email: &str,
        address: IpAddr,
        device: Option<&str>,
    ) -> Result<Attempt, ApiError> {
        if let Some(nonce) = device.and_then(|token| self.known_device(email, token)) {
            let key = self.label("login:device", &nonce);
            let count = self.counters.add(&key, WINDOW).await;
            if count.value > PAIR_MAX {
                return Err(limited(count.ends_in));
            }
            return Ok(Attempt::Device(key));
        }
        let attempt = self.attempt(email, address);
        let known = self.counters.get(&attempt.known).await > 0;
        let limits = [
            (&attempt.pair, PAIR_MAX, WINDOW, true),
            (&attempt.address, ADDRESS_MAX, WINDOW, true),
            (&attempt.account, ACCOUNT_MAX, ACCOUNT_WINDOW, !known),
        ];
        let mut wait = None;
        for (key, max, window, holds) in limits {
            let count = self.counters.add(key, window).await;
            if holds && count.value > max {
                wait = wait.max(Some(count.ends_in));
            }
        }
        match wait {
            None => Ok(Attempt::Elsewhere(attempt)),
            Some(wait) => Err(limited(wait)),
        }
    }

    /// What a browser that has just signed in to this account shows next time.
    pub(crate) fn device_token(&self, email: &str) -> String {
        let mut nonce = [0; DEVICE_NONCE_BYTES];
        rand::fill(&mut nonce).expect("the system has random bytes");
        let tag = hmac::sign(&self.key, &device_text(email, &nonce));
        BASE64_URL_SAFE_NO_PAD.encode([&nonce[..], tag.as_ref()].concat())
    }

    /// The browser's number, if it has signed in to this account.
    fn known_device(&self, email: &str, token: &str) -> Option<String> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, tag) = bytes.split_at_checked(DEVICE_NONCE_BYTES)?;
        hmac::verify(&self.key, &device_text(email, nonce), tag).ok()?;
        Some(BASE64_URL_SAFE_NO_PAD.encode(nonce))
    }

    /// The password was right: the pair starts anew, the try counts for nobody, and the
    /// address is known.
    pub(crate) async fn succeeded(&self, attempt: Attempt) {
        let attempt = match attempt {
            Attempt::Device(key) => return self.counters.clear(&key).await,
            Attempt::Elsewhere(attempt) => attempt,
        };
        self.counters.clear(&attempt.pair).await;
        self.counters.refund(&attempt.address).await;
        self.counters.refund(&attempt.account).await;
        self.counters.clear(&attempt.known).await;
        self.counters.add(&attempt.known, KNOWN_FOR).await;
    }

    /// Something here failed before it was judged: the try counts for nobody, or an outage would lock
    /// out whoever tries again. What the failure costs us is bounded by the limits before this one.
    pub(crate) async fn unjudged(&self, attempt: impl Counted) {
        for key in attempt.counters() {
            self.counters.refund(&key).await;
        }
    }

    /// Hands on how it ended. Where it failed by our own fault, as [`Self::unjudged`].
    ///
    /// # Errors
    /// What `outcome` says.
    pub(crate) async fn unless_ours<T>(
        &self,
        attempt: impl Counted,
        outcome: Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        if outcome.as_ref().is_err_and(ApiError::is_ours) {
            self.unjudged(attempt).await;
        }
        outcome
    }

    /// Counts somebody asking for a new password.
    ///
    /// # Errors
    /// 429 for an address that asks for many accounts.
    pub(crate) async fn enter_reset(&self, email: &str, address: IpAddr) -> Result<MailAttempt, ApiError> {
        self.enter_mail(
            "reset:account",
            ("reset:address", RESET_ADDRESS_MAX),
            email,
            address,
        )
        .await
    }

    async fn enter_mail(
        &self,
        mailbox: &str,
        (from, from_max): (&str, u64),
        email: &str,
        address: IpAddr,
    ) -> Result<MailAttempt, ApiError> {
        let address = self.label(from, &subscriber(address).to_string());
        let mailbox = self.label(mailbox, &email.trim().to_lowercase());
        let asked = self.counters.add(&address, WINDOW).await;
        if asked.value > from_max {
            return Err(limited(asked.ends_in));
        }
        let may_send = self.counters.add(&mailbox, ACCOUNT_WINDOW).await.value <= RESET_ACCOUNT_MAX;
        Ok(MailAttempt {
            address,
            mailbox,
            may_send,
        })
    }

    /// Counts somebody going to an outside provider, who makes us ask it.
    ///
    /// # Errors
    /// 429 for an address that goes too often.
    pub(crate) async fn enter_provider(&self, address: IpAddr) -> Result<ProviderAttempt, ApiError> {
        let attempt = self.went_to_provider(address);
        let count = self.counters.add(&attempt.0, WINDOW).await;
        if count.value > ADDRESS_MAX {
            return Err(limited(count.ends_in));
        }
        Ok(attempt)
    }

    /// The count of somebody who went and came back: coming back is not counted again.
    pub(crate) fn went_to_provider(&self, address: IpAddr) -> ProviderAttempt {
        ProviderAttempt(self.label("provider:address", &subscriber(address).to_string()))
    }

    /// Counts a try to prove to be that machine, before the proof is looked at.
    ///
    /// # Errors
    /// 429 for a machine that fails too often from one address, and an address from which very many do.
    pub(crate) async fn enter_machine(
        &self,
        client: ClientId,
        address: IpAddr,
    ) -> Result<MachineAttempt, ApiError> {
        let address = subscriber(address).to_string();
        let attempt = MachineAttempt {
            pair: self.label("machine:pair", &format!("{client} {address}")),
            address: self.label("machine:address", &address),
        };
        let mut wait = None;
        for (key, max) in [
            (&attempt.pair, ADDRESS_MAX),
            (&attempt.address, MACHINES_ADDRESS_MAX),
        ] {
            let count = self.counters.add(key, WINDOW).await;
            if count.value > max {
                wait = wait.max(Some(count.ends_in));
            }
        }
        wait.map_or(Ok(attempt), |wait| Err(limited(wait)))
    }

    /// It proved to be one: the try counts for nobody.
    pub(crate) async fn machine_proved(&self, attempt: MachineAttempt) {
        self.counters.refund(&attempt.pair).await;
        self.counters.refund(&attempt.address).await;
    }

    /// Counts somebody asking to register.
    ///
    /// # Errors
    /// 429 for an address that asks for many mailboxes.
    pub(crate) async fn enter_registration(
        &self,
        email: &str,
        address: IpAddr,
    ) -> Result<MailAttempt, ApiError> {
        let from = ("registration:address", REGISTRATION_ADDRESS_MAX);
        self.enter_mail("registration:mailbox", from, email, address)
            .await
    }

    /// Counts a try at a second factor, before it is looked at.
    ///
    /// # Errors
    /// 429 with the time the fuller window has left.
    pub(crate) async fn enter_factor(
        &self,
        session: SessionId,
        person: PersonId,
    ) -> Result<FactorAttempt, ApiError> {
        let attempt = FactorAttempt {
            session: self.label("factor:session", &session.to_string()),
            person: self.label("factor:person", &person.to_string()),
        };
        let mut wait = None;
        for (key, max, window) in [
            (&attempt.session, SESSION_MAX, WINDOW),
            (&attempt.person, PERSON_MAX, ACCOUNT_WINDOW),
        ] {
            let count = self.counters.add(key, window).await;
            if count.value > max {
                wait = wait.max(Some(count.ends_in));
            }
        }
        match wait {
            None => Ok(attempt),
            Some(wait) => Err(limited(wait)),
        }
    }

    /// The factor was right: the try counts for nobody.
    pub(crate) async fn factor_succeeded(&self, attempt: FactorAttempt) {
        self.counters.clear(&attempt.session).await;
        self.counters.refund(&attempt.person).await;
    }

    fn attempt(&self, email: &str, address: IpAddr) -> Elsewhere {
        let account = email.trim().to_lowercase();
        let address = subscriber(address).to_string();
        let pair = format!("{account} {address}");
        Elsewhere {
            pair: self.label("login:pair", &pair),
            address: self.label("login:address", &address),
            account: self.label("login:account", &account),
            known: self.label("login:known", &pair),
        }
    }

    fn label(&self, kind: &str, text: &str) -> String {
        let tag = hmac::sign(&self.key, format!("{kind} {text}").as_bytes());
        format!("medmesh:{kind}:{}", BASE64_URL_SAFE_NO_PAD.encode(tag))
    }
}

fn limited(wait: Duration) -> ApiError {
    ApiError::new(ProblemCode::RateLimited).retry_after(wait.as_secs().max(1))
}

fn device_text(email: &str, nonce: &[u8]) -> Vec<u8> {
    [
        &b"login device\0"[..],
        nonce,
        email.trim().to_lowercase().as_bytes(),
    ]
    .concat()
}

/// The part of an address that one subscriber holds.
pub(super) fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let mask = u128::MAX << (128 - SUBSCRIBER_BITS_V6);
            IpAddr::V6((u128::from(v6) & mask).into())
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests;
