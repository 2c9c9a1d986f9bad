//! Text that people and clients type: kept within its bounds, and the same when read again.
#![no_main]

use std::fmt::Debug;
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use medmesh_base::{ParticipantId, Region};
use medmesh_clinic::client::{ClientName, Scopes};
use medmesh_clinic::credential::{Claim, CredentialKind, LICENSE_CHARS_MAX};
use medmesh_clinic::identity::{FactorName, RecoveryCode, TotpSecret, device_label};
use medmesh_clinic::search::Query;
use medmesh_clinic::{
    CorrectionText, DISCLOSED_CHARS_MAX, DisclosureText, DisplayName, Email, MessageBody, Reason, Role,
    TimeZone,
};
use time::Date;

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
    stable::<FactorName>(text, FactorName::expose);
    stable::<CorrectionText>(text, CorrectionText::expose);
    stable::<ClientName>(text, ClientName::as_str);
    if let Ok(kept) = DisclosureText::new(text, DISCLOSED_CHARS_MAX) {
        assert_eq!(DisclosureText::new(kept.expose(), DISCLOSED_CHARS_MAX), Ok(kept));
    }
    if let Ok(scopes) = text.parse::<Scopes>() {
        assert_eq!(scopes.to_string().parse(), Ok(scopes));
    }
    secrets(text);
    numbers(text);
    searched(text);
    // Nothing of what a browser calls itself is kept.
    assert!(device_label(text).len() <= "Firefox on ChromeOS".len());
    if let Ok(id) = text.parse::<ParticipantId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
});

/// Codes and keys as people type them.
fn secrets(text: &str) {
    if let Some(code) = RecoveryCode::parse(text) {
        let again = RecoveryCode::parse(&code.expose()).expect("what was shown is typed");
        assert_eq!(again.expose(), code.expose());
    }
    if let Some(secret) = TotpSecret::from_base32(text) {
        let again = TotpSecret::from_base32(&secret.base32()).expect("what was shown is typed");
        assert_eq!(again.expose(), secret.expose());
    }
}

/// Numbers that check themselves: the text is number and state.
fn numbers(text: &str) {
    let (number, state) = text.split_once('\n').unwrap_or((text, "NY"));
    let end = Date::from_ordinal_date(2099, 1).expect("a day");
    for (kind, profession, state, end) in [
        (CredentialKind::License, Some(Role::Nurse), Some(state), Some(end)),
        (CredentialKind::Npi, None, None, None),
        (CredentialKind::Dea, None, Some(state), Some(end)),
    ] {
        let Ok(claim) = Claim::new(kind, profession, state, number, end) else {
            continue;
        };
        let kept = claim.number().expose();
        assert!(kept.len() <= LICENSE_CHARS_MAX && kept.is_ascii());
        let again = Claim::new(kind, profession, claim.state(), kept, end).expect("what was kept is good");
        assert_eq!((again.number().expose(), again.state()), (kept, claim.state()));
    }
}

/// However strange a query is, the ways to look are few and have something to look for.
fn searched(text: &str) {
    if let Some(query) = Query::parse(text) {
        assert!(
            !query.ways.is_empty() && query.ways.len() < 16,
            "{}",
            query.ways.len()
        );
    }
}

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
