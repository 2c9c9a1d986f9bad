//! The pure planner: which edge carries which participant, and why.
//!
//! [`plan`] takes a [`Fleet`] as it is now and one participant's [`Demand`] and
//! answers with a [`Plan`] that leaves nothing to decide, and a [`Report`] that
//! says of every edge why it won or lost. Hard constraints first (health,
//! residency, headroom with one edge to spare), then a [`Score`] whose field
//! order *is* the policy.
//!
//! It never reads a clock, a socket or a random source: the same arguments
//! always give the same answer. It never moves a participant whose edge is
//! still good enough ([`KEEP_GAIN_MIN_US`]).

mod demand;
mod fleet;
mod headroom;
mod plan;
mod report;
mod score;

pub use demand::Demand;
pub use fleet::{EdgeView, Fleet, Path, RelayLoad};
pub use headroom::{Headroom, headroom};
pub use plan::{FALLBACKS_MAX, KEEP_GAIN_MIN_US, NoPlace, Plan, plan};
pub use report::{Candidate, Rejection, Report, Verdict};
pub use score::{RTT_UNKNOWN_US, Score};

#[cfg(test)]
mod tests;
