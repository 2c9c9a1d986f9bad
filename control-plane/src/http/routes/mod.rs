//! The routes of the clinic API, one file per resource.

mod appointments;
mod auth;
mod clinic;
mod events;
mod messages;
mod patients;
mod people;
mod signaling;
mod visits;

use utoipa_axum::router::OpenApiRouter;

use super::state::Api;

/// Every clinic route with its description.
pub(super) fn clinic() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .merge(auth::routes())
        .merge(clinic::routes())
        .merge(people::routes())
        .merge(patients::routes())
        .merge(appointments::routes())
        .merge(visits::routes())
        .merge(messages::routes())
        .merge(events::routes())
        .merge(signaling::routes())
}
