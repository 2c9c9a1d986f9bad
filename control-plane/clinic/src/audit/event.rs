//! The canonical encoding of an event: the bytes a leaf of the tree commits to.
//!
//! One version byte, then each field that is there as tag (one byte), length (two
//! bytes, big-endian) and value, tags rising. An event has exactly one encoding,
//! and bytes that are not the encoding of an event are refused: what was committed
//! to can be read in one way only. A new kind of field gets a new tag; it changes no
//! event that does not have it.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::Roles;

/// Bytes of a leaf's salt: whoever guesses an event cannot check the guess against the tree.
pub const SALT_BYTES: usize = 32;

const VERSION: u8 = 1;
/// Tags there are, and the one that is none.
const FIELDS: usize = 18;

/// What happened, as the log holds it: ids and words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whose log.
    pub clinic_id: Uuid,
    /// The leaf.
    pub id: Uuid,
    /// When, to the microsecond.
    pub at: OffsetDateTime,
    /// `person`, or the part of the system that acted.
    pub actor_kind: String,
    /// The person who acted.
    pub actor_id: Option<Uuid>,
    /// In which session.
    pub session_id: Option<Uuid>,
    /// What was done.
    pub action: String,
    /// To what kind of thing.
    pub object_kind: String,
    /// To which one.
    pub object_id: Option<Uuid>,
    /// Whose record it was.
    pub patient_id: Option<Uuid>,
    /// Why.
    pub purpose: String,
    /// In which request.
    pub request_id: Uuid,
    /// The broken glass it was done under.
    pub break_glass_id: Option<Uuid>,
    /// What was asked for, where it was denied.
    pub denied_action: Option<String>,
    /// What was missing.
    pub denied_reason: Option<String>,
    /// The roles of whom it was done to, where it made or changed what they are to the clinic. In the
    /// sealed event alone: no column says it.
    pub roles: Option<RolesHeld>,
}

/// What somebody was to the clinic, and is from then on: words of roles. Who was not there before had
/// none; a membership that ends, or is taken up again, leaves them as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RolesHeld {
    /// Until then.
    pub before: Vec<String>,
    /// From then on.
    pub after: Vec<String>,
}

impl RolesHeld {
    /// From one set of roles to another.
    #[must_use]
    pub fn new(before: Roles, after: Roles) -> Self {
        let words = |roles: Roles| roles.iter().map(|role| role.as_str().to_owned()).collect();
        Self {
            before: words(before),
            after: words(after),
        }
    }
}

/// Between the roles of one field.
const BETWEEN_ROLES: &str = " ";

/// The bytes are not the encoding of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the canonical encoding of an audit event")]
pub struct EventError;

impl Event {
    /// The one encoding of this event.
    ///
    /// # Panics
    /// When a word is longer than 65,535 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let at = micros(self.at).to_be_bytes();
        let roles =
            |of: fn(&RolesHeld) -> &[String]| self.roles.as_ref().map(|held| of(held).join(BETWEEN_ROLES));
        let (before, after) = (roles(|held| &held.before), roles(|held| &held.after));
        let fields: [Option<&[u8]>; 17] = [
            Some(self.clinic_id.as_bytes()),
            Some(self.id.as_bytes()),
            Some(&at),
            Some(self.actor_kind.as_bytes()),
            self.actor_id.as_ref().map(|id| &id.as_bytes()[..]),
            self.session_id.as_ref().map(|id| &id.as_bytes()[..]),
            Some(self.action.as_bytes()),
            Some(self.object_kind.as_bytes()),
            self.object_id.as_ref().map(|id| &id.as_bytes()[..]),
            self.patient_id.as_ref().map(|id| &id.as_bytes()[..]),
            Some(self.purpose.as_bytes()),
            Some(self.request_id.as_bytes()),
            self.break_glass_id.as_ref().map(|id| &id.as_bytes()[..]),
            self.denied_action.as_deref().map(str::as_bytes),
            self.denied_reason.as_deref().map(str::as_bytes),
            before.as_deref().map(str::as_bytes),
            after.as_deref().map(str::as_bytes),
        ];
        let mut bytes = Vec::with_capacity(256);
        bytes.push(VERSION);
        for (tag, value) in (1_u8..).zip(fields) {
            if let Some(value) = value {
                bytes.push(tag);
                let length = u16::try_from(value.len()).expect("ids and words are short");
                bytes.extend(length.to_be_bytes());
                bytes.extend(value);
            }
        }
        bytes
    }

    /// Reads [`Event::encode`]'s bytes.
    ///
    /// # Errors
    /// [`EventError`] for anything that is not the one encoding of an event.
    pub fn decode(bytes: &[u8]) -> Result<Self, EventError> {
        let (version, mut rest) = bytes.split_first().ok_or(EventError)?;
        let mut fields: [Option<&[u8]>; FIELDS] = [None; FIELDS];
        while let Some((tag, after)) = rest.split_first() {
            let (length, after) = after.split_first_chunk::<2>().ok_or(EventError)?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (value, after) = after.split_at_checked(length).ok_or(EventError)?;
            *fields.get_mut(usize::from(*tag)).ok_or(EventError)? = Some(value);
            rest = after;
        }
        let some = |tag: usize| fields[tag].ok_or(EventError);
        let event = Self {
            clinic_id: id(some(1)?)?,
            id: id(some(2)?)?,
            at: instant(some(3)?)?,
            actor_kind: word(some(4)?)?,
            actor_id: fields[5].map(id).transpose()?,
            session_id: fields[6].map(id).transpose()?,
            action: word(some(7)?)?,
            object_kind: word(some(8)?)?,
            object_id: fields[9].map(id).transpose()?,
            patient_id: fields[10].map(id).transpose()?,
            purpose: word(some(11)?)?,
            request_id: id(some(12)?)?,
            break_glass_id: fields[13].map(id).transpose()?,
            denied_action: fields[14].map(word).transpose()?,
            denied_reason: fields[15].map(word).transpose()?,
            roles: match (fields[16], fields[17]) {
                (Some(before), Some(after)) => Some(RolesHeld {
                    before: roles(before)?,
                    after: roles(after)?,
                }),
                _ => None,
            },
        };
        // Order, repetitions, an unknown version or tag: all of them encode differently.
        if *version == VERSION && event.encode() == bytes {
            Ok(event)
        } else {
            Err(EventError)
        }
    }
}

