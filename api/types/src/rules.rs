//! Bounds of what a request may say, each with its reason, and the checks that apply them.

use medmesh_base::Phi;

use crate::Secret;

/// Longest name of a person, characters: fits the longest legal names with titles.
pub const DISPLAY_NAME_MAX: usize = 120;
/// Longest name of a second factor, characters.
pub const FACTOR_NAME_MAX: usize = 60;
/// Longest mail address, bytes (RFC 5321 section 4.5.3.1.3, minus the angle brackets).
pub const EMAIL_MAX: usize = 254;
/// Shortest password, characters (NIST SP 800-63B-4: 15 where it is the only factor).
pub const PASSWORD_MIN: usize = 15;
/// Longest password, characters: bounds what one hash costs, and still takes any passphrase.
pub const PASSWORD_MAX: usize = 128;
/// Longest reason for an appointment or a cancellation, characters.
pub const REASON_MAX: usize = 500;
/// Longest name of a document, characters.
pub const DOCUMENT_MAX: usize = 80;
/// Longest chat message, characters: a long paragraph; documents travel otherwise.
pub const MESSAGE_MAX: usize = 4000;
/// Longest search, characters: as a name.
pub const SEARCH_CHARS_MAX: usize = 120;
/// Longest name or address of whom a record was given to, characters.
pub const RECIPIENT_MAX: usize = 300;
/// Longest description of what was given of a record, or why, characters.
pub const DISCLOSED_MAX: usize = 1_000;
/// Longest text of either side about a correction, characters: a page.
pub const CORRECTION_MAX: usize = 2_000;
/// Longest number of a licence as it is typed, characters: the number's own bound and some blanks.
pub const CREDENTIAL_NUMBER_MAX: usize = 40;
/// Most round trips a client may report: twice what it is ever asked to take.
pub const PROBES_MAX: usize = 8;
/// Longest round trip worth reporting, milliseconds: beyond it an edge is of no use.
pub const RTT_MS_MAX: f64 = 10_000.0;

type Check = Result<(), garde::Error>;

fn within(text: &str, min: usize, max: usize) -> Check {
    let length = text.chars().count();
    if length < min {
        return Err(garde::Error::new(format!("must have at least {min} characters")));
    }
    if length > max {
        return Err(garde::Error::new(format!("must have at most {max} characters")));
    }
    Ok(())
}

/// Text a person reads: no control characters, so that it cannot disturb a terminal or a table.
fn printable(text: &str) -> Check {
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err(garde::Error::new("must not contain control characters"));
    }
    Ok(())
}

/// What is searched for; whether there is a letter in it is the server's to find out.
pub(crate) fn search(text: &Phi<String>, _: &()) -> Check {
    within(text.expose().trim(), 1, SEARCH_CHARS_MAX)?;
    printable(text.expose())
}

pub(crate) fn recipient(text: &Phi<String>, _: &()) -> Check {
    within(text.expose().trim(), 1, RECIPIENT_MAX)?;
    printable(text.expose())
}

pub(crate) fn recipient_address(text: &Option<Phi<String>>, context: &()) -> Check {
    text.as_ref().map_or(Ok(()), |text| recipient(text, context))
}

pub(crate) fn disclosed(text: &Phi<String>, _: &()) -> Check {
    within(text.expose().trim(), 1, DISCLOSED_MAX)?;
    printable(text.expose())
}

pub(crate) fn factor_name(name: &Phi<String>, _: &()) -> Check {
    let name = name.expose();
    within(name.trim(), 1, FACTOR_NAME_MAX)?;
    if name.chars().any(char::is_control) {
        return Err(garde::Error::new("must be one line"));
    }
    Ok(())
}

pub(crate) fn correction(text: &Phi<String>, _: &()) -> Check {
    within(text.expose().trim(), 1, CORRECTION_MAX)?;
    within(text.expose(), 1, CORRECTION_MAX)?;
    printable(text.expose())
}

