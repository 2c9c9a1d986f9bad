//! Whether a relay serves those it is handed to: asked as they would ask.
//!
//! A relay that answers Binding requests may refuse every credential (its secrets are not ours) or every
//! allocation (it drains, it is full). So a probe makes an allocation with credentials made on the spot, and
//! gives it back at once. It tries the secrets newest first, and so learns which of them the relay
//! knows: while a secret is being rotated that is what credentials are to be made with.
//!
//! No sockets, no clock: whoever drives it sends what [`Probe::first`] and [`Step::Send`] give over a
//! connection of its own, again after a while where nothing comes back (UDP), and hands in what arrives.

use crate::codec::{
    Builder, Class, Datagram, Fields, IntegrityKind, Message, Method, TransactionId, attribute, decode,
};
use crate::credential::{Secret, Secrets, long_term_key};

/// REQUESTED-TRANSPORT of UDP (RFC 8656 §18.8).
const UDP: [u8; 4] = [17, 0, 0, 0];
/// Answers of one relay that are looked at: a challenge and a refusal for each of two secrets, one stale
/// nonce, the allocation, its end.
const ANSWERS_MAX: u32 = 8;
const UNAUTHORIZED: u16 = 401;
const STALE_NONCE: u16 = 438;

/// What follows an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this and wait.
    Send(Vec<u8>),
    /// That is all.
    Done(Outcome),
}

/// What a relay does with those it is handed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It makes allocations for credentials under the secret of this epoch.
    Serves {
        /// The newest epoch it knows.
        epoch: u64,
    },
    /// It refuses credentials under every secret there is.
    Stranger,
    /// It knows the credentials and makes no allocation: the error code, 508 or 300 where it
    /// drains or is full, 486 where others have used up what one name may have.
    Refuses(u16),
    /// What it says is not TURN.
    Nonsense,
}

enum State {
    /// Asked without credentials, to be told realm and nonce.
    Bare,
    /// Asked with the credentials of a secret: its index.
    Sealed(usize),
    /// The allocation is being given back.
    Ending,
}

/// One conversation with a relay.
pub struct Probe {
    secrets: Vec<Secret>,
    username: String,
    state: State,
    transaction: TransactionId,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    is_renewed: bool,
    answers: u32,
}

impl Probe {
    /// A conversation in the name `username` (`expiry:opaque-id`).
    #[must_use]
    pub fn new(secrets: &Secrets, username: String) -> Self {
        Self {
            secrets: secrets.iter().cloned().collect(),
            username,
            state: State::Bare,
            transaction: [0; 12],
            realm: Vec::new(),
            nonce: Vec::new(),
            is_renewed: false,
            answers: 0,
        }
    }

    /// What is sent first. `transaction` is random.
    pub fn first(&mut self, transaction: TransactionId) -> Vec<u8> {
        self.transaction = transaction;
        Builder::new(Class::Request, Method::ALLOCATE, transaction)
            .attribute(attribute::REQUESTED_TRANSPORT, &UDP)
            .finish()
    }

    /// Takes a datagram or a frame of a stream. `None`: it answers nothing that was asked. `transaction` is
    /// random.
    pub fn handle(&mut self, bytes: &[u8], transaction: TransactionId) -> Option<Step> {
        let Ok(Datagram::Message(message)) = decode(bytes) else {
            return None;
        };
        let is_answer = matches!(message.class, Class::Success | Class::Error);
        if !is_answer || message.transaction() != self.transaction {
            return None;
        }
        self.answers += 1;
        if self.answers > ANSWERS_MAX {
            return Some(Step::Done(Outcome::Nonsense));
        }
        let fields = Fields::read(&message);
        self.transaction = transaction;
        Some(match message.class {
            Class::Success => self.succeeded(&message, &fields),
            _ => self.failed(&message, &fields),
        })
    }

    fn succeeded(&mut self, message: &Message<'_>, fields: &Fields<'_>) -> Step {
        let State::Sealed(index) = self.state else {
            // Whoever makes allocations for everybody is no relay of ours; the end of one needs no proof.
            let ended = matches!(self.state, State::Ending);
            return Step::Done(if ended { self.serves() } else { Outcome::Nonsense });
        };
        let key = self.key(index);
        let is_theirs = fields
            .integrity
            .is_some_and(|integrity| integrity.verify(&key, message));
        if !is_theirs || message.method != Method::ALLOCATE {
            return Step::Done(Outcome::Nonsense);
        }
        self.secrets.swap(0, index);
        self.state = State::Ending;
        let end = self
            .request(Method::REFRESH)
            .attribute(attribute::LIFETIME, &[0; 4]);
        Step::Send(self.seal(end, 0))
    }

    fn failed(&mut self, message: &Message<'_>, fields: &Fields<'_>) -> Step {
        let Some(code) = error_code(message) else {
            return Step::Done(Outcome::Nonsense);
        };
        // The relay has taken the credentials; that the allocation lives on for a while changes nothing.
        let index = match self.state {
            State::Ending => return Step::Done(self.serves()),
            State::Bare => 0,
            State::Sealed(index) if code == UNAUTHORIZED => index + 1,
            State::Sealed(index) => index,
        };
        let again = match code {
            UNAUTHORIZED => true,
            STALE_NONCE => !std::mem::replace(&mut self.is_renewed, true),
            _ => false,
        };
        if !again {
            return Step::Done(Outcome::Refuses(code));
        }
        let (Some(realm), Some(nonce)) = (fields.realm, fields.nonce) else {
            return Step::Done(Outcome::Nonsense);
        };
        if index >= self.secrets.len() {
            return Step::Done(Outcome::Stranger);
        }
        self.realm = realm.to_vec();
        self.nonce = nonce.to_vec();
        self.state = State::Sealed(index);
        let allocate = self.request(Method::ALLOCATE);
        Step::Send(self.seal(allocate.attribute(attribute::REQUESTED_TRANSPORT, &UDP), index))
    }

    /// After the secret that worked was put first.
    fn serves(&self) -> Outcome {
        let epoch = self.secrets.first().map_or(0, Secret::epoch);
        Outcome::Serves { epoch }
    }

    fn request(&self, method: Method) -> Builder {
        Builder::new(Class::Request, method, self.transaction)
    }

    fn seal(&self, request: Builder, index: usize) -> Vec<u8> {
        request
            .attribute(attribute::USERNAME, self.username.as_bytes())
            .attribute(attribute::REALM, &self.realm)
            .attribute(attribute::NONCE, &self.nonce)
            .integrity(IntegrityKind::Sha1, &self.key(index))
            .finish()
    }

    fn key(&self, index: usize) -> crate::credential::IntegrityKey {
        let realm = String::from_utf8_lossy(&self.realm);
        let password = self.secrets[index].password(&self.username);
        long_term_key(&self.username, &realm, &password)
    }
}

/// The code of ERROR-CODE (RFC 8489 §14.8).
fn error_code(message: &Message<'_>) -> Option<u16> {
    let mut attributes = message.attributes();
    let value = attributes
        .find(|attribute| attribute.kind == attribute::ERROR_CODE)?
        .value;
    match value {
        [_, _, class @ 3..=6, number @ 0..=99, ..] => Some(u16::from(*class) * 100 + u16::from(*number)),
        _ => None,
    }
}
