//! What a patient agreed to, and how carefully a part of the record is kept.

use crate::word::words;

words! {
    /// Which protected part of a record something belongs to.
    "segment" Segment {
        /// Nothing beyond what health data is anyway.
        General = "general",
        /// Treatment of substance use by a federally assisted program (42 CFR Part 2).
        Part2 = "part2",
        /// Mental health.
        MentalHealth = "mental_health",
        /// Reproductive health.
        ReproductiveHealth = "reproductive_health",
        /// HIV and what is tested with it.
        Hiv = "hiv",
    }
}

#[allow(
    clippy::derivable_impls,
    reason = "the macro derives for all word lists alike, and only this one has a default"
)]
impl Default for Segment {
    fn default() -> Self {
        Self::General
    }
}
