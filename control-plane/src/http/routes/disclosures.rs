//! What of a record was given to somebody outside the clinic (45 CFR 164.528).

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use medmesh_api_types::disclosure::{Disclosure, DisclosureCreate};
use medmesh_api_types::page::{Page, PageQuery};
use medmesh_base::{PersonId, Phi};
use medmesh_clinic as clinic;
use medmesh_clinic::authz::Action;
use medmesh_clinic::{DISCLOSED_CHARS_MAX, DisclosureText, NewDisclosure, RECIPIENT_CHARS_MAX};
use utoipa_axum::routes;

use crate::http::access::Routes;
use crate::http::caller::Signed;
use crate::http::creation::{Claimed, Creation};
use crate::http::error::ApiError;
use crate::http::extract::{Body, Id, IdempotencyKey, Query};
use crate::http::mapping;
use crate::http::state::Api;

const TAG: &str = "audit";

pub(super) fn routes() -> Routes {
    Routes::new()
        .signed(Action::DisclosureList, routes!(disclosure_list))
        .signed(Action::DisclosureCreate, routes!(disclosure_create))
}

/// To whom outside the clinic a patient's record was given in the last six years, the latest first.
///
/// The patient and the privacy officer only. Care, payment and operations are not in this account
/// (45 CFR 164.528(a)(1)); who looked at the record inside is under `accesses`.
#[utoipa::path(get, path = "/v1/patients/{id}/disclosures", tag = TAG,
    params(("id" = uuid::Uuid, Path), PageQuery),
    responses((status = 200, description = "One page.", body = Page<Disclosure>)))]
async fn disclosure_list(
    State(api): State<Api>,
    signed: Signed,
    Id(id): Id<PersonId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Disclosure>>, ApiError> {
    let page = mapping::page_request(query.cursor.as_deref(), query.limit)?;
    let mut tx = api.begin(&signed).await?;
    let disclosures = tx.disclosure_list(id, page).await?;
    tx.commit().await?;
    Ok(Json(mapping::page(disclosures, disclosure)))
}

/// Notes that something of a patient's record was given to somebody outside. The privacy officer only.
#[utoipa::path(post, path = "/v1/patients/{id}/disclosures", tag = TAG, request_body = DisclosureCreate,
    params(("id" = uuid::Uuid, Path), ("Idempotency-Key" = String, Header, min_length = 8, max_length = 64)),
    responses((status = 201, description = "Noted.", body = Disclosure)))]
async fn disclosure_create(
    State(api): State<Api>,
    signed: Signed,
    Id(id): Id<PersonId>,
    key: IdempotencyKey,
    Body { value: new, bytes }: Body<DisclosureCreate>,
) -> Result<Response, ApiError> {
    let text = |text: &Phi<String>, max| DisclosureText::new(text.expose(), max);
    let new = NewDisclosure {
        disclosed_at: new.disclosed_at,
        recipient: text(&new.recipient, RECIPIENT_CHARS_MAX)?,
        address: new
            .address
            .map(|address| text(&address, RECIPIENT_CHARS_MAX))
            .transpose()?,
        description: text(&new.description, DISCLOSED_CHARS_MAX)?,
        purpose: text(&new.purpose, DISCLOSED_CHARS_MAX)?,
        basis: mapping::disclosure_basis_in(new.basis),
    };
    let request: [&[u8]; 2] = [&id.to_vec(), &bytes];
    let claimed = Creation::claim(&api, &signed, "disclosure_create", key, &request).await?;
    let mut creation = match claimed {
        Claimed::New(creation) => creation,
        Claimed::Replay(answer) => return Ok(answer),
    };
    let noted = creation.tx.disclosure_create(id, &new).await?;
    creation.created(&[], &disclosure(noted)).await
}

pub(in crate::http) fn disclosure(disclosure: clinic::Disclosure) -> Disclosure {
    Disclosure {
        id: disclosure.id,
        disclosed_at: disclosure.disclosed_at,
        recipient: disclosure.recipient,
        address: disclosure.address,
        description: disclosure.description,
        purpose: disclosure.purpose,
        basis: mapping::disclosure_basis(disclosure.basis),
        recorded_at: disclosure.recorded_at,
    }
}
