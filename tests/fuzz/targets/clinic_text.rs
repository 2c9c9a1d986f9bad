//! Text that people and clients type: kept within its bounds, and the same when read again.
#![no_main]

use std::fmt::Debug;
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use medmesh_base::{ParticipantId, Region};
use medmesh_clinic::{DisplayName, Email, MessageBody, Reason, TimeZone};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    stable::<Email>(text, Email::expose);
    stable::<DisplayName>(text, DisplayName::expose);
    stable::<TimeZone>(text, TimeZone::as_str);
    stable::<Reason>(text, Reason::expose);
    stable::<MessageBody>(text, MessageBody::expose);
    stable::<Region>(text, Region::as_str);
    if let Ok(id) = text.parse::<ParticipantId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
});

/// What was kept of a text is kept as it is.
fn stable<T: FromStr>(text: &str, kept: impl Fn(&T) -> &str)
where
    T::Err: Debug,
{
    if let Ok(value) = text.parse::<T>() {
        let again: T = kept(&value).parse().expect("what was kept is good");
        assert_eq!(kept(&again), kept(&value));
    }
}
