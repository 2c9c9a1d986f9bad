//! The people of the caller's clinic.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use medmesh_api_types::page::Page;
use medmesh_api_types::person::{Person, PersonCreate, PersonQuery};
use medmesh_base::ProblemCode;
use medmesh_clinic::NewPerson;
use medmesh_clinic::authz::Action;
use medmesh_store::PasswordHash;
use utoipa_axum::routes;

use crate::http::access::Routes;
use crate::http::caller::Signed;
use crate::http::creation::{Claimed, Creation};
use crate::http::error::ApiError;
use crate::http::extract::{Body, IdempotencyKey, Query};
use crate::http::mapping;
use crate::http::password::is_guessable;
use crate::http::state::Api;

const TAG: &str = "people";

pub(super) fn routes() -> Routes {
    Routes::new()
        .signed(Action::PersonList, routes!(person_list))
        .signed(Action::PersonCreate, routes!(person_create))
}

/// The clinic's people, ordered by when they were added.
///
/// Those who treat or book see who can meet in a visit, by name; admins and support see everyone, and
/// their addresses.
#[utoipa::path(get, path = "/v1/people", tag = TAG, params(PersonQuery),
    responses((status = 200, description = "One page.", body = Page<Person>)))]
async fn person_list(
    State(api): State<Api>,
    signed: Signed,
    Query(query): Query<PersonQuery>,
) -> Result<Json<Page<Person>>, ApiError> {
    let page = mapping::page_request(query.cursor.as_deref(), query.limit)?;
    let mut tx = api.begin(&signed).await?;
    let people = tx.person_list(query.role.map(mapping::role_in), page).await?;
    tx.commit().await?;
    Ok(Json(mapping::page(people, mapping::person)))
}

/// Adds a person with a password login. Admins only.
#[utoipa::path(post, path = "/v1/people", tag = TAG, request_body = PersonCreate,
    params(("Idempotency-Key" = String, Header, min_length = 8, max_length = 64)),
    responses((status = 201, description = "Added.", body = Person)))]
async fn person_create(
    State(api): State<Api>,
    signed: Signed,
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
