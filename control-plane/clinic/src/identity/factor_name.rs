//! What people call a second factor of theirs.

use std::str::FromStr;

use medmesh_base::Phi;

use crate::Invalid;

/// Longest name of a factor in characters: "the blue key in my desk at home", twice.
pub const FACTOR_NAME_CHARS_MAX: usize = 60;

/// A name by which somebody tells their own factors apart, trimmed. Whatever they write is theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactorName(Phi<String>);

impl FactorName {
    /// The name, for storing and showing.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl FromStr for FactorName {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        let fits = (1..=FACTOR_NAME_CHARS_MAX).contains(&text.chars().count());
        if fits && !text.chars().any(char::is_control) {
            Ok(Self(Phi::new(text.to_owned())))
        } else {
            Err(Invalid::FactorName)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_short_line() {
        for good in ["  my phone ", "ключ", &"x".repeat(FACTOR_NAME_CHARS_MAX)] {
            assert_eq!(good.parse::<FactorName>().unwrap().expose(), good.trim());
        }
        for bad in ["", "  ", "a\nb", "a\u{7}", &"x".repeat(FACTOR_NAME_CHARS_MAX + 1)] {
            assert_eq!(bad.parse::<FactorName>(), Err(Invalid::FactorName));
        }
    }
}
