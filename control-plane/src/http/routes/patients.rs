//! Finding patients.

use axum::Json;
use axum::extract::State;
use medmesh_api_types::person::{PatientMatches, PatientSearch};
use medmesh_clinic::authz::Action;
use utoipa_axum::routes;

use crate::http::access::Routes;
use crate::http::caller::Asking;
use crate::http::error::ApiError;
use crate::http::extract::Body;
use crate::http::mapping;
use crate::http::state::Api;

const TAG: &str = "people";

pub(super) fn routes() -> Routes {
    Routes::new().signed(Action::PatientSearch, routes!(patient_search))
}

/// Finds patients by name, spelt roughly, or by address; the closest first.
///
/// A read in spite of its method: what is searched for is a name, and a name must not be in a URL.
/// Addresses are found and shown by admins only. The privacy officer finds names, whatever else they are here.
/// Each patient in the answer is noted as seen.
#[utoipa::path(post, path = "/v1/patients/search", tag = TAG, request_body = PatientSearch,
    responses((status = 200, description = "Who was found.", body = PatientMatches)))]
async fn patient_search(
    State(api): State<Api>,
    signed: Asking,
    Body { value: search, .. }: Body<PatientSearch>,
) -> Result<Json<PatientMatches>, ApiError> {
    let mut tx = api.begin(&signed).await?;
    let people = tx.patient_search(search.q.expose(), search.limit).await?;
    tx.commit().await?;
    let items = people.into_iter().map(mapping::person).collect();
    Ok(Json(PatientMatches { items }))
}
