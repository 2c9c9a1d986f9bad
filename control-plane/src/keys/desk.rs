//! The operator's desk for keys: what there is, and new ones for old.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use medmesh_api_types::key::{
    ErasuresHeld, KeyList, KeyRestored, KeyRotation, KeyRotationCreate, KeySubject, KeyVersion,
};
use medmesh_base::ProblemCode;
use medmesh_clinic::SystemActor;
use medmesh_store::{KeySummary, RotationSubject};
use medmesh_vault::KmsError;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::floors;
use crate::desk::Desk;
use crate::erasures::RegisterError;
use crate::http::{ApiError, Body};

const TAG: &str = "keys";

/// Every route with its description.
pub(crate) fn described() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(routes!(key_list))
        .routes(routes!(key_rotate))
        .routes(routes!(key_restored))
        .routes(routes!(erasure_enforce))
}

/// Every version of every key, with what it has sealed. No key.
#[utoipa::path(get, path = "/v1/fleet/keys", tag = TAG,
    responses((status = 200, description = "The system's first, then by clinic.", body = KeyList)))]
async fn key_list(State(desk): State<Desk>) -> Result<Json<KeyList>, ApiError> {
    let store = desk.database.store()?;
    store.key_counts_report().await?;
    let kms = store.keyring().kms();
    let keys = store.key_list().await?;
    Ok(Json(KeyList {
        kms: kms.name().to_owned(),
        // Away: what is in the database can still be said.
        root: kms.root().await.ok(),
        seals_max: medmesh_vault::SEALS_PER_KEY_MAX,
        keys: keys.into_iter().map(key_version).collect(),
    }))
}

fn key_version(key: KeySummary) -> KeyVersion {
    KeyVersion {
        clinic_id: key.clinic_id,
        version: key.version,
        root: key.root,
        sealed: key.sealed.cast_unsigned(),
        patients: key.patients.cast_unsigned(),
        index_version: key.index_version,
        has_ended: key.version < key.floor,
        created_at: key.created_at,
    }
}

/// Replaces a key: the new version seals at once, a job moves what older ones hold (`GET /v1/fleet/jobs`).
/// 409 while that key is being rotated.
#[utoipa::path(post, path = "/v1/fleet/keys/rotations", tag = TAG, request_body = KeyRotationCreate,
    responses((status = 202, description = "It has begun.", body = KeyRotation)))]
async fn key_rotate(
    State(desk): State<Desk>,
    body: Body<KeyRotationCreate>,
) -> Result<(StatusCode, Json<KeyRotation>), ApiError> {
    let store = desk.database.store()?;
    let wanted = body.value;
    let subject = match wanted.subject {
        KeySubject::Root => RotationSubject::Root,
        KeySubject::System => RotationSubject::System,
        KeySubject::Clinic { clinic_id } => RotationSubject::Clinic { clinic_id },
        KeySubject::Index { clinic_id } => RotationSubject::Index { clinic_id },
        KeySubject::Patient {
            clinic_id,
            patient_id,
        } => RotationSubject::Patient {
            clinic_id,
            patient_id,
        },
    };
    let mut root = None;
    if subject == RotationSubject::Root {
        let kms = store.keyring().kms();
        // A new version for a rotation that is then refused would be one that seals nothing.
        store.rotation_idle(subject).await?;
        if !wanted.only_rewrap {
            kms.rotate().await.map_err(not_rotated)?;
        }
        root = Some(kms.root().await.map_err(not_rotated)?);
        if wanted.without_rewrap {
            let begun = KeyRotation { version: 0, root };
            return Ok((StatusCode::ACCEPTED, Json(begun)));
        }
    }
    let version = store.rotation_begin(SystemActor::Operator, subject).await?;
    Ok((StatusCode::ACCEPTED, Json(KeyRotation { version, root })))
}

/// A KMS that is away may be there again; what one refuses, it will refuse again.
fn not_rotated(error: KmsError) -> ApiError {
    let code = match error {
        KmsError::Unavailable(_) => ProblemCode::Unavailable,
        KmsError::Refused(_) => ProblemCode::StateConflict,
    };
    ApiError::new(code).saying(error.to_string()).because(error)
}

/// Accepts the keys a restored database holds: without this, what an older backup holds under
/// versions that had ended is refused. Leaves an entry in the clinic's log.
#[utoipa::path(post, path = "/v1/fleet/keys/restored", tag = TAG, request_body = KeyRestored,
    responses((status = 204, description = "What the database says holds.")))]
async fn key_restored(State(desk): State<Desk>, body: Body<KeyRestored>) -> Result<StatusCode, ApiError> {
    let clinic = body.value.clinic_id;
    let store = desk.database.store()?;
    let floor = store.key_restored(clinic).await?;
    floors::set(&desk.fleet, clinic, floor).await?;
    // What was put back may hold people who are erased.
    desk.register.hold(store).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Holds the register of the erased, which is outside of the database, against it: whoever came back with
/// a backup is erased again. Every node does so when it starts, and every ten minutes.
#[utoipa::path(post, path = "/v1/fleet/erasures/enforce", tag = TAG,
    responses((status = 200, description = "What was found and done.", body = ErasuresHeld)))]
async fn erasure_enforce(State(desk): State<Desk>) -> Result<Json<ErasuresHeld>, ApiError> {
    let held = desk.register.hold(desk.database.store()?).await?;
    Ok(Json(ErasuresHeld {
        listed: held.listed,
        erased_again: held.erased_again,
        added: held.added,
        unknown: held.unknown,
        hidden: held.hidden,
    }))
}

impl From<RegisterError> for ApiError {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Store(error) => error.into(),
            RegisterError::Objects(error) => Self::new(ProblemCode::Unavailable).because(error),
            RegisterError::Lock(error) => Self::new(ProblemCode::Unavailable).because(error),
        }
    }
}