/// Microseconds since 1970: what PostgreSQL keeps.
fn micros(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}

fn instant(bytes: &[u8]) -> Result<OffsetDateTime, EventError> {
    let micros = i64::from_be_bytes(bytes.try_into().map_err(|_| EventError)?);
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).map_err(|_| EventError)
}

fn id(bytes: &[u8]) -> Result<Uuid, EventError> {
    Uuid::from_slice(bytes).map_err(|_| EventError)
}

fn word(bytes: &[u8]) -> Result<String, EventError> {
    str::from_utf8(bytes).map(str::to_owned).map_err(|_| EventError)
}

fn roles(bytes: &[u8]) -> Result<Vec<String>, EventError> {
    let text = word(bytes)?;
    let words = text.split(BETWEEN_ROLES).filter(|word| !word.is_empty());
    Ok(words.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event() -> impl Strategy<Value = Event> {
        let ids = proptest::array::uniform8(proptest::option::of(any::<u128>()));
        let words = proptest::array::uniform6("[a-z_]{0,20}");
        let held = || proptest::collection::vec("[a-z_]{1,12}", 0..4);
        let roles = proptest::option::of((held(), held()));
        (ids, words, any::<u32>(), any::<bool>(), roles).prop_map(|(ids, words, micros, denied, roles)| {
            let id = |n: usize| ids[n].map(Uuid::from_u128);
            let [
                actor_kind,
                action,
                object_kind,
                purpose,
                denied_action,
                denied_reason,
            ] = words;
            Event {
                clinic_id: id(0).unwrap_or_default(),
                id: id(1).unwrap_or_default(),
                at: OffsetDateTime::UNIX_EPOCH + time::Duration::microseconds(i64::from(micros)),
                actor_kind,
                actor_id: id(2),
                session_id: id(3),
                action,
                object_kind,
                object_id: id(4),
                patient_id: id(5),
                purpose,
                request_id: id(6).unwrap_or_default(),
                break_glass_id: id(7),
                denied_action: denied.then_some(denied_action),
                denied_reason: denied.then_some(denied_reason),
                roles: roles.map(|(before, after)| RolesHeld { before, after }),
            }
        })
    }

    /// Bytes as they were written for good: an encoding that changes breaks every proof given out.
    #[test]
    fn the_encoding_never_changes() {
        let event = Event {
            clinic_id: Uuid::from_u128(1),
            id: Uuid::from_u128(2),
            at: OffsetDateTime::UNIX_EPOCH + time::Duration::microseconds(3),
            actor_kind: "person".into(),
            actor_id: Some(Uuid::from_u128(4)),
            session_id: None,
            action: "visit_read".into(),
            object_kind: "visit".into(),
            object_id: None,
            patient_id: None,
            purpose: "treatment".into(),
            request_id: Uuid::from_u128(5),
            break_glass_id: None,
            denied_action: None,
            denied_reason: None,
            roles: None,
        };
        let hex =
            |event: &Event| -> String { event.encode().iter().map(|byte| format!("{byte:02x}")).collect() };
        let id = |n: u8| format!("0010{}{n:02x}", "0".repeat(30));
        let expected = [
            format!("01 01{} 02{} 03 0008 0000000000000003", id(1), id(2)),
            format!("04 0006 706572736f6e 05{} 07 000a 76697369745f72656164", id(4)),
            format!("08 0005 7669736974 0b 0009 74726561746d656e74 0c{}", id(5)),
        ];
        let expected = expected.concat().replace(' ', "");
        assert_eq!(hex(&event), expected);
        // What came later comes after it.
        let changed = Event {
            roles: Some(RolesHeld::new(
                Roles::default(),
                Roles::of(&[crate::Role::Admin, crate::Role::Nurse]),
            )),
            ..event
        };
        let words: Vec<&str> = Roles::of(&[crate::Role::Admin, crate::Role::Nurse])
            .iter()
            .map(crate::Role::as_str)
            .collect();
        let words: String = words
            .join(" ")
            .bytes()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex(&changed), format!("{expected}10000011000b{words}"));
    }

    proptest! {
        #[test]
        fn an_event_comes_back(event in event()) {
            prop_assert_eq!(Event::decode(&event.encode()), Ok(event));
        }

        #[test]
        fn any_other_bytes_are_another_event_or_none(event in event(), at: prop::sample::Index, bit in 0..8_u8) {
            let mut bytes = event.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert_ne!(Event::decode(&bytes), Ok(event.clone()));
            bytes[at] ^= 1 << bit;
            bytes.push(0);
            prop_assert_eq!(Event::decode(&bytes), Err(EventError));
        }

        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            if let Ok(event) = Event::decode(&bytes) {
                prop_assert_eq!(event.encode(), bytes);
            }
        }
    }
}
