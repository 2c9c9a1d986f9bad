//! The people of the caller's clinic.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::ETAG;
use medmesh_api_types::page::Page;
use medmesh_api_types::person::{Person, PersonCreate, PersonQuery, PersonUpdate};
use medmesh_base::{PersonId, ProblemCode};
use medmesh_clinic::authz::Action;
use medmesh_clinic::identity::MemberChange;
use medmesh_clinic::{NewPerson, Version};
use medmesh_store::PasswordHash;
use utoipa_axum::routes;

use crate::http::access::Routes;
use crate::http::caller::{Asking, StepUp};
use crate::http::creation::{Claimed, Creation};
use crate::http::error::ApiError;
use crate::http::extract::{Body, Id, IdempotencyKey, IfMatch, Query};
use crate::http::mapping;
use crate::http::password::is_guessable;
use crate::http::state::Api;

const TAG: &str = "people";

pub(super) fn routes() -> Routes {
    Routes::new()
        .signed(Action::PersonList, routes!(person_list))
        .signed(Action::PersonCreate, routes!(person_create))
        .signed(Action::PersonUpdate, routes!(person_update))
}

/// The clinic's people, ordered by when they were added.
///
/// Those who treat or book see who can meet in a visit, by name; admins and support see everyone, and
/// their addresses.
#[utoipa::path(get, path = "/v1/people", tag = TAG, params(PersonQuery),
    responses((status = 200, description = "One page.", body = Page<Person>)))]
async fn person_list(
    State(api): State<Api>,
    signed: Asking,
    Query(query): Query<PersonQuery>,
) -> Result<Json<Page<Person>>, ApiError> {
    let page = mapping::page_request(query.cursor.as_deref(), query.limit)?;
    let mut tx = api.begin(&signed).await?;
    let people = tx.person_list(query.role.map(mapping::role_in), page).await?;
    tx.commit().await?;
    Ok(Json(mapping::page(people, mapping::person)))
}

/// Adds a person with a password login. Admins only, with a fresh proof: they may become an admin too.
#[utoipa::path(post, path = "/v1/people", tag = TAG, request_body = PersonCreate,
    params(("Idempotency-Key" = String, Header, min_length = 8, max_length = 64)),
    responses((status = 201, description = "Added.", body = Person)))]
async fn person_create(
    State(api): State<Api>,
    signed: StepUp,
    key: IdempotencyKey,
    Body { value: person, bytes }: Body<PersonCreate>,
) -> Result<Response, ApiError> {
    let new = NewPerson {
        display_name: person.display_name.expose().parse()?,
        email: person.email.expose().parse()?,
        roles: person.roles.iter().copied().map(mapping::role_in).collect(),
        locale: mapping::locale_in(person.locale),
    };
    new.check()?;
    let own_words = [
        new.display_name.expose(),
        new.email.expose(),
        &signed.session.clinic.name,
    ];
    if is_guessable(person.password.expose(), &own_words) {
        let mut error = ApiError::field("password", "is easy to guess");
        error.code = ProblemCode::Unprocessable;
        return Err(error);
    }
    let hash = api.passwords.hash(person.password.expose().to_owned()).await?;
    let claimed = Creation::claim(&api, &signed, "person_create", key, &[&bytes]).await?;
    let mut creation = match claimed {
        Claimed::New(creation) => creation,
        Claimed::Replay(answer) => return Ok(answer),
    };
    let person = creation
        .tx
        .person_create(&new, &PasswordHash::from_phc(hash))
        .await?;
    creation.created(&[], &mapping::person(person)).await
}

/// Changes what a person is to the clinic: their roles, or whether they can sign in at all. Admins
/// only, with a fresh proof. Whoever has something taken away is signed out everywhere, and everybody
/// is told by mail. Nobody gives themselves a role; a clinic keeps an admin and its privacy officer;
/// who has a record stays a patient. 412 when `If-Match` names an older version.
#[utoipa::path(patch, path = "/v1/people/{id}", tag = TAG, request_body = PersonUpdate,
    params(("id" = uuid::Uuid, Path), ("If-Match" = String, Header, description = "The ETag last seen.")),
    responses((status = 200, description = "Changed.", body = Person, headers(
        ("ETag" = String, description = "The version, quoted.")))))]
async fn person_update(
    State(api): State<Api>,
    signed: StepUp,
    Id(id): Id<PersonId>,
    IfMatch(version): IfMatch,
    Body { value: given, .. }: Body<PersonUpdate>,
) -> Result<Response, ApiError> {
    let roles = given
        .roles
        .map(|roles| roles.into_iter().map(mapping::role_in).collect());
    let change = MemberChange {
        roles,
        active: given.active,
    };
    let mut tx = api.begin(&signed).await?;
    let person = tx.person_update(id, Version(version), change).await?;
    tx.commit().await?;
    let etag = mapping::etag_of(person.version.0);
    Ok(([(ETAG, etag)], Json(mapping::person(person))).into_response())
}