pub(crate) fn display_name(name: &Phi<String>, _: &()) -> Check {
    let name = name.expose();
    within(name.trim(), 1, DISPLAY_NAME_MAX)?;
    printable(name)?;
    if name.contains('\n') {
        return Err(garde::Error::new("must be one line"));
    }
    Ok(())
}

/// An address that can be one, and is short enough to be stored and indexed.
pub(crate) fn email(address: &Phi<String>, _: &()) -> Check {
    let address = address.expose();
    if address.len() > EMAIL_MAX {
        return Err(garde::Error::new("is too long for a mail address"));
    }
    let (local, domain) = address.rsplit_once('@').unwrap_or(("", ""));
    let plain = !address.chars().any(|c| c.is_whitespace() || c.is_control());
    if local.is_empty() || domain.is_empty() || !plain {
        return Err(garde::Error::new("is not a mail address"));
    }
    Ok(())
}

/// What a login may try: bounded, but not judged, for an old password may break newer rules.
pub(crate) fn password_tried(password: &Secret, _: &()) -> Check {
    within(password.expose(), 1, PASSWORD_MAX)
}

pub(crate) fn password_new(password: &Secret, _: &()) -> Check {
    within(password.expose(), PASSWORD_MIN, PASSWORD_MAX)
}

/// A code as people type it, spaces and all; whether it is one the server finds out.
pub(crate) fn code(code: &Secret, _: &()) -> Check {
    within(code.expose(), 6, 10)
}

/// A secret as a provider gives it out; NIST SP 800-63B-4 has nothing to say about it, a column's size has.
pub(crate) fn client_secret(secret: &Secret, _: &()) -> Check {
    within(secret.expose(), 8, 512)
}

pub(crate) fn link_token(token: &Secret, _: &()) -> Check {
    within(token.expose(), 43, 43)
}

pub(crate) fn recovery_code(code: &Secret, _: &()) -> Check {
    within(code.expose(), 24, 40)
}

pub(crate) fn reason(reason: &Option<Phi<String>>, _: &()) -> Check {
    let Some(reason) = reason else { return Ok(()) };
    within(reason.expose(), 0, REASON_MAX)?;
    printable(reason.expose())
}

/// A reason that must be given.
pub(crate) fn reason_given(reason: &Phi<String>, _: &()) -> Check {
    within(reason.expose().trim(), 1, REASON_MAX)?;
    within(reason.expose(), 1, REASON_MAX)?;
    printable(reason.expose())
}

/// The name of a document: a name, and no text that could say anything about anybody.
pub(crate) fn document(name: &str, _: &()) -> Check {
    within(name, 1, DOCUMENT_MAX)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._/-".contains(&b);
    if name.bytes().all(plain) {
        Ok(())
    } else {
        Err(garde::Error::new("may have letters, digits and . _ / -"))
    }
}

pub(crate) fn sha256(digest: &Option<String>, _: &()) -> Check {
    let Some(digest) = digest else { return Ok(()) };
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if digest.len() == 64 && digest.bytes().all(is_hex) {
        Ok(())
    } else {
        Err(garde::Error::new(
            "is not a SHA-256 in lower-case hexadecimal digits",
        ))
    }
}

/// A number as it is printed; whether it is one the server finds out.
pub(crate) fn credential_number(number: &Phi<String>, _: &()) -> Check {
    within(number.expose(), 1, CREDENTIAL_NUMBER_MAX)
}

pub(crate) fn message_body(body: &Phi<String>, _: &()) -> Check {
    within(body.expose().trim(), 1, MESSAGE_MAX)?;
    within(body.expose(), 1, MESSAGE_MAX)?;
    printable(body.expose())
}

pub(crate) fn rtt_ms(rtt: &f64, _: &()) -> Check {
    if (0.0..=RTT_MS_MAX).contains(rtt) {
        Ok(())
    } else {
        Err(garde::Error::new("must be between 0 and 10000 milliseconds"))
    }
}
