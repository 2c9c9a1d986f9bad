//! The numbers by which authorities know those who give care, and how each checks itself.

use crate::Invalid;

/// Longest licence number as boards print them, with room for prefixes.
pub const LICENSE_CHARS_MAX: usize = 30;

/// What stands before an NPI when its check digit is computed: the prefix of health
/// identifiers of the United States (45 CFR 162.406; ISO/IEC 7812).
const NPI_PREFIX: [u8; 5] = [8, 0, 8, 4, 0];

/// Postal codes of the states, the district and the territories that license and register.
const STATES: &str = "AL AK AZ AR CA CO CT DE DC FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY \
     NC ND OH OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY AS GU MP PR VI";

/// First letters of registrations of those who prescribe or dispense: hospitals, clinics,
/// practitioners, teaching institutions and pharmacies (A, B, C, F, G) and mid-level
/// practitioners (M). The other letters are manufacturers', distributors' and laboratories'.
const DEA_REGISTRANTS: &[u8] = b"ABCFGM";

/// A state's postal code, upper case.
///
/// # Errors
/// [`Invalid::State`] for what is none.
pub(super) fn state(text: &str) -> Result<String, Invalid> {
    let code = text.trim().to_ascii_uppercase();
    let known = code.len() == 2 && STATES.split_ascii_whitespace().any(|state| state == code);
    known.then_some(code).ok_or(Invalid::State)
}

/// A licence number: each board has its own form, so only that it is one is checked.
///
/// # Errors
/// [`Invalid::License`].
pub(super) fn license(text: &str) -> Result<String, Invalid> {
    let number = text.trim().to_ascii_uppercase();
    let plain = |c: char| c.is_ascii_alphanumeric() || " .-/".contains(c);
    let fits = number.len() <= LICENSE_CHARS_MAX
        && number.chars().all(plain)
        && number.chars().any(|c| c.is_ascii_digit());
    fits.then_some(number).ok_or(Invalid::License)
}

/// A National Provider Identifier: ten digits beginning with 1 or 2, the last of which makes
/// the Luhn sum over the prefix and all of them a multiple of ten (45 CFR 162.406(a)).
///
/// # Errors
/// [`Invalid::Npi`].
pub(super) fn npi(text: &str) -> Result<String, Invalid> {
    let number = text.trim();
    let digits = digits(number)
        .filter(|digits| digits.len() == 10)
        .ok_or(Invalid::Npi)?;
    if !matches!(digits[0], 1 | 2) || !luhn(&NPI_PREFIX, &digits).is_multiple_of(10) {
        return Err(Invalid::Npi);
    }
    Ok(number.to_owned())
}

/// A number of the Drug Enforcement Administration: the registrant's letter, the first letter of
/// the name or 9, and seven digits whose last checks the six before it.
///
/// # Errors
/// [`Invalid::Dea`].
pub(super) fn dea(text: &str) -> Result<String, Invalid> {
    let number = text.trim().to_ascii_uppercase();
    let [registrant, name, rest @ ..] = number.as_bytes() else {
        return Err(Invalid::Dea);
    };
    let rest = std::str::from_utf8(rest).ok().and_then(digits);
    let rest = rest.filter(|digits| digits.len() == 7).ok_or(Invalid::Dea)?;
    let named = name.is_ascii_uppercase() || *name == b'9';
    let sum = rest[0] + rest[2] + rest[4] + 2 * (rest[1] + rest[3] + rest[5]);
    if DEA_REGISTRANTS.contains(registrant) && named && sum % 10 == rest[6] {
        Ok(number)
    } else {
        Err(Invalid::Dea)
    }
}

fn digits(text: &str) -> Option<Vec<u8>> {
    text.bytes()
        .map(|byte| byte.is_ascii_digit().then(|| byte - b'0'))
        .collect()
}

/// The sum of Luhn's check (ISO/IEC 7812-1 annex B) over both runs of digits as one.
fn luhn(prefix: &[u8], digits: &[u8]) -> u32 {
    let all = prefix.iter().chain(digits).rev();
    all.enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(*digit)) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => 2 * digit - 9,
            (_, digit) => 2 * digit,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn npis_of_the_standards_own_examples_pass() {
        // 1234567893 is the example of the CMS' description of the check digit.
        for good in ["1234567893", " 1245319599 ", "1679576722"] {
            assert_eq!(npi(good), Ok(good.trim().to_owned()));
        }
        for bad in [
            "",
            "1234567890",
            "123456789",
            "12345678930",
            "0234567893",
            "123456789O",
            "１234567893",
        ] {
            assert_eq!(npi(bad), Err(Invalid::Npi), "{bad}");
        }
    }

    #[test]
    fn dea_numbers_check_themselves() {
        for good in ["AB1234563", "mj3614511", "F91234563"] {
            assert_eq!(dea(good), Ok(good.to_ascii_uppercase()));
        }
        // Wrong sum, a distributor, a digit for a letter, too short, too long, empty.
        for bad in [
            "AB1234567",
            "PB1234563",
            "1B1234563",
            "AB123456",
            "AB12345630",
            "A",
            "",
            "AÉ123456",
        ] {
            assert_eq!(dea(bad), Err(Invalid::Dea), "{bad}");
        }
    }

    #[test]
    fn states_and_licences_have_a_form() {
        assert_eq!(state(" ny "), Ok("NY".to_owned()));
        for bad in ["", "N", "XX", "NYC", "A ", "Y N"] {
            assert_eq!(state(bad), Err(Invalid::State), "{bad}");
        }
        assert_eq!(license("a-12.345/b"), Ok("A-12.345/B".to_owned()));
        for bad in [
            "",
            "none",
            "12\u{7}3",
            &"1".repeat(LICENSE_CHARS_MAX + 1),
            "１２３",
        ] {
            assert_eq!(license(bad), Err(Invalid::License), "{bad}");
        }
    }

    proptest! {
        /// One wrong digit, or two neighbours swapped, is noticed (but for 0 and 9, as Luhn's check has it).
        #[test]
        fn a_slip_in_an_npi_is_noticed(at in 0_usize..10, by in 1_u8..10) {
            let mut digits = *b"1234567893";
            digits[at] = b'0' + (digits[at] - b'0' + by) % 10;
            prop_assert!(npi(std::str::from_utf8(&digits).unwrap()).is_err());
        }

        #[test]
        fn garbage_never_panics(text: String) {
            let _ = (npi(&text), dea(&text), license(&text), state(&text));
        }
    }
}
