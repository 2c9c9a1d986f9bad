//! How often somebody may ask.

use serde::Deserialize;

use super::check::Broken;

/// Requests each second that are answered at a steady pace; ten seconds' worth may come at once.
/// Where one asks under several of them, the narrowest counts.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimits {
    /// From one address (IPv6: one /64). A hospital behind one NAT is one address.
    pub address_per_second: f64,
    /// Of one person. A portal that is looked at asks a few times a minute.
    pub account_per_second: f64,
    /// Of one machine of a clinic. A system that keeps a calendar in step asks more often than a person,
    /// and must not take what the clinic's people need.
    pub client_per_second: f64,
    /// Of everybody in one clinic together, so that one clinic cannot take what others need.
    pub clinic_per_second: f64,
    /// Multiplies them all.
    pub scale: f64,
    /// Whether several nodes may count each by itself, for want of a Redis: what one address, account or
    /// clinic may ask, and how often a password or a code may be tried, is then as often as there are nodes.
    pub per_node: bool,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            address_per_second: 200.0,
            account_per_second: 20.0,
            client_per_second: 50.0,
            clinic_per_second: 500.0,
            scale: 1.0,
            per_node: false,
        }
    }
}

impl RateLimits {
    pub(super) fn rules(&self, broken: &mut Vec<Broken>) {
        for (key, value) in [
            ("limits.address_per_second", self.address_per_second),
            ("limits.account_per_second", self.account_per_second),
            ("limits.client_per_second", self.client_per_second),
            ("limits.clinic_per_second", self.clinic_per_second),
            ("limits.scale", self.scale),
        ] {
            // Once a minute is the slowest that is kept; NaN is none of these.
            if !(1.0 / 60.0..=1e6).contains(&value) {
                broken.push((key.into(), "must be 1/60 to 1000000".into()));
            }
        }
    }
}
