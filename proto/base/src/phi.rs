//! Health data that must not reach a log line.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Protected health information, or anything that identifies a patient.
///
/// `Debug` and `Display` print a placeholder, so a `Phi` may stand in any
/// struct that derives `Debug`. Serialising is transparent: it is how the data
/// reaches the one person who asked for it.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Phi<T>(T);

impl<T> Phi<T> {
    /// Marks a value as health data.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one place that shows or stores it. Never format it.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// Unwraps the value under the same rule as [`Phi::expose`].
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> From<T> for Phi<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T> fmt::Debug for Phi<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[phi]")
    }
}

impl<T> fmt::Display for Phi<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[phi]")
    }
}
