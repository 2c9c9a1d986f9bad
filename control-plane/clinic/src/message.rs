//! What people write to each other inside a visit.

use std::str::FromStr;

use medmesh_base::{MessageId, ParticipantId, Phi, VisitId};
use time::OffsetDateTime;

use crate::Invalid;

/// Longest message in characters: several screens of text; longer belongs into a document.
pub const MESSAGE_CHARS_MAX: usize = 4_000;

/// The text of a message: not blank, bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageBody(Phi<String>);

impl MessageBody {
    /// The text, for storing and showing.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl FromStr for MessageBody {
    type Err = Invalid;

    /// Keeps the text as written; refuses blank, over-long, and NUL, which no
    /// PostgreSQL text can hold.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let fits = text.chars().count() <= MESSAGE_CHARS_MAX;
        if fits && !text.trim().is_empty() && !text.contains('\0') {
            Ok(Self(Phi::new(text.to_owned())))
        } else {
            Err(Invalid::MessageBody)
        }
    }
}

/// One message of a visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The message; the resume point of a listing.
    pub id: MessageId,
    /// The visit it was written in.
    pub visit_id: VisitId,
    /// Its place in the visit: 1, 2, 3 … without gaps.
    pub sequence: i64,
    /// Who wrote it.
    pub participant_id: ParticipantId,
    /// What was written.
    pub body: Phi<String>,
    /// When it became durable.
    pub sent_at: OffsetDateTime,
}
