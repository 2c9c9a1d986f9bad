//! The routes of the clinic API, one file per resource.

mod appointments;
pub(super) mod audit;
mod auth;
pub(super) mod break_glass;
pub(super) mod care;
mod clients;
mod clinic;
pub(super) mod consent;
pub(super) mod corrections;
mod credentials;
pub(super) mod disclosures;
mod events;
pub(super) mod exports;
mod messages;
mod oauth;
mod patients;
mod people;
mod proofs;
pub(super) mod rights;
mod signaling;
mod visits;

use super::access::Routes;

/// Every clinic route with its description.
pub(super) fn clinic() -> Routes {
    Routes::new()
        .merge(auth::routes())
        .merge(clinic::routes())
        .merge(clients::routes())
        .merge(oauth::routes())
        .merge(people::routes())
        .merge(credentials::routes())
        .merge(patients::routes())
        .merge(care::routes())
        .merge(consent::routes())
        .merge(break_glass::routes())
        .merge(rights::routes())
        .merge(exports::routes())
        .merge(corrections::routes())
        .merge(appointments::routes())
        .merge(visits::routes())
        .merge(messages::routes())
        .merge(events::routes())
        .merge(signaling::routes())
        .merge(audit::routes())
        .merge(proofs::routes())
        .merge(disclosures::routes())
}
