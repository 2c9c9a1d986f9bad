//! To whom a signed token speaks (RFC 7519 section 4.1.3).

use serde::Deserialize;

/// One audience, or a list.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One.
    One(String),
    /// A list.
    Many(Vec<String>),
}

impl Audience {
    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}
